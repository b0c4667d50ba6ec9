//! Gemini `generateContent` and `streamGenerateContent`.

use super::Extracted;
use super::failure;
use super::json::{count, elements, members, text};
use super::usage::{gemini, later};
use crate::trace::view::Answer;

/// Reads one `GenerateContentResponse`, an array of them, or a stream of them. Counts are cumulative, repeated, and
/// may be missing early: of each the last counts. A stream has no terminator: it is done if it told why generation
/// ended and then `ended_in_order`.
pub(super) fn read(answer: Answer<'_>, ended_in_order: bool) -> Extracted {
    let mut reading = Reading::default();
    match answer {
        Answer::None => {}
        Answer::Json(json) if json.trim_ascii_start().starts_with('[') => {
            elements(json, |element| reading.element(element));
        }
        Answer::Json(json) => reading.element(json),
        Answer::Events(events) => {
            for event in events {
                if event.name == "error" {
                    failure::in_event(event).into_iter().for_each(|failure| reading.said.fail(failure));
                } else if let Some(json) = event.data.json() {
                    reading.element(json);
                }
            }
            reading.said.stream_done = reading.is_finished && ended_in_order;
        }
    }
    reading.finish()
}

#[derive(Default)]
struct Reading {
    said: Extracted,
    block_reason: Option<String>,
    /// Any candidate told why it ended, or the prompt was blocked.
    is_finished: bool,
}

impl Reading {
    fn element(&mut self, json: &str) {
        members(json, |name, value| match name {
            // The API of Gemini's own command line wraps each element.
            "response" => members(value, |name, value| self.member(name, value)),
            _ => self.member(name, value),
        });
    }

    fn member(&mut self, name: &str, value: &str) {
        match name {
            "candidates" => elements(value, |value| self.candidate(value)),
            "usageMetadata" | "usage_metadata" => self.said.usage = later(self.said.usage, gemini(value)),
            "modelVersion" | "model_version" => {
                self.said.model = text(value).map(Into::into).or(self.said.model.take());
            }
            "promptFeedback" | "prompt_feedback" => members(value, |name, value| {
                if let ("blockReason" | "block_reason", Some(reason)) = (name, text(value)) {
                    self.block_reason = Some(reason.into());
                    self.is_finished = true;
                }
            }),
            "error" => failure::in_member(value).into_iter().for_each(|failure| self.said.fail(failure)),
            _ => {}
        }
    }

    fn candidate(&mut self, json: &str) {
        let mut index = 0;
        let mut reason = None;
        members(json, |name, value| match name {
            "index" => index = count(value).unwrap_or(0),
            "finishReason" | "finish_reason" => reason = text(value),
            _ => {}
        });
        self.is_finished |= reason.is_some();
        if index == 0 && reason.is_some() {
            self.said.finish_reason = reason.map(Into::into);
        }
    }

    fn finish(mut self) -> Extracted {
        self.said.finish_reason = self.said.finish_reason.or(self.block_reason);
        let usage = &mut self.said.usage;
        if let (None, Some(prompt), Some(completion)) = (usage.total, usage.prompt, usage.completion) {
            // Thoughts are no part of the candidates' count but of the total.
            usage.total =
                prompt.checked_add(completion).and_then(|sum| sum.checked_add(usage.reasoning.unwrap_or_default()));
        }
        self.said
    }
}

#[cfg(test)]
mod tests {
    use crate::protocol::samples::{GEMINI, Stream, counts, ends, read, read_status, read_stream, sample, words};
    use crate::trace::view::Answer;

    #[test]
    fn a_whole_answer_gives_every_column() {
        let target = "/v1beta/models/gemini-2.5-flash:generateContent";
        let said = read(target, "{}", Answer::Json(sample!("gemini.json")));
        assert_eq!(counts(&said), [Some(8), Some(5), Some(713), Some(3), None, Some(700)]);
        assert_eq!(words(&said), (Some("gemini-2.5-flash"), None, Some("STOP"), None));
    }

