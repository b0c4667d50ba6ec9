//! `/api/traces/{id}/replay`: a recorded stream sent again.

use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::seed::{id, text, write_texts};
use crate::stack::{Recorder, open, until};

const FILE: &str = "2026-05-27/aaaaaaaa.jsonl";

/// Three events, each so many milliseconds behind the one before.
fn chat(number: usize, gap_ms: usize) -> String {
    let events: Vec<String> =
        (0..3).map(|at| format!(r#"{{"event":"","data":{{"n":{at}}},"t_delta_ms":{}}}"#, 500 + at * gap_ms)).collect();
    text(number, "/v1/chat/completions", &format!(r#""events":[{}],"stream_done":true"#, events.join(",")))
}

const ALL: &str = "data: {\"n\":0}\n\ndata: {\"n\":1}\n\ndata: {\"n\":2}\n\ndata: [DONE]\n\n";

#[test]
fn a_stream_comes_as_it_was_recorded_at_its_pace() {
    let dir = tempfile::tempdir().unwrap();
    write_texts(dir.path(), FILE, &[chat(1, 400)]);
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 1);
    let replayed = |query: &str| {
        let began = Instant::now();
        let reply = recorder.api("GET", &format!("/api/traces/{}/replay?{query}", id(1)), "");
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.field("content-type"), Some("text/event-stream"));
        assert_eq!(reply.field("cache-control"), Some("no-store"));
        assert_eq!(reply.field("x-accel-buffering"), Some("no"));
        (reply.unchunked(), began.elapsed())
    };
    let (body, took) = replayed("");
    assert_eq!(body, ALL);
    assert!(took >= Duration::from_millis(800), "{took:?}");
    let (body, took) = replayed("speed=2");
    assert_eq!(body, ALL);
    assert!(took >= Duration::from_millis(400), "{took:?}");
    assert_eq!(replayed("nodelay=1").0, ALL);
    assert_eq!(replayed("nodelay=1&from=1&to=2").0, "data: {\"n\":1}\n\n");
    assert_eq!(replayed("nodelay=1&from=2").0, "data: {\"n\":2}\n\ndata: [DONE]\n\n");
}

#[test]
fn sockets_and_arrays_are_replayed_too() {
    let dir = tempfile::tempdir().unwrap();
    let turn = r#""events":[{"event":"","dir":"client","data":{"q":1},"t_delta_ms":0},{"event":"","dir":"server","data":{"a":1},"t_delta_ms":1}]"#;
    let gemini = "/v1beta/models/g:streamGenerateContent";
    let lines = [
        text(1, "/v1/responses", turn),
        text(2, gemini, r#""events":[{"event":"","data":{"x":1},"t_delta_ms":5}],"stream_done":true"#),
        text(3, gemini, r#""body":[{"x":1},{"y":2}]"#),
    ];
    write_texts(dir.path(), FILE, &lines);
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 3);
    let replayed = |number: usize, query: &str| {
        let reply = recorder.api("GET", &format!("/api/traces/{}/replay?nodelay=1{query}", id(number)), "");
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.unchunked()
    };
    assert_eq!(replayed(1, ""), "data: {\"a\":1}\n\n");
    assert_eq!(replayed(1, "&dir=both"), "data: {\"q\":1}\n\ndata: {\"a\":1}\n\n");
    assert_eq!(replayed(2, ""), "data: {\"x\":1}\n\n");
    assert_eq!(replayed(3, ""), "data: {\"x\":1}\n\ndata: {\"y\":2}\n\n");
}

#[test]
fn what_cannot_be_replayed_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let lines = [text(1, "/v1/chat/completions", r#""body":{"a":1}"#), text(2, "/v1/x", r#""events":[]"#)];
    write_texts(dir.path(), FILE, &lines);
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 2);
    let refusal = |target: &str| {
        let (status, body) = recorder.refusal(&format!("/api/traces/{target}"));
        (status, body["error"].as_str().unwrap().to_owned(), body["param"].as_str().unwrap_or_default().to_owned())
    };
    let told = |status: u16, error: &str, param: &str| (status, error.to_owned(), param.to_owned());
    for number in [1, 2] {
        assert_eq!(refusal(&format!("{}/replay", id(number))), told(400, "not_streaming", ""));
    }
    assert_eq!(refusal(&format!("{}/replay", id(9))), told(404, "not_found", ""));
    // The parameters come first.
    for speed in ["0", "-1", "100.5", "fast", "NaN"] {
        assert_eq!(refusal(&format!("{}/replay?speed={speed}", id(9))), told(400, "invalid_param", "speed"));
    }
    assert_eq!(refusal(&format!("{}/replay?from=x", id(9))), told(400, "invalid_param", "from"));
    assert_eq!(refusal(&format!("{}/replay?faster=1", id(9))), told(400, "bad_param", "faster"));
}

#[test]
fn a_thousand_at_once_cost_no_threads_and_leave_nothing_behind() {
    const MANY: usize = 1000;
    let dir = tempfile::tempdir().unwrap();
    // Nobody gets beyond the first event.
    write_texts(dir.path(), FILE, &[chat(1, 60_000), chat(2, 0)]);
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 2);
    let threads = || -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", recorder.pid())).unwrap();
        status.lines().find_map(|it| it.strip_prefix("Threads:")).unwrap().trim().parse().unwrap()
    };
    recorder.api("GET", &format!("/api/traces/{}/replay?nodelay=1", id(2)), "");
    let before = threads();
    let target = format!("/api/traces/{}/replay", id(1));
    let mut streams: Vec<_> = (0..MANY).map(|_| open(&recorder, &target)).collect();
    for stream in &mut streams {
        let mut line = String::new();
        let mut reader = BufReader::new(stream);
        while line != "data: {\"n\":0}\n" {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0, "ended early");
        }
    }
    // Some read lines and the index; none waits for an event.
    assert!(threads() < before + 50, "{} threads, {before} before", threads());
    let bound = |name: &str| -> Value {
        let reply = recorder.api("GET", "/healthz", "");
        let bounds = reply.json()["bounds"].as_array().unwrap().clone();
        bounds.into_iter().find(|it| it["name"] == name).unwrap()
    };
    assert_eq!(bound("replayed_traces")["count"]["depth"], 1, "they share what they play");
    drop(streams);
    until("callers that left are let go", || {
        bound("replayed_traces")["count"]["depth"] == 0 && bound("api_callers")["count"]["depth"].as_u64().unwrap() < 10
    });
    // And those who stay get theirs to the end.
    let mut rest = Vec::new();
    open(&recorder, &format!("/api/traces/{}/replay", id(2))).read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"data: [DONE]\n\n\r\n0\r\n\r\n"), "{}", rest.escape_ascii());
}

#[test]
fn who_reads_slowly_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    // More than sockets hold.
    let long = "x".repeat(1 << 20);
    let events: Vec<String> =
        (0..24).map(|at| format!(r#"{{"event":"","data":"{at} {long}","t_delta_ms":0}}"#)).collect();
    write_texts(dir.path(), FILE, &[text(1, "/v1/x", &format!(r#""events":[{}]"#, events.join(",")))]);
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 1);
    let mut stream = open(&recorder, &format!("/api/traces/{}/replay?nodelay=1", id(1)));
    let mut first = [0; 100];
    stream.read_exact(&mut first).unwrap();
    // Others are served meanwhile.
    recorder.await_rows("", 1);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.len() > 24 << 20 && rest.ends_with(b"\r\n0\r\n\r\n"));
}
