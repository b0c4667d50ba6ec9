//! OpenAI Chat Completions and legacy Completions, and the many that speak like them.

use super::Extracted;
use super::failure;
use super::json::{Hint, count, elements, members, text};
use super::usage::{Spelling, later, of_object};
use crate::trace::Usage;
use crate::trace::view::{Answer, EventView};

/// Reads a `chat.completion` (or `text_completion`), or a stream of its chunks.
pub(super) fn read(answer: Answer<'_>) -> Extracted {
    match answer {
        Answer::None => Extracted::default(),
        Answer::Json(json) => {
            let mut said = Extracted::default();
            chunk(json, &mut said);
            said
        }
        Answer::Events(events) => stream(events),
    }
}

fn stream(events: &[EventView<'_>]) -> Extracted {
    let mut said = Extracted::default();
    let hints = [Hint::new("\"usage\""), Hint::new("\"finish_reason\"")];
    let error = Hint::new("\"error\"");
    for event in events {
        if event.name == "error" {
            failure::in_event(event).into_iter().for_each(|failure| said.fail(failure));
            continue;
        }
        let Some(json) = event.data.json() else { continue };
        // Nearly all chunks hold one more word of text and nothing that is looked for here.
        let may_matter = || hints.iter().any(|hint| hint.is_in(json)) || error.is_mentioned_in(json);
        if said.model.is_none() || may_matter() || Hint::is_blind(json) {
            chunk(json, &mut said);
        }
    }
    said
}

/// Reads a chunk, or a whole answer, which has the same members. What a later chunk says counts, but for the model.
fn chunk(json: &str, said: &mut Extracted) {
    let mut own = Usage::default();
    // Groq's (`x_groq.usage`) and Moonshot's (`choices[i].usage`) place for what others put at the top.
    let mut elsewhere = Usage::default();
    let mut is_error = false;
    members(json, |name, value| match name {
        "model" if said.model.is_none() => said.model = text(value).map(Into::into),
        "usage" => own = of_object(value, Spelling::Prompt).unwrap_or(own),
        "x_groq" => members(value, |name, value| {
            if name == "usage" {
                elsewhere = later(elsewhere, of_object(value, Spelling::Prompt).unwrap_or_default());
            }
        }),
        "choices" => {
            let mut place = 0;
            elements(value, |value| {
                let choice = Choice::read(value, place);
                place += 1;
                elsewhere = later(elsewhere, choice.usage);
                if choice.index == 0 && choice.finish_reason.is_some() {
                    said.finish_reason = choice.finish_reason;
                }
            });
        }
        "error" => failure::in_member(value).into_iter().for_each(|failure| said.fail(failure)),
        "object" => is_error = value == "\"error\"",
        _ => {}
    });
    if is_error {
        failure::in_body(json).into_iter().for_each(|failure| said.fail(failure));
    }
    said.usage = later(said.usage, later(elsewhere, own));
}

struct Choice {
    index: i64,
    finish_reason: Option<String>,
    usage: Usage,
}

impl Choice {
    /// Reads the choice at this place in `choices`. Without an index of its own it is the one of its place.
    fn read(json: &str, place: i64) -> Choice {
        let mut choice = Choice { index: place, finish_reason: None, usage: Usage::default() };
        members(json, |name, value| match name {
            "index" => choice.index = count(value).unwrap_or(place),
            "finish_reason" => choice.finish_reason = text(value).map(Into::into),
            "usage" => choice.usage = of_object(value, Spelling::Prompt).unwrap_or_default(),
            _ => {}
        });
        choice
    }
}

#[cfg(test)]
mod tests {
    use super::Extracted;
    use crate::protocol::samples::{
        CHAT, Stream, any_json, counts, ends, read, read_status, read_stream, sample, words,
    };
    use crate::trace::view::{Answer, EventData, EventView};
    use proptest::prelude::*;

    #[test]
    fn a_whole_answer_gives_every_column() {
        let said = read(CHAT, r#"{"model":"gpt-4.1","stream":false}"#, Answer::Json(sample!("chat.json")));
        assert_eq!(counts(&said), [Some(19), Some(10), Some(29), Some(4), None, Some(3)]);
        assert_eq!(words(&said), (Some("gpt-4.1-2025-04-14"), Some(false), Some("stop"), None));
        assert_eq!(ends(&said), (false, false));
    }

    #[test]
    fn a_stream_gives_every_column() {
        let said =
            read_stream(CHAT, r#"{"model":"gpt-4o-mini","stream":true}"#, &Stream::of(sample!("chat.sse")), true);
        assert_eq!(counts(&said), [Some(19), Some(10), Some(29), Some(4), None, Some(3)]);
        assert_eq!(words(&said), (Some("gpt-4o-mini-2024-07-18"), Some(true), Some("stop"), None));
        assert_eq!(ends(&said), (true, true));
    }

    #[test]
    fn of_a_cut_stream_what_was_seen_counts() {
        let said = read_stream(CHAT, "", &Stream::of(sample!("chat.sse")).cut(3), false);
        assert_eq!(counts(&said), [None; 6]);
        assert_eq!(words(&said), (Some("gpt-4o-mini-2024-07-18"), Some(true), Some("stop"), None));
        assert_eq!(ends(&said), (false, false));
        let said = read_stream(CHAT, r#"{"model":"asked"}"#, &Stream::of("").cut(0), false);
        assert_eq!(words(&said), (Some("asked"), Some(true), None, None));
    }

    #[test]
    fn vendors_places_for_usage_are_known() {
        for chunk in [
            r#"{"choices":[],"x_groq":{"id":"r","usage":{"prompt_tokens":5,"completion_tokens":2}}}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":5,"completion_tokens":2}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":""}}],"usage":{"prompt_tokens":5,"completion_tokens":2}}"#,
            r#"{"\u0075sage":{"prompt_tokens":5,"completion_tokens":2}}"#,
        ] {
            let first = r#"data: {"model":"m","choices":[{"index":0,"delta":{"content":"a"}}]}"#;
            let text = format!("{first}\n\ndata: {chunk}\n\n");
            let said = read_stream(CHAT, "", &Stream::of(&text), true);
            assert_eq!(counts(&said)[..3], [Some(5), Some(2), Some(7)], "{chunk}");
        }
    }

    #[test]
    fn of_several_reports_the_last_counts() {
        let text = "data: {\"model\":\"\",\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1,\"total_tokens\":6}}\n\n\
                    data: {\"model\":\"m\",\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":9,\"total_tokens\":14}}\n\n\
                    data: {\"model\":\"n\",\"usage\":null}\n\n";
        let said = read_stream(CHAT, "", &Stream::of(text), true);
        assert_eq!(counts(&said)[..3], [Some(5), Some(9), Some(14)]);
        assert_eq!(said.model.as_deref(), Some("m"));
    }

    #[test]
    fn the_first_choice_says_why_it_ended() {
        let text = "data: {\"choices\":[{\"index\":1,\"finish_reason\":\"length\"}]}\n\n\
                    data: {\"choices\":[{\"index\":0,\"finish_reason\":\"tool_calls\"}]}\n\n\
                    data: {\"choices\":[{\"index\":1,\"finish_reason\":\"stop\"},{\"finish_reason\":\"\"}]}\n\n";
        let said = read_stream(CHAT, "", &Stream::of(text), true);
        assert_eq!(said.finish_reason.as_deref(), Some("tool_calls"));
    }

    #[test]
    fn an_error_in_a_stream_ends_it_without_making_it_done() {
        for event in [
            r#"data: {"error":{"message":"m","type":"None","code":"503"}}"#,
            "event: error\ndata: {\"error\":{\"message\":\"m\",\"code\":\"503\"}}",
            r#"data: {"object":"error","message":"m","code":503}"#,
        ] {
            let text = format!("data: {{\"model\":\"m\",\"choices\":[]}}\n\n{event}\n\n");
            let said = read_stream(CHAT, "", &Stream::of(&text), true);
            assert_eq!(said.error_type.as_deref(), Some("503"), "{event}");
            assert_eq!(ends(&said), (false, true), "{event}");
        }
    }

    #[test]
    fn azure_has_its_model_from_the_answer_else_from_the_path() {
        let target = "/openai/deployments/my-gpt/chat/completions?api-version=2024-10-21";
        let said = read(target, r#"{"messages":[]}"#, Answer::Json(sample!("chat.json")));
        assert_eq!(said.model.as_deref(), Some("gpt-4.1-2025-04-14"));
        let error = r#"{"error":{"code":"DeploymentNotFound","message":"m"}}"#;
        let said = read_status(target, r#"{"messages":[]}"#, Answer::Json(error), 404);
        assert_eq!(words(&said), (Some("my-gpt"), None, None, Some("DeploymentNotFound")));
    }

    #[test]
    fn wrong_types_are_absent_and_spoil_nothing() {
        let odd = r#"{"model":7,"choices":[3,null,{"finish_reason":{}}],"usage":{"prompt_tokens":"1","completion_tokens":2.5,
            "total_tokens":3},"x_groq":1e400,"error":"\ud800","model":"\ud800"}"#;
        let said = read(CHAT, r#"{"model":"asked","stream":"yes"}"#, Answer::Json(odd));
        assert_eq!(counts(&said), [None, None, Some(3), None, None, None]);
        assert_eq!(words(&said), (Some("asked"), None, None, None));
    }

    #[test]
    fn legacy_completions_are_read_alike() {
        let said = read("/v1/completions", "", Answer::Json(sample!("completions.json")));
        assert_eq!(counts(&said)[..3], [Some(5), Some(7), Some(12)]);
        assert_eq!(words(&said), (Some("gpt-3.5-turbo-instruct"), None, Some("length"), None));
        let stream = Stream::of(sample!("completions.sse"));
        let said = read_stream("/v1/completions", r#"{"stream":true}"#, &stream, true);
        assert_eq!(counts(&said)[..3], [Some(5), Some(7), Some(12)]);
        assert_eq!(words(&said), (Some("gpt-3.5-turbo-instruct"), Some(true), Some("length"), None));
        assert_eq!(ends(&said), (true, true));
    }

    proptest! {
        #[test]
        fn passing_over_chunks_loses_nothing(bodies in prop::collection::vec(any_json(), 1..12)) {
            // Once the model is known, chunks are passed over.
            let bodies = [vec![r#"{"model":"m"}"#.to_owned()], bodies].concat();
            let events: Vec<_> =
                bodies.iter().map(|body| EventView { name: "", data: EventData::Json(body) }).collect();
            let mut each = Extracted::default();
            bodies.iter().for_each(|body| super::chunk(body, &mut each));
            prop_assert_eq!(super::stream(&events), each);
        }
    }
}
