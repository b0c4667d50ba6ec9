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
use crate::stand::{PATIENCE, Stand, Takes, until};
use crate::traffic::{Sent, Traffic};
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
#[derive(Debug)]
struct Look {
    at: Duration,
    takes: Takes,
    health: Value,
}

#[test]
fn nothing_grows_while_hours_pass_in_seconds() {
    let time = Duration::from_secs(variable("SOAK_SECONDS").unwrap_or(25));
    println!("SOAK_SECONDS={}", time.as_secs());
    let mut soak = Soak::new(time);
    soak.half(time / 2, |_| true);
    let warm = soak.stand.takes();
    soak.half(time / 2, Soak::have_all_come);
    let health = soak.is_well();
    soak.tell(&health);
    let rested = until("memory, descriptors and threads are given back", || is_flat(warm, soak.stand.takes()));
    println!("  at rest     {warm} when half was over, {rested} in the end");
    assert_eq!(restarts(&health), 0, "somebody was started again: {health}");
    soak.stand.end();

    assert!(soak.complaints.is_empty(), "{:#?}", soak.complaints);
    all_is_recorded(&soak.stand, &health, &soak.sent);
    is_verified(&soak.stand);
}

/// A program under way, and what was done to it.
struct Soak {
    stand: Stand,
    time: Duration,
    began: Instant,
    looks: Vec<Look>,
    reloads: u32,
    rebuilds: u32,
    sent: Vec<Sent>,
    complaints: Vec<String>,
    asked: BTreeMap<u16, u64>,
}

impl Soak {
    fn new(time: Duration) -> Soak {
        let stand = Stand::new(SETTINGS, WATCHDOG, "");
        let began = Instant::now();
        let (looks, sent, complaints, asked) = Default::default();
        Soak { stand, time, began, looks, reloads: 0, rebuilds: 0, sent, complaints, asked }
    }

    /// Traffic and all the rest for so long and until it `is_enough`; then a rest. What a program takes at work is as much
    /// as the machine makes it keep: on a slow disk captures wait. At rest it takes what it has not given back.
    fn half(&mut self, time: Duration, is_enough: impl Fn(&Soak) -> bool) {
        let (seed, first) = (self.looks.len() as u64, self.sent.len() as u64);
        let traffic = Traffic::start(self.stand.recorder.proxy, seed, first, 6, 2, PAUSE);
        let readers = Readers::start(&self.stand);
        let began = Instant::now();
        while began.elapsed() < time || !is_enough(self) {
            let look = Look::at(self.began.elapsed(), &self.stand);
            self.go_on(&look);
            self.looks.push(look);
            assert!(began.elapsed() < time + PATIENCE, "not every kind of event came: {:?}", self.looks.last());
            std::thread::sleep((self.time / LOOKS).min(LOOK_EVERY));
        }
        for (status, count) in readers.stop() {
            *self.asked.entry(status).or_default() += count;
        }
        let outcome = traffic.stop();
        self.sent.extend(outcome.sent);
        self.complaints.extend(outcome.complaints);
        self.is_well();
    }

    /// Waits until all that was sent is recorded and in the index, and nothing is wrong.
    fn is_well(&self) -> Value {
        let health = self.stand.settled();
        self.stand.indexed();
        until("nothing is wrong", || {
            let degraded = &self.stand.health()["degraded"];
            if *degraded == serde_json::json!([]) { Ok(()) } else { Err(degraded.to_string()) }
        });
        health
    }

    /// Has the configuration read again at each look, and now and then the index made anew.
    fn go_on(&mut self, look: &Look) {
        // The key changes at each reload, and is one that can.
        let slow = 30 + self.reloads % 2;
        std::fs::write(&self.stand.config, format!("timeouts:\n  slow_trace: {slow}s\n")).unwrap();
        self.stand.recorder.signal(libc::SIGHUP);
        until("the configuration is read again", || {
            let health = self.stand.health();
            let is_new = health["reload"] != look.health["reload"] && !health["reload"].is_null();
            if is_new { Ok(()) } else { Err(health["reload"].to_string()) }
        });
        self.reloads += 1;
        if look.at >= (self.time / (REBUILDS + 1)).min(REBUILD_EVERY) * (self.rebuilds + 1) {
            let (status, text) = self.stand.ask("POST", "/api/index/rebuild", "").unwrap();
            assert_eq!(status, 202, "{text}");
            self.rebuilds += 1;
        }
    }

    fn have_all_come(&self) -> bool {
        let Some(Look { health, .. }) = self.looks.last() else { return false };
        let sealed = health["recording"]["sealed_segments"].as_u64().unwrap();
        let evicted = health["counters"]["evicted_traces"].as_u64().unwrap();
        self.reloads > 3 && self.rebuilds > 1 && sealed > 2 && evicted > 0
    }

    fn tell(&self, health: &Value) {
        let exchanges = self.sent.len();
        let rate = exchanges as f64 / self.began.elapsed().as_secs_f64();
        let of = |group: &str, name: &str| health[group][name].as_u64().unwrap();
        println!("soak of {} s: {exchanges} exchanges, {rate:.0} a second", self.began.elapsed().as_secs());
        println!(
            "  events      {} reloads, {} rebuilds, {} segments sealed, {} traces deleted",
            self.reloads,
            self.rebuilds,
            of("recording", "sealed_segments"),
            of("counters", "evicted_traces")
        );
        println!("  ledger      {}", health["ledger"]);
        println!("  read API    {:?}", self.asked);
        let eighth = (self.looks.len() / 8).max(1);
        for Look { at, takes, .. } in self.looks.iter().step_by(eighth) {
            println!("  {:>6} s    {takes}", at.as_secs());
        }
    }
}

impl Look {
    fn at(at: Duration, stand: &Stand) -> Look {
        let health = stand.health();
        assert_eq!(health["ledger"]["balanced"], true, "{health}");
        Look { at, takes: stand.takes(), health }
    }
}

/// Whether a rest takes no more than the first one, in which all was warm.
fn is_flat(warm: Takes, now: Takes) -> Result<Takes, String> {
    let is_flat = now.memory <= warm.memory + warm.memory / 10 + MEMORY_SLACK
        && now.descriptors <= warm.descriptors + DESCRIPTOR_SLACK
        && now.threads <= warm.threads + DESCRIPTOR_SLACK;
    if is_flat { Ok(now) } else { Err(format!("{warm} then {now}")) }
}

/// How often somebody was started again.
fn restarts(health: &Value) -> u64 {
    let of = |list: &str, count: &str| -> u64 {
        health["supervision"][list].as_array().unwrap().iter().map(|it| it[count].as_u64().unwrap()).sum()
    };
    of("children", "restarts") + of("nurseries", "failed")
}

/// Each exchange was recorded, and stands in the files unless retention has deleted it.
fn all_is_recorded(stand: &Stand, health: &Value, sent: &[Sent]) {
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
