//! The line: what one trace looks like in its file, read back.
//!
//! Read are this program's lines (`"v": 1`) and the earlier lines without `v`: members in any order, unknown ones
//! passed over, headers as text or as a list of texts, times with any number of fraction digits.

pub(crate) mod fields;
mod kept;

pub use kept::{Kept, KeptBody, KeptEvent, KeptSide, read_kept};

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::client;
use crate::exchange::End;
use crate::headers::Headers;
use crate::ids::UnixMillis;
use crate::protocol::Protocol;
use crate::trace::derive::{Facts, Payload, body_json, derive};
use crate::trace::view::{Answer, EventView, TraceView};
use crate::trace::{Row, texts_of};
use crate::wire::json;
use crate::wire::websocket::Side;
use fields::{Fields, FieldsList};

/// A line that cannot be read as a trace.
#[derive(Debug, thiserror::Error)]
#[error("not a trace line: {0}")]
pub struct BadLine(pub String);

/// The row of a line read back. Everything derived is computed anew from the line's content; `media_count` is 0,
/// because the line does not tell how many attachments were written beside it.
pub fn read_row(line: &[u8]) -> Result<Row, BadLine> {
    with_line(line, |line| line.look(|facts, protocol, view| derive(facts, protocol, view).row))?
}

/// As [`read_row`], with the texts for searching, of at most so many bytes, if they are wanted.
pub fn read_row_with(line: &[u8], text_bytes: Option<usize>) -> Result<Row, BadLine> {
    with_line(line, |line| {
        line.look(|facts, protocol, view| {
            let mut row = derive(facts, protocol, view).row;
            row.texts = text_bytes.map(|most| texts_of(protocol, view, most));
            row
        })
    })?
}

/// Looks at a line's row and at its content together.
pub(crate) fn with_row<T>(line: &[u8], look: impl FnOnce(&Row, &TraceView<'_>) -> T) -> Result<T, BadLine> {
    with_line(line, |line| line.look(|facts, protocol, view| look(&derive(facts, protocol, view).row, view)))?
}

/// Looks at the content of a line read back.
pub fn with_view<T>(line: &[u8], look: impl FnOnce(Protocol, &TraceView<'_>) -> T) -> Result<T, BadLine> {
    with_line(line, |line| line.look(|_, protocol, view| look(protocol, view)))?
}

fn with_line<T>(line: &[u8], read: impl FnOnce(Line<'_>) -> T) -> Result<T, BadLine> {
    let bad = |error: serde_json::Error| BadLine(error.to_string());
    match std::str::from_utf8(line) {
        Ok(text) => serde_json::from_str(text).map(read).map_err(bad),
        // Earlier lines may hold a body's bytes that are no text.
        Err(_) => serde_json::from_str(&String::from_utf8_lossy(line)).map(read).map_err(bad),
    }
}

#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow)]
    id: Cow<'l, str>,
    #[serde(borrow)]
    ts_start: Cow<'l, str>,
    #[serde(borrow)]
    ts_end: Cow<'l, str>,
    #[serde(default)]
    client: String,
    #[serde(borrow)]
    method: Cow<'l, str>,
    #[serde(borrow)]
    path: Cow<'l, str>,
    #[serde(default)]
    upstream: String,
    status: i64,
    #[serde(default)]
    end: Option<String>,
    #[serde(default)]
    key_hash: Option<String>,
    #[serde(default)]
    ttfb_ms: Option<u64>,
    #[serde(borrow)]
    req: Half<'l>,
    #[serde(borrow)]
    resp: Half<'l>,
    #[serde(default)]
    disconnected: bool,
    #[serde(default)]
    truncated_req: bool,
    #[serde(default)]
    truncated_resp: bool,
    #[serde(default)]
    tags: Vec<String>,
}

/// What one side of the trace says.
#[derive(Deserialize)]
struct Half<'l> {
    #[serde(default)]
    headers: Fields,
    #[serde(default)]
    headers_list: Option<FieldsList>,
    #[serde(default)]
    bytes: Option<u64>,
    #[serde(borrow, default)]
    body: Option<&'l RawValue>,
    #[serde(default)]
    first_event_ms: Option<u64>,
    #[serde(borrow, default)]
    events: Option<Vec<Event<'l>>>,
    #[serde(default)]
    stream_done: Option<bool>,
}

#[derive(Deserialize)]
struct Event<'l> {
    #[serde(borrow, default)]
    event: Cow<'l, str>,
    #[serde(borrow, default)]
    data: Option<&'l RawValue>,
    #[serde(default)]
    t_delta_ms: Option<u64>,
    /// Who sent it, on a socket.
    #[serde(borrow, default)]
    dir: Option<Cow<'l, str>>,
}

