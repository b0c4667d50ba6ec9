//! One message of a socket as it is recorded.

use crate::replay;
use crate::trace::view::{EventData, EventView};
use crate::wire::json;
use crate::wire::websocket::{Content, Damage, Message, Side};

/// What an event costs beside its data, in the accounting of what is held.
const EVENT_BYTES: usize = 96;

/// A message that a side sent, or its close. Pings and pongs are counted, not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketEvent {
    /// Who sent it.
    pub side: Side,
    /// Arrival of its first byte, in microseconds since the exchange began.
    pub at_us: u64,
    /// Its bytes on the wire, frame headers included.
    pub wire_bytes: u64,
    /// Bytes of its content, kept or not.
    pub length: u64,
    /// It came as a binary message, whatever it holds.
    pub is_binary: bool,
    /// What it says; with `damage` a prefix of what it said.
    pub data: SocketData,
    /// Why `data` is not all that was said.
    pub damage: Option<Damage>,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketData {
    /// Valid JSON: its verbatim text. Some vendors send theirs in binary messages (Gemini Live).
    Json(String),
    /// Any other text.
    Text(String),
    /// Anything else; empty although `length` is not if it was beyond the budget.
    Binary(Vec<u8>),
    /// The side closes.
    Close {
        /// The status code, if one was given (RFC 6455 §7.4).
        code: Option<u16>,
        /// The reason; `""` if none was given.
        reason: String,
    },
}

impl SocketEvent {
    /// The event of a message; `None` for pings and pongs.
    pub fn of(side: Side, message: Message) -> Option<SocketEvent> {
        let Message { at_us, wire_bytes, length, content, damage } = message;
        let (is_binary, data) = match content {
            Content::Text(text) => (false, SocketData::of_text(text)),
            Content::Binary(bytes) => (true, SocketData::of_binary(bytes)),
            Content::Close { code, reason } => (false, SocketData::Close { code, reason }),
            Content::Ping(_) | Content::Pong(_) => return None,
        };
        Some(SocketEvent { side, at_us, wire_bytes, length, is_binary, data, damage })
    }

    /// The event as the extractors see it; `None` if it is neither JSON nor text. It has no name: the
    /// wire has none beside the `type` in the data.
    pub fn view(&self) -> Option<EventView<'_>> {
        let data = match &self.data {
            SocketData::Json(text) => EventData::Json(text),
            SocketData::Text(text) => EventData::Text(text),
            SocketData::Binary(_) | SocketData::Close { .. } => return None,
        };
        Some(EventView { name: "", data })
    }

    /// The event as a replay gives it; `None` for a close.
    pub fn frame(&self) -> Option<String> {
        let mut frame = String::new();
        match &self.data {
            SocketData::Json(text) => replay::push_frame(&mut frame, "", Some(text)),
            SocketData::Text(text) => {
                let mut quoted = String::new();
                json::write_string(&mut quoted, text);
                replay::push_frame(&mut frame, "", Some(&quoted));
            }
            SocketData::Binary(_) => replay::push_frame(&mut frame, "", None),
            SocketData::Close { .. } => return None,
        }
        Some(frame)
    }

    /// Whether all of its content is here.
    pub fn is_whole(&self) -> bool {
        let is_unkept = matches!(&self.data, SocketData::Binary(bytes) if bytes.is_empty()) && self.length > 0;
        self.damage.is_none() && !is_unkept
    }

    /// Bytes that it holds.
    pub fn held_bytes(&self) -> usize {
        EVENT_BYTES + self.data.held_bytes()
    }
}

impl SocketData {
    fn of_text(text: String) -> SocketData {
        match is_json(text.as_bytes()) {
            true => SocketData::Json(text),
            false => SocketData::Text(text),
        }
    }

    fn of_binary(bytes: Vec<u8>) -> SocketData {
        // A look at the first byte spares audio the parse.
        let looks_like_json = bytes.trim_ascii_start().first().is_some_and(|first| b"{[".contains(first));
        if !looks_like_json || !is_json(&bytes) {
            return SocketData::Binary(bytes);
        }
        String::from_utf8(bytes).map_or_else(|not| SocketData::Binary(not.into_bytes()), SocketData::Json)
    }

    /// Its text, JSON or not.
    pub fn text(&self) -> Option<&str> {
        match self {
            SocketData::Json(text) | SocketData::Text(text) => Some(text),
            SocketData::Binary(_) | SocketData::Close { .. } => None,
        }
    }

    /// Bytes that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        match self {
            SocketData::Json(text) | SocketData::Text(text) | SocketData::Close { reason: text, .. } => text.len(),
            SocketData::Binary(bytes) => bytes.len(),
        }
    }
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(content: Content) -> Option<SocketEvent> {
        SocketEvent::of(Side::Client, Message { at_us: 1, wire_bytes: 2, length: 3, content, damage: None })
    }

    #[test]
    fn json_is_told_from_text_and_audio_in_either_kind_of_message() {
        let data = |content| event(content).map(|it| (it.is_binary, it.data));
        let json = || r#" {"a":1}"#.to_owned();
        assert_eq!(data(Content::Text(json())), Some((false, SocketData::Json(json()))));
        assert_eq!(data(Content::Binary(json().into_bytes())), Some((true, SocketData::Json(json()))));
        assert_eq!(data(Content::Text("{".into())), Some((false, SocketData::Text("{".into()))));
        assert_eq!(data(Content::Binary(b"{\xFF".to_vec())), Some((true, SocketData::Binary(b"{\xFF".to_vec()))));
        assert_eq!(data(Content::Binary(b"1".to_vec())), Some((true, SocketData::Binary(b"1".to_vec()))));
        assert_eq!(data(Content::Ping(Vec::new())), None);
    }

    #[test]
    fn invalid_utf8_in_a_json_string_is_not_json() {
        let bytes = b"[\"\xFF\"]".to_vec();
        assert_eq!(event(Content::Binary(bytes.clone())).map(|it| it.data), Some(SocketData::Binary(bytes)));
    }
}
