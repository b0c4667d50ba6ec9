//! A row of a supervisor's table: its child, and the start, the actor and the end of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use parking_lot::Mutex;
use ractor::{ActorCell, ActorRef, ActorStatus};
use tokio::time::timeout;
use tracing::{info, warn};

use super::ending::{Drained, drain_or_kill, panic_text};
use super::supervisor::SupervisorMsg;
use super::{Beside, Child, ChildHealth, ChildState, Ending, Restart, beside};

/// A row.
pub(super) struct Row {
    pub(super) child: Child,
    pub(super) health: Arc<ChildHealth>,
    pub(super) running: Option<ActorCell>,
    starting: Option<StartUnderWay>,
}

/// A start that goes on beside the supervisor.
struct StartUnderWay {
    task: Beside,
    /// Its outcome, once there is one.
    outcome: Arc<Mutex<Option<Result<ActorCell, String>>>>,
}

impl Row {
    pub(super) fn new(health: Arc<ChildHealth>, child: Child) -> Row {
        Row { child, health, running: None, starting: None }
    }

    /// Starts the child, and waits until that is done.
    pub(super) async fn start(&mut self, supervisor: &ActorCell) -> Result<(), String> {
        self.health.enter(ChildState::Starting);
        let outcome = self.attempt(supervisor).await;
        self.settle(&outcome);
        outcome.map(drop)
    }

    /// Starts the child beside its supervisor, who is told.
    pub(super) fn begin_start(&mut self, supervisor: &ActorRef<SupervisorMsg>, row: usize) {
        self.health.enter(ChildState::Starting);
        let outcome = Arc::new(Mutex::new(None));
        let (attempt, told, myself) = (self.attempt(&supervisor.get_cell()), outcome.clone(), supervisor.clone());
        let task = beside(supervisor.get_cell(), async move {
            let done = attempt.await;
            *told.lock() = Some(done);
            // An error means that the supervisor drains, and asks by itself.
            let _ = myself.cast(SupervisorMsg::Started(row));
        });
        self.starting = Some(StartUnderWay { task, outcome });
    }

    /// Whether a start is under way, or its outcome was not taken.
    pub(super) fn is_starting(&self) -> bool {
        self.starting.is_some()
    }

    /// Takes the outcome of the start that was begun.
    pub(super) fn end_start(&mut self) -> Option<Result<ActorCell, String>> {
        let outcome = self.starting.take()?.outcome.lock().take()?;
        self.settle(&outcome);
        Some(outcome)
    }

    /// Ends a start that is under way: the drain tries its own. One that is done counts.
    pub(super) async fn stop_start(&mut self) {
        let Some(StartUnderWay { task, outcome }) = self.starting.take() else { return };
        task.abort();
        task.ended().await;
        let outcome = outcome.lock().take();
        match &outcome {
            Some(outcome @ Ok(_)) => self.settle(outcome),
            Some(Err(reason)) => {
                self.health.failed(reason);
                self.health.enter(ChildState::BackingOff);
            }
            None => self.health.enter(ChildState::BackingOff),
        }
    }

    /// A start of the child, within its time. Neither a hang nor a panic in it harms anybody.
    fn attempt(&self, supervisor: &ActorCell) -> impl Future<Output = Result<ActorCell, String>> + Send + 'static {
        let within = self.child.start_within;
        let start = catch_unwind(AssertUnwindSafe(|| (self.child.start)(supervisor.clone())));
        let start = start.map_err(|panic| panic_text(&*panic).to_owned());
        async move {
            match timeout(within, AssertUnwindSafe(start?).catch_unwind()).await {
                Ok(Ok(Ok(cell))) => Ok(cell),
                Ok(Ok(Err(error))) => Err(error.to_string()),
                Ok(Err(panic)) => Err(panic_text(&*panic).to_owned()),
                Err(_) => Err(format!("its start took longer than {within:?}")),
            }
        }
    }

    /// Notes how a start ended.
    fn settle(&mut self, outcome: &Result<ActorCell, String>) {
        match outcome {
            Ok(cell) => {
                info!(child = &*self.child.name, "started");
                self.health.running(cell.clone());
                (self.child.started)(cell);
                self.running = Some(cell.clone());
            }
            Err(reason) => {
                self.health.failed(reason);
            }
        }
    }

    /// Notes the end; the text of the failure if it was one.
    pub(super) fn ended(&mut self, ending: &Ending) -> Option<String> {
        self.running = None;
        match ending {
            Ending::Stopped => None,
            Ending::Failed(reason) => {
                let reason = self.health.failed(reason);
                warn!(child = &*self.child.name, %reason, "child failed");
                Some(reason)
            }
        }
    }

    pub(super) fn is_wanted_again(&self, ending: &Ending) -> bool {
        match self.child.restart {
            Restart::Always => true,
            Restart::OnFailure => matches!(ending, Ending::Failed(_)),
            Restart::Never => false,
        }
    }

    /// Starts a child that is needed for the drain and is not there: it rests between two starts, or has failed since.
    /// What it owns comes to its end in its `post_stop`.
    pub(super) async fn revive(&mut self, supervisor: &ActorCell) {
        let has_failed = self.running.as_ref().is_some_and(|it| it.get_status() == ActorStatus::Stopped)
            && self.child.restart == Restart::Always;
        if has_failed {
            self.running = None;
            self.health.failed("it ended while the system drained");
        }
        if has_failed || self.health.report().state == ChildState::BackingOff {
            self.health.starts_again();
            if let Err(reason) = self.start(supervisor).await {
                warn!(child = &*self.child.name, %reason, "child could not be started for the drain");
                self.health.enter(ChildState::Failed);
            }
        }
    }

    pub(super) async fn drain(&mut self) {
        if let Some(cell) = self.running.take() {
            self.health.enter(ChildState::Stopping);
            if drain_or_kill(&cell, self.child.grace).await == Drained::Killed {
                let reason = self.health.failed(&format!("killed: not drained within {:?}", self.child.grace));
                warn!(child = &*self.child.name, %reason, "child killed");
            }
        }
        if !matches!(self.health.report().state, ChildState::Failed | ChildState::Stopped) {
            self.health.enter(ChildState::Stopped);
        }
    }
}

impl Drop for Row {
    /// A supervisor that is killed or panics takes its children with it: ractor kills them.
    fn drop(&mut self) {
        if let Some(cell) = &self.running {
            self.health.orphaned(cell);
        }
    }
}
