//! Made-up requests, answers and exchanges, as agents and chats have them.

use std::fmt::Write as _;

use api_log::exchange::{End, Exchange};
use api_log::headers::Headers;
use api_log::ids::{TraceId, UnixMillis};
use api_log::recording::{Mark, Recording};

/// An agent's request of so many turns, about 5 KB each.
pub(crate) fn agent_request(turns: usize) -> String {
    let mut text = String::from(
        r#"{"model":"m-large","stream":true,"max_tokens":32000,"system":"You are an agent.","messages":["#,
    );
    for turn in 0..turns {
        let comma = if turn == 0 { "" } else { "," };
        let role = if turn % 2 == 0 { "user" } else { "assistant" };
        write!(text, r#"{comma}{{"role":"{role}","content":[{{"type":"text","text":""#).unwrap();
        for line in 0..90 {
            write!(text, r#"{turn}:{line}  let value = map.get(\"key\").unwrap_or(&0); // naïve\n"#).unwrap();
        }
        text.push_str(r#"","cache_control":{"type":"ephemeral"}}]}"#);
    }
    text.push_str("]}");
    text
}

/// A chat stream of so many events of about 200 bytes.
pub(crate) fn event_stream(events: usize) -> String {
    let mut text = String::new();
    for number in 0..events {
        write!(text, "data: {{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1779877425,\"model\":\"m-large\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word{number}\"}},\"finish_reason\":null}}]}}\n\n").unwrap();
    }
    text + "data: [DONE]\n\n"
}

/// A body that came in chunks of this size.
pub(crate) fn recording(bytes: Vec<u8>, chunk: usize) -> Recording {
    let marks = (0..bytes.len()).step_by(chunk).map(|at| Mark { offset: at as u64, at_us: at as u64 }).collect();
    Recording { wire_bytes: bytes.len() as u64, bytes, marks, is_cut: false }
}

/// An exchange between an SDK and a gateway.
pub(crate) fn exchange(target: &str, request: String, response_type: &str, response: String) -> Exchange {
    let mut request_headers = Headers::new();
    for (name, value) in [
        ("Content-Type", "application/json"),
        ("Authorization", "Bearer sk-0123456789abcdef0123456789abcdef"),
        ("User-Agent", "OpenAI/Python 2.1.0"),
        ("Accept", "application/json"),
        ("x-stainless-lang", "python"),
        ("x-stainless-package-version", "2.1.0"),
        ("Accept-Encoding", "gzip, deflate"),
    ] {
        request_headers.push(name, value.as_bytes());
    }
    let mut response_headers = Headers::new();
    response_headers.push("content-type", response_type.as_bytes());
    response_headers.push("date", b"Wed, 27 May 2026 10:23:45 GMT");
    Exchange {
        id: TraceId::from_bytes([1; 16]),
        ts_start: UnixMillis(1_779_877_425_007),
        ts_end: UnixMillis(1_779_877_426_000),
        peer: "192.0.2.1:5000".parse().unwrap(),
        method: "POST".into(),
        target: target.into(),
        upstream: "http://gw:4000".into(),
        status: Some(200),
        request_headers,
        response_headers,
        request_trailers: Headers::new(),
        response_trailers: Headers::new(),
        request: recording(request.into_bytes(), 1 << 16),
        response: recording(response.into_bytes(), 700),
        end: End::Complete,
        ttfb_ms: Some(29),
        error: None,
        applied: Default::default(),
    }
}
