//! The exporter: has spans sent, beside its mailbox. Owns nothing: what waits and what is under way outlive it, so that a
//! crash costs a moment. A request that was under way is sent again, with the same spans.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::time::{Instant, timeout_at};

use super::Export;
use super::delivery::{Pauses, Step};
use crate::kit::{Beside, ChildHealth, beside};

/// How often it looks: spans gather meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long the rest may take when the recorder ends. Less than the row's grace.
const FLUSH: Duration = Duration::from_secs(5);

pub(crate) struct Exporter;

pub(crate) enum Msg {
    /// Something may wait.
    Look,
    /// The task beside has done what it could.
    Rested,
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) export: Arc<Export>,
    pub(crate) health: Arc<ChildHealth>,
}

pub(crate) struct State {
    args: Args,
    sending: Option<Beside>,
}

impl Actor for Exporter {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        if args.export.on.is_some() {
            myself.send_interval(LOOK_EVERY, || Msg::Look);
        }
        Ok(State { args, sending: None })
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Look if state.sending.is_none() && state.args.export.waiting() > 0 => {
                let _under_way = state.args.health.begin();
                fault!(await "otlp");
                state.begin(&myself);
            }
            Msg::Look => {}
            Msg::Rested => state.sending = None,
        }
        Ok(())
    }

    /// Drained: the writers, who leave places, have ended before. After a failure the next one goes on.
    async fn post_stop(&self, _: ActorRef<Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        if let Some(sending) = state.sending.take() {
            if sending.has_failed() {
                return Ok(());
            }
            sending.abort();
            sending.ended().await;
        }
        let export = &state.args.export;
        let deadline = Instant::now() + FLUSH;
        while let Ok(Step::Done) = timeout_at(deadline, export.step(Pauses::LeftOut)).await {}
        export.give_up();
        Ok(())
    }
}

impl State {
    /// Sends what waits, beside the mailbox, for a collector may take its time.
    fn begin(&mut self, myself: &ActorRef<Msg>) {
        let (Args { export, health }, to) = (self.args.clone(), myself.clone());
        self.sending = Some(beside(myself.get_cell(), async move {
            while export.step(Pauses::Kept).await == Step::Done {
                health.progressed();
            }
            // An error means that the exporter ends.
            let _ = to.cast(Msg::Rested);
        }));
    }
}
