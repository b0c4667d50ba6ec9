//! The members of a line, as text.

use std::io::Write;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::body::Streamed;
use crate::headers::{Headers, value_text};
use crate::protocol::Protocol;
use crate::recording::Recording;
use crate::wire::decode::Coding;
use crate::wire::json;
use crate::wire::sse::Event;

/// Appends `,"name":`.
pub(super) fn member(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

pub(super) fn string_member(out: &mut Vec<u8>, name: &str, text: &str) {
    member(out, name);
    json::write_string(out, text);
}

pub(super) fn number_member(out: &mut Vec<u8>, name: &str, number: impl itoa::Integer) {
    member(out, name);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

pub(super) fn bool_member(out: &mut Vec<u8>, name: &str, claim: bool) {
    member(out, name);
    out.extend_from_slice(if claim { b"true" } else { b"false" });
}

/// A string member of something that needs no escaping.
pub(super) fn plain_member(out: &mut Vec<u8>, name: &str, value: impl std::fmt::Display) {
    member(out, name);
    // Writing to memory does not fail.
    let _ = write!(out, "\"{value}\"");
}

/// Appends `"name":{` and what both sides begin with: headers, size and digest of the wire's bytes, and which
/// codings the body beside them is without.
pub(super) fn side(out: &mut Vec<u8>, name: &str, headers: &Headers, recording: &Recording, undone: &[Coding]) {
    member(out, name);
    out.push(b'{');
    fields(out, "headers", "headers_list", headers);
    number_member(out, "bytes", recording.wire_bytes);
    // Of a part it would be the digest of something that never passed.
    if !recording.is_cut {
        member(out, "sha256");
        hex_string(out, &Sha256::digest(&recording.bytes));
    }
    if !undone.is_empty() {
        member(out, "content_decoded");
        list(out, undone, |out, coding| json::write_string(out, coding.name()));
    }
}

/// Appends header fields as an object, repeated ones joined, and only then their exact sequence as well.
/// Begins without a comma.
pub(super) fn fields(out: &mut Vec<u8>, name: &str, list_name: &str, headers: &Headers) {
    json::write_string(out, name);
    out.extend_from_slice(b":{");
    let repeats = Repeats::of(headers);
    match &repeats {
        None => {
            for (at, (name, value)) in headers.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                json::write_string(out, name);
                out.push(b':');
                json::write_string(out, &value_text(value));
            }
        }
        Some(repeats) => {
            let all: Vec<(&str, &[u8])> = headers.iter().collect();
            for (rank, &first) in repeats.firsts.iter().enumerate() {
                if rank > 0 {
                    out.push(b',');
                }
                let mut joined = String::new();
                let mut at = Some(first);
                while let Some(here) = at {
                    joined.push_str(if here == first { "" } else { ", " });
                    joined.push_str(&value_text(all[here].1));
                    at = repeats.next[here];
                }
                json::write_string(out, all[first].0);
                out.push(b':');
                json::write_string(out, &joined);
            }
        }
    }
    out.push(b'}');
    if repeats.is_some() {
        member(out, list_name);
        let all: Vec<(&str, &[u8])> = headers.iter().collect();
        list(out, &all, |out, (name, value)| {
            out.push(b'[');
            json::write_string(out, name);
            out.push(b',');
            json::write_string(out, &value_text(value));
            out.push(b']');
        });
    }
}

/// Which fields share a name: chains through the fields of one name, in any case.
struct Repeats {
    /// Index of the first field of each name.
    firsts: Vec<usize>,
    /// Index of the next field of the same name.
    next: Vec<Option<usize>>,
}

impl Repeats {
    /// `None` if no name stands twice, which is nearly always so.
    fn of(headers: &Headers) -> Option<Repeats> {
        /// Up to here comparing each with each costs less than a map.
        const FEW: usize = 48;
        let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
        let names: Vec<&str> = headers.iter().map(|(name, _)| name).collect();
        if names.len() <= FEW && !names.iter().enumerate().any(|(at, name)| names[..at].iter().any(|it| same(it, name)))
        {
            return None;
        }
        let mut last_of = std::collections::HashMap::with_capacity(names.len());
        let mut repeats = Repeats { firsts: Vec::new(), next: vec![None; names.len()] };
        for (at, name) in names.iter().enumerate() {
            match last_of.insert(name.to_ascii_lowercase(), at) {
                Some(before) => repeats.next[before] = Some(at),
                None => repeats.firsts.push(at),
            }
        }
        (repeats.firsts.len() < names.len()).then_some(repeats)
    }
}

/// Appends a `body` member of verbatim JSON; where its text stands.
pub(super) fn json_body(out: &mut Vec<u8>, text: &str) -> Range<usize> {
    member(out, "body");
    let start = out.len();
    json::embed(out, text);
    start..out.len()
}

/// Appends raw bytes and why they are raw.
pub(super) fn raw_body(out: &mut Vec<u8>, bytes: &[u8], problem: Option<&str>) {
    if !bytes.is_empty() {
        member(out, "body_b64");
        out.push(b'"');
        let start = out.len();
        out.resize(start + bytes.len().div_ceil(3) * 4, 0);
        let written = STANDARD.encode_slice(bytes, &mut out[start..]);
        debug_assert_eq!(written.ok(), Some(out.len() - start), "padded base 64 is 4 characters per 3 bytes");
        out.push(b'"');
    }
    if let Some(problem) = problem {
        string_member(out, "parse_error", problem);
    }
}

/// Appends `first_event_ms` and `events`; where each event's `data` stands. An empty list is left out.
pub(super) fn events(out: &mut Vec<u8>, streamed: &Streamed<'_>) -> (Vec<Range<usize>>, Option<u64>) {
    let mut arrivals = Arrivals { marks: streamed.marks, at: 0 };
    let mut data = Vec::with_capacity(streamed.events.len());
    let mut first_event_ms = None;
    for (rank, event) in streamed.events.iter().enumerate() {
        let delta_ms = arrivals.of(event.offset).map(|at_us| at_us / 1000);
        if rank == 0 {
            first_event_ms = delta_ms;
            if let Some(delta_ms) = delta_ms {
                number_member(out, "first_event_ms", delta_ms);
            }
            member(out, "events");
        }
        out.push(if rank == 0 { b'[' } else { b',' });
        data.push(self::event(out, event, delta_ms));
    }
    if !data.is_empty() {
        out.push(b']');
    }
    (data, first_event_ms)
}

fn event(out: &mut Vec<u8>, event: &Event<'_>, delta_ms: Option<u64>) -> Range<usize> {
    out.extend_from_slice(b"{\"event\":");
    json::write_string(out, &event.name);
    member(out, "data");
    let start = out.len();
    match event.data.as_deref() {
        None | Some("") => out.extend_from_slice(b"null"),
        Some(data) => match json::value(data) {
            Ok(json) => json::embed(out, json),
            Err(_) => json::write_string(out, data),
        },
    }
    let data = start..out.len();
    for name in ["id", "retry"] {
        if let Some(value) = event.field(name) {
            string_member(out, name, value);
        }
    }
    let others: Vec<_> = event.fields.iter().filter(|(name, _)| !matches!(&**name, "id" | "retry")).collect();
    if !others.is_empty() {
        member(out, "fields");
        list(out, &others, |out, (name, value)| {
            out.push(b'[');
            json::write_string(out, name);
            out.push(b',');
            json::write_string(out, value);
            out.push(b']');
        });
    }
    if let Some(delta_ms) = delta_ms {
        number_member(out, "t_delta_ms", delta_ms);
    }
    out.push(b'}');
    data
}

/// The arrivals of offsets that rise.
struct Arrivals<'m> {
    marks: &'m [crate::recording::Mark],
    at: usize,
}

impl Arrivals<'_> {
    fn of(&mut self, offset: u64) -> Option<u64> {
        while self.marks.get(self.at).is_some_and(|mark| mark.offset <= offset) {
            self.at += 1;
        }
        self.marks.get(self.at.checked_sub(1)?).map(|mark| mark.at_us)
    }
}

fn list<T>(out: &mut Vec<u8>, items: &[T], mut write: impl FnMut(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (rank, item) in items.iter().enumerate() {
        if rank > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

fn hex_string(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    out.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
    out.push(b'"');
}

/// A protocol's name on the line.
pub(super) fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Chat => "chat",
        Protocol::Completions => "completions",
        Protocol::Responses => "responses",
        Protocol::Messages => "messages",
        Protocol::Gemini => "gemini",
        Protocol::Embeddings => "embeddings",
        Protocol::Images => "images",
        Protocol::Audio => "audio",
        Protocol::Realtime => "realtime",
        Protocol::Models => "models",
        Protocol::Unknown => "unknown",
    }
}
