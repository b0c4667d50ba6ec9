//! The whole tree, as the process holds it: started, watched for its end, drained.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ractor::{Actor, ActorRef, SpawnErr};

use super::ending::{Drained, drain_or_kill};
use super::supervisor::SupervisorMsg;
use super::{Plan, Supervisor};

/// The topmost supervisor.
pub(crate) struct Root {
    supervisor: ActorRef<SupervisorMsg>,
    gave_up: Arc<OnceLock<String>>,
}

/// The tree ended though nobody asked it to: exit non-zero.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system ended by itself: {0}")]
pub(crate) struct EndedUnasked(pub String);

/// The tree could not finish in time and was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system was not drained within {0:?}")]
pub(crate) struct NotDrained(pub Duration);

impl Root {
    /// Starts the table in order. If a child cannot be started, those above it have been drained when this returns.
    ///
    /// # Errors
    /// That of the child that could not be started.
    pub(crate) async fn start(plan: Plan) -> Result<Root, SpawnErr> {
        let top = Supervisor::default();
        let gave_up = top.gave_up.clone();
        let (supervisor, _) = Supervisor::spawn(None, top, plan).await?;
        Ok(Root { supervisor, gave_up })
    }

    /// Waits until the tree ends by itself, which it does only when patience has ended. May be dropped and called again.
    pub(crate) async fn ended(&self) -> EndedUnasked {
        // Without a timeout this has no error.
        let _ = self.supervisor.wait(None).await;
        EndedUnasked(self.gave_up.get().cloned().unwrap_or_else(|| "no reason was given".to_owned()))
    }

    /// Whether the topmost supervisor answers within this time. One that starts a child answers when that is done.
    pub(crate) async fn answers(&self, within: Duration) -> bool {
        ractor::call_t!(self.supervisor, SupervisorMsg::AreYouThere, within.as_millis() as u64).is_ok()
    }

    /// Drains the children in reverse order, each within its grace and all within this time. Dropping this does not stop
    /// the drain.
    ///
    /// # Errors
    /// [`NotDrained`] when time is over: what was left has been told to die.
    pub(crate) async fn drain(&self, within: Duration) -> Result<(), NotDrained> {
        match drain_or_kill(&self.supervisor, within).await {
            Drained::Finished => Ok(()),
            Drained::Killed => Err(NotDrained(within)),
        }
    }

    /// Ends everything where it next awaits, for who cannot wait for [`Root::drain`]: queued messages are lost.
    pub(crate) fn kill(&self) {
        self.supervisor.kill();
    }
}
