//! The read API: what people and tools ask the recorder.
//!
//! [`server`] owns the listener; [`connection`] says how long a caller may be quiet; [`routes`] says which path is answered
//! by whom, each an [`endpoint`] of which [`openapi`] makes a document, and [`scopes`] what for it needs; [`auth`] asks for that, of [`tokens`]; [`noting`] tells the [`access_log`] who read what;
//! [`errors`] gives every failure one shape. [`readers`] are the index's read-only connections: no query waits
//! for the index writer, none makes it wait, and none goes on for longer than `api.query_timeout`. [`streams`] are the
//! answers that go on for long: they end with the API.

pub(crate) mod access_log;
mod auth;
mod bodies;
mod body;
mod config;
mod connection;
mod endpoint;
mod errors;
mod export;
mod finish;
mod health;
mod index;
mod inflight;
mod lines;
mod media;
mod metrics;
mod noting;
mod openapi;
mod overrides;
mod params;
mod plugins;
mod readers;
mod ready;
mod replay;
mod retention;
mod routes;
mod scopes;
mod server;
mod sessions;
mod stats;
mod streams;
mod tail;
mod tokens;
mod traces;
mod viewer;
mod viewer_headers;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use api_log::client;
use api_log::config::Config;
use api_log::counters::Counters;
use api_log::export::profile::Profiles;
use api_log::headers::Headers;
use api_log::store::layout::Layout;
use api_log::store::lease::Leases;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::kit::{BoundReport, Budget, Depth, Escalation, Registry, Slot};
use crate::overridden::{Overridden, OverridesFile};
use crate::plugins::Plugins;
use crate::proxy::listener::Front;
use crate::record::finalizer::Shared;
use crate::record::recovery::Work as RecoveryWork;
use crate::record::{LogShared, OpenSockets};
use crate::retention::Live;
use crate::system::LastReload;
use crate::viewer::Hosted;

pub(crate) use connection::Limits;
pub(crate) use export::byte_cap;
pub(crate) use server::{Args, Msg, Server};
pub(crate) use tokens::Tokens;

/// What the routes read.
pub(crate) struct State {
    parts: Parts,
    readers: readers::Readers,
    /// Connections of callers.
    callers: Arc<Depth>,
    started: Instant,
    /// Places for those who read lines.
    lines: lines::Places,
    /// What is being replayed.
    scripts: replay::Scripts,
    /// Exports under way.
    exports: Budget,
    /// Those who follow the index.
    tails: Budget,
    /// Places for those who look at exchanges under way.
    lookers: inflight::Lookers,
    /// The API ends: streams without an end of their own break off.
    ending: watch::Sender<bool>,
    /// `media.save_attachments` was set at run time, now or in an earlier run.
    /// `/metrics` asks for the token.
    metrics_want_token: AtomicBool,
    /// What callers must show.
    pub(crate) tokens: Arc<Tokens>,
    /// How long callers may take.
    limits: Arc<ArcSwap<Limits>>,
    /// Requests that were turned away.
    turned_away: auth::TurnedAway,
    /// Connections that were one too many.
    callers_refused: Arc<AtomicU64>,
    /// The API's document, once somebody has asked for it.
    document: OnceLock<axum::body::Bytes>,
}

/// What the API shows of the rest of the recorder: counters and probes, never an actor's mailbox.
pub(crate) struct Parts {
    pub(crate) tokens: Arc<Tokens>,
    /// Who read what.
    pub(crate) access_log: Arc<access_log::AccessLog>,
    /// What is sent to a collector.
    pub(crate) spans: Arc<crate::otlp::Export>,
    /// Connections at once.
    pub(crate) max_connections: usize,
    /// How long callers may take.
    pub(crate) limits: Limits,
    pub(crate) layout: Layout,
    pub(crate) leases: Leases,
    pub(crate) retention: Arc<Live>,
    /// Where what is set at run time is kept.
    pub(crate) overrides: Arc<OverridesFile>,
    /// The web viewer.
    pub(crate) viewer: Arc<Hosted>,
    pub(crate) plugins: Arc<Plugins>,
    /// Who changes them.
    pub(crate) plugins_slot: Slot<crate::plugins::registry::Msg>,
    /// What is set at run time, in force.
    pub(crate) overridden: Arc<Overridden>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) registry: Registry,
    /// Where captures are written.
    pub(crate) logs: Arc<LogShared>,
    /// What is left to recover of an earlier run.
    pub(crate) recovery: Arc<Mutex<RecoveryWork>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) front: Arc<Front>,
    pub(crate) escalation: Escalation,
    pub(crate) last_reload: LastReload,
    pub(crate) metrics_want_token: bool,
    /// Open WebSockets.
    pub(crate) open_sockets: Arc<OpenSockets>,
    /// The most bytes of files that an export reads.
    pub(crate) export_byte_cap: Option<u64>,
    /// What exports can hide.
    pub(crate) redact_profiles: Profiles,
    /// How long a question to the index may take.
    pub(crate) query_timeout: Duration,
}

impl State {
    /// For one process's life.
    pub(crate) fn new(parts: Parts) -> State {
        let readers =
            readers::Readers::new(parts.layout.index(), parts.shared.index.status().clone(), parts.query_timeout);
        let scripts = replay::Scripts::default();
        parts.registry.show("replayed_traces", &scripts.room);
        let exports = Budget::new(0, export::AT_ONCE);
        parts.registry.show("api_exports", &exports);
        let tails = Budget::new(0, tail::AT_ONCE);
        parts.registry.show("api_tails", &tails);
        let lookers = inflight::Lookers::default();
        parts.registry.show("api_inflight_followers", &lookers.followers);
        let callers = Arc::new(Depth::default());
        let callers_refused = Arc::new(AtomicU64::new(0));
        let (seen, refused, most) = (callers.clone(), callers_refused.clone(), parts.max_connections as u64);
        parts.registry.show("api_queries", readers.room());
        parts.registry.show_bound("api_callers", move |name| {
            let (now, high_water) = seen.get();
            BoundReport::new(name)
                .count(now, high_water, Some(most))
                .dropped("refused", refused.load(Ordering::Relaxed))
        });
        State {
            readers,
            callers,
            started: Instant::now(),
            lines: lines::Places::default(),
            scripts,
            exports,
            tails,
            lookers,
            ending: streams::ending(),
            metrics_want_token: AtomicBool::new(parts.metrics_want_token),
            tokens: parts.tokens.clone(),
            limits: Arc::new(ArcSwap::from_pointee(parts.limits)),
            turned_away: auth::TurnedAway::default(),
            callers_refused,
            document: OnceLock::new(),
            parts,
        }
    }

    /// Takes over what a reload changes. What was set at run time stands above the configuration.
    pub(crate) fn take_over(&self, config: &Config) {
        self.metrics_want_token.store(config.api.metrics_auth, Ordering::Relaxed);
        self.readers.set_timeout(config.api.query_timeout);
        self.limits.store(Arc::new(Limits::of(config)));
        self.parts.overridden.media.configure(config.media.save_attachments);
    }

    /// From where a request comes: what trusted proxies say, else its peer's address.
    fn client(&self, headers: &axum::http::HeaderMap, peer: server::Peer) -> String {
        let known: Headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        client::address(&known, peer.0, &self.parts.shared.settings.trusted_proxies)
    }
}
