//! Whole answers: the assistant's texts, or its reasoning.

use super::edits::{Edits, content};
use super::flow::Work;
use super::sight::{Sight, answer as look, reasoning};
use super::texts::Texts;
use crate::json::Json;
use crate::plugin::kinds::text_append::DownTarget;
use crate::protocol::Protocol;
use crate::wire::json::value;

/// The answer's body after `work`; `None` if that changes nothing, be it that the text is no JSON.
///
/// Reasoning, calls of tools and their arguments stay as they are, if it is the content that is rewritten. A suffix is
/// appended to each text that the answer has, as it is to a stream.
pub fn answer(protocol: Protocol, work: &Work, target: DownTarget, text: &str) -> Option<String> {
    let body = Json::new(value(text).ok()?);
    let edits = match target {
        DownTarget::Content => {
            let sight = Sight { items: look(protocol, body), sequence: None };
            Texts::new(protocol, work.clone()).event(body, &sight).ok()?.edits
        }
        DownTarget::Reasoning => {
            let mut edits = Edits::default();
            for thought in reasoning(protocol, body) {
                edits.string(body.text(), thought, &work.whole(&content(thought), &mut 0));
            }
            edits
        }
    };
    // Edits are counted from the value's beginning; white space may stand around it.
    let start = body.place_in(text)?.start;
    let edited = edits.applied(body.text())?;
    Some([&text[..start], &edited, &text[start + body.text().len()..]].concat())
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[track_caller]
    fn replaced(protocol: Protocol, body: &str, expected: &str) {
        let work = testing::replace(&[("codename", "[x]")]);
        assert_eq!(answer(protocol, &work, DownTarget::Content, body).as_deref().unwrap_or(body), expected);
    }

    #[track_caller]
    fn appended(protocol: Protocol, target: DownTarget, body: &str, expected: &str) {
        let found = answer(protocol, &Work::Append("!".into()), target, body);
        assert_eq!(found.as_deref().unwrap_or(body), expected);
    }

    const CHAT: &str = r#" {"choices":[{"index":0,"message":{"content":"a codename","reasoning_content":"codename","tool_calls":[{"function":{"arguments":"codename"}}]},"finish_reason":"stop","logprobs":null},{"index":1,"message":{"content":null,"refusal":"codename"}}],"created":12345678901234567890}
"#;
    const MESSAGES: &str = r#"{"content":[{"type":"thinking","thinking":"codename","signature":"s"},{"type":"text","text":"codename","citations":null},{"type":"tool_use","input":{"text":"codename"}},{"type":"text","text":"code"},{"type":"thinking","thinking":"t"}]}"#;
    const RESPONSES: &str = r#"{"output":[{"type":"reasoning","summary":[{"type":"summary_text","text":"codename"}],"encrypted_content":"e"},{"type":"function_call","call_id":"c","arguments":"codename"},{"type":"message","id":"m","content":[{"type":"output_text","text":"codename","annotations":[]},{"type":"refusal","refusal":"codename"}]}]}"#;
    const GEMINI: &str = r#"{"candidates":[{"content":{"parts":[{"text":"codename","thought":true},{"text":"a code"},{"text":"name"},{"functionCall":{"args":{"x":"codename"}}},{"text":"b"}]},"finishReason":"STOP"}]}"#;

    #[test]
    fn the_assistants_texts_are_rewritten_and_nothing_else() {
        replaced(Protocol::Chat, CHAT, &CHAT.replace("a codename", "a [x]"));
        replaced(Protocol::Messages, MESSAGES, &MESSAGES.replace(r#""text":"codename","c"#, r#""text":"[x]","c"#));
        replaced(Protocol::Responses, RESPONSES, &RESPONSES.replace(r#""text":"codename","a"#, r#""text":"[x]","a"#));
        replaced(Protocol::Gemini, GEMINI, &GEMINI.replace("a code\"", "a \"").replace("\"name\"", "\"[x]\""));
        let wrapped = format!("{{\"response\":{GEMINI}}}");
        replaced(Protocol::Gemini, &wrapped, &wrapped.replace("a code\"", "a \"").replace("\"name\"", "\"[x]\""));
        replaced(Protocol::Completions, r#"{"choices":[{"text":"codename"}]}"#, r#"{"choices":[{"text":"codename"}]}"#);
        replaced(Protocol::Chat, &CHAT[..40], &CHAT[..40]);
    }

    #[test]
    fn a_suffix_ends_each_text() {
        appended(Protocol::Chat, DownTarget::Content, CHAT, &CHAT.replace("a codename", "a codename!"));
        let expected = MESSAGES.replace(r#"codename","cit"#, r#"codename!","cit"#).replace("\"code\"", "\"code!\"");
        appended(Protocol::Messages, DownTarget::Content, MESSAGES, &expected);
        let expected = RESPONSES.replace(r#"codename","ann"#, r#"codename!","ann"#);
        appended(Protocol::Responses, DownTarget::Content, RESPONSES, &expected);
        let expected = GEMINI.replace("\"name\"", "\"name!\"").replace("\"b\"", "\"b!\"");
        appended(Protocol::Gemini, DownTarget::Content, GEMINI, &expected);
        let calls_only = r#"{"choices":[{"message":{"content":"","tool_calls":[]}}]}"#;
        appended(Protocol::Chat, DownTarget::Content, calls_only, calls_only);
    }

    #[test]
    fn a_suffix_ends_reasoning_that_is_not_signed() {
        let expected = CHAT.replace(r#"reasoning_content":"codename"#, r#"reasoning_content":"codename!"#);
        appended(Protocol::Chat, DownTarget::Reasoning, CHAT, &expected);
        appended(Protocol::Messages, DownTarget::Reasoning, MESSAGES, &MESSAGES.replace("\"t\"", "\"t!\""));
        let expected = RESPONSES.replace(r#"summary_text","text":"codename"#, r#"summary_text","text":"codename!"#);
        appended(Protocol::Responses, DownTarget::Reasoning, RESPONSES, &expected);
        appended(
            Protocol::Gemini,
            DownTarget::Reasoning,
            GEMINI,
            &GEMINI.replace(r#"codename","tho"#, r#"codename!","tho"#),
        );
    }
}
