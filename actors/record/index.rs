//! The index: owns the one SQLite connection that writes.
//!
//! It is a tailer of the files. Rows are offered to it; what it has no room for, cannot write, or loses in a
//! crash, it reads back from the files, at its start and whenever something was missed. An index that is deleted,
//! replaced, damaged, locked or refused by its disk is noticed while running ([`super::index_open`]) and healed
//! ([`super::index_healing`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api_log::counters::Counters;
use api_log::ids::{Place, SegmentId, TraceId};
use api_log::index::check::Checked;
use api_log::index::{self, BatchReport, Progress};
use api_log::jsonl::line::read_row_with;
use api_log::store::layout::Layout;
use api_log::store::lease::Leases;
use api_log::trace::{Row, Texts};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use super::index_healing::Healing;
use super::index_merging::Merging;
use super::index_open::Open;
use super::index_status::Status;
use crate::kit::{Budget, ChildHealth, Pending, Permit, Registry, Slot};

/// Rows of one transaction.
const BATCH_ROWS: usize = 1024;
/// How long rows gather while there are many.
const GATHER: Duration = Duration::from_millis(50);
/// How long nothing comes until memory is given back.
const IDLE: Duration = Duration::from_secs(5);
/// How often it looks whether something was missed.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Line bytes that one step of catching up reads, so that fresh rows need not wait long.
const CATCH_UP_BYTES: u64 = 8 << 20;
/// When a segment that cannot be read is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Rows that may wait, and what a row is taken to weigh.
const MOST_WAITING: usize = 131_072;
const ROW_BYTES: u64 = 1024;
/// What a correction is taken to weigh.
const CORRECTION_BYTES: u64 = 128;
/// What each turn of a row's conversation adds: its prefix hash and its fingerprint.
const TURN_BYTES: usize = 24;

pub(crate) struct Index;

pub(crate) enum Msg {
    /// A line stands at its place: here is its row.
    Insert(Offered),
    /// The gathering time is over.
    Flush,
    /// Something may have been missed, or have become of the file.
    Look,
    /// Reads back the next of what was missed.
    CatchUp,
    /// Merges the next fresh rows.
    Merge,
    /// A trace's attachments have been written.
    MediaCount {
        /// Which trace.
        id: TraceId,
        /// How many there are.
        count: u32,
        /// Its room.
        _permit: Permit,
    },
    /// The index was looked through.
    Checked(Checked),
    /// Removes a segment's rows, for its file is about to be deleted, and says how many there were.
    RemoveSegment {
        /// Which segment. Who asks holds its exclusive lease.
        segment: SegmentId,
        /// Dropped if the index cannot be written.
        reply: RpcReplyPort<u64>,
    },
}

/// A row on its way to the index.
pub(crate) struct Offered {
    row: Arc<Row>,
    place: Place,
    _permit: Permit,
    _pending: Pending,
}

/// The way into the index, for writers: never waits. What it cannot take is read back later.
#[derive(Clone)]
pub(crate) struct Door {
    pub(super) slot: Slot<Msg>,
    room: Budget,
    missed: Arc<AtomicBool>,
    health: Arc<ChildHealth>,
    status: Arc<Status>,
}

impl Door {
    /// The way to whoever is in `slot`.
    pub(crate) fn new(slot: Slot<Msg>, registry: &Registry) -> Door {
        let room = Budget::new(MOST_WAITING as u64 * ROW_BYTES, MOST_WAITING);
        registry.show("index_rows", &room);
        let (health, status) = (registry.child("index"), Arc::new(Status::new(registry)));
        Door { slot, room, missed: Arc::new(AtomicBool::new(false)), health, status }
    }

