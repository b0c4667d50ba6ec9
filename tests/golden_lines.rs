//! The line of every body form and every ending, and its row: pinned, and the same when read back.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure is the test's result")]

use std::io::Write;

use api_log::exchange::{End, Exchange};
use api_log::headers::Headers;
use api_log::ids::{TraceId, UnixMillis};
use api_log::jsonl::line::read_row;
use api_log::recording::{Mark, Recording};
use api_log::trace::{FinalizeSettings, Finished, finalize, finalize_raw};
use proptest::prelude::*;

type Fields = &'static [(&'static str, &'static str)];

const JSON: Fields = &[("Content-Type", "application/json")];
const EVENTS: Fields = &[("Content-Type", "text/event-stream; charset=utf-8")];
const NOTHING: Fields = &[];
const ASK: &[u8] = br#"{"model":"m-1","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;

/// A recording of chunks, the n-th of which arrived 10 ms after the one before it.
fn recording(first_ms: u64, chunks: &[&[u8]]) -> Recording {
    let mut recording = Recording::default();
    for (rank, chunk) in (0..).zip(chunks) {
        recording.marks.push(Mark { offset: recording.bytes.len() as u64, at_us: (first_ms + 10 * rank) * 1000 });
        recording.bytes.extend_from_slice(chunk);
    }
    recording.wire_bytes = recording.bytes.len() as u64;
    recording
}

fn headers(fields: &[(&str, &str)]) -> Headers {
    fields.iter().map(|&(name, value)| (name, value.as_bytes())).collect()
}

fn exchange(target: &str, request: (&[(&str, &str)], &[u8]), response: (&[(&str, &str)], &[&[u8]])) -> Exchange {
    Exchange {
        id: TraceId::from_bytes([1; 16]),
        ts_start: UnixMillis(1_779_877_425_007),
        ts_end: UnixMillis(1_779_877_426_000),
        peer: "192.0.2.1:5000".parse().unwrap(),
        method: "POST".into(),
        target: target.into(),
        upstream: "http://gw:4000".into(),
        status: Some(200),
        request_headers: headers(request.0),
        response_headers: headers(response.0),
        request_trailers: Headers::new(),
        response_trailers: Headers::new(),
        request: recording(0, &[request.1]),
        response: recording(30, response.1),
        end: End::Complete,
        ttfb_ms: Some(29),
        error: None,
        applied: Default::default(),
    }
}

/// Finalizes, and checks what holds for every line.
fn finished(exchange: &Exchange) -> Finished {
    let finished = finalize(exchange, &FinalizeSettings::default());
    check(&finished);
    let raw = finalize_raw(exchange);
    check(&raw);
    assert_eq!(raw.row.key, finished.row.key);
    finished
}

fn check(finished: &Finished) {
    let text = std::str::from_utf8(&finished.line).expect("a line is text");
    assert!(!text.contains(['\n', '\r']), "{text}");
    serde_json::from_str::<serde_json::Value>(text).expect("a line is JSON");
    assert_eq!(read_row(&finished.line).expect("a line reads back"), *finished.row, "{text}");
}

fn line(exchange: &Exchange) -> String {
    String::from_utf8(finished(exchange).line).unwrap()
}

macro_rules! golden {
    ($name:literal, $exchange:expr) => {
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!($name, line(&$exchange));
        })
    };
}

const CHAT: &str = "/v1/chat/completions";

fn chat_stream() -> Exchange {
    let chunks: [&[u8]; 3] = [
        b"data: {\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"He\"}}]}\n\nda",
        b"ta: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"y\"},\"finish_reason\":\"stop\"}]}\n\n",
        b"data: [DONE]\n\n",
    ];
    exchange(CHAT, (JSON, ASK), (EVENTS, &chunks))
}

#[test]
fn json_bodies_stand_verbatim() {
    let request = b" {\"n\": 1.0,\r\n  \"n\":12345678901234567890, \"s\":\"<\\u00e9>\"}\n";
    let response = b"{\"usage\":{\"prompt_tokens\":1e0}}";
    let mut it = exchange(CHAT, (JSON, request), (&[("content-type", "Application/JSON; charset")], &[response]));
    it.response_headers.push("Set-Cookie", b"a=1");
    it.response_headers.push("X-Name", b"caf\xe9 \"q\"");
    it.response_headers.push("set-cookie", b"b=2, c");
    it.response_trailers.push("X-Sum", b"7");
    golden!("json", it);
}

#[test]
fn json_is_known_without_its_type() {
    let curl: &[(&str, &str)] = &[("Content-Type", "application/x-www-form-urlencoded")];
    golden!("json_posted_as_a_form", exchange(CHAT, (curl, ASK), (EVENTS, &[b"{\"id\":\"x\",\"choices\":[]}"])));
}

#[test]
fn no_body_is_null_and_an_empty_stream_is_nothing() {
    golden!("empty", exchange("/v1/models", (NOTHING, b""), (JSON, &[])));
    golden!("empty_stream", exchange(CHAT, (JSON, b""), (EVENTS, &[])));
}

