//! Archives of small data dirs, read back.

use std::io::{Cursor, Read};

use zip::ZipArchive;

use super::*;
use crate::index::query::selection::indexed_to;
use crate::index::testing::new_index;
use crate::index::{Budget, catch_up};
use crate::jsonl::file::JsonlFile;
use crate::jsonl::line::read_row;
use crate::media::Attachment;

const DAY: &str = "2026-05-27";

fn id(n: usize) -> String {
    format!("01J{n:023}")
}

/// A line of the earlier format, without `v`.
fn line(n: usize) -> String {
    format!(
        r#"{{"id":"{}","ts_start":"{DAY}T10:00:{n:02}.5Z","ts_end":"{DAY}T10:00:59Z","client":"192.0.2.1:5000","method":"POST","path":"/v1/messages","upstream":"http://gw:1","status":{},"req":{{"headers":{{}},"body":{{"n":"{}"}}}},"resp":{{"headers":{{}},"body":null}},"disconnected":false,"truncated_req":false,"truncated_resp":false}}"#,
        id(n),
        if n.is_multiple_of(2) { 200 } else { 500 },
        "x".repeat(n * 100),
    )
}

/// A data dir whose segments hold the lines with these numbers.
struct Fixture {
    _dir: tempfile::TempDir,
    layout: Layout,
}

impl Fixture {
    fn of(segments: &[(&str, &[usize])]) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let fixture = Fixture { layout: Layout::new(dir.path()), _dir: dir };
        segments.iter().for_each(|(segment, numbers)| fixture.append(segment, numbers));
        fixture.index();
        fixture
    }

    fn append(&self, segment: &str, numbers: &[usize]) {
        let mut file = JsonlFile::open(&self.layout, segment.parse().unwrap()).unwrap();
        let lines: Vec<String> = numbers.iter().map(|&n| line(n)).collect();
        let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
        file.append(&lines).unwrap();
    }

    fn index(&self) {
        let (mut index, mut state) = new_index(&self.layout);
        let done = catch_up(&mut index, &mut state, &self.layout, read_row, Budget::WHOLE).unwrap();
        assert!(done.is_done);
    }

    fn seal(&self, segment: &str, form: Form) {
        let segment = segment.parse().unwrap();
        let plain = self.layout.segment(segment, Form::Plain);
        let bytes = std::fs::read(&plain).unwrap();
        assert_eq!(form, Form::Zstd);
        std::fs::write(self.layout.segment(segment, form), zstd::encode_all(&bytes[..], 1).unwrap()).unwrap();
        std::fs::remove_file(plain).unwrap();
        self.index();
    }

    fn path(&self, segment: &str, form: Form) -> std::path::PathBuf {
        self.layout.segment(segment.parse().unwrap(), form)
    }

    fn write(&self, request: &Request, out: impl Write, work: &Work) -> Result<Report, ExportError> {
        package(&self.layout, &open_index(&self.layout)?, request, out, work)
    }

    fn package(&self, request: &Request) -> (Report, Vec<(String, String)>) {
        let mut bytes = Vec::new();
        let report = self.write(request, &mut bytes, &Work::new()).unwrap();
        let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut entries = Vec::new();
        for at in 0..archive.len() {
            let mut entry = archive.by_index(at).unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            entries.push((entry.name().unwrap().to_string(), text));
        }
        (report, entries)
    }

    /// The same without the three entries that are always there, and the README.
    fn packed(&self, request: &Request) -> (Report, Vec<(String, String)>, String) {
        let (report, mut entries) = self.package(request);
        let fixed = entries.split_off(entries.len() - 3);
        let names: Vec<&str> = fixed.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["agent/CLAUDE.md", "agent/jq-cheatsheet.md", "README.md"]);
        (report, entries, fixed[2].1.clone())
    }
}

fn lines(numbers: &[usize]) -> String {
    numbers.iter().map(|&n| line(n) + "\n").collect()
}

fn errors() -> Request {
    Request { filter: Filter { status: "5xx".parse().ok(), ..Filter::default() }, ..Request::default() }
}

const A: &str = "2026-05-27/a1b2c3d4.jsonl";
const A2: &str = "2026-05-27/a1b2c3d4.2.jsonl";
const A10: &str = "2026-05-27/a1b2c3d4.10.jsonl";
const B: &str = "2026-05-26/00000000.jsonl";

