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
