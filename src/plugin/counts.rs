//! What an instance has done, and whether it still may.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What a failure adds to the score, and a success takes from it.
const FAILURE: u32 = 8;
/// At this score an instance is switched off: after so many failures in a row, or when more than one call in nine
/// fails for long.
const TOO_MUCH: u32 = 10 * FAILURE;

/// An instance's counters. They outlive a new set, if that has an instance of the same id and type.
#[derive(Debug, Default)]
pub struct Counts {
    calls: AtomicU64,
    mutations: AtomicU64,
    errors: AtomicU64,
    time_us: AtomicU64,
}

/// Counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// How often it was asked.
    pub calls: u64,
    /// How often it changed or decided something: a message rewritten, a trace filtered, a label put on.
    pub mutations: u64,
    /// How often it failed.
    pub errors: u64,
    /// Processor time, in microseconds.
    pub time_us: u64,
}

/// Whether an instance still runs. Begun anew when its configuration changes.
#[derive(Debug, Default)]
pub struct Fuse {
    score: AtomicU32,
    switched_off: OnceLock<String>,
}

impl Counts {
    /// It was asked, which took so long.
    pub fn called(&self, time_us: u64) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.time_us.fetch_add(time_us, Ordering::Relaxed);
    }

    /// It went on with a call that is counted already.
    pub fn spent(&self, time_us: u64) {
        self.time_us.fetch_add(time_us, Ordering::Relaxed);
    }

    /// It changed or decided something.
    pub fn mutated(&self) {
        self.mutations.fetch_add(1, Ordering::Relaxed);
    }

    /// It failed.
    pub fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// What stands there now.
    pub fn get(&self) -> Counted {
        Counted {
            calls: self.calls.load(Ordering::Relaxed),
            mutations: self.mutations.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            time_us: self.time_us.load(Ordering::Relaxed),
        }
    }
}

impl Fuse {
    /// It worked.
    pub fn worked(&self) {
        // Nearly always 0, and then nothing is written that other threads read.
        if self.score.load(Ordering::Relaxed) > 0 {
            let _ = self.score.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| Some(it.saturating_sub(1)));
        }
    }

    /// It failed; `true` if this was once too often, for whoever is told so first.
    pub fn failed(&self, reason: &str) -> bool {
        let score = self.score.fetch_add(FAILURE, Ordering::Relaxed).saturating_add(FAILURE);
        score >= TOO_MUCH && self.switched_off.set(format!("failed too often, last: {reason}")).is_ok()
    }

    /// Why it does not run any more.
    pub fn switched_off(&self) -> Option<&str> {
        self.switched_off.get().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_in_a_row_switch_off_and_rare_ones_do_not() {
        let fuse = Fuse::default();
        for round in 0..1000 {
            assert!(!fuse.failed("now and then"), "{round}");
            (0..9).for_each(|_| fuse.worked());
        }
        assert_eq!(fuse.switched_off(), None);
        let told: Vec<bool> = (0..12).map(|_| fuse.failed("always")).collect();
        assert_eq!(told.iter().position(|it| *it), Some(9));
        assert_eq!(told.iter().filter(|it| **it).count(), 1, "it is told once");
        assert_eq!(fuse.switched_off(), Some("failed too often, last: always"));
    }
}
