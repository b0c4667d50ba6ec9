//! Embeddings: OpenAI's form, and the counts of Cohere's, Ollama's and Gemini's.

use super::Extracted;
use super::failure;
use super::json::{count, members, text};
use super::usage::{Spelling, gemini, later, of_object};
use crate::trace::view::Answer;

/// Reads a list of embeddings. There is no completion to count.
pub(super) fn read(answer: Answer<'_>) -> Extracted {
    let mut said = Extracted::default();
    let Answer::Json(json) = answer else { return super::other::read(answer) };
    members(json, |name, value| match name {
        "model" => said.model = text(value).map(Into::into),
        "usage" => said.usage = later(said.usage, of_object(value, Spelling::Prompt).unwrap_or_default()),
        "usageMetadata" => said.usage = later(said.usage, gemini(value)),
        // Cohere: `meta.billed_units.input_tokens`.
        "meta" => members(value, |name, value| {
            if name == "billed_units" {
                said.usage = later(said.usage, of_object(value, Spelling::Input).unwrap_or_default());
            }
        }),
        // Ollama.
        "prompt_eval_count" => said.usage.prompt = count(value).or(said.usage.prompt),
        "error" => failure::in_member(value).into_iter().for_each(|failure| said.fail(failure)),
        _ => {}
    });
    said
}
