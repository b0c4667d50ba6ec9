//! The shipped program killed at random moments under mixed load, and what must stand in the files afterwards.
//!
//! `CRASH_ROUNDS` says how often, `CRASH_SEED` with what seed; both are printed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by it, as it should")]

mod client;
mod gateway;
mod recorder;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::{Clients, Sent};
use gateway::Gateway;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use recorder::Recorder;
use serde_json::Value;

/// What was answered so long before the kill must be there.
const SETTLED: Duration = Duration::from_millis(50);

#[test]
fn whatever_a_client_had_in_full_survives_a_kill_at_any_moment_exactly_once() {
    let rounds: u32 = variable("CRASH_ROUNDS").unwrap_or(10);
    let seed: u64 = variable("CRASH_SEED").unwrap_or_else(rand::random);
    println!("CRASH_ROUNDS={rounds} CRASH_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut dir = tempfile::tempdir().unwrap();
    dir.disable_cleanup(std::env::var_os("CRASH_KEEP").is_some());
    let gateway = Gateway::start();
    let mut seen = Seen::default();
    for round in 0..rounds {
        let recorder = Recorder::start(dir.path(), gateway.address);
        let clients = Clients::start(recorder.proxy, round, random.random(), &gateway);
        // Some die while they still recover what the one before left.
        let lives = if random.random_ratio(1, 4) { 5..60 } else { 100..700 };
        std::thread::sleep(Duration::from_millis(random.random_range(lives)));
        let killed = Instant::now();
        recorder.kill();
        seen.round(clients.stop(), killed);
    }
    let recorder = Recorder::start(dir.path(), gateway.address);
    let recovered = recorder.settle();
    let lines = recorder.finish();
    seen.check(&lines, &recorder::rows(dir.path()));
    println!("{seen}, recovered by the last start: {recovered}");
    let left: Vec<_> = std::fs::read_dir(dir.path().join("tmp")).unwrap().map(|it| it.unwrap().path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    let left: Vec<_> = std::fs::read_dir(dir.path().join("arenas")).unwrap().map(|it| it.unwrap().path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// What clients saw in all rounds.
#[derive(Default)]
struct Seen {
    /// By number: what must be in the files.
    settled: BTreeMap<u64, Arc<Sent>>,
    /// What a client had in full in the last moment.
    late: BTreeMap<u64, Arc<Sent>>,
    /// What was under way, and how many bytes of the answer its client had in time.
    cut: BTreeMap<u64, (Arc<Sent>, usize)>,
    late_missing: usize,
    interrupted: usize,
}

impl Seen {
    fn round(&mut self, sent: Vec<Sent>, killed: Instant) {
        for sent in sent.into_iter().map(Arc::new) {
            let until = killed - SETTLED;
            match sent.done {
                Some(done) if done <= until => drop(self.settled.insert(sent.number, sent)),
                Some(_) => drop(self.late.insert(sent.number, sent)),
                None => {
                    let had = sent.arrivals.iter().take_while(|(at, _)| *at <= until).map(|(_, bytes)| *bytes).sum();
                    if had > 0 {
                        self.cut.insert(sent.number, (sent, had));
                    }
                }
            }
        }
    }

    fn check(&mut self, lines: &[Value], rows: &BTreeSet<String>) {
        let ids: BTreeSet<String> = lines.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), lines.len(), "an id stands twice");
        assert_eq!(rows, &ids, "the index holds what the files hold");
        let mut by_number: BTreeMap<u64, Vec<&Value>> = BTreeMap::new();
        for line in lines {
            by_number.entry(number_of(line)).or_default().push(line);
        }
        for (number, sent) in self.settled.iter().chain(&self.late) {
            let found = by_number.get(number).map(Vec::as_slice).unwrap_or_default();
            if found.is_empty() && self.late.contains_key(number) {
                self.late_missing += 1;
                continue;
            }
            assert!(!found.is_empty(), "{sent:?} was answered in full and is not there");
            sent.is_in(found);
        }
        for (number, (sent, had)) in &self.cut {
            let found = by_number.get(number).map(Vec::as_slice).unwrap_or_default();
            assert!(!found.is_empty(), "{sent:?} was under way and is not there");
            sent.is_begun_in(found, *had);
            self.interrupted += found.iter().filter(|it| it["end"] == "interrupted").count();
        }
        for found in by_number.values().filter(|it| it[0]["ws"].is_null()) {
            assert_eq!(found.len(), 1, "an exchange stands twice: {found:#?}");
        }
        for line in lines.iter().filter(|it| it["end"] == "interrupted") {
            assert_eq!(line["disconnected"], true, "{line}");
        }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Seen { settled, late, cut, late_missing, interrupted } = self;
        let late = late.len();
        write!(
            f,
            "{} answered in full and all there; {late} in the last {SETTLED:?}, of which {late_missing} are missing; \
             {} under way and all there, {interrupted} as interrupted",
            settled.len(),
            cut.len()
        )
    }
}

fn number_of(line: &Value) -> u64 {
    line["req"]["headers"]["x-number"].as_str().unwrap_or_else(|| panic!("{line}")).parse().unwrap()
}

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}
