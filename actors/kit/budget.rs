//! A bound in bytes and in number, given back by whoever drops the permit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much may wait somewhere, in bytes and in number.
///
/// Ractor's mailboxes are unbounded, so every message that carries data carries a [`Permit`] too. A crash drops the
/// queued messages and with them their permits: the bound cannot leak.
#[derive(Clone)]
pub(crate) struct Budget(Arc<Inner>);

struct Inner {
    max_bytes: u32,
    max_count: usize,
    bytes: Arc<Semaphore>,
    count: Arc<Semaphore>,
    used_bytes: AtomicU64,
    used_count: AtomicU64,
    high_water_bytes: AtomicU64,
    high_water_count: AtomicU64,
    refused: AtomicU64,
}

/// The right to some bytes and one place of a budget; given back on drop.
pub(crate) struct Permit {
    budget: Budget,
    bytes: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

/// A budget as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct BudgetReport {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Permits out.
    pub used_count: u64,
    /// The bound in bytes.
    pub max_bytes: u64,
    /// The bound in permits.
    pub max_count: u64,
    /// The most bytes ever in use at once.
    pub high_water_bytes: u64,
    /// The most permits ever out at once.
    pub high_water_count: u64,
    /// How often `try_take` or `try_grow` found no room.
    pub refused: u64,
}

impl Budget {
    /// A budget of so many bytes (at most 4 GiB − 1, more is cut to that) held by at most `max_count` permits.
    pub(crate) fn new(max_bytes: u64, max_count: usize) -> Budget {
        let max_bytes = u32::try_from(max_bytes).unwrap_or(u32::MAX);
        // Tokio's own bound; on 32 bits it is below the cut above.
        let max_bytes = max_bytes.min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        let max_count = max_count.min(Semaphore::MAX_PERMITS);
        Budget(Arc::new(Inner {
            max_bytes,
            max_count,
            bytes: Arc::new(Semaphore::new(max_bytes as usize)),
            count: Arc::new(Semaphore::new(max_count)),
            used_bytes: AtomicU64::new(0),
            used_count: AtomicU64::new(0),
            high_water_bytes: AtomicU64::new(0),
            high_water_count: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }))
    }

    /// For senders on the data path: full means `None` at once, counted. More than the whole budget is never granted.
    pub(crate) fn try_take(&self, bytes: u64) -> Option<Permit> {
        let permit = self.try_both(bytes);
        if permit.is_none() {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
        }
        permit
    }

    /// For senders that own their data and can wait, first come, first served. More than the whole budget counts as
    /// the whole budget, or it would wait for ever.
    pub(crate) async fn take(&self, bytes: u64) -> Permit {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.0.max_bytes);
        let place = acquire(&self.0.count, 1).await;
        let bytes = acquire(&self.0.bytes, bytes).await;
        self.permit(place, bytes)
    }

    /// How it stands. The figures are read one by one.
    pub(crate) fn report(&self) -> BudgetReport {
        let inner = &*self.0;
        BudgetReport {
            used_bytes: inner.used_bytes.load(Ordering::Relaxed),
            used_count: inner.used_count.load(Ordering::Relaxed),
            max_bytes: inner.max_bytes.into(),
            max_count: inner.max_count as u64,
            high_water_bytes: inner.high_water_bytes.load(Ordering::Relaxed),
            high_water_count: inner.high_water_count.load(Ordering::Relaxed),
            refused: inner.refused.load(Ordering::Relaxed),
        }
    }

    fn try_both(&self, bytes: u64) -> Option<Permit> {
        let bytes = u32::try_from(bytes).ok()?;
        let place = self.0.count.clone().try_acquire_owned().ok()?;
        let bytes = self.0.bytes.clone().try_acquire_many_owned(bytes).ok()?;
        Some(self.permit(place, bytes))
    }

    fn permit(&self, place: OwnedSemaphorePermit, bytes: OwnedSemaphorePermit) -> Permit {
        let inner = &*self.0;
        let used = inner.used_count.fetch_add(1, Ordering::Relaxed) + 1;
        inner.high_water_count.fetch_max(used, Ordering::Relaxed);
        inner.use_bytes(bytes.num_permits() as u64);
        Permit { budget: self.clone(), bytes, _place: place }
    }
}

impl Inner {
    fn use_bytes(&self, more: u64) {
        let used = self.used_bytes.fetch_add(more, Ordering::Relaxed) + more;
        self.high_water_bytes.fetch_max(used, Ordering::Relaxed);
    }
}

impl Permit {
    /// The bytes it stands for.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.num_permits() as u64
    }

    /// Takes more bytes of the same budget, if there is room; `false` is counted as a refusal and changes nothing.
    pub(crate) fn try_grow(&mut self, more: u64) -> bool {
        let inner = &*self.budget.0;
        let grown = u32::try_from(more).ok().and_then(|it| inner.bytes.clone().try_acquire_many_owned(it).ok());
        match grown {
            Some(grown) => {
                self.bytes.merge(grown);
                inner.use_bytes(more);
                true
            }
            None => {
                inner.refused.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.0.used_bytes.fetch_sub(self.bytes(), Ordering::Relaxed);
        self.budget.0.used_count.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn acquire(semaphore: &Arc<Semaphore>, permits: u32) -> OwnedSemaphorePermit {
    #[expect(clippy::expect_used, reason = "only a closed semaphore refuses, and nothing here closes one")]
    semaphore.clone().acquire_many_owned(permits).await.expect("a budget is never closed")
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    #[test]
    fn bytes_and_number_are_both_bounds() {
        let budget = Budget::new(100, 2);
        let first = budget.try_take(60).unwrap();
        assert!(budget.try_take(41).is_none(), "no bytes left");
        let _second = budget.try_take(40).unwrap();
        assert!(budget.try_take(0).is_none(), "no place left");
        drop(first);
        assert_eq!(budget.try_take(60).unwrap().bytes(), 60);
        assert_eq!(budget.report().refused, 2);
    }

    #[test]
    fn a_refusal_for_want_of_bytes_takes_no_place() {
        let budget = Budget::new(10, 1);
        assert!(budget.try_take(11).is_none());
        assert!(budget.try_take(10).is_some());
    }

    #[test]
    fn a_permit_grows_within_the_budget_and_gives_all_back() {
        let budget = Budget::new(100, 5);
        let mut permit = budget.try_take(10).unwrap();
        assert!(permit.try_grow(90));
        assert!(!permit.try_grow(1));
        assert_eq!((permit.bytes(), budget.report().used_bytes, budget.report().refused), (100, 100, 1));
        drop(permit);
        let report = budget.report();
        assert_eq!((report.used_bytes, report.used_count, report.high_water_bytes), (0, 0, 100));
        assert!(budget.try_take(100).is_some());
    }

    #[tokio::test]
    async fn more_than_the_budget_waits_for_the_whole_of_it_and_no_longer() {
        let budget = Budget::new(100, 5);
        assert!(budget.try_take(101).is_none());
        let small = budget.try_take(1).unwrap();
        let mut large = pin!(budget.take(1_000_000));
        assert!(poll_fn(|context| Poll::Ready(large.as_mut().poll(context).is_pending())).await);
        drop(small);
        assert_eq!(large.await.bytes(), 100);
        assert_eq!(budget.report().used_bytes, 0);
    }
}
