//! What happened on the wire: the facts of a request and its answer, and how it ended.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::headers::Headers;
use crate::ids::{TraceId, UnixMillis};
use crate::plugin::note::Applied;
use crate::recording::Recording;

/// One request and its answer, as they passed.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Its identity.
    pub id: TraceId,
    /// When the request's head had been received.
    pub ts_start: UnixMillis,
    /// When it had ended.
    pub ts_end: UnixMillis,
    /// Who connected.
    pub peer: SocketAddr,
    /// The method as received.
    pub method: Box<str>,
    /// The request target as received: path with query.
    pub target: Box<str>,
    /// The configured upstream URL.
    pub upstream: Arc<str>,
    /// The status of the upstream's answer that the client got; `None` if there was none.
    pub status: Option<u16>,
    /// Request fields as sent to the upstream (without hop-by-hop fields and `Host`), in the client's spelling.
    pub request_headers: Headers,
    /// Response fields as received from the upstream.
    pub response_headers: Headers,
    /// Request trailers, if any.
    pub request_trailers: Headers,
    /// Response trailers, if any.
    pub response_trailers: Headers,
    /// The request body.
    pub request: Recording,
    /// The response body.
    pub response: Recording,
    /// How it ended on the wire.
    pub end: End,
    /// Milliseconds from the start to the response head.
    pub ttfb_ms: Option<u64>,
    /// What went wrong on the way to the upstream, in a few words for a person.
    pub error: Option<Box<str>>,
    /// What plugins did to it.
    pub applied: Applied,
}

/// How an exchange ended (the line's `end`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Both sides ended in order.
    Complete,
    /// The client closed or reset before it had the whole answer.
    ClientGone,
    /// The upstream closed or reset before its answer was whole.
    UpstreamGone,
    /// No answer head was ever received.
    UpstreamUnreachable,
    /// Nothing passed for `timeouts.stream_idle`.
    IdleTimeout,
    /// The recorder stopped first.
    Shutdown,
    /// Recovered after a crash.
    Interrupted,
    /// The recorder answered by itself.
    Rejected,
}

impl End {
    /// Every way, in the order of the documentation.
    pub const ALL: [End; 8] = [
        End::Complete,
        End::ClientGone,
        End::UpstreamGone,
        End::UpstreamUnreachable,
        End::IdleTimeout,
        End::Shutdown,
        End::Interrupted,
        End::Rejected,
    ];

    /// Its name on the line and in the index.
    pub fn name(self) -> &'static str {
        match self {
            End::Complete => "complete",
            End::ClientGone => "client_gone",
            End::UpstreamGone => "upstream_gone",
            End::UpstreamUnreachable => "upstream_unreachable",
            End::IdleTimeout => "idle_timeout",
            End::Shutdown => "shutdown",
            End::Interrupted => "interrupted",
            End::Rejected => "rejected",
        }
    }

    /// The end of this name.
    pub fn from_name(name: &str) -> Option<End> {
        End::ALL.into_iter().find(|end| end.name() == name)
    }

    /// Whether either side of the transport ended before its orderly end.
    pub fn is_disconnected(self) -> bool {
        !matches!(self, End::Complete | End::Rejected)
    }
}
