//! The lines of a socket's turns and parts, and their rows: pinned, and the same when read back.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure is the test's result")]

use std::sync::Arc;

use api_log::exchange::{End, Exchange};
use api_log::headers::Headers;
use api_log::ids::{TraceId, UnixMillis};
use api_log::jsonl::line::read_row;
use api_log::protocol::Protocol;
use api_log::recording::{Mark, Recording};
use api_log::socket::{PartLimits, Piece, SocketEnd, SocketLimits, SocketReader, SocketTrace, Unread};
use api_log::trace::{FinalizeSettings, Finished, finalize_piece, finalize_piece_raw};
use api_log::wire::websocket::Side;
use proptest::prelude::*;

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(length @ 0..=125) => frame.push(length),
        _ => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

fn handshake(target: &str) -> Exchange {
    let fields = [("Upgrade", "websocket"), ("Authorization", "Bearer k"), ("User-Agent", "codex_cli_rs/1.2")];
    Exchange {
        id: TraceId::from_bytes([1; 16]),
        ts_start: UnixMillis(1_779_877_425_007),
        ts_end: UnixMillis(1_779_877_425_030),
        peer: "192.0.2.1:5000".parse().unwrap(),
        method: "GET".into(),
        target: target.into(),
        upstream: "http://gw:4000".into(),
        status: Some(101),
        request_headers: fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect(),
        response_headers: [("upgrade", b"websocket".as_slice())].into_iter().collect(),
        request_trailers: Headers::new(),
        response_trailers: Headers::new(),
        request: Recording::default(),
        response: Recording::default(),
        end: End::Complete,
        ttfb_ms: Some(23),
        error: None,
        applied: Default::default(),
    }
}

/// The traces of a socket on which these frames passed, 10 ms after each other, and which then ended so.
fn traces(target: &str, limits: SocketLimits, frames: &[(Side, u8, &[u8])], end: End) -> Vec<SocketTrace> {
    let mut reader = SocketReader::new(Protocol::of("GET", target), None, limits);
    let mut traces = Vec::new();
    let mut pieces = Vec::new();
    let handshake = Arc::new(handshake(target));
    let mut numbers = [0_u64; 2];
    let mut take = |pieces: &mut Vec<Piece>, ended: Option<SocketEnd>| {
        for piece in pieces.drain(..) {
            let number = &mut numbers[usize::from(matches!(piece, Piece::Part(_)))];
            let mut id = [1; 16];
            id[15] += traces.len() as u8;
            traces.push(SocketTrace {
                id: TraceId::from_bytes(id),
                handshake: handshake.clone(),
                number: *number,
                piece,
                ended: ended.clone(),
            });
            *number += 1;
        }
    };
    let mut at_us = 40_000;
    for (side, opcode, payload) in frames {
        reader.push(*side, &frame(*opcode, payload), at_us, &mut pieces);
        take(&mut pieces, None);
        at_us += 10_000;
    }
    let summary = reader.finish(at_us, &mut pieces);
    take(&mut pieces, Some(SocketEnd { end, left: None, summary: Some(summary), error: None }));
    traces
}

fn line(trace: &SocketTrace) -> String {
    let finished = finalize_piece(trace, Default::default(), &FinalizeSettings::default());
    check(&finished);
    let raw = finalize_piece_raw(trace, Default::default());
    check(&raw);
    assert_eq!((raw.row.id, raw.row.key), (finished.row.id, finished.row.key));
    String::from_utf8(finished.line).unwrap()
}

fn check(finished: &Finished) {
    let text = std::str::from_utf8(&finished.line).expect("a line is text");
    assert!(!text.contains(['\n', '\r']), "{text}");
    // Half a surrogate pair is JSON too (RFC 8259 §8.2), though no value can be made of it.
    serde_json::from_str::<serde::de::IgnoredAny>(text).expect("a line is JSON");
    assert_eq!(read_row(&finished.line).expect("a line reads back"), *finished.row, "{text}");
}

macro_rules! golden {
    ($name:literal, $text:expr) => {
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!($name, $text);
        })
    };
}

const RESPONSES: &str = "/v1/responses";
const CREATE: &[u8] =
    br#"{"type":"response.create","stream_id":"s","model":"gpt-5","previous_response_id":"r0","input":[{"role":"user","content":"a"}]}"#;
const CREATED: &[u8] = br#"{"type":"response.created","stream_id":"s","response":{"id":"r1","model":"gpt-5-x"}}"#;
const COMPLETED: &[u8] = br#" {"type":"response.completed","stream_id":"s",
"response":{"id":"r1","status":"completed","usage":{"input_tokens":3,"output_tokens":4}}}"#;

