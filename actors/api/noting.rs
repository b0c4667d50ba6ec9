//! Notes for the access log what an answer hands out, when it has ended, however it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use api_log::access::Bearer;
use api_log::access::entry::Entry;
use api_log::ids::{TraceId, UnixMillis};
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::Method;
use axum::http::header::CONTENT_LENGTH;
use axum::response::Response;
use http_body::{Frame, SizeHint};

use super::State as Api;
use super::access_log::AccessLog;
use super::server::Peer;

/// Which part of a path is the trace's id, in `/api/traces/{id}`, `/api/media/{trace_id}/{idx}` and the like.
const ID_AT: usize = 3;

/// What is known of a request before it is answered.
pub(super) struct Asked {
    at: UnixMillis,
    began: Instant,
    bearer: Bearer,
    client: String,
    method: Method,
    route: &'static str,
    trace: Option<TraceId>,
    query: Option<String>,
}

impl Asked {
    /// Of a request for this route, by whoever has this token.
    pub(super) fn of(api: &Api, request: &Request, route: &'static str, bearer: Bearer) -> Asked {
        let peer = request.extensions().get::<Peer>();
        let (method, uri) = (request.method().clone(), request.uri());
        let names_one = route.split('/').nth(ID_AT).is_some_and(|it| it.starts_with('{'));
        Asked {
            at: UnixMillis::now(),
            began: Instant::now(),
            bearer,
            client: peer.map_or_else(String::new, |peer| api.client(request.headers(), *peer)),
            method,
            route,
            trace: uri.path().split('/').nth(ID_AT).filter(|_| names_one).and_then(|it| it.parse().ok()),
            query: uri.query().map(str::to_owned),
        }
    }

    /// The answer, which is noted when it has ended.
    pub(super) fn answered(self, log: Arc<AccessLog>, answer: Response) -> Response {
        let (head, body) = answer.into_parts();
        let told = head.headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
        let noted = Noted {
            expected: told.or_else(|| body.size_hint().exact()),
            body,
            sent: 0,
            has_ended: false,
            status: head.status.as_u16(),
            asked: self,
            log,
        };
        Response::from_parts(head, Body::new(noted))
    }
}

/// An answer's body on its way.
struct Noted {
    body: Body,
    /// Bytes that were handed over, and will be.
    sent: u64,
    expected: Option<u64>,
    has_ended: bool,
    status: u16,
    asked: Asked,
    log: Arc<AccessLog>,
}

impl HttpBody for Noted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => self.sent += frame.data_ref().map_or(0, |it| it.len() as u64),
            Some(Err(_)) => {}
            None => self.has_ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        let asked = &self.asked;
        // The last of a body whose length is known is not asked for its end.
        let is_whole = self.has_ended || self.body.is_end_stream() || self.expected == Some(self.sent);
        self.log.note(&Entry {
            at: asked.at,
            token: &asked.bearer.name,
            scope: asked.bearer.scope.name(),
            client: &asked.client,
            method: asked.method.as_str(),
            route: asked.route,
            trace: asked.trace,
            query: asked.query.as_deref(),
            status: self.status,
            bytes: self.sent,
            ms: u64::try_from(asked.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            whole: is_whole || asked.method == Method::HEAD,
        });
    }
}
