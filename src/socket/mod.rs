//! Upgraded sockets: what their messages say, as turns or in parts.
//!
//! A [`SocketReader`] gets a copy of the bytes of both directions with the moments of their arrival.
//! On a Responses socket every turn becomes a trace of its own when it ends; any other socket is one
//! trace, in parts that are sealed at a size or an age.

mod envelope;
mod event;
mod piece;
mod record;
mod split;
mod turn;

pub use event::{SocketData, SocketEvent};
pub use piece::{Piece, SocketEnd, SocketTrace, Unread};
pub use record::{PartLimits, Sent, SocketPart, SocketRecorder};
pub use split::{Routed, TurnLimits, TurnSplitter};
pub use turn::{Origin, Turn, TurnEnd};

use crate::protocol::Protocol;
use crate::wire::websocket::{Counts, Deflate, FrameReader, Limits, Message, Side, Violation};

/// What the reader of a socket may hold and do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketLimits {
    /// Of each direction's messages.
    pub messages: Limits,
    /// Of turns.
    pub turns: TurnLimits,
    /// Of parts.
    pub parts: PartLimits,
}

/// Reads both directions of a socket.
///
/// Whatever the bytes are, it neither fails nor holds more than its limits. Every socket gives at
/// least one piece by its end.
pub struct SocketReader {
    client: FrameReader,
    server: FrameReader,
    /// `None` for sockets without turns.
    turns: Option<TurnSplitter>,
    recorder: SocketRecorder,
    turns_ended: u64,
    close: Option<SocketEvent>,
    messages: Vec<Message>,
    routed: Vec<Routed>,
    /// Copies of messages for somebody who listens; `None` if nobody does.
    heard: Option<Vec<SocketEvent>>,
}

/// What is known of a socket when it has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketSummary {
    /// What the client sent.
    pub client: Counts,
    /// What the server sent.
    pub server: Counts,
    /// Why the client's direction could no longer be read, if so.
    pub client_violation: Option<Violation>,
    /// Why the server's direction could no longer be read, if so.
    pub server_violation: Option<Violation>,
    /// Turns that were given.
    pub turns: u64,
    /// Parts that were given.
    pub parts: u32,
    /// The first close that a side sent.
    pub close: Option<SocketEvent>,
}

impl SocketSummary {
    /// What a side sent.
    pub fn counts(&self, side: Side) -> Counts {
        match side {
            Side::Client => self.client,
            Side::Server => self.server,
        }
    }

    /// Why a side could no longer be read, if so.
    pub fn violation(&self, side: Side) -> Option<Violation> {
        match side {
            Side::Client => self.client_violation,
            Side::Server => self.server_violation,
        }
    }
}

impl SocketReader {
    /// A reader for a socket of this protocol: Responses has turns. `deflate` is what the server granted.
    pub fn new(protocol: Protocol, deflate: Option<Deflate>, limits: SocketLimits) -> SocketReader {
        SocketReader {
            client: FrameReader::new(Side::Client, deflate, limits.messages),
            server: FrameReader::new(Side::Server, deflate, limits.messages),
            turns: (protocol == Protocol::Responses).then(|| TurnSplitter::new(limits.turns)),
            recorder: SocketRecorder::new(limits.parts),
            turns_ended: 0,
            close: None,
            messages: Vec::new(),
            routed: Vec::new(),
            heard: None,
        }
    }

    /// Whether messages are copied from now on, for [`SocketReader::take_heard`].
    pub fn listen(&mut self, listens: bool) {
        self.heard = listens.then(|| self.heard.take().unwrap_or_default());
    }

