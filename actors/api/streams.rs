//! Answers that go on for as long as their caller likes, and end with the recorder.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use api_log::described::{self, Param};
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::FromRequestParts;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};
use schemars::{Schema, json_schema};
use tokio::sync::watch;

use super::State as Api;
use super::endpoint::{Input, Output, Reply, Schemas, Sketch};

/// A body that keeps something for as long as it is being sent: a lease, a place, whatever it reads from.
pub(super) struct Holding<T> {
    body: Body,
    _held: T,
}

impl<T: Send + Unpin + 'static> Holding<T> {
    /// The body, holding this.
    pub(super) fn body(body: Body, held: T) -> Body {
        Body::new(Holding { body, _held: held })
    }
}

impl<T: Send + Unpin> HttpBody for Holding<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a stream of events tells.
pub(crate) trait Events {
    /// The names of its events, and the data of each.
    fn events(schemas: &mut Schemas) -> Vec<(&'static str, Schema)>;
}

/// A stream of these events.
pub(crate) struct EventStream<E>(Response, PhantomData<E>);

impl<E> IntoResponse for EventStream<E> {
    fn into_response(self) -> Response {
        self.0
    }
}

impl<E: Events> Output for EventStream<E> {
    fn replies(schemas: &mut Schemas) -> Vec<Reply> {
        // Of the text some would say that it is a text, others that it is its events.
        let schema = json_schema!({"description": "Server-sent events; some of them are told by `x-api-log-events`."});
        let reply = Reply::new(200, "A stream of server-sent events.").of("text/event-stream", schema);
        vec![Reply { events: E::events(schemas), ..reply }]
    }
}

/// The event that a caller has heard last, as a browser tells it that connects again.
pub(crate) struct LastEventId(pub(crate) Option<HeaderValue>);

impl FromRequestParts<Arc<Api>> for LastEventId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<LastEventId, Infallible> {
        Ok(LastEventId(parts.headers.get("last-event-id").filter(|it| !it.is_empty()).cloned()))
    }
}

impl Input for LastEventId {
    fn sketch(sketch: &mut Sketch, _: &mut Schemas) {
        let about = "Goes on behind the event of this id.";
        sketch.headers.push(Param::new("Last-Event-ID", described::text, about));
    }
}

/// A stream of events that ends with the API at the latest: broken off then, so that nobody takes it for whole.
pub(super) fn events<E>(api: &Api, body: Body) -> EventStream<E> {
    let headers = [
        (CONTENT_TYPE.as_str(), "text/event-stream"),
        (CACHE_CONTROL.as_str(), "no-store"),
        ("x-accel-buffering", "no"),
    ];
    EventStream((headers, until_the_end(api, body)).into_response(), PhantomData)
}

/// A body that breaks off when the API ends.
pub(super) fn until_the_end(api: &Api, body: Body) -> Body {
    let mut ending = api.ending.subscribe();
    let ended = async move {
        // An error means that there is no API any more.
        let _ = ending.wait_for(|it| *it).await;
    };
    until(ended, "the recorder ends", body)
}

/// A body that breaks off when something has happened, for this reason.
pub(super) fn until(ended: impl Future<Output = ()> + Send + 'static, why: &'static str, body: Body) -> Body {
    Body::new(Ending { body, ended: Box::pin(ended), why })
}

struct Ending<F> {
    body: Body,
    ended: Pin<Box<F>>,
    why: &'static str,
}

impl<F: Future<Output = ()> + Send> HttpBody for Ending<F> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(axum::Error::new(self.why))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }
}

/// Whether the API ends; it may begin anew after a failure.
pub(crate) fn ending() -> watch::Sender<bool> {
    watch::Sender::new(false)
}
