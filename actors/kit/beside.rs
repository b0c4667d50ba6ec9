//! A task that belongs to an actor: the place for waiting on the world, which a handler must not do.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use ractor::ActorCell;
use tokio::task::JoinHandle;

use super::ending::{fail, panic_text};

/// A task beside an actor. Dropping this changes nothing: the task is bound to the actor, not to its handle.
pub(crate) struct Beside {
    task: JoinHandle<()>,
    has_failed: Arc<AtomicBool>,
}

/// Starts a task that ends with the actor at the latest, and whose panic is the actor's failure.
///
/// It is dropped at its next await once the actor has stopped, however that came; through `post_stop` it still runs, so
/// that an actor can bring it to a good end there. When it panics, the actor is stopped as failed: after the handler
/// under way, ahead of what is queued. What else it has to say, its end included, it casts.
///
/// That failure lets `post_stop` run, as an orderly end does: an actor to whom they are not the same asks
/// [`has_failed`](Beside::has_failed) there.
pub(crate) fn beside(actor: ActorCell, task: impl Future<Output = ()> + Send + 'static) -> Beside {
    let has_failed = Arc::new(AtomicBool::new(false));
    Beside { task: tokio::spawn(bound(actor, task, has_failed.clone())), has_failed }
}

/// As [`beside`], for a task that cannot leave its thread: call it on a `LocalRuntime` or in a `LocalSet`. The actor may
/// run on another thread; its end reaches the task through its waker.
///
/// # Panics
/// Where no local task can be spawned, as `tokio::task::spawn_local` does.
pub(crate) fn beside_local(actor: ActorCell, task: impl Future<Output = ()> + 'static) -> Beside {
    let has_failed = Arc::new(AtomicBool::new(false));
    Beside { task: tokio::task::spawn_local(bound(actor, task, has_failed.clone())), has_failed }
}

impl Beside {
    /// Ends the task where it next awaits, from any thread; the actor goes on.
    pub(crate) fn abort(&self) {
        self.task.abort();
    }

    /// Whether it panicked, so that its actor ends as failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Waits until the task is gone. Not to be awaited in a handler for longer than a handler may take.
    pub(crate) async fn ended(self) {
        // An error means that it was aborted; panics end inside.
        let _ = self.task.await;
    }
}

async fn bound(actor: ActorCell, task: impl Future<Output = ()>, has_failed: Arc<AtomicBool>) {
    let task = AssertUnwindSafe(task).catch_unwind();
    tokio::select! {
        biased;
        // Without a timeout this has no error.
        _ = actor.wait(None) => {}
        outcome = task => if let Err(panic) = outcome {
            has_failed.store(true, Ordering::Release);
            fail(&actor, &format!("the task beside it panicked: {}", panic_text(&*panic)));
        }
    }
}
