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

#[cfg(test)]
mod tests {
    use crate::protocol::samples::{counts, read, sample, words};
    use crate::trace::view::Answer;

    #[test]
    fn embeddings_of_every_vendor_are_counted() {
        let said = read("/v1/embeddings", r#"{"model":"ada"}"#, Answer::Json(sample!("embeddings.json")));
        assert_eq!(counts(&said)[..3], [Some(8), None, Some(8)]);
        assert_eq!(words(&said), (Some("text-embedding-ada-002"), None, None, None));

        let cohere = r#"{"id":"i","embeddings":{"float":[[0.1]]},"meta":{"billed_units":{"input_tokens":3}}}"#;
        assert_eq!(read("/v2/embed", "", Answer::Json(cohere)).usage.prompt, Some(3));
        let ollama = r#"{"model":"all-minilm","embeddings":[[0.01]],"prompt_eval_count":8}"#;
        assert_eq!(read("/api/embed", "", Answer::Json(ollama)).usage.prompt, Some(8));
        let request = r#"{"model":"models/gemini-embedding-001"}"#;
        let target = "/v1beta/models/gemini-embedding-001:embedContent";
        let said = read(target, request, Answer::Json(r#"{"embedding":{"values":[0.1]}}"#));
        assert_eq!(said.model.as_deref(), Some("gemini-embedding-001"));
    }
}
