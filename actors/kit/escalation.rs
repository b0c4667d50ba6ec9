//! The way out when supervision cannot mend it: what hangs for too long ends the whole system in order.

use std::sync::Arc;

use tokio::sync::watch;

/// Raised once, by whoever sees that only a new process helps; heard by who holds the root of the tree, and ends it.
#[derive(Clone)]
pub(crate) struct Escalation(Arc<watch::Sender<Option<String>>>);

impl Default for Escalation {
    fn default() -> Escalation {
        Escalation(Arc::new(watch::Sender::new(None)))
    }
}

impl Escalation {
    /// Asks for the end. The first reason stands; `true` if this was it.
    pub(crate) fn raise(&self, reason: &str) -> bool {
        self.0.send_if_modified(|raised| match raised {
            Some(_) => false,
            None => {
                *raised = Some(reason.to_owned());
                true
            }
        })
    }

    /// Waits until it is raised, for ever if need be; the reason.
    pub(crate) async fn raised(&self) -> String {
        let mut raised = self.0.subscribe();
        // An error cannot be: the sender is `self`.
        raised.wait_for(Option::is_some).await.ok().and_then(|it| it.clone()).unwrap_or_default()
    }

    /// The reason, if it was raised.
    pub(crate) fn reason(&self) -> Option<String> {
        self.0.borrow().clone()
    }
}
