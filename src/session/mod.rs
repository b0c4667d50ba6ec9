//! Conversations: which trace continues which.
//!
//! A request's body is read as a list of turns, and the first `n` of them are hashed for every `n` in one pass:
//! a trace whose whole list is the beginning of another's is its parent (the index finds it). Where two traces have the
//! same list, the answer that the client sent back as a turn tells which of them it continues.

mod answer;
mod canonical;
mod form;
mod method;
mod number;
mod reply;
mod turns;

pub use method::Method;

use crate::ids::short_sha256;
use crate::json::Json;
use crate::protocol::Protocol;
use crate::trace::asked::Asked;
use crate::trace::view::{Answer, TraceView};

/// The version of everything that is hashed here. An index that holds hashes of another version has to be built
/// anew.
pub const HASH_VERSION: u32 = 2;

/// What links a trace to others of the same key.
///
/// Turns and answers are hashed with XXH3, ids with the first 8 bytes of a SHA-256. Whoever can make turns whose
/// hashes collide with somebody's of the same key could as well send those very turns: hashes that are hard to forge
/// would add nothing here but time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    /// The hash of the first `n` turns of the request at index `n - 1`; empty if it has no turns.
    pub prefixes: Vec<[u8; 8]>,
    /// A fingerprint of each request turn that an assistant spoke, by turn; `None` for other turns.
    /// Compared with [`Conversation::answer`] of a candidate parent. Same length as `prefixes`.
    ///
    /// In Responses, where one answer comes back as several items, the first item of a run of items that the model
    /// made carries the fingerprint of the whole run.
    pub replies: Vec<Option<[u8; 8]>>,
    /// The fingerprint of the answer, as a following request would carry it as a turn.
    pub answer: Option<[u8; 8]>,
    /// The hash of the answer's own id (Responses).
    pub response_id: Option<[u8; 8]>,
    /// The hash of the answer id that the request continues (Responses `previous_response_id`).
    pub previous_response_id: Option<[u8; 8]>,
    /// The hash of the conversation that the request belongs to (Responses `conversation`).
    pub conversation_id: Option<[u8; 8]>,
}

/// What links this trace to others, read in one pass over its request.
///
/// | Protocol | Turns |
/// |---|---|
/// | Chat | the elements of `messages` |
/// | Messages | a virtual turn of `system` unless it is missing or null, then the elements of `messages` |
/// | Responses | a virtual turn of `instructions`, then each item of `input` (a string is one user turn) |
/// | Gemini | a virtual turn of `systemInstruction`, then the elements of `contents` |
/// | others | none |
///
/// There are no turns at all where `messages` or `contents` is missing or empty, or where a Responses request has
/// neither `instructions` nor `input`. Turns are compared by their meaning, not their spelling: key order, white
/// space, escapes and number spelling do not count, nor do `cache_control` marks of content blocks. In Chat and
/// Messages a `content` string is the same as one text block. Of an Anthropic `system` list those text blocks are
/// left out that begin with `x-anthropic-billing-header:`: Claude Code puts one there that differs in every request.
///
/// Turns of different protocols never match, nor do those of requests that continue different
/// `previous_response_id`s, for what precedes them is not the same.
pub fn conversation(protocol: Protocol, trace: &TraceView<'_>) -> Conversation {
    conversation_of(protocol, &Asked::of_text(trace.request_json), trace.answer)
}

/// As [`conversation`], of a request that has been read.
pub(crate) fn conversation_of(protocol: Protocol, asked: &Asked<'_>, answer: Answer<'_>) -> Conversation {
    let asked = if protocol == Protocol::Responses { unwrapped(asked) } else { *asked };
    let (response_id, answer) = answer::of(protocol, &answer);
    let mut conversation = Conversation { answer, response_id, ..Conversation::default() };
    if protocol == Protocol::Responses {
        conversation.previous_response_id = asked.previous_response_id.and_then(id_hash);
        conversation.conversation_id =
            asked.conversation.and_then(|of| if of.is_object() { of.get("id").and_then(id_hash) } else { id_hash(of) });
    }
    let continues = conversation.previous_response_id;
    (conversation.prefixes, conversation.replies) = turns::hashed(protocol, &asked, continues);
    conversation
}

/// A JSON value in the one form of all that mean the same: order of keys, white space, escapes and the spelling of
/// numbers do not count. To be hashed or compared, not to be read.
pub(crate) fn canonical(json: Json<'_>) -> Vec<u8> {
    let mut canonical = canonical::Canonical::default();
    canonical.value(json, canonical::Blocks::No);
    canonical.bytes().to_vec()
}

/// The same of a turn of a request, with the liberties that [`conversation`] gives turns.
pub(crate) fn canonical_turn(protocol: Protocol, turn: Json<'_>) -> Vec<u8> {
    let blocks = match protocol {
        Protocol::Chat | Protocol::Messages => canonical::Blocks::WithShorthand,
        _ => canonical::Blocks::Yes,
    };
    let mut canonical = canonical::Canonical::default();
    canonical.value(turn, blocks);
    canonical.bytes().to_vec()
}

/// A hash of a request's system text: the same for all that [`conversation`] takes for the same.
pub(crate) fn system_hash(protocol: Protocol, system: Json<'_>) -> Option<[u8; 8]> {
    turns::of_system(protocol, system)
}

/// The request inside a WebSocket's `response.create` message that wraps it.
fn unwrapped<'a>(asked: &Asked<'a>) -> Asked<'a> {
    match (asked.kind, asked.response) {
        (Some(kind), Some(wrapped)) if wrapped.is_object() && kind.is("response.create") => Asked::of(wrapped),
        _ => *asked,
    }
}

/// The request that a body holds: itself, or what a socket's opening message wraps.
pub(crate) fn unwrapped_request<'a>(protocol: Protocol, body: Json<'a>) -> Json<'a> {
    match body.pick(["type", "response"]) {
        [Some(kind), Some(wrapped)]
            if protocol == Protocol::Responses && wrapped.is_object() && kind.is("response.create") =>
        {
            wrapped
        }
        _ => body,
    }
}

/// The hash of an id, if it is a non-empty string.
fn id_hash(id: Json<'_>) -> Option<[u8; 8]> {
    id.string().filter(|id| !id.is_empty()).map(|id| short_sha256(id.as_bytes()))
}

#[cfg(test)]
mod tests;
