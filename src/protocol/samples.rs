//! Answers written out from the vendors' public API documentation, as traces for tests.

use super::{Extracted, Protocol, extract};
use crate::headers::Headers;
use crate::trace::view::{Answer, EventData, EventView, TraceView};

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
