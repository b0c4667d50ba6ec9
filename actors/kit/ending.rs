//! How an actor ended, and how one is brought to its end.

use std::time::Duration;

use ractor::{ActorCell, RactorErr, SupervisionEvent};

/// How an actor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was asked to, or wanted to.
    Stopped,
    /// It returned an error, panicked, was killed, or a task beside it panicked.
    Failed(String),
}

/// What came of [`drain_or_kill`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// All that was queued has been handled.
    Finished,
    /// The grace was over.
    Killed,
}

/// Opens the stop reason that means a failure: ractor has no other way to fail an actor from outside
/// that lets its `post_stop` run.
const FAILED: &str = "failed: ";

/// How long a killed actor may take to notice, which it does where it next awaits.
const KILL_WAIT: Duration = Duration::from_secs(1);

impl Ending {
    /// Which actor ended and how, if this event tells of an end.
    pub(crate) fn of(event: SupervisionEvent) -> Option<(ActorCell, Ending)> {
        match event {
            SupervisionEvent::ActorFailed(cell, error) => Some((cell, Ending::Failed(error.to_string()))),
            SupervisionEvent::ActorTerminated(cell, _, reason) => Some((cell, Ending::of_reason(reason))),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => None,
        }
    }

    fn of_reason(reason: Option<String>) -> Ending {
        match reason {
            // Ractor's own words: the first for a kill, the second for a runtime that ended under the actor.
            Some(reason) if reason == "killed" || reason == "actor_task_cancelled" => Ending::Failed(reason),
            Some(reason) => match reason.strip_prefix(FAILED) {
                Some(why) => Ending::Failed(why.to_owned()),
                None => Ending::Stopped,
            },
            None => Ending::Stopped,
        }
    }
}

/// Ends the actor as failed once its handler under way is done; its `post_stop` runs.
pub(super) fn fail(cell: &ActorCell, why: &str) {
    cell.stop(Some(format!("{FAILED}{why}")));
}

/// Lets the actor finish what it has been sent, and kills it when the grace is over.
///
/// A handler that blocks its thread cannot be killed; it is left behind after a second so that the others can end.
pub(super) async fn drain_or_kill(cell: &ActorCell, grace: Duration) -> Drained {
    match cell.drain_and_wait(Some(grace)).await {
        Ok(()) => Drained::Finished,
        // It is ending already: its mailbox is closed.
        Err(RactorErr::Messaging(_)) if cell.wait(Some(grace)).await.is_ok() => Drained::Finished,
        Err(_) => {
            // An error here means that it blocks; nothing more can be done to it.
            let _ = cell.kill_and_wait(Some(KILL_WAIT)).await;
            Drained::Killed
        }
    }
}

/// The text of a panic.
pub(super) fn panic_text(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without text")
}
