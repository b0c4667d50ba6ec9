//! A piece of a socket: what of it becomes one trace.

use std::sync::Arc;

use super::SocketSummary;
use super::record::SocketPart;
use super::turn::Turn;
use crate::exchange::{End, Exchange};
use crate::ids::{TraceId, UnixMillis};
use crate::recording::Recording;
use crate::wire::websocket::Side;

/// Something to be recorded now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A turn that ended.
    Turn(Box<Turn>),
    /// A part that was sealed. On a socket with turns: what belongs to none of them.
    Part(Box<SocketPart>),
    /// Bytes that nobody could read.
    Unread(Box<Unread>),
}

/// What passed while there was no reader: bytes as they came, or their number alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// From the client.
    pub client: Recording,
    /// From the server.
    pub server: Recording,
}

/// A piece, and the socket that it is of: all that its line is made from.
#[derive(Clone, Debug)]
pub struct SocketTrace {
    /// Its identity. The first piece of a socket has the socket's own.
    pub id: TraceId,
    /// The exchange that opened the socket: its heads, its start, no bodies. Its id is the socket's.
    pub handshake: Arc<Exchange>,
    /// Its number among the pieces of its kind, from 0.
    pub number: u64,
    /// What it holds.
    pub piece: Piece,
    /// How the socket ended, if it had.
    pub ended: Option<SocketEnd>,
}

/// How a socket ended.
#[derive(Clone, Debug)]
pub struct SocketEnd {
    /// How its transport did.
    pub end: End,
    /// Which side ended first, in order.
    pub left: Option<Side>,
    /// What its reader knew of it.
    pub summary: Option<SocketSummary>,
    /// What went wrong, in a few words for a person.
    pub error: Option<Box<str>>,
}

impl Unread {
    /// The bytes of a side.
    pub fn side(&mut self, side: Side) -> &mut Recording {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }
}

impl Piece {
    /// Bytes that it holds.
    pub fn held_bytes(&self) -> usize {
        match self {
            Piece::Turn(turn) => turn.held_bytes(),
            Piece::Part(part) => part.events.iter().map(super::SocketEvent::held_bytes).sum(),
            Piece::Unread(unread) => unread.client.bytes.len() + unread.server.bytes.len(),
        }
    }

    /// Begin and end in microseconds since the socket's exchange began.
    fn span_us(&self) -> (u64, u64) {
        match self {
            Piece::Turn(turn) => (turn.start_us, turn.end_us),
            Piece::Part(part) => (part.start_us, part.end_us),
            Piece::Unread(unread) => {
                let marks = || unread.client.marks.iter().chain(&unread.server.marks).map(|mark| mark.at_us);
                (marks().min().unwrap_or(0), marks().max().unwrap_or(0))
            }
        }
    }
}

impl SocketTrace {
    /// When the piece began, in microseconds since the socket's exchange began. A part that is its socket's first
    /// trace begins with the handshake.
    pub fn start_us(&self) -> u64 {
        if self.begins_with_handshake() { 0 } else { self.piece.span_us().0 }
    }

    fn begins_with_handshake(&self) -> bool {
        self.id == self.handshake.id && !matches!(self.piece, Piece::Turn(_))
    }

    /// The piece as an exchange: the handshake's heads, its own times, sizes and end; bytes only if nobody read them.
    pub fn exchange(&self) -> Exchange {
        let (_, end_us) = self.piece.span_us();
        let at = |us: u64| UnixMillis(self.handshake.ts_start.0.saturating_add((us / 1000) as i64));
        let counted = |wire_bytes, is_cut| Recording { wire_bytes, is_cut, ..Recording::default() };
        let (request, response) = match &self.piece {
            Piece::Turn(turn) => {
                let is_cut = |side| {
                    turn.events.iter().any(|event| event.side == side && !event.is_whole())
                        || (side == Side::Server && turn.unkept_events > 0)
                };
                let is_request_cut = turn.request.is_some() && turn.request_json().is_none();
                (
                    counted(turn.client_wire_bytes, is_request_cut || is_cut(Side::Client)),
                    counted(turn.server_wire_bytes, is_cut(Side::Server)),
                )
            }
            Piece::Part(part) => {
                let is_cut = |side| {
                    let counts = self.ended.as_ref().and_then(|it| it.summary.as_ref()).map(|it| it.counts(side));
                    part.events.iter().any(|event| event.side == side && !event.is_whole())
                        || (part.is_last && counts.is_some_and(|it| !it.is_all_read()))
                };
                (
                    counted(part.client.wire_bytes, is_cut(Side::Client)),
                    counted(part.server.wire_bytes, is_cut(Side::Server)),
                )
            }
            Piece::Unread(unread) => (unread.client.clone(), unread.server.clone()),
        };
        let handshake = &*self.handshake;
        Exchange {
            id: self.id,
            ts_start: at(self.start_us()),
            ts_end: at(end_us.max(self.start_us())),
            request,
            response,
            end: self.end(),
            ttfb_ms: handshake.ttfb_ms.filter(|_| self.begins_with_handshake()),
            error: self.ended.as_ref().and_then(|ended| ended.error.clone()),
            ..handshake.clone()
        }
    }

