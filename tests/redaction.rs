//! What plugins make of a record: nothing that is to be redacted stands on a line, whatever form it came in, and the
//! row of a line reads back the same.

#![expect(clippy::unwrap_used, reason = "a failure is the test's result")]

use api_log::exchange::{End, Exchange};
use api_log::headers::Headers;
use api_log::ids::{TraceIds, UnixMillis};
use api_log::jsonl::line::read_row_with;
use api_log::plugin::instance::Instance;
use api_log::plugin::record::{Decision, prepare};
use api_log::plugin::set::{Budget, Set, Source};
use api_log::protocol::Protocol;
use api_log::recording::{Mark, Recording};
use api_log::socket::{SocketLimits, SocketReader, SocketTrace};
use api_log::trace::{
    BodiesDropped, FinalizeSettings, Finished, Row, finalize, finalize_piece, finalize_piece_raw, finalize_raw,
    finalize_without_bodies,
};
use api_log::wire::websocket::Side;
use serde_json::{Value, json};

/// How much text is kept for searching.
const TEXT_BYTES: Option<usize> = Some(1 << 14);
const SECRET: &str = "s3cr3t-of-the-client";

fn set(instances: Value) -> Set {
    let (instances, bad) = Instance::read_list(instances.as_array().unwrap());
    assert_eq!(bad, []);
    Set::after(&Set::default(), Source::Override, Vec::new(), instances).with_secret("of the data dir")
}

fn redact(config: Value) -> Set {
    set(json!([{"type": "redact", "id": "r", "enabled": true, "config": config}]))
}

fn everything() -> Set {
    redact(
        json!({"headers": ["Authorization", "set-cookie", "x-sum"], "query": ["key"], "paths": ["$..text", "$.user"]}),
    )
}

fn exchange(request: &[u8], response_type: &str, response: &[u8]) -> Exchange {
    let headers =
        |fields: &[(&str, &str)]| fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect::<Headers>();
    let body = |bytes: &[u8]| Recording {
        bytes: bytes.to_vec(),
        marks: vec![Mark { offset: 0, at_us: 7 }],
        wire_bytes: bytes.len() as u64,
        is_cut: false,
    };
    let bearer = format!("Bearer {SECRET}");
    Exchange {
        id: TraceIds::new(1).next(UnixMillis(1_779_877_425_810)),
        ts_start: UnixMillis(1_779_877_425_810),
        ts_end: UnixMillis(1_779_877_425_910),
        peer: ([127, 0, 0, 1], 5000).into(),
        method: "POST".into(),
        target: format!("/v1/chat/completions?key={SECRET}&x=1").into(),
        upstream: "http://gateway".into(),
        status: Some(200),
        request_headers: headers(&[("Authorization", &bearer), ("Content-Type", "application/json")]),
        response_headers: headers(&[("content-type", response_type), ("set-cookie", SECRET)]),
        request_trailers: Headers::new(),
        response_trailers: headers(&[("x-sum", SECRET)]),
        request: body(request),
        response: body(response),
        end: End::Complete,
        ttfb_ms: Some(3),
        error: None,
        applied: Default::default(),
    }
}

fn settings() -> FinalizeSettings {
    FinalizeSettings { text_bytes: TEXT_BYTES, ..FinalizeSettings::default() }
}

/// The row of the line, texts for searching included. Of lines whose bodies nobody reads there are none.
fn read_back(finished: &Finished) -> Row {
    let is_read = finished.row.texts.is_some();
    let mut row = read_row_with(&finished.line, TEXT_BYTES).unwrap();
    row.texts = row.texts.filter(|texts| is_read || !texts.is_empty());
    row
}

/// The line; nothing of the secret stands on it, nor could a guess of it be tried.
fn silent(finished: &Finished) -> Value {
    let text = std::str::from_utf8(&finished.line).unwrap();
    assert!(!text.contains(SECRET), "{text}");
    assert!(!finished.row.path.contains(SECRET));
    assert_eq!(read_back(finished), *finished.row, "{text}");
    let searched = finished.row.texts.clone().unwrap_or_default();
    assert!(!searched.request.contains(SECRET) && !searched.answer.contains(SECRET), "{searched:?}");
    let line: Value = serde_json::from_str(text).unwrap();
    let asks = ["messages", "input"].iter().any(|turns| line["req"]["body"][turns].is_array());
    assert!(!asks || !searched.request.is_empty(), "what stands there instead is kept for searching: {text}");
    for side in ["req", "resp"] {
        assert!(line[side].get("body_redacted").is_none() || line[side].get("sha256").is_none(), "{text}");
    }
    line
}

fn finalized(set: &Set, mut exchange: Exchange) -> Value {
    assert_eq!(prepare(set, &mut exchange), Decision::Record);
    silent(&finalize(&exchange, &settings()))
}

