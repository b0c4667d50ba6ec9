//! The supervisor: starts a table of children in order, starts them again when they fail, drains them in reverse.
//!
//! It owns its children and promises that none outlives it. Its own crash costs all of them; its supervisor, or the
//! service manager above the process, starts the whole table again.
//!
//! The strategy is always one-for-one. Dependence is expressed by order and by [`Slot`](super::Slot)s, never by ending
//! siblings. A supervisor under a supervisor needs no protocol: draining it ends in its `post_stop`, which drains its
//! children.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorStatus, RpcReplyPort, SupervisionEvent};
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

use super::ending::{Drained, drain_or_kill, panic_text};
use super::{Child, ChildHealth, ChildState, Ending, Registry, Restart};

/// How often to look, while a child drains, whether those it needs are there.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The actor over a table of children.
#[derive(Default)]
pub(crate) struct Supervisor {
    /// Why it gave up, for who holds the root of the tree and has no events.
    pub(super) gave_up: Arc<OnceLock<String>>,
}

/// How many restarts a supervisor bears before it fails itself, and how it spaces them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// So many restarts, of all children together …
    pub restarts: usize,
    /// … within this time are borne; the next one is not.
    pub within: Duration,
    /// The delay before a restart when there was none recently; doubled for each recent one …
    pub first_delay: Duration,
    /// … up to this.
    pub longest_delay: Duration,
}

/// A supervisor's table.
pub(crate) struct Plan {
    /// When it gives up.
    pub patience: Patience,
    /// Where its children's health is shown.
    pub registry: Registry,
    /// The children, in the order of their start.
    pub children: Vec<Child>,
}

/// A child could not be started, so the ones above it in the table were drained.
#[derive(Debug, thiserror::Error)]
#[error("cannot start {child}: {reason}")]
pub(crate) struct StartFailed {
    /// The child's name.
    pub child: Arc<str>,
    /// Why not.
    pub reason: String,
}

/// A supervisor's patience has ended; its children have been drained.
#[derive(Debug, thiserror::Error)]
#[error("{child} ended once too often ({restarts} restarts within {within:?}), the last time: {reason}")]
pub(crate) struct GaveUp {
    /// The child that ended last.
    pub child: Arc<str>,
    /// The restarts that were borne.
    pub restarts: usize,
    /// Within which time.
    pub within: Duration,
    /// How it ended.
    pub reason: String,
}

/// What a supervisor hears.
pub(crate) enum SupervisorMsg {
    /// The delay of the child in this row is over.
    StartAgain(usize),
    /// Whether it gets on.
    AreYouThere(RpcReplyPort<()>),
}

/// The table, and what runs of it.
pub(crate) struct State {
    patience: Patience,
    rows: Vec<Row>,
    /// When children were started again, oldest first; what is older than the patience's time is forgotten.
    recent: VecDeque<Instant>,
}

struct Row {
    child: Child,
    health: Arc<ChildHealth>,
    running: Option<ActorCell>,
}

/// Has the children that are started during a drain: ractor links none to an actor that is ending.
struct Caretaker;

impl Actor for Caretaker {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    /// Stays whatever becomes of them: the drain looks after them itself.
    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        _: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

/// Ends an actor, and with it what it has left, wherever the drain ends.
struct KilledOnDrop(ActorCell);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        self.0.kill();
    }
}

impl Default for Patience {
    /// Five restarts within a minute, 100 ms apart and then doubling up to 10 s.
    fn default() -> Patience {
        Patience {
            restarts: 5,
            within: Duration::from_secs(60),
            first_delay: Duration::from_millis(100),
            longest_delay: Duration::from_secs(10),
        }
    }
}

impl Actor for Supervisor {
    type Msg = SupervisorMsg;
    type State = State;
    type Arguments = Plan;

