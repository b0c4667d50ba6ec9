//! A soak: steady traffic while what happens in hours happens in seconds, and nothing may grow.
//!
//! Segments are full soon, so they are begun, sealed and deleted all the time; the configuration is read again and again,
//! and so is the index made anew.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::books::{self, Line};
use crate::readers::Readers;
use crate::stand::{Stand, Takes, until};
use crate::traffic::Traffic;
use crate::variable;

const SETTINGS: &[(&str, &str)] = &[
    ("CAPTURE_MEMORY_BYTES", "64MiB"),
    ("CAPTURE_SPILL_BYTES", "64KiB"),
    ("STORAGE_SEGMENT_BYTES", "1MiB"),
    // Little more than the open segments: most of what is closed is deleted soon.
    ("RETENTION_MAX_BYTES", "4MiB"),
];
/// As in a program that is not broken.
const WATCHDOG: &str = "5s 60s 240s";
/// The longest pause of a client after an exchange.
const PAUSE: Duration = Duration::from_millis(60);
/// A run has at least so many looks, each with a reload, and at least one in [`LOOK_EVERY`].
const LOOKS: u32 = 120;
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// A run has at least so many rebuilds of the index, and at least one in [`REBUILD_EVERY`].
const REBUILDS: u32 = 10;
const REBUILD_EVERY: Duration = Duration::from_secs(30);
/// More than a tenth, and this, is growth.
const MEMORY_SLACK: u64 = 32 << 20;
const DESCRIPTOR_SLACK: u64 = 16;

/// What was seen at a look.
#[derive(Clone, Debug)]
struct Look {
    at: Duration,
    takes: Takes,
    restarts: u64,
    health: Value,
}

#[test]
fn nothing_grows_while_hours_pass_in_seconds() {
    let time = Duration::from_secs(variable("SOAK_SECONDS").unwrap_or(25));
    println!("SOAK_SECONDS={}", time.as_secs());
    let mut stand = Stand::new(SETTINGS, WATCHDOG, "");
    let traffic = Traffic::start(stand.recorder.proxy, 1, 0, 6, 2, PAUSE);
    let readers = Readers::start(&stand);
    let mut events = Events::default();
    let mut looks = Vec::new();
    let began = Instant::now();
    // Until the time is over, and each kind of event has come.
    while began.elapsed() < time || !events.have_all_come(&looks) {
        let look = Look::at(began.elapsed(), &stand);
        events.go_on(&stand, time, &look);
        looks.push(look);
        assert!(began.elapsed() < time + crate::stand::PATIENCE, "not every kind of event came: {events:?} {looks:?}");
        std::thread::sleep((time / LOOKS).min(LOOK_EVERY));
    }
    let asked = readers.stop();
    let outcome = traffic.stop();
    let health = stand.settled();
    until("nothing is wrong", || {
        let degraded = &stand.health()["degraded"];
        if *degraded == serde_json::json!([]) { Ok(()) } else { Err(degraded.to_string()) }
    });
    stand.indexed();
    stand.end();

    tell(&looks, &events, &health, outcome.sent.len());
    println!("  read API    {asked:?}");
    assert!(outcome.complaints.is_empty(), "{:#?}", outcome.complaints);
    is_flat(&looks);
    all_is_recorded(&stand, &health, &outcome.sent);
    is_verified(&stand);
}

/// How often something happened.
#[derive(Debug, Default)]
struct Events {
    reloads: u32,
    rebuilds: u32,
}

impl Events {
    /// Has the configuration read again at each look, and now and then the index made anew.
    fn go_on(&mut self, stand: &Stand, time: Duration, look: &Look) {
        // The key changes at each reload, and is one that can.
        let slow = 30 + self.reloads % 2;
        std::fs::write(&stand.config, format!("timeouts:\n  slow_trace: {slow}s\n")).unwrap();
        stand.recorder.signal(libc::SIGHUP);
        until("the configuration is read again", || {
            let health = stand.health();
            let is_new = health["reload"] != look.health["reload"] && !health["reload"].is_null();
            if is_new { Ok(()) } else { Err(health["reload"].to_string()) }
        });
        self.reloads += 1;
        if look.at >= (time / (REBUILDS + 1)).min(REBUILD_EVERY) * (self.rebuilds + 1) {
            let (status, text) = stand.ask("POST", "/api/index/rebuild", "").unwrap();
            assert_eq!(status, 202, "{text}");
            self.rebuilds += 1;
        }
    }

