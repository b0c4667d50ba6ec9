//! The read API: what people and tools ask the recorder.
//!
//! [`server`] owns the listener; [`routes`] says which path is answered by whom; [`auth`] asks for the token;
//! [`errors`] gives every failure one shape. [`readers`] are the index's read-only connections: no query waits
//! for the index writer, and none makes it wait.

mod auth;
mod config;
mod errors;
mod health;
mod index;
mod params;
mod readers;
mod routes;
mod server;
mod traces;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use api_log::counters::Counters;
use api_log::store::layout::Layout;
use api_log::store::token::Token;
use parking_lot::Mutex;

use crate::kit::Registry;
use crate::proxy::listener::Front;
use crate::record::LogShared;
use crate::record::finalizer::Shared;
use crate::record::recovery::Work as RecoveryWork;

pub(crate) use server::{Args, Msg, Server};

/// What the routes read.
pub(crate) struct State {
    parts: Parts,
    readers: readers::Readers,
    started: Instant,
    /// Held while `runtime_overrides.json` is rewritten.
    overrides: tokio::sync::Mutex<()>,
    /// `media.save_attachments` was set at run time, now or in an earlier run.
    media_is_overridden: AtomicBool,
}

/// What the API shows of the rest of the recorder: counters and probes, never an actor's mailbox.
pub(crate) struct Parts {
    pub(crate) token: Token,
    pub(crate) layout: Layout,
    pub(crate) counters: Arc<Counters>,
    pub(crate) registry: Registry,
    /// Where captures are written.
    pub(crate) logs: Arc<LogShared>,
    /// What is left to recover of an earlier run.
    pub(crate) recovery: Arc<Mutex<RecoveryWork>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) front: Arc<Front>,
    pub(crate) media_is_overridden: bool,
}

impl State {
    /// For one process's life.
    pub(crate) fn new(parts: Parts) -> State {
        State {
            readers: readers::Readers::new(parts.layout.index(), parts.shared.index.status().clone()),
            started: Instant::now(),
            overrides: tokio::sync::Mutex::default(),
            media_is_overridden: AtomicBool::new(parts.media_is_overridden),
            parts,
        }
    }
}
