//! The ceiling of a shutdown: what cannot be written in time is left to the next start, which records it once, or counted.

use std::time::Duration;

use serde_json::Value;

use crate::recorder::until;
use crate::rows::nothing_is_lost;
use crate::stand::Stand;
use crate::traffic::{Kind, Outcome, Traffic};

/// As in a program that is not broken: nobody is killed in time.
const WATCHDOG: &str = "5s 60s 240s";
/// No memory that survives the process: whatever is left must be spooled.
const NO_ARENA: (&str, &str) = ("CAPTURE_ARENA_DIR", "/dev/null/none");

/// What the recorder said that it could not write: how many it left to the next start, and how many it counted as dropped.
#[derive(Debug, PartialEq, Eq)]
struct Rest {
    left: u64,
    dropped: u64,
}

/// Exchanges of all kinds, each of which has its answer, while this is broken; then two signals, and no time any more.
fn hurried(settings: &[(&str, &str)], faults: &str, each: usize) -> (Stand, Outcome, Rest) {
    let mut stand = Stand::new(settings, WATCHDOG, faults);
    let mut traffic = Traffic::start(stand.recorder.proxy, 3, 0, 0, 0, Duration::ZERO);
    for kind in [Kind::Chat, Kind::Picture, Kind::Stream, Kind::Upload, Kind::Large, Kind::Cut] {
        traffic.send(kind, each);
    }
    let outcome = traffic.stop();
    for said in ["ending: streams", "hurrying"] {
        stand.recorder.signal(libc::SIGTERM);
        until(said, || stand.recorder.log().contains(said).then_some(()));
    }
    // In a hurry it has ten seconds.
    assert_eq!(stand.ended().code(), Some(1), "not all was done");
    let log = stand.recorder.log();
    let mut said = log.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let rest = said.find_map(|it| Some(Rest { left: it["left"].as_u64()?, dropped: it["dropped"].as_u64()? }));
    (stand, outcome, rest.unwrap_or_else(|| panic!("it does not say what it left: {log}")))
}

/// Starts it again without faults: all that was left is recorded, each exchange once.
fn is_recorded_at_the_next_start(mut stand: Stand, outcome: &Outcome, recovered: u64) {
    stand.start_again("");
    let health = stand.settled();
    let (ledger, recording) = (&health["ledger"], &health["recording"]);
    assert_eq!((&recording["recovered"], &recording["unreadable_logs"]), (&recovered.into(), &0.into()), "{recording}");
    assert_eq!((&ledger["accepted"], &ledger["recorded"]), (&recovered.into(), &recovered.into()), "{ledger}");
    stand.indexed();
    stand.end();
    nothing_is_lost(&stand, outcome, 0);
}

#[test]
fn what_a_stalled_writer_keeps_is_recorded_at_the_next_start() {
    let (stand, outcome, rest) = hurried(&[], "writer block for=1h", 5);
    assert_eq!(rest, Rest { left: outcome.sent.len() as u64, dropped: 0 });
    is_recorded_at_the_next_start(stand, &outcome, rest.left);
}

#[test]
fn what_a_stalled_writer_keeps_is_spooled_where_memory_does_not_survive() {
    let (stand, outcome, rest) = hurried(&[NO_ARENA], "writer block for=1h", 5);
    assert_eq!(rest, Rest { left: outcome.sent.len() as u64, dropped: 0 });
    is_recorded_at_the_next_start(stand, &outcome, rest.left);
}

#[test]
fn lines_that_stand_though_nobody_knows_are_not_written_again() {
    let (stand, outcome, rest) = hurried(&[], "writer.appended block for=1h", 5);
    let stood = crate::books::lines(stand.data_dir.path()).len() as u64;
    assert!(stood > 0, "{rest:?}");
    // They count as recorded; what was captured of them is still there, and forgotten at the next start.
    assert_eq!(rest, Rest { left: outcome.sent.len() as u64 - stood, dropped: 0 });
    is_recorded_at_the_next_start(stand, &outcome, rest.left);
}

#[test]
fn many_captures_that_nobody_finalizes_are_recorded_at_the_next_start() {
    let (stand, outcome, rest) = hurried(&[], "finalizers hang for=1h", 50);
    assert_eq!(rest, Rest { left: outcome.sent.len() as u64, dropped: 0 });
    is_recorded_at_the_next_start(stand, &outcome, rest.left);
}

#[test]
fn what_can_neither_be_written_nor_spooled_is_counted() {
    let (mut stand, outcome, rest) = hurried(&[NO_ARENA], "writer block for=1h\nspool.write io error=enospc\n", 5);
    assert_eq!(rest.left + rest.dropped, outcome.sent.len() as u64);
    assert!(rest.dropped > 0, "{rest:?}");
    stand.start_again("");
    assert_eq!(stand.settled()["recording"]["recovered"], rest.left);
    stand.end();
    let lines = crate::books::lines(stand.data_dir.path());
    let compared = crate::books::compare(&lines.iter().collect::<Vec<_>>(), &outcome.sent, None);
    assert_eq!(compared.missing, rest.dropped, "{compared:?}");
}
