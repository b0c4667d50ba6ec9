//! Recovery: what an earlier process left of its captures becomes traces, in the background.
//!
//! It hands logs over one by one, as lanes do with theirs, and never so many that live ones would wait. What remains
//! to be done stands outside the actor. Logs stay where they are until they have an outcome, so a second crash loses
//! no more than the first.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api_log::capture::arena::{FoundChunk, Geometry};
use api_log::capture::find;
use api_log::capture::place::{self, Abandoned};
use api_log::capture::spool;
use api_log::counters::Counters;
use api_log::ids::{TraceId, UnixMillis};
use api_log::socket::{Piece, SocketEnd, SocketTrace, Unread};
use api_log::store::layout::Layout;
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::captured::{Captured, CapturedLog, exchange};
use super::held::{CapturedPiece, Content, PieceSource};
use super::intake::Intake;
use super::memory::{Memory, Share};
use super::recovered::{OldArena, RecoveredLog};
use crate::kit::ChildHealth;

/// Live traces that may wait while old ones are handed over.
const MOST_WAITING: usize = 64;
/// How long to wait for room.
const PAUSE: Duration = Duration::from_millis(20);
/// How long to wait before a data dir that could not be read is asked again.
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// The clock may have been set back by so much since a file was written.
const CLOCK_SLACK_MS: i64 = 10 * 60 * 1000;

pub(crate) struct Recovery;

pub(crate) enum Msg {
    /// Does the next step.
    Next,
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) work: Arc<Mutex<Work>>,
    /// What earlier processes left.
    pub(crate) arenas: Arc<[Abandoned]>,
    /// Spools of traces before this one are theirs, too.
    pub(crate) first_id: TraceId,
    pub(crate) layout: Layout,
    pub(crate) intake: Arc<Intake>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) health: Arc<ChildHealth>,
}

/// What there is to do.
pub(crate) enum Work {
    /// To look what was left.
    Look,
    /// Somebody looks.
    Looking,
    /// To hand these over.
    HandOver(VecDeque<Left>),
    /// Nothing more.
    Done,
}

/// A log to be handed over.
pub(crate) struct Left {
    log: RecoveredLog,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Exchange,
    Socket,
    /// A socket whose first piece has a line: it has the socket's name.
    RestOfSocket,
}

impl Work {
    /// How far it is, in a word.
    pub(crate) fn state(&self) -> &'static str {
        match self {
            Work::Look | Work::Looking => "looking",
            Work::HandOver(_) => "handing_over",
            Work::Done => "done",
        }
    }
}

impl Actor for Recovery {
    type Msg = Msg;
    type State = Args;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<Args, ActorProcessingErr> {
        myself.cast(Msg::Next)?;
        Ok(args)
    }

    async fn handle(&self, myself: ActorRef<Msg>, _: Msg, state: &mut Args) -> Result<(), ActorProcessingErr> {
        if fault!(is "recovery.hold") {
            myself.send_after(PAUSE, || Msg::Next);
            return Ok(());
        }
        if let Some(pause) = state.step(&myself) {
            myself.send_after(pause, || Msg::Next);
        }
        Ok(())
    }
}

impl Args {
    /// Does some of the work; how long to wait until the next step, if there is one.
    fn step(&self, myself: &ActorRef<Msg>) -> Option<Duration> {
        let mut work = self.work.lock();
        let logs = match &mut *work {
            Work::Look => {
                *work = Work::Looking;
                self.begin_to_look(myself);
                return None;
            }
            // Who looks sends word.
            Work::Looking | Work::Done => return None,
            Work::HandOver(logs) => logs,
        };
        let _pending = self.health.begin();
        fault!("recovery");
        while self.intake.ended.len() < MOST_WAITING {
            let Some(left) = logs.pop_front() else {
                *work = Work::Done;
                return None;
            };
            self.health.progressed();
            if let Some(content) = self.content(left) {
                self.counters.recording.recovered.increment();
                self.intake.ended.push(content);
            }
        }
        Some(PAUSE)
    }

