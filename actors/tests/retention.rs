//! Retention in a whole recorder: what is deleted is gone from files and index, and who deletes may die.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::rig::{Rig, until};
use crate::faults;
use crate::retention::sweeper;

const TIMES: u32 = 4;

/// A day long past with two segments of one key and a trace in each, the second of which continues the first.
fn put_an_old_day(rig: &Rig) -> PathBuf {
    let day = rig.layout.root().join("2020-01-02");
    std::fs::create_dir_all(&day).unwrap();
    for (name, id) in
        [("a1b2c3d4.jsonl", "01DX0000000000000000000001"), ("a1b2c3d4.1.jsonl", "01DX0000000000000000000002")]
    {
        let line = format!(
            r#"{{"id":"{id}","v":1,"ts_start":"2020-01-02T00:00:00.000Z","ts_end":"2020-01-02T00:00:01.000Z","client":"192.0.2.1","method":"POST","path":"/v1/chat/completions","upstream":"http://gateway.example","status":200,"end":"complete","key_hash":"a1b2c3d400000000","protocol":"chat","req":{{"headers":{{}},"bytes":0,"body":{{"messages":[{{"role":"user","content":"{id}"}}]}}}},"resp":{{"headers":{{}},"bytes":0,"body":{{}}}},"disconnected":false,"truncated_req":false,"truncated_resp":false}}"#
        );
        std::fs::write(day.join(name), line + "\n").unwrap();
    }
    day
}

fn has_old_rows(rows: &BTreeSet<String>) -> bool {
    rows.iter().any(|id| id.starts_with("01DX"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sweeper_dies() {
    let mut rig = Rig::start().await;
    for died in 1..=u64::from(TIMES) {
        faults::arm("sweeper", 1);
        rig.slots.sweeper.cast_when_there(sweeper::Msg::Look).await;
        rig.traffic(20).await;
        rig.shows_restarts("sweeper", died, "sweeper").await;
    }
    rig.settled().await.lost_nothing();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sweeper_dies_over_each_deletion_and_all_of_it_is_done_in_the_end() {
    let mut rig = Rig::with(&[("APILOG_RETENTION_MAX_AGE", "365d")]).await;
    rig.traffic(40).await;
    rig.settled().await.lost_nothing();
    assert!(rig.drain().await);
    let day = put_an_old_day(&rig);
    faults::arm("sweeper.marked", 2);
    faults::arm("sweeper.unindexed", 2);
    rig.start_again().await;
    rig.traffic(40).await;
    until("the old day to be gone", || if day.exists() { Err(format!("{day:?}")) } else { Ok(()) }).await;
    rig.shows_restarts("sweeper", TIMES.into(), "sweeper").await;
    rig.settled().await.lost_nothing();
    assert!(!has_old_rows(&rig.rows().unwrap()));
    assert!(rig.counters.evicted_bytes.get() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_what_is_deleted_go_and_a_dead_index_hinders_nothing() {
    let mut rig = Rig::start().await;
    rig.traffic(20).await;
    rig.settled().await.lost_nothing();
    assert!(rig.drain().await);
    let day = put_an_old_day(&rig);
    rig.start_again().await;
    until("the old rows", || {
        rig.rows().map(|rows| rows.len() == 22).and_then(|it| it.then_some(()).ok_or("few".into()))
    })
    .await;
    // Nobody deletes unasked.
    assert!(day.exists());
    assert!(rig.drain().await);
    faults::arm("index", TIMES);
    rig.set("APILOG_RETENTION_MAX_AGE", "365d");
    rig.start_again().await;
    rig.traffic_until_struck("index").await;
    until("the old day to be gone", || if day.exists() { Err(format!("{day:?}")) } else { Ok(()) }).await;
    rig.settled().await.lost_nothing();
    assert!(!has_old_rows(&rig.rows().unwrap()));
    assert_eq!(rig.counters.evicted_traces.get(), 2);
}
