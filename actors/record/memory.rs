//! The bytes that all captures together may hold in memory, and the shares of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes that all captures together may hold in memory.
pub(crate) struct Memory {
    used: AtomicU64,
    high_water: AtomicU64,
    limit: u64,
}

impl Memory {
    /// An empty budget of `limit` bytes.
    pub(crate) fn new(limit: u64) -> Arc<Memory> {
        Arc::new(Memory { used: AtomicU64::new(0), high_water: AtomicU64::new(0), limit })
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The most that was ever in use.
    pub(crate) fn high_water(&self) -> u64 {
        self.high_water.load(Ordering::Relaxed)
    }

    /// The budget.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether more is in use than should be: what had to be kept was.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.used() > self.limit
    }

    /// Whether captures should move to disk rather than grow.
    pub(crate) fn is_tight(&self) -> bool {
        self.used() > self.limit / 2
    }
}

/// Bytes of the budget, given back on drop.
pub(crate) struct Share {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Share {
    /// A share of nothing.
    pub(crate) fn none(memory: &Arc<Memory>) -> Share {
        Share { memory: memory.clone(), bytes: 0 }
    }

    /// Grows the share by `bytes`; `false`, and no change, if the budget has no room.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let used = self.memory.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.memory.limit {
            self.memory.used.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.memory.high_water.fetch_max(used, Ordering::Relaxed);
        self.bytes += bytes;
        true
    }

    /// Grows the share by `bytes` that are taken whether there is room or not.
    pub(crate) fn grow_told(&mut self, bytes: u64) {
        self.set(self.bytes + bytes);
    }

    /// Gives `bytes` of the share back.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        self.set(self.bytes.saturating_sub(bytes));
    }

    /// Makes the share one of `bytes`. What is there already is told, not asked for: the budget may be exceeded.
    pub(crate) fn set(&mut self, bytes: u64) {
        if bytes > self.bytes {
            let more = bytes - self.bytes;
            let used = self.memory.used.fetch_add(more, Ordering::Relaxed) + more;
            self.memory.high_water.fetch_max(used, Ordering::Relaxed);
        } else {
            self.memory.used.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_never_exceeds_the_budget_and_comes_back() {
        let memory = Memory::new(100);
        let mut share = Share::none(&memory);
        assert!(share.grow(60));
        assert!(memory.is_tight());
        assert!(!share.grow(60));
        assert_eq!(memory.used(), 60);
        share.shrink(10);
        assert!(share.grow(50));
        drop(share);
        assert_eq!((memory.used(), memory.high_water()), (0, 100));
        let mut told = Share::none(&memory);
        told.set(150);
        told.grow_told(50);
        told.set(40);
        assert_eq!((memory.used(), memory.high_water()), (40, 200));
    }
}