    /// The messages of both sides since the last time, if they are copied.
    pub fn take_heard(&mut self) -> Vec<SocketEvent> {
        self.heard.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Reads the next bytes of a side, which arrived `at_us` microseconds after the exchange began.
    pub fn push(&mut self, side: Side, bytes: &[u8], at_us: u64, out: &mut Vec<Piece>) {
        match side {
            Side::Client => self.client.push(bytes, at_us, &mut self.messages),
            Side::Server => self.server.push(bytes, at_us, &mut self.messages),
        }
        self.take_messages(side, out);
    }

    /// Tells that the next `count` bytes of a side passed but are not in the copy.
    pub fn skip(&mut self, side: Side, count: u64, out: &mut Vec<Piece>) {
        match side {
            Side::Client => self.client.skip(count, &mut self.messages),
            Side::Server => self.server.skip(count, &mut self.messages),
        }
        self.take_messages(side, out);
    }

    /// Gives what is due by its age. To be called now and then on a quiet socket.
    pub fn tick(&mut self, now_us: u64, out: &mut Vec<Piece>) {
        if let Some(turns) = &mut self.turns {
            turns.settle(now_us, &mut self.routed);
        }
        self.take_routed(out);
        out.extend(self.recorder.tick(now_us).map(Box::new).map(Piece::Part));
    }

    /// The socket has ended: gives what is left, open turns as cut.
    pub fn finish(mut self, at_us: u64, out: &mut Vec<Piece>) -> SocketSummary {
        if let Some(turns) = &mut self.turns {
            turns.finish(at_us, &mut self.routed);
        }
        self.take_routed(out);
        let mut parts = self.recorder.sealed_parts();
        // What could not be read has nobody else to tell of it.
        let was_all_read = [&self.client, &self.server].iter().all(|it| it.counts().is_all_read());
        let is_nothing_left = self.recorder.is_empty() && self.turns_ended > 0 && was_all_read;
        if !is_nothing_left {
            parts += 1;
            out.push(Piece::Part(Box::new(self.recorder.finish(at_us))));
        }
        SocketSummary {
            client: self.client.counts(),
            server: self.server.counts(),
            client_violation: self.client.violation(),
            server_violation: self.server.violation(),
            turns: self.turns_ended,
            parts,
            close: self.close,
        }
    }

    /// Bytes of content that are held, for the caller's budget.
    pub fn held_bytes(&self) -> usize {
        self.client.held_bytes()
            + self.server.held_bytes()
            + self.turns.as_ref().map_or(0, TurnSplitter::held_bytes)
            + self.recorder.held_bytes()
    }

    /// How many pieces there would be if the socket ended now, not counting an empty last part.
    pub fn open_pieces(&self) -> usize {
        self.open_turns() + usize::from(!self.recorder.is_empty())
    }

    /// When the oldest began of what is not whole yet: a turn, a part, a message. `None` if all that came was given.
    pub fn open_since_us(&self) -> Option<u64> {
        let turns = self.turns.as_ref().and_then(TurnSplitter::open_since_us);
        let messages = [&self.client, &self.server].map(FrameReader::open_since_us);
        turns.into_iter().chain(self.recorder.open_since_us()).chain(messages.into_iter().flatten()).min()
    }

    /// How many turns are open.
    pub fn open_turns(&self) -> usize {
        self.turns.as_ref().map_or(0, TurnSplitter::open_turns)
    }

    fn take_messages(&mut self, side: Side, out: &mut Vec<Piece>) {
        let mut messages = std::mem::take(&mut self.messages);
        for event in messages.drain(..).filter_map(|message| SocketEvent::of(side, message)) {
            if let Some(heard) = &mut self.heard {
                heard.push(event.clone());
            }
            if matches!(event.data, SocketData::Close { .. }) && self.close.is_none() {
                self.close = Some(event.clone());
            }
            match &mut self.turns {
                // A close is the socket's and stands in the summary.
                Some(_) if matches!(event.data, SocketData::Close { .. }) => {}
                Some(turns) => turns.push(event, &mut self.routed),
                None => self.record(event, out),
            }
        }
        self.messages = messages;
        self.take_routed(out);
    }

    fn take_routed(&mut self, out: &mut Vec<Piece>) {
        for routed in std::mem::take(&mut self.routed) {
            match routed {
                Routed::Turn(turn) => {
                    self.turns_ended += 1;
                    out.push(Piece::Turn(turn));
                }
                Routed::Stray(event) => self.record(event, out),
            }
        }
    }

    fn record(&mut self, event: SocketEvent, out: &mut Vec<Piece>) {
        out.extend(self.recorder.push(event).map(Box::new).map(Piece::Part));
    }
}

#[cfg(test)]
mod tests;
