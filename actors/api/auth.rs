//! Asks for the bearer token, compared in constant time.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::State as Api;
use super::errors::Problem;

/// Lets a request through that carries the token; the prefix `Bearer ` is exact.
pub(crate) async fn require(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .unwrap_or_default();
    if bool::from(given.ct_eq(api.parts.token.secret.as_bytes())) {
        next.run(request).await
    } else {
        Problem::unauthorized().into_response()
    }
}
