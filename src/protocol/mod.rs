//! Which protocol an exchange speaks, and what its bodies say: model, tokens, finish.

/// What an exchange speaks, told by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI legacy Completions.
    Completions,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Messages,
    /// Gemini `generateContent` and `streamGenerateContent`.
    Gemini,
    /// Embeddings of any vendor.
    Embeddings,
    /// OpenAI Images.
    Images,
    /// OpenAI Audio: speech, transcriptions, translations.
    Audio,
    /// OpenAI Realtime.
    Realtime,
    /// Lists of models.
    Models,
    /// Anything else.
    Unknown,
}

impl Protocol {
    /// The protocol of a request, by the endpoint suffix of its target.
    pub fn of(_method: &str, _target: &str) -> Protocol {
        Protocol::Unknown
    }
}

/// What an exchange's bodies say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// The model asked for or answering, by the protocol's rule.
    pub model: Option<String>,
    /// Whether a stream was asked for.
    pub stream: Option<bool>,
    /// Token counts.
    pub usage: crate::trace::Usage,
    /// Why generation ended, in the protocol's own word.
    pub finish_reason: Option<String>,
    /// The provider's error type or code, if the answer is an error.
    pub error_type: Option<String>,
    /// The protocol's own terminator was seen.
    pub stream_done: bool,
}

/// Reads what a trace says. `saw_done` tells that the stream held a `[DONE]`; `ended_in_order` that the
/// transport did not break (Gemini streams have no terminator of their own).
pub fn extract(
    _protocol: Protocol,
    _trace: &crate::trace::view::TraceView<'_>,
    _saw_done: bool,
    _ended_in_order: bool,
) -> Extracted {
    Extracted::default()
}
