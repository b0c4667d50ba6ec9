//! Token counts as the vendors spell them, and how several reports of one answer become one.

use super::json::{count, is_object, members};
use crate::trace::Usage;

/// Which of OpenAI's two spellings counts where an object has both (some gateways fill the other one with zeros).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// `prompt_tokens`, `completion_tokens`: Chat, Completions, Embeddings.
    Prompt,
    /// `input_tokens`, `output_tokens`: Responses, Images, Audio, Realtime.
    Input,
}

/// The counts of a `usage` object in OpenAI's form, with what its imitators add: Anthropic's cache fields (LiteLLM),
/// `prompt_cache_hit_tokens` (DeepSeek), `cached_tokens` (Moonshot), `cache_write_tokens` (OpenRouter).
pub(super) fn openai(json: &str, spelling: Spelling) -> Usage {
    let mut usage = Usage::default();
    let (mut prompts, mut inputs) = (Usage::default(), Usage::default());
    // What stands beside the details counts only where the details are silent.
    let mut beside = Usage::default();
    members(json, |name, value| match name {
        "prompt_tokens" => keep(&mut prompts.prompt, count(value)),
        "completion_tokens" => keep(&mut prompts.completion, count(value)),
        "input_tokens" => keep(&mut inputs.prompt, count(value)),
        "output_tokens" => keep(&mut inputs.completion, count(value)),
        "total_tokens" => keep(&mut usage.total, count(value)),
        "prompt_tokens_details" | "input_tokens_details" | "input_token_details" => {
            members(value, |name, value| match name {
                "cached_tokens" => keep(&mut usage.cached, count(value)),
                "cache_creation_tokens" | "cache_write_tokens" => keep(&mut beside.cache_creation, count(value)),
                _ => {}
            });
        }
        "completion_tokens_details" | "output_tokens_details" | "output_token_details" => {
            members(value, |name, value| {
                if name == "reasoning_tokens" {
                    keep(&mut usage.reasoning, count(value));
                }
            });
        }
        "cache_read_input_tokens" | "prompt_cache_hit_tokens" | "cached_tokens" => {
            keep(&mut beside.cached, count(value));
        }
        "cache_creation_input_tokens" => keep(&mut usage.cache_creation, count(value)),
        "reasoning_tokens" => keep(&mut beside.reasoning, count(value)),
        _ => {}
    });
    let (first, second) = match spelling {
        Spelling::Prompt => (prompts, inputs),
        Spelling::Input => (inputs, prompts),
    };
    usage.prompt = first.prompt.or(second.prompt);
    usage.completion = first.completion.or(second.completion);
    usage.cached = usage.cached.or(beside.cached);
    usage.cache_creation = usage.cache_creation.or(beside.cache_creation);
    usage.reasoning = usage.reasoning.or(beside.reasoning);
    usage
}

/// The counts of a `usage` object in Anthropic's form.
pub(super) fn anthropic(json: &str) -> Usage {
    let mut usage = Usage::default();
    members(json, |name, value| match name {
        "input_tokens" => keep(&mut usage.prompt, count(value)),
        "output_tokens" => keep(&mut usage.completion, count(value)),
        "cache_read_input_tokens" => keep(&mut usage.cached, count(value)),
        "cache_creation_input_tokens" => keep(&mut usage.cache_creation, count(value)),
        _ => {}
    });
    usage
}

/// The counts of a `usageMetadata` object in Gemini's form. `candidatesTokenCount` leaves out thoughts,
/// `totalTokenCount` includes them. The snake case of some gateways counts where the camel case is silent.
pub(super) fn gemini(json: &str) -> Usage {
    let (mut camel, mut snake) = (Usage::default(), Usage::default());
    members(json, |name, value| {
        let slot = match name {
            "promptTokenCount" => &mut camel.prompt,
            "candidatesTokenCount" => &mut camel.completion,
            "totalTokenCount" => &mut camel.total,
            "cachedContentTokenCount" => &mut camel.cached,
            "thoughtsTokenCount" => &mut camel.reasoning,
            "prompt_token_count" => &mut snake.prompt,
            "candidates_token_count" => &mut snake.completion,
            "total_token_count" => &mut snake.total,
            "cached_content_token_count" => &mut snake.cached,
            "thoughts_token_count" => &mut snake.reasoning,
            _ => return,
        };
        keep(slot, count(value));
    });
    later(snake, camel)
}

/// The counts where `usage` stands, if it is an object.
pub(super) fn of_object(json: &str, spelling: Spelling) -> Option<Usage> {
    is_object(json).then(|| openai(json, spelling))
}

/// What is known after a later report of the same answer: for each count the last that was given.
pub(super) fn later(known: Usage, report: Usage) -> Usage {
    // A total that was told for other counts is none of these.
    let is_stale = report.total.is_none() && (report.prompt.is_some() || report.completion.is_some());
    Usage {
        prompt: report.prompt.or(known.prompt),
        completion: report.completion.or(known.completion),
        total: if is_stale { None } else { report.total.or(known.total) },
        cached: report.cached.or(known.cached),
        cache_creation: report.cache_creation.or(known.cache_creation),
        reasoning: report.reasoning.or(known.reasoning),
    }
}

