//! Traces between their capture and their file: held here until the line stands.
//!
//! No mailbox is trusted with a trace. Whoever works on one borrows it from this table; the writer marks it
//! written in the same step that appends the line, so it is neither lost nor written twice, whoever crashes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::time::Instant;

use api_log::counters::InFlight;
use api_log::ids::TraceId;
use api_log::socket::SocketTrace;
use api_log::trace::{FinalizeSettings, Finished, finalize, finalize_piece, finalize_piece_raw, finalize_raw};
use parking_lot::Mutex;

use super::captured::{Captured, Share};
use crate::kit::Pending;

/// What a trace is made from.
pub(crate) enum Content {
    /// An exchange that has ended.
    Exchange(Captured),
    /// A piece of a socket.
    Piece(CapturedPiece),
}

/// A piece of a socket as its reader gave it.
pub(crate) struct CapturedPiece {
    /// All that its line is made from.
    pub(crate) trace: SocketTrace,
    /// When it was handed over.
    pub(crate) handed_over: Instant,
    /// Its memory.
    pub(crate) _share: Share,
    /// Counts it as in flight until it has an outcome.
    pub(crate) _in_flight: InFlight,
}

impl Content {
    /// The identity of the trace.
    pub(crate) fn id(&self) -> TraceId {
        match self {
            Content::Exchange(captured) => captured.id,
            Content::Piece(piece) => piece.trace.id,
        }
    }

    /// When it was handed over.
    pub(crate) fn handed_over(&self) -> Instant {
        match self {
            Content::Exchange(captured) => captured.handed_over,
            Content::Piece(piece) => piece.handed_over,
        }
    }

    /// Its line and row, unless its path is `filtered`; without settings nothing in it is read. Spooled bytes are
    /// read back here (blocking).
    pub(crate) fn finalize(
        &self,
        settings: Option<&FinalizeSettings>,
        filtered: impl FnOnce(&str) -> bool,
    ) -> Option<Finished> {
        let is_filtered = |target: &str| filtered(target.split('?').next().unwrap_or_default());
        match self {
            Content::Exchange(captured) => {
                let exchange = captured.exchange();
                if is_filtered(&exchange.target) {
                    return None;
                }
                Some(settings.map_or_else(|| finalize_raw(&exchange), |settings| finalize(&exchange, settings)))
            }
            Content::Piece(CapturedPiece { trace, .. }) => {
                if is_filtered(&trace.handshake.target) {
                    return None;
                }
                Some(settings.map_or_else(|| finalize_piece_raw(trace), |settings| finalize_piece(trace, settings)))
            }
        }
    }
}

/// A trace on its way to its file.
pub(crate) struct HeldTrace {
    /// What was captured.
    pub(crate) content: Content,
    /// How often it was begun to be finalized.
    pub(crate) tries: AtomicU32,
    state: AtomicU8,
    /// Keeps the finalizers' watchdog aware of it.
    _pending: Pending,
}

const WAITING: u8 = 0;
const CLAIMED: u8 = 1;
const WRITTEN: u8 = 2;

impl HeldTrace {
    /// Claims the right to append the line. Only one claim is granted until it is given back.
    pub(crate) fn claim(&self) -> bool {
        self.state.compare_exchange(WAITING, CLAIMED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The line could not be appended: somebody may try again.
    pub(crate) fn unclaim(&self) {
        self.state.store(WAITING, Ordering::Release);
    }

    /// The line stands.
    pub(crate) fn written(&self) {
        self.state.store(WRITTEN, Ordering::Release);
    }

    /// Whether the line stands.
    pub(crate) fn is_written(&self) -> bool {
        self.state.load(Ordering::Acquire) == WRITTEN
    }
}

/// Every trace that is held.
#[derive(Default)]
pub(crate) struct Held(Mutex<HashMap<TraceId, Arc<HeldTrace>>>);

impl Held {
    /// Takes a trace in.
    pub(crate) fn hold(&self, content: Content, pending: Pending) -> Arc<HeldTrace> {
        let id = content.id();
        let trace =
            Arc::new(HeldTrace { content, tries: AtomicU32::new(0), state: AtomicU8::new(WAITING), _pending: pending });
        self.0.lock().insert(id, trace.clone());
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
}