#[test]
fn bodies_headers_and_target_are_redacted_in_place_and_the_key_is_still_known() {
    let request = format!(
        r#"{{"model":"m","n":1.50,"user":"{SECRET}","messages":[{{"role":"user","content":[{{"type":"text","text":"{SECRET}"}}]}}]}}"#
    );
    let answer = format!(r#"{{"choices":[{{"text":{{"a":"{SECRET}"}}}}],"usage":{{"prompt_tokens":3}}}}"#);
    let plain = finalize(&exchange(request.as_bytes(), "application/json", answer.as_bytes()), &settings());
    let line = finalized(&everything(), exchange(request.as_bytes(), "application/json", answer.as_bytes()));
    assert_eq!(line["key_hash"], plain.row.key.to_string());
    assert_eq!(
        (&line["req"]["body"]["model"], &line["resp"]["body"]["usage"]["prompt_tokens"]),
        (&json!("m"), &json!(3))
    );
    assert_eq!(
        line["req"]["body"]["user"], line["req"]["body"]["messages"][0]["content"][0]["text"],
        "equal values stay equal"
    );
    assert!(line["req"]["body"].to_string().contains("1.5"));
    assert_eq!((&line["req"]["body_redacted"], &line["resp"]["body_redacted"]), (&json!("in_part"), &json!("in_part")));
    assert_eq!(line["plugins"], json!([{"id": "r", "type": "redact", "hook": "record", "action": "redact"}]));
    assert!(line["path"].as_str().unwrap().ends_with("&x=1"));
    assert_eq!(line["req"]["headers"]["Content-Type"], "application/json");
}

#[test]
fn each_event_of_a_stream_is_redacted_and_what_is_no_json_is_left_out() {
    let stream = format!("data: {{\"text\":\"{SECRET}\",\"model\":\"m\"}}\n\ndata: {SECRET}\n\ndata: [DONE]\n\n");
    let line = finalized(&everything(), exchange(b"", "text/event-stream", stream.as_bytes()));
    let events = line["resp"]["events"].as_array().unwrap();
    assert_eq!((&events[0]["data"]["model"], &events[1]["data"]), (&json!("m"), &Value::Null));
    assert_eq!((&line["resp"]["stream_done"], &line["resp"]["body_redacted"]), (&json!(true), &json!("in_part")));
}

#[test]
fn what_cannot_be_read_is_left_out_whole() {
    let cut = format!(r#"{{"text":"{SECRET}"#);
    for media_type in ["application/json", "text/plain", "text/event-stream", "application/octet-stream"] {
        let line = finalized(&everything(), exchange(cut.as_bytes(), media_type, cut.as_bytes()));
        for side in ["req", "resp"] {
            assert_eq!(line[side]["body_redacted"], "whole", "{media_type}: {line}");
            assert_eq!((line[side].get("body_b64"), &line[side]["bytes"]), (None, &json!(cut.len())));
        }
    }
}

#[test]
fn a_coded_body_is_redacted_as_what_it_is() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(format!(r#"{{"text":"{SECRET}","b":1}}"#).as_bytes()).unwrap();
    let mut exchange = exchange(b"", "application/json", &encoder.finish().unwrap());
    exchange.response_headers.push("content-encoding", b"gzip");
    let line = finalized(&everything(), exchange);
    assert_eq!((&line["resp"]["body"]["b"], &line["resp"]["content_decoded"]), (&json!(1), &json!(["gzip"])));
}

#[test]
fn the_line_of_a_second_try_and_one_without_bodies_are_silent_too() {
    let body = format!(r#"{{"text":"{SECRET}"}}"#);
    let prepared = || {
        let mut exchange = exchange(body.as_bytes(), "application/json", body.as_bytes());
        assert_eq!(prepare(&everything(), &mut exchange), Decision::Record);
        exchange
    };
    let raw = silent(&finalize_raw(&prepared()));
    assert_eq!((&raw["req"]["body_redacted"], &raw["req"]["body"]), (&json!("whole"), &Value::Null));
    silent(&finalize_without_bodies(prepared(), &settings(), BodiesDropped::DiskFull));
}

#[test]
fn a_redaction_that_gave_up_leaves_bodies_out() {
    let set = everything();
    let active = &set.actives()[0];
    for _ in 0..20 {
        let _ = active.run(&mut Budget::for_bytes(0), || Err::<(), _>("broken".to_owned()));
    }
    assert!(active.switched_off().is_some());
    let body = format!(r#"{{"text":"{SECRET}"}}"#);
    let line = finalized(&set, exchange(body.as_bytes(), "application/json", body.as_bytes()));
    assert_eq!(line["req"]["body_redacted"], "whole");
    assert_eq!(line["req"]["headers"], json!({}));
    let told = line["plugin_errors"][0]["msg"].as_str().unwrap();
    assert!(told.starts_with("switched off: failed too often"), "{told}");
}

#[test]
fn what_is_not_about_the_path_or_not_there_stays() {
    let body = br#"{"text":"hello"}"#;
    let other = redact(json!({"paths": ["$..text"], "routes": ["/v2/*"]}));
    let absent = redact(json!({"paths": ["$..nothing"], "headers": ["x-none"]}));
    for set in [other, absent] {
        let mut with = exchange(body, "application/json", body);
        let without = finalize(&with, &settings());
        assert_eq!(prepare(&set, &mut with), Decision::Record);
        assert_eq!(finalize(&with, &settings()).line, without.line);
    }
}

#[test]
fn labels_filters_and_samples_act_in_order() {
    let labelled = set(json!([
        {"type": "redact", "id": "r", "enabled": true, "config": {"headers": ["authorization"]}},
        {"type": "tag", "id": "t", "enabled": true, "config": {"tags": ["a"], "from_header": "Authorization"}},
        {"type": "tag", "id": "u", "enabled": true, "config": {"tags": ["a", "b"], "header": "content-type", "value": "application/*"}},
        {"type": "tag", "id": "v", "enabled": false, "config": {"tags": ["c"]}},
    ]));
    let mut some = exchange(b"", "", b"");
    assert_eq!(prepare(&labelled, &mut some), Decision::Record);
    let finished = finalize(&some, &settings());
    let line: Value = serde_json::from_slice(&finished.line).unwrap();
    let tags: Vec<&str> = line["tags"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert!(tags[0] == "a" && tags[1].starts_with("[redacted:") && tags[2] == "b" && tags.len() == 3, "{tags:?}");
    assert_eq!(finished.row.tags, tags);
    assert_eq!(read_back(&finished), *finished.row);
    for (instance, decision) in [
        (json!({"type": "path-filter", "config": {"patterns": ["/v1/*"]}}), Decision::LeaveOut),
        (json!({"type": "path-filter", "config": {"patterns": ["/v1"]}}), Decision::Record),
        (json!({"type": "sample", "config": {"rate": 0}}), Decision::LeaveOut),
        (json!({"type": "sample", "config": {"rate": 0, "keys": ["00000000"]}}), Decision::Record),
        (json!({"type": "sample", "config": {"rate": 1}}), Decision::Record),
    ] {
        let mut whole = instance.clone();
        whole["id"] = "x".into();
        whole["enabled"] = true.into();
        let set = set(json!([whole]));
        assert_eq!(prepare(&set, &mut exchange(b"", "", b"")), decision, "{instance}");
        let counted = set.actives()[0].counts().get();
        assert_eq!((counted.calls, counted.mutations), (1, u64::from(decision == Decision::LeaveOut)));
    }
}

/// A frame of a side: clients' are masked, here with zeros.
fn frame(side: Side, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask: (u8, &[u8]) = if side == Side::Client { (0x80, &[0; 4]) } else { (0, &[]) };
    let length = payload.len() as u16;
    [&[0x80 | opcode, mask.0 | 126][..], &length.to_be_bytes(), mask.1, payload].concat()
}

#[test]
fn messages_of_a_socket_are_redacted_too() {
    let mut reader = SocketReader::new(Protocol::Responses, None, SocketLimits::default());
    let mut pieces = Vec::new();
    let ask = format!(
        r#"{{"type":"response.create","model":"m","user":"{SECRET}","input":[{{"role":"user","content":"q"}}]}}"#
    );
    let delta = format!(r#"{{"type":"response.output_text.delta","item":{{"text":"{SECRET}"}},"delta":"d"}}"#);
    reader.push(Side::Client, &frame(Side::Client, 1, ask.as_bytes()), 1_000, &mut pieces);
    for (opcode, payload) in [
        (1, br#"{"type":"response.created","response":{"id":"r1"}}"#.as_slice()),
        (1, delta.as_bytes()),
        (2, SECRET.as_bytes()),
        (1, br#"{"type":"response.completed","response":{"id":"r1"}}"#),
    ] {
        reader.push(Side::Server, &frame(Side::Server, opcode, payload), 2_000, &mut pieces);
    }
    reader.finish(3_000, &mut pieces);
    let mut handshake = exchange(b"", "", b"");
    handshake.target = format!("/v1/responses?key={SECRET}").into();
    let handshake = std::sync::Arc::new(handshake);
    let mut seen = 0;
    for (number, piece) in pieces.into_iter().enumerate() {
        let trace =
            SocketTrace { id: handshake.id, handshake: handshake.clone(), number: number as u64, piece, ended: None };
        for is_raw in [false, true] {
            let mut exchange = trace.exchange();
            assert_eq!(prepare(&everything(), &mut exchange), Decision::Record);
            let line = match is_raw {
                false => silent(&finalize_piece(&trace, exchange, &settings())),
                true => silent(&finalize_piece_raw(&trace, exchange)),
            };
            if line["req"]["body"]["model"] == "m" {
                seen += 1;
                assert_eq!(
                    (&line["req"]["body_redacted"], &line["resp"]["body_redacted"]),
                    (&json!("in_part"), &json!("in_part"))
                );
                assert!(line["resp"]["events"].to_string().contains("[redacted:"), "{line}");
            }
        }
    }
    assert_eq!(seen, 1, "the turn was read");
}
