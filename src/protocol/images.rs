//! OpenAI Images: generations, edits, variations; whole, or as a stream of partial images.

use super::{Extracted, closing};
use crate::trace::view::Answer;

/// Reads an answer's counts; of a stream, those of its completed image.
pub(super) fn read(answer: Answer<'_>) -> Extracted {
    closing::read(answer, &["image_generation.completed", "image_edit.completed"])
}
