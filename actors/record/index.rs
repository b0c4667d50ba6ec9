//! The index: owns the one SQLite connection that writes.
//!
//! It is a tailer of the files. Rows are offered to it; what it has no room for, cannot write, or loses in a
//! crash, it reads back from the files, at its start and whenever something was missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api_log::counters::Counters;
use api_log::ids::{Place, TraceId, UnixMillis};
use api_log::index::{self, BatchReport, IndexError, Progress, WriterState, schema};
use api_log::jsonl::line::read_row;
use api_log::store::layout::Layout;
use api_log::trace::Row;
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio_rusqlite::Connection;

use crate::kit::{Budget, ChildHealth, Pending, Permit, Slot};

/// Rows of one transaction.
const BATCH_ROWS: usize = 1024;
/// How long rows gather while there are many.
const GATHER: Duration = Duration::from_millis(50);
/// How often it looks whether something was missed.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Line bytes that one step of catching up reads, so that fresh rows need not wait long.
const CATCH_UP_BYTES: u64 = 8 << 20;
/// Rows that may wait, and what a row is taken to weigh.
const MOST_WAITING: usize = 131_072;
const ROW_BYTES: u64 = 1024;
/// What each turn of a row's conversation adds: its prefix hash and its fingerprint.
const TURN_BYTES: usize = 24;

pub(crate) struct Index;

pub(crate) enum Msg {
    /// A line stands at its place: here is its row.
    Insert(Offered),
    /// The gathering time is over.
    Flush,
    /// Something may have been missed.
    Look,
    /// Reads back the next of what was missed.
    CatchUp,
    /// A trace's attachments have been written.
    MediaCount {
        /// Which trace.
        id: TraceId,
        /// How many there are.
        count: u32,
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
    slot: Slot<Msg>,
    room: Budget,
    missed: Arc<AtomicBool>,
    health: Arc<ChildHealth>,
}

impl Door {
    /// The way to whoever is in `slot`.
    pub(crate) fn new(slot: Slot<Msg>, health: Arc<ChildHealth>) -> Door {
        let room = Budget::new(MOST_WAITING as u64 * ROW_BYTES, MOST_WAITING);
        Door { slot, room, missed: Arc::new(AtomicBool::new(false)), health }
    }

    /// The rows that wait, for health.
    pub(crate) fn room(&self) -> &Budget {
        &self.room
    }

    /// Offers a row.
    pub(crate) fn offer(&self, row: Arc<Row>, place: Place) {
        let weight = ROW_BYTES + (row.conversation.prefixes.len() * TURN_BYTES) as u64;
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
        let _ = self.slot.cast(Msg::MediaCount { id, count });
    }
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) layout: Layout,
    pub(crate) counters: Arc<Counters>,
    pub(crate) health: Arc<ChildHealth>,
    pub(crate) door: Door,
}

pub(crate) struct State {
    args: Args,
    open: Option<Open>,
    waiting: Vec<Offered>,
    flushed: Instant,
    is_armed: bool,
    is_catching_up: bool,
}

/// The connection and what its thread remembers. The lock is only ever taken on that thread.
#[derive(Clone)]
struct Open {
    connection: Connection,
    memory: Arc<Mutex<WriterState>>,
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
            waiting: Vec::with_capacity(BATCH_ROWS),
            flushed: Instant::now(),
            is_armed: false,
            is_catching_up: false,
        })
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Insert(offered) => state.gather(&myself, offered).await,
            Msg::Flush => {
                state.is_armed = false;
                state.flush(&myself).await;
            }
            Msg::Look => state.look(&myself),
            Msg::CatchUp => state.catch_up(&myself).await,
            Msg::MediaCount { id, count } => state.correct(&myself, id, count).await,
        }
        Ok(())
    }

    async fn post_stop(&self, myself: ActorRef<Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.flush(&myself).await;
        if let Some(open) = state.open.take() {
            // An error would mean unfinished statements; what was committed stays.
            let _ = open.connection.close().await;
        }
        Ok(())
    }
}