impl<'l> Event<'l> {
    fn payload(&self) -> Payload<'l> {
        self.data.map_or(Payload::None, |raw| Payload::of(raw.get()))
    }

    /// Whether it belongs to the answer: all but what the client of a socket sent.
    fn is_answer(&self) -> bool {
        self.dir.as_deref() != Some(Side::Client.name())
    }
}

impl Half<'_> {
    /// The exact sequence if the line has it.
    fn take_headers(&mut self) -> Headers {
        let flat = std::mem::take(&mut self.headers);
        self.headers_list.take().map_or(flat.0, |list| list.0)
    }
}

impl Line<'_> {
    fn look<T>(mut self, look: impl FnOnce(Facts, Protocol, &TraceView<'_>) -> T) -> Result<T, BadLine> {
        let request_headers = self.req.take_headers();
        let response_headers = self.resp.take_headers();
        let protocol = Protocol::of(&self.method, &self.path);
        let facts = self.facts(&request_headers)?;

        let body = self.resp.body.and_then(|raw| body_json(raw.get()));
        // Earlier lines hold Gemini's array streams as one body.
        let elements = match body {
            Some(text) if protocol == Protocol::Gemini && text.starts_with('[') => json::elements(text),
            _ => None,
        };
        let is_streamed = elements.is_some() || self.resp.events.is_some() || self.resp.stream_done.is_some();
        let (names, payloads): (Vec<&str>, Vec<Payload<'_>>) = match (&elements, &self.resp.events) {
            (Some(array), _) => array.elements.iter().map(|it| ("", Payload::of(it.text))).unzip(),
            (None, Some(events)) => {
                events.iter().filter(|it| it.is_answer()).map(|it| (&*it.event, it.payload())).unzip()
            }
            (None, None) => Default::default(),
        };
        let events: Vec<EventView<'_>> =
            names.iter().zip(&payloads).map(|(name, payload)| payload.event(name)).collect();
        let view = TraceView {
            method: &self.method,
            target: &self.path,
            status: u16::try_from(self.status).ok(),
            request_headers: &request_headers,
            response_headers: &response_headers,
            request_json: self.req.body.and_then(|raw| body_json(raw.get())),
            answer: match body {
                _ if is_streamed => Answer::Events(&events),
                Some(text) => Answer::Json(text),
                None => Answer::None,
            },
        };
        Ok(look(facts, protocol, &view))
    }

    fn facts(&self, request_headers: &Headers) -> Result<Facts, BadLine> {
        let time = |name: &str, text: &str| {
            text.parse::<UnixMillis>().map_err(|error| BadLine(format!("{name}: {error}: {text:?}")))
        };
        // Earlier lines don't say how the exchange ended, only that it did not end well.
        let unnamed = if self.disconnected { End::UpstreamGone } else { End::Complete };
        let key = self.key_hash.as_deref().and_then(|text| text.parse().ok());
        let first_event = self.resp.events.as_ref().and_then(|events| events.iter().find(|it| it.is_answer()));
        Ok(Facts {
            id: self.id.parse().map_err(|error| BadLine(format!("id: {error}: {:?}", self.id)))?,
            ts_start: time("ts_start", &self.ts_start)?,
            ts_end: time("ts_end", &self.ts_end)?,
            client: self.client.clone(),
            upstream: self.upstream.clone(),
            end: self.end.as_deref().and_then(End::from_name).unwrap_or(unnamed),
            disconnected: self.disconnected,
            truncated_req: self.truncated_req,
            truncated_resp: self.truncated_resp,
            key: key.unwrap_or_else(|| client::key_hash(request_headers, &self.path)),
            ttfb_ms: self.ttfb_ms,
            first_event_ms: self.resp.first_event_ms.or_else(|| first_event?.t_delta_ms),
            req_bytes: self.req.bytes,
            resp_bytes: self.resp.bytes,
            tags: self.tags.clone(),
            saw_done: self.resp.stream_done.unwrap_or(false),
            saw_terminator: self.resp.stream_done.unwrap_or(false),
        })
    }
}

#[cfg(test)]
mod tests;
