//! WebSocket messages, read from a copy of the bytes that pass in one direction (RFC 6455, RFC 7692).
//!
//! Nothing is answered or enforced here: the peers hold each other to the protocol. What cannot be
//! read is counted, and the bytes pass all the same.

mod deflate;
mod frame;
mod reader;

pub use deflate::Deflate;
pub use frame::{Header, Opcode, Violation};
pub use reader::{Counts, FrameReader, Limits};

/// Who sent something on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The side that asked for the upgrade.
    Client,
    /// The side that granted it.
    Server,
}

impl Side {
    /// Both sides, the client first.
    pub const ALL: [Side; 2] = [Side::Client, Side::Server];

    /// Its name on the line.
    pub fn name(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Server => "server",
        }
    }

    /// The side of this name.
    pub fn from_name(name: &str) -> Option<Side> {
        Side::ALL.into_iter().find(|side| side.name() == name)
    }
}

/// A whole message: its frames joined, unmasked and inflated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Arrival of the first byte of its first frame, in microseconds since the exchange began.
    pub at_us: u64,
    /// Bytes of its frames on the wire, headers included.
    pub wire_bytes: u64,
    /// Bytes of its content, kept or not; 0 if it could not be inflated.
    pub length: u64,
    /// What it says; with `damage` a prefix of what it said.
    pub content: Content,
    /// Why `content` is not all that the message said.
    pub damage: Option<Damage>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping with its payload.
    Ping(Vec<u8>),
    /// A pong with its payload.
    Pong(Vec<u8>),
    /// The sender closes.
    Close {
        /// The status code, if one was given (RFC 6455 §7.4).
        code: Option<u16>,
        /// The reason; `""` if none was given.
        reason: String,
    },
}

/// Why a message's content is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Damage {
    /// It was longer than the limit.
    TooLong,
    /// It could not be inflated, or grew beyond the allowed ratio. None of it is kept.
    Deflate,
    /// A text message held bytes that are not UTF-8; they were replaced by U+FFFD.
    NotUtf8,
    /// Some of its bytes were not in the copy.
    Gap,
}

impl Damage {
    /// Its name on the line.
    pub fn name(self) -> &'static str {
        match self {
            Damage::TooLong => "too_long",
            Damage::Deflate => "deflate",
            Damage::NotUtf8 => "not_utf8",
            Damage::Gap => "gap",
        }
    }
}
