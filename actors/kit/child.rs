//! A row of a supervisor's table, and the ways to start what it names.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ractor::concurrency::JoinHandle;
use ractor::{Actor, ActorCell, ActorRef, SpawnErr};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::{Plan, Slot, Supervisor};

/// A start under way; its actor is linked to the supervisor when this is done.
pub(crate) type Starting = Pin<Box<dyn Future<Output = Result<ActorCell, SpawnErr>> + Send>>;

/// Whether a child that ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    /// Always: it is never meant to end.
    Always,
    /// After a failure only: it may end when its work is done.
    OnFailure,
    /// Never: its failure is shown, and that is all.
    Never,
}

/// One row of a supervisor's table.
pub(crate) struct Child {
    /// Its name in health and log; one name, one child in the whole program.
    pub name: Arc<str>,
    /// Whether it is started again.
    pub restart: Restart,
    /// How long it may drain before it is killed.
    pub grace: Duration,
    /// How long a start may take before it counts as failed. Others are looked after meanwhile.
    pub start_within: Duration,
    /// Starts it, linked to the cell given.
    pub start: Box<dyn Fn(ActorCell) -> Starting + Send + Sync>,
    /// Told of each actor that was started, once the start counts.
    pub started: Box<dyn Fn(&ActorCell) + Send + Sync>,
}

impl Child {
    /// A child started by the function given: restarted always, 10 s to drain, 30 s to start.
    pub(crate) fn new(
        name: impl Into<Arc<str>>,
        start: impl Fn(ActorCell) -> Starting + Send + Sync + 'static,
    ) -> Child {
        Child {
            name: name.into(),
            restart: Restart::Always,
            grace: Duration::from_secs(10),
            start_within: Duration::from_secs(30),
            start: Box::new(start),
            started: Box::new(|_| {}),
        }
    }

    /// A child whose address stands in `slot` from each start on.
    pub(crate) fn actor<A: Actor>(
        name: impl Into<Arc<str>>,
        slot: &Slot<A::Msg>,
        make: impl Fn() -> (A, A::Arguments) + Send + Sync + 'static,
    ) -> Child {
        let slot = slot.clone();
        let child = Child::new(name, move |supervisor| {
            let (actor, args) = make();
            Box::pin(async move { Ok(A::spawn_linked(None, actor, args, supervisor).await?.0.get_cell()) })
        });
        Child { started: Box::new(move |cell| slot.fill(cell.clone().into())), ..child }
    }

    /// A supervisor with a table of its own, made anew for each start. Its grace should be the sum of its children's;
    /// its start takes as long as theirs.
    pub(crate) fn supervisor(
        name: impl Into<Arc<str>>,
        grace: Duration,
        plan: impl Fn() -> Plan + Send + Sync + 'static,
    ) -> Child {
        let child = Child::new(name, move |supervisor| {
            let plan = plan();
            Box::pin(async move {
                let (child, _) = Supervisor::spawn_linked(None, Supervisor::default(), plan, supervisor).await?;
                Ok(child.get_cell())
            })
        });
        Child { grace, start_within: Duration::MAX, ..child }
    }

    /// With this restart policy.
    pub(crate) fn restarted(self, restart: Restart) -> Child {
        Child { restart, ..self }
    }

    /// With this long to drain.
    pub(crate) fn with_grace(self, grace: Duration) -> Child {
        Child { grace, ..self }
    }

    /// Runs on this runtime instead of its supervisor's.
    pub(crate) fn on(self, runtime: Handle) -> Child {
        let here = self.start;
        let start = move |supervisor| -> Starting {
            Box::pin(start_elsewhere(runtime.clone(), here(supervisor), ActorCell::clone))
        };
        Child { start: Box::new(start), ..self }
    }
}

/// As `A::spawn_linked`, on another runtime: ractor spawns on the one it is called from. Links and messages cross freely.
///
/// # Errors
/// Those of the start, or that the runtime has ended.
pub(crate) async fn spawn_on<A: Actor>(
    runtime: &Handle,
    actor: A,
    args: A::Arguments,
    supervisor: ActorCell,
) -> Result<(ActorRef<A::Msg>, JoinHandle<()>), SpawnErr> {
    let start = A::spawn_linked(None, actor, args, supervisor);
    start_elsewhere(runtime.clone(), start, |(child, _)| child.get_cell()).await
}

/// Runs a start on another runtime. Who stops waiting for it leaves no actor behind.
async fn start_elsewhere<T: Send + 'static>(
    runtime: Handle,
    start: impl Future<Output = Result<T, SpawnErr>> + Send + 'static,
    cell: fn(&T) -> ActorCell,
) -> Result<T, SpawnErr> {
    let (started, here) = oneshot::channel();
    runtime.spawn(async move {
        let mut started = started;
        let outcome = tokio::select! {
            biased;
            () = started.closed() => return,
            outcome = start => outcome,
        };
        // The value comes back if nobody waits any more; if it is dropped on the way, so is `Unclaimed`.
        let _ = started.send(outcome.map(|it| Unclaimed { cell: Some(cell(&it)), it: Some(it) }));
    });
    match here.await {
        Ok(outcome) => outcome?.claim(),
        Err(_) => Err(SpawnErr::StartupFailed("its start panicked, or its runtime has ended".into())),
    }
}

/// A started actor on its way to who asked for it: killed if it does not arrive.
struct Unclaimed<T> {
    it: Option<T>,
    cell: Option<ActorCell>,
}

impl<T> Unclaimed<T> {
    fn claim(mut self) -> Result<T, SpawnErr> {
        self.cell = None;
        self.it.take().ok_or_else(|| SpawnErr::StartupFailed("claimed twice".into()))
    }
}

impl<T> Drop for Unclaimed<T> {
    fn drop(&mut self) {
        if let Some(cell) = self.cell.take() {
            cell.kill();
        }
    }
}
