//! Which path is answered by whom: the one list that both the server and the API's document are made of. What asking
//! needs stands in `scopes.rs`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::handler::Handler;
use axum::http::header::ALLOW;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{self, MethodRouter};

use super::endpoint::{Endpoint, INDEX, LINE, TRACE, Verb, get, on};
use super::errors::Problem;
use super::finish::finish;
use super::scopes::Needs;
use super::{
    State, auth, bodies, config, export, health, index, inflight, media, metrics, openapi, plugins, ready, replay,
    retention, sessions, stats, tail, traces, viewer,
};

/// Every route.
pub(super) fn endpoints() -> Vec<Endpoint> {
    use Verb::{Delete, Post, Put};
    const OVERRIDES: &[(u16, &str)] = &[(500, "override_write_failed"), (500, "server_error")];
    const BAD_PLUGINS: &[(u16, &str)] = &[
        (400, "missing_field"),
        (400, "bad_instance"),
        (400, "duplicate_id"),
        (400, "reload_failed"),
        (500, "override_read_failed"),
        (503, "busy"),
    ];
    vec![
        Endpoint::new("/", [get("root", "What this is.", health::root)]),
        Endpoint::new("/healthz", [get("health", "How the recorder fares.", health::healthz)]),
        Endpoint::new("/readyz", [get("ready", "Whether clients should be sent here.", ready::readyz)]),
        Endpoint::new("/metrics", [get("metrics", "The same figures for Prometheus.", metrics::metrics)]),
        Endpoint::new("/api/openapi.json", [get("openapi", "This document.", openapi::openapi)]),
        Endpoint::new("/api/traces", [get("listTraces", "Traces, newest first.", traces::list).fails(INDEX)]).indexed(),
        Endpoint::new(
            "/api/traces/{id}",
            [get("getTrace", "A trace: its row and its line.", traces::detail).fails(INDEX).fails(TRACE).fails(LINE)],
        )
        .indexed(),
        Endpoint::new(
            "/api/traces/{id}/replay",
            [get("replayTrace", "A recorded stream once more, as fast as it was.", replay::replay)
                .fails(&[(400, "invalid_param"), (400, "not_streaming"), (500, "trace_parse_failed")])
                .fails(INDEX)
                .fails(TRACE)
                .fails(LINE)],
        )
        .indexed(),
        Endpoint::new(
            "/api/tail",
            [get("tailTraces", "Traces as they are indexed, for as long as one listens.", tail::tail).fails(INDEX)],
        )
        .indexed(),
        Endpoint::new(
            "/api/export",
            [get("exportTraces", "Many traces in one file.", export::export).fails(&[
                (413, "export_too_large"),
                (500, "export_failed"),
                (503, "busy"),
                (503, "index_rebuilding"),
            ])],
        )
        .indexed(),
        Endpoint::new(
            "/api/media/{trace_id}/{idx}",
            [get("getAttachment", "An attachment, in whole or in part.", media::attachment).fails(INDEX).fails(TRACE)],
        )
        .indexed(),
        Endpoint::new(
            "/api/sessions",
            [get("listSessions", "Conversations, latest activity first.", sessions::list).fails(INDEX)],
        )
        .indexed(),
        Endpoint::new("/api/stats", [get("stats", "Counts, errors, tokens and times.", stats::stats).fails(INDEX)])
            .indexed(),
        Endpoint::new(
            "/api/inflight",
            [get("listInflight", "What is being forwarded, the oldest first.", inflight::list)
                .fails(&[(500, "server_error")])],
        ),
        Endpoint::new(
            "/api/inflight/{id}/events",
            [get("followInflight", "The events of an exchange as they arrive.", inflight::events).fails(&[
                (404, "not_found"),
                (500, "server_error"),
                (503, "busy"),
            ])],
        ),
        Endpoint::new("/api/index", [get("indexState", "How the index is.", index::index)]),
        Endpoint::new(
            "/api/index/rebuild",
            [on(Post, "rebuildIndex", "Begins a new index, or tells of the one that is being made.", index::rebuild)],
        ),
        Endpoint::new(
            "/api/config/media",
            [
                get("getMediaConfig", "Whether attachments are saved.", config::media),
                on(Put, "setMediaConfig", "Says whether attachments are saved.", config::set_media)
                    .fails(&[(400, "missing_field")])
                    .fails(OVERRIDES),
            ],
        ),
        Endpoint::new(
            "/api/config/retention",
            [
                get("getRetention", "The limits of what is kept.", retention::limits),
                on(Put, "setRetention", "Changes limits; what is not named stays.", retention::set_limits)
                    .fails(&[(400, "invalid_retention")])
                    .fails(OVERRIDES),
            ],
        ),
        Endpoint::new("/api/plugins/types", [get("pluginTypes", "What plugins there are.", plugins::types)]),
        Endpoint::new(
            "/api/config/plugins",
            [
                get("listPlugins", "The plugins in force.", plugins::list),
                on(Put, "replacePlugins", "These plugins in place of whatever was there.", plugins::replace)
                    .fails(BAD_PLUGINS)
                    .fails(OVERRIDES),
                on(Delete, "resetPlugins", "The configuration's plugins again.", plugins::remove)
                    .fails(BAD_PLUGINS)
                    .fails(OVERRIDES),
            ],
        ),
        Endpoint::new(
            "/api/config/plugins/{id}",
            [on(Put, "changePlugin", "Changes a plugin; what is not named stays.", plugins::patch)
                .fails(&[(404, "not_found")])
                .fails(BAD_PLUGINS)
                .fails(OVERRIDES)],
        ),
        // Without an id: the parameter is missing.
        Endpoint::new(
            "/api/config/plugins/",
            [on(Put, "changeNoPlugin", "Says that the id is missing.", plugins::patch_nothing)],
        )
        .unlisted(),
    ]
}

