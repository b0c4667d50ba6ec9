//! Panics, hangs, errors, blocked threads and floods, in all parts and at random.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::books::{self, Line};
use crate::readers::Readers;
use crate::schedule::{POINTS, Schedule};
use crate::stand::{Peak, Stand, is_current, until};
use crate::summary::Summary;
use crate::traffic::{Outcome, Traffic};
use crate::variable;

const SETTINGS: &[(&str, &str)] = &[
    // Small, so that a flood meets the bound and much is spooled.
    ("CAPTURE_MEMORY_BYTES", "8MiB"),
    ("CAPTURE_SPILL_BYTES", "64KiB"),
    // Small, so that segments are full soon, sealed and read sealed.
    ("STORAGE_SEGMENT_BYTES", "1MiB"),
    ("API_ACCESS_LOG", "true"),
];
/// It looks, kills and gives up after these times; what hangs is killed, and nothing here is beyond mending.
const WATCHDOG: &str = "200ms 4s 1h";
/// The longest pause of a client after an exchange.
const PAUSE: Duration = Duration::from_millis(100);
/// What was answered so long before a kill must be there.
const SETTLED: Duration = Duration::from_millis(50);
/// Clients of the life that is killed, of exchanges and of sockets. Of each, the end of one exchange may not have been
/// noted yet when the kill comes, however long its client has had it: who runs when is the machine's choice.
const KILLED_CLIENTS: (u64, u64) = (8, 2);
/// The days that retention and the sealer work on: how old the oldest is, how many there are, and lines in each.
const OLDEST: i32 = 900;
const PLANTED: i32 = 200;
const PLANTED_LINES: usize = 5;
/// More than it took before may remain: pools, caches, pages not yet given back.
const MEMORY_SLACK: u64 = 96 << 20;
const DESCRIPTOR_SLACK: u64 = 48;

#[test]
fn no_fault_of_any_part_reaches_a_client_or_loses_a_trace_uncounted() {
    let seed: u64 = variable("CHAOS_SEED").unwrap_or_else(rand::random);
    let time = Duration::from_secs(variable("CHAOS_SECONDS").unwrap_or(35));
    println!("CHAOS_SEED={seed} CHAOS_SECONDS={}", time.as_secs());

    let mut stand = Stand::new(SETTINGS, WATCHDOG, "");
    let (first, killed) = cut_short(&mut stand, seed);
    (0..PLANTED).for_each(|day| books::plant(stand.data_dir.path(), OLDEST - day, PLANTED_LINES));
    let before = books::lines(stand.data_dir.path()).len();
    stand.start_again("recovery panic times=2\nrecovery.hold fail times=3\nsealer panic times=2\n");
    let recovered = stand.settled()["recording"]["recovered"].as_u64().unwrap();
    assert!(recovered > 0, "captures were left");

    let begins = first.sent.len() as u64;
    let mut traffic = Traffic::start(stand.recorder.proxy, !seed, begins, 6, 2, PAUSE);
    until_begun(&traffic, begins + 100);
    let base = stand.takes();
    let readers = Readers::start(&stand);
    let (acts, peak) = unleash(&stand, &mut traffic, seed, time);
    let asked = readers.stop();
    stand.arm("");
    let second = traffic.stop();

    stand.settled();
    all_due_is_deleted(&stand);
    is_well_again(&stand);
    let health = stand.settled();
    let after = until("memory and descriptors are given back", || {
        let now = stand.takes();
        let is_back =
            now.memory <= base.memory + MEMORY_SLACK && now.descriptors <= base.descriptors + DESCRIPTOR_SLACK;
        if is_back { Ok(now) } else { Err(format!("{base:?} {now:?}")) }
    });
    let (seen, restarts) = (stand.seen(), stand.restarts());
    stand.end();

    let summary = Summary { acts, recovered, asked, base, peak, after, restarts, seen, health };
    println!("seed {seed}, {} s: {summary}", time.as_secs());
    assert!(second.complaints.is_empty(), "clients got what the gateway did not give: {:#?}", second.complaints);
    let lines = books::lines(stand.data_dir.path());
    books_are_right(&lines, before, [&first, &second], killed, &summary.health);
    let ids = lines.into_iter().map(|it| it.id).collect();
    assert_eq!(books::rows(stand.data_dir.path()), ids, "the index holds what the files hold");
    let unreached: Vec<&str> = POINTS.iter().map(|it| it.0).filter(|it| !summary.seen.contains_key(*it)).collect();
    assert!(unreached.is_empty(), "nothing passed these points: {unreached:?}");
    for folder in ["tmp", "arenas"] {
        let left = std::fs::read_dir(stand.data_dir.path().join(folder)).unwrap().count();
        assert_eq!(left, 0, "left behind in {folder}");
    }
}

/// A life that ends by SIGKILL: what its clients had, and when it was.
fn cut_short(stand: &mut Stand, seed: u64) -> (Outcome, Instant) {
    let (clients, sockets) = KILLED_CLIENTS;
    let traffic = Traffic::start(stand.recorder.proxy, seed, 0, clients, sockets, Duration::from_millis(20));
    until_begun(&traffic, 60);
    // From now on nothing is written: there are captures when it is killed.
    stand.arm("finalizers hang for=1h\n");
    until_begun(&traffic, traffic.begun() + 20);
    stand.kill();
    let killed = Instant::now();
    (traffic.stop(), killed)
}

