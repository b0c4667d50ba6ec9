//! A long work: how much there is, how much is done, and whether it shall go on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

/// What a long blocking work shares with who watches it. Telling it anything costs an atomic addition.
///
/// The one who works calls [`Work::begin`], [`Work::advance`] and [`Work::check`]; the one who watches looks at
/// [`Work::seen`] when it likes, and may [`Work::cancel`].
#[derive(Debug, Default)]
pub struct Work {
    step: Mutex<&'static str>,
    total: AtomicU64,
    done: AtomicU64,
    is_cancelled: AtomicBool,
}

/// How far a work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What is being done, as in "reading the files"; empty before anything is.
    pub step: &'static str,
    /// How much has been done of this step, in units that the work and its watcher agree on.
    pub done: u64,
    /// How much there is in all; 0 if nobody knows.
    pub total: u64,
}

/// The work was called off before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

impl Work {
    /// Nothing begun.
    pub fn new() -> Work {
        Work::default()
    }

    /// A step begins, in which there is so much to be done; 0 if that is unknown.
    pub fn begin(&self, step: &'static str, total: u64) {
        *self.step.lock() = step;
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }

    /// So much more is done.
    pub fn advance(&self, by: u64) {
        self.done.fetch_add(by, Ordering::Relaxed);
    }

    /// Whether to go on: to be asked at every place where stopping leaves nothing half done.
    ///
    /// # Errors
    /// It was called off.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled.load(Ordering::Relaxed) { Err(Cancelled) } else { Ok(()) }
    }

    /// Calls the work off: its next [`Work::check`] fails.
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// How far it is.
    pub fn seen(&self) -> Seen {
        Seen {
            step: *self.step.lock(),
            done: self.done.load(Ordering::Relaxed),
            total: self.total.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_counts_anew_and_a_cancelled_work_stays_so() {
        let work = Work::new();
        assert_eq!(work.seen(), Seen { step: "", done: 0, total: 0 });
        work.begin("reading", 10);
        work.advance(4);
        work.advance(3);
        assert_eq!(work.seen(), Seen { step: "reading", done: 7, total: 10 });
        assert_eq!(work.check(), Ok(()));
        work.cancel();
        work.begin("writing", 0);
        assert_eq!(work.seen(), Seen { step: "writing", done: 0, total: 0 });
        assert_eq!(work.check(), Err(Cancelled));
    }
}
