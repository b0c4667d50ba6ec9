//! The sweeper: keeps the data dir within its limits, and says how full it and its disk are.
//!
//! It owns what it saw last. It is woken by time and by a nudge, looks, plans, and deletes one thing after the other.
//! A crash costs that look: a deletion that was begun is marked on the disk, and the next look finishes it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api_log::counters::Counters;
use api_log::ids::{BucketId, SegmentId, TraceId, UnixMillis};
use api_log::store::disk::{DiskSpace, Room};
use api_log::store::evict::{self, Asked, Evicted};
use api_log::store::inventory::Inventory;
use api_log::store::layout::Layout;
use api_log::store::lease::Leases;
use api_log::store::open_segments::OpenSegments;
use api_log::store::retention::{Planner, Settings, State as Stored, Step, Why};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::Live;
use crate::kit::{ChildHealth, Condition, Pending, Slot};
use crate::record::index::{self, Door};

/// How often it looks at the disk, and whether something has become too old.
const TICK: Duration = Duration::from_secs(60);
/// How often it counts everything, whatever was told to have been written.
const COUNT_EVERY: Duration = Duration::from_secs(600);
/// Until it goes on with what was more than one plan may delete.
const SOON: Duration = Duration::from_secs(1);
/// Until it comes back to what could not be deleted, for somebody read or sealed it, or the disk refused.
const AGAIN: Duration = Duration::from_secs(5);
/// How long the rows of all segments of a sweep may take together: an index that is slow or busy must not make the
/// limits helpless. Those that are left are removed when their file is found gone.
const ROWS_WITHIN: Duration = Duration::from_secs(30);
/// What each segment's rows may take, if that is used up.
const ROWS_WITHIN_AT_LEAST: Duration = Duration::from_millis(100);
/// Bytes that may be written beyond a limit that nothing can be done about, until it is tried again.
const LEAST_SLACK: u64 = 1 << 20;
/// Days after which nothing is written into a bucket any more, so that its attachments need not be counted again.
const SETTLED_DAYS: i32 = 2;

pub(crate) struct Sweeper;

pub(crate) enum Msg {
    /// Time has passed.
    Tick,
    /// Something has happened: a limit was set or passed, or the disk refuses.
    Look,
    /// Deletes the next of what is planned.
    Step,
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) layout: Layout,
    pub(crate) leases: Leases,
    pub(crate) segments: OpenSegments,
    pub(crate) live: Arc<Live>,
    pub(crate) index: Slot<index::Msg>,
    pub(crate) door: Door,
    pub(crate) counters: Arc<Counters>,
    pub(crate) health: Arc<ChildHealth>,
    /// Raised while the disk has little room.
    pub(crate) disk_filling: Condition,
}

pub(crate) struct State {
    args: Args,
    /// What stands there, as far as it is known.
    inventory: Option<Inventory>,
    counted: Option<Instant>,
    room: Room,
    sweep: Option<Sweep>,
    /// Somebody asked for a look while there was a sweep.
    looks_again: bool,
    /// At the last look the data dir had passed the level at which that is told.
    is_warned: bool,
}

/// A plan being carried out.
struct Sweep {
    plan: Planner,
    /// The limits that it is for.
    change: u64,
    freed: u64,
    /// Something stays that should not.
    left_some: bool,
    /// How long it waits for the index yet.
    patience: Duration,
    _pending: Pending,
}

impl Actor for Sweeper {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        // A predecessor may have lost what it was asked.
        args.live.gauge.begin();
        myself.cast(Msg::Look)?;
        myself.send_interval(TICK, || Msg::Tick);
        Ok(State {
            args,
            inventory: None,
            counted: None,
            room: Room::Ample,
            sweep: None,
            looks_again: false,
            is_warned: false,
        })
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Tick => state.look(&myself, false).await,
            Msg::Look => {
                state.args.live.gauge.begin();
                state.look(&myself, true).await;
            }
            Msg::Step => state.step(&myself).await,
        }
        Ok(())
    }
}

