//! `/api/traces/{id}`: the row and the line itself.

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};

use serde_json::Value;
use serde_json::value::RawValue;

use crate::seed::{Line, id, write};
use crate::stack::Recorder;

#[test]
fn the_line_comes_as_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let ask = r#"{"z":1.0,"a":1e400,"n":12345678901234567890123,"n":-0,"s":"<\u00e9>&\/","model":"m","messages":[]}"#;
    let answer = r#"{"usage":{"prompt_tokens":1e0},"b":0.10,"a":[ ]}"#;
    recorder.send("/v1/chat/completions", &[("x-answer", answer)], ask);
    let row = recorder.await_rows("", 1).remove(0);
    let reply = recorder.api("GET", &format!("/api/traces/{}", row["id"].as_str().unwrap()), "");
    assert_eq!(reply.status, 200);
    // The line itself is no number's business: 1e400 is more than any of Rust's.
    let found: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["row", "trace"]);
    assert_eq!(serde_json::from_str::<Value>(found["row"].get()).unwrap(), row, "the row of the list");
    let file = std::fs::read_to_string(dir.path().join(row["jsonl_path"].as_str().unwrap())).unwrap();
    let line = file.strip_suffix('\n').unwrap();
    assert!(reply.text().ends_with(&format!("\"trace\":{line}}}\n")), "{}", reply.text());
    assert!(reply.text().starts_with("{\"row\":{\"id\":"));
    for body in [ask, answer] {
        assert!(line.contains(&format!("\"body\":{body}")), "{line}");
    }
    assert_eq!(row["jsonl_offset"], 0);
    assert_eq!(row["jsonl_bytes"], line.len());
}

#[test]
fn every_line_of_a_file_is_found_at_its_place() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &(0..20).map(|number| Line::new(number, 0)).collect::<Vec<_>>());
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 20);
    for number in 0..20 {
        let found = recorder.get(&format!("/api/traces/{}", id(number)));
        assert_eq!((&found["row"]["id"], &found["trace"]["id"]), (&id(number).into(), &id(number).into()));
        assert_eq!(found["trace"]["req"]["body"]["messages"][0]["content"], id(number));
    }
}

#[test]
fn a_trace_that_is_not_there_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[Line::new(1, 0)]);
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 1);
    // Ids are compared exactly.
    for other in
        [id(2), id(1).to_lowercase(), format!("{}0", id(1)), id(1)[1..].to_owned(), "%00".to_owned(), "x".repeat(9000)]
    {
        let (status, body) = recorder.refusal(&format!("/api/traces/{other}"));
        assert_eq!((status, &body["error"]), (404, &"not_found".into()), "{other}");
    }
    let (status, body) = recorder.refusal(&format!("/api/traces/{}?x=1", id(1)));
    assert_eq!((status, &body["error"], &body["param"]), (400, &"bad_param".into(), &"x".into()));
}

#[test]
fn a_line_that_is_another_one_is_never_given() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[Line::new(1, 0), Line::new(2, 0), Line::new(3, 0)]);
    let recorder = Recorder::start(dir.path());
    let rows = recorder.await_rows("", 3);
    let path = dir.path().join(rows[0]["jsonl_path"].as_str().unwrap());
    let offset = rows[1]["jsonl_offset"].as_u64().unwrap();
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(format!("{{\"id\":\"{}\"", id(7)).as_bytes()).unwrap();
    let (status, body) = recorder.refusal(&format!("/api/traces/{}", id(2)));
    assert_eq!((status, &body["error"]), (500, &"jsonl_read_failed".into()));
    for member in ["detail", "message"] {
        let text = body[member].as_str().unwrap();
        assert!(!text.is_empty() && !text.contains(dir.path().to_str().unwrap()), "{text}");
    }
    for whole in [1, 3] {
        assert_eq!(recorder.get(&format!("/api/traces/{}", id(whole)))["trace"]["id"], id(whole));
    }
    // Cut short behind the first line.
    file.set_len(offset + 10).unwrap();
    let (status, body) = recorder.refusal(&format!("/api/traces/{}", id(3)));
    assert_eq!((status, &body["error"]), (500, &"jsonl_read_failed".into()));
}

#[test]
fn a_line_is_found_in_a_sealed_file_too() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &(0..5).map(|number| Line::new(number, 0)).collect::<Vec<_>>());
    let recorder = Recorder::start(dir.path());
    let rows = recorder.await_rows("", 5);
    let plain = dir.path().join(rows[0]["jsonl_path"].as_str().unwrap());
    let lines = std::fs::read(&plain).unwrap();
    std::fs::remove_file(&plain).unwrap();
    let zstd = zstd::encode_all(&lines[..], 3).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&lines).unwrap();
    for (suffix, bytes) in [("zst", zstd), ("gz", gzip.finish().unwrap())] {
        let sealed = plain.with_extension(format!("jsonl.{suffix}"));
        std::fs::write(&sealed, bytes).unwrap();
        for number in 0..5 {
            assert_eq!(recorder.get(&format!("/api/traces/{}", id(number)))["trace"]["id"], id(number), "{suffix}");
        }
        std::fs::remove_file(sealed).unwrap();
    }
    // Deleted: the row may still be there for a moment, its trace is not.
    let (status, body) = recorder.refusal(&format!("/api/traces/{}", id(1)));
    assert_eq!((status, &body["error"]), (404, &"not_found".into()));
}
