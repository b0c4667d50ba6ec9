//! Stretches of a log that end in any order.

use std::time::Instant;

use api_log::ids::{TraceId, UnixMillis};

use super::*;
use crate::record::log::{Log, tests::shared};

fn opening() -> (Arc<Log>, Arc<Captured>, tempfile::TempDir) {
    let (shared, dir) = shared(1 << 20);
    let id = TraceId::from_bytes([1; 16]);
    let log =
        Log::begin(&shared, id, UnixMillis(0), ([127, 0, 0, 1], 1).into(), "http://gw", b"GET / HTTP/1.1\r\n\r\n");
    let log_again = CapturedLog::Live(log.clone());
    let captured = Captured { log: log_again, plugins: None, handed_over: Instant::now(), in_flight: None };
    (log, Arc::new(captured), dir)
}

#[test]
fn a_stretch_is_covered_when_its_pieces_and_all_before_it_are_done() {
    let (log, opening, _dir) = opening();
    let first = Stretch::first(opening.clone());
    let second = first.next(100);
    let third = second.next(200);
    drop(second);
    assert_eq!(log.covered(), 0, "the first has a piece without outcome");
    drop(first);
    assert_eq!(log.covered(), 200);
    let fourth = third.next(300);
    let piece = third.clone();
    drop(third);
    assert_eq!(log.covered(), 200);
    drop(piece);
    assert_eq!(log.covered(), 300);
    drop(fourth);
    assert_eq!(log.covered(), 300, "the last one ends with its socket");
}

#[test]
fn any_number_of_stretches_ends_at_once() {
    let (log, opening, _dir) = opening();
    let first = Stretch::first(opening);
    let mut last = first.clone();
    for end in 1..=100_000 {
        last = last.next(end);
    }
    drop(last);
    assert_eq!(log.covered(), 0);
    drop(first);
    assert_eq!(log.covered(), 100_000);
}
