//! OpenAI Responses: one object, the events of its making, or a turn of a WebSocket, which has the same events.

use super::Extracted;
use super::failure::{self, event_kind, is_told_whole};
use super::json::{members, text};
use super::usage::{Spelling, later, of_object};
use crate::trace::view::{Answer, EventView};

/// Reads a `response` object, or the stream of events that tells of one. Only the event that ends it has its status
/// and its counts.
pub(super) fn read(answer: Answer<'_>) -> Extracted {
    let mut said = Extracted::default();
    match answer {
        Answer::None => {}
        Answer::Json(json) => response(json, &mut said, Reach::Whole),
        Answer::Events(events) => events.iter().for_each(|event| read_event(event, &mut said)),
    }
    said
}

/// What may be taken from a `response` object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// All that it says.
    Whole,
    /// Only what it is known for from the start: its model.
    Model,
}

fn read_event(event: &EventView<'_>, said: &mut Extracted) {
    let json = event.data.json().unwrap_or_default();
    match &*event_kind(event) {
        "response.created" | "response.in_progress" => nested(json, said, Reach::Model),
        "response.completed" => {
            said.stream_done |= is_told_whole(event);
            nested(json, said, Reach::Whole);
        }
        "response.incomplete" | "response.failed" => {
            said.answer_was_whole |= is_told_whole(event);
            nested(json, said, Reach::Whole);
        }
        "error" | "" => failure::in_event(event).into_iter().for_each(|failure| said.fail(failure)),
        _ => {}
    }
}

/// Reads the `response` that an event carries.
fn nested(json: &str, said: &mut Extracted, reach: Reach) {
    members(json, |name, value| {
        if name == "response" {
            response(value, said, reach);
        }
    });
}

fn response(json: &str, said: &mut Extracted, reach: Reach) {
    members(json, |name, value| match (name, reach) {
        ("model", _) => said.model = text(value).map(Into::into).or(said.model.take()),
        ("status", Reach::Whole) => said.finish_reason = text(value).map(Into::into),
        ("usage", Reach::Whole) => {
            said.usage = later(said.usage, of_object(value, Spelling::Input).unwrap_or_default());
        }
        ("error", Reach::Whole) => failure::in_member(value).into_iter().for_each(|failure| said.fail(failure)),
        _ => {}
    });
}

#[cfg(test)]
mod tests {
    use crate::protocol::samples::{RESPONSES, Stream, counts, ends, read, read_stream, sample, words};
    use crate::trace::view::Answer;

    #[test]
    fn a_whole_answer_gives_every_column() {
        let said = read(RESPONSES, r#"{"model":"gpt-4.1","input":"x"}"#, Answer::Json(sample!("responses.json")));
        assert_eq!(counts(&said), [Some(36), Some(87), Some(123), Some(8), None, Some(20)]);
        assert_eq!(words(&said), (Some("gpt-4.1"), None, Some("completed"), None));
    }

    #[test]
    fn a_stream_gives_every_column_with_and_without_names() {
        let named = Stream::of(sample!("responses.sse"));
        let nameless = Stream::of(sample!("responses.sse")).nameless();
        for stream in [named, nameless] {
            let said = read_stream(RESPONSES, r#"{"model":"gpt-4.1","stream":true}"#, &stream, true);
            assert_eq!(counts(&said), [Some(37), Some(11), Some(48), Some(8), None, Some(2)]);
            assert_eq!(words(&said), (Some("gpt-4.1"), Some(true), Some("completed"), None));
            assert_eq!(ends(&said), (true, true));
        }
    }

    #[test]
    fn of_a_cut_stream_what_was_seen_counts() {
        let said = read_stream(RESPONSES, "", &Stream::of(sample!("responses.sse")).cut(3), false);
        assert_eq!(counts(&said), [None; 6]);
        assert_eq!(words(&said), (Some("gpt-4.1-2025-04-14"), Some(true), None, None));
        assert_eq!(ends(&said), (false, false));
    }

    #[test]
    fn a_failed_or_incomplete_stream_tells_its_status_and_is_whole_but_not_done() {
        let failed = "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"id\":\"resp_1\",\
            \"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"m\"},\"model\":\"m\",\"usage\":null}}\n\n";
        let said = read_stream(RESPONSES, "", &Stream::of(failed), true);
        assert_eq!(words(&said), (Some("m"), Some(true), Some("failed"), Some("server_error")));
        assert_eq!(ends(&said), (false, true));

        let incomplete = "data: {\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\",\"error\":null,\
            \"incomplete_details\":{\"reason\":\"max_output_tokens\"},\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}}\n\n\
            data: {\"type\":\"unrelated\"}\n\n";
        let said = read_stream(RESPONSES, "", &Stream::of(incomplete), true);
        assert_eq!(counts(&said)[..3], [Some(3), Some(4), Some(7)]);
        assert_eq!(said.finish_reason.as_deref(), Some("incomplete"));
        assert_eq!(ends(&said), (false, true));
    }

    #[test]
    fn error_events_are_read_flat_and_nested() {
        for event in [
            r#"data: {"type":"error","code":"rate_limit","message":"m","param":null,"sequence_number":1}"#,
            r#"data: {"type":"error","status":400,"error":{"type":"rate_limit","message":"m"}}"#,
            r#"data: {"error":{"code":"rate_limit","message":"m"}}"#,
        ] {
            let text = format!("{event}\n\n");
            let said = read_stream(RESPONSES, "", &Stream::of(&text), true);
            assert_eq!(said.error_type.as_deref(), Some("rate_limit"), "{event}");
            assert_eq!(ends(&said), (false, true));
        }
    }

    #[test]
    fn a_sockets_request_may_nest_its_model() {
        let request = r#"{"type":"response.create","response":{"model":"gpt-5"}}"#;
        let said = read_stream(RESPONSES, request, &Stream::of(sample!("responses.sse")), true);
        assert_eq!(said.model.as_deref(), Some("gpt-5"));
    }
}
