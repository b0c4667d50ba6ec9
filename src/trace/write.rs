//! The members of a line, as text.

use std::fmt::Write;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::body::Streamed;
use crate::headers::{Headers, value_text};
use crate::ids::hex;
use crate::recording::Recording;
use crate::wire::decode::Coding;
use crate::wire::json;
use crate::wire::sse::Event;

/// Appends `,"name":`.
pub(super) fn member(out: &mut String, name: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
}

pub(super) fn string_member(out: &mut String, name: &str, text: &str) {
    member(out, name);
    json::write_string(out, text);
}

pub(super) fn number_member(out: &mut String, name: &str, number: impl itoa::Integer) {
    member(out, name);
    out.push_str(itoa::Buffer::new().format(number));
}

pub(super) fn bool_member(out: &mut String, name: &str, claim: bool) {
    member(out, name);
    out.push_str(if claim { "true" } else { "false" });
}

/// Appends a member that is a list of texts.
pub(super) fn strings(out: &mut String, name: &str, texts: &[String]) {
    member(out, name);
    list(out, texts, |out, text| json::write_string(out, text));
}

/// A string member of something that needs no escaping.
pub(super) fn plain_member(out: &mut String, name: &str, value: impl std::fmt::Display) {
    member(out, name);
    // Writing to memory does not fail.
    let _ = write!(out, "\"{value}\"");
}

/// Appends `"name":{` and what both sides begin with: headers, size and digest of the wire's bytes, and which
/// codings the body beside them is without.
pub(super) fn side(out: &mut String, name: &str, headers: &Headers, recording: &Recording, undone: &[Coding]) {
    open_side(out, name, headers, recording.wire_bytes);
    // Of a part it would be the digest of something that never passed.
    if !recording.is_cut {
        member(out, "sha256");
        out.push('"');
        out.push_str(hex(&Sha256::digest(&recording.bytes), &mut [0; 64]));
        out.push('"');
    }
    if !undone.is_empty() {
        member(out, "content_decoded");
        list(out, undone, |out, coding| json::write_string(out, coding.name()));
    }
}

/// Appends `"name":{`, the headers and the size on the wire: all that the sides of a socket's trace begin with.
pub(super) fn open_side(out: &mut String, name: &str, headers: &Headers, wire_bytes: u64) {
    member(out, name);
    out.push('{');
    fields(out, "headers", "headers_list", headers);
    number_member(out, "bytes", wire_bytes);
}

/// Appends header fields as an object, repeated ones joined, and only then their exact sequence as well.
/// Begins without a comma.
pub(super) fn fields(out: &mut String, name: &str, list_name: &str, headers: &Headers) {
    json::write_string(out, name);
    out.push_str(":{");
    let repeats = Repeats::of(headers);
    match &repeats {
        None => {
            for (at, (name, value)) in headers.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                json::write_string(out, name);
                out.push(':');
                json::write_string(out, &value_text(value));
            }
        }
        Some(repeats) => {
            let all: Vec<(&str, &[u8])> = headers.iter().collect();
            for (rank, &first) in repeats.firsts.iter().enumerate() {
                if rank > 0 {
                    out.push(',');
                }
                let mut joined = String::new();
                let mut at = Some(first);
                while let Some(here) = at {
                    joined.push_str(if here == first { "" } else { ", " });
                    joined.push_str(&value_text(all[here].1));
                    at = repeats.next[here];
                }
                json::write_string(out, all[first].0);
                out.push(':');
                json::write_string(out, &joined);
            }
        }
    }
    out.push('}');
    if repeats.is_some() {
        member(out, list_name);
        let all: Vec<(&str, &[u8])> = headers.iter().collect();
        list(out, &all, |out, (name, value)| {
            out.push('[');
            json::write_string(out, name);
            out.push(',');
            json::write_string(out, &value_text(value));
            out.push(']');
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
        let names = || headers.iter().map(|(name, _)| name);
        let is_repeated = |(at, name): (usize, &str)| names().take(at).any(|it| same(it, name));
        if headers.len() <= FEW && !names().enumerate().any(is_repeated) {
            return None;
        }
        let mut last_of = std::collections::HashMap::with_capacity(headers.len());
        let mut repeats = Repeats { firsts: Vec::new(), next: vec![None; headers.len()] };
        for (at, name) in names().enumerate() {
            match last_of.insert(name.to_ascii_lowercase(), at) {
                Some(before) => repeats.next[before] = Some(at),
                None => repeats.firsts.push(at),
            }
        }
        (repeats.firsts.len() < headers.len()).then_some(repeats)
    }
}

/// Appends a `body` member of verbatim JSON; where its text stands.
pub(super) fn json_body(out: &mut String, text: &str) -> Range<usize> {
    member(out, "body");
    let start = out.len();
    json::embed(out, text);
    start..out.len()
}

/// Appends raw bytes and why they are raw.
pub(super) fn raw_body(out: &mut String, bytes: &[u8], problem: Option<&str>) {
    if !bytes.is_empty() {
        member(out, "body_b64");
        out.push('"');
        STANDARD.encode_string(bytes, out);
        out.push('"');
    }
    if let Some(problem) = problem {
        string_member(out, "parse_error", problem);
    }
}

/// Appends `first_event_ms` and `events`; where each event's `data` stands. An empty list is left out.
pub(super) fn events(out: &mut String, streamed: &Streamed<'_>) -> (Vec<Range<usize>>, Option<u64>) {
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
        out.push(if rank == 0 { '[' } else { ',' });
        data.push(self::event(out, event, delta_ms));
    }
    if !data.is_empty() {
        out.push(']');
    }
    (data, first_event_ms)
}

fn event(out: &mut String, event: &Event<'_>, delta_ms: Option<u64>) -> Range<usize> {
    out.push_str("{\"event\":");
    json::write_string(out, &event.name);
    member(out, "data");
    let start = out.len();
    match event.data.as_deref() {
        None | Some("") => out.push_str("null"),
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
            out.push('[');
            json::write_string(out, name);
            out.push(',');
            json::write_string(out, value);
            out.push(']');
        });
    }
    if let Some(delta_ms) = delta_ms {
        number_member(out, "t_delta_ms", delta_ms);
    }
    out.push('}');
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

fn list<T>(out: &mut String, items: &[T], mut write: impl FnMut(&mut String, &T)) {
    out.push('[');
    for (rank, item) in items.iter().enumerate() {
        if rank > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}
