//! The schema of a line and the lines that are written: every pinned line fits it with nothing beside it, and each
//! member that it tells of stands on a line that the library writes.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure is the test's result")]

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use api_log::exchange::{End, Exchange};
use api_log::headers::Headers;
use api_log::ids::{TraceId, UnixMillis};
use api_log::plugin::instance::Instance;
use api_log::plugin::note::{Did, Hook, Note};
use api_log::plugin::record::prepare;
use api_log::plugin::set::{Set, Source};
use api_log::protocol::Protocol;
use api_log::recording::{Mark, Recording};
use api_log::socket::{Piece, SocketEnd, SocketLimits, SocketReader, SocketTrace};
use api_log::trace::{
    BodiesDropped, FinalizeSettings, Finished, Line, finalize, finalize_piece, finalize_without_bodies,
};
use api_log::wire::websocket::Side;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

#[path = "api/schema.rs"]
mod schema;

use schema::Schemas;

fn headers(fields: &[(&str, &str)]) -> Headers {
    fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect()
}

fn body(bytes: &[u8]) -> Recording {
    let marks = vec![Mark { offset: 0, at_us: 7000 }];
    Recording { bytes: bytes.to_vec(), marks, wire_bytes: bytes.len() as u64, is_cut: false }
}

fn exchange(method: &str, target: &str, request: &[u8], response: &[u8]) -> Exchange {
    let twice = [("x-a", "1"), ("x-a", "2")];
    Exchange {
        id: TraceId::from_bytes([1; 16]),
        ts_start: UnixMillis(1_779_877_425_007),
        ts_end: UnixMillis(1_779_877_426_000),
        peer: ([192, 0, 2, 1], 5000).into(),
        method: method.into(),
        target: target.into(),
        upstream: "http://gw:4000".into(),
        status: Some(200),
        request_headers: headers(&[&[("Content-Type", "application/json")], &twice[..]].concat()),
        response_headers: headers(&[&[("content-type", "application/json")], &twice[..]].concat()),
        request_trailers: headers(&twice),
        response_trailers: headers(&twice),
        request: body(request),
        response: body(response),
        end: End::Complete,
        ttfb_ms: Some(5),
        error: None,
        applied: Default::default(),
    }
}

/// Lines that hold what the pinned ones do not.
fn further() -> Vec<Finished> {
    let settings = FinalizeSettings::default();
    let chat = |request: &[u8], response: &[u8]| exchange("POST", "/v1/chat/completions", request, response);

    let mut coded = chat(&gzip(b"{}"), &gzip(b"{}"));
    coded.request_headers.push("Content-Encoding", b"gzip");
    coded.response_headers.push("content-encoding", b"gzip");

    let list = json!([{"type": "redact", "id": "r", "enabled": true, "config": {"paths": ["$.a"]}}]);
    let (instances, _) = Instance::read_list(list.as_array().unwrap());
    let set = Set::after(&Set::default(), Source::Override, Vec::new(), instances).with_secret("s");
    let mut redacted = chat(br#"{"a":"secret"}"#, br#"{"a":"secret"}"#);
    prepare(&set, &mut redacted);

    let mut plugged = chat(b"{}", b"{}");
    let did = [Did::Act("mutate".into()), Did::Intercept, Did::Fail("no".into())];
    let note = |did| Note { kind: "text-replace".into(), id: "p".into(), hook: Hook::Before, did };
    plugged.applied.notes = did.into_iter().map(note).collect();
    plugged.applied.tags = vec!["a".into()];

    let whole = [coded, redacted, plugged].map(|it| finalize(&it, &settings));
    let without = finalize_without_bodies(chat(b"{}", b"{}"), &settings, BodiesDropped::DiskFull);
    let pieces = [overflowing(), broken()].into_iter().flatten();
    let pieces = pieces.map(|it| finalize_piece(&it, it.exchange(), &settings));
    whole.into_iter().chain([without]).chain(pieces).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | first, 126];
    frame.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A socket on which this passed.
fn socket(target: &str, limits: SocketLimits, passed: &[(Side, Vec<u8>)]) -> Vec<SocketTrace> {
    let mut reader = SocketReader::new(Protocol::of("GET", target), None, limits);
    let mut pieces: Vec<Piece> = Vec::new();
    for (at, (side, bytes)) in (1..).zip(passed) {
        reader.push(*side, bytes, at * 10_000, &mut pieces);
    }
    let summary = reader.finish(1_000_000, &mut pieces);
    let ended = SocketEnd { end: End::Complete, left: None, summary: Some(summary), error: None };
    let handshake = Arc::new(exchange("GET", target, b"", b""));
    let trace = |(number, piece)| SocketTrace {
        id: TraceId::from_bytes([2; 16]),
        handshake: handshake.clone(),
        number,
        piece,
        ended: Some(ended.clone()),
    };
    (0..).zip(pieces).map(trace).collect()
}

/// A turn with more events than are kept.
fn overflowing() -> Vec<SocketTrace> {
    let mut limits = SocketLimits::default();
    limits.turns.turn_bytes = 600;
    let create = br#"{"type":"response.create","model":"gpt-5","input":[{"role":"user","content":"a"}]}"#;
    let created = br#"{"type":"response.created","response":{"id":"r1"}}"#;
    let delta = br#"{"type":"response.output_text.delta","response_id":"r1","delta":"abcdefghijklmnop"}"#;
    let completed = br#"{"type":"response.completed","response":{"id":"r1","status":"completed"}}"#;
    let mut passed = vec![(Side::Client, frame(1, create)), (Side::Server, frame(1, created))];
    passed.extend((0..100).map(|_| (Side::Server, frame(1, delta))));
    passed.push((Side::Server, frame(1, completed)));
    socket("/v1/responses", limits, &passed)
}

/// A socket on which both sides break the rules.
fn broken() -> Vec<SocketTrace> {
    let no_text = |side| (side, frame(1, b"\xff"));
    let no_frame = |side| (side, frame(3, b""));
    let passed = [Side::Client, Side::Server].into_iter().flat_map(|side| [no_text(side), no_frame(side)]);
    socket("/v1/realtime", SocketLimits::default(), &passed.collect::<Vec<_>>())
}

/// The lines that other tests pin.
fn pinned() -> Vec<(String, Value)> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let files = ["snapshots", "golden/snapshots"].map(|it| std::fs::read_dir(tests.join(it)).unwrap());
    let files = files.into_iter().flatten().map(|it| it.unwrap().path());
    let mut lines = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let found = text.lines().filter(|it| it.starts_with("{\"id\""));
        lines.extend(found.map(|it| (file.display().to_string(), serde_json::from_str(it).expect("a line"))));
    }
    assert!(lines.len() > 20, "{}", lines.len());
    lines
}

#[test]
fn a_line_has_the_members_that_its_schema_tells_of_and_no_others() {
    let settings = SchemaSettings::draft2020_12().with(|it| it.definitions_path = "/components/schemas".into());
    let mut generator = settings.for_serialize().into_generator();
    let line = generator.subschema_for::<Line>().to_value();
    let mut schemas = Schemas::new(&generator.take_definitions(true));
    for (name, found) in pinned() {
        schemas.check(&line, &found, &name);
    }
    for finished in further() {
        schemas.check(&line, &serde_json::from_slice(&finished.line).unwrap(), "a line of this test");
    }
    assert_eq!(schemas.unseen([&line]), Default::default(), "no line has these");
}