    /// How many rows wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.room.report().used_count
    }

    /// How the index is.
    pub(crate) fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Asks for a new index, and tells the number of the rebuild that will bring it.
    pub(crate) fn rebuild(&self) -> u64 {
        let number = self.status.want_rebuild();
        // Lost, it is seen at the next look.
        let _ = self.slot.cast(Msg::Look);
        number
    }

    /// Offers a row.
    pub(crate) fn offer(&self, row: Arc<Row>, place: Place) {
        let texts = row.texts.as_ref().map_or(0, Texts::len);
        let weight = ROW_BYTES + (row.conversation.prefixes.len() * TURN_BYTES + texts) as u64;
        let taken = self.room.try_take(weight).is_some_and(|_permit| {
            let _pending = self.health.begin();
            self.slot.cast(Msg::Insert(Offered { row, place, _permit, _pending })).is_ok()
        });
        if !taken {
            self.mark_missed();
        }
    }

    /// Says that rows may not have been offered: the index looks into the files.
    pub(crate) fn mark_missed(&self) {
        self.missed.store(true, Ordering::Release);
    }

    /// Corrects a row. If that is lost, a rebuild counts again.
    pub(crate) fn correct_media_count(&self, id: TraceId, count: u32) {
        let cast =
            self.room.try_take(CORRECTION_BYTES).map(|_permit| self.slot.cast(Msg::MediaCount { id, count, _permit }));
        if cast.is_none_or(|it| it.is_err()) {
            self.status.keep_correction(id, count);
        }
    }
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) layout: Layout,
    pub(crate) leases: Leases,
    pub(crate) counters: Arc<Counters>,
    pub(crate) health: Arc<ChildHealth>,
    pub(crate) door: Door,
    /// How many bytes of a trace's texts are kept, if any are.
    pub(crate) text_bytes: Option<usize>,
}

pub(crate) struct State {
    pub(super) args: Args,
    pub(super) open: Option<Open>,
    pub(super) healing: Healing,
    waiting: Vec<Offered>,
    flushed: Instant,
    /// Pages were read and written since memory was given back.
    pub(super) is_warm: bool,
    pub(super) merging: Merging,
    is_armed: bool,
    is_catching_up: bool,
    /// Segments that could not be read, and when they are tried again.
    unreadable: Vec<(SegmentId, String)>,
    try_again: Option<Instant>,
}

impl Actor for Index {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    /// Opens nothing yet: whatever state the index is in, recording begins.
    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        args.door.mark_missed();
        myself.cast(Msg::Look)?;
        myself.send_interval(LOOK_EVERY, || Msg::Look);
        Ok(State {
            args,
            open: None,
            healing: Healing::default(),
            waiting: Vec::with_capacity(BATCH_ROWS),
            flushed: Instant::now(),
            is_warm: false,
            merging: Merging::default(),
            is_armed: false,
            is_catching_up: false,
            unreadable: Vec::new(),
            try_again: None,
        })
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Insert(offered) => state.gather(&myself, offered).await,
            Msg::Flush => {
                state.is_armed = false;
                state.flush(&myself).await;
            }
            Msg::Look => state.look(&myself).await,
            Msg::CatchUp => state.catch_up(&myself).await,
            Msg::Merge => state.merge(&myself).await,
            Msg::MediaCount { id, count, _permit } => state.correct(&myself, id, count).await,
            Msg::Checked(checked) => state.checked(&myself, checked).await,
            Msg::RemoveSegment { segment, reply } => state.remove_segment(&myself, segment, reply).await,
        }
        Ok(())
    }

    async fn post_stop(&self, myself: ActorRef<Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.flush(&myself).await;
        // A row can be behind a line that came while the index was being opened. What is more waits for the next start.
        if state.is_catching_up || state.args.door.missed.swap(false, Ordering::AcqRel) {
            state.catch_up(&myself).await;
        }
        state.leave_off().await;
        Ok(())
    }
}

impl State {
    pub(super) fn status(&self) -> &Status {
        &self.args.door.status
    }

    async fn gather(&mut self, myself: &ActorRef<Msg>, offered: Offered) {
        self.waiting.push(offered);
        if self.waiting.len() >= BATCH_ROWS {
            self.flush(myself).await;
        } else if !self.is_armed {
            self.is_armed = true;
            let since = self.flushed.elapsed();
            if since >= GATHER {
                let _ = myself.cast(Msg::Flush);
            } else {
                myself.send_after(GATHER - since, || Msg::Flush);
            }
        }
    }