#[test]
fn every_segment_is_an_entry_of_its_own_with_its_lines_verbatim() {
    let fixture = Fixture::of(&[(A, &[3, 1]), (A10, &[8]), (A2, &[4, 5]), (B, &[2])]);
    fixture.seal(A2, Form::Zstd);
    let (report, entries, readme) = fixture.packed(&Request::default());
    let expected = [
        ("data/2026-05-26/00000000.jsonl", lines(&[2])),
        ("data/2026-05-27/a1b2c3d4.jsonl", lines(&[3, 1])),
        ("data/2026-05-27/a1b2c3d4.2.jsonl", lines(&[4, 5])),
        ("data/2026-05-27/a1b2c3d4.10.jsonl", lines(&[8])),
    ];
    assert_eq!(entries, expected.map(|(name, text)| (name.to_owned(), text)));
    assert_eq!((report.traces, report.behind, report.skipped.is_empty()), (6, 0, true));
    let range = "2026-05-27T10:00:01.500Z to 2026-05-27T10:00:08.500Z";
    assert!(readme.contains(range) && readme.contains("skipped:\n\n- nothing\n"), "{readme}");
}

#[test]
fn a_segment_of_which_some_lines_pass_is_partial() {
    let fixture = Fixture::of(&[(A, &[1, 2, 3]), (A2, &[5, 7]), (B, &[2, 4])]);
    fixture.seal(A, Form::Zstd);
    let (report, entries, readme) = fixture.packed(&errors());
    let expected = [
        ("data/2026-05-27/a1b2c3d4.partial.jsonl", lines(&[1, 3])),
        ("data/2026-05-27/a1b2c3d4.2.jsonl", lines(&[5, 7])),
    ];
    assert_eq!(entries, expected.map(|(name, text)| (name.to_owned(), text)));
    assert_eq!(report.traces, 4);
    assert!(readme.contains("- `status_bucket`: 5xx\n"));
}

#[test]
fn a_file_that_grew_is_partial_and_the_new_lines_are_told() {
    let fixture = Fixture::of(&[(A, &[1])]);
    fixture.append(A, &[2]);
    let (report, entries, readme) = fixture.packed(&Request::default());
    assert_eq!(entries, [("data/2026-05-27/a1b2c3d4.partial.jsonl".to_owned(), lines(&[1]))]);
    assert_eq!(report.behind, 1);
    assert!(readme.contains("lines of 1 files that were not indexed"), "{readme}");
}

#[test]
fn the_newest_pass_a_limit() {
    let fixture = Fixture::of(&[(A, &[3, 1]), (B, &[2])]);
    let (report, entries, readme) = fixture.packed(&Request { limit: Some(2), ..Request::default() });
    let expected =
        [("data/2026-05-26/00000000.jsonl", lines(&[2])), ("data/2026-05-27/a1b2c3d4.partial.jsonl", lines(&[3]))];
    assert_eq!(entries, expected.map(|(name, text)| (name.to_owned(), text)));
    assert!(report.is_limited && readme.contains("only the newest"));
}

#[test]
fn what_vanished_or_is_damaged_is_skipped_and_told() {
    let fixture = Fixture::of(&[(A, &[1, 3]), (A2, &[4, 5, 6]), (A10, &[8, 9]), (B, &[2])]);
    std::fs::remove_file(fixture.path(A, Form::Plain)).unwrap();
    // Another line where the second one was: no longer, so the file's length tells nothing.
    let path = fixture.path(A2, Form::Plain);
    let damaged = std::fs::read_to_string(&path).unwrap().replace(&id(5), &id(7));
    std::fs::write(&path, damaged).unwrap();
    let sealed = zstd::encode_all(lines(&[8, 9]).as_bytes(), 1).unwrap();
    std::fs::write(fixture.path(A10, Form::Zstd), &sealed[..sealed.len() - 4]).unwrap();
    std::fs::remove_file(fixture.path(A10, Form::Plain)).unwrap();
    let (report, entries, readme) = fixture.packed(&Request::default());
    assert_eq!(entries[0], ("data/2026-05-26/00000000.jsonl".to_owned(), lines(&[2])));
    assert_eq!(entries[1], ("data/2026-05-27/a1b2c3d4.2.partial.jsonl".to_owned(), lines(&[4, 6])));
    assert!(entries.iter().all(|(name, _)| name != "data/2026-05-27/a1b2c3d4.2.jsonl"));
    assert_eq!(report.skipped.told.len(), 3, "{:?}", report.skipped);
    assert!(report.skipped.told[0].starts_with("2026-05-27/a1b2c3d4.jsonl: 2 traces, the file is gone"));
    assert!(report.skipped.told[1].starts_with("2026-05-27/a1b2c3d4.2.jsonl: 1 trace, no such line"));
    assert!(report.skipped.told[2].contains("cannot read"), "{:?}", report.skipped);
    assert_eq!(report.traces + report.skipped.traces, 8);
    for told in &report.skipped.told {
        assert!(readme.contains(&format!("- {told}\n")), "{readme}");
    }
}

