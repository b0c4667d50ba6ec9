//! How the recorder fares, as far as the screen shows it, and how fast exchanges come.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// Over so long a rate is taken.
const OVER: Duration = Duration::from_secs(10);

/// What is read of `/healthz`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Health {
    #[serde(skip, default = "Instant::now")]
    pub(super) at: Instant,
    pub(super) version: String,
    pub(super) degraded: Vec<Degraded>,
    pub(super) uptime_seconds: u64,
    pub(super) ledger: Ledger,
    pub(super) supervision: Supervision,
}

/// Something wrong: a part, or a condition.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Degraded {
    #[serde(alias = "condition")]
    pub(super) child: String,
    pub(super) reason: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Ledger {
    pub(super) accepted: u64,
    pub(super) recorded: u64,
    pub(super) filtered: u64,
    pub(super) in_flight: u64,
    pub(super) dropped: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Supervision {
    pub(super) children: Vec<Child>,
    pub(super) nurseries: Vec<Nursery>,
}

/// A supervised part.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Child {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) restarts: u64,
    pub(super) queue_depth: u64,
    #[serde(default)]
    pub(super) hung_since: Option<String>,
}

/// Actors of one kind.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Nursery {
    pub(super) name: String,
    pub(super) running: u64,
    pub(super) failed: u64,
}

impl Ledger {
    /// All that was dropped, for whatever cause.
    pub(super) fn lost(&self) -> u64 {
        self.dropped.values().sum()
    }
}

/// Exchanges accepted in the last seconds.
#[derive(Debug, Default)]
pub(super) struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    pub(super) fn note(&mut self, health: &Health) {
        if self.0.back().is_some_and(|(_, before)| *before > health.ledger.accepted) {
            // It was started anew.
            self.0.clear();
        }
        self.0.push_back((health.at, health.ledger.accepted));
        while self.0.len() > 2 && self.0[0].0 + OVER < health.at {
            self.0.pop_front();
        }
    }

    /// `None` before there is a time to take it over.
    pub(super) fn per_second(&self) -> Option<f64> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let seconds = (last.0 - first.0).as_secs_f64();
        (seconds > 0.5).then(|| (last.1 - first.1) as f64 / seconds)
    }
}
