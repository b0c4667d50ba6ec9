//! Which fault comes when: all points of the recorder in all ways that it must bear, in an order that a seed gives.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::traffic::Flood;

/// A disk that is full for longer than traces wait for it.
const FULL: &str = "io error=enospc times=100000";
/// How long an act lasts; it decides nothing but how much may happen in it.
const ACT: Duration = Duration::from_millis(900);
/// How long one with a full disk lasts: until bodies are dropped, and then lines.
const LONG_ACT: Duration = Duration::from_secs(6);

/// A point, and the ways in which it fails here. A hang is longer than the watchdog's patience where that watches,
/// and each ends by itself; what blocks a thread is shorter.
pub(crate) const POINTS: &[(&str, &[&str])] = &[
    ("access_log", &["panic times=2", "hang for=20s times=1"]),
    ("access_log.write", &["panic times=2", "io error=enospc times=3", "block for=300ms times=1"]),
    ("api", &["panic times=2", "hang for=300ms times=2", "block for=200ms times=1"]),
    ("api.accept", &["panic times=2", "block for=200ms times=1"]),
    ("api.read", &["panic times=2", "hang for=400ms times=2"]),
    ("arena", &["panic times=2", "hang for=20s times=1", "block for=300ms times=1"]),
    ("connection", &["fail times=20"]),
    ("disk", &["panic times=1", "hang for=20s times=1"]),
    ("finalizer", &["panic times=5", "block for=300ms times=2"]),
    // Passed only by a trace whose first try failed. Three failures are the end of a trace.
    ("finalizer.raw", &["panic times=4\nfinalizer panic times=3", "block for=200ms times=1\nfinalizer panic times=2"]),
    ("finalizers", &["panic times=3", "hang for=20s times=1", "block for=400ms times=1"]),
    ("finalizers.took", &["panic times=3"]),
    ("index", &["panic times=3", "hang for=20s times=1", "block for=400ms times=1"]),
    ("index.write", &["panic times=2", "io error=eio times=3", "io error=enospc times=2"]),
    ("intake.wake", &["fail times=5"]),
    // A panic there ends clients' connections, and is no fault that they could be spared.
    ("lane", &["block for=300ms times=2"]),
    ("listener", &["panic times=3", "hang for=20s times=1"]),
    ("listener.accept", &["io error=emfile times=3", "panic times=2"]),
    ("media.write", &["io error=eio times=3", "panic times=2"]),
    ("otlp", &["panic times=2", "hang for=20s times=1"]),
    ("otlp.send", &["panic times=3", "block for=300ms times=1"]),
    ("plugins", &["panic times=2", "hang for=20s times=1"]),
    ("plugins.persist", &["io error=enospc times=2", "panic times=1"]),
    ("plugins.persisted", &["panic times=2"]),
    ("recovery", &["panic times=3"]),
    ("recovery.hold", &["fail times=5"]),
    ("sealer", &["panic times=2", "hang for=20s times=1"]),
    ("sealer.refused", &["io error=enospc times=1"]),
    ("sealer.written", &["panic times=2"]),
    ("socket", &["panic times=3", "block for=200ms times=1"]),
    ("sockets", &["panic times=3", "hang for=20s times=1"]),
    ("spool", &["panic times=3", "block for=300ms times=1"]),
    ("spool.write", &["io error=enospc times=5", "io error=eio times=2", "panic times=2"]),
    ("sweeper", &["panic times=1", "hang for=20s times=1"]),
    ("sweeper.marked", &["panic times=1"]),
    ("sweeper.unindexed", &["panic times=1", "hang for=20s times=1"]),
    ("viewer", &["panic times=2", "hang for=20s times=1"]),
    ("watchdog", &["panic times=2", "block for=300ms times=1"]),
    ("writer", &["panic times=5", "block for=500ms times=1"]),
    ("writer.appended", &["panic times=3", "block for=200ms times=1"]),
    ("writer.refused", &["io error=enospc times=4", "io error=eio times=3", "io error=erofs times=2", FULL]),
    ("writers", &["panic times=3", "hang for=20s times=1", "block for=300ms times=1"]),
];

/// What happens for a while.
#[derive(Debug)]
pub(crate) struct Act {
    /// In the form of the file of faults.
    pub(crate) faults: String,
    pub(crate) flood: Option<Flood>,
    pub(crate) lasts: Duration,
}

/// Acts without an end.
pub(crate) struct Schedule {
    random: StdRng,
    /// Still to come of this round.
    deck: Vec<(&'static str, &'static str)>,
    rounds: u64,
}

impl Schedule {
    pub(crate) fn new(seed: u64) -> Schedule {
        Schedule { random: StdRng::seed_from_u64(seed), deck: Vec::new(), rounds: 0 }
    }

    /// Whether every way of every point has come up.
    pub(crate) fn is_round(&self) -> bool {
        self.rounds > 1 || self.rounds == 1 && self.deck.is_empty()
    }

    /// The next one: two or three points that fail in one of their ways. Within a round every way of every point comes
    /// up once.
    pub(crate) fn next(&mut self) -> Act {
        let wanted = self.random.random_range(2..=3);
        let mut chosen: Vec<(&str, &str)> = Vec::new();
        while chosen.len() < wanted {
            if self.deck.is_empty() {
                self.deck =
                    POINTS.iter().flat_map(|(point, ways)| ways.iter().map(move |way| (*point, *way))).collect();
                self.deck.shuffle(&mut self.random);
                self.rounds += 1;
            }
            let next = self.deck.pop().unwrap();
            // A point has one way at a time.
            if chosen.iter().any(|(point, _)| *point == next.0) {
                self.deck.insert(0, next);
                break;
            }
            chosen.push(next);
        }
        let faults = chosen.iter().map(|(point, way)| format!("{point} {way}\n")).collect();
        let lasts = if chosen.iter().any(|(_, way)| *way == FULL) { LONG_ACT } else { ACT };
        let flood = match self.random.random_range(0..12) {
            0 => Some(Flood::Connections),
            1 | 2 => Some(Flood::Bodies),
            3 => Some(Flood::Sockets),
            _ => None,
        };
        Act { faults, flood, lasts }
    }
}

#[test]
fn every_point_of_the_recorder_fails_here() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/actors/faults.rs")).unwrap();
    let (_, list) = text.split_once("const POINTS").unwrap();
    let (list, _) = list.split_once("];").unwrap();
    let listed: Vec<&str> =
        list.lines().filter_map(|line| line.trim().strip_prefix("(\"")?.split('"').next()).collect();
    let here: Vec<&str> = POINTS.iter().map(|(point, _)| *point).collect();
    assert_eq!(here, listed);
}

#[test]
fn the_same_seed_gives_the_same_acts() {
    let acts = |seed| {
        let mut schedule = Schedule::new(seed);
        (0..100).map(|_| format!("{:?}", schedule.next())).collect::<Vec<_>>()
    };
    assert_eq!(acts(1), acts(1));
    assert_ne!(acts(1), acts(2));
}
