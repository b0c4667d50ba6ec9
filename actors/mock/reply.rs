//! How an answer leaves: whole or streamed, encoded, paced, and broken where that was wished for.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, VARY};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use hyper::ext::ReasonPhrase;
use serde_json::{Value, json};

use super::call::{Call, Cut};
use super::coding::{Coding, Encoder};
use super::wish::Fault;

/// Time for what was written to leave, before a connection is broken.
const BEFORE_BREAK: Duration = Duration::from_millis(50);

/// Whose form an error takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Vendor {
    OpenAi,
    Anthropic,
    Gemini,
}

/// A stream of an answer, parted so that it can be broken where a provider breaks.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) content_type: &'static str,
    /// Everything up to the protocol's last word.
    pub(super) events: Vec<Bytes>,
    /// The protocol's last word.
    pub(super) terminator: Vec<Bytes>,
    /// What the protocol says when it fails in the middle.
    pub(super) error: Bytes,
}

/// The content type of an event stream.
pub(super) const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

/// One event without a name.
pub(super) fn data(value: &Value) -> Bytes {
    format!("data: {value}\n\n").into()
}

/// One named event; without its name where `bare-events` was wished for.
pub(super) fn event(call: &Call, name: &str, value: &Value) -> Bytes {
    if call.wish.fault == Some(Fault::BareEvents) {
        return data(value);
    }
    format!("event: {name}\ndata: {value}\n\n").into()
}

/// OpenAI's last event.
pub(super) fn done() -> Bytes {
    Bytes::from_static(b"data: [DONE]\n\n")
}

/// An error in the vendor's form.
pub(super) fn error(call: &Call, vendor: Vendor, status: StatusCode, message: &str) -> Response {
    let mut response = whole(call, status, "application/json", error_body(call, vendor, status, message).to_string());
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if status.as_u16() == 529 {
        response.extensions_mut().insert(ReasonPhrase::from_static(b""));
    }
    response
}

/// The body of an error in the vendor's form.
pub(super) fn error_body(call: &Call, vendor: Vendor, status: StatusCode, message: &str) -> Value {
    match vendor {
        Vendor::OpenAi => json!({"error": {
            "message": message, "type": openai_type(status), "param": null, "code": openai_code(status)}}),
        Vendor::Anthropic => json!({"type": "error", "error": {
            "type": anthropic_type(status), "message": message}, "request_id": call.id("req_")}),
        Vendor::Gemini => json!({"error": {
            "code": status.as_u16(), "message": message, "status": gemini_status(status)}}),
    }
}

fn openai_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        429 => "requests",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

fn openai_code(status: StatusCode) -> Option<&'static str> {
    match status.as_u16() {
        401 => Some("invalid_api_key"),
        404 => Some("not_found"),
        429 => Some("rate_limit_exceeded"),
        _ => None,
    }
}

fn anthropic_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

fn gemini_status(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        500.. => "INTERNAL",
        _ => "INVALID_ARGUMENT",
    }
}

/// A JSON answer with status 200.
pub(super) fn json(call: &Call, value: &Value) -> Response {
    whole(call, StatusCode::OK, "application/json", value.to_string())
}

