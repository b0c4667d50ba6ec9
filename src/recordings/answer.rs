//! What is sent for a recorded exchange: status, fields, and the body's pieces with their times.

use std::time::Duration;

use bytes::Bytes;

use super::framing;
use crate::ids::TraceId;
use crate::jsonl::line::{Kept, KeptBody};

/// Fields that belong to one connection.
const OF_THE_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
];

/// A piece of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// When it came, counted from the beginning of the exchange.
    pub at: Duration,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A recorded answer, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Of which trace.
    pub id: TraceId,
    /// The status.
    pub status: u16,
    /// The fields but those of the hop.
    pub fields: Vec<(String, Vec<u8>)>,
    /// When the head came, counted from the beginning of the exchange.
    pub head_at: Duration,
    /// The body.
    pub pieces: Vec<Piece>,
    /// The body's length was told in the head, and is known to be all of it.
    pub tells_length: bool,
    /// The answer broke off behind the last piece.
    pub is_broken_off: bool,
    /// The body's bytes are those of the wire, by the digest that was recorded of them.
    pub is_exact: bool,
}

impl Answer {
    /// What a line keeps of it.
    pub(super) fn of(kept: Kept) -> Answer {
        let framed = framing::body(&kept);
        let head_at = Duration::from_millis(kept.ttfb_ms.unwrap_or(0));
        let side = kept.response;
        let end = Duration::from_millis(kept.ts_end.0.saturating_sub(kept.ts_start.0).max(0).unsigned_abs());
        let pieces = match &side.body {
            KeptBody::Events(events, _) => {
                // A time that nobody knows is that of the event before; what stands behind the last event came with it.
                let mut last = head_at;
                let times = events.iter().map(|event| {
                    last = event.at_ms.map_or(last, Duration::from_millis).max(last);
                    last
                });
                let times: Vec<Duration> = times.collect();
                let at = |rank: usize| times.get(rank).or(times.last()).copied().unwrap_or(head_at);
                framed.pieces.into_iter().enumerate().map(|(rank, bytes)| Piece { at: at(rank), bytes }).collect()
            }
            _ => framed.pieces.into_iter().map(|bytes| Piece { at: end.max(head_at), bytes }).collect(),
        };
        let is_decoded = side.is_decoded;
        let is_broken_off = kept.disconnected || side.is_cut;
        let is_gone = |name: &str| {
            let is = |it: &str| name.eq_ignore_ascii_case(it);
            OF_THE_HOP.into_iter().any(is) || (is_decoded && is("content-encoding"))
        };
        let fields = side.headers.iter().filter(|(name, _)| !is_gone(name));
        Answer {
            id: kept.id,
            status: u16::try_from(kept.status).unwrap_or(502),
            fields: fields.map(|(name, value)| (name.to_owned(), value.to_vec())).collect(),
            head_at,
            pieces,
            tells_length: side.headers.get("content-length").is_some() && !is_broken_off,
            is_broken_off,
            is_exact: framed.is_exact,
        }
    }

    /// How many bytes the body has.
    pub fn body_bytes(&self) -> usize {
        self.pieces.iter().map(|it| it.bytes.len()).sum()
    }
}
