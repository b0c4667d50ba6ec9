//! The disk refuses: forwarding goes on, traces are tried again, and what is given up is counted.

use std::path::PathBuf;

use api_log::counters::DropCause;
use api_log::ids::{Date, UnixMillis};

use super::rig::Rig;
use crate::faults;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_that_are_refused_for_a_while_are_tried_again() {
    let mut rig = Rig::start().await;
    faults::arm("writer.refused", 5);
    rig.traffic_until_struck("writer.refused").await;
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
