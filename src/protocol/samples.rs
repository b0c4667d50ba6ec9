//! Answers written out from the vendors' public API documentation, as traces for tests.

use proptest::prelude::*;

use super::{Extracted, Protocol, extract};
use crate::headers::Headers;
use crate::trace::view::{Answer, EventData, EventView, TraceView};

pub(super) const CHAT: &str = "/v1/chat/completions";
pub(super) const RESPONSES: &str = "/v1/responses";
pub(super) const MESSAGES: &str = "/v1/messages";
pub(super) const GEMINI: &str = "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse";

/// The text of `tests/fixtures/protocol/$name`.
macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/protocol/", $name))
    };
}
pub(super) use sample;

/// An exchange whose answer is a stream in the samples' plain form: an optional `event:`, one `data:`, a blank line.
pub(super) struct Stream<'a> {
    pub(super) events: Vec<EventView<'a>>,
    pub(super) saw_done: bool,
}

impl<'a> Stream<'a> {
    pub(super) fn of(text: &'a str) -> Stream<'a> {
        let mut stream = Stream { events: Vec::new(), saw_done: false };
        for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            let data = match field("data: ") {
                None => EventData::None,
                Some("[DONE]") => {
                    stream.saw_done = true;
                    continue;
                }
                Some(json) if serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok() => EventData::Json(json),
                Some(text) => EventData::Text(text),
            };
            stream.events.push(EventView { name: field("event: ").unwrap_or(""), data });
        }
        stream
    }

    /// The same without `event:` lines.
    pub(super) fn nameless(mut self) -> Stream<'a> {
        self.events.iter_mut().for_each(|event| event.name = "");
        self
    }

    /// The same, broken off behind its first `kept` events.
    pub(super) fn cut(mut self, kept: usize) -> Stream<'a> {
        self.events.truncate(kept);
        self.saw_done = false;
        self
    }
}

/// What an exchange at this target says that ended in order with status 200.
pub(super) fn read(target: &str, request: &str, answer: Answer<'_>) -> Extracted {
    read_status(target, request, answer, 200)
}

/// As [`read`], with this status.
pub(super) fn read_status(target: &str, request: &str, answer: Answer<'_>, status: u16) -> Extracted {
    extract(Protocol::of("POST", target), &view(target, request, answer, status, &Headers::new()), false, true)
}

/// As [`read`], for a stream, which may be cut.
pub(super) fn read_stream(target: &str, request: &str, stream: &Stream<'_>, ended_in_order: bool) -> Extracted {
    let answer = Answer::Events(&stream.events);
    let headers = Headers::new();
    let trace = view(target, request, answer, 200, &headers);
    extract(Protocol::of("POST", target), &trace, stream.saw_done, ended_in_order)
}

/// A trace with these parts.
pub(super) fn view<'a>(
    target: &'a str,
    request: &'a str,
    answer: Answer<'a>,
    status: u16,
    headers: &'a Headers,
) -> TraceView<'a> {
    TraceView {
        method: "POST",
        target,
        status: Some(status),
        request_headers: headers,
        response_headers: headers,
        request_json: Some(request).filter(|request| !request.is_empty()),
        answer,
    }
}

/// Prompt, completion, total, cached, cache creation, reasoning.
pub(super) fn counts(said: &Extracted) -> [Option<i64>; 6] {
    let usage = said.usage;
    [usage.prompt, usage.completion, usage.total, usage.cached, usage.cache_creation, usage.reasoning]
}

/// Model, stream, finish, error.
pub(super) fn words(said: &Extracted) -> (Option<&str>, Option<bool>, Option<&str>, Option<&str>) {
    (said.model.as_deref(), said.stream, said.finish_reason.as_deref(), said.error_type.as_deref())
}

pub(super) fn ends(said: &Extracted) -> (bool, bool) {
    (said.stream_done, said.answer_was_whole)
}

/// Any JSON value, with the names that the readers look for at every depth.
pub(super) fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1e400".to_owned()),
        Just(r#""\ud800""#.to_owned()),
        any::<bool>().prop_map(|it| it.to_string()),
        any::<i64>().prop_map(|it| it.to_string()),
        any::<f64>().prop_filter("finite", |it| it.is_finite()).prop_map(|it| it.to_string()),
        ".*".prop_map(|it| serde_json::to_string(&it).unwrap()),
        prop_oneof![
            Just("\"error\""),
            Just("\"message_start\""),
            Just("\"message_delta\""),
            Just("\"response.failed\"")
        ]
        .prop_map(str::to_owned),
    ];
    let name = prop_oneof![
        proptest::sample::select(vec![
            "model",
            "usage",
            "choices",
            "type",
            "error",
            "response",
            "message",
            "delta",
            "candidates",
            "usageMetadata",
            "finish_reason",
            "finishReason",
            "index",
            "status",
            "code",
            "prompt_tokens",
            "input_tokens",
            "total_tokens",
            "output_tokens",
            "promptFeedback",
            "blockReason",
            "x_groq",
            "object",
            "stop_reason",
            "session",
            "meta",
        ])
        .prop_map(|name| format!("{name:?}")),
        ".*".prop_map(|it| serde_json::to_string(&it).unwrap()),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((name.clone(), inner), 0..8).prop_map(|items| {
                let members: Vec<_> = items.into_iter().map(|(name, value)| format!("{name}:{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}
