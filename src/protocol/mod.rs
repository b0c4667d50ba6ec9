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
