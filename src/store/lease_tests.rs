//! The leases by themselves: who may hold what, and that everything is given back.

use super::lease::*;
use crate::ids::{BucketId, Date, SegmentId, ShortKey};

fn segment(key: u8) -> SegmentId {
    let bucket = BucketId { date: Date(20_000), key: ShortKey([key; 4]) };
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