impl State {
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
        #[cfg(test)]
        crate::faults::strike("index");
        let batch = std::mem::take(&mut self.waiting);
        let rows = batch.len() as u64;
        let (rows_of, keep): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|it| ((it.row, it.place), (it._permit, it._pending))).unzip();
        let began = Instant::now();
        let outcome = self.run(move |connection, memory| index::insert_batch(connection, memory, &rows_of)).await;
        drop(keep);
        self.args.counters.timings.sqlite_ms.observe(began.elapsed());
        match outcome {
            Ok(BatchReport { inserted, behind, .. }) => {
                self.args.counters.indexed.add(inserted as u64);
                if !behind.is_empty() {
                    self.begin_to_catch_up(myself);
                }
            }
            Err(()) => {
                self.args.counters.drop_sqlite_fail.add(rows);
                self.args.door.mark_missed();
            }
        }
    }

    fn look(&mut self, myself: &ActorRef<Msg>) {
        if self.args.door.missed.swap(false, Ordering::AcqRel) {
            self.begin_to_catch_up(myself);
        }
    }

    fn begin_to_catch_up(&mut self, myself: &ActorRef<Msg>) {
        if !self.is_catching_up {
            self.is_catching_up = true;
            let _ = myself.cast(Msg::CatchUp);
        }
    }

    /// One step; the next is behind what has come meanwhile.
    async fn catch_up(&mut self, myself: &ActorRef<Msg>) {
        self.is_catching_up = false;
        let layout = self.args.layout.clone();
        let budget = index::Budget { bytes: CATCH_UP_BYTES };
        let outcome =
            self.run(move |connection, memory| index::catch_up(connection, memory, &layout, read_row, budget)).await;
        match outcome {
            Ok(Progress { is_done, inserted, bad_lines, removed, unreadable, .. }) => {
                self.args.counters.indexed.add(inserted);
                if inserted + bad_lines + removed > 0 {
                    tracing::info!(inserted, bad_lines, removed, "the index read back what it had missed");
                }
                for (segment, error) in unreadable {
                    tracing::warn!(%segment, error, "a segment cannot be read; it is tried again");
                    self.args.door.mark_missed();
                }
                if !is_done {
                    self.begin_to_catch_up(myself);
                }
            }
            Err(()) => self.args.door.mark_missed(),
        }
    }

    async fn correct(&mut self, myself: &ActorRef<Msg>, id: TraceId, count: u32) {
        // The row itself may still wait.
        self.flush(myself).await;
        // A failure is logged; a rebuild counts again.
        let _ = self.run(move |connection, _| index::set_media_count(connection, id, count)).await;
    }

    /// Runs work on the connection, opening it if need be. Failures are told here; a damaged index is set aside.
    async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut rusqlite::Connection, &mut WriterState) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<T, ()> {
        let Open { connection, memory } = self.open().await?;
        let outcome = connection.call(move |connection| work(connection, &mut memory.lock())).await;
        self.args.health.progressed();
        match outcome {
            Ok(done) => Ok(done),
            Err(tokio_rusqlite::Error::Error(error)) => {
                tracing::warn!(%error, "the index could not be written; it is caught up from the files");
                if error.is_corrupt()
                    && let Some(open) = self.open.take()
                {
                    // Before it is set aside: a connection that closes later removes the journal of the next one.
                    let _ = open.connection.close().await;
                }
                Err(())
            }
            Err(error) => {
                tracing::warn!(%error, "the index connection is gone; it is opened anew");
                self.open = None;
                Err(())
            }
        }
    }

    async fn open(&mut self) -> Result<Open, ()> {
        if let Some(open) = &self.open {
            return Ok(open.clone());
        }
        let path = self.args.layout.index();
        let opened = tokio::task::spawn_blocking(move || schema::open_or_replace(&path, UnixMillis::now())).await;
        match opened {
            Ok(Ok((connection, aside))) => {
                if let Some(aside) = aside {
                    tracing::warn!(path = %aside.display(), "the index was unusable; it is set aside and rebuilt from the files");
                }
                let open = Open { connection: Connection::from(connection), memory: Arc::default() };
                // A connection that is gone already shows with the first work.
                let _ = open
                    .connection
                    .call(|_| {
                        go_last();
                        Ok::<(), rusqlite::Error>(())
                    })
                    .await;
                self.learn_what_is_missing(&open).await?;
                Ok(self.open.insert(open).clone())
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "the index cannot be opened; trying again");
                Err(())
            }
            Err(error) => {
                tracing::warn!(%error, "opening the index failed; trying again");
                Err(())
            }
        }
    }

    /// Before the first row: which segments hold lines that are not indexed. Reads none of them.
    async fn learn_what_is_missing(&self, open: &Open) -> Result<(), ()> {
        let (layout, memory) = (self.args.layout.clone(), open.memory.clone());
        let budget = index::Budget { bytes: 0 };
        let looked = open
            .connection
            .call(move |connection| index::catch_up(connection, &mut memory.lock(), &layout, read_row, budget))
            .await;
        looked
            .map(drop)
            .map_err(|error| tracing::warn!(%error, "the index cannot be compared with the files; trying again"))
    }
}

/// Lets forwarding and recording go before this thread. The index alone may lag: what it has no room for it reads back.
/// Nobody who goes first ever waits for it.
fn go_last() {
    const NICENESS: libc::c_int = 10;
    // SAFETY: a plain system call; 0 is the calling thread. A refusal changes nothing.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
}
