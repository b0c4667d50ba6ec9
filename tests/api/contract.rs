//! The rules that all routes share, held by the routes that read traces one by one, in bulk and as they come.

use std::io::Read;

use serde_json::Value;

use crate::seed::{id, text, write_texts};
use crate::stack::{Recorder, Reply, call, open};

const FILE: &str = "2026-05-27/aaaaaaaa.jsonl";

fn recorder(dir: &std::path::Path) -> Recorder {
    let events = r#""events":[{"event":"","data":1,"t_delta_ms":1}],"stream_done":true"#;
    write_texts(dir, FILE, &[text(1, "/v1/chat/completions", events)]);
    let media = dir.join("2026-05-27/aaaaaaaa/media").join(id(1));
    std::fs::create_dir_all(&media).unwrap();
    std::fs::write(media.join("0.png"), "png").unwrap();
    let recorder = Recorder::start(dir);
    recorder.await_rows("", 1);
    recorder
}

/// Each route, and the type of its answer.
fn routes() -> Vec<(String, &'static str)> {
    let id = id(1);
    vec![
        (format!("/api/traces/{id}"), "application/json"),
        (format!("/api/traces/{id}/replay"), "text/event-stream"),
        (format!("/api/media/{id}/0"), "image/png"),
        ("/api/export".into(), "application/zip"),
        ("/api/export?format=jsonl".into(), "application/x-ndjson"),
        ("/api/export?format=har".into(), "application/json"),
        ("/api/tail".into(), "text/event-stream"),
        ("/api/inflight".into(), "application/json"),
    ]
}

/// A problem as every route tells it.
fn problem(reply: &Reply) -> (u16, String, Value) {
    assert_eq!(reply.field("content-type"), Some("application/json"));
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    assert!(reply.body.ends_with(b"}\n"));
    let body = reply.json();
    assert!(body.as_object().unwrap().values().all(Value::is_string), "flat, of texts: {body}");
    assert!(!body["message"].as_str().unwrap().is_empty());
    (reply.status, body["error"].as_str().unwrap().to_owned(), body)
}

#[test]
fn every_route_asks_for_the_token_before_anything_else() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorder(dir.path());
    let nowhere =
        [format!("/api/inflight/{}/events", id(1)), format!("/api/media/{}/x", id(1)), "/api/export?status=3xx".into()];
    let shown = [vec![], vec![("Authorization", "Bearer wrong")], vec![("Authorization", "bearer x")]];
    for target in routes().iter().map(|it| &it.0).chain(&nowhere) {
        for fields in &shown {
            let reply = recorder.api_with("GET", target, fields, "");
            let (status, error, _) = problem(&reply);
            assert_eq!((status, error.as_str()), (401, "unauthorized"), "{target}");
        }
    }
}

#[test]
fn every_route_tells_the_methods_it_takes_without_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorder(dir.path());
    for (target, _) in routes() {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let reply = call(recorder.api, method, &target, &[], b"");
            assert_eq!((reply.status, reply.field("allow")), (405, Some("GET, HEAD")), "{method} {target}");
            assert!(reply.field("content-type").unwrap().starts_with("text/plain"));
        }
    }
    for unknown in ["/api/traces/x/y", "/api/media", "/api/media/x", "/api/inflight/x", "/api/tails", "/api/export/x"] {
        let reply = recorder.api("GET", unknown, "");
        assert_eq!(reply.status, 404, "{unknown}");
        assert!(reply.field("content-type").unwrap().starts_with("text/plain"));
    }
}

#[test]
fn every_answer_names_its_type_and_is_kept_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorder(dir.path());
    for (target, media_type) in routes() {
        let head = recorder.api("HEAD", &target, "");
        assert_eq!((head.status, head.body.len()), (200, 0), "{target}");
        // The tail's own end never comes: its head is enough.
        let mut stream = open(&recorder, &target);
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            bytes.push(byte[0]);
        }
        let text = String::from_utf8(bytes).unwrap().to_ascii_lowercase();
        assert!(text.starts_with("http/1.1 200"), "{target}: {text}");
        let fields =
            ["x-content-type-options: nosniff\r\n", &format!("content-type: {media_type}\r\n"), "cache-control: "];
        fields.iter().for_each(|field| assert!(text.contains(field), "{target}: {field} in {text}"));
        assert!(text.contains("no-store"));
        assert_eq!(head.field("content-type"), Some(media_type), "{target}");
    }
}

#[test]
fn every_route_refuses_parameters_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorder(dir.path());
    for (target, _) in routes() {
        let separator = if target.contains('?') { '&' } else { '?' };
        let (status, error, body) = problem(&recorder.api("GET", &format!("{target}{separator}nonsense=1"), ""));
        assert_eq!((status, error.as_str(), &body["param"]), (400, "bad_param", &"nonsense".into()), "{target}");
        assert!(body["detail"].is_string());
    }
    // The filters are the list's.
    for target in ["/api/export", "/api/tail"] {
        for (name, value) in [("since", "yesterday"), ("until", "1"), ("status", "3xx"), ("key_hash", "abc")] {
            let (status, error, body) = problem(&recorder.api("GET", &format!("{target}?{name}={value}"), ""));
            assert_eq!((status, error.as_str(), &body["param"]), (400, "bad_param", &name.into()), "{target}");
        }
        let empty = recorder.api("HEAD", &format!("{target}?model=&status=&nonsense="), "");
        assert_eq!(empty.status, 200, "empty ones count as absent: {target}");
    }
}

#[test]
fn what_is_not_there_is_told_alike() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = recorder(dir.path());
    let other = id(2);
    for target in [
        format!("/api/traces/{other}"),
        format!("/api/traces/{other}/replay"),
        "/api/traces/x/replay".into(),
        format!("/api/media/{other}/0"),
        format!("/api/media/{}/1", id(1)),
        format!("/api/inflight/{}/events", id(1)),
        "/api/inflight/x/events".into(),
    ] {
        let (status, error, body) = problem(&recorder.api("GET", &target, ""));
        assert_eq!((status, error.as_str()), (404, "not_found"), "{target}");
        assert!(body["detail"].is_string());
    }
}
