//! Which protocol an exchange speaks, and what its bodies say: model, tokens, finish.
//!
//! [`Protocol::of`] asks the path (the table is in `path.rs`). [`extract`] hands the answer to the protocol's reader,
//! one file each; what holds for all of them (what the request asked for, totals, the common terminators, error
//! bodies) is done here. Every body and every event is read at most once, and only for the members that matter: time
//! is linear in the bytes, and a value of the wrong type costs nothing but itself.

mod path;

mod anthropic;
mod audio;
mod embeddings;
mod gemini;
mod images;
mod openai_chat;
mod openai_realtime;
mod openai_responses;
mod other;

mod closing;
mod failure;
mod json;
mod usage;

#[cfg(test)]
mod samples;

use crate::json::Json;
use crate::trace::Usage;
use crate::trace::asked::Asked;
use crate::trace::view::{Answer, TraceView};

/// What an exchange speaks, told by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI legacy Completions.
    Completions,
    /// OpenAI Responses.
    Responses,
    /// Anthropic Messages.
    Messages,
    /// Gemini `generateContent` and `streamGenerateContent`.
    Gemini,
    /// Embeddings of any vendor.
    Embeddings,
    /// OpenAI Images.
    Images,
    /// OpenAI Audio: speech, transcriptions, translations.
    Audio,
    /// OpenAI Realtime.
    Realtime,
    /// Lists of models.
    Models,
    /// Anything else.
    Unknown,
}

impl Protocol {
    /// Every protocol, in the order of the documentation.
    pub const ALL: [Protocol; 11] = [
        Protocol::Chat,
        Protocol::Completions,
        Protocol::Responses,
        Protocol::Messages,
        Protocol::Gemini,
        Protocol::Embeddings,
        Protocol::Images,
        Protocol::Audio,
        Protocol::Realtime,
        Protocol::Models,
        Protocol::Unknown,
    ];

    /// The protocol of a request, by the endpoint suffix of its target. Every method at an endpoint is of its family.
    pub fn of(_method: &str, target: &str) -> Protocol {
        path::protocol(target)
    }

    /// Whether a request's target itself asks for a stream (Gemini's verbs).
    pub fn asks_for_stream(target: &str) -> bool {
        path::asks_for_stream(target)
    }

    /// Its name on the line and in the index.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Chat => "chat",
            Protocol::Completions => "completions",
            Protocol::Responses => "responses",
            Protocol::Messages => "messages",
            Protocol::Gemini => "gemini",
            Protocol::Embeddings => "embeddings",
            Protocol::Images => "images",
            Protocol::Audio => "audio",
            Protocol::Realtime => "realtime",
            Protocol::Models => "models",
            Protocol::Unknown => "unknown",
        }
    }

    /// The protocol of this name.
    pub fn from_name(name: &str) -> Option<Protocol> {
        Protocol::ALL.into_iter().find(|protocol| protocol.name() == name)
    }
}

/// What an exchange's bodies say. What they do not say is `None`, never 0 or `""`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extracted {
    /// The model asked for or answering, by the protocol's rule.
    pub model: Option<String>,
    /// Whether a stream was asked for: by the request's body or path, or told by an answer of events.
    pub stream: Option<bool>,
    /// Token counts.
    pub usage: Usage,
    /// Why generation ended, in the protocol's own word.
    pub finish_reason: Option<String>,
    /// The provider's error type or code, if the answer is an error.
    pub error_type: Option<String>,
    /// The protocol's own terminator was seen.
    pub stream_done: bool,
    /// A stream's terminator, or the event that reports its failure, was seen: a client that left after it had all
    /// there was to have. Says nothing of answers that are no streams.
    pub answer_was_whole: bool,
}

impl Extracted {
    fn fail(&mut self, failure: failure::Failure) {
        self.answer_was_whole = true;
        if failure.kind.is_some() {
            self.error_type = failure.kind;
        }
    }
}

/// Reads what a trace says. `saw_done` tells that the stream held a `[DONE]`; `ended_in_order` that the
/// transport did not break (Gemini streams have no terminator of their own).
pub fn extract(protocol: Protocol, trace: &TraceView<'_>, saw_done: bool, ended_in_order: bool) -> Extracted {
    extract_of(protocol, trace, &Asked::of_text(trace.request_json), saw_done, ended_in_order)
}

