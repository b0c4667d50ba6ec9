//! What is deleted, in which order and why: planned step by step, for only who deletes knows what a step has freed.
//!
//! In this order, until nothing is over its limit:
//!
//! 1. segments whose deletion was begun and not finished;
//! 2. attachments of buckets that have no lines any more;
//! 3. segments older than `max_age`;
//! 4. segments of keys that are over `per_key_max_bytes`;
//! 5. attachments, while all of them are over `media_max_bytes`; their lines stay;
//! 6. segments, while everything is over `max_bytes`.
//!
//! Each goes by age, oldest first: by the day that a bucket was written on, never by what the file system says, so
//! that a restored backup keeps its age; within a bucket by number. The last segment of today's buckets stays, for
//! it is or will be open; so does what was written in the last minutes around midnight. What is in use is passed
//! over and counts as not freed. Without a limit, only step 1 is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::Serialize;

use crate::config::Retention;
use crate::ids::{BucketId, Date, SegmentId, TraceId, UnixMillis};
use crate::store::inventory::{Inventory, Totals};

/// Steps of one plan; then others get their turn.
pub const MOST_STEPS: usize = 1000;
/// What was written so lately is not touched.
const FRESH: Duration = Duration::from_secs(300);
const DAY_MILLIS: i64 = 86_400_000;

/// The limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes that everything recorded may take; 0 = no limit.
    pub max_bytes: u64,
    /// How long a day is kept after it has ended; `None` = for ever.
    pub max_age: Option<Duration>,
    /// From how many percent of `max_bytes` on the state is `warning`.
    pub warn_at_percent: u64,
    /// Bytes that each key's lines and attachments may take; 0 = no limit.
    pub per_key_max_bytes: u64,
    /// Bytes that attachments may take; 0 = no limit.
    pub media_max_bytes: u64,
}

impl Settings {
    /// Whether there is any limit.
    pub fn is_on(&self) -> bool {
        self.max_bytes > 0 || self.max_age.is_some() || self.per_key_max_bytes > 0 || self.media_max_bytes > 0
    }

    /// `max_age` in whole days, rounded up; 0 = no limit.
    pub fn max_age_days(&self) -> u64 {
        let millis = self.max_age.map_or(0, |it| it.as_millis()).div_ceil(DAY_MILLIS.unsigned_abs().into());
        u64::try_from(millis).unwrap_or(u64::MAX)
    }

    /// How full it is, with so many bytes stored; `None` = nobody has looked yet.
    pub fn state(&self, stored: Option<u64>) -> State {
        let Some(stored) = stored else { return State::Pending };
        match self.usage_percent(stored) {
            _ if !self.is_on() => State::Disabled,
            _ if self.max_bytes == 0 => State::Ok,
            100.. => State::Critical,
            percent if percent >= self.warn_at_percent => State::Warning,
            _ => State::Ok,
        }
    }

    /// Hundredths of `max_bytes` that so many bytes are, rounded down; 0 without that limit.
    pub fn usage_percent(&self, stored: u64) -> u64 {
        let percent = (100 * u128::from(stored)).checked_div(self.max_bytes.into()).unwrap_or(0);
        u64::try_from(percent).unwrap_or(u64::MAX)
    }
}

impl From<&Retention> for Settings {
    fn from(configured: &Retention) -> Settings {
        let Retention { max_bytes, max_age, warn_at_percent, per_key_max_bytes, media_max_bytes } = *configured;
        Settings { max_bytes, max_age, warn_at_percent, per_key_max_bytes, media_max_bytes }
    }
}

/// How full it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "StorageState")]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nobody has looked yet.
    Pending,
    /// There is no limit.
    Disabled,
    /// Within the limits.
    Ok,
    /// Near `max_bytes`.
    Warning,
    /// At `max_bytes` or above it.
    Critical,
}

/// Something to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A segment in all its forms, with the attachments of its traces.
    Segment(SegmentId),
    /// A trace's attachments; its line stays.
    Media(BucketId, TraceId),
    /// The folder of a bucket that has no lines.
    Leftover(BucketId),
}

