//! From a piece of a socket to its line and its row.
//!
//! A turn looks like the exchange that it would be over HTTP: its request is `req.body`, what the server sent are
//! `resp.events`. A part has no request, and the events of both sides. Every event says who sent it (`dir`), and
//! `ws` says which piece of which socket it is.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::derive::{Derived, Payload, body_json, derive};
use super::finalize::{self, FinalizeSettings, Finished};
use super::redacted::{Bodies, BodyState};
use super::texts_of;
use super::view::{Answer, EventView, TraceView};
use super::write;
use crate::client;
use crate::exchange::Exchange;
use crate::media;
use crate::protocol::Protocol;
use crate::recording::{Mark, Recording};
use crate::socket::{Origin, Piece, Sent, SocketData, SocketEvent, SocketTrace, TurnEnd};
use crate::wire::json;
use crate::wire::websocket::Side;

/// The line and row of a piece of a socket; `exchange` is that of the trace, with what plugins made of it. As [`finalize()`](super::finalize()), it never fails.
pub fn finalize_piece(trace: &SocketTrace, exchange: Exchange, settings: &FinalizeSettings) -> Finished {
    let (request, events): (Option<&SocketData>, &[SocketEvent]) = match &trace.piece {
        Piece::Turn(turn) => (turn.request.as_ref(), &turn.events),
        Piece::Part(part) => (None, &part.events),
        Piece::Unread(_) => return finalize_piece_raw(trace, exchange),
    };
    let mut redacting = Bodies::of(&exchange.applied.redactor, trace.piece.held_bytes());
    let redacted_request = request.and_then(|data| redacting.message(data));
    let request_state = if redacted_request.is_some() { BodyState::Redacted } else { BodyState::Verbatim };
    let (events, response_state) = redacting.messages(events);
    let protocol = Protocol::of(&exchange.method, &exchange.target);
    let key = finalize::key_of(&exchange);
    let client = client::address(&exchange.request_headers, exchange.peer, &settings.trusted_proxies);
    let mut line = String::with_capacity(2048 + trace.piece.held_bytes());
    let end_name = finalize::head(&mut line, &exchange, &client, key, protocol);
    let mut facts = finalize::facts(&exchange, client, key);
    let mut parse_errors = 0;

    write::open_side(&mut line, "req", &exchange.request_headers, exchange.request.wire_bytes);
    write::body_state(&mut line, request_state);
    let mut request_json = None;
    match redacted_request.as_ref().or(request) {
        Some(SocketData::Json(text)) => request_json = Some(write::json_body(&mut line, trimmed(text))),
        Some(SocketData::Text(text)) => {
            parse_errors += 1;
            write::raw_body(&mut line, text.as_bytes(), Some("invalid JSON: the message is not whole"));
        }
        Some(SocketData::Binary(_) | SocketData::Close { .. }) | None => {
            write::member(&mut line, "body");
            line.push_str("null");
        }
    }
    line.push('}');

    write::open_side(&mut line, "resp", &exchange.response_headers, exchange.response.wire_bytes);
    write::body_state(&mut line, response_state);
    let start_us = trace.start_us();
    let first = events.iter().find(|event| event.side == Side::Server);
    facts.first_event_ms = first.map(|event| delta_ms(event, start_us));
    if let Some(first_event_ms) = facts.first_event_ms {
        write::number_member(&mut line, "first_event_ms", first_event_ms);
    }
    let data = self::events(&mut line, &events, start_us);

    let (Derived { row, stream_done }, attachments) = {
        let payloads: Vec<Payload<'_>> = data.iter().map(|range| Payload::of(&line[range.clone()])).collect();
        let views: Vec<EventView<'_>> = payloads.iter().map(|payload| payload.event("")).collect();
        let request_headers = finalize::as_written(&exchange.request_headers);
        let response_headers = finalize::as_written(&exchange.response_headers);
        let view = TraceView {
            method: &exchange.method,
            target: &exchange.target,
            status: exchange.status,
            request_headers: &request_headers,
            response_headers: &response_headers,
            request_json: request_json.as_ref().and_then(|range| body_json(&line[range.clone()])),
            answer: Answer::Events(&views),
        };
        let attachments = if settings.extracts_media { media::attachments(protocol, &view) } else { Vec::new() };
        let mut derived = derive(facts, protocol, &view);
        derived.row.texts = settings.text_bytes.map(|most| texts_of(protocol, &view, most));
        (derived, attachments)
    };
    write::bool_member(&mut line, "stream_done", stream_done);
    let notes = redacting.into_notes(&exchange.applied.notes);
    finalize::tail(&mut line, &exchange, notes, row.disconnected);
    membership(&mut line, trace);
    line.push('}');
    if row.end != exchange.end {
        line.replace_range(end_name, row.end.name());
    }
    Finished { line: line.into_bytes(), row: row.into(), attachments, parse_errors, bodies_dropped: None }
}

