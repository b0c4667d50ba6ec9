//! Answers that go on for as long as their caller likes, and end with the recorder.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use http_body::{Frame, SizeHint};
use tokio::sync::watch;

use super::State as Api;

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

/// A stream of events that ends with the API at the latest: broken off then, so that nobody takes it for whole.
pub(super) fn events(api: &Api, body: Body) -> Response {
    let headers = [
        (CONTENT_TYPE.as_str(), "text/event-stream"),
        (CACHE_CONTROL.as_str(), "no-store"),
        ("x-accel-buffering", "no"),
    ];
    (headers, until_the_end(api, body)).into_response()
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
