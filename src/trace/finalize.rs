//! From an exchange to its line and its row, in one pass over the bytes.

use std::borrow::Cow;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ipnet::IpNet;

use super::applied;
use super::body::{Body, Form};
use super::derive::{Derived, Facts, Payload, body_json, derive};
use super::redacted::{self, Bodies, BodyState};
use super::row::Row;
use super::texts_of;
use super::view::{Answer, EventView, TraceView};
use super::without_bodies::BodiesDropped;
use super::write;
use crate::client;
use crate::exchange::{End, Exchange};
use crate::headers::{Headers, value_text};
use crate::ids::KeyHash;
use crate::media::{self, Attachment};
use crate::plugin::note::Note;
use crate::protocol::Protocol;
use crate::wire::decode::Limits;

/// What finalizing depends on beside the exchange.
#[derive(Clone, Debug, Default)]
pub struct FinalizeSettings {
    /// How far codings are undone.
    pub limits: Limits,
    /// From whom address headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether attachments are wanted.
    pub extracts_media: bool,
    /// How many bytes of text are wanted for searching, if any are.
    pub text_bytes: Option<usize>,
}

/// A trace, ready to be stored.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The line, without its newline.
    pub line: Vec<u8>,
    /// Its row; `media_count` is 0 until attachments are written. It outlives the line, which may be large.
    pub row: Arc<Row>,
    /// The attachments inside the bodies, if they are wanted.
    pub attachments: Vec<Attachment>,
    /// How many of the two bodies could not be read as what they claim to be (`parse_error`).
    pub parse_errors: u32,
    /// Why the bodies are not on the line, if they were left out.
    pub bodies_dropped: Option<BodiesDropped>,
}

/// The line and row of an exchange.
///
/// Never fails: a body that cannot be read stands on the line raw, with the reason beside it. The row is derived
/// from what is written, so that [`crate::jsonl::line::read_row`] gives the same one.
pub fn finalize(exchange: &Exchange, settings: &FinalizeSettings) -> Finished {
    let protocol = Protocol::of(&exchange.method, &exchange.target);
    let key = key_of(exchange);
    let client = client::address(&exchange.request_headers, exchange.peer, &settings.trusted_proxies);
    let is_whole = exchange.end == End::Complete;
    let request = Body::of(&exchange.request, &exchange.request_headers, settings.limits, is_whole);
    let response = Body::of(&exchange.response, &exchange.response_headers, settings.limits, is_whole);
    let mut redacting = Bodies::of(&exchange.applied.redactor, request.len() + response.len());
    let request_form = redacting.form(request.request_form(&exchange.request_headers));
    let response_form = redacting.form(response.response_form(&exchange.response_headers, protocol));
    let (request_form, request_state) = request_form;
    let (response_form, response_state) = response_form;

    let mut line = String::with_capacity(estimated_bytes(exchange, request.len(), response.len(), &response_form));
    let end_name = head(&mut line, exchange, &client, key, protocol);
    let mut facts = facts(exchange, client, key);
    let mut parse_errors = 0;

    write::side(&mut line, "req", &exchange.request_headers, &exchange.request, request.undone(), request_state);
    let mut request_json = None;
    match &request_form {
        Form::Json(text) => request_json = Some(write::json_body(&mut line, text)),
        form => parse_errors += other_body(&mut line, form),
    }
    trailers(&mut line, &exchange.request_trailers);
    line.push('}');

    write::side(&mut line, "resp", &exchange.response_headers, &exchange.response, response.undone(), response_state);
    let mut answer_json = None;
    let mut data = Vec::new();
    match &response_form {
        Form::Json(text) => answer_json = Some(write::json_body(&mut line, text)),
        Form::Events(streamed) => {
            (data, facts.first_event_ms) = write::events(&mut line, streamed);
            facts.saw_done = streamed.saw_done;
            facts.saw_terminator = streamed.is_closed_array;
        }
        form => parse_errors += other_body(&mut line, form),
    }

    let (Derived { row, stream_done }, attachments) = {
        let payloads: Vec<Payload<'_>> = data.iter().map(|range| Payload::of(&line[range.clone()])).collect();
        let events: Vec<EventView<'_>> = match &response_form {
            Form::Events(streamed) => {
                streamed.events.iter().zip(&payloads).map(|(event, payload)| payload.event(&event.name)).collect()
            }
            _ => Vec::new(),
        };
        let answer = match (&response_form, &answer_json) {
            (Form::Events(_), _) => Answer::Events(&events),
            (_, Some(range)) => body_json(&line[range.clone()]).map_or(Answer::None, Answer::Json),
            _ => Answer::None,
        };
        let request_headers = as_written(&exchange.request_headers);
        let response_headers = as_written(&exchange.response_headers);
        let view = TraceView {
            method: &exchange.method,
            target: &exchange.target,
            status: exchange.status,
            request_headers: &request_headers,
            response_headers: &response_headers,
            request_json: request_json.as_ref().and_then(|range| body_json(&line[range.clone()])),
            answer,
        };
        let attachments = if settings.extracts_media { media::attachments(protocol, &view) } else { Vec::new() };
        let mut derived = derive(facts, protocol, &view);
        derived.row.texts = settings.text_bytes.map(|most| texts_of(protocol, &view, most));
        (derived, attachments)
    };

    if matches!(response_form, Form::Events(_)) {
        write::bool_member(&mut line, "stream_done", stream_done);
    }
    tail(&mut line, exchange, redacting.into_notes(&exchange.applied.notes), row.disconnected);
    line.push('}');
    if row.end != exchange.end {
        line.replace_range(end_name, row.end.name());
    }
    Finished { line: line.into_bytes(), row: Arc::new(row), attachments, parse_errors, bodies_dropped: None }
}

