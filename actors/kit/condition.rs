//! Something that is wrong though every actor runs: a full disk, an index that is being rebuilt.

use std::sync::Arc;

use api_log::ids::UnixMillis;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;

use super::probe::as_text;

/// What may go wrong in one respect. Whoever notices raises it, and clears it when it is over; clones are the same one.
/// Shown as degraded for as long as it is raised.
#[derive(Clone)]
pub(crate) struct Condition {
    name: &'static str,
    raised: Arc<Mutex<Option<(String, UnixMillis)>>>,
}

/// A condition that is raised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Condition")]
pub(crate) struct Raised {
    /// Its name: one word for operators and alert rules.
    pub condition: &'static str,
    /// What is wrong, in a sentence.
    pub reason: String,
    /// Since when.
    #[serde(serialize_with = "as_text")]
    pub since: UnixMillis,
}

impl Condition {
    pub(super) fn new(name: &'static str) -> Condition {
        Condition { name, raised: Arc::default() }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// It is so, for this reason; since now, unless it was so already. `true` if that is news.
    pub(crate) fn raise(&self, reason: impl Into<String>) -> bool {
        let mut raised = self.raised.lock();
        let since = raised.as_ref().map(|(_, since)| *since);
        *raised = Some((reason.into(), since.unwrap_or_else(UnixMillis::now)));
        since.is_none()
    }

    /// It is over. `true` if that is news.
    pub(crate) fn clear(&self) -> bool {
        self.raised.lock().take().is_some()
    }

    /// What is wrong, if it is so.
    pub(crate) fn raised(&self) -> Option<Raised> {
        let raised = self.raised.lock();
        raised.as_ref().map(|(reason, since)| Raised { condition: self.name, reason: reason.clone(), since: *since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_keeps_its_beginning_until_it_is_over() {
        let condition = Condition::new("disk_full");
        assert_eq!(condition.raised(), None);
        assert!(condition.raise("bodies are dropped"));
        let begun = condition.raised().unwrap().since;
        assert!(!condition.clone().raise("lines are dropped"), "it was so already");
        let raised = condition.raised().unwrap();
        assert_eq!((raised.reason.as_str(), raised.since), ("lines are dropped", begun));
        assert!(condition.clear());
        assert!(!condition.clear());
        assert_eq!(condition.raised(), None);
    }
}