impl State {
    async fn look(&mut self, myself: &ActorRef<Msg>, counts: bool) {
        fault!(await "sweeper");
        let pending = self.args.health.begin();
        self.look_at_disk().await;
        if self.sweep.is_some() {
            self.looks_again |= counts;
            return;
        }
        if (counts || self.counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY)) && !self.count().await {
            return;
        }
        let limits = self.args.live.limits();
        self.warn(limits.settings);
        let Some(inventory) = &self.inventory else { return };
        // What was set cannot be read: on a doubt nothing is deleted.
        let settings = if limits.is_doubtful { no_limits(limits.settings) } else { limits.settings };
        let plan = Planner::new(settings, inventory, UnixMillis::now());
        if settings.is_on() {
            let old = inventory.empty.iter().filter(|(date, _)| !plan.may_grow(*date));
            old.for_each(|(_, folder)| evict::remove_if_empty(folder));
        }
        self.sweep = Some(Sweep {
            plan,
            change: limits.change,
            freed: 0,
            left_some: false,
            patience: ROWS_WITHIN,
            _pending: pending,
        });
        // An error means that the recorder ends.
        let _ = myself.cast(Msg::Step);
    }

    /// Says once that the data dir has passed `retention.warn_at_percent`, until it was below.
    fn warn(&mut self, settings: Settings) {
        let Some(stored) = self.inventory.as_ref().map(|it| it.totals().all) else { return };
        let is_over = matches!(settings.state(Some(stored)), Stored::Warning | Stored::Critical);
        if is_over && !self.is_warned {
            let (percent, max_bytes) = (settings.usage_percent(stored), settings.max_bytes);
            tracing::warn!(
                stored_bytes = stored,
                max_bytes,
                percent,
                "retention.warn_at_percent is passed; the oldest goes at 100"
            );
        }
        self.is_warned = is_over;
    }

    async fn look_at_disk(&mut self) {
        let root = self.args.layout.root().to_owned();
        let space = match tokio::task::spawn_blocking(move || DiskSpace::of(&root)).await {
            Ok(Ok(space)) => space,
            Ok(Err(error)) => return tracing::warn!(%error, "the data dir's disk cannot be looked at"),
            Err(_) => return,
        };
        self.args.live.saw(|seen| seen.disk = Some(space));
        let room = space.room(self.room);
        let is_news = room != std::mem::replace(&mut self.room, room);
        let (free, percent) = (space.free, space.free_percent());
        match room {
            Room::Ample => {
                if self.args.disk_filling.clear() {
                    tracing::info!(free_bytes = free, free_percent = percent, "the data dir's disk has room again");
                }
            }
            Room::Little | Room::AlmostNone => {
                self.args.disk_filling.raise(format!("{free} bytes ({percent} %) are left on the data dir's disk"));
                if is_news {
                    tracing::warn!(free_bytes = free, free_percent = percent, "the data dir's disk is filling up");
                }
            }
        }
    }

    /// Counts what stands in the data dir. `false` if that cannot be done.
    async fn count(&mut self) -> bool {
        let written = self.args.live.gauge.written();
        let (layout, earlier) = (self.args.layout.clone(), self.inventory.take());
        let settled = api_log::ids::Date(UnixMillis::now().date().0 - SETTLED_DAYS);
        let looked = tokio::task::spawn_blocking(move || Inventory::look(&layout, earlier.as_ref(), settled)).await;
        self.args.health.progressed();
        let inventory = match looked {
            Ok(Ok(inventory)) => inventory,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the data dir cannot be looked at; nothing is deleted");
                return false;
            }
            Err(_) => return false,
        };
        for (path, error) in &inventory.unreadable {
            tracing::warn!(path = %path.display(), error, "this does not count among what is stored");
        }
        let totals = inventory.totals();
        self.args.live.saw(|seen| {
            (seen.stored, seen.written) = (Some((totals.all, totals.media)), written);
        });
        (self.inventory, self.counted) = (Some(inventory), Some(Instant::now()));
        true
    }

    async fn step(&mut self, myself: &ActorRef<Msg>) {
        let Some(mut sweep) = self.sweep.take() else { return };
        if sweep.change != self.args.live.limits().change {
            // Other limits by now: what is planned may be unwanted.
            self.tell(&sweep);
            let _ = myself.cast(Msg::Look);
            return;
        }
        let Some((step, why)) = sweep.plan.next() else { return self.finish(myself, &sweep) };
        let deleted = match step {
            Step::Segment(segment) => self.delete_segment(segment, why, &mut sweep).await,
            Step::Media(bucket, trace) => self.delete_media(bucket, trace).await,
            Step::Leftover(bucket) => self.delete_leftover(bucket).await,
        };
        self.args.health.progressed();
        if let Some(evicted) = deleted {
            sweep.plan.done(step, &evicted.media);
            sweep.freed += evicted.bytes;
            self.forget(step, &evicted.media);
            self.publish(&sweep, matches!(step, Step::Segment(_)), evicted.bytes);
        } else {
            sweep.left_some = true;
        }
        self.sweep = Some(sweep);
        let _ = myself.cast(Msg::Step);
    }

    /// A segment with all that belongs to it: rows first, so that no list shows what cannot be read.
    async fn delete_segment(&self, segment: SegmentId, why: Why, sweep: &mut Sweep) -> Option<Evicted> {
        // In use: passed over, and looked at again soon.
        let lease = self.args.leases.exclusive(segment).ok()?;
        // Closed, and so it stays: no writer opens it again while it is half there.
        if !self.args.segments.finish(segment) {
            return None;
        }
        let layout = self.args.layout.clone();
        let (lease, begun) = tokio::task::spawn_blocking(move || (lease, evict::begin(&layout, segment))).await.ok()?;
        if let Err(error) = begun {
            // A full disk must not hinder what makes room on it.
            tracing::warn!(%segment, %error, "a deletion cannot be marked; it is begun all the same");
        }
        fault!(await "sweeper.marked");
        let asked = self.args.index.ask(|reply| index::Msg::RemoveSegment { segment, reply });
        let began = tokio::time::Instant::now();
        let within = sweep.patience.max(ROWS_WITHIN_AT_LEAST);
        let rows = tokio::time::timeout(within, asked).await.ok().and_then(Result::ok);
        sweep.patience = sweep.patience.saturating_sub(began.elapsed());
        if rows.is_none() {
            tracing::warn!(%segment, "the index is not there to remove rows; it does when it finds the file gone");
        }
        fault!(await "sweeper.unindexed");
        let (layout, counters) = (self.args.layout.clone(), self.args.counters.clone());
        let may_grow = sweep.plan.may_grow(segment.bucket.date);
        let asked = Asked { may_grow, counts: rows.is_none_or(|rows| rows == 0) };
        let deleted = tokio::task::spawn_blocking(move || {
            // Given up here, for this goes on when the sweeper is killed.
            let _lease = lease;
            let evicted = evict::segment(&layout, segment, asked)?;
            counters.evicted_bytes.add(evicted.bytes);
            counters.evicted_traces.add(rows.unwrap_or(0).max(evicted.traces.unwrap_or(0)));
            Ok::<Evicted, std::io::Error>(evicted)
        });
        let evicted = match deleted.await {
            Ok(Ok(evicted)) => Some(evicted),
            Ok(Err(error)) => {
                tracing::warn!(%segment, %error, "a segment could not be deleted; it is tried again");
                None
            }
            Err(_) => None,
        };
        if rows.is_none() || evicted.is_none() {
            self.args.door.mark_missed();
        }
        if let Some(evicted) = &evicted {
            tracing::info!(%segment, ?why, bytes = evicted.bytes, rows, "deleted a segment");
        }
        evicted
    }

    /// A trace's attachments. Their line may be anywhere in the bucket: whoever reads any of it keeps them.
    async fn delete_media(&self, bucket: BucketId, trace: TraceId) -> Option<Evicted> {
        let mut closed = self.inventory.as_ref()?.segments.keys().filter(|it| it.bucket == bucket).rev();
        // The last one has a writer, perhaps, who reads nothing.
        let _last = closed.next();
        if closed.any(|it| self.args.leases.is_used(*it)) {
            return None;
        }
        let evicted =
            self.delete(move |layout| evict::media(layout, bucket, trace), format!("media of {trace}")).await?;
        self.args.door.correct_media_count(trace, 0);
        Some(evicted)
    }

    async fn delete_leftover(&self, bucket: BucketId) -> Option<Evicted> {
        let evicted = self.delete(move |layout| evict::leftover(layout, bucket), bucket.to_string()).await?;
        tracing::info!(%bucket, bytes = evicted.bytes, "deleted attachments without lines");
        Some(evicted)
    }

    async fn delete(
        &self,
        delete: impl FnOnce(&Layout) -> std::io::Result<u64> + Send + 'static,
        what: String,
    ) -> Option<Evicted> {
        let (layout, counters) = (self.args.layout.clone(), self.args.counters.clone());
        let deleted = tokio::task::spawn_blocking(move || {
            let bytes = delete(&layout)?;
            counters.evicted_bytes.add(bytes);
            Ok::<u64, std::io::Error>(bytes)
        });
        match deleted.await.ok()? {
            Ok(bytes) => Some(Evicted { bytes, ..Evicted::default() }),
            Err(error) => {
                tracing::warn!(what, %error, "it could not be deleted; it is tried again");
                None
            }
        }
    }

    /// Takes what was deleted out of what is known.
    fn forget(&mut self, step: Step, media: &[TraceId]) {
        let Some(inventory) = &mut self.inventory else { return };
        let mut forget_media = |bucket: BucketId, traces: &[TraceId]| {
            if let Some(folder) = inventory.media.get_mut(&bucket) {
                folder.traces.retain(|trace, _| !traces.contains(trace));
            }
        };
        match step {
            Step::Segment(segment) => {
                forget_media(segment.bucket, media);
                inventory.segments.remove(&segment);
            }
            Step::Media(bucket, trace) => forget_media(bucket, &[trace]),
            Step::Leftover(bucket) => drop(inventory.media.remove(&bucket)),
        }
    }

    fn publish(&self, sweep: &Sweep, is_segment: bool, bytes: u64) {
        let totals = sweep.plan.totals();
        self.args.live.saw(|seen| {
            seen.stored = Some((totals.all, totals.media));
            seen.evicted_segments += u64::from(is_segment);
            // Of the last sweep as a whole.
            let before = if sweep.freed == bytes { 0 } else { seen.last_eviction.map_or(0, |(_, bytes)| bytes) };
            seen.last_eviction = Some((UnixMillis::now(), before + bytes));
        });
    }

    fn finish(&mut self, myself: &ActorRef<Msg>, sweep: &Sweep) {
        self.tell(sweep);
        let is_cut_short = sweep.plan.is_cut_short();
        self.args.live.saw(|seen| {
            seen.is_cut_short = is_cut_short;
            seen.sweeps += 1;
        });
        self.arm(sweep);
        if is_cut_short {
            myself.send_after(SOON, || Msg::Look);
        } else if std::mem::take(&mut self.looks_again) {
            let _ = myself.cast(Msg::Look);
        } else if sweep.left_some {
            myself.send_after(AGAIN, || Msg::Tick);
        }
    }

    /// Has itself woken when a limit is passed by what is written.
    fn arm(&self, sweep: &Sweep) {
        let settings = self.args.live.limits().settings;
        let totals = sweep.plan.totals();
        let of_a_key = totals.by_key.values().copied().max().unwrap_or(0);
        let limits = [
            (settings.max_bytes, totals.all),
            (settings.per_key_max_bytes, of_a_key),
            (settings.media_max_bytes, totals.media),
        ];
        // Beyond its limit already: nothing more could be done about it for now.
        let room = |(most, stored): (u64, u64)| match most.checked_sub(stored) {
            Some(room) => room + 1,
            None => (most / 100).max(LEAST_SLACK),
        };
        let room = limits.into_iter().filter(|(most, _)| *most > 0).map(room).min();
        let counted_at = self.args.live.written_at_count();
        self.args.live.gauge.look_at(room.map_or(u64::MAX, |room| counted_at.saturating_add(room)));
    }

    fn tell(&self, sweep: &Sweep) {
        if sweep.freed > 0 {
            tracing::info!(freed = sweep.freed, stored = sweep.plan.totals().all, "retention made room");
        }
    }
}

/// Nothing is deleted but what was half deleted.
fn no_limits(settings: Settings) -> Settings {
    Settings { max_bytes: 0, max_age: None, per_key_max_bytes: 0, media_max_bytes: 0, ..settings }
}
