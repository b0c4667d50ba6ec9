//! How far a socket's log is covered: what of it has outcomes already, so that a crash need not keep it.
//!
//! A stretch of the log is covered when every piece that was given up to its end has its outcome, and every stretch
//! before it is covered, too.

use std::sync::{Arc, OnceLock};

use super::captured::{Captured, CapturedLog};

/// A stretch of a socket's log. The reader holds the one under way, and every piece the one that it was given in; when
/// nobody does any more, it is covered.
pub(crate) struct Stretch {
    opening: Arc<Captured>,
    /// Where it ends, and what follows it: so that one is not covered before this one.
    end: OnceLock<(u64, Arc<Stretch>)>,
}

impl Stretch {
    /// The first of a socket that this exchange opened.
    pub(crate) fn first(opening: Arc<Captured>) -> Arc<Stretch> {
        Arc::new(Stretch { opening, end: OnceLock::new() })
    }

    /// Whether the next start finds the log of its socket, see [`Captured::outlives`].
    pub(super) fn outlives(&self) -> bool {
        self.opening.outlives()
    }

    /// Ends here; the next one.
    pub(crate) fn next(self: &Arc<Stretch>, end: u64) -> Arc<Stretch> {
        let next = Stretch::first(self.opening.clone());
        // Only its reader ends it, once.
        let _ = self.end.set((end, next.clone()));
        next
    }
}

impl Drop for Stretch {
    fn drop(&mut self) {
        let mut end = self.end.take();
        // In a loop, for there may be as many as pieces may wait.
        while let Some((until, next)) = end {
            if let CapturedLog::Live(log) = &self.opening.log {
                log.cover(until);
            }
            end = Arc::into_inner(next).and_then(|mut next| next.end.take());
        }
    }
}

#[cfg(test)]
mod tests;