    #[test]
    fn a_stream_gives_every_column_as_events_and_as_an_array() {
        let stream = Stream::of(sample!("gemini.sse"));
        let said = read_stream(GEMINI, "{}", &stream, true);
        assert_eq!(counts(&said), [Some(8), Some(5), Some(713), Some(3), None, Some(700)]);
        assert_eq!(words(&said), (Some("gemini-2.5-flash"), Some(true), Some("STOP"), None));
        assert_eq!(ends(&said), (true, true));

        let array = stream.events.iter().filter_map(|event| event.data.json()).collect::<Vec<_>>().join(",\n");
        let from_array = read(GEMINI, "{}", Answer::Json(&format!("[{array}]")));
        assert_eq!(counts(&from_array), counts(&said));
        assert_eq!(words(&from_array), words(&said));
    }

    #[test]
    fn of_a_cut_stream_what_was_seen_counts() {
        let said = read_stream(GEMINI, "{}", &Stream::of(sample!("gemini.sse")).cut(2), false);
        assert_eq!(counts(&said), [Some(8), Some(3), Some(711), None, None, Some(700)]);
        assert_eq!(words(&said), (Some("gemini-2.5-flash"), Some(true), None, None));
        assert_eq!(ends(&said), (false, false));
    }

    #[test]
    fn a_stream_is_done_only_if_it_told_why_and_ended_in_order() {
        let stream = Stream::of(sample!("gemini.sse"));
        assert_eq!(ends(&read_stream(GEMINI, "{}", &stream, false)), (false, false));
        let cut = Stream::of(sample!("gemini.sse")).cut(2);
        assert_eq!(ends(&read_stream(GEMINI, "{}", &cut, true)), (false, false));
    }

    #[test]
    fn a_blocked_prompt_ends_with_its_reason() {
        let blocked =
            r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":4,"totalTokenCount":4}}"#;
        let text = format!("data: {blocked}\n\n");
        let said = read_stream(GEMINI, "{}", &Stream::of(&text), true);
        assert_eq!(said.finish_reason.as_deref(), Some("SAFETY"));
        assert_eq!(ends(&said), (true, true));
    }

    #[test]
    fn a_missing_total_counts_the_thoughts() {
        let body = r#"{"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":1,"thoughtsTokenCount":7}}"#;
        assert_eq!(read(GEMINI, "{}", Answer::Json(body)).usage.total, Some(12));
    }

    #[test]
    fn snake_case_and_wrapped_elements_are_understood() {
        let snake = r#"{"candidates":[{"finish_reason":"STOP"}],"usage_metadata":{"prompt_token_count":4,"candidates_token_count":1}}"#;
        let wrapped = format!(r#"{{"response":{snake},"traceId":"t"}}"#);
        for body in [snake, &wrapped] {
            let said = read("/v1internal:generateContent", r#"{"model":"gemini-2.5-pro"}"#, Answer::Json(body));
            assert_eq!(counts(&said)[..3], [Some(4), Some(1), Some(5)], "{body}");
            assert_eq!(words(&said), (Some("gemini-2.5-pro"), None, Some("STOP"), None));
        }
    }

    #[test]
    fn errors_are_named_by_their_status_wherever_they_stand() {
        let error = r#"{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}"#;
        let array = format!("[{error}]");
        for body in [error, &array] {
            let said = read_status(GEMINI, "{}", Answer::Json(body), 429);
            assert_eq!(said.error_type.as_deref(), Some("RESOURCE_EXHAUSTED"), "{body}");
        }
        let text = format!("data: {error}\n\n");
        let said = read_stream(GEMINI, "{}", &Stream::of(&text), true);
        assert_eq!(said.error_type.as_deref(), Some("RESOURCE_EXHAUSTED"));
        assert_eq!(ends(&said), (false, true));
    }
}
