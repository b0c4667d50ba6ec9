//! A case on disk: the bytes of one exchange, when they came, and how it ended.
//!
//! | File | Holds |
//! |---|---|
//! | `request.http` | request line, fields, blank line, body: as on the wire |
//! | `response.http` | status line, fields, blank line, and as much of the body as came, without chunk framing |
//! | `times` | `head MS`; then for each chunk that arrived `MS BYTES`; `end NAME` unless it is `complete` |
//!
//! Times are milliseconds since the exchange began. Requests come in one piece, at once.

use std::path::Path;

use api_log::exchange::{End, Exchange};
use api_log::headers::Headers;
use api_log::ids::{TraceId, UnixMillis};
use api_log::recording::{Mark, Recording};

/// What a fixture's files come to.
pub(crate) fn exchange(folder: &Path) -> Exchange {
    let read =
        |name: &str| std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{folder:?} {name}: {error}"));
    let (request_line, request_headers, request_body) = message(&read("request.http"));
    let (status_line, response_headers, response_body) = message(&read("response.http"));
    let times = Times::read(&String::from_utf8(read("times")).unwrap());
    let request_words: Vec<&str> = request_line.split(' ').collect();
    let [method, target, "HTTP/1.1"] = request_words[..] else { panic!("{folder:?}: {request_line}") };
    let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap().parse().unwrap();
    Exchange {
        id: TraceId::from_bytes([1; 16]),
        ts_start: UnixMillis(1_779_877_425_007),
        ts_end: UnixMillis(1_779_877_426_000),
        peer: "192.0.2.1:5000".parse().unwrap(),
        method: method.into(),
        target: target.into(),
        upstream: "http://gateway.example".into(),
        status: Some(status),
        request_headers,
        response_headers,
        request_trailers: Headers::new(),
        response_trailers: Headers::new(),
        request: recording(&request_body, &[(0, request_body.len())]),
        response: recording(&response_body, &times.chunks),
        end: times.end,
        ttfb_ms: Some(times.head_ms),
        error: None,
        applied: Default::default(),
    }
}

/// First line, fields and body of a message. `Host` is the hop's own, and no part of a record.
fn message(bytes: &[u8]) -> (String, Headers, Vec<u8>) {
    let head_ends = bytes.windows(4).position(|it| it == b"\r\n\r\n").expect("a head ends with a blank line");
    let head = std::str::from_utf8(&bytes[..head_ends]).unwrap();
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap().to_owned();
    let mut headers = Headers::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        if name != "Host" {
            headers.push(name, value.as_bytes());
        }
    }
    (first, headers, bytes[head_ends + 4..].to_vec())
}

/// The bytes as they came, in chunks of these times and lengths.
fn recording(bytes: &[u8], chunks: &[(u64, usize)]) -> Recording {
    let mut marks = Vec::new();
    let mut offset = 0;
    for &(at_ms, length) in chunks.iter().filter(|(_, length)| *length > 0) {
        marks.push(Mark { offset, at_us: at_ms * 1000 });
        offset += length as u64;
    }
    assert_eq!(offset, bytes.len() as u64, "the chunks are the body");
    Recording { bytes: bytes.to_vec(), marks, wire_bytes: offset, is_cut: false }
}

struct Times {
    head_ms: u64,
    chunks: Vec<(u64, usize)>,
    end: End,
}

impl Times {
    fn read(text: &str) -> Times {
        let mut times = Times { head_ms: 0, chunks: Vec::new(), end: End::Complete };
        for line in text.lines() {
            match line.split_once(' ').unwrap() {
                ("head", at_ms) => times.head_ms = at_ms.parse().unwrap(),
                ("end", name) => times.end = End::from_name(name).unwrap(),
                (at_ms, length) => times.chunks.push((at_ms.parse().unwrap(), length.parse().unwrap())),
            }
        }
        times
    }
}
