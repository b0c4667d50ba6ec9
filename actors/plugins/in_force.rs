//! The set in force: read by every exchange, exchanged by one pointer.

use std::sync::Arc;

use api_log::plugin::set::Set;
use arc_swap::ArcSwap;

/// The set in force. Whoever begins an exchange takes it once, and keeps it to the exchange's end.
#[derive(Default)]
pub(crate) struct InForce(ArcSwap<Set>);

impl InForce {
    /// The set of an exchange that begins now.
    pub(crate) fn pin(&self) -> Arc<Set> {
        self.0.load_full()
    }

    /// Puts another one in its place.
    pub(super) fn swap(&self, set: Set) {
        self.0.store(Arc::new(set));
    }
}
