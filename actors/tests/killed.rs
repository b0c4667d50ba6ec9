//! Each kind of actor dies several times under traffic: no client notices, no trace is lost.

use api_log::counters::DropCause;

use super::rig::{Rig, until};
use super::traffic;
use crate::faults;
use crate::kit::WatchdogMsg;
use crate::record::sealer;

/// How often each dies: often enough to die of its own restart, and within the supervisor's patience.
const TIMES: u32 = 4;

/// Panics at a point of a child of the table; nothing is lost, and health tells.
async fn dies_and_nothing_is_lost(child: &str, point: &'static str) -> Rig {
    let mut rig = Rig::start().await;
    rig.traffic(40).await;
    faults::arm(point, TIMES);
    rig.traffic_until_struck(point).await;
    rig.traffic(40).await;
    rig.settled().await.lost_nothing();
    rig.shows_restarts(child, TIMES.into(), point).await;
    rig
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_dies() {
    dies_and_nothing_is_lost("index", "index").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_writers_die() {
    dies_and_nothing_is_lost("writers", "writers").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_finalizers_die_and_no_trace_is_recorded_raw_for_it() {
    let rig = dies_and_nothing_is_lost("finalizers", "finalizers").await;
    assert_eq!(rig.counters.recording.finalized_raw.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_finalizers_die_between_holding_a_trace_and_starting_its_finalizer() {
    let rig = dies_and_nothing_is_lost("finalizers", "finalizers.took").await;
    assert_eq!(rig.counters.recording.finalized_raw.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_listener_dies_and_connections_are_served_on() {
    dies_and_nothing_is_lost("listener", "listener").await;
}

/// An end that is no drain must not close the socket for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_task_that_accepts_dies_and_the_next_one_accepts_on() {
    let mut rig = Rig::start().await;
    rig.traffic(40).await;
    faults::arm_to("listener.accept", faults::What::Panic, TIMES);
    rig.traffic_until_struck("listener.accept").await;
    rig.traffic(40).await;
    rig.settled().await.lost_nothing();
    rig.shows_restarts("listener", TIMES.into(), "listener.accept").await;
    let health = rig.health().await;
    assert_eq!((&health["ready"], &health["degraded"]), (&true.into(), &serde_json::json!([])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connections_actor_dies_and_its_client_is_served_on() {
    let mut rig = Rig::start().await;
    faults::arm("connection", 10);
    rig.traffic_until_struck("connection").await;
    rig.traffic(40).await;
    rig.settled().await.lost_nothing();
    assert_eq!(rig.nursery("connections").await["failed"], 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_dies_before_it_appends_and_its_lines_are_asked_for_again() {
    let mut rig = Rig::start().await;
    faults::arm("writer", 10);
    rig.traffic_until_struck("writer").await;
    rig.settled().await.lost_nothing();
    assert_eq!(rig.nursery("writers").await["failed"], 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_dies_after_it_appended_and_no_line_stands_twice_or_lacks_its_row() {
    let mut rig = Rig::start().await;
    for _ in 0..3 {
        faults::arm("writer.appended", 1);
        rig.traffic_until_struck("writer.appended").await;
    }
    let asked = rig.counters.ledger.snapshot().accepted;
    until("every outcome", || {
        let seen = rig.counters.ledger.snapshot();
        if seen.in_flight == 0 && seen.recorded == asked { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    let lines = rig.lines();
    assert_eq!(lines.len() as u64, asked);
    assert_eq!(rig.by_number().len() as u64, asked, "an exchange stands twice in the files");
    rig.rows_are_there().await;
    assert_eq!(rig.nursery("writers").await["failed"], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finalizer_dies_and_its_trace_is_recorded_raw() {
    let mut rig = Rig::start().await;
    faults::arm("finalizer", 10);
    rig.traffic_until_struck("finalizer").await;
    rig.settled().await.lost_nothing();
    assert_eq!(rig.nursery("finalizers").await["failed"], 10);
    assert_eq!(rig.counters.recording.finalized_raw.get(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_that_no_finalizer_survives_is_given_up_and_counted() {
    let mut rig = Rig::start().await;
    faults::arm("finalizer", 1);
    faults::arm("finalizer.raw", 2);
    rig.traffic(1).await;
    rig.settled().await.dropped_only(1, DropCause::FinalizeFail);
    rig.traffic(40).await;
    rig.settled().await.dropped_only(1, DropCause::FinalizeFail);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_dies_and_answers_again() {
    let mut rig = Rig::start().await;
    for died in 1..=u64::from(TIMES) {
        rig.slots.api.cast_when_there(crate::api::Msg::Panic).await;
        rig.traffic(20).await;
        rig.shows_restarts("api", died, "asked to").await;
    }
    rig.settled().await.lost_nothing();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_watchdog_dies() {
    let mut rig = Rig::start().await;
    for died in 1..=u64::from(TIMES) {
        faults::arm("watchdog", 1);
        rig.slots.watchdog.cast_when_there(WatchdogMsg::Look).await;
        rig.traffic(20).await;
        rig.shows_restarts("watchdog", died, "watchdog").await;
    }
    rig.settled().await.lost_nothing();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sealer_dies() {
    let mut rig = Rig::start().await;
    for died in 1..=u64::from(TIMES) {
        faults::arm("sealer", 1);
        rig.slots.sealer.cast_when_there(sealer::Msg::Look).await;
        rig.traffic(20).await;
        rig.shows_restarts("sealer", died, "sealer").await;
    }
    rig.settled().await.lost_nothing();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_wake_delays_a_trace_and_no_more() {
    let mut rig = Rig::start().await;
    faults::arm("intake.wake", 1);
    rig.traffic_until_struck("intake.wake").await;
    rig.settled().await.lost_nothing();
}

/// Kills, which drop a handler where it awaits, come at moments that no panic does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_of_them_is_killed_at_any_moment() {
    let seed = std::env::var("CHAOS_SEED").ok().and_then(|it| it.parse().ok()).unwrap_or_else(rand::random::<u64>);
    println!("CHAOS_SEED={seed}");
    let mut random = seed | 1;
    let mut rig = Rig::start().await;
    let slots = rig.slots.clone();
    let kills: [&(dyn Fn() + Sync); 7] = [
        &|| slots.index.kill(),
        &|| slots.writers.kill(),
        &|| slots.sealer.kill(),
        &|| slots.spool.kill(),
        &|| slots.finalizers.kill(),
        &|| slots.listener.kill(),
        &|| slots.watchdog.kill(),
    ];
    for _ in 0..8 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let numbers = rig.expect_traffic(40);
        let clients = tokio::spawn(traffic::run(rig.proxy, numbers));
        let before = rig.counters.ledger.snapshot().accepted;
        until("some exchanges", || {
            let accepted = rig.counters.ledger.snapshot().accepted;
            if accepted >= before + random % 30 { Ok(()) } else { Err(format!("{accepted}")) }
        })
        .await;
        kills[(random >> 8) as usize % kills.len()]();
        clients.await.unwrap();
    }
    rig.settled().await.lost_nothing();
    let health = rig.health().await;
    let restarts: u64 =
        health["supervision"]["children"].as_array().unwrap().iter().map(|it| it["restarts"].as_u64().unwrap()).sum();
    assert!(restarts > 0, "{health}");
    assert!(rig.drain().await, "it ends in order all the same");
    rig.check_files().lost_nothing();
}