    /// What the log's trace is made from; `None` if all of a socket has its lines.
    fn content(&self, Left { log, what }: Left) -> Option<Content> {
        let accept = || self.counters.ledger.accept();
        let handed_over = Instant::now();
        if what == What::Exchange {
            let log = CapturedLog::Recovered(Box::new(log));
            return Some(Content::Exchange(Captured { log, plugins: None, handed_over, in_flight: Some(accept()) }));
        }
        let id = if what == What::RestOfSocket { log.other_id() } else { log.id };
        // What cannot be read is missing at the end, and says so.
        let mut handshake = exchange(log.told().0);
        let unread = Unread { client: take(&mut handshake.request), server: take(&mut handshake.response) };
        let captured =
            Captured { log: CapturedLog::Recovered(Box::new(log)), plugins: None, handed_over, in_flight: None };
        if what == What::RestOfSocket && unread.client.wire_bytes + unread.server.wire_bytes == 0 {
            return None;
        }
        let ended = SocketEnd { end: handshake.end, left: None, summary: None, error: handshake.error.take() };
        let piece = Piece::Unread(Box::new(unread));
        let mut share = Share::none(&self.memory);
        share.set(piece.held_bytes() as u64);
        Some(Content::Piece(Box::new(CapturedPiece {
            trace: SocketTrace { id, handshake: Arc::new(handshake), number: 0, piece, ended: Some(ended) },
            handed_over,
            _share: share,
            source: PieceSource::Recovered(Box::new(captured)),
            _in_flight: accept(),
        })))
    }

