//! The actor of one upgraded connection: reads what its tunnel left, and hands over each piece that has ended.
//!
//! What it reads into stands outside it, in its [`OpenSocket`]. A crash costs the reader, not what it had read:
//! the next actor hands that over as cut, keeps the bytes that it failed on raw, and counts the rest.

use std::sync::Arc;
use std::time::Duration;

use api_log::exchange::End;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::open_socket::{Ended, OpenSocket};
use super::socket_reading::Shared;
use crate::kit::ChildHealth;

/// News read in one go; then the mailbox has its turn.
const NEWS_AT_ONCE: usize = 16;
/// How often to look for what is due by its age while something is open.
const TICK: Duration = Duration::from_secs(1);

pub(crate) struct Socket;

pub(crate) enum Msg {
    /// There is something in the socket's queue.
    Look,
    /// Time has passed.
    Tick,
}

pub(crate) struct Args {
    pub(crate) socket: Arc<OpenSocket>,
    pub(crate) shared: Arc<Shared>,
    /// Its own, for the watchdog.
    pub(crate) health: Arc<ChildHealth>,
}

pub(crate) struct State {
    args: Args,
    is_armed: bool,
}

impl Actor for Socket {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        args.socket.reading.lock().recover(args.now_us(), &args.shared);
        args.socket.slot.fill(myself.clone());
        look_again(&myself);
        Ok(State { args, is_armed: false })
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Look => state.args.look(&myself),
            Msg::Tick => {
                state.is_armed = false;
                state.args.tick();
            }
        }
        state.arm(&myself);
        Ok(())
    }

    /// Drained: the tunnel has ended, or will not be heard any more.
    async fn post_stop(&self, _: ActorRef<Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        let Args { socket, shared, .. } = &state.args;
        let mut reading = socket.reading.lock();
        while let Some(news) = socket.news.pop() {
            reading.read(news, shared);
        }
        if !reading.is_over() {
            reading.end(Ended { end: End::Shutdown, left: None, at_us: state.args.now_us() }, shared);
        }
        Ok(())
    }
}

impl State {
    fn arm(&mut self, myself: &ActorRef<Msg>) {
        if !self.is_armed && self.args.socket.reading.lock().has_open_pieces() {
            self.is_armed = true;
            myself.send_after(TICK, || Msg::Tick);
        }
    }
}

impl Args {
    fn look(&self, myself: &ActorRef<Msg>) {
        let Args { socket, shared, health } = self;
        let mut reading = socket.reading.lock();
        for _ in 0..NEWS_AT_ONCE {
            if reading.is_over() {
                myself.stop(None);
                return;
            }
            let Some(news) = socket.news.pop() else {
                if !socket.news.sleep() {
                    look_again(myself);
                }
                return;
            };
            reading.read(news, shared);
            health.progressed();
        }
        look_again(myself);
    }

    fn tick(&self) {
        self.socket.reading.lock().tick(self.now_us(), &self.shared);
    }

    fn now_us(&self) -> u64 {
        self.socket.started.elapsed().as_micros() as u64
    }
}

fn look_again(myself: &ActorRef<Msg>) {
    // An error means that this actor drains: `post_stop` looks again.
    let _ = myself.cast(Msg::Look);
}
