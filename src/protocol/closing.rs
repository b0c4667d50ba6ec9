//! Streams whose closing event has the members of the whole answer: Images, Audio.

use super::Extracted;
use super::failure::{self, event_kind, is_told_whole};
use super::json::{members, text};
use super::usage::{Spelling, later, of_object};
use crate::trace::view::Answer;

/// Reads the model and the counts of an answer, or of the events of a stream that are of a kind that closes one. What
/// other events carry (images, sound) is passed over.
pub(super) fn read(answer: Answer<'_>, closing: &[&str]) -> Extracted {
    let mut said = Extracted::default();
    match answer {
        Answer::None => {}
        Answer::Json(json) => body(json, &mut said),
        Answer::Events(events) => {
            for event in events {
                let kind = event_kind(event);
                if closing.contains(&&*kind) {
                    said.stream_done |= is_told_whole(event);
                    body(event.data.json().unwrap_or_default(), &mut said);
                } else if matches!(&*kind, "error" | "") {
                    failure::in_event(event).into_iter().for_each(|failure| said.fail(failure));
                }
            }
        }
    }
    said
}

fn body(json: &str, said: &mut Extracted) {
    members(json, |name, value| match name {
        "model" => said.model = text(value).map(Into::into),
        "usage" => said.usage = later(said.usage, of_object(value, Spelling::Input).unwrap_or_default()),
        "error" => failure::in_member(value).into_iter().for_each(|failure| said.fail(failure)),
        _ => {}
    });
}
