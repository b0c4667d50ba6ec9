//! Answers whose protocol is not known, or has nothing to count: only how their streams end.

use super::Extracted;
use super::failure::{self, event_kind, is_told_whole};
use crate::trace::view::Answer;

/// Reads the ends that any stream may have, whatever its path: Messages', Responses', an error.
pub(super) fn read(answer: Answer<'_>) -> Extracted {
    let mut said = Extracted::default();
    let Answer::Events(events) = answer else { return said };
    for event in events {
        match &*event_kind(event) {
            "message_stop" | "response.completed" => said.stream_done |= is_told_whole(event),
            "response.incomplete" | "response.failed" => said.answer_was_whole |= is_told_whole(event),
            "error" | "" => failure::in_event(event).into_iter().for_each(|failure| said.fail(failure)),
            _ => {}
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use crate::protocol::Extracted;
    use crate::protocol::samples::{CHAT, Stream, ends, read, read_status, read_stream, sample};
    use crate::trace::view::Answer;

    #[test]
    fn lists_of_models_say_nothing_but_their_errors() {
        let said = read("/v1/models", "", Answer::Json(sample!("models.json")));
        assert_eq!(said, Extracted::default());
        let said = read_status("/v1/models", "", Answer::Json(r#"{"error":{"type":"invalid_api_key"}}"#), 401);
        assert_eq!(said.error_type.as_deref(), Some("invalid_api_key"));
    }

    #[test]
    fn any_path_may_carry_the_common_terminators() {
        for sse in [sample!("messages.sse"), sample!("responses.sse")] {
            for target in ["/proxy/anything", CHAT, "/v1/embeddings"] {
                assert_eq!(ends(&read_stream(target, "", &Stream::of(sse), true)), (true, true), "{target}");
            }
            assert_eq!(ends(&read_stream("/any", "", &Stream::of(sse).nameless(), true)), (true, true));
        }
        assert_eq!(ends(&read_stream("/any", "", &Stream::of("data: [DONE]\n\n"), true)), (true, true));
    }

    #[test]
    fn a_terminator_in_which_the_stream_broke_off_is_none() {
        for sse in [
            "event: message_stop\ndata: {\"type\":\"mess",
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"resp",
            "event: response.failed\ndata: {",
            "event: image_generation.completed\ndata: {\"b64_json\":\"AAAA",
            "event: message_stop\n",
        ] {
            for target in ["/v1/messages", "/v1/responses", "/v1/images/generations", "/any"] {
                assert_eq!(ends(&read_stream(target, "", &Stream::of(sse), false)), (false, false), "{target} {sse}");
            }
        }
    }
}