/// The line and row of a piece that nobody could read, or on which a parser died: what there is of it, unread.
pub fn finalize_piece_raw(trace: &SocketTrace, mut exchange: Exchange) -> Finished {
    let (request, events): (Option<&SocketData>, &[SocketEvent]) = match &trace.piece {
        Piece::Turn(turn) => (turn.request.as_ref(), &turn.events),
        Piece::Part(part) => (None, &part.events),
        Piece::Unread(_) => (None, &[]),
    };
    let mut add = |side, data: &SocketData, at_us| {
        let bytes = match data {
            SocketData::Json(text) | SocketData::Text(text) => text.as_bytes(),
            SocketData::Binary(bytes) => bytes,
            SocketData::Close { .. } => return,
        };
        let recording = match side {
            Side::Client => &mut exchange.request,
            Side::Server => &mut exchange.response,
        };
        keep(recording, bytes, at_us);
    };
    if let Some(request) = request {
        add(Side::Client, request, trace.start_us());
    }
    for event in events {
        add(event.side, &event.data, event.at_us);
    }
    if !matches!(trace.piece, Piece::Unread(_)) {
        // What stands there are messages, not the frames that passed: their digest would be of something else.
        (exchange.request.is_cut, exchange.response.is_cut) = (true, true);
    }
    let client = exchange.peer.to_string();
    finalize::raw(&exchange, client, |line| membership(line, trace))
}

/// Appends a message as a line of text.
fn keep(recording: &mut Recording, bytes: &[u8], at_us: u64) {
    if !recording.bytes.is_empty() {
        recording.bytes.push(b'\n');
    }
    recording.marks.push(Mark { offset: recording.bytes.len() as u64, at_us });
    recording.bytes.extend_from_slice(bytes);
}

fn delta_ms(event: &SocketEvent, start_us: u64) -> u64 {
    event.at_us.saturating_sub(start_us) / 1000
}

/// JSON without white space around it.
fn trimmed(json: &str) -> &str {
    json.trim_matches([' ', '\t', '\r', '\n'])
}

/// Appends `events`; where the `data` of each that the server sent stands. An empty list is left out.
fn events(out: &mut String, events: &[SocketEvent], start_us: u64) -> Vec<Range<usize>> {
    let mut data = Vec::with_capacity(events.len());
    for (rank, event) in events.iter().enumerate() {
        if rank == 0 {
            write::member(out, "events");
        }
        out.push(if rank == 0 { '[' } else { ',' });
        let range = self::event(out, event, start_us);
        if event.side == Side::Server {
            data.push(range);
        }
    }
    if !events.is_empty() {
        out.push(']');
    }
    data
}

fn event(out: &mut String, event: &SocketEvent, start_us: u64) -> Range<usize> {
    out.push_str("{\"event\":\"\"");
    write::member(out, "data");
    let start = out.len();
    match &event.data {
        SocketData::Json(text) => json::embed(out, trimmed(text)),
        SocketData::Text(text) => json::write_string(out, text),
        SocketData::Binary(_) | SocketData::Close { .. } => out.push_str("null"),
    }
    let data = start..out.len();
    write::string_member(out, "dir", event.side.name());
    match &event.data {
        SocketData::Binary(bytes) => {
            write::number_member(out, "bytes", event.length);
            if !bytes.is_empty() {
                write::plain_member(out, "data_b64", STANDARD.encode(bytes));
            }
        }
        SocketData::Close { code, reason } => {
            write::member(out, "close");
            close(out, *code, reason);
        }
        SocketData::Json(_) | SocketData::Text(_) => {}
    }
    if let Some(damage) = event.damage {
        write::string_member(out, "damage", damage.name());
    }
    write::number_member(out, "t_delta_ms", delta_ms(event, start_us));
    out.push('}');
    data
}

