//! Asks for the bearer token, compared in constant time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::State as Api;
use super::errors::Problem;

/// As [`require`], if `/metrics` is to ask for the token.
pub(crate) async fn require_for_metrics(state: State<Arc<Api>>, request: Request, next: Next) -> Response {
    match state.metrics_want_token.load(Ordering::Relaxed) {
        true => require(state, request, next).await,
        false => next.run(request).await,
    }
}

/// Lets a request through that carries the token; the prefix `Bearer ` is exact.
pub(crate) async fn require(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .unwrap_or_default();
    if bool::from(given.ct_eq(api.token.load().secret.as_bytes())) {
        next.run(request).await
    } else {
        Problem::unauthorized().into_response()
    }
}
