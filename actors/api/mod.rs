//! The read API: what people and tools ask the recorder.
//!
//! [`server`] owns the listener; [`routes`] says which path is answered by whom, each an [`endpoint`], and [`openapi`]
//! makes a document of that; [`auth`] asks for the token;
//! [`errors`] gives every failure one shape. [`readers`] are the index's read-only connections: no query waits
//! for the index writer, none makes it wait, and none goes on for longer than `api.query_timeout`. [`streams`] are the
//! answers that go on for long: they end with the API.

mod auth;
mod body;
mod config;
mod endpoint;
mod errors;
mod export;
mod health;
mod index;
mod inflight;
mod lines;
mod media;
mod metrics;
mod openapi;
mod overrides;
mod params;
mod plugins;
mod readers;
mod ready;
mod replay;
mod retention;
mod routes;
mod server;
mod sessions;
mod stats;
mod streams;
mod tail;
mod traces;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use api_log::config::Config;
use api_log::counters::Counters;
use api_log::export::profile::Profiles;
use api_log::store::layout::Layout;
use api_log::store::lease::Leases;
use api_log::store::token::{self, Token, TokenError};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::kit::{BoundReport, Budget, Condition, Depth, Escalation, Registry, Slot};
use crate::overridden::OverridesFile;
use crate::plugins::Plugins;
use crate::proxy::listener::Front;
use crate::record::finalizer::Shared;
use crate::record::recovery::Work as RecoveryWork;
use crate::record::{LogShared, OpenSockets};
use crate::retention::Live;
use crate::system::LastReload;

pub(crate) use export::byte_cap;
pub(crate) use server::{Args, Msg, Server};

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
    media_is_overridden: AtomicBool,
    /// `/metrics` asks for the token.
    metrics_want_token: AtomicBool,
    /// What callers must show. Read again with the configuration.
    token: ArcSwap<Token>,
    /// The API's document, once somebody has asked for it.
    document: OnceLock<axum::body::Bytes>,
}

/// What the API shows of the rest of the recorder: counters and probes, never an actor's mailbox.
pub(crate) struct Parts {
    pub(crate) token: Token,
    pub(crate) layout: Layout,
    pub(crate) leases: Leases,
    pub(crate) retention: Arc<Live>,
    /// Where what is set at run time is kept.
    pub(crate) overrides: Arc<OverridesFile>,
    pub(crate) plugins: Arc<Plugins>,
    /// Who changes them.
    pub(crate) plugins_slot: Slot<crate::plugins::registry::Msg>,
    /// Raised while what was set at run time cannot be read.
    pub(crate) overrides_malformed: Condition,
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
    pub(crate) media_is_overridden: bool,
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
        let seen = callers.clone();
        parts.registry.show("api_queries", readers.room());
        parts.registry.show_bound("api_callers", move |name| {
            let (now, high_water) = seen.get();
            BoundReport::new(name).count(now, high_water, Some(server::MAX_CONNECTIONS as u64))
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
            media_is_overridden: AtomicBool::new(parts.media_is_overridden),
            metrics_want_token: AtomicBool::new(parts.metrics_want_token),
            token: ArcSwap::from_pointee(parts.token.clone()),
            document: OnceLock::new(),
            parts,
        }
    }

    /// Takes over what a reload changes. What was set at run time stands above the configuration.
    pub(crate) fn take_over(&self, config: &Config) {
        self.metrics_want_token.store(config.api.metrics_auth, Ordering::Relaxed);
        self.readers.set_timeout(config.api.query_timeout);
        if !self.media_is_overridden.load(Ordering::Relaxed) {
            self.parts.shared.saves_media.store(config.media.save_attachments, Ordering::Relaxed);
        }
    }

    /// The token's file may be another one: what stands in it counts from now on.
    pub(crate) fn take_token(&self) {
        match self.read_token_again() {
            Ok(false) => {}
            Ok(true) => tracing::info!("the read API's token is another one"),
            Err(error) => tracing::error!(%error, "the read API's token stays as it was"),
        }
    }

    /// Reads the token's file again: `true` if there is another one in it.
    ///
    /// # Errors
    /// It cannot be read, or is empty; the token stays.
    pub(crate) fn read_token_again(&self) -> Result<bool, TokenError> {
        let token = token::read(&self.parts.layout.token())?;
        let is_other = token.secret != self.token.load().secret;
        if is_other {
            self.token.store(Arc::new(token));
        }
        Ok(is_other)
    }
}
