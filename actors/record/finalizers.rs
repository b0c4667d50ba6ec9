//! The finalizers: takes ended exchanges from the lanes' queue and starts an actor for each.
//!
//! What waits stands in the queue and in the table of held traces, never in a mailbox; after a crash the
//! next one begins with what is held.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use api_log::counters::DropCause;
use api_log::ids::TraceId;
use ractor::{Actor, ActorProcessingErr, ActorRef, ActorStatus, SupervisionEvent};

use super::finalizer::{self, Finalizer, Rest, Shared};
use super::held::HeldTrace;
use super::intake::{Intake, LOOK_EVERY};
use crate::kit::{ChildHealth, Ended, Ending, Nursery, NurseryHealth};

/// While exchanges come in, how long to let them gather: a wake for each would cost the lanes more.
const GATHER: Duration = Duration::from_millis(1);
/// A trace whose finalizer failed this often, from the second time on without parsing anything, is given up.
const MAX_FAILURES: u32 = 3;

pub(crate) struct Finalizers;

pub(crate) enum Msg {
    /// There is something in the queue.
    Wake,
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) intake: Arc<Intake>,
    pub(crate) shared: Arc<Shared>,
    /// Most finalizers at once.
    pub(crate) most: usize,
    pub(crate) health: Arc<ChildHealth>,
    pub(crate) nursery: Arc<NurseryHealth>,
    /// How long the traces that are held may take when the recorder ends.
    pub(crate) grace: Duration,
}

pub(crate) struct State {
    args: Args,
    running: Nursery<TraceId, finalizer::Msg>,
    /// Exchanges were left in the queue because as many finalizers ran as may.
    is_behind: bool,
}

impl Actor for Finalizers {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        // What a predecessor held may be more than may run at once; it was admitted already.
        let held = args.shared.held.all();
        let running = Nursery::new(args.most.max(held.len()), args.nursery.clone());
        let mut state = State { args, running, is_behind: false };
        for trace in held {
            state.start(&myself, trace).await?;
        }
        myself.cast(Msg::Wake)?;
        myself.send_interval(LOOK_EVERY, || Msg::Wake);
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Wake => state.gather(&myself).await,
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(Ended { key, how }) = state.running.ended(event) {
            state.ended(&myself, key, how).await?;
        }
        if state.is_behind {
            state.gather(&myself).await?;
        }
        Ok(())
    }

    /// Drained: everything in the queue, and every finalizer, comes to its end. What does not in time is counted.
    async fn post_stop(&self, myself: ActorRef<Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        let deadline = Instant::now() + state.args.grace;
        loop {
            state.take(&myself).await?;
            // Waits for the finalizers that run, so the next round finds room.
            state.running.drain(deadline.saturating_duration_since(Instant::now())).await;
            if Instant::now() >= deadline {
                let Rest { left, dropped } = state.args.shared.spool_the_rest(&state.args.intake);
                if left + dropped > 0 {
                    tracing::error!(
                        left,
                        dropped,
                        "traces were not written in time; those left the next start recovers"
                    );
                }
                return Ok(());
            }
            // There is no news of how these ended; whatever they left behind, they failed at.
            for trace in state.args.shared.held.all() {
                let how = Ending::Failed("it failed while the recorder ended".to_owned());
                state.ended(&myself, trace.content.id(), how).await?;
            }
            if !state.is_behind && state.running.is_empty() {
                return Ok(());
            }
        }
    }
}

impl State {
    /// Takes what there is; then sleeps, or looks again soon if there was something.
    async fn gather(&mut self, myself: &ActorRef<Msg>) -> Result<(), ActorProcessingErr> {
        fault!(await "finalizers");
        let was_behind = self.is_behind;
        let taken = self.take(myself).await?;
        if self.is_behind {
            // The end of any finalizer makes room, and looks again.
            return Ok(());
        }
        if taken > 0 || was_behind {
            myself.send_after(GATHER, || Msg::Wake);
        } else if !self.args.intake.ended.sleep() {
            // An error means that this actor drains: `post_stop` looks again.
            let _ = myself.cast(Msg::Wake);
        }
        Ok(())
    }

    async fn take(&mut self, myself: &ActorRef<Msg>) -> Result<usize, ActorProcessingErr> {
        let mut taken = 0;
        self.is_behind = false;
        loop {
            if self.running.is_full() {
                self.is_behind = true;
                break;
            }
            let Some(content) = self.args.intake.ended.pop() else { break };
            self.args.health.progressed();
            let trace = self.args.shared.held.hold(content, self.args.health.begin());
            fault!("finalizers.took");
            self.start(myself, trace).await?;
            taken += 1;
        }
        Ok(taken)
    }

    async fn start(&mut self, myself: &ActorRef<Msg>, trace: Arc<HeldTrace>) -> Result<(), ActorProcessingErr> {
        let id = trace.content.id();
        let shared = self.args.shared.clone();
        let start = async |health: Arc<ChildHealth>| {
            let args = || finalizer::Args { trace: trace.clone(), shared: shared.clone(), health: health.clone() };
            match Finalizer::spawn_linked(None, Finalizer, args(), myself.get_cell()).await {
                // Ractor links none to an actor that is ending. There is no news of it then; `post_stop` looks itself.
                Err(_) if is_ending(myself) => Finalizer::spawn(None, Finalizer, args()).await,
                outcome => outcome,
            }
        };
        self.running.start_watched(id, start).await?;
        Ok(())
    }

    /// A finalizer has ended. If its trace is still held, it failed: once more, then without parsing.
    async fn ended(&mut self, myself: &ActorRef<Msg>, id: TraceId, how: Ending) -> Result<(), ActorProcessingErr> {
        let shared = &self.args.shared;
        let Some(trace) = shared.held.get(id) else { return Ok(()) };
        let failures = trace.failures.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::warn!(trace = %id, failures, ?how, "a finalizer failed");
        if trace.written_in().is_some() || trace.is_given_up() {
            shared.held.release(id);
            return Ok(());
        }
        if failures >= MAX_FAILURES && trace.give_up() {
            shared.counters.ledger.count_dropped(DropCause::FinalizeFail);
            shared.held.release(id);
            return Ok(());
        }
        self.start(myself, trace).await
    }
}

fn is_ending(myself: &ActorRef<Msg>) -> bool {
    myself.get_status() >= ActorStatus::Draining
}