/// Waits until so many exchanges were begun.
fn until_begun(traffic: &Traffic, wanted: u64) {
    until("some exchanges", || if traffic.begun() > wanted { Ok(()) } else { Err(traffic.begun().to_string()) });
}

/// One act after the other until the time is over and each fault has come up, which on a busy machine takes longer.
fn unleash(stand: &Stand, traffic: &mut Traffic, seed: u64, time: Duration) -> (u64, Peak) {
    let (mut schedule, mut acts, mut peak) = (Schedule::new(seed), 0, Peak::default());
    let began = Instant::now();
    while began.elapsed() < time || !schedule.is_round() {
        let act = schedule.next();
        stand.arm(&format!("seed {}\n{}", seed ^ acts, act.faults));
        if let Some(flood) = act.flood {
            traffic.flood(flood, seed ^ (acts << 16));
        }
        // Two more days have outlived the limit: retention is woken, and has something to delete.
        let age = OLDEST - (acts as i32 * 2 + 2).min(PLANTED - 10);
        let _ = stand.ask("PUT", "/api/config/retention", &format!("{{\"max_age_days\": {age}}}"));
        std::thread::sleep(act.lasts);
        peak.look(stand);
        acts += 1;
    }
    (acts, peak)
}

/// Retention has finished all it had begun, and begins nothing more: whoever counts finds what was counted.
fn all_due_is_deleted(stand: &Stand) {
    let sweeps = || stand.health()["storage"]["sweeps"].as_u64().unwrap();
    // One may be under way that has passed something over.
    for _ in 0..2 {
        let before = sweeps();
        let asked = || stand.ask("PUT", "/api/config/retention", "{}").is_some_and(|it| it.0 == 200);
        until("retention is asked", || if asked() { Ok(()) } else { Err(String::new()) });
        until("a sweep", || if sweeps() > before { Ok(()) } else { Err(before.to_string()) });
    }
    let days = std::fs::read_dir(stand.data_dir.path()).unwrap().map(|it| it.unwrap().path());
    let files = days.filter(|it| it.is_dir()).flat_map(|day| std::fs::read_dir(day).unwrap());
    let marks: Vec<_> =
        files.map(|it| it.unwrap().path()).filter(|it| it.extension() == Some("deleting".as_ref())).collect();
    assert!(marks.is_empty(), "deletions that were begun and are not finished: {marks:?}");
}

/// Every part runs, and nothing is wrong any more.
fn is_well_again(stand: &Stand) {
    until("every part is well again", || {
        let health = stand.health();
        let rows = health["supervision"]["children"].as_array().unwrap();
        let resting: Vec<&Value> = rows.iter().filter(|it| it["state"] != "running").collect();
        let degraded = health["degraded"].as_array().unwrap();
        // A segment that could not be sealed rests for minutes until it is tried again.
        let wrong: Vec<&Value> = degraded.iter().filter(|it| it["condition"] != "sealing").collect();
        let ready = stand.ask("GET", "/readyz", "");
        let is_ready = ready.as_ref().is_some_and(|it| it.0 == 200);
        let index = &health["index"];
        match resting.is_empty() && wrong.is_empty() && is_ready && is_current(index) {
            true => Ok(()),
            false => Err(format!("{resting:?} {wrong:?} {ready:?} {index}")),
        }
    });
}

/// What was sent, what stands, what was counted: all of it adds up.
fn books_are_right(lines: &[Line], before: usize, lives: [&Outcome; 2], killed: Instant, health: &Value) {
    let ledger = &health["ledger"];
    let count = |name: &str| ledger[name].as_u64().unwrap();
    let dropped: u64 = ledger["dropped"].as_object().unwrap().values().map(|it| it.as_u64().unwrap()).sum();
    assert_eq!(ledger["balanced"], true, "{ledger}");
    assert_eq!(count("accepted"), count("recorded") + count("filtered") + dropped, "{ledger}");

    let evicted = health["counters"]["evicted_traces"].as_u64().unwrap();
    let now = lines.len() as u64 + evicted;
    assert_eq!(now - before as u64, count("recorded"), "lines in the files, {evicted} deleted: {ledger}");
    let planted = lines.iter().filter(|it| it.number.is_none()).count() as u64;
    assert_eq!(planted + evicted, PLANTED as u64 * PLANTED_LINES as u64, "what was deleted");
    assert!(evicted > 0, "retention deleted nothing");

    let begins = lives[0].sent.len() as u64;
    let (first, second): (Vec<&Line>, Vec<&Line>) =
        lines.iter().filter(|it| it.number.is_some()).partition(|it| it.number < Some(begins));
    let first = books::compare(&first, &lives[0].sent, Some(killed - SETTLED));
    let second = books::compare(&second, &lives[1].sent, None);
    println!("before the kill: {first:?}\nafter it: {second:?}");
    assert!(first.unended <= KILLED_CLIENTS.0, "{first:?}");
    // Where bytes of a socket were not copied or its reader failed, turns are no pieces of their own; if no line tells so,
    // one that would have was dropped.
    let incident = |name: &str| health["recording"][name].as_u64().unwrap();
    let are_all_read = incident("socket_bytes_missed") + incident("socket_readers_failed") == 0;
    let of_sockets = if are_all_read { second.missing_turns } else { second.lacking_sockets };
    let missing = first.missing_delivered + second.missing + of_sockets;
    assert!(missing <= dropped, "{missing} are missing, {dropped} were counted: {ledger}");
}