/// Why it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It was being deleted already.
    HalfDeleted,
    /// No line is left that it belongs to.
    NoLines,
    /// It is older than `max_age`.
    MaxAge,
    /// Its key is over `per_key_max_bytes`.
    PerKeyMaxBytes,
    /// All attachments are over `media_max_bytes`.
    MediaMaxBytes,
    /// Everything is over `max_bytes`.
    MaxBytes,
}

/// The passes, in the order of the module's list.
const PASSES: [Why; 6] =
    [Why::HalfDeleted, Why::NoLines, Why::MaxAge, Why::PerKeyMaxBytes, Why::MediaMaxBytes, Why::MaxBytes];

/// A plan being carried out: [`Planner::next`] says what to delete, [`Planner::done`] what that has freed. A step that
/// is not told as done has freed nothing, and is not planned again.
#[derive(Debug)]
pub struct Planner {
    settings: Settings,
    now: UnixMillis,
    /// Buckets of this day and later may still be written to.
    open_since: Date,
    segments: Vec<Segment>,
    protected: BTreeSet<SegmentId>,
    media: BTreeMap<BucketId, BTreeMap<TraceId, u64>>,
    media_in_order: Vec<(TraceId, BucketId)>,
    leftovers: Vec<BucketId>,
    totals: Totals,
    pass: usize,
    at: usize,
    steps: usize,
    is_cut_short: bool,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    id: SegmentId,
    bytes: u64,
    is_half_deleted: bool,
    is_done: bool,
}

impl Planner {
    /// A plan for what was found.
    pub fn new(settings: Settings, inventory: &Inventory, now: UnixMillis) -> Planner {
        let open_since = UnixMillis(now.0 - FRESH.as_millis() as i64).date();
        let segments = inventory.segments.iter().map(|(id, files)| Segment {
            id: *id,
            bytes: files.bytes(),
            is_half_deleted: files.is_half_deleted,
            is_done: false,
        });
        let last_of: BTreeMap<BucketId, SegmentId> = inventory.segments.keys().map(|id| (id.bucket, *id)).collect();
        let fresh_since = SystemTime::UNIX_EPOCH + Duration::from_millis(now.0.max(0).unsigned_abs()) - FRESH;
        let traces = |bucket: &BucketId| inventory.media.get(bucket).into_iter().flat_map(|it| &it.traces);
        let mut media_in_order: Vec<(TraceId, BucketId)> = Vec::new();
        for bucket in inventory.media.keys() {
            let settled = traces(bucket).filter(|(_, media)| media.changed <= fresh_since);
            media_in_order.extend(settled.map(|(trace, _)| (*trace, *bucket)));
        }
        media_in_order.sort_unstable();
        let is_leftover = |bucket: &&BucketId| {
            let is_settled = bucket.date < open_since && traces(bucket).all(|(_, it)| it.changed <= fresh_since);
            is_settled && !last_of.contains_key(bucket)
        };
        let bytes_of = |bucket: &BucketId| traces(bucket).map(|(trace, media)| (*trace, media.bytes)).collect();
        Planner {
            settings,
            now,
            open_since,
            segments: segments.collect(),
            leftovers: inventory.media.keys().filter(is_leftover).copied().collect(),
            protected: last_of.into_values().filter(|id| id.bucket.date >= open_since).collect(),
            media: inventory.media.keys().map(|bucket| (*bucket, bytes_of(bucket))).collect(),
            media_in_order,
            totals: inventory.totals(),
            pass: 0,
            at: 0,
            steps: 0,
            is_cut_short: false,
        }
    }

    /// What to delete now; `None` when all is within its limits, when nothing more may be deleted, or after
    /// [`MOST_STEPS`].
    #[expect(clippy::should_implement_trait, reason = "what comes next depends on what was done")]
    pub fn next(&mut self) -> Option<(Step, Why)> {
        while let Some(&why) = PASSES.get(self.pass) {
            if why != Why::HalfDeleted && !self.settings.is_on() {
                return None;
            }
            let Some(step) = self.candidate(why) else {
                (self.pass, self.at) = (self.pass + 1, 0);
                continue;
            };
            if self.steps == MOST_STEPS {
                self.is_cut_short = true;
                return None;
            }
            self.at += 1;
            self.steps += 1;
            return Some((step, why));
        }
        None
    }