/// An answer whose bytes are all known.
pub(super) fn whole(call: &Call, status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Response {
    let is_json = content_type == "application/json";
    let coding = call.wish.coding.or((is_json && call.accepts_gzip()).then_some(Coding::Gzip));
    let bytes = match encode_whole(coding, bytes.into()) {
        Ok(bytes) => bytes,
        Err(error) => return cannot_encode(&error),
    };
    let length = HeaderValue::from(bytes.len());
    let body = match Break::wished(call) {
        None if call.wish.delay.is_none() => Body::from(bytes),
        broken => {
            let sent = if broken.is_some() { bytes.slice(..bytes.len() / 2) } else { bytes };
            play(call, vec![sent], Encoder::Identity, call.wish.delay.unwrap_or_default(), broken)
        }
    };
    let mut response = head(call, status, content_type, coding, body);
    response.headers_mut().insert(CONTENT_LENGTH, length);
    if is_json {
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    response
}

/// A streamed answer.
pub(super) fn stream(call: &Call, script: Script) -> Response {
    let Script { content_type, mut events, mut terminator, error } = script;
    let broken = Break::wished(call);
    let halved = broken.is_some() || call.wish.fault == Some(Fault::ErrorMidStream);
    if halved {
        events.truncate((events.len() / 2).max(1));
        terminator = if broken.is_some() { Vec::new() } else { vec![error] };
    }
    if call.wish.fault != Some(Fault::NoTerminator) {
        events.append(&mut terminator);
    }
    if call.wish.fault == Some(Fault::OneChunk) {
        events = vec![events.concat().into()];
    }
    let encoder = match Encoder::new(call.wish.coding) {
        Ok(encoder) => encoder,
        Err(error) => return cannot_encode(&error),
    };
    let status =
        if call.wish.fault == Some(Fault::Stream500) { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    let body = play(call, events, encoder, call.pause(), broken);
    let mut response = head(call, status, content_type, call.wish.coding, body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn head(call: &Call, status: StatusCode, content_type: &'static str, coding: Option<Coding>, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(coding) = coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    if let Ok(id) = HeaderValue::try_from(call.id("req_")) {
        // Anthropic's SDKs read the one, OpenAI's the other.
        headers.insert(HeaderName::from_static("request-id"), id.clone());
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    response
}

fn encode_whole(coding: Option<Coding>, bytes: Bytes) -> io::Result<Bytes> {
    if coding.is_none() {
        return Ok(bytes);
    }
    let mut encoder = Encoder::new(coding)?;
    let mut encoded = encoder.push(bytes)?.to_vec();
    encoded.extend_from_slice(&encoder.finish()?);
    Ok(encoded.into())
}

fn cannot_encode(error: &io::Error) -> Response {
    tracing::error!(%error, "the mock cannot encode its answer");
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

/// How a broken answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    Reset,
    Close,
    Silence,
}

impl Break {
    fn wished(call: &Call) -> Option<Self> {
        match call.wish.fault? {
            Fault::CutMidStream => Some(Self::Reset),
            Fault::CloseMidStream => Some(Self::Close),
            Fault::Stall => Some(Self::Silence),
            _ => None,
        }
    }
}

/// A body under way.
struct Play {
    pieces: std::vec::IntoIter<Bytes>,
    /// Gone once the coding's last bytes are out.
    encoder: Option<Encoder>,
    pause: Duration,
    broken: Option<Break>,
    cut: Cut,
}

fn play(call: &Call, pieces: Vec<Bytes>, encoder: Encoder, pause: Duration, broken: Option<Break>) -> Body {
    let pieces = pieces.into_iter();
    let play = Play { pieces, encoder: Some(encoder), pause, broken, cut: call.cut.clone() };
    Body::from_stream(futures_util::stream::try_unfold(play, |mut play| async move {
        let piece = play.next().await?;
        Ok::<_, io::Error>(piece.map(|piece| (piece, play)))
    }))
}

impl Play {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(piece) = self.pieces.next() {
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
            return match &mut self.encoder {
                Some(encoder) => Ok(Some(encoder.push(piece)?)),
                None => Ok(Some(piece)),
            };
        }
        match self.broken {
            None => self.last_bytes(),
            Some(Break::Silence) => std::future::pending().await,
            Some(end) => {
                tokio::time::sleep(BEFORE_BREAK).await;
                if end == Break::Reset {
                    self.cut.demand();
                }
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "broken off as wished"))
            }
        }
    }

    fn last_bytes(&mut self) -> io::Result<Option<Bytes>> {
        let Some(encoder) = self.encoder.take() else { return Ok(None) };
        let last = encoder.finish()?;
        Ok((!last.is_empty()).then_some(last))
    }
}
