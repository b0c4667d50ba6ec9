//! Traces between their capture and their file: held here until the line stands.
//!
//! No mailbox is trusted with a trace. Whoever works on one borrows it from this table; the writer marks it
//! written in the same step that appends the line, so it is neither lost nor written twice, whoever crashes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use api_log::client;
use api_log::counters::InFlight;
use api_log::exchange::Exchange;
use api_log::ids::{KeyHash, SegmentId, TraceId};
use api_log::plugin::record::Decision;
use api_log::plugin::set::Set;
use api_log::socket::SocketTrace;
use api_log::trace::{
    BodiesDropped, FinalizeSettings, Finished, finalize, finalize_piece, finalize_piece_raw,
    finalize_piece_without_bodies, finalize_raw, finalize_without_bodies,
};
use parking_lot::Mutex;

use super::captured::{Captured, CapturedLog};
use super::cover::Stretch;
use super::memory::Share;
use crate::kit::Pending;

/// What a trace is made from.
pub(crate) enum Content {
    /// An exchange that has ended.
    Exchange(Captured),
    /// A piece of a socket.
    Piece(Box<CapturedPiece>),
}

/// A piece of a socket as its reader gave it.
pub(crate) struct CapturedPiece {
    /// All that its line is made from.
    pub(crate) trace: SocketTrace,
    /// When it was handed over.
    pub(crate) handed_over: Instant,
    /// Its memory.
    pub(crate) _share: Share,
    /// What of its socket's log it was made from, or it itself, is kept until it has its outcome.
    pub(crate) source: PieceSource,
    /// Counts it as in flight until it has an outcome.
    pub(crate) _in_flight: InFlight,
}

/// Where a piece comes from.
pub(crate) enum PieceSource {
    /// From a socket that is open, or was.
    Read(Arc<Stretch>),
    /// From a log that an earlier process left.
    Recovered(#[expect(dead_code, reason = "held until dropped")] Box<Captured>),
}

impl Content {
    /// The identity of the trace.
    pub(crate) fn id(&self) -> TraceId {
        match self {
            Content::Exchange(captured) => captured.id(),
            Content::Piece(piece) => piece.trace.id,
        }
    }

    /// Whether it is made from at most so many bytes. What is not known is not small.
    pub(crate) fn is_within(&self, bytes: u64) -> bool {
        match self {
            Content::Exchange(Captured { log: CapturedLog::Live(log), .. }) => log.end() <= bytes,
            // Recovered ones stand on the disk, and turns carry whole conversations.
            Content::Exchange(Captured { log: CapturedLog::Recovered(_), .. }) | Content::Piece(_) => false,
        }
    }

    /// When it was handed over.
    pub(crate) fn handed_over(&self) -> Instant {
        match self {
            Content::Exchange(captured) => captured.handed_over,
            Content::Piece(piece) => piece.handed_over,
        }
    }

    /// The plugins that it began under. `None` for what has no beginning of its own in this process: a piece of a
    /// socket, which may be open for days, and what an earlier process left.
    pub(crate) fn plugins(&self) -> Option<&Arc<Set>> {
        match self {
            Content::Exchange(captured) => captured.plugins.as_ref(),
            Content::Piece(_) => None,
        }
    }

    /// Its line and row, unless `prepare`, which may put something on it, wants it gone; without settings nothing in it
    /// is read. Spooled bytes are read back here (blocking).
    pub(crate) fn finalize(
        &self,
        settings: Option<&FinalizeSettings>,
        prepare: impl FnOnce(&mut Exchange) -> Decision,
    ) -> Option<Finished> {
        match self {
            Content::Exchange(captured) => {
                let exchange = prepared(captured.exchange(), prepare)?;
                Some(settings.map_or_else(|| finalize_raw(&exchange), |settings| finalize(&exchange, settings)))
            }
            Content::Piece(piece) => {
                let trace = &piece.trace;
                let exchange = prepared(trace.exchange(), prepare)?;
                Some(match settings {
                    Some(settings) => finalize_piece(trace, exchange, settings),
                    None => finalize_piece_raw(trace, exchange),
                })
            }
        }
    }
}

fn prepared(mut exchange: Exchange, prepare: impl FnOnce(&mut Exchange) -> Decision) -> Option<Exchange> {
    (prepare(&mut exchange) == Decision::Record).then_some(exchange)
}

impl Content {
    /// Sees to it that the next start finds it if this process ends without dropping it; `false` if it cannot be had so.
    pub(super) fn outlives(&self) -> bool {
        match self {
            Content::Exchange(captured) => captured.outlives(),
            Content::Piece(piece) => match &piece.source {
                PieceSource::Read(stretch) => stretch.outlives(),
                PieceSource::Recovered(_) => true,
            },
        }
    }

