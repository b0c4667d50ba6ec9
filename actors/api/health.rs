//! What the recorder says of itself to anyone. Touches neither disk nor database.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use api_log::counters::{CountersSnapshot, LedgerSnapshot, RecordingSnapshot};
use api_log::ids::UnixMillis;
use api_log::viewer::standing::Report as Viewer;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::State as Api;
use super::access_log::Report as AccessLog;
use super::errors::Answer;
use crate::kit::{BoundReport, Raised, Report as Supervision};
use crate::plugins::Report as Plugins;
use crate::record::ArenaReport;
use crate::retention::Report as Storage;
use crate::system::Reload;

/// What this is, and where to go on.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Root {
    /// The program.
    name: &'static str,
    /// Its version.
    version: &'static str,
    /// Where the viewer's source is.
    viewer: &'static str,
    /// What the API's paths begin with.
    api: &'static str,
    /// How the recorder fares.
    healthz: &'static str,
    /// The API's document.
    openapi: &'static str,
    /// How to ask.
    docs: &'static str,
}

/// How the recorder fares.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Health {
    /// `ok`, for as long as the process can answer.
    status: &'static str,
    /// What is wrong.
    degraded: Vec<Degraded>,
    /// Whether clients should be sent here; `/readyz` says why not.
    ready: bool,
    /// Now.
    #[schemars(with = "UnixMillis")]
    ts: String,
    /// The program's version.
    version: &'static str,
    /// Since the start.
    uptime_seconds: u64,
    /// Since the start.
    counters: CountersSnapshot,
    /// What became of every exchange.
    ledger: LedgerSnapshot,
    /// What went on between wire and file.
    recording: RecordingSnapshot,
    /// How the supervised parts fare.
    supervision: Supervision,
    /// Where captures are kept.
    captures: Captures,
    /// How the index is.
    index: super::index::Health,
    /// Whatever may wait somewhere, and how much.
    bounds: Vec<BoundReport>,
    /// Clients' connections.
    connections: Connections,
    /// Callers of this API.
    api: ApiHealth,
    /// What came of reading the configuration again, if that was asked for.
    reload: Option<Reload>,
    /// How plugins fare.
    plugins: Plugins,
    /// The viewer that is served beside the API.
    viewer: Viewer,
    /// What is kept, and within which limits.
    storage: Storage,
    /// What is sent to a collector.
    otlp: crate::otlp::Report,
}

/// Something wrong: with a supervised part, or though all of them run.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum Degraded {
    Child(DegradedChild),
    Condition(Raised),
}

/// A supervised part with which something is wrong.
#[derive(Serialize, JsonSchema)]
pub(super) struct DegradedChild {
    /// Its name, or that of its nursery.
    pub(super) child: String,
    /// `backing_off`, `failed`, `hung`, or `blocked` for threads.
    pub(super) reason: &'static str,
    /// Since when.
    #[schemars(with = "UnixMillis")]
    pub(super) since: String,
}

/// Where captures are kept.
#[derive(Serialize, JsonSchema)]
struct Captures {
    /// Their memory.
    arena: ArenaReport,
    /// What is done with those that an earlier run has left.
    #[schemars(extend("enum" = ["looking", "handing_over", "done"]))]
    recovery: &'static str,
}

/// Callers of this API.
#[derive(Serialize, JsonSchema)]
struct ApiHealth {
    /// Requests without a token that is accepted.
    unauthorized: u64,
    /// Requests whose token's scope was not enough.
    forbidden: u64,
    /// Connections that were one too many.
    connections_refused: u64,
    /// How the access log fares.
    access_log: AccessLog,
}

/// Clients' connections.
#[derive(Serialize, JsonSchema)]
struct Connections {
    /// Open now.
    open: usize,
    /// Accepted since the start.
    accepted: u64,
    /// Answered with 503, for there were too many.
    refused: u64,
    /// Could not be accepted.
    accept_errors: u64,
}

/// `GET /`.
pub(crate) async fn root() -> Answer<Root> {
    Answer(Root {
        name: "api-log",
        version: env!("CARGO_PKG_VERSION"),
        viewer: "https://github.com/2nd1st/api-log-viewer",
        api: "/api",
        healthz: "/healthz",
        openapi: "/api/openapi.json",
        docs: "/api routes want Authorization: Bearer <token>; openapi describes them; see README.md",
    })
}

/// `GET /healthz`: 200 for as long as the process can answer. Whether it should get traffic is `/readyz`'s to say.
pub(crate) async fn healthz(State(api): State<Arc<Api>>) -> Answer<Health> {
    let parts = &api.parts;
    let supervision = parts.registry.snapshot();
    let troubles = supervision.troubles.iter().map(|it| {
        Degraded::Child(DegradedChild { child: it.name.clone(), reason: it.reason, since: it.since.to_string() })
    });
    let conditions = supervision.conditions.iter().cloned().map(Degraded::Condition);
    Answer(Health {
        status: "ok",
        degraded: troubles.chain(conditions).collect(),
        ready: super::ready::reasons(&api).is_empty(),
        ts: UnixMillis::now().to_string(),
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: api.started.elapsed().as_secs(),
        counters: parts.counters.snapshot(),
        ledger: parts.counters.ledger.snapshot(),
        recording: parts.counters.recording.snapshot(),
        supervision,
        captures: Captures { arena: parts.logs.arena.report(), recovery: parts.recovery.lock().state() },
        index: super::index::health(&parts.shared.index),
        bounds: parts.registry.bounds(),
        connections: Connections {
            open: parts.front.open(),
            accepted: parts.front.accepted.load(Ordering::Relaxed),
            refused: parts.front.refused.load(Ordering::Relaxed),
            accept_errors: parts.front.accept_errors.load(Ordering::Relaxed),
        },
        api: ApiHealth {
            unauthorized: api.turned_away.unauthorized.load(Ordering::Relaxed),
            forbidden: api.turned_away.forbidden.load(Ordering::Relaxed),
            connections_refused: api.callers_refused.load(Ordering::Relaxed),
            access_log: parts.access_log.report(),
        },
        reload: parts.last_reload.get(),
        plugins: parts.plugins.report(),
        viewer: parts.viewer.report(),
        storage: parts.retention.report(),
        otlp: parts.spans.report(),
    })
}
