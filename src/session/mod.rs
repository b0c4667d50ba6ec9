//! Conversations: which trace continues which.

/// What links a trace to others of the same key. Hashes are the first 8 bytes of a SHA-256.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    /// The hash of the first `n` turns of the request at index `n - 1`; empty if it has no turns.
    pub prefixes: Vec<[u8; 8]>,
    /// A fingerprint of each request turn that an assistant spoke, by turn; `None` for other turns.
    /// Compared with [`Conversation::answer`] of a candidate parent. Same length as `prefixes`.
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
pub fn conversation(_protocol: crate::protocol::Protocol, _trace: &crate::trace::view::TraceView<'_>) -> Conversation {
    Conversation::default()
}
