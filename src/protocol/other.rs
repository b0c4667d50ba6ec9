//! Answers whose protocol is not known, or has nothing to count: only how their streams end.

use super::Extracted;
use super::failure::{self, event_kind};
use crate::trace::view::Answer;

/// Reads the ends that any stream may have, whatever its path: Messages', Responses', an error.
pub(super) fn read(answer: Answer<'_>) -> Extracted {
    let mut said = Extracted::default();
    let Answer::Events(events) = answer else { return said };
    for event in events {
        match &*event_kind(event) {
            "message_stop" | "response.completed" => said.stream_done = true,
            "response.incomplete" | "response.failed" => said.answer_was_whole = true,
            "error" | "" => failure::in_event(event).into_iter().for_each(|failure| said.fail(failure)),
            _ => {}
        }
    }
    said
}
