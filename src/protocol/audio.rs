//! OpenAI Audio: speech, transcriptions, translations.

use super::{Extracted, closing};
use crate::trace::view::Answer;

/// Reads a transcription's counts, or those of the event that ends a stream. Speech as plain audio has none, and what
/// is billed by its duration has no tokens.
pub(super) fn read(answer: Answer<'_>) -> Extracted {
    closing::read(answer, &["transcript.text.done", "speech.audio.done"])
}
