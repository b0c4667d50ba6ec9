//! What the recorder says of itself to anyone. Touches neither disk nor database.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use api_log::ids::UnixMillis;
use axum::extract::State;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::State as Api;
use super::errors::Answer;

/// `GET /`.
pub(crate) async fn root() -> impl IntoResponse {
    Answer(json!({
        "name": "api-log",
        "version": env!("CARGO_PKG_VERSION"),
        "viewer": "https://github.com/2nd1st/api-log-viewer",
        "api": "/api",
        "healthz": "/healthz",
        "docs": "every /api route wants Authorization: Bearer <token>; see README.md",
    }))
}

/// `GET /healthz`: 200 for as long as the process can answer. Whether it should get traffic is `/readyz`'s to say.
pub(crate) async fn healthz(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let parts = &api.parts;
    let children = parts.registry.snapshot();
    let troubles = children.troubles.iter();
    let degraded: Vec<Value> = troubles
        .map(|it| json!({"child": it.name, "reason": it.reason, "since": it.since.to_string()}))
        .chain(children.conditions.iter().map(|it| json!(it)))
        .collect();
    Answer(json!({
        "status": "ok",
        "degraded": degraded,
        "ready": super::ready::reasons(&api).is_empty(),
        "ts": UnixMillis::now().to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": api.started.elapsed().as_secs(),
        "counters": parts.counters.snapshot(),
        "ledger": parts.counters.ledger.snapshot(),
        "recording": parts.counters.recording.snapshot(),
        "supervision": children,
        "captures": {"arena": parts.logs.arena.report(), "recovery": parts.recovery.lock().state()},
        "index": super::index::health(&parts.shared.index),
        "bounds": parts.registry.bounds(),
        "connections": {
            "open": parts.front.open(),
            "accepted": parts.front.accepted.load(Ordering::Relaxed),
            "refused": parts.front.refused.load(Ordering::Relaxed),
            "accept_errors": parts.front.accept_errors.load(Ordering::Relaxed),
        },
        "api": {
            "unauthorized": api.turned_away.unauthorized.load(Ordering::Relaxed),
            "forbidden": api.turned_away.forbidden.load(Ordering::Relaxed),
            "connections_refused": api.callers_refused.load(Ordering::Relaxed),
            "access_log": parts.access_log.report(),
        },
        "reload": parts.last_reload.get(),
        "plugins": parts.plugins.report(),
        "viewer": parts.viewer.report(),
        "storage": parts.retention.report(),
        "otlp": parts.spans.report(),
    }))
}