/// What answers them, and the viewer beside them.
pub(crate) fn router(state: Arc<State>) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints() {
        router = router.route(endpoint.path, methods(endpoint, &state));
    }
    router
        .merge(viewer::routes(&state.parts.viewer.public_path))
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found\n") })
        .layer(axum::extract::DefaultBodyLimit::max(bodies::MOST_BYTES))
        .layer(middleware::from_fn(finish))
        .with_state(state)
}

/// What those are told whose connection is one too many; whoever asks how the recorder is gets an answer all the same.
pub(super) fn refusing(state: Arc<State>) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints().into_iter().filter(|it| ["/healthz", "/readyz"].contains(&it.path)) {
        router = router.route(endpoint.path, methods(endpoint, &state));
    }
    router
        .fallback(|api: axum::extract::State<Arc<State>>| async move {
            api.callers_refused.fetch_add(1, Ordering::Relaxed);
            Problem::too_many_connections(api.parts.max_connections)
        })
        .layer(middleware::from_fn(finish))
        .with_state(state)
}

/// What answers one of them. The method is looked at first, then the token: that a path exists is no secret.
fn methods(endpoint: Endpoint, state: &Arc<State>) -> MethodRouter<Arc<State>> {
    let allowed = endpoint.allowed();
    let needs = endpoint.needs();
    let mut methods = MethodRouter::new();
    for operation in endpoint.operations {
        methods = methods.merge(operation.route);
    }
    if endpoint.is_from_index {
        methods = methods.route_layer(middleware::from_fn_with_state(state.clone(), index::tell_standing));
    }
    methods = match needs {
        Needs::Nothing => methods,
        Needs::TokenIfConfigured => {
            methods.route_layer(middleware::from_fn_with_state(state.clone(), auth::require_for_metrics))
        }
        Needs::Scope(_) => methods.route_layer(middleware::from_fn_with_state(state.clone(), auth::require)),
    };
    methods.fallback(move || std::future::ready(wrong_method(&allowed)))
}

/// A route beside the API that anyone may read.
pub(super) fn open<H: Handler<T, Arc<State>>, T: 'static>(handler: H) -> MethodRouter<Arc<State>> {
    routing::get(handler).fallback(|| std::future::ready(wrong_method("GET, HEAD")))
}

fn wrong_method(allowed: &str) -> Response {
    let mut answer = (StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n").into_response();
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        answer.headers_mut().insert(ALLOW, allowed);
    }
    answer
}