/// The line and row of an exchange of which a parser died: bodies as they came, nothing of them read.
pub fn finalize_raw(exchange: &Exchange) -> Finished {
    raw(exchange, exchange.peer.to_string(), |_| ())
}

/// As [`finalize_raw`], with this client, and more members behind the others.
pub(super) fn raw(exchange: &Exchange, client: String, more: impl FnOnce(&mut String)) -> Finished {
    // Anything that reads what came from outside may be what died; each part falls back on its own.
    let key = catch_unwind(AssertUnwindSafe(|| key_of(exchange))).unwrap_or(KeyHash::NONE);
    let protocol = catch_unwind(AssertUnwindSafe(|| Protocol::of(&exchange.method, &exchange.target)))
        .unwrap_or(Protocol::Unknown);
    let mut line = String::with_capacity(2048 + (exchange.request.bytes.len() + exchange.response.bytes.len()) / 3 * 4);
    head(&mut line, exchange, &client, key, protocol);
    let mut parse_errors = 0;
    let sides = [
        ("req", &exchange.request_headers, &exchange.request, &exchange.request_trailers),
        ("resp", &exchange.response_headers, &exchange.response, &exchange.response_trailers),
    ];
    for (name, headers, recording, side_trailers) in sides {
        let state = redacted::state_of_raw(&exchange.applied.redactor, recording);
        write::side(&mut line, name, headers, recording, &[], state);
        let form = match recording.bytes.as_slice() {
            [] => Form::Empty,
            _ if state == BodyState::LeftOut => Form::Empty,
            bytes => Form::Raw { bytes, problem: Some("not read: the reader failed on this exchange".into()) },
        };
        parse_errors += other_body(&mut line, &form);
        if name == "req" {
            trailers(&mut line, side_trailers);
            line.push('}');
        }
    }
    tail(&mut line, exchange, Vec::new(), exchange.end.is_disconnected());
    more(&mut line);
    line.push('}');
    let row = catch_unwind(AssertUnwindSafe(|| {
        let request_headers = as_written(&exchange.request_headers);
        let response_headers = as_written(&exchange.response_headers);
        let view = TraceView {
            method: &exchange.method,
            target: &exchange.target,
            status: exchange.status,
            request_headers: &request_headers,
            response_headers: &response_headers,
            request_json: None,
            answer: Answer::None,
        };
        derive(facts(exchange, client, key), protocol, &view).row
    }))
    .unwrap_or_else(|_| bare_row(exchange, key, protocol));
    Finished {
        line: line.into_bytes(),
        row: Arc::new(row),
        attachments: Vec::new(),
        parse_errors,
        bodies_dropped: None,
    }
}

/// Members up to the request; where the name of the end stands.
pub(super) fn head(
    line: &mut String,
    exchange: &Exchange,
    client: &str,
    key: KeyHash,
    protocol: Protocol,
) -> Range<usize> {
    line.push_str("{\"id\":");
    let id = exchange.id.to_string();
    crate::wire::json::write_string(line, &id);
    write::number_member(line, "v", LINE_FORMAT);
    write::plain_member(line, "ts_start", exchange.ts_start);
    write::plain_member(line, "ts_end", exchange.ts_end);
    write::string_member(line, "client", client);
    write::string_member(line, "method", &exchange.method);
    write::string_member(line, "path", &exchange.target);
    write::string_member(line, "upstream", &exchange.upstream);
    write::number_member(line, "status", exchange.status.map_or(-1, i32::from));
    write::string_member(line, "end", exchange.end.name());
    // Between the quotes.
    let end_name = line.len() - 1 - exchange.end.name().len()..line.len() - 1;
    write::plain_member(line, "key_hash", key);
    write::string_member(line, "protocol", protocol.name());
    if let Some(ttfb_ms) = exchange.ttfb_ms {
        write::number_member(line, "ttfb_ms", ttfb_ms);
    }
    end_name
}

