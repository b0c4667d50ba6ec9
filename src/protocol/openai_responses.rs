//! OpenAI Responses: one object, the events of its making, or a turn of a WebSocket, which has the same events.

use super::Extracted;
use super::failure::{self, event_kind};
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
            said.stream_done = true;
            nested(json, said, Reach::Whole);
        }
        "response.incomplete" | "response.failed" => {
            said.answer_was_whole = true;
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
