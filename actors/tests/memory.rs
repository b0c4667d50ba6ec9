//! Large bodies: they move to disk and are recorded whole; when neither memory nor disk has room, they are cut.

use super::rig::Rig;
use super::traffic::{NUMBER, http_client};
use super::upstream::{blob, receipt, sha256};
use crate::faults;

const LARGE: usize = 3 << 20;

async fn down(rig: &mut Rig) -> u64 {
    let number = rig.expect(1);
    let url = format!("http://{}/blob/{number}/{LARGE}", rig.proxy);
    let answer = http_client(true).get(url).header(NUMBER, number).send().await.unwrap().bytes().await.unwrap();
    assert!(answer == blob(number, LARGE), "the client has its whole answer");
    number
}

async fn up(rig: &mut Rig) -> u64 {
    let number = rig.expect(1);
    let body = blob(number, LARGE);
    let expected = receipt(&body);
    let url = format!("http://{}/v1/files", rig.proxy);
    let answer = http_client(true).post(url).header(NUMBER, number).body(body).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), expected, "the upstream had the whole body");
    number
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_move_to_disk_and_are_recorded_whole_though_the_spool_dies() {
    let mut rig = Rig::with(&[("APILOG_CAPTURE_SPILL_BYTES", "64KiB")]).await;
    faults::arm("spool", 3);
    let (mut downs, mut ups) = (Vec::new(), Vec::new());
    // Each takes the spool's order with it: a capture that is over by then is recorded from memory.
    while faults::left("spool") > 0 || rig.counters.recording.spilled_blocks.get() == 0 {
        downs.push(down(&mut rig).await);
        ups.push(up(&mut rig).await);
        assert!(downs.len() < 100, "the spool was asked too rarely");
    }
    rig.traffic(40).await;
    rig.settled().await.lost_nothing();
    let lines = rig.by_number();
    downs.iter().for_each(|it| assert_eq!(lines[it]["resp"]["sha256"], sha256(&blob(*it, LARGE))));
    ups.iter().for_each(|it| assert_eq!(lines[it]["req"]["sha256"], sha256(&blob(*it, LARGE))));
    assert!(rig.counters.recording.spilled_blocks.get() > 0);
    assert_eq!(rig.counters.recording.capture_memory_cut.get(), 0);
    rig.shows_restarts("spool", 3, "spool").await;
    // While it rested, those may have been recorded from memory; it spools what comes now.
    down(&mut rig).await;
    rig.settled().await.lost_nothing();
    assert!(rig.counters.recording.spilled_blocks.get() > 0);
    assert_eq!(rig.bound("captures").await["bytes"]["depth"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_memory_and_disk_bodies_are_cut_and_say_so_and_clients_get_all() {
    let mut rig = Rig::with(&[("APILOG_CAPTURE_MEMORY_BYTES", "1MiB")]).await;
    std::fs::remove_dir(rig.layout.tmp()).unwrap();
    std::fs::write(rig.layout.tmp(), "no folder").unwrap();
    let down = down(&mut rig).await;
    rig.settled().await.lost_nothing();
    let up = up(&mut rig).await;
    rig.settled().await.lost_nothing();
    let lines = rig.by_number();
    for (number, side, flag) in [(down, "resp", "truncated_resp"), (up, "req", "truncated_req")] {
        let line = &lines[&number];
        assert_eq!((&line[flag], &line[side]["bytes"]), (&true.into(), &LARGE.into()));
    }
    assert_eq!(rig.counters.recording.capture_memory_cut.get(), 2);
    assert!(rig.counters.recording.spill_errors.get() > 0);
    // The memory came back: what follows is recorded whole.
    rig.traffic(40).await;
    rig.settled().await.lost_nothing();
    assert_eq!(rig.bound("captures").await["bytes"]["depth"], 0);
    assert_eq!(rig.counters.recording.capture_memory_cut.get(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn captures_survive_a_crash_though_the_disk_stalls_and_nothing_is_recorded() {
    let mut rig = Rig::start().await;
    faults::arm("disk.stalled", 1);
    let before = rig.bound("arena").await["bytes"]["depth"].as_u64().unwrap();
    for _ in 0..12 {
        // Fewer than are free when more are asked for.
        rig.traffic(100).await;
        let arena = rig.bound("arena").await;
        assert_eq!(arena["dropped"][0], serde_json::json!({"cause": "chunks_from_heap", "count": 0}), "{arena}");
    }
    assert!(rig.bound("arena").await["bytes"]["depth"].as_u64().unwrap() > before, "it has grown");
    assert_eq!(rig.counters.ledger.snapshot().recorded, 0, "they all wait");
    faults::arm("disk.stalled", 0);
    rig.settled().await.lost_nothing();
}
