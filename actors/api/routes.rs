//! Which path is answered by whom. What asking for it needs stands in `scopes.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::http::header::ALLOW;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post, put};

use super::errors::Problem;
use super::finish::finish;
use super::{
    State, auth, bodies, config, export, health, index, inflight, media, metrics, plugins, ready, replay, retention,
    sessions, stats, tail, traces, viewer,
};

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
        .layer(axum::extract::DefaultBodyLimit::max(bodies::MOST_BYTES))
        .layer(middleware::from_fn(finish))
        .with_state(state)
}

/// What those are told whose connection is one too many; whoever asks how the recorder is gets an answer all the same.
pub(super) fn refusing(state: Arc<State>) -> Router {
    Router::new()
        .route("/healthz", open(health::healthz))
        .route("/readyz", open(ready::readyz))
        .fallback(|api: axum::extract::State<Arc<State>>| async move {
            api.callers_refused.fetch_add(1, Ordering::Relaxed);
            Problem::too_many_connections(api.parts.max_connections)
        })
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
