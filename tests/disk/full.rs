//! A disk that runs full, first but for lines, then for everything, and has room again.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::mounted::{Mounted, exchange, is_told, recorder, settled};
use crate::wire::Gateway;

const MIB: usize = 1 << 20;

/// Fills a file until the disk, or this number of bytes, is full; the file.
pub(crate) fn fill(folder: &Path, name: &str, bytes: usize) -> PathBuf {
    let path = folder.join(name);
    let mut file = File::create(&path).unwrap();
    let mut written = 0;
    // Ever smaller pieces, so that nothing is left.
    for piece in [64 << 10, 4 << 10, 1] {
        while written + piece <= bytes && file.write_all(&vec![0; piece]).is_ok() {
            written += piece;
        }
    }
    path
}

#[test]
fn a_full_disk_costs_bodies_then_lines_and_recording_resumes_when_there_is_room() {
    let Some(mounted) = Mounted::tmpfs(12 * MIB as u64) else { return };
    let gateway = Gateway::new();
    let settings = [("STORAGE_MIN_FREE_BYTES", "4MiB"), ("MEDIA_SAVE_ATTACHMENTS", "false")];
    let recorder = recorder(&gateway, &mounted, &settings);
    exchange(&gateway, &recorder, MIB / 2);
    settled(&recorder, 1);

    // Less than the reserve: bodies go, lines stay.
    let large = fill(mounted.data_dir.path(), "large", 8 * MIB);
    is_told(&recorder, "disk_full", Some("bodies are dropped"));
    for _ in 0..5 {
        exchange(&gateway, &recorder, MIB / 2);
    }
    let health = settled(&recorder, 6);
    assert_eq!(
        (&health["ledger"]["recorded"], &health["recording"]["bodies_dropped_disk_full"]),
        (&6.into(), &5.into())
    );

    // Nothing: traces go.
    let rest = fill(mounted.data_dir.path(), "rest", usize::MAX);
    for _ in 0..20 {
        exchange(&gateway, &recorder, MIB / 8);
    }
    let health = settled(&recorder, 26);
    let dropped = health["ledger"]["dropped"]["disk_full"].as_u64().unwrap();
    assert!(dropped > 0, "{health}");
    assert_eq!(health["ledger"]["recorded"].as_u64().unwrap() + dropped, 26, "{health}");
    assert_eq!(health["counters"]["drop_jsonl_fail"], dropped);
    is_told(&recorder, "disk_full", Some("traces are dropped"));

    // Room for everything.
    std::fs::remove_file(rest).unwrap();
    std::fs::remove_file(large).unwrap();
    is_told(&recorder, "disk_full", None);
    exchange(&gateway, &recorder, MIB / 2);
    let health = settled(&recorder, 27);
    assert_eq!(health["ledger"]["recorded"], 27 - dropped);
    recorder.listed(27 - dropped as usize);
    // None is torn, and each stands in the index.
    let lines = recorder.finish();
    assert_eq!(lines.len() as u64, 27 - dropped);
    let last = lines.last().unwrap();
    assert_eq!((&last["bodies_dropped"], &last["truncated_resp"]), (&serde_json::Value::Null, &false.into()));
    let marked = lines.iter().filter(|it| it["bodies_dropped"] == "disk_full").count() as u64;
    assert_eq!(health["recording"]["bodies_dropped_disk_full"], marked);
}

#[test]
fn a_recorder_starts_on_a_full_disk_that_it_knows() {
    let Some(mounted) = Mounted::tmpfs(8 * MIB as u64) else { return };
    let gateway = Gateway::new();
    let first = recorder(&gateway, &mounted, &[("STORAGE_MIN_FREE_BYTES", "0")]);
    exchange(&gateway, &first, 1000);
    settled(&first, 1);
    first.listed(1);
    first.finish();
    let filler = fill(mounted.data_dir.path(), "filler", usize::MAX);
    let second = recorder(&gateway, &mounted, &[("STORAGE_MIN_FREE_BYTES", "1MiB")]);
    is_told(&second, "disk_full", Some("dropped"));
    exchange(&gateway, &second, MIB);
    settled(&second, 1);
    std::fs::remove_file(filler).unwrap();
    is_told(&second, "disk_full", None);
    exchange(&gateway, &second, 1000);
    let health = settled(&second, 2);
    let recorded = health["ledger"]["recorded"].as_u64().unwrap() as usize;
    second.listed(1 + recorded);
    assert_eq!(second.finish().len(), 1 + recorded);
}
