//! What the extractors see of a trace, whether it was just captured or read back from its line.

use crate::headers::Headers;

/// A trace's decoded content, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct TraceView<'a> {
    /// The method as received.
    pub method: &'a str,
    /// The request target: path with query.
    pub target: &'a str,
    /// The status that the client got from the upstream.
    pub status: Option<u16>,
    /// Request fields.
    pub request_headers: &'a Headers,
    /// Response fields.
    pub response_headers: &'a Headers,
    /// The request body if it is JSON: its verbatim text.
    pub request_json: Option<&'a str>,
    /// The answer's body.
    pub answer: Answer<'a>,
}

/// An answer's body in its recorded form.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    /// Empty, raw, or not received.
    None,
    /// One JSON value: its verbatim text.
    Json(&'a str),
    /// The events of a stream: SSE, the elements of a JSON array stream, or the messages of a WebSocket turn.
    Events(&'a [EventView<'a>]),
}

/// One event of a streamed answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventView<'a> {
    /// The `event:` name, `""` if the wire had none.
    pub name: &'a str,
    /// Its payload.
    pub data: EventData<'a>,
}

/// An event's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventData<'a> {
    /// The event had no data.
    None,
    /// Valid JSON: its verbatim text.
    Json(&'a str),
    /// Anything else.
    Text(&'a str),
}

impl<'a> EventData<'a> {
    /// The verbatim JSON text, if it is JSON.
    pub fn json(self) -> Option<&'a str> {
        match self {
            EventData::Json(text) => Some(text),
            EventData::None | EventData::Text(_) => None,
        }
    }
}