    async fn pre_start(&self, myself: ActorRef<SupervisorMsg>, plan: Plan) -> Result<State, ActorProcessingErr> {
        let mut state = State::new(plan);
        for row in 0..state.rows.len() {
            if let Err(reason) = state.rows[row].start(&myself.get_cell()).await {
                let child = state.rows[row].child.name.clone();
                state.drain().await;
                state.rows[row].health.enter(ChildState::Failed);
                return Err(StartFailed { child, reason }.into());
            }
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMsg>,
        msg: SupervisorMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let row = match msg {
            SupervisorMsg::StartAgain(row) if !is_ending(&myself) => row,
            SupervisorMsg::StartAgain(_) => return Ok(()),
            SupervisorMsg::AreYouThere(reply) => {
                let _ = reply.send(());
                return Ok(());
            }
        };
        state.rows[row].health.starts_again();
        // Ractor sends no event for a failed start.
        match state.rows[row].start(&myself.get_cell()).await {
            Ok(()) => Ok(()),
            Err(reason) => self.ended(&myself, state, row, Ending::Failed(reason)).await,
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMsg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let Some((cell, ending)) = Ending::of(event) else { return Ok(()) };
        match state.rows.iter().position(|row| row.running.as_ref() == Some(&cell)) {
            Some(row) => self.ended(&myself, state, row, ending).await,
            None => Ok(()),
        }
    }

    /// Ractor kills what a stopped parent leaves behind, so nothing may be left.
    async fn post_stop(&self, _: ActorRef<SupervisorMsg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.drain().await;
        Ok(())
    }
}

impl Supervisor {
    /// A child has ended, or could not be started again: it gets another start, a rest, or the supervisor fails.
    async fn ended(
        &self,
        myself: &ActorRef<SupervisorMsg>,
        state: &mut State,
        row: usize,
        ending: Ending,
    ) -> Result<(), ActorProcessingErr> {
        let failed = state.rows[row].ended(&ending);
        let is_wanted = state.rows[row].is_wanted_again(&ending);
        if is_wanted && is_ending(myself) {
            // The drain, which is next, starts it once more.
            state.rows[row].health.enter(ChildState::BackingOff);
            return Ok(());
        }
        if !is_wanted {
            state.rows[row].health.enter(if failed.is_some() { ChildState::Failed } else { ChildState::Stopped });
            return Ok(());
        }
        if let Some(delay) = state.spend_a_restart() {
            state.rows[row].health.enter(ChildState::BackingOff);
            myself.send_after(delay, move || SupervisorMsg::StartAgain(row));
            return Ok(());
        }
        let gave_up = GaveUp {
            child: state.rows[row].child.name.clone(),
            restarts: state.patience.restarts,
            within: state.patience.within,
            reason: failed.unwrap_or_else(|| "it stopped".to_owned()),
        };
        error!(error = %gave_up, "giving up");
        // Only the root has a listener, and it gives up once.
        let _ = self.gave_up.set(gave_up.to_string());
        state.drain().await; // an actor that fails has no `post_stop`
        state.rows[row].health.enter(ChildState::Failed);
        Err(gave_up.into())
    }
}

impl State {
    fn new(plan: Plan) -> State {
        let row = |child: Child| Row { health: plan.registry.child(&child.name), child, running: None };
        State { patience: plan.patience, rows: plan.children.into_iter().map(row).collect(), recent: VecDeque::new() }
    }

    /// The delay before one more restart, unless patience has ended.
    fn spend_a_restart(&mut self) -> Option<Duration> {
        let (patience, now) = (self.patience, Instant::now());
        while self.recent.front().is_some_and(|it| now.duration_since(*it) > patience.within) {
            self.recent.pop_front();
        }
        if self.recent.len() >= patience.restarts {
            return None;
        }
        let doublings = u32::try_from(self.recent.len()).unwrap_or(u32::MAX);
        self.recent.push_back(now);
        Some(patience.first_delay.saturating_mul(2_u32.saturating_pow(doublings)).min(patience.longest_delay))
    }

    /// Lets every child finish what it has been sent, the last row first.
    async fn drain(&mut self) {
        let caretaker = match Caretaker::spawn(None, Caretaker, ()).await {
            Ok((caretaker, _)) => caretaker,
            Err(error) => {
                // Its start does nothing that can fail. Without it nobody is started again; the rest is drained.
                error!(%error, "no caretaker for the drain");
                for row in self.rows.iter_mut().rev() {
                    row.drain().await;
                }
                return;
            }
        };
        let caretaker = KilledOnDrop(caretaker.get_cell());
        for row in &mut self.rows {
            row.revive(&caretaker.0).await;
        }
        for at in (0..self.rows.len()).rev() {
            let (above, rest) = self.rows.split_at_mut(at);
            let Some(row) = rest.first_mut() else { continue };
            let mut drained = pin!(row.drain());
            // Events wait meanwhile, and a row that drains needs those above it: they are looked after from here.
            while timeout(LOOK_EVERY, drained.as_mut()).await.is_err() {
                for row in above.iter_mut() {
                    row.revive(&caretaker.0).await;
                }
            }
        }
    }
}

impl Row {
    /// Starts the child, within its time. Neither a hang nor a panic in its start harms the supervisor.
    async fn start(&mut self, supervisor: &ActorCell) -> Result<(), String> {
        self.health.enter(ChildState::Starting);
        let start = async { (self.child.start)(supervisor.clone()).await };
        let started = match timeout(self.child.start_within, AssertUnwindSafe(start).catch_unwind()).await {
            Ok(Ok(Ok(cell))) => Ok(cell),
            Ok(Ok(Err(error))) => Err(error.to_string()),
            Ok(Err(panic)) => Err(panic_text(&*panic).to_owned()),
            Err(_) => Err(format!("its start took longer than {:?}", self.child.start_within)),
        };
        match started {
            Ok(cell) => {
                info!(child = &*self.child.name, "started");
                self.health.running(cell.clone());
                (self.child.started)(&cell);
                self.running = Some(cell);
                Ok(())
            }
            Err(reason) => {
                self.health.failed(&reason);
                Err(reason)
            }
        }
    }

    /// Notes the end; the text of the failure if it was one.
    fn ended(&mut self, ending: &Ending) -> Option<String> {
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

    fn is_wanted_again(&self, ending: &Ending) -> bool {
        match self.child.restart {
            Restart::Always => true,
            Restart::OnFailure => matches!(ending, Ending::Failed(_)),
            Restart::Never => false,
        }
    }

    /// Starts a child that is needed for the drain and is not there: it rests between two starts, or has failed since.
    /// What it owns comes to its end in its `post_stop`.
    async fn revive(&mut self, supervisor: &ActorCell) {
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

    async fn drain(&mut self) {
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

fn is_ending(myself: &ActorRef<SupervisorMsg>) -> bool {
    myself.get_status() >= ActorStatus::Draining
}
