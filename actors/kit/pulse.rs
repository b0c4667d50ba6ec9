//! A sign of life of what is no actor: threads that serve many, each of which may be blocked by one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api_log::ids::UnixMillis;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::time::{Instant, interval};

use super::probe::as_text_if_any;

/// Beats for as long as its loop turns; the [`Watchdog`](super::Watchdog) tells when it stops.
pub(crate) struct Pulse {
    name: Arc<str>,
    beats: AtomicU64,
    began: Instant,
    /// Milliseconds after it began.
    last: AtomicU64,
    stopped_since: Mutex<Option<UnixMillis>>,
}

/// A pulse in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Pulse")]
pub(crate) struct PulseReport {
    /// Whose.
    pub name: String,
    /// Beats so far.
    pub beats: u64,
    /// Since when it is missed.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text_if_any")]
    pub stopped_since: Option<UnixMillis>,
}

impl Pulse {
    pub(super) fn new(name: &str) -> Pulse {
        Pulse {
            name: name.into(),
            beats: AtomicU64::new(0),
            began: Instant::now(),
            last: AtomicU64::new(0),
            stopped_since: Mutex::new(None),
        }
    }

    /// Whose it is.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The loop has turned.
    pub(crate) fn beat(&self) {
        self.last.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Beats from a task of its own on this runtime, whose threads all are blocked when it stops.
    pub(crate) fn of_runtime(self: &Arc<Pulse>, runtime: &Handle, every: Duration) {
        let pulse = self.clone();
        runtime.spawn(async move {
            let mut ticks = interval(every);
            loop {
                ticks.tick().await;
                pulse.beat();
            }
        });
    }

    /// How long ago it beat last.
    pub(crate) fn age(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }

    /// How it stands.
    pub(crate) fn report(&self) -> PulseReport {
        PulseReport { name: self.name.to_string(), beats: self.beats(), stopped_since: *self.stopped_since.lock() }
    }

    pub(super) fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// Marks it as missed from now on, or as beating; `true` if that is news.
    pub(super) fn set_stopped(&self, stopped: bool) -> bool {
        let mut since = self.stopped_since.lock();
        if since.is_some() == stopped {
            return false;
        }
        *since = stopped.then(UnixMillis::now);
        true
    }
}
