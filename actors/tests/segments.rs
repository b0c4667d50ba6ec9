//! A busy bucket's segments: one after the other, through crashes, whatever must be on the disk when.

use api_log::ids::{Date, KeyHash, UnixMillis};

use super::rig::{Rig, until};
use super::traffic::{NUMBER, http_client};
use super::upstream::blob;
use crate::faults;
use crate::record::writers;

/// Two and a half of these fill a segment: on the line they are a third larger.
const BYTES: usize = 320 << 10;

async fn large(rig: &mut Rig, exchanges: u64) {
    for _ in 0..exchanges {
        let number = rig.expect(1);
        let url = format!("http://{}/blob/{number}/{BYTES}", rig.proxy);
        let answer = http_client(true).get(url).header(NUMBER, number).send().await.unwrap().bytes().await.unwrap();
        assert!(answer == blob(number, BYTES), "the client has its whole answer");
    }
}

/// The segments of who sent no credentials: the large answers' bucket.
fn numbers(rig: &Rig) -> Vec<u32> {
    let key = KeyHash::NONE.short();
    let found = rig.layout.segments().unwrap().into_iter().filter(|it| it.id.bucket.key == key);
    found.map(|it| it.id.number).collect()
}

async fn is_segmented(settings: &[(&str, &str)], fault: &'static str) {
    let mut all = vec![("APILOG_STORAGE_SEGMENT_BYTES", "1MiB")];
    all.extend(settings);
    let mut rig = Rig::with(&all).await;
    large(&mut rig, 7).await;
    faults::arm(fault, 2);
    rig.traffic_until_struck(fault).await;
    large(&mut rig, 3).await;
    rig.settled().await.lost_nothing();
    let found = numbers(&rig);
    assert!(found.len() >= 3 && found.iter().copied().eq(0..found.len() as u32), "{found:?}");
    // A later start goes on where this one stopped.
    assert!(rig.drain().await);
    rig.start_again().await;
    large(&mut rig, 7).await;
    rig.settled().await.lost_nothing();
    assert!(numbers(&rig).iter().copied().eq(0..numbers(&rig).len() as u32));
    assert!(numbers(&rig).len() > found.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_day_is_many_segments_and_the_index_follows() {
    is_segmented(&[("APILOG_STORAGE_FSYNC", "never")], "writer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_hold_every_line_once_though_writers_die_while_the_disk_is_waited_for() {
    is_segmented(&[("APILOG_STORAGE_FSYNC", "always")], "writer").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_are_forced_to_the_disk_while_lines_come() {
    is_segmented(&[("APILOG_STORAGE_FSYNC", "interval"), ("APILOG_STORAGE_FSYNC_INTERVAL", "10ms")], "writers").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_days_that_are_over_close_and_today_is_written_on() {
    let mut rig = Rig::start().await;
    rig.traffic(40).await;
    rig.settled().await.lost_nothing();
    assert!(rig.nursery("writers").await["running"].as_u64() > Some(0));
    let tomorrow = Date(UnixMillis::now().date().0 + 1);
    assert!(rig.slots.writers.cast(writers::Msg::CloseBefore(Date(tomorrow.0 - 2))).is_ok());
    assert!(rig.slots.writers.cast(writers::Msg::CloseBefore(tomorrow)).is_ok());
    for _ in 0..2000 {
        if rig.nursery("writers").await["running"] == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(rig.nursery("writers").await["running"], 0);
    rig.traffic(40).await;
    rig.settled().await.lost_nothing();
    until("all lines", || if rig.lines().len() == 80 { Ok(()) } else { Err("not yet".to_owned()) }).await;
}