    fn have_all_come(&self, looks: &[Look]) -> bool {
        let Some(Look { health, .. }) = looks.last() else { return false };
        let sealed = health["recording"]["sealed_segments"].as_u64().unwrap();
        let evicted = health["counters"]["evicted_traces"].as_u64().unwrap();
        self.reloads > 3 && self.rebuilds > 1 && sealed > 2 && evicted > 0
    }
}

impl Look {
    fn at(at: Duration, stand: &Stand) -> Look {
        let health = stand.health();
        assert_eq!(health["ledger"]["balanced"], true, "{health}");
        let rows = health["supervision"]["children"].as_array().unwrap();
        let nurseries = health["supervision"]["nurseries"].as_array().unwrap();
        let failed = nurseries.iter().map(|it| it["failed"].as_u64().unwrap());
        let restarts = rows.iter().map(|it| it["restarts"].as_u64().unwrap()).chain(failed).sum();
        Look { at, takes: stand.takes(), restarts, health }
    }
}

/// The middle value of what looks saw.
fn median(looks: &[Look], value: impl Fn(&Takes) -> u64) -> u64 {
    let mut values: Vec<u64> = looks.iter().map(|it| value(&it.takes)).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

/// The last quarter takes no more than the second, in which all is warm; and nobody was started again.
fn is_flat(looks: &[Look]) {
    let quarter = looks.len() / 4;
    let (early, late) = (&looks[quarter..2 * quarter], &looks[3 * quarter..]);
    let memory = |looks: &[Look]| median(looks, |it| it.memory);
    let (before, after) = (memory(early), memory(late));
    assert!(after <= before + before / 10 + MEMORY_SLACK, "memory grows: {before} then {after}");
    let descriptors = |looks: &[Look]| median(looks, |it| it.descriptors);
    let (before, after) = (descriptors(early), descriptors(late));
    assert!(after <= before + DESCRIPTOR_SLACK, "descriptors grow: {before} then {after}");
    let threads = |looks: &[Look]| median(looks, |it| it.threads);
    let (before, after) = (threads(early), threads(late));
    assert!(after <= before + DESCRIPTOR_SLACK, "threads grow: {before} then {after}");
    assert_eq!(looks.last().unwrap().restarts, 0, "somebody was started again: {}", looks.last().unwrap().health);
}

/// Each exchange was recorded, and stands in the files unless retention has deleted it.
fn all_is_recorded(stand: &Stand, health: &Value, sent: &[crate::traffic::Sent]) {
    let ledger = &health["ledger"];
    assert_eq!(ledger["recorded"], ledger["accepted"], "{ledger}");
    let lines = books::lines(stand.data_dir.path());
    let compared = books::compare(&lines.iter().collect::<Vec<&Line>>(), sent, None);
    println!("  in the files {compared:?}");
    let evicted = health["counters"]["evicted_traces"].as_u64().unwrap();
    // Until it ended, retention may have deleted more.
    assert!(lines.len() as u64 + evicted <= ledger["recorded"].as_u64().unwrap(), "{} {evicted} {ledger}", lines.len());
    let ids = lines.into_iter().map(|it| it.id).collect();
    assert_eq!(books::rows(stand.data_dir.path()), ids, "the index holds what the files hold");
}

/// `api-log verify` finds nothing.
fn is_verified(stand: &Stand) {
    // The test made the folder, as temporary ones are made.
    std::fs::set_permissions(stand.data_dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let verified = std::process::Command::new(env!("CARGO_BIN_EXE_api-log"))
        .args(["verify", "--json"])
        .env("APILOG_STORAGE_DATA_DIR", stand.data_dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(verified.status.success(), "{said} {}", String::from_utf8_lossy(&verified.stderr));
}

fn tell(looks: &[Look], events: &Events, health: &Value, exchanges: usize) {
    let last = looks.last().unwrap();
    let rate = exchanges as f64 / last.at.as_secs_f64();
    let of = |group: &str, name: &str| health[group][name].as_u64().unwrap();
    println!("soak of {} s: {exchanges} exchanges, {rate:.0} a second", last.at.as_secs());
    println!(
        "  events      {} reloads, {} rebuilds, {} segments sealed, {} traces deleted",
        events.reloads,
        events.rebuilds,
        of("recording", "sealed_segments"),
        of("counters", "evicted_traces")
    );
    println!("  ledger      {}", health["ledger"]);
    let eighth = (looks.len() / 8).max(1);
    let mut told = BTreeMap::new();
    for look in looks.iter().step_by(eighth).chain([last]) {
        told.insert(look.at, look.takes);
    }
    for (at, Takes { memory, descriptors, threads }) in told {
        println!("  {:>6} s    {} MiB, {descriptors} descriptors, {threads} threads", at.as_secs(), memory >> 20);
    }
}
