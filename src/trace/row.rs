//! What the index keeps of a trace: the same for a fresh exchange and for its line read back.

use crate::exchange::End;
use crate::ids::{KeyHash, TraceId, UnixMillis};
use crate::protocol::Protocol;
use crate::session::Conversation;
use crate::trace::Texts;

/// A trace's indexed facts. What is unknown is `None`, never 0 or `""`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The trace.
    pub id: TraceId,
    /// When its request head had been received.
    pub ts_start: UnixMillis,
    /// When it had ended.
    pub ts_end: UnixMillis,
    /// The client's address.
    pub client: String,
    /// The method as received.
    pub method: String,
    /// The request target with its query; the value of a `key` or `api_key` parameter replaced by `***`.
    pub path: String,
    /// The configured upstream URL.
    pub upstream: String,
    /// The status the client got from the upstream; -1 if none.
    pub status: i32,
    /// How the exchange ended.
    pub end: End,
    /// Either side of the transport ended before its orderly end.
    pub disconnected: bool,
    /// Request bytes beyond the cap passed unrecorded.
    pub truncated_req: bool,
    /// Response bytes beyond the cap passed unrecorded.
    pub truncated_resp: bool,
    /// What it speaks.
    pub protocol: Protocol,
    /// The model asked for or answering, by the protocol's rule.
    pub model: Option<String>,
    /// Whether a stream was asked for.
    pub stream: Option<bool>,
    /// Token counts.
    pub usage: Usage,
    /// Why generation ended, in the protocol's own word.
    pub finish_reason: Option<String>,
    /// The provider's error type or code, if the answer is an error.
    pub error_type: Option<String>,
    /// Whose it is.
    pub key: KeyHash,
    /// What links it to other traces.
    pub conversation: Conversation,
    /// The kind of client.
    pub client_kind: Option<String>,
    /// The client's version.
    pub client_version: Option<String>,
    /// The project it worked on.
    pub client_project: Option<String>,
    /// How many attachments were written beside the line.
    pub media_count: u32,
    /// Milliseconds from `ts_start` to the response head.
    pub ttfb_ms: Option<u64>,
    /// Milliseconds from `ts_start` to the first event of a stream.
    pub first_event_ms: Option<u64>,
    /// Request body bytes on the wire.
    pub req_bytes: Option<u64>,
    /// Response body bytes on the wire.
    pub resp_bytes: Option<u64>,
    /// Operator labels.
    pub tags: Vec<String>,
    /// What was asked and answered, if it is wanted for searching.
    pub texts: Option<Texts>,
}

/// Token counts as the provider reported them; never estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the request. OpenAI's count includes cached ones, Anthropic's does not.
    pub prompt: Option<i64>,
    /// Tokens of the answer.
    pub completion: Option<i64>,
    /// The protocol's total, else prompt + completion when both are known.
    pub total: Option<i64>,
    /// Prompt tokens read from a cache.
    pub cached: Option<i64>,
    /// Prompt tokens written to a cache.
    pub cache_creation: Option<i64>,
    /// Tokens of reasoning.
    pub reasoning: Option<i64>,
}
