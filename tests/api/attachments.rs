//! `/api/media/{trace_id}/{idx}`: attachments by HTTP.

use serde_json::Value;

use crate::seed::{id, text, write_texts};
use crate::stack::{Recorder, Reply};

/// A recorder with one trace, and files where its attachments stand.
fn recorder(dir: &std::path::Path, files: &[(&str, &[u8])]) -> Recorder {
    write_texts(dir, "2026-05-27/aaaaaaaa.jsonl", &[text(1, "/v1/x", r#""body":{}"#)]);
    let folder = dir.join("2026-05-27/aaaaaaaa/media").join(id(1));
    std::fs::create_dir_all(&folder).unwrap();
    files.iter().for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes).unwrap());
    let recorder = Recorder::start(dir);
    recorder.await_rows("", 1);
    recorder
}

fn get(recorder: &Recorder, number: &str, range: &str) -> Reply {
    let bearer = format!("Bearer {}", recorder.token);
    let mut fields = vec![("Authorization", bearer.as_str())];
    if !range.is_empty() {
        fields.push(("Range", range));
    }
    recorder.api_with("GET", &format!("/api/media/{}/{number}", id(1)), &fields, "")
}

#[test]
fn types_and_names_are_safe() {
    let dir = tempfile::tempdir().unwrap();
    let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    let files: [(&str, &[u8]); 4] = [("0.png", b"\x89PNG"), ("1.svg", svg), ("2.bin", b""), ("3.html", b"<p>")];
    let recorder = recorder(dir.path(), &files);
    for (number, mime, disposition) in [
        (0, "image/png", "inline; filename=\"0.png\""),
        (1, "image/svg+xml", "attachment; filename=\"1.svg\""),
        (2, "application/octet-stream", "inline; filename=\"2.bin\""),
        (3, "text/html", "attachment; filename=\"3.html\""),
    ] {
        let reply = get(&recorder, &number.to_string(), "");
        assert_eq!((reply.status, reply.body.as_slice()), (200, files[number].1));
        assert_eq!(reply.field("content-type"), Some(mime));
        assert_eq!(reply.field("content-length"), Some(files[number].1.len().to_string().as_str()));
        assert_eq!(reply.field("content-disposition"), Some(disposition));
        assert_eq!(reply.field("cache-control"), Some("private, no-store"));
        assert_eq!(reply.field("x-content-type-options"), Some("nosniff"));
        assert!(reply.field("content-security-policy").unwrap().contains("sandbox"));
    }
    let head = recorder.api("HEAD", &format!("/api/media/{}/1", id(1)), "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.field("content-length"), Some(svg.len().to_string().as_str()));
}

#[test]
fn any_range_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..100_000_u32).map(|it| it as u8).collect();
    let recorder = recorder(dir.path(), &[("0.mp4", &bytes)]);
    assert_eq!(get(&recorder, "0", "").field("accept-ranges"), Some("bytes"));
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=99999-", 99_999, 100_000),
        ("bytes=5-70000", 5, 70_001),
        ("bytes=-10", 99_990, 100_000),
    ] {
        let reply = get(&recorder, "0", range);
        assert_eq!((reply.status, reply.body.as_slice()), (206, &bytes[from..to]), "{range}");
        assert_eq!(reply.field("content-range"), Some(format!("bytes {from}-{}/100000", to - 1).as_str()));
        assert_eq!(reply.field("content-type"), Some("video/mp4"));
    }
    let beyond = get(&recorder, "0", "bytes=100000-");
    assert_eq!((beyond.status, beyond.field("content-range")), (416, Some("bytes */100000")));
}

#[test]
fn what_is_not_there_is_told_and_nothing_else_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorder(dir.path(), &[("0.png", b"x"), (".1.png.tmp", b"x")]);
    let refusal = |target: &str| -> (u16, Value) { recorder.refusal(&format!("/api/media/{target}")) };
    for target in
        [format!("{}/0", id(2)), format!("{}/1", id(1)), format!("{}/00", id(1)), format!("{}/+0", id(1)), "x/0".into()]
    {
        let (status, body) = refusal(&target);
        assert_eq!((status, &body["error"]), (404, &"not_found".into()), "{target}");
        assert!(body["detail"].is_string());
    }
    for number in ["-1", "0.png", "x", "1e3", "..%2f..%2fadmin_token", "%2e%2e"] {
        let (status, body) = refusal(&format!("{}/{number}", id(1)));
        assert_eq!((status, &body["error"], &body["param"]), (400, &"bad_param".into(), &"idx".into()), "{number}");
    }
    let reply = recorder.api_with("GET", &format!("/api/media/{}/0", id(1)), &[], "");
    assert_eq!(reply.status, 401);
}

#[test]
fn a_range_in_a_unit_that_is_not_known_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorder(dir.path(), &[("0.png", b"0123")]);
    for (range, status, body) in [
        ("items=0-1", 200, "0123"),
        ("0-1", 200, "0123"),
        ("bytes=0-1", 206, "01"),
        ("bytes=2-", 206, "23"),
        ("bytes=9-", 416, ""),
    ] {
        let reply = get(&recorder, "0", range);
        assert_eq!((reply.status, reply.text()), (status, body), "{range}");
    }
}
