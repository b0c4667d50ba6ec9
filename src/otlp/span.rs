//! One trace's line as one span.

use std::net::SocketAddr;

use super::attributes::Attributes;
use super::gen_ai::{self, Operation};
use super::ids::Context;
use super::proto::{CLIENT, ERROR, Event, Span, Status};
use super::{Shape, content};
use crate::config::Upstream;
use crate::exchange::End;
use crate::ids::UnixMillis;
use crate::jsonl::line::{BadLine, with_row};
use crate::trace::Row;
use crate::trace::view::TraceView;

const NANOS_OF_MILLI: u64 = 1_000_000;

/// The span of a line.
///
/// # Errors
/// It is no trace's line.
pub(super) fn of(line: &[u8], shape: &Shape) -> Result<Span, BadLine> {
    let look = |row: &Row, trace: &TraceView<'_>| span(row, trace, shape);
    match &shape.hidden {
        Some(hidden) => with_row(&hidden.line(line), look),
        None => with_row(line, look),
    }
}

fn span(row: &Row, trace: &TraceView<'_>, shape: &Shape) -> Span {
    let mut attributes = Attributes::default();
    let operation = gen_ai::describe(&mut attributes, row, trace);
    let failed = failure(row);
    attributes.text_if("error.type", failed.clone());
    http(&mut attributes, row);
    own(&mut attributes, row);
    if shape.with_text && operation.is_some() {
        content::describe(&mut attributes, row, trace);
    }
    let Context { trace_id, span_id, parent, state, flags } = Context::of(row.id, trace.request_headers);
    Span {
        trace_id: trace_id.to_vec(),
        span_id: span_id.to_vec(),
        trace_state: state,
        parent_span_id: parent.map_or_else(Vec::new, |it| it.to_vec()),
        name: name(operation, &row.method),
        kind: CLIENT,
        start_time_unix_nano: after(row.ts_start, 0),
        end_time_unix_nano: after(row.ts_end, 0).max(after(row.ts_start, 0)),
        attributes: attributes.0,
        events: events(row),
        // Unset is what a success has.
        status: failed.map(|_| Status { message: how_it_ended(row), code: ERROR }),
        flags,
    }
}

/// What the conventions call it; an exchange without a model by its method, for targets are too many to be names.
fn name(operation: Option<Operation>, method: &str) -> String {
    match operation {
        Some(Operation { name, model: Some(model) }) => format!("{name} {model}"),
        Some(Operation { name, model: None }) => name.to_owned(),
        None => method.to_owned(),
    }
}

/// A class of errors: the provider's own word, how else it ended, or the status.
fn failure(row: &Row) -> Option<String> {
    let by_end = || (row.end != End::Complete).then(|| row.end.name().to_owned());
    let by_status = || (row.status >= 400).then(|| row.status.to_string());
    row.error_type.clone().or_else(by_end).or_else(by_status)
}

fn how_it_ended(row: &Row) -> String {
    match (row.end, &row.error_type) {
        (End::Complete, Some(kind)) => kind.clone(),
        (End::Complete, None) => format!("answered with {}", row.status),
        (end, _) => end.name().to_owned(),
    }
}

fn http(attributes: &mut Attributes, row: &Row) {
    attributes.text("http.request.method", row.method.clone());
    // A query may hold anything; the path alone says what was asked.
    let path = row.path.split(['?', '#']).next().unwrap_or_default();
    attributes.text("url.path", path);
    if let Ok(Upstream { https, host, port, .. }) = row.upstream.parse() {
        attributes.text("url.scheme", if https { "https" } else { "http" });
        attributes.text("server.address", &*host);
        attributes.number("server.port", Some(port.into()));
    }
    // Of who was told by an address header the port is unknown.
    match row.client.parse::<SocketAddr>() {
        Ok(client) => {
            attributes.text("client.address", client.ip().to_string());
            attributes.number("client.port", Some(client.port().into()));
        }
        Err(_) => attributes.text_if("client.address", Some(row.client.clone()).filter(|it| !it.is_empty())),
    }
    attributes.number("http.response.status_code", (row.status > 0).then_some(row.status.into()));
    attributes.count("http.request.body.size", row.req_bytes);
    attributes.count("http.response.body.size", row.resp_bytes);
}

/// What no convention has a word for.
fn own(attributes: &mut Attributes, row: &Row) {
    attributes.text("api_log.trace.id", row.id.to_string());
    attributes.text("api_log.end", row.end.name());
    attributes.text("api_log.protocol", row.protocol.name());
    attributes.text("api_log.key_hash", row.key.to_string());
    attributes.text_if("api_log.model", row.model.clone());
    attributes.text_if("api_log.project", row.client_project.clone());
    attributes.text_if("api_log.client.kind", row.client_kind.clone());
    attributes.text_if("api_log.client.version", row.client_version.clone());
    attributes.texts("api_log.tags", row.tags.iter().cloned());
    attributes.flag("api_log.truncated.request", row.truncated_req);
    attributes.flag("api_log.truncated.response", row.truncated_resp);
}

/// Moments within the span.
fn events(row: &Row) -> Vec<Event> {
    let moments = [("api_log.response_head", row.ttfb_ms), ("api_log.first_event", row.first_event_ms)];
    let event = |(name, after_ms): (&str, Option<u64>)| {
        Some(Event { time_unix_nano: after(row.ts_start, after_ms?), name: name.to_owned() })
    };
    moments.into_iter().filter_map(event).collect()
}

/// Nanoseconds since 1970, so many milliseconds after a moment.
fn after(moment: UnixMillis, millis: u64) -> u64 {
    u64::try_from(moment.0).unwrap_or(0).saturating_add(millis).saturating_mul(NANOS_OF_MILLI)
}
