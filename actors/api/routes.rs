//! Which path is answered by whom.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::header::{ALLOW, CACHE_CONTROL, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post, put};
use futures_util::FutureExt;

use super::errors::Problem;
use super::{
    State, auth, config, export, health, index, inflight, media, metrics, plugins, ready, replay, retention, sessions,
    stats, tail, traces, viewer,
};

/// Largest body of any request, in bytes. Routes that take one say less.
const MAX_BODY_BYTES: usize = 1 << 20;

/// All routes.
pub(crate) fn router(state: Arc<State>) -> Router {
    // Answered from the index: they tell when it may be incomplete.
    let from_index = Router::new()
        .route("/api/traces", reads(traces::list, &state))
        .route("/api/traces/{id}", reads(traces::detail, &state))
        .route("/api/traces/{id}/replay", reads(replay::replay, &state))
        .route("/api/tail", reads(tail::tail, &state))
        .route("/api/export", reads(export::export, &state))
        .route("/api/media/{trace_id}/{idx}", reads(media::attachment, &state))
        .route("/api/sessions", reads(sessions::list, &state))
        .route("/api/stats", reads(stats::stats, &state))
        .route_layer(middleware::from_fn_with_state(state.clone(), index::tell_standing));
    let protected = Router::new()
        .merge(from_index)
        .route("/api/inflight", reads(inflight::list, &state))
        .route("/api/inflight/{id}/events", reads(inflight::events, &state))
        .route("/api/index", reads(index::index, &state))
        .route(
            "/api/index/rebuild",
            post(index::rebuild)
                .route_layer(middleware::from_fn_with_state(state.clone(), auth::require))
                .fallback(|| wrong_method("POST")),
        )
        .route(
            "/api/config/media",
            get(config::media)
                .put(config::set_media)
                .route_layer(middleware::from_fn_with_state(state.clone(), auth::require))
                .fallback(|| wrong_method("GET, HEAD, PUT")),
        )
        .route(
            "/api/config/retention",
            get(retention::limits)
                .put(retention::set_limits)
                .route_layer(middleware::from_fn_with_state(state.clone(), auth::require))
                .fallback(|| wrong_method("GET, HEAD, PUT")),
        )
        .route("/api/plugins/types", reads(plugins::types, &state))
        .route(
            "/api/config/plugins",
            get(plugins::list)
                .put(plugins::replace)
                .delete(plugins::remove)
                .route_layer(middleware::from_fn_with_state(state.clone(), auth::require))
                .fallback(|| wrong_method("DELETE, GET, HEAD, PUT")),
        )
        // Without an id: the parameter is missing.
        .route("/api/config/plugins/", changes(plugins::patch_nothing, &state))
        .route("/api/config/plugins/{id}", changes(plugins::patch, &state));
    Router::new()
        .route("/", open(health::root))
        .route("/healthz", open(health::healthz))
        .route("/readyz", open(ready::readyz))
        .route(
            "/metrics",
            open(metrics::metrics)
                .route_layer(middleware::from_fn_with_state(state.clone(), auth::require_for_metrics)),
        )
        .merge(protected)
        .merge(viewer::routes(&state.parts.viewer.public_path))
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found\n") })
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(finish))
        .with_state(state)
}

/// A route that anyone may read.
pub(super) fn open<H: Handler<T, Arc<State>>, T: 'static>(handler: H) -> MethodRouter<Arc<State>> {
    get(handler).fallback(|| wrong_method("GET, HEAD"))
}

/// A route that asks for the token. The method is looked at first: that a path exists is no secret.
fn reads<H: Handler<T, Arc<State>>, T: 'static>(handler: H, state: &Arc<State>) -> MethodRouter<Arc<State>> {
    get(handler)
        .route_layer(middleware::from_fn_with_state(state.clone(), auth::require))
        .fallback(|| wrong_method("GET, HEAD"))
}

/// A route that a PUT with the token changes something by.
fn changes<H: Handler<T, Arc<State>>, T: 'static>(handler: H, state: &Arc<State>) -> MethodRouter<Arc<State>> {
    put(handler)
        .route_layer(middleware::from_fn_with_state(state.clone(), auth::require))
        .fallback(|| wrong_method("PUT"))
}

async fn wrong_method(allowed: &'static str) -> impl IntoResponse {
    (StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, allowed)], "method not allowed\n")
}

/// What every answer has in common; and a handler's panic is one answer's failure, not the server's.
async fn finish(request: Request, next: Next) -> Response {
    let answer = async {
        fault!(await "api");
        next.run(request).await
    };
    let answered = std::panic::AssertUnwindSafe(answer).catch_unwind().await;
    let mut answer = answered.unwrap_or_else(|panic| {
        tracing::error!(panic = panic_text(&*panic), "an API handler panicked");
        Problem::server_panic().into_response()
    });
    let headers = answer.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(HeaderName::from_static("x-content-type-options"), HeaderValue::from_static("nosniff"));
    answer
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without text")
}
