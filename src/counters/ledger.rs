//! The ledger: what became of each exchange, counted so that a lost one shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Why an exchange left no trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DropCause {
    /// The writer's queue was full.
    WriterFull,
    /// The line could not be written to its file, for another reason than a full disk.
    JsonlFail,
    /// The line could not be written to its file because the disk was full.
    DiskFull,
    /// Neither the memory budget nor the spool had room.
    BudgetFull,
    /// The spool could not be written or read back.
    SpoolFail,
    /// No further finalizer could be started.
    FinalizerFull,
    /// Finalizing failed, the raw line included.
    FinalizeFail,
    /// The grace of the shutdown was over and it could not be spooled.
    Shutdown,
}

impl DropCause {
    /// All of them, in the order of their declaration.
    pub const ALL: [DropCause; 8] = [
        DropCause::WriterFull,
        DropCause::JsonlFail,
        DropCause::DiskFull,
        DropCause::BudgetFull,
        DropCause::SpoolFail,
        DropCause::FinalizerFull,
        DropCause::FinalizeFail,
        DropCause::Shutdown,
    ];

    /// Its name in the API, in metrics and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            DropCause::WriterFull => "writer_full",
            DropCause::JsonlFail => "jsonl_fail",
            DropCause::DiskFull => "disk_full",
            DropCause::BudgetFull => "budget_full",
            DropCause::SpoolFail => "spool_fail",
            DropCause::FinalizerFull => "finalizer_full",
            DropCause::FinalizeFail => "finalize_fail",
            DropCause::Shutdown => "shutdown",
        }
    }
}

/// The accounting `accepted = recorded + filtered + dropped + in flight`.
///
/// Its figures are counted apart from each other: *accepted* where an exchange begins, *in flight* by a guard that goes
/// with the exchange's data, the outcomes where they happen. An exchange that gets lost on the way, or has two
/// outcomes, therefore shows as an imbalance.
///
/// *Rule:* the outcome is counted before the guard is dropped.
#[derive(Debug, Default)]
pub struct Ledger {
    accepted: AtomicU64,
    in_flight: AtomicU64,
    recorded: AtomicU64,
    filtered: AtomicU64,
    dropped: [AtomicU64; DropCause::ALL.len()],
}

/// An exchange under way. Goes with its data from hand to hand; dropped when there is an outcome, or nothing more to
/// have one.
#[derive(Debug)]
pub struct InFlight(Arc<Ledger>);

/// The [`Ledger`] as it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Ledger")]
pub struct LedgerSnapshot {
    /// Exchanges begun.
    pub accepted: u64,
    /// Exchanges whose line stands in a file.
    pub recorded: u64,
    /// Exchanges that a filter skipped.
    pub filtered: u64,
    /// Exchanges that left no trace though they should have, by cause.
    pub dropped: Dropped,
    /// Exchanges under way.
    pub in_flight: u64,
    /// Whether each exchange accepted is under way or has one outcome. While exchanges are under way, as many may have
    /// been counted at both places: their outcome is known and their guard is about to be dropped.
    pub balanced: bool,
}

/// Drops by cause, in the order of [`DropCause::ALL`]; an object in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped([u64; DropCause::ALL.len()]);

impl Ledger {
    /// An exchange begins. What it gives back stays with the exchange until it has an outcome.
    pub fn accept(self: &Arc<Ledger>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        self.accepted.fetch_add(1, Ordering::SeqCst);
        InFlight(self.clone())
    }

    /// Its line stands in the file.
    pub fn count_recorded(&self) {
        self.recorded.fetch_add(1, Ordering::SeqCst);
    }

    /// A filter skipped it.
    pub fn count_filtered(&self) {
        self.filtered.fetch_add(1, Ordering::SeqCst);
    }

    /// It leaves no trace.
    pub fn count_dropped(&self, cause: DropCause) {
        self.dropped[cause as usize].fetch_add(1, Ordering::SeqCst);
    }

    /// How many left no trace for this cause.
    pub fn dropped(&self, cause: DropCause) -> u64 {
        self.dropped[cause as usize].load(Ordering::SeqCst)
    }

    /// How many a filter skipped.
    pub fn filtered(&self) -> u64 {
        self.filtered.load(Ordering::SeqCst)
    }

    /// The figures, and whether they add up. Right under traffic too: see the comments inside.
    pub fn snapshot(&self) -> LedgerSnapshot {
        self.look(|| ())
    }

