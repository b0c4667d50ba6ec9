//! The disk refuses: forwarding goes on, traces are tried again, and what is given up is counted.

use std::path::PathBuf;

use api_log::counters::DropCause;
use api_log::ids::{Date, UnixMillis};

use super::rig::Rig;
use crate::faults;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_that_are_refused_for_a_while_are_tried_again() {
    let mut rig = Rig::start().await;
    faults::arm("disk.full", 5);
    rig.traffic_until_struck("disk.full").await;
    rig.settled().await.lost_nothing();
    assert_eq!(rig.counters.recording.append_errors.get(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_disk_refuses_for_long_is_counted_and_recording_resumes_when_it_heals() {
    let mut rig = Rig::start().await;
    let days: Vec<PathBuf> = {
        let today = UnixMillis::now().date();
        [today, Date(today.0 + 1)].iter().map(|day| rig.layout.day(*day)).collect()
    };
    for day in &days {
        std::fs::write(day, "no folder").unwrap();
    }
    rig.traffic(40).await;
    rig.settled().await.dropped_only(40, DropCause::JsonlFail);
    for day in &days {
        std::fs::remove_file(day).unwrap();
    }
    rig.traffic(40).await;
    let seen = rig.settled().await;
    assert_eq!(seen.0.recorded, 40);
    seen.dropped_only(40, DropCause::JsonlFail);
}

/// A disk that refuses everything for good costs what could not wait, told and counted, until it takes lines again.
async fn refuses_and_heals(point: &'static str, condition: &str, cause: DropCause) {
    let mut rig = Rig::start().await;
    rig.traffic(40).await;
    rig.settled().await.lost_nothing();
    faults::arm(point, u32::MAX);
    rig.traffic(40).await;
    rig.is_quiet().await;
    rig.is_told(condition, Some("traces are dropped")).await;
    faults::arm(point, 0);
    rig.is_told(condition, None).await;
    rig.traffic(40).await;
    let seen = rig.settled().await;
    assert_eq!((seen.0.recorded, rig.without_bodies()), (80, 0), "what came after is recorded whole");
    seen.dropped_only(40, cause);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_stays_full_costs_what_could_not_wait_until_there_is_room() {
    refuses_and_heals("disk.full", "disk_full", DropCause::DiskFull).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_costs_what_could_not_wait_until_it_is_well() {
    refuses_and_heals("disk.failing", "disk_error", DropCause::JsonlFail).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_with_room_for_lines_only_costs_bodies_only() {
    let mut rig = Rig::start().await;
    faults::arm("disk.full.bodies", u32::MAX);
    rig.traffic(40).await;
    rig.is_quiet().await;
    let after = rig.counters.recording.bodies_dropped_disk_full.get();
    assert_eq!(after, 40);
    rig.is_told("disk_full", Some("bodies are dropped")).await;
    faults::arm("disk.full.bodies", 0);
    rig.is_told("disk_full", None).await;
    rig.traffic(40).await;
    rig.settled().await.lost_nothing();
    assert_eq!(rig.without_bodies(), 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_stalls_changes_nothing_for_clients() {
    let mut rig = Rig::start().await;
    rig.traffic(40).await;
    rig.settled().await.lost_nothing();
    faults::arm("disk.stalled", 1);
    rig.traffic(400).await;
    assert_eq!(rig.counters.ledger.snapshot().recorded, 40, "nothing was written meanwhile");
    faults::arm("disk.stalled", 0);
    rig.settled().await.lost_nothing();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_used_up_its_share_of_the_day_loses_bodies_also_after_a_restart() {
    let mut rig = Rig::with(&[("APILOG_CAPTURE_PER_KEY_DAILY_BYTES", "1")]).await;
    rig.traffic(40).await;
    rig.settled().await.lost_nothing();
    // At least the first of each key was within it.
    let over = rig.counters.recording.over_budget.get();
    assert!(over < 40, "{over}");
    rig.traffic(40).await;
    rig.settled().await.lost_nothing();
    assert_eq!(rig.counters.recording.over_budget.get(), over + 40);
    assert!(rig.drain().await);
    rig.start_again().await;
    rig.traffic(40).await;
    rig.settled().await.lost_nothing();
    assert_eq!(rig.counters.recording.over_budget.get(), 40, "a restart forgets nothing");
    assert!(rig.lines().iter().any(|line| line["bodies_dropped"] == "over_budget"));
}
