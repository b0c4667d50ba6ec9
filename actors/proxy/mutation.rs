//! Requests and answers on their way through the mutators of their exchange.
//!
//! Whatever keeps a body from being rewritten (its size, its coding, a mutator that fails) lets it pass as it came.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use api_log::plugin::note::{Hook, Note};
use api_log::plugin::rewrite::{Mutators, Shape};
use api_log::wire::decode::{Coding, codings};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{self, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response};

use super::body::{Rest, Source};
use super::client::Client;
use super::heads;
use super::lane::Lane;
use crate::record::Share;

/// What tells of bytes that have become others.
pub(super) const OF_BYTES: [HeaderName; 6] = [
    header::CONTENT_ENCODING,
    header::ETAG,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// A message that went through the mutators.
pub(super) struct Passed<M> {
    /// The message, or its body.
    pub(super) message: M,
    /// Its head as it is sent on, if that differs.
    pub(super) head: Option<Vec<u8>>,
    /// What plugins did so far.
    pub(super) notes: Vec<Note>,
}

/// What came of gathering a body.
enum Gathered {
    Whole(Vec<u8>, Option<HeaderMap>),
    TooMuch(Vec<u8>, &'static str),
    Broken(Vec<u8>, hyper::Error),
}

/// Why a body passes as it came.
const TOO_LARGE: &str = "the body is larger than storage.max_body_bytes";
const NO_MEMORY: &str = "there is no memory for the body";
const UNDECODABLE: &str = "the stream cannot be decoded";
const UNKNOWN_CODING: &str = "the body is of an unknown coding";

/// The beginning of a body.
enum Beginning {
    Chunk(Vec<u8>),
    Trailers(HeaderMap),
    End,
    Broken(hyper::Error),
}

/// A request's body, of which the head was `head`; `fields` are changed with it.
///
/// # Errors
/// The client broke off.
pub(super) async fn request(
    mutators: &Mutators,
    mut body: Incoming,
    fields: &mut HeaderMap,
    head: &[u8],
    lane: &Rc<Lane>,
    client: &Client,
) -> Result<Passed<Source>, hyper::Error> {
    let as_it_is = |message, notes| Passed { message, head: None, notes };
    let most = lane.recorder.max_body_bytes.load(Ordering::Relaxed);
    let content_type = fields.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if body.is_end_stream() || !mutators.want_request(content_type) {
        return Ok(as_it_is(Source::Passing(body), Vec::new()));
    }
    let skipped = |why| mutators.passed_over(Hook::Before, why);
    if body.size_hint().lower() > most {
        return Ok(as_it_is(Source::Passing(body), skipped(TOO_LARGE)));
    }
    let Some(codings) = codings_of(fields) else {
        return Ok(as_it_is(Source::Passing(body), skipped(UNKNOWN_CODING)));
    };
    let is_sized = body.size_hint().exact().is_some();
    let mut share = Share::none(&lane.recorder.logs.memory);
    let (bytes, trailers) = match gather(&mut body, Vec::new(), most, &mut share, client).await {
        Gathered::Whole(bytes, trailers) => (bytes, trailers),
        Gathered::TooMuch(bytes, why) => {
            return Ok(as_it_is(Source::held(bytes, Rest::Incoming(body), is_sized, share), skipped(why)));
        }
        Gathered::Broken(_, error) => return Err(error),
    };
    // What is read from here on is the next head.
    client.expect_head();
    let outcome = mutators.request(&bytes, &codings, most);
    let Some(new) = outcome.body else {
        let body = Source::held(bytes, Rest::Trailers(trailers), is_sized, share);
        return Ok(Passed { message: body, head: None, notes: outcome.notes });
    };
    let head = heads::edited(head, &of_body(), Some(new.len() as u64));
    resize(fields, new.len());
    Ok(Passed { message: Source::held(new, Rest::Trailers(None), true, share), head: Some(head), notes: outcome.notes })
}

/// An answer that would be rewritten in this shape, of which the head was `head`.
pub(super) async fn answer(
    mutators: &Mutators,
    shape: Shape,
    answer: Response<Incoming>,
    head: Option<&[u8]>,
    lane: &Rc<Lane>,
    client: &Client,
) -> Passed<Response<Source>> {
    let most = lane.recorder.max_body_bytes.load(Ordering::Relaxed);
    let (mut parts, mut body) = answer.into_parts();
    let is_sized = body.size_hint().exact().is_some();
    let mut share = Share::none(&lane.recorder.logs.memory);
    let skipped = |why| mutators.passed_over(Hook::After, why);
    let Some(codings) = codings_of(&parts.headers) else {
        let message = Response::from_parts(parts, Source::Passing(body));
        return Passed { message, head: None, notes: skipped(UNKNOWN_CODING) };
    };
    let mut first = Vec::new();
    let mut shape = shape;
    // A stream in the clear begins at once; what is coded must show that it is, and one value that it is one.
    if shape == Shape::Whole || !codings.is_empty() {
        match beginning(&mut body, client).await {
            Beginning::Chunk(chunk) => first = chunk,
            Beginning::Trailers(fields) => return held(parts, first, Rest::Trailers(Some(fields)), is_sized, share),
            Beginning::End => return held(parts, first, Rest::Trailers(None), is_sized, share),
            Beginning::Broken(error) => return held(parts, first, Rest::Broken(Some(error)), is_sized, share),
        }
        share.grow_told(first.len() as u64);
        if codings.is_empty() {
            shape = mutators.shape_seen(shape, &first);
        }
    }
    if let Shape::Streamed(framing) = shape {
        let begun = mutators.stream(framing, &codings).and_then(|mut streams| {
            let ready = streams.push(&first).ok()?;
            Some((streams, ready))
        });
        let Some((mut streams, ready)) = begun else {
            let notes = skipped(UNDECODABLE);
            return Passed { notes, ..held(parts, first, Rest::Incoming(body), is_sized, share) };
        };
        let notes = streams.notes();
        let head = head.map(|head| heads::edited(head, &[&OF_BYTES[..], &[CONTENT_LENGTH]].concat(), None));
        without(&mut parts.headers, &[&OF_BYTES[..], &[CONTENT_LENGTH]].concat());
        let body = Source::rewriting(body, streams, ready, share);
        return Passed { message: Response::from_parts(parts, body), head, notes };
    }
    if body.size_hint().lower() + first.len() as u64 > most {
        let notes = skipped(TOO_LARGE);
        return Passed { notes, ..held(parts, first, Rest::Incoming(body), is_sized, share) };
    }
    let (bytes, trailers) = match gather(&mut body, first, most, &mut share, client).await {
        Gathered::Whole(bytes, trailers) => (bytes, trailers),
        Gathered::TooMuch(bytes, why) => {
            return Passed { notes: skipped(why), ..held(parts, bytes, Rest::Incoming(body), is_sized, share) };
        }
        Gathered::Broken(bytes, error) => return held(parts, bytes, Rest::Broken(Some(error)), is_sized, share),
    };
    let outcome = mutators.answer(&bytes, &codings, most);
    let Some(new) = outcome.body else {
        return Passed { notes: outcome.notes, ..held(parts, bytes, Rest::Trailers(trailers), is_sized, share) };
    };
    let head = head.map(|head| heads::edited(head, &of_body(), Some(new.len() as u64)));
    resize(&mut parts.headers, new.len());
    let body = Source::held(new, Rest::Trailers(None), true, share);
    Passed { message: Response::from_parts(parts, body), head, notes: outcome.notes }
}

/// An answer as it came, of which the beginning has been taken.
fn held(
    parts: hyper::http::response::Parts,
    first: Vec<u8>,
    rest: Rest,
    is_sized: bool,
    share: Share,
) -> Passed<Response<Source>> {
    let body = Source::held(first, rest, is_sized, share);
    Passed { message: Response::from_parts(parts, body), head: None, notes: Vec::new() }
}

/// Reads the beginning of a body.
async fn beginning(body: &mut Incoming, client: &Client) -> Beginning {
    while let Some(frame) = body.frame().await {
        client.touch(Instant::now());
        match frame.map(Frame::into_data) {
            Ok(Ok(chunk)) if chunk.is_empty() => {}
            // Copied: a held slice would pin hyper's read buffer.
            Ok(Ok(chunk)) => return Beginning::Chunk(chunk.to_vec()),
            Ok(Err(frame)) => return frame.into_trailers().map_or(Beginning::End, Beginning::Trailers),
            Err(error) => return Beginning::Broken(error),
        }
    }
    Beginning::End
}

/// Reads a body to its end behind `bytes`, as long as it is no larger than `most` and there is memory.
async fn gather(body: &mut Incoming, mut bytes: Vec<u8>, most: u64, share: &mut Share, client: &Client) -> Gathered {
    while let Some(frame) = body.frame().await {
        client.touch(Instant::now());
        match frame.map(Frame::into_data) {
            Ok(Ok(chunk)) => {
                bytes.extend_from_slice(&chunk);
                if bytes.len() as u64 > most {
                    return Gathered::TooMuch(bytes, TOO_LARGE);
                }
                if !share.grow(chunk.len() as u64) {
                    return Gathered::TooMuch(bytes, NO_MEMORY);
                }
            }
            Ok(Err(frame)) => return Gathered::Whole(bytes, frame.into_trailers().ok()),
            Err(error) => return Gathered::Broken(bytes, error),
        }
    }
    Gathered::Whole(bytes, None)
}

/// The codings of a body; `None` if one of them is unknown.
fn codings_of(fields: &HeaderMap) -> Option<Vec<Coding>> {
    codings(fields.get_all(header::CONTENT_ENCODING).iter().map(HeaderValue::as_bytes)).ok()
}

/// What a whole body that has become another has no longer: its trailers are gone too.
fn of_body() -> Vec<HeaderName> {
    [&OF_BYTES[..], &[header::TRAILER]].concat()
}

/// Tells of a body that it is plain and of this length.
fn resize(fields: &mut HeaderMap, length: usize) {
    without(fields, &of_body());
    fields.insert(CONTENT_LENGTH, length.into());
}

/// Removes fields. What is left keeps its order.
pub(super) fn without(fields: &mut HeaderMap, names: &[HeaderName]) {
    if names.iter().any(|name| fields.contains_key(name)) {
        let kept = fields.iter().filter(|(name, _)| !names.contains(name));
        *fields = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
    }
}