#[test]
fn a_turn_is_a_line_like_that_of_its_exchange_over_http() {
    let cancel = br#"{"type":"response.cancel","stream_id":"s"}"#;
    let frames: [(Side, u8, &[u8]); 6] = [
        (Side::Client, TEXT, CREATE),
        (Side::Server, TEXT, CREATED),
        (Side::Client, TEXT, cancel),
        (Side::Server, TEXT, COMPLETED),
        (Side::Client, TEXT, CREATE),
        (Side::Client, CLOSE, &[3, 232, b'b', b'y', b'e']),
    ];
    let traces = traces(RESPONSES, SocketLimits::default(), &frames, End::Complete);
    assert_eq!(traces.len(), 2);
    golden!("turn", line(&traces[0]));
    golden!("turn_cut", line(&traces[1]));
    let [done, cut] =
        [0, 1].map(|at| finalize_piece(&traces[at], Default::default(), &FinalizeSettings::default()).row);
    assert_eq!((done.protocol, done.status, done.end), (Protocol::Responses, 101, End::Complete));
    assert_eq!((done.model.as_deref(), done.stream), (Some("gpt-5"), Some(true)));
    assert_eq!(
        (done.usage.prompt, done.usage.total, done.finish_reason.as_deref()),
        (Some(3), Some(7), Some("completed"))
    );
    assert_eq!((done.ts_end.0 - done.ts_start.0, done.first_event_ms, done.ttfb_ms), (30, Some(10), None));
    assert!(done.conversation.previous_response_id.is_some() && done.conversation.response_id.is_some());
    assert_eq!((cut.end, cut.disconnected), (End::ClientGone, true));
}

#[test]
fn a_part_has_the_events_of_both_sides() {
    let limits = SocketLimits {
        parts: PartLimits { binary_bytes: 4, part_us: 50_000, ..PartLimits::default() },
        ..SocketLimits::default()
    };
    let done =
        br#"{"type":"response.done","response":{"status":"completed","usage":{"input_tokens":1,"output_tokens":2}}}"#;
    let frames: [(Side, u8, &[u8]); 7] = [
        (Side::Client, TEXT, br#"{"type":"session.update","session":{"model":"m"}}"#),
        (Side::Server, TEXT, br#"{"type":"session.created","session":{"model":"gpt-realtime-x"}}"#),
        (Side::Client, BINARY, b"\0\x01"),
        (Side::Client, BINARY, b"\0\x01\x02\x03"),
        (Side::Server, TEXT, b"not \"json\""),
        (Side::Server, TEXT, done),
        (Side::Server, CLOSE, &[]),
    ];
    let traces = traces("/v1/realtime?model=gpt-realtime", limits, &frames, End::Complete);
    assert_eq!(traces.len(), 2);
    golden!("part", line(&traces[0]));
    golden!("part_last", line(&traces[1]));
    let row = finalize_piece(&traces[1], Default::default(), &FinalizeSettings::default()).row;
    assert_eq!(
        (row.protocol, row.model.as_deref(), row.usage.total),
        (Protocol::Realtime, Some("gpt-realtime"), Some(3))
    );
}

#[test]
fn what_nobody_could_read_stands_raw() {
    let recording = |bytes: &[u8]| Recording {
        bytes: bytes.to_vec(),
        marks: vec![Mark { offset: 0, at_us: 70_000 }],
        wire_bytes: bytes.len() as u64,
        is_cut: false,
    };
    let unread = Unread { client: recording(b"\x81\x01x"), server: recording(b"") };
    let trace = SocketTrace {
        id: TraceId::from_bytes([9; 16]),
        handshake: Arc::new(handshake(RESPONSES)),
        number: 0,
        piece: Piece::Unread(Box::new(unread)),
        ended: None,
    };
    golden!("socket_unread", line(&trace));
}

/// Any frames under any limits.
fn any_traces() -> impl Strategy<Value = Vec<SocketTrace>> {
    let text = prop_oneof![
        Just(CREATE.to_vec()),
        Just(CREATED.to_vec()),
        Just(COMPLETED.to_vec()),
        Just(br#"{"type":"error","error":{"code":"c"}}"#.to_vec()),
        "(\\{\"type\":\"response\\.(create|failed|done|steer)\"(,\"response\":(null|\\{\"id\":\"\\\\ud800\"\\}))?\\}|\"x\\\\n\"|null|1|\r\n|\u{feff}| )"
            .prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    let opcode = prop_oneof![6 => Just(TEXT), 2 => Just(BINARY), 1 => Just(CLOSE)];
    let side = prop_oneof![Just(Side::Client), Just(Side::Server)];
    let frames = proptest::collection::vec((side, opcode, text), 0..12);
    let target = prop_oneof![Just(RESPONSES), Just("/v1/realtime?model=m&key=secret"), Just("/v1beta/x"), Just("/")];
    let end = (0..End::ALL.len()).prop_map(|at| End::ALL[at]);
    (frames, target, end, 0..200_usize).prop_map(|(frames, target, end, most)| {
        let mut limits = SocketLimits::default();
        limits.messages.message_bytes = most;
        limits.turns.turn_bytes = most;
        limits.parts.binary_bytes = most / 8;
        let frames: Vec<_> = frames.iter().map(|(side, opcode, payload)| (*side, *opcode, &payload[..])).collect();
        traces(target, limits, &frames, end)
    })
}

proptest! {
    #[test]
    fn any_piece_gives_a_line_whose_row_reads_back_the_same(traces in any_traces()) {
        traces.iter().for_each(|trace| drop(line(trace)));
    }
}
