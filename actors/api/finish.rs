//! What every answer has in common: what browsers are told, bounds on heads, and that a panic is one answer's failure.

use std::any::Any;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

use super::errors::Problem;
use super::server::MAX_HEADER_BYTES;

/// Longest path and query, in bytes: a long `q` in any script fits, with each byte of it escaped.
const MOST_TARGET_BYTES: usize = 32 * 1024;

/// What every answer has in common; and a handler's panic is one answer's failure, not the server's.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    if request.uri().path_and_query().is_some_and(|it| it.as_str().len() > MOST_TARGET_BYTES) {
        return guarded(Problem::target_too_long(MOST_TARGET_BYTES).into_response());
    }
    // The connection's own bound is on what it reads at once, and only nearly this.
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    if fields.sum::<usize>() > MAX_HEADER_BYTES {
        return guarded(Problem::header_too_large(MAX_HEADER_BYTES).into_response());
    }
    let answer = async {
        fault!(await "api");
        next.run(request).await
    };
    let answered = std::panic::AssertUnwindSafe(answer).catch_unwind().await;
    guarded(answered.unwrap_or_else(|panic| {
        tracing::error!(panic = panic_text(&*panic), "an API handler panicked");
        Problem::server_panic().into_response()
    }))
}

/// What a browser must not do with an answer. An answer that says so itself knows better.
const GUARDS: [(HeaderName, HeaderValue); 7] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
];

fn guarded(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    for (name, value) in GUARDS {
        headers.entry(name).or_insert(value);
    }
    answer
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without text")
}
