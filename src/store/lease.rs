//! The right to use a segment's file and its traces' attachments: shared by writers and readers, exclusive to delete.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::ids::SegmentId;

/// Who uses which segment. Clones look at the same leases.
///
/// *Invariant:* a segment has either any number of shared leases or one exclusive lease, never both.
/// The lock is held for a few instructions and never across a file operation.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    held: Arc<Mutex<HashMap<SegmentId, Held>>>,
}

/// What is held of one segment; nothing held has no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Shared(u32),
    Exclusive,
}

/// The segment is being deleted: use another one, or come back when it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("segment {0} is being deleted")]
pub struct BeingDeleted(pub SegmentId);

/// The segment is in use, or somebody else deletes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("segment {0} is in use")]
pub struct InUse(pub SegmentId);

impl Leases {
    /// No lease held yet.
    pub fn new() -> Leases {
        Leases::default()
    }

    /// The right to read or append. Given up when dropped, by unwinding too.
    ///
    /// # Errors
    /// Somebody deletes the segment.
    pub fn shared(&self, segment: SegmentId) -> Result<SharedLease, BeingDeleted> {
        let mut held = self.held.lock();
        match held.entry(segment).or_insert(Held::Shared(0)) {
            Held::Shared(count) => *count += 1,
            Held::Exclusive => return Err(BeingDeleted(segment)),
        }
        Ok(SharedLease { leases: self.clone(), segment })
    }

    /// The right to delete, only while nobody else holds anything. Given up when dropped.
    ///
    /// # Errors
    /// Somebody uses the segment or deletes it already.
    pub fn exclusive(&self, segment: SegmentId) -> Result<ExclusiveLease, InUse> {
        let mut held = self.held.lock();
        if held.contains_key(&segment) {
            return Err(InUse(segment));
        }
        held.insert(segment, Held::Exclusive);
        Ok(ExclusiveLease { leases: self.clone(), segment })
    }

    /// How many segments are in use or being deleted.
    pub fn len(&self) -> usize {
        self.held.lock().len()
    }

    /// Whether no segment is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A segment's files stay while this lives.
#[derive(Debug)]
#[must_use = "the files may be deleted as soon as the lease is dropped"]
pub struct SharedLease {
    leases: Leases,
    segment: SegmentId,
}

impl SharedLease {
    /// The segment it is for.
    pub fn segment(&self) -> SegmentId {
        self.segment
    }
}

impl Clone for SharedLease {
    fn clone(&self) -> SharedLease {
        // While one is held nobody can delete, so another can always be had.
        if let Some(Held::Shared(count)) = self.leases.held.lock().get_mut(&self.segment) {
            *count += 1;
        }
        SharedLease { leases: self.leases.clone(), segment: self.segment }
    }
}

impl Drop for SharedLease {
    fn drop(&mut self) {
        let mut held = self.leases.held.lock();
        match held.get_mut(&self.segment) {
            Some(Held::Shared(count)) if *count > 1 => *count -= 1,
            _ => {
                held.remove(&self.segment);
            }
        }
    }
}

/// Nobody else uses a segment's files while this lives.
#[derive(Debug)]
#[must_use = "others may use the files as soon as the lease is dropped"]
pub struct ExclusiveLease {
    leases: Leases,
    segment: SegmentId,
}

impl ExclusiveLease {
    /// The segment it is for.
    pub fn segment(&self) -> SegmentId {
        self.segment
    }
}

impl Drop for ExclusiveLease {
    fn drop(&mut self) {
        self.leases.held.lock().remove(&self.segment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::BucketId;

    fn segment(key: u8) -> SegmentId {
        let bucket = BucketId { date: crate::ids::Date(20_000), key: crate::ids::ShortKey([key; 4]) };
        SegmentId { bucket, number: 0 }
    }

    #[test]
    fn nobody_deletes_what_is_in_use() {
        let leases = Leases::new();
        let writer = leases.shared(segment(1)).unwrap();
        let reader = writer.clone();
        assert_eq!(leases.exclusive(segment(1)).unwrap_err(), InUse(segment(1)));
        drop(writer);
        assert!(leases.exclusive(segment(1)).is_err());
        drop(reader);
        assert!(leases.exclusive(segment(1)).is_ok());
    }

    #[test]
    fn nobody_uses_what_is_being_deleted() {
        let leases = Leases::new();
        let sweeper = leases.exclusive(segment(1)).unwrap();
        assert_eq!(leases.shared(segment(1)).unwrap_err(), BeingDeleted(segment(1)));
        assert!(leases.exclusive(segment(1)).is_err());
        assert!(leases.shared(segment(2)).is_ok());
        drop(sweeper);
        assert!(leases.shared(segment(1)).is_ok());
    }

    #[test]
    fn unwinding_gives_a_lease_up() {
        let leases = Leases::new();
        let held = leases.clone();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _lease = held.shared(segment(1)).unwrap();
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(outcome.is_err());
        assert!(leases.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn shared_and_exclusive_never_meet(steps in proptest::collection::vec((0..4u8, 0..2u8, 0..8usize), 0..200)) {
            let leases = Leases::new();
            let (mut shared, mut exclusive) = (Vec::new(), Vec::new());
            for (step, key, index) in steps {
                let has_shared = shared.iter().any(|it: &SharedLease| it.segment() == segment(key));
                let has_exclusive = exclusive.iter().any(|it: &ExclusiveLease| it.segment() == segment(key));
                match step {
                    0 => {
                        let lease = leases.shared(segment(key));
                        assert_eq!(lease.is_ok(), !has_exclusive);
                        shared.extend(lease);
                    }
                    1 => {
                        let lease = leases.exclusive(segment(key));
                        assert_eq!(lease.is_ok(), !has_exclusive && !has_shared);
                        exclusive.extend(lease);
                    }
                    2 if index < shared.len() => drop(shared.swap_remove(index)),
                    3 if index < exclusive.len() => drop(exclusive.swap_remove(index)),
                    _ => {}
                }
            }
            drop((shared, exclusive));
            assert!(leases.is_empty());
        }
    }
}