fn close(out: &mut String, code: Option<u16>, reason: &str) {
    out.push_str("{\"code\":");
    match code {
        Some(code) => out.push_str(itoa::Buffer::new().format(code)),
        None => out.push_str("null"),
    }
    write::string_member(out, "reason", reason);
    out.push('}');
}

/// Appends `ws`: which piece of which socket it is, and what its events do not say.
pub(super) fn membership(out: &mut String, trace: &SocketTrace) {
    write::member(out, "ws");
    // An id needs no escaping.
    out.push_str(&format!("{{\"socket\":\"{}\"", trace.handshake.id));
    let mut is_last = false;
    match &trace.piece {
        Piece::Turn(turn) => {
            write::number_member(out, "turn", trace.number);
            if let Some(stream_id) = &turn.stream_id {
                write::string_member(out, "stream_id", stream_id);
            }
            write::string_member(out, "origin", origin(turn.origin));
            write::string_member(out, "end", turn_end(turn.end));
            if turn.unkept_events > 0 {
                write::number_member(out, "unkept_events", turn.unkept_events);
            }
        }
        Piece::Part(part) => {
            write::number_member(out, "part", trace.number);
            write::bool_member(out, "last", part.is_last);
            sent(out, "client", part.client);
            sent(out, "server", part.server);
            if part.unkept_binary > 0 {
                write::number_member(out, "unkept_binary", part.unkept_binary);
            }
            is_last = part.is_last;
        }
        Piece::Unread(_) => write::number_member(out, "unread", trace.number),
    }
    let summary = trace.ended.as_ref().and_then(|ended| ended.summary.as_ref());
    if let Some(summary) = summary {
        if let Some(event) = &summary.close
            && let SocketData::Close { code, reason } = &event.data
        {
            write::string_member(out, "closed_by", event.side.name());
            write::member(out, "close");
            close(out, *code, reason);
        }
        if is_last {
            for side in Side::ALL {
                let counts = summary.counts(side);
                write::member(out, if side == Side::Client { "client_total" } else { "server_total" });
                out.push_str("{\"bytes\":");
                out.push_str(itoa::Buffer::new().format(counts.wire_bytes));
                for (name, count) in [
                    ("frames", counts.frames),
                    ("messages", counts.messages),
                    ("pings", counts.pings),
                    ("pongs", counts.pongs),
                    ("damaged", counts.damaged),
                    ("missed_bytes", counts.missed_bytes),
                    ("unread_bytes", counts.unread_bytes),
                ] {
                    write::number_member(out, name, count);
                }
                if let Some(violation) = summary.violation(side) {
                    write::string_member(out, "violation", &violation.to_string());
                }
                out.push('}');
            }
        }
    }
    out.push('}');
}

fn sent(out: &mut String, name: &str, sent: Sent) {
    write::member(out, name);
    out.push_str("{\"text_messages\":");
    out.push_str(itoa::Buffer::new().format(sent.text_messages));
    write::number_member(out, "binary_messages", sent.binary_messages);
    write::number_member(out, "binary_bytes", sent.binary_bytes);
    out.push('}');
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Created => "created",
        Origin::Steered => "steered",
        Origin::Unseen => "unseen",
    }
}

fn turn_end(end: TurnEnd) -> &'static str {
    match end {
        TurnEnd::Completed => "completed",
        TurnEnd::Failed => "failed",
        TurnEnd::Incomplete => "incomplete",
        TurnEnd::Cancelled => "cancelled",
        TurnEnd::Error => "error",
        TurnEnd::Cut => "cut",
    }
}