    /// Whose it is.
    pub(crate) fn key(&self) -> KeyHash {
        match self {
            Content::Exchange(captured) => captured.key(),
            Content::Piece(piece) => {
                let exchange = piece.trace.exchange();
                client::key_hash(&exchange.request_headers, &exchange.target)
            }
        }
    }

    /// As [`Content::finalize`], without the bodies.
    pub(crate) fn finalize_without_bodies(
        &self,
        settings: &FinalizeSettings,
        why: BodiesDropped,
        prepare: impl FnOnce(&mut Exchange) -> Decision,
    ) -> Option<Finished> {
        match self {
            Content::Exchange(captured) => {
                let exchange = prepared(captured.exchange(), prepare)?;
                Some(finalize_without_bodies(exchange, settings, why))
            }
            Content::Piece(piece) => {
                let trace = &piece.trace;
                let exchange = prepared(trace.exchange(), prepare)?;
                Some(finalize_piece_without_bodies(trace, exchange, settings, why))
            }
        }
    }
}

/// A trace on its way to its file.
pub(crate) struct HeldTrace {
    /// What was captured.
    pub(crate) content: Content,
    /// How often its finalizer failed. The end of a finalizer that was lost with its owner is not its failure.
    pub(crate) failures: AtomicU32,
    state: AtomicU8,
    segment: OnceLock<SegmentId>,
    /// Keeps the finalizers' watchdog aware of it.
    _pending: Pending,
}

const WAITING: u8 = 0;
const CLAIMED: u8 = 1;
const WRITTEN: u8 = 2;
const GIVEN_UP: u8 = 3;

impl HeldTrace {
    /// Claims the right to append the line. Only one claim is granted until it is given back.
    pub(crate) fn claim(&self) -> bool {
        self.state.compare_exchange(WAITING, CLAIMED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Claimed, but the line could not be appended: somebody may try again.
    pub(crate) fn unclaim(&self) {
        self.state.store(WAITING, Ordering::Release);
    }

    /// Claimed, and the line stands in this segment.
    pub(crate) fn written(&self, segment: SegmentId) {
        // It is written once: only one claim leads here.
        let _ = self.segment.set(segment);
        self.state.store(WRITTEN, Ordering::Release);
    }

    /// The segment where the line stands, if it does.
    pub(crate) fn written_in(&self) -> Option<SegmentId> {
        (self.state.load(Ordering::Acquire) == WRITTEN).then(|| self.segment.get().copied())?
    }

    /// Decides that there will be no line. `false` if it stands, is being appended, or was given up already: who
    /// gets `true`, and nobody else, counts the outcome.
    pub(crate) fn give_up(&self) -> bool {
        self.state.compare_exchange(WAITING, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether it was decided that there will be no line.
    pub(crate) fn is_given_up(&self) -> bool {
        self.state.load(Ordering::Acquire) == GIVEN_UP
    }
}

/// Every trace that is held.
#[derive(Default)]
pub(crate) struct Held(Mutex<HashMap<TraceId, Arc<HeldTrace>>>, AtomicUsize);

impl Held {
    /// Takes a trace in.
    pub(crate) fn hold(&self, content: Content, pending: Pending) -> Arc<HeldTrace> {
        let id = content.id();
        let trace = Arc::new(HeldTrace {
            content,
            failures: AtomicU32::new(0),
            state: AtomicU8::new(WAITING),
            segment: OnceLock::new(),
            _pending: pending,
        });
        let mut held = self.0.lock();
        held.insert(id, trace.clone());
        self.1.fetch_max(held.len(), Ordering::Relaxed);
        trace
    }

    /// Lets a trace go: its line stands, or it was filtered or dropped, and counted.
    pub(crate) fn release(&self, id: TraceId) {
        self.0.lock().remove(&id);
    }

    /// A trace by its id.
    pub(crate) fn get(&self, id: TraceId) -> Option<Arc<HeldTrace>> {
        self.0.lock().get(&id).cloned()
    }

    /// All of them, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<HeldTrace>> {
        let mut all: Vec<_> = self.0.lock().values().cloned().collect();
        all.sort_by_key(|it| it.content.id());
        all
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// The most there ever were.
    pub(crate) fn high_water(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }
}
