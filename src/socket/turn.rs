//! A turn: one request and its answer on a socket that carries many.

use super::event::{SocketData, SocketEvent};
use crate::trace::view::EventView;
use crate::wire::websocket::Side;

/// One request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What began it.
    pub origin: Origin,
    /// The request: the JSON text of the message's `response` member if it is an object, else of the
    /// message itself without its `type`, verbatim. [`SocketData::Text`] if the message was cut.
    pub request: Option<SocketData>,
    /// The lane of the socket that it runs on; `None` is the lane of messages without a `stream_id`.
    pub stream_id: Option<String>,
    /// The answer's id, once the server has told it.
    pub response_id: Option<String>,
    /// The id of the answer that it continues.
    pub previous_response_id: Option<String>,
    /// When it began, in microseconds since the exchange began: the arrival of the request's first
    /// byte, or of the answer's where no request was seen.
    pub start_us: u64,
    /// When it ended: the arrival of the last event, or the socket's end.
    pub end_us: u64,
    /// What either side sent in it, in order of arrival, without the request.
    pub events: Vec<SocketEvent>,
    /// Events that passed but were beyond a limit.
    pub unkept_events: u64,
    /// Bytes of its messages on the wire, from the client.
    pub client_wire_bytes: u64,
    /// Bytes of its messages on the wire, from the server.
    pub server_wire_bytes: u64,
    /// How it ended.
    pub end: TurnEnd,
}

/// What began a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The client's `response.create`.
    Created,
    /// The server, to answer a `response.steer` of the client: that is the request.
    Steered,
    /// A request that is not in the copy.
    Unseen,
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TurnEnd {
    /// `response.completed`.
    Completed,
    /// `response.failed`.
    Failed,
    /// `response.incomplete`.
    Incomplete,
    /// `response.cancelled`.
    Cancelled,
    /// An `error` that no other end followed.
    Error,
    /// The socket ended first, or too many turns were open.
    Cut,
}

impl TurnEnd {
    /// The end that a server event of this type is, if it is one.
    pub(super) fn of_kind(kind: &str) -> Option<TurnEnd> {
        match kind {
            "response.completed" | "response.done" => Some(TurnEnd::Completed),
            "response.failed" => Some(TurnEnd::Failed),
            "response.incomplete" => Some(TurnEnd::Incomplete),
            "response.cancelled" => Some(TurnEnd::Cancelled),
            _ => None,
        }
    }

    /// Whether the server ended it.
    pub fn is_done(self) -> bool {
        self != TurnEnd::Cut
    }
}

impl Turn {
    /// The answer as the extractors see it: what the server sent.
    pub fn answer(&self) -> Vec<EventView<'_>> {
        self.events.iter().filter(|event| event.side == Side::Server).filter_map(SocketEvent::view).collect()
    }

    /// The request's JSON text, if it is whole.
    pub fn request_json(&self) -> Option<&str> {
        match self.request.as_ref()? {
            SocketData::Json(text) => Some(text),
            _ => None,
        }
    }

    /// Arrival of the server's first event.
    pub fn first_event_us(&self) -> Option<u64> {
        self.events.iter().find(|event| event.side == Side::Server).map(|event| event.at_us)
    }

    /// Bytes of its content that it holds.
    pub fn held_bytes(&self) -> usize {
        let request = self.request.as_ref().map_or(0, SocketData::held_bytes);
        request + self.events.iter().map(SocketEvent::held_bytes).sum::<usize>()
    }

    pub(super) fn count(&mut self, event: &SocketEvent) {
        match event.side {
            Side::Client => self.client_wire_bytes += event.wire_bytes,
            Side::Server => self.server_wire_bytes += event.wire_bytes,
        }
    }
}
