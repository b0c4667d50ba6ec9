//! Files of past days are sealed while everything goes on, and the sealer may die over it.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use api_log::ids::{Date, SegmentId, UnixMillis};
use api_log::jsonl::read;
use api_log::store::layout::Form;

use super::rig::{Rig, until};
use crate::faults;
use crate::record::sealer::Msg;

/// A recorder that has recorded something, and whose files are then made three days old while it does not run.
async fn with_past_days(settings: &[(&str, &str)]) -> (Rig, usize) {
    let mut rig = Rig::with(settings).await;
    rig.traffic(60).await;
    rig.settled().await.lost_nothing();
    assert!(rig.drain().await);
    let lines = rig.lines().len();
    for day in days(&rig) {
        let date: Date = day.file_name().unwrap().to_str().unwrap().parse().unwrap();
        std::fs::rename(&day, rig.layout.day(Date(date.0 - 3))).unwrap();
    }
    std::fs::remove_file(rig.layout.index()).unwrap();
    (rig, lines)
}

fn days(rig: &Rig) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(rig.layout.root()).unwrap().map(|it| it.unwrap().path());
    entries.filter(|it| it.file_name().unwrap().to_str().unwrap().parse::<Date>().is_ok()).collect()
}

fn past(rig: &Rig) -> Vec<(SegmentId, Vec<Form>)> {
    let today = UnixMillis::now().date();
    let found = rig.layout.segments().unwrap();
    found.into_iter().filter(|it| it.id.bucket.date.0 < today.0 - 1).map(|it| (it.id, it.forms)).collect()
}

/// Waits until every segment of the past is sealed in this form alone; looks are asked for, as a writer does.
async fn all_sealed(rig: &Rig, form: Form) {
    let slot = rig.slots.sealer.clone();
    until("every past segment to be sealed", || {
        let found = past(rig);
        let _ = slot.cast(Msg::Look);
        match found.iter().all(|(_, forms)| *forms == [form]) && !found.is_empty() {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    })
    .await;
}

/// Every line is where the index says, and the index has every line.
async fn all_is_found(rig: &Rig, lines: usize) {
    assert_eq!(rig.lines().len(), lines);
    rig.rows_are_there().await;
    for (id, place) in rig.places() {
        read::line(&rig.layout, place, id).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missed_days_are_sealed_at_start_and_every_line_stays_where_it_was() {
    for (seal, form) in [("zstd", Form::Zstd), ("gzip", Form::Gzip)] {
        let (mut rig, lines) = with_past_days(&[("APILOG_STORAGE_SEAL", seal)]).await;
        rig.start_again().await;
        all_sealed(&rig, form).await;
        all_is_found(&rig, lines).await;
        let recording = rig.counters.recording.snapshot();
        assert_eq!(recording.sealed_segments as usize, past(&rig).len());
        assert!(recording.sealed_bytes_out > 0 && recording.sealed_bytes_out < recording.sealed_bytes_in);
        rig.traffic(40).await;
        rig.settled().await.lost_nothing();
        all_is_found(&rig, lines + 40).await;
        assert!(rig.drain().await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sealed_when_it_is_off() {
    let (mut rig, lines) = with_past_days(&[("APILOG_STORAGE_SEAL", "off")]).await;
    rig.start_again().await;
    rig.slots.sealer.cast_when_there(Msg::Look).await;
    all_is_found(&rig, lines).await;
    assert!(rig.drain().await);
    assert!(past(&rig).iter().all(|(_, forms)| *forms == [Form::Plain]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sealer_dies_over_a_segment_and_begins_it_anew() {
    let (mut rig, lines) = with_past_days(&[]).await;
    faults::arm("sealer.written", 3);
    rig.start_again().await;
    all_sealed(&rig, Form::Zstd).await;
    assert_eq!(faults::left("sealer.written"), 0);
    all_is_found(&rig, lines).await;
    rig.shows_restarts("sealer", 3, "panicked").await;
    let leftovers = days(&rig).into_iter().flat_map(|day| std::fs::read_dir(day).unwrap());
    let leftovers: Vec<PathBuf> =
        leftovers.map(|it| it.unwrap().path()).filter(|it| it.extension().is_some_and(|it| it == "new")).collect();
    assert_eq!(leftovers, [] as [PathBuf; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sealer_is_killed_at_any_moment_and_resumes() {
    let (mut rig, lines) = with_past_days(&[]).await;
    rig.start_again().await;
    for pause in [0, 1, 3, 7] {
        rig.slots.sealer.kill();
        rig.slots.sealer.cast_when_there(Msg::Look).await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    all_sealed(&rig, Form::Zstd).await;
    all_is_found(&rig, lines).await;
    assert!(rig.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_that_nobody_could_cut_is_kept_aside_and_counted() {
    let (mut rig, lines) = with_past_days(&[]).await;
    let torn = past(&rig)[0].0;
    let plain = rig.layout.segment(torn, Form::Plain);
    std::fs::OpenOptions::new().append(true).open(plain).unwrap().write_all(b"{\"id\":\"half").unwrap();
    rig.start_again().await;
    all_sealed(&rig, Form::Zstd).await;
    assert_eq!(std::fs::read_to_string(rig.layout.torn_line(torn)).unwrap(), "{\"id\":\"half\n");
    assert_eq!(rig.counters.recording.torn_lines.get(), 1);
    all_is_found(&rig, lines).await;
    assert!(rig.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sealed_is_deleted_with_its_rows_and_what_is_half_deleted_is_not_sealed() {
    let (mut rig, lines) = with_past_days(&[]).await;
    let half = past(&rig)[0].0;
    std::fs::write(rig.layout.deletion_mark(half), "").unwrap();
    rig.start_again().await;
    until("the half of it to be gone", || match rig.layout.has_segment(half).unwrap() {
        true => Err("there".into()),
        false => Ok(()),
    })
    .await;
    all_sealed(&rig, Form::Zstd).await;
    let sealed = past(&rig).len();
    until("all of them to be counted", || match rig.counters.recording.sealed_segments.get() as usize {
        counted if counted == sealed => Ok(()),
        counted => Err(format!("{counted} of {sealed}")),
    })
    .await;
    let left = rig.lines().len();
    assert!(left > 0 && left < lines);
    all_is_found(&rig, left).await;
    assert!(rig.drain().await);
    rig.set("APILOG_RETENTION_MAX_AGE", "24h");
    rig.start_again().await;
    until("everything of the past to be gone", || match past(&rig).len() {
        0 => Ok(()),
        left => Err(format!("{left} are left")),
    })
    .await;
    until("its rows to be gone", || match rig.rows()?.len() {
        0 => Ok(()),
        left => Err(format!("{left} are left")),
    })
    .await;
    until("them to be counted", || match rig.counters.evicted_traces.get() as usize {
        counted if counted == left => Ok(()),
        counted => Err(format!("{counted} of {left}")),
    })
    .await;
    assert!(rig.drain().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_refuses_is_told_and_the_segment_is_tried_again() {
    let (mut rig, lines) = with_past_days(&[]).await;
    faults::arm("sealer.refused", 2);
    rig.start_again().await;
    until("a refusal", || match faults::left("sealer.refused") {
        2 => Err("not tried yet".into()),
        _ => Ok(()),
    })
    .await;
    all_sealed(&rig, Form::Zstd).await;
    assert_eq!(rig.counters.recording.seal_errors.get(), 2);
    all_is_found(&rig, lines).await;
    rig.is_over("sealing").await;
    assert!(rig.drain().await);
}