    /// Reads all figures; `meanwhile` runs between any two reads, as other threads do.
    fn look(&self, mut meanwhile: impl FnMut()) -> LedgerSnapshot {
        // Whatever is accepted by now is still in flight at the next read or has had its outcome counted before the
        // reads after that; so none missing means that none was lost.
        let accepted = self.accepted.load(Ordering::SeqCst);
        meanwhile();
        let in_flight = self.in_flight.load(Ordering::SeqCst);
        meanwhile();
        let recorded = self.recorded.load(Ordering::SeqCst);
        meanwhile();
        let filtered = self.filtered.load(Ordering::SeqCst);
        meanwhile();
        let dropped = Dropped(self.dropped.each_ref().map(|it| it.load(Ordering::SeqCst)));
        meanwhile();
        // Whatever had an outcome by now was accepted before this read; so none too many means that none had two.
        let accepted_since = self.accepted.load(Ordering::SeqCst);
        let outcomes = recorded + filtered + dropped.total();
        LedgerSnapshot {
            accepted: accepted_since,
            recorded,
            filtered,
            dropped,
            in_flight,
            balanced: accepted <= outcomes + in_flight && outcomes <= accepted_since,
        }
    }
}

impl InFlight {
    /// The ledger it is counted in.
    pub fn ledger(&self) -> &Arc<Ledger> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Dropped {
    /// How many for this cause.
    pub fn of(&self, cause: DropCause) -> u64 {
        self.0[cause as usize]
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Serialize for Dropped {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(DropCause::ALL.iter().map(|cause| (cause.name(), self.of(*cause))))
    }
}

impl JsonSchema for Dropped {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Dropped".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let causes = DropCause::ALL.map(DropCause::name);
        let figures: Map<String, Value> =
            causes.iter().map(|cause| ((*cause).to_owned(), json!({"type": "integer", "minimum": 0}))).collect();
        schemars::json_schema!({"type": "object", "properties": figures, "required": causes})
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn each_cause_has_its_own_figure_and_name() {
        let ledger = Ledger::default();
        for (times, cause) in DropCause::ALL.into_iter().enumerate() {
            (0..=times).for_each(|_| ledger.count_dropped(cause));
            assert_eq!(serde_json::to_value(cause).unwrap(), cause.name());
        }
        let seen = serde_json::to_value(ledger.snapshot().dropped).unwrap();
        for (times, cause) in DropCause::ALL.into_iter().enumerate() {
            assert_eq!(seen[cause.name()], times as u64 + 1);
        }
    }

    #[test]
    fn the_ledger_balances_when_each_exchange_has_one_outcome() {
        let ledger = Arc::new(Ledger::default());
        let (recorded, filtered, dropped, under_way) =
            (ledger.accept(), ledger.accept(), ledger.accept(), ledger.accept());
        ledger.count_recorded();
        drop(recorded);
        ledger.count_filtered();
        drop(filtered);
        ledger.count_dropped(DropCause::SpoolFail);
        drop(dropped);
        let seen = ledger.snapshot();
        assert_eq!((seen.accepted, seen.recorded, seen.filtered, seen.in_flight), (4, 1, 1, 1));
        assert_eq!((seen.dropped.total(), seen.dropped.of(DropCause::SpoolFail)), (1, 1));
        assert!(seen.balanced);
        drop(under_way);
        assert!(!ledger.snapshot().balanced, "one was lost without an outcome");
    }

    #[test]
    fn an_exchange_with_two_outcomes_unbalances_the_ledger() {
        let ledger = Arc::new(Ledger::default());
        let exchange = ledger.accept();
        ledger.count_recorded();
        assert!(ledger.snapshot().balanced, "its guard is about to be dropped");
        ledger.count_dropped(DropCause::JsonlFail);
        drop(exchange);
        assert!(!ledger.snapshot().balanced);
    }

    #[test]
    fn the_ledger_balances_when_exchanges_begin_and_end_between_its_reads() {
        let ledger = Arc::new(Ledger::default());
        let mut under_way: Vec<InFlight> = (0..3).map(|_| ledger.accept()).collect();
        let seen = ledger.look(|| {
            under_way.push(ledger.accept());
            for _ in 0..2 {
                ledger.count_recorded();
                drop(under_way.pop());
                under_way.push(ledger.accept());
            }
        });
        assert!(seen.balanced, "{seen:?}");
    }

    #[test]
    fn the_ledger_balances_when_all_under_way_end_between_its_reads() {
        let ledger = Arc::new(Ledger::default());
        let mut under_way: Vec<InFlight> = (0..3).map(|_| ledger.accept()).collect();
        let seen = ledger.look(|| {
            while !under_way.is_empty() {
                ledger.count_recorded();
                drop(under_way.pop());
            }
        });
        assert!(seen.balanced, "{seen:?}");
    }

    #[test]
    fn the_ledger_balances_at_every_look_under_traffic() {
        let (ledger, looked_enough) = (Arc::new(Ledger::default()), AtomicBool::new(false));
        let unbalanced = std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    while !looked_enough.load(Ordering::Relaxed) {
                        let exchange = ledger.accept();
                        ledger.count_recorded();
                        drop(exchange);
                    }
                });
            }
            let unbalanced = (0..50_000).map(|_| ledger.snapshot()).find(|seen| !seen.balanced);
            looked_enough.store(true, Ordering::Relaxed);
            unbalanced
        });
        assert_eq!(unbalanced, None);
        let seen = ledger.snapshot();
        assert_eq!((seen.in_flight, seen.recorded), (0, seen.accepted));
    }
}
