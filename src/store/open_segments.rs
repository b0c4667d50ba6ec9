//! Which segments are being appended to, and which never will be again.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::ids::{BucketId, Date, SegmentId};

/// The segments that writers have open, across their restarts, and the numbers that are spent. Clones look at the same
/// table.
///
/// Who seals or deletes a segment calls [`OpenSegments::finish`] first: then no writer opens it, now or later.
///
/// *Invariants:* a bucket has at most one writer; a segment is open only while its number is not spent; a number that
/// is spent stays so for as long as its day may still be written. The lock is held for a few instructions.
#[derive(Clone, Debug, Default)]
pub struct OpenSegments(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// Buckets that have a writer, and the segment that it has open.
    writing: HashMap<BucketId, Option<SegmentId>>,
    /// The lowest number that may be opened; 0 for buckets that are not here.
    first_free: HashMap<BucketId, u32>,
}

/// The right to append to a bucket's segments; given up when dropped.
///
/// A crash of the writers' owner kills them, but nobody waits for them: one may be in the midst of an append. Two that
/// append to one file would give wrong places for their lines, and take the other's half-written line for torn.
#[derive(Debug)]
pub struct SoleWriter {
    segments: OpenSegments,
    bucket: BucketId,
}

impl OpenSegments {
    /// Nothing is open yet.
    pub fn new() -> OpenSegments {
        OpenSegments::default()
    }

    /// The right to this bucket's segments, unless somebody has it.
    pub fn take(&self, bucket: BucketId) -> Option<SoleWriter> {
        let mut table = self.0.lock();
        if table.writing.contains_key(&bucket) {
            return None;
        }
        table.writing.insert(bucket, None);
        Some(SoleWriter { segments: self.clone(), bucket })
    }

    /// Whether a writer has this segment open.
    pub fn is_open(&self, segment: SegmentId) -> bool {
        self.open_of(segment.bucket) == Some(segment)
    }

    /// The segment of this bucket that is open.
    pub fn open_of(&self, bucket: BucketId) -> Option<SegmentId> {
        self.0.lock().writing.get(&bucket).copied().flatten()
    }

    /// Whether a bucket has a writer, which may open a segment of it at any moment.
    pub fn is_written(&self, bucket: BucketId) -> bool {
        self.0.lock().writing.contains_key(&bucket)
    }

    /// Sees to it that no writer opens this segment, nor an earlier one of its bucket, from now on. `false`, and no
    /// change, if it is open.
    pub fn finish(&self, segment: SegmentId) -> bool {
        let mut table = self.0.lock();
        let open = table.writing.get(&segment.bucket).copied().flatten();
        if open.is_some_and(|open| open.number <= segment.number) {
            return false;
        }
        table.spend(segment);
        true
    }

    /// Forgets the spent numbers of days before this one. They are not written any more.
    pub fn forget_before(&self, date: Date) {
        self.0.lock().first_free.retain(|bucket, _| bucket.date >= date);
    }
}

impl Table {
    fn spend(&mut self, segment: SegmentId) {
        let first_free = self.first_free.entry(segment.bucket).or_insert(0);
        *first_free = (*first_free).max(segment.number.saturating_add(1));
    }
}

impl SoleWriter {
    /// Whose segments.
    pub fn bucket(&self) -> BucketId {
        self.bucket
    }

    /// The lowest number that is not spent.
    pub fn first_free(&self) -> u32 {
        self.segments.0.lock().first_free.get(&self.bucket).copied().unwrap_or(0)
    }

    /// Marks this bucket's segment of that number as open, in place of the one that was. `false` if the number is spent.
    pub fn open(&self, number: u32) -> bool {
        let mut table = self.segments.0.lock();
        if number < table.first_free.get(&self.bucket).copied().unwrap_or(0) {
            return false;
        }
        table.writing.insert(self.bucket, Some(SegmentId { bucket: self.bucket, number }));
        true
    }

    /// No segment is open any more; the last one may be opened again.
    pub fn close(&self) {
        self.segments.0.lock().writing.insert(self.bucket, None);
    }

    /// No segment is open any more, and this number and those below are spent.
    pub fn close_for_good(&self, number: u32) {
        let mut table = self.segments.0.lock();
        table.writing.insert(self.bucket, None);
        table.spend(SegmentId { bucket: self.bucket, number });
    }
}

impl Drop for SoleWriter {
    fn drop(&mut self) {
        self.segments.0.lock().writing.remove(&self.bucket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShortKey;

    fn bucket(key: u8) -> BucketId {
        BucketId { date: Date(20_000), key: ShortKey([key; 4]) }
    }

    fn segment(key: u8, number: u32) -> SegmentId {
        SegmentId { bucket: bucket(key), number }
    }

    #[test]
    fn a_bucket_has_one_writer_until_that_one_is_gone() {
        let segments = OpenSegments::new();
        let sole = segments.take(bucket(1)).unwrap();
        assert!(segments.clone().take(bucket(1)).is_none(), "also after a restart, which keeps the table");
        assert!(segments.take(bucket(2)).is_some());
        assert!(segments.is_written(bucket(1)));
        drop(sole);
        assert!(!segments.is_written(bucket(1)));
        assert!(segments.take(bucket(1)).is_some());
    }

    #[test]
    fn others_see_which_segment_is_open() {
        let segments = OpenSegments::new();
        let sole = segments.take(bucket(1)).unwrap();
        assert!(!segments.is_open(segment(1, 0)));
        assert!(sole.open(0));
        assert!(segments.is_open(segment(1, 0)) && !segments.is_open(segment(1, 1)));
        sole.close_for_good(0);
        assert!(!segments.is_open(segment(1, 0)));
        assert!(sole.open(1) && segments.is_open(segment(1, 1)));
        drop(sole);
        assert_eq!(segments.open_of(bucket(1)), None);
    }

    #[test]
    fn what_is_finished_is_never_opened_again_while_its_day_is_written() {
        let segments = OpenSegments::new();
        let sole = segments.take(bucket(1)).unwrap();
        assert!(sole.open(1));
        assert!(!segments.finish(segment(1, 1)), "it is open");
        assert!(!segments.finish(segment(1, 2)), "an earlier one is open");
        assert!(segments.finish(segment(1, 0)), "it is behind the open one");
        sole.close();
        assert!(segments.finish(segment(1, 1)));
        assert!(!sole.open(1));
        assert_eq!(sole.first_free(), 2);
        drop(sole);
        segments.forget_before(Date(20_000));
        let sole = segments.take(bucket(1)).unwrap();
        assert!(!sole.open(1) && sole.open(2));
        segments.forget_before(Date(20_001));
        assert_eq!(sole.first_free(), 0);
    }
}
