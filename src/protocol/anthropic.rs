//! Anthropic Messages: one message, or the events of its making.

use super::Extracted;
use super::failure::{self, event_kind, is_told_whole};
use super::json::{members, text};
use super::usage::{anthropic, later_unless_zero};
use crate::trace::Usage;
use crate::trace::view::{Answer, EventView};

/// Reads a message, or the stream of events that tells of one. `message_start` opens it with the model and the
/// prompt's counts; each `message_delta` has cumulative counts and at last the reason to stop.
pub(super) fn read(answer: Answer<'_>) -> Extracted {
    let mut said = Extracted::default();
    match answer {
        Answer::None => {}
        Answer::Json(json) => message(json, &mut said),
        Answer::Events(events) => events.iter().for_each(|event| read_event(event, &mut said)),
    }
    said
}

fn message(json: &str, said: &mut Extracted) {
    members(json, |name, value| match name {
        "model" => said.model = text(value).map(Into::into),
        "stop_reason" => said.finish_reason = text(value).map(Into::into),
        "usage" => said.usage = anthropic(value),
        "error" => failure::in_member(value).into_iter().for_each(|failure| said.fail(failure)),
        _ => {}
    });
}

fn read_event(event: &EventView<'_>, said: &mut Extracted) {
    let json = event.data.json().unwrap_or_default();
    match &*event_kind(event) {
        "message_start" => members(json, |name, value| {
            if name == "message" {
                opening(value, said);
            }
        }),
        "message_delta" => members(json, |name, value| match name {
            "delta" => members(value, |name, value| {
                if name == "stop_reason" {
                    said.finish_reason = text(value).map(Into::into).or(said.finish_reason.take());
                }
            }),
            "usage" => said.usage = later_unless_zero(said.usage, anthropic(value)),
            _ => {}
        }),
        "message_stop" => said.stream_done |= is_told_whole(event),
        "error" | "" => failure::in_event(event).into_iter().for_each(|failure| said.fail(failure)),
        _ => {}
    }
}

/// Reads the message as it stands at the stream's opening. Its `output_tokens` count what was written before the
/// first event, not the answer: of a stream cut before its first `message_delta` the completion is unknown.
fn opening(json: &str, said: &mut Extracted) {
    members(json, |name, value| match name {
        "model" if said.model.is_none() => said.model = text(value).map(Into::into),
        "usage" => {
            let prompt_only = Usage { completion: None, ..anthropic(value) };
            said.usage = later_unless_zero(said.usage, prompt_only);
        }
        _ => {}
    });
}

#[cfg(test)]
mod tests {
    use crate::headers::Headers;
    use crate::protocol::samples::{
        MESSAGES, Stream, counts, ends, read, read_status, read_stream, sample, view, words,
    };
    use crate::protocol::{Protocol, extract};
    use crate::trace::view::Answer;

    #[test]
    fn a_whole_answer_gives_every_column() {
        let said = read(MESSAGES, r#"{"model":"claude-sonnet-4-5"}"#, Answer::Json(sample!("messages.json")));
        assert_eq!(counts(&said), [Some(12), Some(6), Some(18), Some(200), Some(30), None]);
        assert_eq!(words(&said), (Some("claude-sonnet-4-5-20250929"), None, Some("end_turn"), None));
    }

    #[test]
    fn a_stream_gives_every_column_with_and_without_names() {
        let named = Stream::of(sample!("messages.sse"));
        let nameless = Stream::of(sample!("messages.sse")).nameless();
        for stream in [named, nameless] {
            let said = read_stream(MESSAGES, r#"{"stream":true}"#, &stream, true);
            assert_eq!(counts(&said), [Some(25), Some(15), Some(40), Some(200), Some(30), None]);
            assert_eq!(words(&said), (Some("claude-sonnet-4-5-20250929"), Some(true), Some("end_turn"), None));
            assert_eq!(ends(&said), (true, true));
        }
    }

    #[test]
    fn of_a_cut_stream_what_was_seen_counts() {
        let said = read_stream(MESSAGES, "", &Stream::of(sample!("messages.sse")).cut(4), false);
        assert_eq!(counts(&said), [Some(25), None, None, Some(200), Some(30), None]);
        assert_eq!(words(&said), (Some("claude-sonnet-4-5-20250929"), Some(true), None, None));
        assert_eq!(ends(&said), (false, false));
    }

    #[test]
    fn the_last_count_that_is_not_zero_counts() {
        let late = "data: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"usage\":{\"input_tokens\":0,\"output_tokens\":0,\"cache_read_input_tokens\":9}}}\n\n\
            data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"input_tokens\":25,\"output_tokens\":7,\"cache_read_input_tokens\":0}}\n\n\
            data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":null},\"usage\":{\"output_tokens\":0}}\n\n";
        let said = read_stream(MESSAGES, "", &Stream::of(late), true);
        assert_eq!(counts(&said), [Some(25), Some(7), Some(32), Some(9), None, None]);
        assert_eq!(said.finish_reason.as_deref(), Some("tool_use"));
    }

    #[test]
    fn errors_are_named_in_bodies_and_in_streams() {
        let body =
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#;
        let said = read_status(MESSAGES, r#"{"model":"claude","stream":true}"#, Answer::Json(body), 529);
        assert_eq!(words(&said), (Some("claude"), Some(true), None, Some("overloaded_error")));
        assert_eq!(ends(&said), (false, false));
        let said = read_stream(MESSAGES, "", &Stream::of(sample!("messages-error.sse")), true);
        assert_eq!(counts(&said)[..2], [Some(25), None]);
        assert_eq!(said.error_type.as_deref(), Some("overloaded_error"));
        assert_eq!(ends(&said), (false, true));
    }

    #[test]
    fn sub_resources_have_null_fields() {
        let said = read("/v1/messages/count_tokens", r#"{"model":"claude"}"#, Answer::Json(r#"{"input_tokens":14}"#));
        assert_eq!(counts(&said), [None; 6]);
        assert_eq!(words(&said), (Some("claude"), None, None, None));
    }

    #[test]
    fn bedrock_and_vertex_shapes_carry_the_same_bodies() {
        for (target, stream) in [
            ("/model/anthropic.claude-v2%3A1/invoke", None),
            ("/model/anthropic.claude-v2%3A1/invoke-with-response-stream", Some(true)),
            ("/v1/projects/P/locations/L/publishers/anthropic/models/claude@1:rawPredict", None),
            ("/v1/projects/P/locations/L/publishers/anthropic/models/claude@1:streamRawPredict", Some(true)),
        ] {
            let said = read(target, "{}", Answer::Json(sample!("messages.json")));
            assert_eq!(counts(&said)[..3], [Some(12), Some(6), Some(18)], "{target}");
            assert_eq!(said.stream, stream, "{target}");
        }
        let mut headers = Headers::new();
        headers.push("X-Amzn-ErrorType", b"ValidationException:http://internal.amazon.com/coral/");
        let target = "/model/anthropic.claude-v2%3A1/invoke";
        let trace = view(target, "{}", Answer::Json(r#"{"message":"m"}"#), 400, &headers);
        let said = extract(Protocol::Messages, &trace, false, true);
        assert_eq!(words(&said), (Some("anthropic.claude-v2:1"), None, None, Some("ValidationException")));
    }
}
