//! How much was written since the start: told by those who write, so that the sweeper looks when it is time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::sweeper;
use crate::kit::Slot;

/// Clones are the same gauge. Never waits.
#[derive(Clone)]
pub(crate) struct Gauge(Arc<Inner>);

struct Inner {
    sweeper: Slot<sweeper::Msg>,
    written: AtomicU64,
    /// At so many written bytes the sweeper looks.
    look_at: AtomicU64,
    /// The sweeper was asked to look, and has not begun to.
    is_asked: AtomicBool,
}

impl Gauge {
    /// A gauge that wakes this sweeper.
    pub(crate) fn new(sweeper: Slot<sweeper::Msg>) -> Gauge {
        let look_at = AtomicU64::new(u64::MAX);
        Gauge(Arc::new(Inner { sweeper, written: AtomicU64::new(0), look_at, is_asked: AtomicBool::new(false) }))
    }

    /// So many bytes of lines or attachments stand on the disk now that did not before.
    pub(crate) fn wrote(&self, bytes: u64) {
        let written = self.0.written.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if written >= self.0.look_at.load(Ordering::Relaxed) {
            self.look();
        }
    }

    /// Something is to be looked at: a limit was passed or set, or the disk refused. Asked again before it is looked
    /// at, this does nothing.
    pub(crate) fn look(&self) {
        if !self.0.is_asked.swap(true, Ordering::AcqRel) {
            // Nobody there: it looks when it starts.
            let _ = self.0.sweeper.cast(sweeper::Msg::Look);
        }
    }

    /// The sweeper begins to look.
    pub(super) fn begin(&self) {
        self.0.is_asked.store(false, Ordering::Release);
    }

    /// All bytes written.
    pub(super) fn written(&self) -> u64 {
        self.0.written.load(Ordering::Relaxed)
    }

    /// When so many bytes are written in all, the sweeper looks.
    pub(super) fn look_at(&self, written: u64) {
        self.0.look_at.store(written, Ordering::Relaxed);
        // By now, perhaps.
        self.wrote(0);
    }
}
