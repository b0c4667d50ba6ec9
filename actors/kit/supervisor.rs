//! The supervisor: starts a table of children in order, starts them again when they fail, drains them in reverse.
//!
//! It owns its children and promises that none outlives it. Its own crash costs all of them; its supervisor, or the
//! service manager above the process, starts the whole table again.
//!
//! The strategy is always one-for-one. Dependence is expressed by order and by [`Slot`](super::Slot)s, never by ending
//! siblings. A supervisor under a supervisor needs no protocol: draining it ends in its `post_stop`, which drains its
//! children.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, ActorStatus, RpcReplyPort, SupervisionEvent};
use tokio::time::{Instant, timeout};
use tracing::error;

use super::row::Row;
use super::{Child, ChildState, Ending, Registry};

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
    /// The start of the child in this row is done, or has failed.
    Started(usize),
    /// Whether it gets on.
    AreYouThere(RpcReplyPort<()>),
}

/// The table, and what runs of it.
pub(crate) struct State {
    patience: Patience,
    rows: Vec<Row>,
    /// When children were started again, oldest first; what is older than the patience's time is forgotten.
    recent: VecDeque<Instant>,
    /// Ends of actors whose start is not known yet to be done.
    early: Vec<(ActorCell, Ending)>,
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
        match msg {
            SupervisorMsg::StartAgain(row) if !is_ending(&myself) => {
                state.rows[row].health.starts_again();
                // Beside this actor: a start that hangs, as on threads that are blocked, must hold up nobody else.
                state.rows[row].begin_start(&myself, row);
                Ok(())
            }
            // The drain, which is next, starts it once more.
            SupervisorMsg::StartAgain(_) => Ok(()),
            SupervisorMsg::Started(row) => match state.take_end_of_start(row) {
                Some(ending) => self.ended(&myself, state, row, ending).await,
                None => Ok(()),
            },
            SupervisorMsg::AreYouThere(reply) => {
                let _ = reply.send(());
                Ok(())
            }
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
            None => {
                if state.rows.iter().any(Row::is_starting) {
                    state.early.push((cell, ending));
                }
                Ok(())
            }
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
        let row = |child: Child| Row::new(plan.registry.child(&child.name), child);
        let rows = plan.children.into_iter().map(row).collect();
        State { patience: plan.patience, rows, recent: VecDeque::new(), early: Vec::new() }
    }

    /// A start is done; how it ended if the child does not run: it failed, or the child has ended since.
    fn take_end_of_start(&mut self, row: usize) -> Option<Ending> {
        let ending = match self.rows[row].end_start() {
            Some(Err(reason)) => Some(Ending::Failed(reason)),
            Some(Ok(cell)) => {
                let at = self.early.iter().position(|(early, _)| *early == cell);
                at.map(|at| self.early.swap_remove(at).1)
            }
            None => None,
        };
        if !self.rows.iter().any(Row::is_starting) {
            self.early.clear();
        }
        ending
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
                    row.stop_start().await;
                    row.drain().await;
                }
                return;
            }
        };
        let caretaker = KilledOnDrop(caretaker.get_cell());
        for row in &mut self.rows {
            row.stop_start().await;
        }
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

fn is_ending(myself: &ActorRef<SupervisorMsg>) -> bool {
    myself.get_status() >= ActorStatus::Draining
}
