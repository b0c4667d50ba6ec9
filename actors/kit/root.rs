//! The whole tree, as the process holds it: started, watched for its end, drained.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ractor::concurrency::JoinHandle;
use ractor::{Actor, ActorRef, RactorErr, SpawnErr};

use super::supervisor::StartAgain;
use super::{Plan, Supervisor};

/// The topmost supervisor.
pub struct Root {
    supervisor: ActorRef<StartAgain>,
    task: JoinHandle<()>,
    gave_up: Arc<OnceLock<String>>,
}

/// The tree ended though nobody asked it to: exit non-zero.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system ended by itself: {0}")]
pub struct EndedUnasked(pub String);

/// The tree could not finish in time and was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system was not drained within {0:?}")]
pub struct NotDrained(pub Duration);

impl Root {
    /// Starts the table in order. If a child cannot be started, those above it have been drained when this returns.
    ///
    /// # Errors
    /// That of the child that could not be started.
    pub async fn start(plan: Plan) -> Result<Root, SpawnErr> {
        let top = Supervisor::default();
        let gave_up = top.gave_up.clone();
        let (supervisor, task) = Supervisor::spawn(None, top, plan).await?;
        Ok(Root { supervisor, task, gave_up })
    }

    /// Waits until the tree ends by itself, which it does only when patience has ended. May be dropped and called again.
    pub async fn ended(&mut self) -> EndedUnasked {
        // Its outcome says nothing: ractor catches panics inside.
        let _ = self.supervisor.wait(None).await;
        EndedUnasked(self.gave_up.get().cloned().unwrap_or_else(|| "no reason was given".to_owned()))
    }

    /// Drains the children in reverse order, each within its grace and all within this time.
    ///
    /// # Errors
    /// [`NotDrained`] when time is over: what was left has been told to die.
    pub async fn drain(self, within: Duration) -> Result<(), NotDrained> {
        match self.supervisor.drain_and_wait(Some(within)).await {
            // A closed mailbox means that it has ended, or is about to.
            Ok(()) | Err(RactorErr::Messaging(_)) => {
                // The actor's task is gone when this is; a panic in it has been told already.
                let _ = self.task.await;
                Ok(())
            }
            Err(_) => {
                self.supervisor.kill();
                Err(NotDrained(within))
            }
        }
    }

    /// Ends everything at once, for who cannot wait for [`Root::drain`]: queued messages are lost.
    pub fn kill(&self) -> impl FnOnce() + Send + use<> {
        let supervisor = self.supervisor.clone();
        move || supervisor.kill()
    }
}
