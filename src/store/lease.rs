//! The right to use a segment's file and its traces' attachments: shared by writers and readers, exclusive to delete.

use std::collections::HashMap;

use crate::ids::SegmentId;

// Named through the parent, so that `lease_model` can compile this file over locks of its own.
use super::sync::{Arc, Mutex};

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

    /// Whether anybody uses or deletes a segment at this moment.
    pub fn is_used(&self, segment: SegmentId) -> bool {
        self.held.lock().contains_key(&segment)
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
