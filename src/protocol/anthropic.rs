//! Anthropic Messages: one message, or the events of its making.

use super::Extracted;
use super::failure::{self, event_kind};
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
        "message_stop" => said.stream_done = true,
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
