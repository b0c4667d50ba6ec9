//! Reports put together, and segments written anew.

use super::*;
use crate::ids::UnixMillis;
use crate::jsonl::file::JsonlFile;
use crate::store::layout::Form;

const SEGMENT: &str = "2026-05-27/a1b2c3d4.jsonl";

fn line(n: usize) -> String {
    format!(
        r#"{{"id":"01J{n:023}","ts_start":"2026-05-27T10:00:00Z","ts_end":"2026-05-27T10:00:01Z","method":"GET","path":"/","status":200,"req":{{"headers":{{}}}},"resp":{{"headers":{{}}}}}}"#
    )
}

fn segment_of(text: &str) -> (tempfile::TempDir, Layout, SegmentId) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let segment: SegmentId = SEGMENT.parse().unwrap();
    drop(JsonlFile::open(&layout, segment).unwrap());
    std::fs::write(layout.segment(segment, Form::Plain), text).unwrap();
    (dir, layout, segment)
}

#[test]
fn a_rewritten_segment_keeps_its_traces_and_nothing_is_lost() {
    let (one, two, three) = (line(1), line(2), line(3));
    let glued = format!("{}{two}", &three[..40]);
    let text = format!("{one}\nno trace\n{glued}\n{three}\n{one}\n{three}\n{{\"id\":\"torn");
    let (_dir, layout, segment) = segment_of(&text);
    // Another form may hold what this one does not.
    std::fs::write(layout.segment(segment, Form::Gzip), "half").unwrap();
    assert!(rewrite::rewrite(&layout, segment, &[]).is_err());
    assert_eq!(std::fs::read(layout.segment(segment, Form::Gzip)).unwrap(), b"half");
    std::fs::remove_file(layout.segment(segment, Form::Gzip)).unwrap();
    let again = text.find(&format!("\n{one}\n{three}")).unwrap() + 1;
    let repeated = [again as u64, (again + one.len() + 1) as u64];
    let done = rewrite::rewrite(&layout, segment, &repeated).unwrap();
    assert_eq!(done, rewrite::Rewritten { aside: 5, cut_out: 1 });
    let read = |path| std::fs::read_to_string(path).unwrap();
    assert_eq!(read(layout.segment(segment, Form::Plain)), format!("{one}\n{two}\n{three}\n"));
    let aside = format!("no trace\n{glued}\n{one}\n{three}\n{{\"id\":\"torn\n");
    assert_eq!(read(layout.torn_line(segment)), aside);
    let names: Vec<_> = std::fs::read_dir(layout.day(segment.bucket.date)).unwrap().map(|it| it.unwrap()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn what_cannot_be_read_is_not_rewritten() {
    let (_dir, layout, segment) = segment_of("");
    std::fs::remove_file(layout.segment(segment, Form::Plain)).unwrap();
    let sealed = zstd::encode_all(line(1).repeat(100).as_bytes(), 1).unwrap();
    let path = layout.segment(segment, Form::Zstd);
    std::fs::write(&path, &sealed[..sealed.len() / 2]).unwrap();
    assert!(rewrite::rewrite(&layout, segment, &[]).is_err());
    assert!(path.exists());
    assert!(!layout.segment(segment, Form::Plain).exists());
}

#[test]
fn the_first_findings_of_a_kind_are_kept_and_all_are_counted() {
    let layout = Layout::new("/data");
    let segment: SegmentId = SEGMENT.parse().unwrap();
    let mut whole = Report::new(&layout);
    for part in 0..3_u64 {
        let mut report = Report::new(&layout);
        report.totals.lines = 10;
        for n in 0..60 {
            report.find(Finding::at(Kind::BadLine, segment, 100 * n + part, "x".into()));
        }
        report.find_repeated(segment, part, "01J00000000000000000000000".parse().unwrap(), "there");
        whole.merge(report);
    }
    assert_eq!((whole.count(Kind::BadLine), whole.findings[&Kind::BadLine].len()), (180, MOST_SHOWN));
    assert!(whole.findings[&Kind::BadLine].windows(2).all(|pair| pair[0].offset < pair[1].offset));
    assert_eq!((whole.totals.lines, &whole.mend.repeated[&segment]), (30, &vec![0, 1, 2]));
    let shown = whole.to_string();
    assert!(shown.contains("180 bad_line: ") && shown.contains("and 170 more") && !shown.contains("nothing is wrong"));
}

#[test]
fn notes_do_not_count_and_the_json_says_everything() {
    let mut report = Report::new(&Layout::new("/data"));
    report.checked_at = UnixMillis(0);
    report.find(Finding::new(Kind::ForeignFile, "x\u{1b}[2J".into(), "not\nours".into()));
    assert!(report.is_clean());
    assert!(report.to_string().contains("nothing is wrong"));
    let repair = Repair { kind: Kind::TornTail, path: "p".into(), what: "w".into(), error: None };
    let json: serde_json::Value = serde_json::from_str(&report.to_json(&[repair], Some("r".into()))).unwrap();
    let expected = serde_json::json!({
        "schema": 1,
        "data_dir": "/data",
        "checked_at": "1970-01-01T00:00:00.000Z",
        "recorder": "r",
        "is_clean": true,
        "totals": {"segments": 0, "lines": 0, "bytes": 0, "rows": 0, "not_yet_indexed": 0, "not_yet_removed": 0,
            "media": 0},
        "counts": {"foreign_file": 1},
        "findings": [{
            "kind": "foreign_file", "path": "x\u{1b}[2J", "offset": null, "id": null, "what": "not\nours",
            "is_note": true, "advice": Kind::ForeignFile.advice(),
        }],
        "repairs": [{"kind": "torn_tail", "path": "p", "what": "w", "error": null}],
    });
    assert_eq!(json, expected);
    assert!(!report.to_string().contains('\u{1b}'), "nothing in it moves a cursor");
}
