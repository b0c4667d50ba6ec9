//! The sockets: takes upgraded connections from the lanes' queue and starts an actor for each.
//!
//! Which are open, and what was read of them, stands in a table outside; after a crash the next one begins with
//! that.

use std::sync::Arc;
use std::time::Duration;

use api_log::ids::TraceId;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};

use super::intake::{Intake, LOOK_EVERY};
use super::open_socket::{OpenSocket, OpenSockets};
use super::socket::{self, Socket};
use super::socket_reading::Shared;
use crate::kit::{ChildHealth, Ended, Nursery, NurseryHealth};

pub(crate) struct Sockets;

pub(crate) enum Msg {
    /// There is something in the queue.
    Wake,
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) intake: Arc<Intake>,
    pub(crate) open: Arc<OpenSockets>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) health: Arc<ChildHealth>,
    pub(crate) nursery: Arc<NurseryHealth>,
    /// How long readers may take when the recorder ends.
    pub(crate) grace: Duration,
}

pub(crate) struct State {
    args: Args,
    running: Nursery<TraceId, socket::Msg>,
}

impl Actor for Sockets {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        // There are no more than connections, which are bounded where they are accepted.
        let mut state = State { running: Nursery::new(usize::MAX, args.nursery.clone()), args };
        for socket in state.args.open.all() {
            state.start(&myself, socket).await?;
        }
        myself.cast(Msg::Wake)?;
        myself.send_interval(LOOK_EVERY, || Msg::Wake);
        Ok(state)
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Wake => {
                fault!(await "sockets");
                state.take(&myself).await?;
                if !state.args.intake.sockets.sleep() {
                    // An error means that this actor drains: `post_stop` looks again.
                    let _ = myself.cast(Msg::Wake);
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(Ended { key, how }) = state.running.ended(event) else { return Ok(()) };
        let Some(socket) = state.args.open.get(key) else { return Ok(()) };
        if socket.reading.lock().is_over() {
            state.args.open.remove(key);
            return Ok(());
        }
        tracing::warn!(socket = %key, ?how, "the reader of a socket failed");
        state.start(&myself, socket).await
    }

    /// Drained: every socket is read to its end.
    async fn post_stop(&self, myself: ActorRef<Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.take(&myself).await?;
        state.running.drain(state.args.grace).await;
        Ok(())
    }
}

impl State {
    async fn take(&mut self, myself: &ActorRef<Msg>) -> Result<(), ActorProcessingErr> {
        while let Some(socket) = self.args.intake.sockets.pop() {
            self.args.health.progressed();
            self.args.open.add(socket.clone());
            self.start(myself, socket).await?;
        }
        Ok(())
    }

    async fn start(&mut self, myself: &ActorRef<Msg>, socket: Arc<OpenSocket>) -> Result<(), ActorProcessingErr> {
        let id = socket.id;
        let shared = self.args.shared.clone();
        let start = async |health: Arc<ChildHealth>| {
            let news = socket.clone();
            health.also_waits(move || news.news.len());
            let args = || socket::Args { socket: socket.clone(), shared: shared.clone(), health: health.clone() };
            match Socket::spawn_linked(None, Socket, args(), myself.get_cell()).await {
                Ok(started) => Ok(started),
                // Nobody is linked to an actor that drains; this one waits for its readers all the same.
                Err(_) => Socket::spawn(None, Socket, args()).await,
            }
        };
        self.running.start_watched(id, start).await?;
        Ok(())
    }
}