    /// One transaction for all that waits.
    async fn flush(&mut self, myself: &ActorRef<Msg>) {
        self.flushed = Instant::now();
        if self.waiting.is_empty() {
            return;
        }
        fault!(await "index");
        self.is_warm = true;
        let batch = std::mem::take(&mut self.waiting);
        if self.healing.is_resting() {
            // It was just refused: rather than hold rows for long, they are let go, and read back.
            self.missed();
            return;
        }
        let rows = batch.len() as u64;
        let (rows_of, keep): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|it| ((it.row, it.place), (it._permit, it._pending))).unzip();
        let is_rush = self.is_rush();
        let began = Instant::now();
        let insert = move |connection: &mut _, memory: &mut _| match is_rush {
            true => index::insert_fresh(connection, memory, &rows_of),
            false => index::insert_batch(connection, memory, &rows_of),
        };
        let outcome = self.run(myself, insert).await;
        drop(keep);
        self.args.counters.timings.sqlite_ms.observe(began.elapsed());
        match outcome {
            Ok(BatchReport { inserted, behind, fresh, .. }) => {
                self.args.counters.indexed.add(inserted as u64);
                self.status().grew(inserted as u64);
                self.are_fresh(myself, rows, fresh);
                if !behind.is_empty() {
                    self.begin_to_catch_up(myself);
                }
            }
            Err(()) => {
                self.args.counters.drop_sqlite_fail.add(rows);
                self.missed();
            }
        }
    }

    /// Whether nothing has come for a while, for the first time since something came.
    pub(super) fn has_become_idle(&mut self) -> bool {
        let is_busy = self.is_catching_up || !self.merging.is_done();
        let is_idle = self.is_warm && !is_busy && self.flushed.elapsed() >= IDLE;
        if is_idle {
            self.is_warm = false;
        }
        is_idle
    }

    /// What is missing now is read back at the next look.
    pub(super) fn missed(&self) {
        self.args.door.mark_missed();
        self.status().set_catching_up();
    }

    async fn look(&mut self, myself: &ActorRef<Msg>) {
        self.heal(myself).await;
        if self.healing.is_resting() {
            return;
        }
        self.go_on_merging(myself);
        let is_due = self.try_again.is_some_and(|due| Instant::now() >= due);
        if self.args.door.missed.swap(false, Ordering::AcqRel) || is_due {
            self.begin_to_catch_up(myself);
        }
    }

    pub(super) fn begin_to_catch_up(&mut self, myself: &ActorRef<Msg>) {
        self.status().set_catching_up();
        if !self.is_catching_up {
            self.is_catching_up = true;
            let _ = myself.cast(Msg::CatchUp);
        }
    }

    /// One step; the next is behind what has come meanwhile.
    async fn catch_up(&mut self, myself: &ActorRef<Msg>) {
        self.is_catching_up = false;
        self.is_warm = true;
        if self.healing.is_resting() {
            return self.missed();
        }
        let _under_way = self.args.health.begin();
        let (layout, text_bytes) = (self.args.layout.clone(), self.args.text_bytes);
        let budget = index::Budget { bytes: CATCH_UP_BYTES };
        let read_row = move |line: &[u8]| read_row_with(line, text_bytes);
        let caught_up = self
            .run(myself, move |connection, memory| index::catch_up(connection, memory, &layout, read_row, budget))
            .await;
        let Ok(progress) = caught_up else { return self.missed() };
        self.status().caught_up_to(&progress);
        let Progress { is_done, inserted, bad_lines, removed, unreadable, .. } = progress;
        self.args.counters.indexed.add(inserted);
        self.status().grew(inserted);
        if inserted + bad_lines + removed > 0 {
            tracing::info!(inserted, bad_lines, removed, "the index read back what it had missed");
        }
        if is_done {
            self.try_again = (!unreadable.is_empty()).then(|| Instant::now() + TRY_AGAIN_AFTER);
        } else {
            self.begin_to_catch_up(myself);
        }
        for (segment, error) in unreadable.iter().filter(|it| !self.unreadable.contains(it)) {
            tracing::warn!(%segment, error, "a segment cannot be read; it is tried again each minute");
        }
        self.unreadable = unreadable;
    }

    /// Without a reply the rows go when the file is found gone.
    async fn remove_segment(&mut self, myself: &ActorRef<Msg>, segment: SegmentId, reply: RpcReplyPort<u64>) {
        // Rows of it may still wait: all of them were offered before its last user let it go.
        self.flush(myself).await;
        if self.healing.is_resting() {
            return;
        }
        let removed = self.run(myself, move |index, memory| index::remove_segment(index, memory, segment)).await;
        if let Ok(rows) = removed {
            let _ = reply.send(rows);
        }
    }

    async fn correct(&mut self, myself: &ActorRef<Msg>, id: TraceId, count: u32) {
        // The row itself may still wait.
        self.flush(myself).await;
        let is_made = !self.healing.is_resting()
            && self.run(myself, move |connection, _| index::set_media_count(connection, id, count)).await.is_ok();
        // An index that is being made has perhaps counted before the attachments were there.
        if !is_made || self.status().is_rebuilding() {
            self.status().keep_correction(id, count);
        }
    }
}
