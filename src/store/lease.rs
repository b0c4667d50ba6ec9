//! The right to use a bucket's files: shared by writers and readers, exclusive to delete.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::ids::BucketId;

/// Who uses which bucket. Clones look at the same leases.
///
/// *Invariant:* a bucket has either any number of shared leases or one exclusive lease, never both.
/// The lock is held for a few instructions and never across a file operation.
#[derive(Clone, Debug, Default)]
pub struct Leases {
    held: Arc<Mutex<HashMap<BucketId, Held>>>,
}

/// What is held of one bucket; nothing held has no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Shared(u32),
    Exclusive,
}

/// The bucket is being deleted: use another file, or come back when it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bucket {0} is being deleted")]
pub struct BeingDeleted(pub BucketId);

/// The bucket is in use, or somebody else deletes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bucket {0} is in use")]
pub struct InUse(pub BucketId);

impl Leases {
    /// No lease held yet.
    pub fn new() -> Leases {
        Leases::default()
    }

    /// The right to read or append. Given up when dropped, by unwinding too.
    ///
    /// # Errors
    /// Somebody deletes the bucket.
    pub fn shared(&self, bucket: BucketId) -> Result<SharedLease, BeingDeleted> {
        let mut held = self.held.lock();
        match held.entry(bucket).or_insert(Held::Shared(0)) {
            Held::Shared(count) => *count += 1,
            Held::Exclusive => return Err(BeingDeleted(bucket)),
        }
        Ok(SharedLease { leases: self.clone(), bucket })
    }

    /// The right to delete, only while nobody else holds anything. Given up when dropped.
    ///
    /// # Errors
    /// Somebody uses the bucket or deletes it already.
    pub fn exclusive(&self, bucket: BucketId) -> Result<ExclusiveLease, InUse> {
        let mut held = self.held.lock();
        if held.contains_key(&bucket) {
            return Err(InUse(bucket));
        }
        held.insert(bucket, Held::Exclusive);
        Ok(ExclusiveLease { leases: self.clone(), bucket })
    }

    /// How many buckets are in use or being deleted.
    pub fn len(&self) -> usize {
        self.held.lock().len()
    }

    /// Whether no bucket is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A bucket's files stay while this lives.
#[derive(Debug)]
#[must_use = "the files may be deleted as soon as the lease is dropped"]
pub struct SharedLease {
    leases: Leases,
    bucket: BucketId,
}

impl SharedLease {
    /// The bucket it is for.
    pub fn bucket(&self) -> BucketId {
        self.bucket
    }
}

impl Clone for SharedLease {
    fn clone(&self) -> SharedLease {
        // While one is held nobody can delete, so another can always be had.
        if let Some(Held::Shared(count)) = self.leases.held.lock().get_mut(&self.bucket) {
            *count += 1;
        }
        SharedLease { leases: self.leases.clone(), bucket: self.bucket }
    }
}

impl Drop for SharedLease {
    fn drop(&mut self) {
        let mut held = self.leases.held.lock();
        match held.get_mut(&self.bucket) {
            Some(Held::Shared(count)) if *count > 1 => *count -= 1,
            _ => {
                held.remove(&self.bucket);
            }
        }
    }
}

/// Nobody else uses a bucket's files while this lives.
#[derive(Debug)]
#[must_use = "others may use the files as soon as the lease is dropped"]
pub struct ExclusiveLease {
    leases: Leases,
    bucket: BucketId,
}

impl ExclusiveLease {
    /// The bucket it is for.
    pub fn bucket(&self) -> BucketId {
        self.bucket
    }
}

impl Drop for ExclusiveLease {
    fn drop(&mut self) {
        self.leases.held.lock().remove(&self.bucket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(key: u8) -> BucketId {
        BucketId { date: crate::ids::Date(20_000), key: crate::ids::ShortKey([key; 4]) }
    }

    #[test]
    fn nobody_deletes_what_is_in_use() {
        let leases = Leases::new();
        let writer = leases.shared(bucket(1)).unwrap();
        let reader = writer.clone();
        assert_eq!(leases.exclusive(bucket(1)).unwrap_err(), InUse(bucket(1)));
        drop(writer);
        assert!(leases.exclusive(bucket(1)).is_err());
        drop(reader);
        assert!(leases.exclusive(bucket(1)).is_ok());
    }

    #[test]
    fn nobody_uses_what_is_being_deleted() {
        let leases = Leases::new();
        let sweeper = leases.exclusive(bucket(1)).unwrap();
        assert_eq!(leases.shared(bucket(1)).unwrap_err(), BeingDeleted(bucket(1)));
        assert!(leases.exclusive(bucket(1)).is_err());
        assert!(leases.shared(bucket(2)).is_ok());
        drop(sweeper);
        assert!(leases.shared(bucket(1)).is_ok());
    }

    #[test]
    fn unwinding_gives_a_lease_up() {
        let leases = Leases::new();
        let held = leases.clone();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _lease = held.shared(bucket(1)).unwrap();
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
                let has_shared = shared.iter().any(|it: &SharedLease| it.bucket() == bucket(key));
                let has_exclusive = exclusive.iter().any(|it: &ExclusiveLease| it.bucket() == bucket(key));
                match step {
                    0 => {
                        let lease = leases.shared(bucket(key));
                        assert_eq!(lease.is_ok(), !has_exclusive);
                        shared.extend(lease);
                    }
                    1 => {
                        let lease = leases.exclusive(bucket(key));
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
