//! A body's bytes as they were on the wire, as far as they can be had again.
//!
//! A line keeps a stream as events, and JSON without line breaks between its tokens. How they were framed is tried out:
//! of the ways in which servers write them, the one is taken whose bytes have the digest that was recorded of the wire.
//! If none has, the standard's way is as good as another.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::ids::hex;
use crate::jsonl::line::{Kept, KeptBody, KeptEvent, KeptSide};
use crate::protocol::Protocol;
use crate::wire::websocket::Side;

/// A body in pieces: one for each event, or one for all.
pub(super) struct Framed {
    pub(super) pieces: Vec<Bytes>,
    /// The digest says that it is the wire's.
    pub(super) is_exact: bool,
}

/// The body of the answer.
pub(super) fn body(kept: &Kept) -> Framed {
    let side = &kept.response;
    match &side.body {
        KeptBody::None => Framed { pieces: Vec::new(), is_exact: true },
        KeptBody::Raw(bytes) => {
            let pieces = vec![Bytes::copy_from_slice(bytes)];
            Framed { is_exact: is_wire(side, &pieces), pieces }
        }
        KeptBody::Json(text) => {
            let ways = ["", "\n", "\r\n"].map(|end| vec![Bytes::from(format!("{text}{end}"))]);
            first_exact(side, ways.into_iter())
        }
        KeptBody::Events(events, done) => {
            let sent: Vec<&KeptEvent> = events.iter().filter(|it| it.side == Side::Server).collect();
            let protocol = Protocol::of(&kept.method, &kept.target);
            let kind = side.headers.get_str("content-type").unwrap_or_default();
            if protocol == Protocol::Gemini && !kind.contains("event-stream") {
                return first_exact(side, ARRAYS.iter().map(|way| array(&sent, way, *done == Some(true))));
            }
            // A stream's end is a `[DONE]` where no event is one.
            let has_done = *done == Some(true) && !sent.last().is_some_and(|it| is_last_word(it));
            first_exact(side, ways(has_done).into_iter().map(|way| stream(&sent, way)))
        }
    }
}

/// The first way whose bytes are the wire's; else the first.
fn first_exact(side: &KeptSide, ways: impl Iterator<Item = Vec<Bytes>>) -> Framed {
    let mut first = None;
    for pieces in ways {
        if is_wire(side, &pieces) {
            return Framed { pieces, is_exact: true };
        }
        first.get_or_insert(pieces);
    }
    Framed { pieces: first.unwrap_or_default(), is_exact: false }
}

fn is_wire(side: &KeptSide, pieces: &[Bytes]) -> bool {
    let (Some(length), Some(digest)) = (side.wire_bytes, &side.sha256) else { return false };
    let bytes: usize = pieces.iter().map(Bytes::len).sum();
    if side.is_decoded || bytes as u64 != length {
        return false;
    }
    let mut sha256 = Sha256::new();
    pieces.iter().for_each(|piece| sha256.update(piece));
    hex(&sha256.finalize(), &mut [0; 64]) == digest
}

/// How a server writes events.
#[derive(Clone, Copy, Debug)]
struct Way {
    line_end: &'static str,
    /// Behind a field's colon.
    space: &'static str,
    /// Other fields stand before the data.
    fields_first: bool,
    /// What was a JSON string on the line was one on the wire.
    quotes: bool,
    /// A `[DONE]` stands behind the last event.
    has_done: bool,
    /// The last event is followed by an empty line.
    is_closed: bool,
}

fn ways(has_done: bool) -> Vec<Way> {
    let mut ways = Vec::new();
    for done in [has_done, !has_done] {
        for (line_end, space) in [("\n", " "), ("\r\n", " "), ("\n", ""), ("\r\n", "")] {
            for (fields_first, quotes) in [(false, false), (true, false), (false, true), (true, true)] {
                for is_closed in [true, false] {
                    ways.push(Way { line_end, space, fields_first, quotes, has_done: done, is_closed });
                }
            }
        }
    }
    ways
}

fn stream(events: &[&KeptEvent], way: Way) -> Vec<Bytes> {
    let Way { line_end, space, .. } = way;
    let mut pieces: Vec<String> = Vec::with_capacity(events.len() + 1);
    for event in events {
        let mut piece = String::new();
        let mut field = |name: &str, value: &str| {
            // A line break would end the field.
            let value = value.replace(['\n', '\r'], " ");
            piece += &format!("{name}:{space}{value}{line_end}");
        };
        let others =
            |field: &mut dyn FnMut(&str, &str)| event.fields.iter().for_each(|(name, value)| field(name, value));
        if way.fields_first {
            others(&mut field);
        }
        if !event.name.is_empty() {
            field("event", &event.name);
        }
        match data(event, way.quotes) {
            Some(data) => data.split('\n').for_each(|line| field("data", line)),
            None if event.name.is_empty() && event.fields.is_empty() => field("data", ""),
            None => {}
        }
        if !way.fields_first {
            others(&mut field);
        }
        piece += line_end;
        pieces.push(piece);
    }
    if way.has_done {
        pieces.push(format!("data:{space}[DONE]{line_end}{line_end}"));
    }
    if let Some(last) = pieces.last_mut().filter(|_| !way.is_closed) {
        last.truncate(last.len() - line_end.len());
    }
    pieces.into_iter().map(Bytes::from).collect()
}

/// An event's data as text. On a line, text that was no JSON looks like a JSON string.
fn data(event: &KeptEvent, quotes: bool) -> Option<String> {
    let data = event.data.as_deref()?;
    let text = Some(data).filter(|it| !quotes && it.starts_with('"')).and_then(|it| serde_json::from_str(it).ok());
    Some(text.unwrap_or_else(|| data.to_owned()))
}

/// Whether a protocol's streams end with this event, so that no `[DONE]` follows.
fn is_last_word(event: &KeptEvent) -> bool {
    matches!(event.name.as_str(), "message_stop" | "response.completed" | "response.incomplete" | "response.failed")
}

/// What stands between the elements of an array, and before its closing bracket.
const ARRAYS: [[&str; 2]; 6] =
    [[",\r\n", ""], ["\n,\r\n", "\n"], [",\n", ""], [",", ""], [",\n", "\n"], [",\r\n", "\n"]];

fn array(events: &[&KeptEvent], [between, end]: &[&str; 2], is_closed: bool) -> Vec<Bytes> {
    let mut pieces = Vec::with_capacity(events.len() + 1);
    for (rank, event) in events.iter().enumerate() {
        let before = if rank == 0 { "[" } else { between };
        pieces.push(Bytes::from(format!("{before}{}", event.data.as_deref().unwrap_or("null"))));
    }
    if is_closed {
        let open = if events.is_empty() { "[" } else { "" };
        pieces.push(Bytes::from(format!("{open}{end}]")));
    }
    pieces
}
