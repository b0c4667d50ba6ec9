//! Whatever may wait somewhere, in one form: how much, the most so far, how much may, and what came of the rest.

use std::sync::atomic::{AtomicU64, Ordering};

use schemars::JsonSchema;
use serde::Serialize;

use super::BudgetReport;

/// A bound as it stands; all bounds of the program stand in one list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Bound")]
pub(crate) struct BoundReport {
    /// Its name.
    pub name: String,
    /// In number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<Level>,
    /// In bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Level>,
    /// What bounds it where it has no figure of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<&'static str>,
    /// What was turned away at the bound, by cause.
    pub dropped: Vec<Dropped>,
}

/// How far something is filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Level {
    /// Now.
    pub depth: u64,
    /// At most so far.
    pub high_water: u64,
    /// As much as may be; absent where something else is the bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// So many were turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "TurnedAway")]
pub(crate) struct Dropped {
    /// Why, or what became of them.
    pub cause: &'static str,
    /// How many.
    pub count: u64,
}

impl BoundReport {
    /// Of that name, with nothing known yet.
    pub(crate) fn new(name: impl Into<String>) -> BoundReport {
        BoundReport { name: name.into(), ..BoundReport::default() }
    }

    /// Counted so.
    pub(crate) fn count(self, depth: u64, high_water: u64, limit: Option<u64>) -> BoundReport {
        BoundReport { count: Some(Level { depth, high_water, limit }), ..self }
    }

    /// So many bytes.
    pub(crate) fn bytes(self, depth: u64, high_water: u64, limit: Option<u64>) -> BoundReport {
        BoundReport { bytes: Some(Level { depth, high_water, limit }), ..self }
    }

    /// Bounded by something else.
    pub(crate) fn within(self, within: &'static str) -> BoundReport {
        BoundReport { within: Some(within), ..self }
    }

    /// So many were turned away.
    pub(crate) fn dropped(mut self, cause: &'static str, count: u64) -> BoundReport {
        self.dropped.push(Dropped { cause, count });
        self
    }

    /// As the budget stands; what it refuses goes by that name.
    pub(super) fn of_budget(name: &str, budget: &BudgetReport) -> BoundReport {
        let report = BoundReport::new(name)
            .count(budget.used_count, budget.high_water_count, Some(budget.max_count))
            .dropped("refused", budget.refused);
        // One of no bytes is a bound in number only.
        match budget.max_bytes {
            0 => report,
            max => report.bytes(budget.used_bytes, budget.high_water_bytes, Some(max)),
        }
    }
}

/// How full something is that has no budget: set by who fills it, read by anyone.
#[derive(Default)]
pub(crate) struct Depth {
    now: AtomicU64,
    high_water: AtomicU64,
}

impl Depth {
    /// So much is in it now.
    pub(crate) fn set(&self, depth: usize) {
        self.now.store(depth as u64, Ordering::Relaxed);
        self.high_water.fetch_max(depth as u64, Ordering::Relaxed);
    }

    /// Now, and at most so far.
    pub(crate) fn get(&self) -> (u64, u64) {
        (self.now.load(Ordering::Relaxed), self.high_water.load(Ordering::Relaxed))
    }
}
