//! A task that belongs to an actor: the place for waiting on the world, which a handler must not do.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use ractor::ActorCell;
use tokio::task::JoinHandle;

use super::ending::{fail, panic_text};

/// A task beside an actor. Dropping this changes nothing: the task is bound to the actor, not to its handle.
pub(crate) struct Beside(JoinHandle<()>);

/// Starts a task that ends with the actor at the latest, and whose panic is the actor's failure.
///
/// It is dropped at its next await once the actor has stopped, however that came; through `post_stop` it still runs, so
/// that an actor can bring it to a good end there. When it panics, the actor is stopped as failed: after the handler
/// under way, ahead of what is queued. What else it has to say, its end included, it casts.
pub(crate) fn beside(actor: ActorCell, task: impl Future<Output = ()> + Send + 'static) -> Beside {
    Beside(tokio::spawn(bound(actor, task)))
}

/// As [`beside`], for a task that cannot leave its thread: call it on a `LocalRuntime` or in a `LocalSet`. The actor may
/// run on another thread; its end reaches the task through its waker.
///
/// # Panics
/// Where no local task can be spawned, as `tokio::task::spawn_local` does.
pub(crate) fn beside_local(actor: ActorCell, task: impl Future<Output = ()> + 'static) -> Beside {
    Beside(tokio::task::spawn_local(bound(actor, task)))
}

impl Beside {
    /// Ends the task where it next awaits, from any thread; the actor goes on.
    pub(crate) fn abort(&self) {
        self.0.abort();
    }

    /// Waits until the task is gone. Not to be awaited in a handler for longer than a handler may take.
    pub(crate) async fn ended(self) {
        // An error means that it was aborted; panics end inside.
        let _ = self.0.await;
    }
}

async fn bound(actor: ActorCell, task: impl Future<Output = ()>) {
    let task = AssertUnwindSafe(task).catch_unwind();
    tokio::select! {
        biased;
        // Without a timeout this has no error.
        _ = actor.wait(None) => {}
        outcome = task => if let Err(panic) = outcome {
            fail(&actor, &format!("the task beside it panicked: {}", panic_text(&*panic)));
        }
    }
}