/// As [`later`], but a zero does not replace a count: Anthropic's opening event may say 0 for what only its closing
/// one knows, and gateways do so the other way round.
pub(super) fn later_unless_zero(known: Usage, report: Usage) -> Usage {
    let pick = |known: Option<i64>, report: Option<i64>| match (known, report) {
        (Some(known), Some(0)) => Some(known),
        (known, report) => report.or(known),
    };
    Usage {
        prompt: pick(known.prompt, report.prompt),
        completion: pick(known.completion, report.completion),
        total: pick(known.total, report.total),
        cached: pick(known.cached, report.cached),
        cache_creation: pick(known.cache_creation, report.cache_creation),
        reasoning: pick(known.reasoning, report.reasoning),
    }
}

/// What several answers took together: a count is known if it is for any of them.
pub(super) fn together(one: Usage, other: Usage) -> Usage {
    let add = |one: Option<i64>, other: Option<i64>| match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    };
    Usage {
        prompt: add(one.prompt, other.prompt),
        completion: add(one.completion, other.completion),
        total: add(one.total, other.total),
        cached: add(one.cached, other.cached),
        cache_creation: add(one.cache_creation, other.cache_creation),
        reasoning: add(one.reasoning, other.reasoning),
    }
}

/// `usage` with a total: the protocol's own, else prompt + completion where both are known.
pub(super) fn with_total(usage: Usage) -> Usage {
    let sum = || usage.prompt?.checked_add(usage.completion?);
    Usage { total: usage.total.or_else(sum), ..usage }
}

/// Keeps `value` if there is one: of a name given twice the last real value counts.
fn keep(slot: &mut Option<i64>, value: Option<i64>) {
    if value.is_some() {
        *slot = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openai_details_are_read_in_both_spellings() {
        let chat = r#"{"prompt_tokens":19,"completion_tokens":10,"total_tokens":29,
            "prompt_tokens_details":{"cached_tokens":8,"audio_tokens":0},
            "completion_tokens_details":{"reasoning_tokens":4,"accepted_prediction_tokens":0}}"#;
        let responses = r#"{"input_tokens":19,"input_tokens_details":{"cached_tokens":8},
            "output_tokens":10,"output_tokens_details":{"reasoning_tokens":4},"total_tokens":29}"#;
        let expected = Usage {
            prompt: Some(19),
            completion: Some(10),
            total: Some(29),
            cached: Some(8),
            cache_creation: None,
            reasoning: Some(4),
        };
        assert_eq!(openai(chat, Spelling::Prompt), expected);
        assert_eq!(openai(responses, Spelling::Input), expected);
    }

    #[test]
    fn the_protocols_own_spelling_wins_over_zeros_in_the_other() {
        let both = r#"{"prompt_tokens":19,"completion_tokens":10,"input_tokens":0,"output_tokens":0}"#;
        let usage = openai(both, Spelling::Prompt);
        assert_eq!((usage.prompt, usage.completion), (Some(19), Some(10)));
        let both = r#"{"prompt_tokens":0,"completion_tokens":0,"input_tokens":19,"output_tokens":10}"#;
        let usage = openai(both, Spelling::Input);
        assert_eq!((usage.prompt, usage.completion), (Some(19), Some(10)));
    }

    #[test]
    fn imitators_cache_fields_count_where_details_are_silent() {
        assert_eq!(openai(r#"{"prompt_cache_hit_tokens":7}"#, Spelling::Prompt).cached, Some(7));
        assert_eq!(openai(r#"{"cached_tokens":7}"#, Spelling::Prompt).cached, Some(7));
        let both = r#"{"cache_read_input_tokens":7,"prompt_tokens_details":{"cached_tokens":6}}"#;
        assert_eq!(openai(both, Spelling::Prompt).cached, Some(6));
        let written = r#"{"prompt_tokens_details":{"cache_write_tokens":5}}"#;
        assert_eq!(openai(written, Spelling::Prompt).cache_creation, Some(5));
    }

    #[test]
    fn wrong_types_are_absent_and_their_neighbours_stand() {
        let odd = r#"{"prompt_tokens":"19","completion_tokens":10.5,"total_tokens":29,
            "prompt_tokens_details":"x","completion_tokens_details":[1e400]}"#;
        assert_eq!(openai(odd, Spelling::Prompt), Usage { total: Some(29), ..Usage::default() });
    }

    #[test]
    fn a_later_report_adds_and_replaces_and_drops_a_stale_total() {
        let first = Usage { prompt: Some(5), completion: Some(1), total: Some(6), ..Usage::default() };
        let second = Usage { completion: Some(9), ..Usage::default() };
        let known = with_total(later(first, second));
        assert_eq!((known.prompt, known.completion, known.total), (Some(5), Some(9), Some(14)));
        assert_eq!(later(first, Usage::default()), first);
    }

    #[test]
    fn zeros_do_not_replace_counts_but_stand_alone() {
        let zero = Usage { prompt: Some(0), ..Usage::default() };
        let five = Usage { prompt: Some(5), ..Usage::default() };
        assert_eq!(later_unless_zero(zero, five).prompt, Some(5));
        assert_eq!(later_unless_zero(five, zero).prompt, Some(5));
        assert_eq!(later_unless_zero(Usage::default(), zero).prompt, Some(0));
    }

    #[test]
    fn a_total_needs_both_sides_and_does_not_overflow() {
        let half = Usage { prompt: Some(5), ..Usage::default() };
        assert_eq!(with_total(half).total, None);
        let huge = Usage { prompt: Some(i64::MAX), completion: Some(1), ..Usage::default() };
        assert_eq!(with_total(huge).total, None);
        assert_eq!(together(huge, huge).prompt, Some(i64::MAX));
    }
}