/// As [`extract`], of a request that has been read.
pub(crate) fn extract_of(
    protocol: Protocol,
    trace: &TraceView<'_>,
    asked: &Asked<'_>,
    saw_done: bool,
    ended_in_order: bool,
) -> Extracted {
    let mut said = match protocol {
        Protocol::Chat | Protocol::Completions => openai_chat::read(trace.answer),
        Protocol::Responses => openai_responses::read(trace.answer),
        Protocol::Messages => anthropic::read(trace.answer),
        Protocol::Gemini => gemini::read(trace.answer, ended_in_order),
        Protocol::Embeddings => embeddings::read(trace.answer),
        Protocol::Images => images::read(trace.answer),
        Protocol::Audio => audio::read(trace.answer),
        Protocol::Realtime => openai_realtime::read(trace.answer),
        Protocol::Models | Protocol::Unknown => other::read(trace.answer),
    };
    said.model = model(protocol, trace.target, asked, said.model);
    said.usage = usage::with_total(said.usage);

    let is_streamed = saw_done || matches!(trace.answer, Answer::Events(_));
    let streams = is_streamed || path::asks_for_stream(trace.target);
    said.stream = asked.stream.map(Json::text).and_then(json::boolean).or(streams.then_some(true));

    said.stream_done |= saw_done || has_common_terminator(trace.answer);
    said.answer_was_whole = is_streamed && (said.answer_was_whole || said.stream_done);

    if trace.status.is_some_and(|status| status >= 400) && said.error_type.is_none() {
        said.error_type = error_of_answer(trace);
    }
    said
}

/// The model that a request asks for: in its body, else in its path; Gemini's stands in the path.
pub(crate) fn model_wanted(target: &str, asked: &Asked<'_>) -> Option<String> {
    model_asked(asked).or_else(|| path::model(target)).or_else(|| path::parameter(target, "model"))
}

/// The model that the request's body asks for, be it in what a socket's opening message nests.
fn model_asked(asked: &Asked<'_>) -> Option<String> {
    let nested = || asked.session.or(asked.response).and_then(|it| json::member(it.text(), "model"));
    let text = |value| json::text(value).map(Into::into);
    asked.model.map(Json::text).and_then(text).or_else(|| nested().and_then(text))
}

/// The model by the protocol's rule. A path names it last of all, but for Gemini, which says it nowhere else.
fn model(protocol: Protocol, target: &str, asked: &Asked<'_>, answered: Option<String>) -> Option<String> {
    let asked = || model_asked(asked);
    let in_path = || path::model(target);
    match protocol {
        Protocol::Chat | Protocol::Completions | Protocol::Messages => answered.or_else(asked).or_else(in_path),
        // What was asked for, not the snapshot that it was resolved to.
        Protocol::Responses | Protocol::Images | Protocol::Audio => asked().or(answered).or_else(in_path),
        Protocol::Gemini => in_path().or_else(asked).or(answered),
        Protocol::Embeddings => answered.or_else(in_path).or_else(asked),
        Protocol::Realtime => path::parameter(target, "model")
            .or_else(|| path::parameter(target, "deployment"))
            .or(answered)
            .or_else(asked),
        Protocol::Models | Protocol::Unknown => None,
    }
}

/// Whether an event is named as the end of a stream that any path may carry: gateways answer in protocols that their
/// paths do not tell.
fn has_common_terminator(answer: Answer<'_>) -> bool {
    let Answer::Events(events) = answer else { return false };
    let names = ["message_stop", "response.completed"];
    events.iter().any(|event| names.contains(&event.name) && failure::is_told_whole(event))
}

fn error_of_answer(trace: &TraceView<'_>) -> Option<String> {
    let in_body = match trace.answer {
        Answer::Json(json) => failure::in_body(json).and_then(|failure| failure.kind),
        Answer::None | Answer::Events(_) => None,
    };
    // Bedrock says it in a field: `ValidationException:http://…` (AWS restJson1, "operation error serialization").
    in_body.or_else(|| {
        let field = trace.response_headers.get_str("x-amzn-errortype")?;
        let word = field.split(':').next().unwrap_or_default().trim();
        (!word.is_empty()).then(|| word.to_owned())
    })
}

#[cfg(test)]
mod tests;