/// The line's format number (`v`).
const LINE_FORMAT: u32 = 1;

/// The response's end and the members behind it, with more that plugins did. Whoever calls closes the line.
pub(super) fn tail(line: &mut String, exchange: &Exchange, more_notes: Vec<Note>, disconnected: bool) {
    trailers(line, &exchange.response_trailers);
    line.push('}');
    write::bool_member(line, "disconnected", disconnected);
    write::bool_member(line, "truncated_req", exchange.request.is_cut);
    write::bool_member(line, "truncated_resp", exchange.response.is_cut);
    if let Some(error) = &exchange.error {
        write::string_member(line, "error", error);
    }
    applied::write(line, &exchange.applied, &more_notes);
}

/// Whose it is: told before anything was redacted, if something was.
pub(super) fn key_of(exchange: &Exchange) -> KeyHash {
    let told = exchange.applied.key;
    told.unwrap_or_else(|| client::key_hash(&exchange.request_headers, &exchange.target))
}

pub(super) fn trailers(line: &mut String, trailers: &Headers) {
    if !trailers.is_empty() {
        line.push(',');
        write::fields(line, "trailers", "trailers_list", trailers);
    }
}

/// A body that is neither JSON nor events; how many parse errors it tells.
pub(super) fn other_body(line: &mut String, form: &Form<'_>) -> u32 {
    match form {
        Form::Empty => {
            write::member(line, "body");
            line.push_str("null");
            0
        }
        Form::Raw { bytes, problem } => {
            write::raw_body(line, bytes, problem.as_deref());
            u32::from(problem.is_some())
        }
        Form::EmptyStream | Form::Json(_) | Form::Events(_) => 0,
    }
}

pub(super) fn facts(exchange: &Exchange, client: String, key: KeyHash) -> Facts {
    Facts {
        id: exchange.id,
        ts_start: exchange.ts_start,
        ts_end: exchange.ts_end,
        client,
        upstream: exchange.upstream.to_string(),
        end: exchange.end,
        disconnected: exchange.end.is_disconnected(),
        truncated_req: exchange.request.is_cut,
        truncated_resp: exchange.response.is_cut,
        key,
        ttfb_ms: exchange.ttfb_ms,
        first_event_ms: None,
        req_bytes: Some(exchange.request.wire_bytes),
        resp_bytes: Some(exchange.response.wire_bytes),
        tags: exchange.applied.tags.clone(),
        saw_done: false,
        saw_terminator: false,
    }
}

pub(super) fn bare_row(exchange: &Exchange, key: KeyHash, protocol: Protocol) -> Row {
    Row {
        id: exchange.id,
        ts_start: exchange.ts_start,
        ts_end: exchange.ts_end,
        client: exchange.peer.to_string(),
        method: exchange.method.to_string(),
        // Without its query: nothing is left that could take the secrets out of it.
        path: exchange.target.split('?').next().unwrap_or_default().to_owned(),
        upstream: exchange.upstream.to_string(),
        status: exchange.status.map_or(-1, i32::from),
        end: exchange.end,
        disconnected: exchange.end.is_disconnected(),
        truncated_req: exchange.request.is_cut,
        truncated_resp: exchange.response.is_cut,
        protocol,
        model: None,
        stream: None,
        usage: Default::default(),
        finish_reason: None,
        error_type: None,
        key,
        conversation: Default::default(),
        client_kind: None,
        client_version: None,
        client_project: None,
        media_count: 0,
        ttfb_ms: exchange.ttfb_ms,
        first_event_ms: None,
        req_bytes: Some(exchange.request.wire_bytes),
        resp_bytes: Some(exchange.response.wire_bytes),
        tags: exchange.applied.tags.clone(),
        texts: None,
    }
}

/// The headers as a reader of the line finds them: values that are not UTF-8 have become text there.
pub(super) fn as_written(headers: &Headers) -> Cow<'_, Headers> {
    if headers.iter().all(|(_, value)| std::str::from_utf8(value).is_ok()) {
        return Cow::Borrowed(headers);
    }
    let mut written = Headers::new();
    for (name, value) in headers.iter() {
        written.push(name, value_text(value).as_bytes());
    }
    Cow::Owned(written)
}

/// Enough for nearly every line, so that it is not moved while it grows.
fn estimated_bytes(exchange: &Exchange, request: usize, response: usize, response_form: &Form<'_>) -> usize {
    let fields = |headers: &Headers| headers.iter().map(|(name, value)| name.len() + value.len() + 6).sum::<usize>();
    let response = match response_form {
        Form::Events(streamed) => response + streamed.events.len() * 40,
        Form::Raw { .. } => response / 3 * 4,
        _ => response,
    };
    1024 + exchange.target.len()
        + fields(&exchange.request_headers)
        + fields(&exchange.response_headers)
        + request
        + response
}