#[test]
fn attachments_stand_by_trace_and_missing_ones_are_told() {
    let fixture = Fixture::of(&[]);
    let bucket = A.parse::<SegmentId>().unwrap().bucket;
    let attach = |n: usize, bytes: &[&[u8]]| {
        let attachment =
            |bytes: &&[u8]| Attachment { mime: "text/plain".into(), extension: "txt", bytes: bytes.to_vec() };
        let attachments: Vec<Attachment> = bytes.iter().map(attachment).collect();
        let folder = fixture.layout.media(bucket, id(n).parse().unwrap());
        assert_eq!(crate::media::write(&folder, &attachments).count as usize, bytes.len());
        folder
    };
    attach(2, &[b"b", b"c"]);
    let one = attach(1, &[b"a", b"z"]);
    let gone = attach(3, &[b"d"]);
    fixture.append(A, &[2, 1, 3]);
    fixture.index();
    std::fs::remove_file(one.join("1.txt")).unwrap();
    std::fs::remove_dir_all(gone).unwrap();
    let (report, entries, _) = fixture.packed(&Request::default());
    let media: Vec<_> = entries[1..].iter().map(|(name, text)| format!("{name}={text}")).collect();
    let expected = [(1, "0.txt=a"), (2, "0.txt=b"), (2, "1.txt=c")];
    assert_eq!(media, expected.map(|(n, rest)| format!("media/{}/{rest}", id(n))));
    assert_eq!((report.attachments, report.skipped.attachments), (3, 2));
    assert_eq!(report.skipped.told.len(), 2, "{:?}", report.skipped);
}

#[test]
fn nothing_that_matches_is_an_archive_too() {
    let fixture = Fixture::of(&[(B, &[2])]);
    let (report, entries, readme) = fixture.packed(&errors());
    assert_eq!((report.traces, entries.len()), (0, 0));
    assert!(readme.contains("nothing matched"));
}

#[test]
fn a_lease_is_held_while_a_segment_is_read_and_what_is_being_deleted_is_skipped() {
    let fixture = Fixture::of(&[(A, &[1]), (B, &[2])]);
    let leases = Leases::new();
    let deleting = leases.exclusive(A.parse().unwrap()).unwrap();
    let request = Request { leases: Some(leases.clone()), ..Request::default() };
    let (report, entries, _) = fixture.packed(&request);
    drop(deleting);
    assert_eq!(entries, [("data/2026-05-26/00000000.jsonl".to_owned(), lines(&[2]))]);
    assert!(report.skipped.told[0].contains("is being deleted"), "{:?}", report.skipped);
    struct Looking(Leases, bool);
    impl Write for Looking {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 |= self.0.exclusive(A.parse().unwrap()).is_err();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut looking = Looking(leases.clone(), false);
    fixture.write(&request, &mut looking, &Work::new()).unwrap();
    assert!(looking.1, "somebody could delete it meanwhile");
    assert!(leases.is_empty());
}

#[test]
fn a_cancelled_archive_is_none() {
    let fixture = Fixture::of(&[(A, &[1, 2])]);
    let work = Work::new();
    work.cancel();
    let mut bytes = Vec::new();
    let outcome = fixture.write(&Request::default(), &mut bytes, &work);
    assert!(matches!(outcome, Err(ExportError::Cancelled(_))), "{outcome:?}");
    assert!(ZipArchive::new(Cursor::new(bytes)).is_err());
}

#[test]
fn without_an_index_it_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let error = open_index(&Layout::new(dir.path())).unwrap_err();
    assert!(matches!(error, ExportError::NoIndex(_)) && error.to_string().contains("api-log rebuild"), "{error}");
    assert!(!dir.path().join("index.sqlite").exists());
}

#[test]
fn an_index_that_is_being_rebuilt_makes_no_archive_that_lacks_older_traces() {
    let fixture = Fixture::of(&[]);
    fixture.append(A, &[1, 2]);
    let (mut index, mut state) = new_index(&fixture.layout);
    rebuild::make_interim(&mut index, &mut state, &fixture.layout).unwrap();
    let outcome = open_index(&fixture.layout);
    assert!(matches!(outcome, Err(ExportError::Interim)), "{outcome:?}");
}

#[test]
fn the_default_name_is_a_moment_without_colons() {
    assert_eq!(default_name(UnixMillis(1_779_877_425_007)), "api-log-package-2026-05-27T10-23-45Z.zip");
}

#[test]
fn the_index_knows_the_end_of_a_sealed_file() {
    let fixture = Fixture::of(&[(A, &[1])]);
    fixture.seal(A, Form::Zstd);
    let index = schema::open_reader(&fixture.layout.index()).unwrap();
    let indexed = indexed_to(&index, A.parse().unwrap()).unwrap().unwrap();
    assert!(indexed.is_done && indexed.offset == lines(&[1]).len() as u64);
}
