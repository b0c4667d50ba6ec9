//! The one way from what a trace says to its row.

use std::borrow::Cow;

use crate::exchange::End;
use crate::ids::{KeyHash, TraceId, UnixMillis};
use crate::protocol::{self, Protocol};
use crate::trace::Row;
use crate::trace::asked::Asked;
use crate::trace::view::{EventData, EventView, TraceView};
use crate::{client, project, session};

/// What a line says beside its bodies and headers.
pub(crate) struct Facts {
    pub(crate) id: TraceId,
    pub(crate) ts_start: UnixMillis,
    pub(crate) ts_end: UnixMillis,
    pub(crate) client: String,
    pub(crate) upstream: String,
    pub(crate) end: End,
    pub(crate) disconnected: bool,
    pub(crate) truncated_req: bool,
    pub(crate) truncated_resp: bool,
    pub(crate) key: KeyHash,
    pub(crate) ttfb_ms: Option<u64>,
    pub(crate) first_event_ms: Option<u64>,
    pub(crate) req_bytes: Option<u64>,
    pub(crate) resp_bytes: Option<u64>,
    pub(crate) tags: Vec<String>,
    /// A nameless `[DONE]` was seen.
    pub(crate) saw_done: bool,
    /// The stream is known to have come to its end, whatever its events say.
    pub(crate) saw_terminator: bool,
}

/// What follows from a trace's content.
pub(crate) struct Derived {
    pub(crate) row: Row,
    /// The protocol's own terminator was seen.
    pub(crate) stream_done: bool,
}

/// Everything the index keeps, from what stands on the line. `media_count` is left at 0: it counts files.
pub(crate) fn derive(facts: Facts, protocol: Protocol, trace: &TraceView<'_>) -> Derived {
    let asked = Asked::of_text(trace.request_json);
    let said = protocol::extract_of(protocol, trace, &asked, facts.saw_done, !facts.disconnected);
    let stream_done = said.stream_done || facts.saw_terminator;
    // A client that leaves once the answer is over had all it wanted: nothing was aborted.
    let is_over = said.answer_was_whole || facts.saw_terminator;
    let (end, disconnected) = match facts.end {
        End::ClientGone if is_over => (End::Complete, false),
        end => (end, facts.disconnected),
    };
    let identity = client::identify(trace.request_headers);
    let (client_kind, client_version) =
        identity.map_or((None, None), |identity| (Some(identity.kind.to_owned()), identity.version));
    let row = Row {
        id: facts.id,
        ts_start: facts.ts_start,
        ts_end: facts.ts_end,
        client: facts.client,
        method: trace.method.to_owned(),
        path: client::redacted_target(trace.target).into_owned(),
        upstream: facts.upstream,
        status: trace.status.map_or(-1, i32::from),
        end,
        disconnected,
        truncated_req: facts.truncated_req,
        truncated_resp: facts.truncated_resp,
        protocol,
        model: said.model,
        stream: said.stream,
        usage: said.usage,
        finish_reason: said.finish_reason,
        error_type: said.error_type,
        key: facts.key,
        conversation: session::conversation_of(protocol, &asked, trace.answer),
        client_kind,
        client_version,
        client_project: project::project_of(protocol, &asked).map(|it| it.name),
        media_count: 0,
        ttfb_ms: facts.ttfb_ms,
        first_event_ms: facts.first_event_ms,
        req_bytes: facts.req_bytes,
        resp_bytes: facts.resp_bytes,
        tags: facts.tags,
        texts: None,
    };
    Derived { row, stream_done }
}

/// A body member's text, unless it says that there is nothing.
pub(crate) fn body_json(text: &str) -> Option<&str> {
    (text != "null").then_some(text)
}

/// An event's payload as the line tells it. On a line a JSON string is as good as text: the two look the same.
#[derive(Debug)]
pub(crate) enum Payload<'l> {
    None,
    Json(&'l str),
    Text(Cow<'l, str>),
}

impl<'l> Payload<'l> {
    /// From the verbatim text of an event's `data` member.
    pub(crate) fn of(data: &'l str) -> Payload<'l> {
        if data == "null" {
            return Payload::None;
        }
        let Some(inner) = data.strip_prefix('"') else { return Payload::Json(data) };
        if !inner.contains('\\') {
            return Payload::Text(Cow::Borrowed(inner.strip_suffix('"').unwrap_or(inner)));
        }
        // Half a surrogate pair is valid JSON but no text: then the spelling is all there is.
        serde_json::from_str::<String>(data).map_or(Payload::Text(data.into()), |text| Payload::Text(text.into()))
    }

    /// The event of this payload.
    pub(crate) fn event<'v>(&'v self, name: &'v str) -> EventView<'v> {
        let data = match self {
            Payload::None => EventData::None,
            Payload::Json(text) => EventData::Json(text),
            Payload::Text(text) => EventData::Text(text),
        };
        EventView { name, data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::Headers;
    use crate::trace::view::Answer;

    fn ended(end: End, answer: Answer<'_>, saw_terminator: bool) -> (End, bool) {
        let facts = Facts {
            id: TraceId::from_bytes([0; 16]),
            ts_start: UnixMillis(0),
            ts_end: UnixMillis(1),
            client: String::new(),
            upstream: String::new(),
            end,
            disconnected: end.is_disconnected(),
            truncated_req: false,
            truncated_resp: false,
            key: KeyHash::NONE,
            ttfb_ms: None,
            first_event_ms: None,
            req_bytes: None,
            resp_bytes: None,
            tags: Vec::new(),
            saw_done: false,
            saw_terminator,
        };
        let headers = Headers::new();
        let view = TraceView {
            method: "POST",
            target: "/",
            status: Some(200),
            request_headers: &headers,
            response_headers: &headers,
            request_json: None,
            answer,
        };
        let row = derive(facts, Protocol::Unknown, &view).row;
        (row.end, row.disconnected)
    }

    #[test]
    fn a_client_that_leaves_after_the_terminator_had_all() {
        assert_eq!(ended(End::ClientGone, Answer::Events(&[]), true), (End::Complete, false));
        assert_eq!(ended(End::ClientGone, Answer::Events(&[]), false), (End::ClientGone, true));
        assert_eq!(ended(End::ClientGone, Answer::Json("{}"), false), (End::ClientGone, true));
        for end in End::ALL.into_iter().filter(|&end| end != End::ClientGone) {
            assert_eq!(ended(end, Answer::Events(&[]), true), (end, end.is_disconnected()));
        }
    }

    #[test]
    fn a_payload_is_what_its_text_on_the_line_says() {
        let shown = |data| match Payload::of(data) {
            Payload::None => "none".to_owned(),
            Payload::Json(text) => format!("json {text}"),
            Payload::Text(text) => format!("text {text}"),
        };
        assert_eq!(shown("null"), "none");
        assert_eq!(shown("{}"), "json {}");
        assert_eq!(shown("12"), "json 12");
        assert_eq!(shown("\"a b\""), "text a b");
        assert_eq!(shown("\"a\\n\\u00e9\""), "text a\né");
        assert_eq!(shown("\"\\ud800\""), "text \"\\ud800\"");
    }
}
