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
        "docs": "every /api route wants Authorization: Bearer <admin_token>; see README.md",
    }))
}

/// `GET /healthz`: 200 for as long as the process can answer.
pub(crate) async fn healthz(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let parts = &api.parts;
    let children = parts.registry.snapshot();
    let degraded: Vec<Value> = children
        .children
        .iter()
        .filter_map(|child| {
            let (reason, since) = child.trouble()?;
            Some(json!({"child": child.name, "reason": reason, "since": since.to_string()}))
        })
        .chain(children.conditions.iter().map(|it| json!(it)))
        .collect();
    let ended = &parts.logs.intake.ended;
    Answer(json!({
        "status": "ok",
        "degraded": degraded,
        "ts": UnixMillis::now().to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": api.started.elapsed().as_secs(),
        "counters": parts.counters.snapshot(),
        "ledger": parts.counters.ledger.snapshot(),
        "recording": parts.counters.recording.snapshot(),
        "supervision": children,
        "queues": {
            "captures": {
                "bytes": parts.logs.memory.used(),
                "bytes_high_water": parts.logs.memory.high_water(),
                "bytes_limit": parts.logs.memory.limit(),
                "arena": parts.logs.arena.report(),
            },
            "ended": {"depth": ended.len(), "high_water": ended.high_water()},
            "spills": {"depth": parts.logs.intake.spills.len(), "high_water": parts.logs.intake.spills.high_water()},
            "held": {"depth": parts.shared.held.len()},
            "recovery": parts.recovery.lock().state(),
        },
        "index": super::index::health(&parts.shared.index),
        "connections": {
            "open": parts.front.open(),
            "accepted": parts.front.accepted.load(Ordering::Relaxed),
            "refused": parts.front.refused.load(Ordering::Relaxed),
            "accept_errors": parts.front.accept_errors.load(Ordering::Relaxed),
        },
        "viewer": {"enabled": false, "source": "disabled"},
        "storage": {
            "data_dir_bytes": 0,
            "max_bytes": 0,
            "max_age_days": 0,
            "usage_pct": 0,
            "state": "disabled",
            "engine_running": false,
            "eviction_cap_hit": false,
        },
    }))
}
