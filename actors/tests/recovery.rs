//! What an earlier run left becomes traces, and nobody waits for it.

use std::io::Write;

use api_log::capture::record::{Begin, Head, Kind};
use api_log::capture::spool;
use api_log::ids::{TraceId, TraceIds, UnixMillis};

use super::rig::{Rig, until};
use super::traffic::NUMBER;
use crate::faults;

/// A spool as a loss of power leaves it: some of the answer is there, its end is torn off.
fn leave_a_spool(rig: &Rig, id: TraceId, number: u64) -> TraceId {
    let head = format!("POST /v1/left HTTP/1.1\r\n{NUMBER}: {number}\r\n\r\n");
    let mut log = Vec::new();
    let mut record = |kind, at_us, payload: &[u8]| {
        log.extend_from_slice(Head::new(kind, at_us, payload.len() as u32).as_bytes());
        log.extend_from_slice(payload);
    };
    record(Kind::Begin, 0, &Begin::encode(id, UnixMillis::now(), ([127, 0, 0, 1], 9).into(), "http://gw"));
    record(Kind::RequestHead, 0, head.as_bytes());
    record(Kind::Answer, 9_000, &200_u16.to_le_bytes());
    record(Kind::AnswerHead, 9_000, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n");
    record(Kind::ResponseBody, 20_000, b"what was there");
    let mut file = std::fs::File::create(rig.layout.spool(id)).unwrap();
    file.write_all(&spool::Header { trace: id, arena: None }.encode()).unwrap();
    file.write_all(&spool::frame_head(0, &log)).unwrap();
    file.write_all(&log).unwrap();
    file.write_all(&spool::frame_head(log.len() as u64, b"more")[..9]).unwrap();
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_forwards_and_records_before_anything_is_recovered() {
    let mut rig = Rig::start().await;
    assert!(rig.drain().await);
    let ids = TraceIds::new(1);
    let left: Vec<TraceId> =
        (0..200).map(|number| leave_a_spool(&rig, ids.next(UnixMillis::now()), 1_000_000 + number)).collect();
    faults::arm("recovery.hold", u32::MAX);
    rig.start_again().await;
    rig.traffic(40).await;
    until("what passes to be recorded", || match rig.counters.ledger.snapshot() {
        seen if (seen.recorded, seen.in_flight) == (40, 0) => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await;
    assert_eq!(rig.counters.recording.recovered.get(), 0, "it is held");

    faults::arm("recovery.hold", 0);
    // And dies now and then.
    faults::arm("recovery", 3);
    rig.expect(200);
    rig.settled().await.lost_nothing();
    assert_eq!((rig.counters.recording.recovered.get(), rig.counters.recording.unreadable_logs.get()), (200, 0));
    let lines = rig.lines();
    for id in left {
        let line = lines.iter().find(|it| it["id"] == id.to_string()).unwrap();
        assert_eq!((&line["end"], &line["disconnected"]), (&"interrupted".into(), &true.into()));
        assert_eq!((&line["resp"]["body_b64"], &line["status"]), (&"d2hhdCB3YXMgdGhlcmU=".into(), &200.into()));
    }
    assert_eq!(rig.health().await["captures"]["recovery"], "done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_a_line_is_not_recovered_and_what_cannot_be_read_is_kept() {
    let mut rig = Rig::start().await;
    rig.traffic(5).await;
    rig.settled().await.lost_nothing();
    let recorded: TraceId = rig.lines()[0]["id"].as_str().unwrap().parse().unwrap();
    assert!(rig.drain().await);
    // As if the crash had come between the line and the end of its spool.
    leave_a_spool(&rig, recorded, 7);
    let odd = TraceId::from_bytes([1; 16]);
    std::fs::write(rig.layout.spool(odd), "no spool").unwrap();

    rig.start_again().await;
    until("recovery to be done", || match rig.counters.recording.unreadable_logs.get() {
        1 => Ok(()),
        count => Err(format!("{count}")),
    })
    .await;
    rig.traffic(5).await;
    until("what passes to be recorded", || match rig.counters.ledger.snapshot() {
        seen if (seen.recorded, seen.in_flight) == (5, 0) => Ok(()),
        seen => Err(format!("{seen:?}")),
    })
    .await;
    assert_eq!(rig.health().await["captures"]["recovery"], "done");
    assert_eq!(rig.counters.recording.recovered.get(), 0);
    let left: Vec<_> = std::fs::read_dir(rig.layout.tmp()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left, [format!("{odd}.spool.unreadable").as_str()]);
}
