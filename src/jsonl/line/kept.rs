//! An exchange as its line keeps it: headers and bodies of both sides, to be shown, repeated or answered again.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::BadLine;
use super::fields::{Fields, FieldsList};
use crate::headers::Headers;
use crate::ids::{TraceId, UnixMillis};
use crate::trace::derive::body_json;
use crate::wire::websocket::Side;

/// What a line keeps of an exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// The trace.
    pub id: TraceId,
    /// When its request head had been received.
    pub ts_start: UnixMillis,
    /// When it had ended.
    pub ts_end: UnixMillis,
    /// The method as received.
    pub method: String,
    /// Path and query as received.
    pub target: String,
    /// The upstream's URL.
    pub upstream: String,
    /// The upstream's status; -1 for none.
    pub status: i64,
    /// Milliseconds from the start to the answer's head.
    pub ttfb_ms: Option<u64>,
    /// Either side of the transport ended before its orderly end.
    pub disconnected: bool,
    /// Why the bodies were left out, if they were.
    pub bodies_dropped: Option<String>,
    /// What was asked.
    pub request: KeptSide,
    /// What was answered.
    pub response: KeptSide,
}

/// One side of it.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptSide {
    /// Its fields; the exact sequence if the line has it.
    pub headers: Headers,
    /// Its body, without content codings where they could be undone.
    pub body: KeptBody,
    /// Content codings were undone, so that these are not the wire's bytes.
    pub is_decoded: bool,
    /// Values in it were redacted, or the whole of it.
    pub is_redacted: bool,
    /// Bytes beyond the cap passed unrecorded.
    pub is_cut: bool,
    /// Body bytes on the wire.
    pub wire_bytes: Option<u64>,
    /// The SHA-256 of the wire's body, in hex.
    pub sha256: Option<String>,
}

/// A body.
#[derive(Clone, Debug, PartialEq)]
pub enum KeptBody {
    /// There is none.
    None,
    /// One JSON value: its verbatim text.
    Json(String),
    /// Anything else.
    Raw(Vec<u8>),
    /// A stream of events; whether its end was seen.
    Events(Vec<KeptEvent>, Option<bool>),
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptEvent {
    /// Its name, `""` if it had none.
    pub name: String,
    /// Its payload as JSON text. What was no JSON stands as a JSON string.
    pub data: Option<String>,
    /// Its other fields: `id`, `retry`, and what else there was.
    pub fields: Vec<(String, String)>,
    /// When it came, in milliseconds since the exchange began.
    pub at_ms: Option<u64>,
    /// Who sent it. Only sockets have messages of the client.
    pub side: Side,
}

impl KeptBody {
    /// The events, if it is a stream.
    pub fn events(&self) -> &[KeptEvent] {
        match self {
            KeptBody::Events(events, _) => events,
            _ => &[],
        }
    }
}

/// Reads what a line keeps.
///
/// # Errors
/// It is no trace's line.
pub fn read_kept(line: &[u8]) -> Result<Kept, BadLine> {
    let bad = |error: serde_json::Error| BadLine(error.to_string());
    match std::str::from_utf8(line) {
        Ok(text) => serde_json::from_str::<Line<'_>>(text).map_err(bad)?.kept(),
        // Earlier lines may hold a body's bytes that are no text.
        Err(_) => serde_json::from_str::<Line<'_>>(&String::from_utf8_lossy(line)).map_err(bad)?.kept(),
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
    method: String,
    path: String,
    #[serde(default)]
    upstream: String,
    status: i64,
    #[serde(default)]
    ttfb_ms: Option<u64>,
    #[serde(default)]
    disconnected: bool,
    #[serde(default)]
    truncated_req: bool,
    #[serde(default)]
    truncated_resp: bool,
    #[serde(default)]
    bodies_dropped: Option<String>,
    #[serde(borrow)]
    req: Half<'l>,
    #[serde(borrow)]
    resp: Half<'l>,
}

#[derive(Deserialize)]
struct Half<'l> {
    #[serde(default)]
    headers: Fields,
    #[serde(default)]
    headers_list: Option<FieldsList>,
    #[serde(default)]
    bytes: Option<u64>,
    #[serde(default)]
    sha256: Option<String>,
    #[serde(default)]
    content_decoded: Vec<String>,
    #[serde(default)]
    body_redacted: Option<String>,
    #[serde(borrow, default)]
    body: Option<&'l RawValue>,
    #[serde(borrow, default)]
    body_b64: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    events: Option<Vec<Event<'l>>>,
    #[serde(default)]
    stream_done: Option<bool>,
}

#[derive(Deserialize)]
struct Event<'l> {
    #[serde(default)]
    event: Option<String>,
    #[serde(borrow, default)]
    data: Option<&'l RawValue>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    retry: Option<String>,
    #[serde(default)]
    fields: Vec<(String, String)>,
    #[serde(default)]
    t_delta_ms: Option<u64>,
    #[serde(borrow, default)]
    dir: Option<Cow<'l, str>>,
}

