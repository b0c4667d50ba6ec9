//! OpenAI Realtime: the events of a whole socket, in both directions, or the session objects made over HTTP.

use super::Extracted;
use super::failure::{self, event_kind};
use super::json::{member, members, text};
use super::usage::{Spelling, of_object, together, with_total};
use crate::trace::view::{Answer, EventView};

/// Reads the model of the session, and of every `response.done` the status and the counts, which are summed: a
/// socket carries many answers. Nothing ends such a stream but its socket, and an error event does not either.
pub(super) fn read(answer: Answer<'_>) -> Extracted {
    let mut said = Extracted::default();
    match answer {
        Answer::None => {}
        Answer::Json(json) => session_body(json, &mut said),
        Answer::Events(events) => events.iter().for_each(|event| read_event(event, &mut said)),
    }
    said.answer_was_whole = false;
    said
}

fn read_event(event: &EventView<'_>, said: &mut Extracted) {
    let json = event.data.json().unwrap_or_default();
    match &*event_kind(event) {
        "session.created" | "session.updated" => {
            let model = member(json, "session").and_then(|session| member(session, "model")).and_then(text);
            said.model = model.map(Into::into).or(said.model.take());
        }
        "response.done" => members(json, |name, value| {
            if name == "response" {
                response(value, said);
            }
        }),
        "error" => failure::in_event(event).into_iter().for_each(|failure| said.fail(failure)),
        _ => {}
    }
}

fn response(json: &str, said: &mut Extracted) {
    members(json, |name, value| match name {
        "status" => said.finish_reason = text(value).map(Into::into).or(said.finish_reason.take()),
        "usage" => {
            let usage = of_object(value, Spelling::Input).map(with_total).unwrap_or_default();
            said.usage = together(said.usage, usage);
        }
        _ => {}
    });
}

fn session_body(json: &str, said: &mut Extracted) {
    members(json, |name, value| match name {
        "model" => said.model = text(value).map(Into::into),
        "session" => {
            let model = member(value, "model").and_then(text);
            said.model = said.model.take().or(model.map(Into::into));
        }
        "error" => failure::in_member(value).into_iter().for_each(|failure| said.fail(failure)),
        _ => {}
    });
}

#[cfg(test)]
mod tests {
    use crate::protocol::samples::{Stream, counts, ends, read_stream, sample, words};

    #[test]
    fn a_realtime_socket_sums_its_answers() {
        let stream = Stream::of(sample!("realtime.sse"));
        let said = read_stream("/v1/realtime?model=gpt-realtime", "", &stream, true);
        assert_eq!(counts(&said), [Some(152), Some(131), Some(283), Some(70), None, None]);
        assert_eq!(words(&said), (Some("gpt-realtime"), Some(true), Some("cancelled"), None));
        assert_eq!(ends(&said), (false, false));
        let said = read_stream("/v1/realtime", "", &stream, true);
        assert_eq!(said.model.as_deref(), Some("gpt-realtime-2025-08-28"));
    }
}