    /// A step was taken. Of a segment: the traces whose attachments went with it.
    pub fn done(&mut self, step: Step, media: &[TraceId]) {
        match step {
            Step::Segment(id) => {
                let Ok(found) = self.segments.binary_search_by_key(&id, |it| it.id) else { return };
                let segment = &mut self.segments[found];
                if !std::mem::replace(&mut segment.is_done, true) {
                    let bytes = segment.bytes;
                    self.freed(id.bucket, bytes);
                }
                media.iter().for_each(|trace| self.forget_media(id.bucket, *trace));
            }
            Step::Media(bucket, trace) => self.forget_media(bucket, trace),
            Step::Leftover(bucket) => {
                let traces: Vec<TraceId> =
                    self.media.get(&bucket).into_iter().flat_map(|it| it.keys().copied()).collect();
                traces.into_iter().for_each(|trace| self.forget_media(bucket, trace));
            }
        }
    }

    /// What is stored, less what was freed.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// There was more to delete than [`MOST_STEPS`].
    pub fn is_cut_short(&self) -> bool {
        self.is_cut_short
    }

    /// Whether files may still come into this day's folders.
    pub fn may_grow(&self, date: Date) -> bool {
        date >= self.open_since
    }

    /// The next candidate of a pass that is over its limit, from `self.at` on, which is moved to it.
    fn candidate(&mut self, why: Why) -> Option<Step> {
        match why {
            Why::NoLines => self.leftovers.get(self.at).map(|bucket| Step::Leftover(*bucket)),
            Why::MediaMaxBytes => {
                while self.is_over(self.totals.media, self.settings.media_max_bytes) {
                    let (trace, bucket) = *self.media_in_order.get(self.at)?;
                    if self.media.get(&bucket).is_some_and(|it| it.contains_key(&trace)) {
                        return Some(Step::Media(bucket, trace));
                    }
                    self.at += 1;
                }
                None
            }
            Why::HalfDeleted | Why::MaxAge | Why::PerKeyMaxBytes | Why::MaxBytes => {
                while let Some(segment) = self.segments.get(self.at).copied() {
                    if !segment.is_done && !self.protected.contains(&segment.id) && self.is_due(segment, why) {
                        return Some(Step::Segment(segment.id));
                    }
                    self.at += 1;
                }
                None
            }
        }
    }

    fn is_due(&self, segment: Segment, why: Why) -> bool {
        let bucket = segment.id.bucket;
        match why {
            Why::HalfDeleted => segment.is_half_deleted,
            Why::MaxAge => self.settings.max_age.is_some_and(|most| {
                let ended = (i64::from(bucket.date.0) + 1) * DAY_MILLIS;
                i128::from(self.now.0) - i128::from(ended) >= most.as_millis().try_into().unwrap_or(i128::MAX)
            }),
            Why::PerKeyMaxBytes => {
                let stored = self.totals.by_key.get(&bucket.key).copied().unwrap_or(0);
                self.is_over(stored, self.settings.per_key_max_bytes)
            }
            Why::MaxBytes => self.is_over(self.totals.all, self.settings.max_bytes),
            Why::NoLines | Why::MediaMaxBytes => false,
        }
    }

    fn is_over(&self, stored: u64, most: u64) -> bool {
        most > 0 && stored > most
    }

    fn forget_media(&mut self, bucket: BucketId, trace: TraceId) {
        if let Some(bytes) = self.media.get_mut(&bucket).and_then(|it| it.remove(&trace)) {
            self.totals.media = self.totals.media.saturating_sub(bytes);
            self.freed(bucket, bytes);
        }
    }

    fn freed(&mut self, bucket: BucketId, bytes: u64) {
        self.totals.all = self.totals.all.saturating_sub(bytes);
        if let Some(of_key) = self.totals.by_key.get_mut(&bucket.key) {
            *of_key = of_key.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
