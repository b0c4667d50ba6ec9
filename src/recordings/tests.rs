//! Which exchange answers, and with which bytes.

use serde_json::{Value, json};

use super::*;
use crate::jsonl::file::JsonlFile;

fn line(number: usize, method: &str, path: &str, body: Value, resp: Value) -> Vec<u8> {
    json!({
        "id": format!("01J000000000000000000000{number:02}"), "ts_start": format!("2026-05-27T10:00:{number:02}Z"),
        "ts_end": format!("2026-05-27T10:00:{number:02}.500Z"), "method": method, "path": path, "upstream": "http://g",
        "status": 200, "ttfb_ms": 20, "req": {"headers": {}, "body": body}, "resp": resp
    })
    .to_string()
    .into_bytes()
}

fn of(lines: &[Vec<u8>]) -> (tempfile::TempDir, Recordings) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    JsonlFile::open(&layout, "2026-05-27/a1b2c3d4.jsonl".parse().unwrap()).unwrap().append(&lines).unwrap();
    let recordings = Recordings::load(layout).unwrap();
    (dir, recordings)
}

fn text(answer: &Answer) -> String {
    answer.pieces.iter().map(|it| String::from_utf8(it.bytes.to_vec()).unwrap()).collect()
}

fn plain(text: &str) -> Value {
    json!({"headers": {}, "body": text})
}

#[test]
fn the_same_body_answers_else_the_path_in_order() {
    let (_dir, recordings) = of(&[
        line(2, "POST", "/v1/x", json!({"a": 1, "b": [2]}), plain("second")),
        line(1, "POST", "/v1/x?key=secret", json!({"a": 2}), plain("first")),
        line(3, "GET", "/v1/models", Value::Null, plain("models")),
        line(4, "POST", "/v1/x", json!({"a": 1, "b": [2]}), plain("again")),
        b"no trace".to_vec(),
    ]);
    assert_eq!((recordings.len(), recordings.left_out()), (4, 1));
    let ask = |method: &str, target: &str, body: &str| {
        let (answer, by) = recordings.answer(method, target, body.as_bytes()).unwrap()?;
        Some((text(&answer), by.name()))
    };
    let found = |text: &str, by: &'static str| Some((format!("\"{text}\""), by));
    assert_eq!(ask("POST", "/v1/x", " {\"b\":[2.0],\n\"a\":1} "), found("second", "body"));
    assert_eq!(ask("POST", "/v1/x", "{\"b\":[2],\"a\":1}"), found("again", "body"));
    assert_eq!(ask("POST", "/v1/x", "{\"b\":[2],\"a\":1}"), found("second", "body"), "from the first on again");
    assert_eq!(ask("POST", "/v1/x?key=other", "{\"a\":2}"), found("first", "body"));
    // The path's own order.
    let turns: Vec<_> = (0..4).map(|_| ask("POST", "/v1/x?z", "{}").unwrap().0).collect();
    assert_eq!(turns, ["\"first\"", "\"second\"", "\"again\"", "\"first\""]);
    assert_eq!(ask("GET", "/v1/models", ""), found("models", "body"));
    assert_eq!(ask("POST", "/v1/models", ""), None);
    assert_eq!(recordings.paths(), ["GET /v1/models", "POST /v1/x"]);
}

fn streamed(wire: &str, events: Value, done: bool) -> Value {
    let digest: String = Sha256::digest(wire).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"headers": {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked", "X-Y": "z"},
        "bytes": wire.len(), "sha256": digest, "events": events, "stream_done": done})
}

#[test]
fn a_stream_has_the_bytes_of_the_wire_in_every_common_framing() {
    let event = |name: &str, data: Value| json!({"event": name, "data": data, "t_delta_ms": 30});
    for (wire, events, done) in [
        ("data: {\"a\":1}\n\ndata: [DONE]\n\n", json!([event("", json!({"a": 1}))]), true),
        ("data:{\"a\":1}\r\n\r\ndata:[DONE]\r\n\r\n", json!([event("", json!({"a": 1}))]), true),
        ("event: x\ndata: {\"a\":1}\n\n", json!([event("x", json!({"a": 1}))]), true),
        ("event: message_stop\ndata: hello\ndata: you", json!([event("message_stop", json!("hello\nyou"))]), true),
        ("data: \"t\"\n\n", json!([event("", json!("t"))]), false),
        ("id: 7\nevent: x\ndata: 1\n\n", json!([{"event": "x", "data": 1, "id": "7"}]), false),
        ("event: x\ndata: 1\nid: 7\n\n", json!([{"event": "x", "data": 1, "id": "7"}]), false),
    ] {
        let (_dir, recordings) =
            of(&[line(1, "POST", "/v1/chat/completions", json!({}), streamed(wire, events, done))]);
        let (answer, _) = recordings.answer("POST", "/v1/chat/completions", b"{}").unwrap().unwrap();
        // The last one lacks the end of its line, which nobody can know of.
        let is_whole = wire.ends_with('\n');
        assert_eq!(answer.is_exact, is_whole, "{wire:?} {:?}", text(&answer));
        if is_whole {
            assert_eq!(text(&answer), wire);
        }
        assert_eq!(answer.fields.len(), 2, "no fields of the hop: {:?}", answer.fields);
    }
}

#[test]
fn pieces_come_at_their_times_and_what_broke_off_breaks_off() {
    let events = json!([{"event": "", "data": 1, "t_delta_ms": 30}, {"event": "", "data": 2, "t_delta_ms": 470}]);
    let mut broken: Value =
        serde_json::from_slice(&line(1, "POST", "/v1/chat/completions", json!({}), streamed("", events, true)))
            .unwrap();
    broken["disconnected"] = json!(true);
    let (_dir, recordings) = of(&[broken.to_string().into_bytes(), line(2, "GET", "/x", Value::Null, plain("x"))]);
    let (answer, _) = recordings.answer("POST", "/v1/chat/completions", b"").unwrap().unwrap();
    let times: Vec<u128> = answer.pieces.iter().map(|it| it.at.as_millis()).collect();
    assert_eq!((times.as_slice(), answer.head_at.as_millis()), ([30, 470, 470].as_slice(), 20));
    assert!(answer.is_broken_off && !answer.tells_length);
    let (answer, _) = recordings.answer("GET", "/x", b"").unwrap().unwrap();
    assert_eq!((answer.pieces[0].at.as_millis(), answer.is_broken_off), (500, false));
}

#[test]
fn an_array_stream_is_an_array_again() {
    let path = "/v1beta/models/g:streamGenerateContent";
    let resp = json!({"headers": {"Content-Type": "application/json"}, "stream_done": true,
        "events": [{"event": "", "data": {"a": 1}}, {"event": "", "data": {"b": 2}}]});
    let (_dir, recordings) = of(&[line(1, "POST", path, json!({}), resp)]);
    let (answer, _) = recordings.answer("POST", path, b"{}").unwrap().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text(&answer)).unwrap(), json!([{"a": 1}, {"b": 2}]));
}
