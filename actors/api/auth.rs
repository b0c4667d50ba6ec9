//! Asks for the bearer token and its scope, as the table of routes says, and lets the answer be noted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use api_log::access::Scope;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::State as Api;
use super::errors::Problem;
use super::noting::Asked;
use super::scopes::{self, Gives, Needs};
use super::{bodies, streams};

/// Requests that were turned away.
#[derive(Default)]
pub(super) struct TurnedAway {
    /// Without a token that is accepted.
    pub(super) unauthorized: AtomicU64,
    /// With one whose scope is not enough.
    pub(super) forbidden: AtomicU64,
}

/// As [`require`], if `/metrics` is to ask for a token.
pub(crate) async fn require_for_metrics(state: State<Arc<Api>>, request: Request, next: Next) -> Response {
    match state.metrics_want_token.load(Ordering::Relaxed) {
        true => require(state, request, next).await,
        false => next.run(request).await,
    }
}

/// Lets a request through that carries a token of the scope that its route needs; the prefix `Bearer ` is exact. Its body
/// is taken only then.
pub(crate) async fn require(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let route = path.and_then(|path| scopes::of(request.method(), path.as_str()));
    let needed = match route.map(|it| it.needs) {
        Some(Needs::Nothing | Needs::TokenIfConfigured) => Scope::Viewer,
        Some(Needs::Scope(scope)) => scope,
        // Not in the table, so nobody has thought about it.
        None => Scope::Admin,
    };
    let bearer = match api.tokens.admit(token(request.headers())) {
        Ok(bearer) if bearer.scope.covers(needed) => bearer,
        Ok(bearer) => {
            api.turned_away.forbidden.fetch_add(1, Ordering::Relaxed);
            return Problem::forbidden(needed, bearer.scope).into_response();
        }
        Err(refused) => {
            api.turned_away.unauthorized.fetch_add(1, Ordering::Relaxed);
            return Problem::unauthorized(refused).into_response();
        }
    };
    let request = match *request.method() {
        // Theirs mean nothing, and are not waited for.
        Method::GET | Method::HEAD => request,
        _ => match bodies::gather(request, api.limits.load().read_header).await {
            Ok(request) => request,
            Err(refusal) => return *refusal,
        },
    };
    let gives = route.map_or(Gives::Nothing, |it| it.gives);
    let digest = bearer.digest;
    let asked = route
        .filter(|_| api.parts.access_log.is_on() && gives != Gives::Nothing)
        .map(|it| Asked::of(&api, &request, it.path, bearer));
    let mut answer = next.run(request).await;
    if gives == Gives::Stream && answer.status().is_success() {
        let lost = api.tokens.lost(digest);
        answer = answer.map(|body| streams::until(lost, "the token is not accepted any more", body));
    }
    match asked {
        Some(asked) => asked.answered(api.parts.access_log.clone(), answer),
        None => answer,
    }
}

/// The token as it was sent; empty without one.
fn token(headers: &HeaderMap) -> &[u8] {
    let sent = headers.get(AUTHORIZATION);
    sent.and_then(|value| value.as_bytes().strip_prefix(b"Bearer ")).unwrap_or_default()
}
