//! The recorder ends while it is busy: streams under way finish or are cut and say so, and all is recorded.

use std::time::Duration;

use api_log::counters::DropCause;

use super::rig::{Rig, until};
use super::traffic::{NUMBER, http_client};
use super::upstream::events;
use crate::faults;

/// Streams under way, each at its gate.
async fn gated_streams(rig: &mut Rig, count: u64) -> Vec<(u64, reqwest::Response, String)> {
    let first = rig.expect(count);
    let mut streams = Vec::new();
    for number in first..first + count {
        let url = format!("http://{}/gated/{number}", rig.proxy);
        let mut answer = http_client(true).post(url).header(NUMBER, number).send().await.unwrap();
        let begun = answer.chunk().await.unwrap().unwrap();
        streams.push((number, answer, String::from_utf8(begun.to_vec()).unwrap()));
    }
    streams
}

async fn is_refused(proxy: std::net::SocketAddr) {
    for _ in 0..2000 {
        if tokio::net::TcpStream::connect(proxy).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("new connections are not refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_under_way_finish_and_newcomers_are_refused() {
    let mut rig = Rig::start().await;
    rig.traffic(40).await;
    let streams = gated_streams(&mut rig, 5).await;
    let drained = tokio::spawn(rig.take_system().drain());
    is_refused(rig.proxy).await;
    rig.upstream.open_gate();
    for (number, answer, begun) in streams {
        assert_eq!(begun + &answer.text().await.unwrap(), events(number).concat());
    }
    assert!(drained.await.unwrap());
    rig.check_files().lost_nothing();
    assert_eq!(rig.rows().unwrap().len(), 45, "the index was drained last");
    assert!(rig.lines().iter().all(|line| line["disconnected"] == false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_finish_even_if_the_listener_had_died_and_rests() {
    let mut rig = Rig::start().await;
    let streams = gated_streams(&mut rig, 5).await;
    faults::arm("listener", 6);
    rig.traffic_until_struck("listener").await;
    let drained = tokio::spawn(rig.take_system().drain());
    is_refused(rig.proxy).await;
    rig.upstream.open_gate();
    for (number, answer, begun) in streams {
        assert_eq!(begun + &answer.text().await.unwrap(), events(number).concat());
    }
    assert!(drained.await.unwrap());
    rig.check_files().lost_nothing();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_does_not_end_is_cut_and_recorded_as_cut() {
    let mut rig = Rig::with(&[("APILOG_SHUTDOWN_GRACE", "1s")]).await;
    let streams = gated_streams(&mut rig, 3).await;
    assert!(rig.drain().await);
    rig.check_files().lost_nothing();
    assert!(rig.lines().iter().all(|line| line["disconnected"] == true), "{:?}", rig.lines());
    drop(streams);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_are_written_though_the_finalizers_rest_between_two_starts() {
    let mut rig = Rig::start().await;
    faults::arm("finalizers", 9);
    rig.traffic(80).await;
    until("the finalizers to die", || {
        let left = faults::left("finalizers");
        if left == 0 { Ok(()) } else { Err(format!("{left} to come")) }
    })
    .await;
    rig.traffic(80).await;
    assert!(rig.drain().await);
    rig.check_files().lost_nothing();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_are_written_though_the_writers_and_finalizers_die_while_the_recorder_ends() {
    let mut rig = Rig::start().await;
    let streams = gated_streams(&mut rig, 20).await;
    let drained = tokio::spawn(rig.take_system().drain());
    is_refused(rig.proxy).await;
    faults::arm("writers", 2);
    faults::arm("writer", 2);
    faults::arm("finalizer", 2);
    rig.upstream.open_gate();
    for (number, answer, begun) in streams {
        assert_eq!(begun + &answer.text().await.unwrap(), events(number).concat());
    }
    assert!(drained.await.unwrap());
    rig.check_files().lost_nothing();
}

/// Ends a recorder whose writers fail on and on, with so many traces that none of them takes.
async fn end_without_writers(rig: &mut Rig, traces: u64) {
    faults::arm("writers", u32::MAX);
    rig.traffic(traces).await;
    assert!(!rig.drain().await, "not all was finished");
    faults::arm("writers", 0);
    let seen = rig.counters.ledger.snapshot();
    assert!(seen.balanced && seen.accepted == traces && seen.recorded == 0, "{seen:?}");
}

/// Starts it again: what was left is recorded, each once.
async fn is_recorded_at_the_next_start(rig: &mut Rig, traces: u64) {
    let seen = rig.counters.ledger.snapshot();
    assert_eq!((seen.in_flight, rig.counters.recording.left_to_recover.get()), (traces, traces), "{seen:?}");
    rig.start_again().await;
    rig.expect(traces);
    rig.settled().await.lost_nothing();
    assert_eq!(rig.counters.recording.recovered.get(), traces);
    assert!(rig.lines().iter().all(|line| line["end"] == "complete"), "{:?}", rig.lines());
    assert!(rig.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_written_when_the_recorder_ends_is_recorded_at_the_next_start() {
    let mut rig = Rig::start().await;
    end_without_writers(&mut rig, 8).await;
    is_recorded_at_the_next_start(&mut rig, 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_memory_that_survives_it_is_spooled_at_the_end() {
    let mut rig = Rig::with(&[("APILOG_CAPTURE_ARENA_DIR", "/dev/null/none")]).await;
    rig.is_told("captures_unsafe", Some("do not survive")).await;
    end_without_writers(&mut rig, 8).await;
    is_recorded_at_the_next_start(&mut rig, 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_neither_be_written_nor_spooled_when_the_recorder_ends_is_counted() {
    let mut rig = Rig::with(&[("APILOG_CAPTURE_ARENA_DIR", "/dev/null/none")]).await;
    std::fs::remove_dir(rig.layout.tmp()).unwrap();
    std::fs::write(rig.layout.tmp(), "no folder").unwrap();
    end_without_writers(&mut rig, 8).await;
    rig.check_files().dropped_only(8, DropCause::Shutdown);
}
