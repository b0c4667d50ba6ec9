//! Which path is answered by whom: the one list that both the server and the API's document are made of.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{ALLOW, CACHE_CONTROL, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use futures_util::FutureExt;

use super::endpoint::{Access, Endpoint, INDEX, LINE, TRACE, Verb, get, on};
use super::errors::Problem;
use super::{
    State, auth, config, export, health, index, inflight, media, metrics, openapi, plugins, ready, replay, retention,
    sessions, stats, tail, traces,
};

/// Largest body of any request, in bytes. Routes that take one say less.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Every route.
pub(super) fn endpoints() -> Vec<Endpoint> {
    use Access::{Changes, Metrics, Open, Reads};
    use Verb::{Delete, Post, Put};
    const TOO_LARGE: &[(u16, &str)] = &[(413, "body_too_large")];
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
        Endpoint::new("/", Open, [get("root", "What this is.", health::root)]),
        Endpoint::new("/healthz", Open, [get("health", "How the recorder fares.", health::healthz)]),
        Endpoint::new("/readyz", Open, [get("ready", "Whether clients should be sent here.", ready::readyz)]),
        Endpoint::new("/metrics", Metrics, [get("metrics", "The same figures for Prometheus.", metrics::metrics)]),
        Endpoint::new("/api/openapi.json", Open, [get("openapi", "This document.", openapi::openapi)]),
        Endpoint::new("/api/traces", Reads, [get("listTraces", "Traces, newest first.", traces::list).fails(INDEX)])
            .indexed(),
        Endpoint::new(
            "/api/traces/{id}",
            Reads,
            [get("getTrace", "A trace: its row and its line.", traces::detail).fails(INDEX).fails(TRACE).fails(LINE)],
        )
        .indexed(),
        Endpoint::new(
            "/api/traces/{id}/replay",
            Reads,
            [get("replayTrace", "A recorded stream once more, as fast as it was.", replay::replay)
                .fails(&[(400, "invalid_param"), (400, "not_streaming"), (500, "trace_parse_failed")])
                .fails(INDEX)
                .fails(TRACE)
                .fails(LINE)],
        )
        .indexed(),
        Endpoint::new(
            "/api/tail",
            Reads,
            [get("tailTraces", "Traces as they are indexed, for as long as one listens.", tail::tail).fails(INDEX)],
        )
        .indexed(),
        Endpoint::new(
            "/api/export",
            Reads,
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
            Reads,
            [get("getAttachment", "An attachment, in whole or in part.", media::attachment).fails(INDEX).fails(TRACE)],
        )
        .indexed(),
        Endpoint::new(
            "/api/sessions",
            Reads,
            [get("listSessions", "Conversations, latest activity first.", sessions::list).fails(INDEX)],
        )
        .indexed(),
        Endpoint::new(
            "/api/stats",
            Reads,
            [get("stats", "Counts, errors, tokens and times.", stats::stats).fails(INDEX)],
        )
        .indexed(),
        Endpoint::new(
            "/api/inflight",
            Reads,
            [get("listInflight", "What is being forwarded, the oldest first.", inflight::list)
                .fails(&[(500, "server_error")])],
        ),
        Endpoint::new(
            "/api/inflight/{id}/events",
            Reads,
            [get("followInflight", "The events of an exchange as they arrive.", inflight::events).fails(&[
                (404, "not_found"),
                (500, "server_error"),
                (503, "busy"),
            ])],
        ),
        Endpoint::new("/api/index", Reads, [get("indexState", "How the index is.", index::index)]),
        Endpoint::new(
            "/api/index/rebuild",
            Changes,
            [on(Post, "rebuildIndex", "Begins a new index, or tells of the one that is being made.", index::rebuild)],
        ),
        Endpoint::new(
            "/api/config/media",
            Changes,
            [
                get("getMediaConfig", "Whether attachments are saved.", config::media),
                on(Put, "setMediaConfig", "Says whether attachments are saved.", config::set_media)
                    .fails(&[(400, "missing_field")])
                    .fails(TOO_LARGE)
                    .fails(OVERRIDES),
            ],
        ),
        Endpoint::new(
            "/api/config/retention",
            Changes,
            [
                get("getRetention", "The limits of what is kept.", retention::limits),
                on(Put, "setRetention", "Changes limits; what is not named stays.", retention::set_limits)
                    .fails(&[(400, "invalid_retention")])
                    .fails(TOO_LARGE)
                    .fails(OVERRIDES),
            ],
        ),
        Endpoint::new("/api/plugins/types", Reads, [get("pluginTypes", "What plugins there are.", plugins::types)]),
        Endpoint::new(
            "/api/config/plugins",
            Changes,
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
            Changes,
            [on(Put, "changePlugin", "Changes a plugin; what is not named stays.", plugins::patch)
                .fails(&[(404, "not_found")])
                .fails(BAD_PLUGINS)
                .fails(OVERRIDES)],
        ),
        // Without an id: the parameter is missing.
        Endpoint::new(
            "/api/config/plugins/",
            Changes,
            [on(Put, "changeNoPlugin", "Says that the id is missing.", plugins::patch_nothing)],
        )
        .unlisted(),
    ]
}

/// What answers them.
pub(crate) fn router(state: Arc<State>) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints() {
        router = router.route(endpoint.path, methods(endpoint, &state));
    }
    router
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found\n") })
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(finish))
        .with_state(state)
}

/// What answers one of them. The method is looked at first, then the token: that a path exists is no secret.
fn methods(endpoint: Endpoint, state: &Arc<State>) -> MethodRouter<Arc<State>> {
    let allowed = endpoint.allowed();
    let mut methods = MethodRouter::new();
    for operation in endpoint.operations {
        methods = methods.merge(operation.route);
    }
    if endpoint.is_from_index {
        methods = methods.route_layer(middleware::from_fn_with_state(state.clone(), index::tell_standing));
    }
    methods = match endpoint.access {
        Access::Open => methods,
        Access::Metrics => {
            methods.route_layer(middleware::from_fn_with_state(state.clone(), auth::require_for_metrics))
        }
        Access::Reads | Access::Changes => {
            methods.route_layer(middleware::from_fn_with_state(state.clone(), auth::require))
        }
    };
    methods.fallback(move || std::future::ready(wrong_method(&allowed)))
}

fn wrong_method(allowed: &str) -> Response {
    let mut answer = (StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n").into_response();
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        answer.headers_mut().insert(ALLOW, allowed);
    }
    answer
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