    /// How the piece ended. What ended in its own way is complete, whatever became of the socket.
    fn end(&self) -> End {
        match (&self.piece, &self.ended) {
            (Piece::Turn(turn), _) if turn.end.is_done() => End::Complete,
            // Cut while its socket went on: the recorder could not follow it any longer.
            (Piece::Turn(_), None) => End::Interrupted,
            (Piece::Turn(_), Some(ended)) if ended.end == End::Complete => match ended.left() {
                Some(Side::Client) => End::ClientGone,
                Some(Side::Server) | None => End::UpstreamGone,
            },
            (Piece::Unread(_), None) => End::Interrupted,
            (Piece::Part(part), _) if !part.is_last => End::Complete,
            (_, None) => End::Complete,
            (_, Some(ended)) => ended.end,
        }
    }
}

impl SocketEnd {
    /// Who closed: by the first close frame, else by who ended its direction first.
    fn left(&self) -> Option<Side> {
        let close = self.summary.as_ref().and_then(|it| it.close.as_ref());
        close.map(|close| close.side).or(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::Headers;
    use crate::protocol::Protocol;
    use crate::socket::{SocketLimits, SocketReader};

    fn handshake() -> Exchange {
        Exchange {
            id: TraceId::from_bytes([1; 16]),
            ts_start: UnixMillis(1_000),
            ts_end: UnixMillis(1_000),
            peer: ([127, 0, 0, 1], 1).into(),
            method: "GET".into(),
            target: "/v1/responses".into(),
            upstream: "http://gw".into(),
            status: Some(101),
            request_headers: Headers::new(),
            response_headers: Headers::new(),
            request_trailers: Headers::new(),
            response_trailers: Headers::new(),
            request: Recording::default(),
            response: Recording::default(),
            end: End::Complete,
            ttfb_ms: Some(3),
            error: None,
            applied: Default::default(),
        }
    }

    fn frame(text: &str) -> Vec<u8> {
        [&[0x81, text.len() as u8], text.as_bytes()].concat()
    }

    /// The traces of a socket on which the client asked twice, was answered once, and which then ended so.
    fn traces(end: End, left: Option<Side>, id: TraceId) -> Vec<SocketTrace> {
        let mut reader = SocketReader::new(Protocol::Responses, None, SocketLimits::default());
        let mut pieces = Vec::new();
        let create = frame(r#"{"type":"response.create"}"#);
        reader.push(Side::Client, &create, 2_000, &mut pieces);
        reader.push(Side::Server, &frame(r#"{"type":"response.completed"}"#), 5_000, &mut pieces);
        reader.push(Side::Client, &create, 7_000, &mut pieces);
        let summary = reader.finish(9_000, &mut pieces);
        let ended = SocketEnd { end, left, summary: Some(summary), error: None };
        let handshake = Arc::new(handshake());
        let trace = |(number, piece)| SocketTrace {
            id,
            handshake: handshake.clone(),
            number,
            piece,
            ended: Some(ended.clone()),
        };
        (0..).zip(pieces).map(trace).collect()
    }

    #[test]
    fn a_turn_has_its_own_times_and_end() {
        let id = TraceId::from_bytes([2; 16]);
        let traces = traces(End::Complete, Some(Side::Client), id);
        let [done, cut] = [traces[0].exchange(), traces[1].exchange()];
        assert_eq!((done.id, done.ts_start.0, done.ts_end.0, done.end), (id, 1_002, 1_005, End::Complete));
        assert_eq!((cut.ts_start.0, cut.ts_end.0, cut.end), (1_007, 1_009, End::ClientGone));
        assert_eq!((done.ttfb_ms, done.status, &*done.method), (None, Some(101), "GET"));
        assert_eq!((done.request.wire_bytes, done.response.wire_bytes), (28, 31));
    }

    #[test]
    fn a_cut_turn_tells_who_left() {
        let id = TraceId::from_bytes([2; 16]);
        for (end, left, expected) in [
            (End::Complete, Some(Side::Server), End::UpstreamGone),
            (End::ClientGone, None, End::ClientGone),
            (End::Shutdown, None, End::Shutdown),
        ] {
            let cut = traces(end, left, id).pop().unwrap();
            assert_eq!(cut.exchange().end, expected);
            let unended = SocketTrace { ended: None, ..cut };
            assert_eq!(unended.exchange().end, End::Interrupted);
        }
    }

    #[test]
    fn the_first_part_of_a_socket_begins_with_its_handshake() {
        let mut reader = SocketReader::new(Protocol::Realtime, None, SocketLimits::default());
        let mut pieces = Vec::new();
        reader.push(Side::Client, &frame("{}"), 50_000, &mut pieces);
        let summary = reader.finish(60_000, &mut pieces);
        let trace = SocketTrace {
            id: handshake().id,
            handshake: Arc::new(handshake()),
            number: 0,
            piece: pieces.remove(0),
            ended: Some(SocketEnd { end: End::Complete, left: None, summary: Some(summary), error: None }),
        };
        let exchange = trace.exchange();
        assert_eq!((exchange.ts_start.0, exchange.ts_end.0, exchange.ttfb_ms), (1_000, 1_060, Some(3)));
        let later = SocketTrace { id: TraceId::from_bytes([3; 16]), ..trace };
        assert_eq!((later.exchange().ts_start.0, later.exchange().ttfb_ms), (1_050, None));
    }
}