#[test]
fn events_carry_the_time_of_their_first_byte() {
    golden!("events", chat_stream());
    let text: &[u8] =
        b": hi\nretry: 3\n\nid: 7\nx: y\nevent: note\ndata: not json\n\nevent: bare\n\ndata: \"s\\u0041\"";
    golden!("events_of_all_kinds", exchange("/elsewhere", (JSON, ASK), (NOTHING, &[text])));
    golden!("done_alone", exchange(CHAT, (JSON, ASK), (EVENTS, &[b"data: [DONE]\n\n"])));
}

#[test]
fn compressed_events_keep_their_times() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut chunks = Vec::new();
    for event in [b"data: {\"a\":1}\n\n", b"data: {\"b\":2}\n\n"] {
        encoder.write_all(event).unwrap();
        encoder.flush().unwrap();
        chunks.push(std::mem::take(encoder.get_mut()));
    }
    let fields: &[(&str, &str)] = &[("content-type", "text/event-stream"), ("content-encoding", "gzip")];
    let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    let request = zstd::encode_all(ASK, 3).unwrap();
    let zstd: &[(&str, &str)] = &[("Content-Type", "application/json"), ("Content-Encoding", "zstd")];
    let mut it = exchange(CHAT, (zstd, &request), (fields, &chunks));
    // Compressed bytes depend on the compressor's version; what was in them does not.
    let text = line(&it);
    for part in [
        r#""content_decoded":["zstd"],"body":{"model":"m-1""#,
        r#""content_decoded":["gzip"],"first_event_ms":30,"events":[{"event":"","data":{"a":1},"t_delta_ms":30},{"event":"","data":{"b":2},"t_delta_ms":40}],"stream_done":false}"#,
        r#""content-encoding":"gzip""#,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // The cut stream has no gzip trailer, and neither is needed.
    it.end = End::UpstreamGone;
    assert!(line(&it).contains(r#""data":{"b":2}"#));
}

#[test]
fn what_cannot_be_read_stands_raw() {
    let gzip: &[(&str, &str)] = &[("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    golden!("broken_coding", exchange(CHAT, (gzip, b"{}"), (gzip, &[b"\x1f\x8b\x08"])));
    let strange: &[(&str, &str)] = &[("Content-Encoding", "x-strange")];
    golden!("unknown_coding", exchange(CHAT, (strange, b"{}"), (strange, &[])));
    golden!("broken_json", exchange(CHAT, (JSON, b"{\"a\":"), (JSON, &[b"{\"a\":\"\xff\"}"])));
    golden!("no_frames", exchange(CHAT, (JSON, ASK), (EVENTS, &[b": nothing\n\nelse\n\n"])));
    let other: &[(&str, &str)] = &[("Content-Type", "audio/mpeg")];
    golden!("other_types", exchange("/v1/audio/speech", (NOTHING, b"plain words"), (other, &[b"\0\xff\x10"])));
}

#[test]
fn every_ending_is_told() {
    let mut client_gone = chat_stream();
    client_gone.response = recording(30, &[b"data: {\"choices\":[]}\n\n", b"data: {\"cho\xc3"]);
    client_gone.end = End::ClientGone;
    golden!("client_gone", client_gone);
    client_gone.end = End::IdleTimeout;
    golden!("idle_timeout", client_gone);

    let mut unreachable = exchange(CHAT, (JSON, ASK), (NOTHING, &[]));
    unreachable.status = None;
    unreachable.ttfb_ms = None;
    unreachable.end = End::UpstreamUnreachable;
    unreachable.error = Some("connection refused".into());
    golden!("upstream_unreachable", unreachable);

    let mut cut = exchange(CHAT, (JSON, ASK), (JSON, &[b"{\"choices\":[{\"mess"]));
    cut.response.wire_bytes = 5000;
    cut.response.is_cut = true;
    golden!("over_the_cap", cut);
    cut.response.is_cut = false;
    cut.response.wire_bytes = cut.response.bytes.len() as u64;
    cut.end = End::UpstreamGone;
    golden!("upstream_gone", cut);

    for end in End::ALL {
        let mut it = chat_stream();
        it.end = end;
        let finished = finished(&it);
        assert_eq!(finished.row.disconnected, finished.row.end.is_disconnected());
    }
}

#[test]
fn a_client_that_leaves_once_the_answer_is_over_had_all() {
    let gemini = "/v1beta/models/g-1:streamGenerateContent";
    let over: [(&str, Fields, &[u8], bool); 6] = [
        (CHAT, EVENTS, b"data: {\"choices\":[]}\n\ndata: [DONE]\n\n", true),
        (CHAT, EVENTS, b"data: {\"error\":{\"type\":\"overloaded_error\"}}\n\n", false),
        ("/v1/messages", EVENTS, b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", true),
        ("/v1/responses", EVENTS, b"data: {\"type\":\"response.completed\",\"response\":{}}\n\n", true),
        (gemini, JSON, b"[{\"candidates\":[]}]", true),
        ("/elsewhere", EVENTS, b"data: [DONE]\n\n", true),
    ];
    for (target, fields, answer, stream_done) in over {
        let mut it = exchange(target, (JSON, ASK), (fields, &[answer]));
        it.end = End::ClientGone;
        let finished = finished(&it);
        assert_eq!((finished.row.end, finished.row.disconnected), (End::Complete, false), "{target}");
        let text = String::from_utf8(finished.line).unwrap();
        assert!(text.contains(r#""status":200,"end":"complete","key_hash""#), "{text}");
        assert!(text.ends_with(r#""disconnected":false,"truncated_req":false,"truncated_resp":false}"#), "{text}");
        assert!(text.contains(&format!(r#""stream_done":{stream_done}"#)), "{text}");
    }
    let mut early = exchange(CHAT, (JSON, ASK), (EVENTS, &[b"data: {\"choices\":[]}\n\n"]));
    early.end = End::ClientGone;
    assert_eq!(finished(&early).row.end, End::ClientGone);
}

#[test]
fn an_array_stream_stands_as_events() {
    let gemini = "/v1beta/models/g-1:streamGenerateContent?key=secret";
    let elements: [&[u8]; 3] =
        [b"[{\"candidates\":[{\"index\":0}]}\n", b",\r\n{\"usageMetadata\":{\"promptTo", b"kenCount\":4}}]"];
    let mut it = exchange(gemini, (JSON, b"{\"contents\":[]}"), (JSON, &elements));
    golden!("array_stream", it);
    it.response = recording(30, &elements[..2]);
    it.end = End::UpstreamGone;
    golden!("array_stream_cut", it);
    assert!(!finished(&it).row.path.contains("secret"));
}

#[test]
fn an_exchange_that_no_parser_survives_is_kept_raw() {
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("raw", String::from_utf8(finalize_raw(&chat_stream()).line).unwrap());
    });
}

#[test]
fn repeated_fields_are_joined_and_listed_however_many_there_are() {
    let mut it = exchange("/", (NOTHING, b""), (NOTHING, &[]));
    for number in 0..20_000 {
        it.request_headers.push(&format!("h{}", number % 10_000), format!("v{number}").as_bytes());
    }
    let text = line(&it);
    assert!(text.contains(r#""h7":"v7, v10007""#));
    assert!(text.contains(r#"["h9999","v19999"]]"#));
}

/// Any two bodies under any types, codings and endings.
fn any_exchange() -> impl Strategy<Value = Exchange> {
    let target = prop_oneof![
        Just("/v1/chat/completions"),
        Just("/v1/messages"),
        Just("/v1/responses"),
        Just("/v1beta/models/g:streamGenerateContent?key=secret"),
        Just("/v1/images/generations"),
        "/[a-z?&=]{0,10}".prop_map(|it| &*it.leak()),
    ];
    let body = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..60),
        "(data|event|id|retry|:|[: \\[\\]{}\",]|\r|\n|\n\n|DONE|\"model\":\"m\"|1|null|\\\\u12ef){0,30}"
            .prop_map(String::into_bytes),
        "(data: \\{\"type\":\"error\",\"usage\":\\{\"input_tokens\":3\\}\\}\n\n|event: message_stop\ndata: \\{\\}\n\n){0,4}"
            .prop_map(String::into_bytes),
        "\\[(\\{\"candidates\":\\[\\]\\}|,| |\n){0,6}\\]?".prop_map(String::into_bytes),
        Just(br#"{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}"#.to_vec()),
        Just(b"null".to_vec()),
    ];
    let side = (
        body,
        prop_oneof![Just(""), Just("application/json"), Just("text/event-stream"), Just("text/plain")],
        prop_oneof![4 => Just(""), 1 => Just("gzip"), 1 => Just("zstd, deflate"), 1 => Just("odd")],
        proptest::collection::vec(("[A-Ca-c-]{1,2}", proptest::collection::vec(0x20_u8..=0xff, 0..5)), 0..4),
        any::<bool>(),
    );
    let end = (0..End::ALL.len()).prop_map(|at| End::ALL[at]);
    (target, side.clone(), side, end).prop_map(|(target, request, response, end)| {
        let mut it = exchange(target, (NOTHING, b""), (NOTHING, &[]));
        it.end = end;
        let sides = [
            (request, &mut it.request_headers, &mut it.request),
            (response, &mut it.response_headers, &mut it.response),
        ];
        for ((body, media_type, coding, fields, is_cut), headers, recorded) in sides {
            headers.push("Content-Type", media_type.as_bytes());
            headers.push("content-encoding", coding.as_bytes());
            for (name, value) in &fields {
                headers.push(name, value);
            }
            *recorded = recording(5, &body.chunks(7).collect::<Vec<_>>());
            recorded.is_cut = is_cut;
        }
        it
    })
}

proptest! {
    #[test]
    fn any_exchange_gives_a_line_whose_row_reads_back_the_same(exchange in any_exchange()) {
        finished(&exchange);
    }
}