    /// Reads files for as long as it takes: on a thread that does nothing else, whatever becomes of this actor.
    fn begin_to_look(&self, myself: &ActorRef<Msg>) {
        let (args, myself) = (self.clone(), myself.clone());
        tokio::task::spawn_blocking(move || {
            let found = catch_unwind(AssertUnwindSafe(|| args.look()));
            let (next, pause) = match found {
                Ok(Ok(logs)) => (Work::HandOver(logs.into()), Duration::ZERO),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "captures of an earlier run cannot be recovered yet");
                    (Work::Look, TRY_AGAIN)
                }
                Err(_) => {
                    tracing::error!("captures of an earlier run cannot be recovered; they are kept");
                    args.counters.recording.unreadable_logs.increment();
                    (Work::Done, Duration::ZERO)
                }
            };
            *args.work.lock() = next;
            // If this actor has ended meanwhile, its successor looks by itself.
            myself.send_after(pause, || Msg::Next);
        });
    }

    /// Finds what is to be handed over (blocking). What has a line already is forgotten, what cannot be read is set
    /// aside.
    fn look(&self) -> io::Result<Vec<Left>> {
        let is_old = |it: &TraceId| *it < self.first_id;
        let mut spools: BTreeSet<TraceId> = self.layout.spools()?.into_iter().filter(is_old).collect();
        let mut logs = Vec::new();
        let mut read = HashSet::new();
        for arena in self.arenas.iter() {
            if self.logs_of(arena, &mut spools, &mut logs)? {
                read.insert(arena.id);
            }
        }
        // What spools of these arenas are left have no first chunk there: their traces have an outcome.
        spools.retain(|trace| {
            let path = self.layout.spool(*trace);
            let header = File::open(&path).ok().and_then(|file| spool::header(&file).ok());
            let is_done = header.and_then(|it| it.arena).is_some_and(|arena| read.contains(&arena));
            !(is_done && std::fs::remove_file(&path).is_ok())
        });
        logs.extend(spools.into_iter().filter_map(|trace| self.log_of_spool(trace)));
        logs.sort_by_key(|it| it.id);
        let standing = self.standing(&logs)?;
        let (found, mut left) = (logs.len(), Vec::new());
        for log in logs {
            let is_known = standing.contains(&log.id);
            let what = match log.is_socket() {
                None => {
                    self.set_aside(&log);
                    continue;
                }
                Some(false) if is_known => None,
                Some(true) if is_known => (!standing.contains(&log.other_id())).then_some(What::RestOfSocket),
                Some(is_socket) => Some(if is_socket { What::Socket } else { What::Exchange }),
            };
            match what {
                Some(what) => left.push(Left { log, what }),
                None => log.forget(),
            }
        }
        if found > 0 {
            tracing::info!(
                recovered = left.len(),
                already_recorded = found - left.len(),
                "an earlier run ended without recording all it had captured"
            );
        }
        Ok(left)
    }

    /// The logs of an arena, with their spools; `false` if it cannot be read.
    fn logs_of(
        &self,
        Abandoned { file, path, .. }: &Abandoned,
        spools: &mut BTreeSet<TraceId>,
        logs: &mut Vec<RecoveredLog>,
    ) -> io::Result<bool> {
        let chunks = match Geometry::read(file) {
            Ok(geometry) => geometry.chunks(file)?,
            Err(error) => {
                self.keep_aside(path, &error.to_string());
                return Ok(false);
            }
        };
        let found: BTreeMap<TraceId, Vec<FoundChunk>> = find::by_log(chunks);
        let whole: Vec<_> = found
            .into_iter()
            .filter_map(|(trace, chunks)| Some((trace, find::first_chunk(&chunks)?, chunks)))
            .collect();
        let arena = OldArena::new(file.try_clone()?, path.clone(), whole.len());
        for (trace, first, chunks) in whole {
            let path = spools.take(&trace).map(|trace| self.layout.spool(trace));
            let frames = path.as_ref().and_then(|path| spool::scan(&File::open(path).ok()?).ok());
            let frames = frames.map(|(_, frames)| frames).unwrap_or_default();
            let pieces = find::assemble(&chunks, &frames);
            let covered = find::covered(&chunks);
            logs.push(RecoveredLog { id: trace, pieces, arena: Some((arena.clone(), first)), spool: path, covered });
        }
        Ok(true)
    }

    /// The log of a spool whose arena is gone, as after a loss of power.
    fn log_of_spool(&self, trace: TraceId) -> Option<RecoveredLog> {
        let path = self.layout.spool(trace);
        match File::open(&path).map_err(spool::NotASpool::from).and_then(|file| spool::scan(&file)) {
            Ok((header, frames)) if header.trace == trace => {
                let pieces = find::assemble(&[], &frames);
                Some(RecoveredLog { id: trace, pieces, arena: None, spool: Some(path), covered: 0 })
            }
            found => {
                let error = found.err().map_or_else(|| "it is of another trace".to_owned(), |it| it.to_string());
                self.keep_aside(&path, &error);
                None
            }
        }
    }

    /// A log that does not say what it is of.
    fn set_aside(&self, log: &RecoveredLog) {
        match &log.spool {
            // A spool that was begun and never written to holds nothing to keep.
            Some(path) if log.pieces.is_empty() => drop(std::fs::remove_file(path)),
            Some(path) => self.keep_aside(path, "it does not begin as a log does"),
            None => {
                self.counters.recording.unreadable_logs.increment();
                tracing::error!(trace = %log.id, "a capture of an earlier run cannot be read; its arena is kept");
            }
        }
    }

    fn keep_aside(&self, path: &Path, error: &str) {
        self.counters.recording.unreadable_logs.increment();
        match place::set_aside(path) {
            Ok(kept) => tracing::error!(error, path = %kept.display(), "captures cannot be read; they are kept"),
            Err(failed) => tracing::error!(error, %failed, path = %path.display(), "captures cannot be read"),
        }
    }

    /// Which of them have a line: the crash came between it and the log's end, or recovery was broken off.
    fn standing(&self, logs: &[RecoveredLog]) -> io::Result<HashSet<TraceId>> {
        let ids: HashSet<TraceId> = logs.iter().flat_map(|it| [it.id, it.other_id()]).collect();
        match logs.iter().map(RecoveredLog::line_since).min() {
            Some(UnixMillis(first)) => {
                find::with_a_line(&self.layout, &ids, UnixMillis(first.saturating_sub(CLOCK_SLACK_MS)))
            }
            None => Ok(HashSet::new()),
        }
    }
}