impl Line<'_> {
    fn kept(self) -> Result<Kept, BadLine> {
        let time = |name: &str, text: &str| {
            text.parse::<UnixMillis>().map_err(|error| BadLine(format!("{name}: {error}: {text:?}")))
        };
        Ok(Kept {
            id: self.id.parse().map_err(|error| BadLine(format!("id: {error}: {:?}", self.id)))?,
            ts_start: time("ts_start", &self.ts_start)?,
            ts_end: time("ts_end", &self.ts_end)?,
            method: self.method,
            target: self.path,
            upstream: self.upstream,
            status: self.status,
            ttfb_ms: self.ttfb_ms,
            disconnected: self.disconnected,
            bodies_dropped: self.bodies_dropped,
            request: self.req.side(self.truncated_req)?,
            response: self.resp.side(self.truncated_resp)?,
        })
    }
}

impl Half<'_> {
    fn side(self, is_cut: bool) -> Result<KeptSide, BadLine> {
        let body = match (self.events, self.body.and_then(|raw| body_json(raw.get())), self.body_b64) {
            (Some(events), ..) => KeptBody::Events(events.into_iter().map(Event::kept).collect(), self.stream_done),
            (None, Some(text), _) => KeptBody::Json(text.to_owned()),
            (None, None, Some(text)) => {
                KeptBody::Raw(STANDARD.decode(&*text).map_err(|error| BadLine(format!("body_b64: {error}")))?)
            }
            (None, None, None) if self.stream_done.is_some() => KeptBody::Events(Vec::new(), self.stream_done),
            (None, None, None) => KeptBody::None,
        };
        Ok(KeptSide {
            headers: self.headers_list.map_or(self.headers.0, |list| list.0),
            body,
            is_decoded: !self.content_decoded.is_empty(),
            is_redacted: self.body_redacted.is_some(),
            is_cut,
            wire_bytes: self.bytes,
            sha256: self.sha256,
        })
    }
}

impl Event<'_> {
    fn kept(self) -> KeptEvent {
        let named = [("id", self.id), ("retry", self.retry)];
        let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        let is_client = self.dir.as_deref() == Some(Side::Client.name());
        KeptEvent {
            name: self.event.unwrap_or_default(),
            data: self.data.map(|raw| raw.get().to_owned()),
            fields: named.chain(self.fields).collect(),
            at_ms: self.t_delta_ms,
            side: if is_client { Side::Client } else { Side::Server },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#""id":"01J00000000000000000000001","ts_start":"2026-05-27T10:00:00Z","ts_end":"2026-05-27T10:00:01Z","method":"POST","path":"/v1/x","status":200"#;

    fn kept(req: &str, resp: &str) -> Result<Kept, BadLine> {
        read_kept(format!(r#"{{{HEAD},"req":{req},"resp":{resp}}}"#).as_bytes())
    }

    #[test]
    fn every_form_of_a_body_is_read() {
        let read = kept(
            r#"{"headers":{"A":"1, 2"},"headers_list":[["A","1"],["a","2"]],"body":{"x": 1}}"#,
            r#"{"headers":{},"content_decoded":["gzip"],"bytes":9,"events":[{"event":"a","data":null,"id":"7","fields":[["x","y"]],"t_delta_ms":3},{"event":"","data":"t"}],"stream_done":true}"#,
        )
        .unwrap();
        assert_eq!(read.request.headers.len(), 2);
        assert_eq!(read.request.body, KeptBody::Json(r#"{"x": 1}"#.into()));
        let [first, second] = read.response.body.events() else { panic!("two events") };
        assert_eq!((first.data.as_deref(), first.fields.len(), first.at_ms), (None, 2, Some(3)));
        assert_eq!(second.data.as_deref(), Some("\"t\""));
        assert!(read.response.is_decoded && !read.request.is_decoded);
        let raw = kept(r#"{"headers":{},"body":null}"#, r#"{"headers":{},"body_b64":"aGk="}"#).unwrap();
        assert_eq!((raw.request.body, raw.response.body), (KeptBody::None, KeptBody::Raw(b"hi".to_vec())));
        assert!(kept(r#"{"headers":{}}"#, r#"{"headers":{},"body_b64":"?"}"#).is_err());
        assert!(read_kept(b"{}").is_err());
    }
}
