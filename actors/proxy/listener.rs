//! The listener: accepts connections, deals them to the lanes and keeps an actor for each.
//!
//! The socket outlives it, and an accepted connection is on its lane before this actor hears of it, so a
//! crash here costs no client anything: the backlog waits for the restart, connections are served on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::watch;

use super::connection::{self, Connection};
use super::lane::{Arrival, LaneHandle, Order};
use crate::kit::{Beside, ChildHealth, Nursery, NurseryHealth, Pending, beside};

/// Pause after an accept error such as too many open files: without it the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What connections may take beyond their grace, once they are cut.
const CUT_GRACE: Duration = Duration::from_secs(2);

pub(crate) struct Listener;

pub(crate) enum Msg {
    /// A connection is on its lane.
    Accepted(Dealt),
}

/// A connection that a lane serves already.
pub(crate) struct Dealt {
    peer: SocketAddr,
    orders: watch::Sender<Order>,
    ended: watch::Receiver<bool>,
    _pending: Pending,
}

/// What outlives the listener.
pub(crate) struct Front {
    /// The bound socket.
    pub(crate) socket: std::net::TcpListener,
    /// Where connections go.
    pub(crate) lanes: Arc<Vec<LaneHandle>>,
    /// 0: unlimited.
    pub(crate) max_connections: u64,
    /// Connections accepted since start.
    pub(crate) accepted: AtomicU64,
    /// The most that were open at once.
    pub(crate) high_water: AtomicU64,
    /// Connections refused with 503 since start.
    pub(crate) refused: AtomicU64,
    /// Accept errors since start.
    pub(crate) accept_errors: AtomicU64,
    /// The recorder is about to end.
    pub(crate) is_closed: AtomicBool,
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) front: Arc<Front>,
    pub(crate) grace: Duration,
    pub(crate) health: Arc<ChildHealth>,
    pub(crate) connections: Arc<NurseryHealth>,
}

pub(crate) struct State {
    args: Args,
    connections: Nursery<u64, connection::Msg>,
    accepting: Beside,
    next: u64,
}

impl Actor for Listener {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let socket = tokio::net::TcpListener::from_std(args.front.socket.try_clone()?)?;
        let accept = accept(args.front.clone(), socket, myself.clone(), args.health.clone());
        let accepting = beside(myself.get_cell(), accept);
        let connections = Nursery::new(usize::MAX, args.connections.clone());
        Ok(State { args, connections, accepting, next: 0 })
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Accepted(dealt) => state.supervise(&myself, dealt).await,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Msg>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.connections.ended(event);
        Ok(())
    }

    /// Drained: no connection is accepted any more, and those there are finish the exchange under way.
    /// After a failure nothing of this: the next one accepts on, and connections are served under their lanes' orders.
    async fn post_stop(&self, _: ActorRef<Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        if state.accepting.has_failed() {
            return Ok(());
        }
        state.args.front.close();
        let cut = state.connections.drain(state.args.grace + CUT_GRACE).await;
        if cut > 0 {
            tracing::warn!(connections = cut, "connections did not end in time");
        }
        Ok(())
    }
}

impl State {
    async fn supervise(&mut self, myself: &ActorRef<Msg>, dealt: Dealt) {
        let Dealt { peer, mut ended, orders, _pending } = dealt;
        fault!(await "listener");
        self.next += 1;
        let args = || connection::Args { orders: orders.clone(), ended: ended.clone(), grace: self.args.grace };
        let start = async {
            match Connection::spawn_linked(None, Connection, args(), myself.get_cell()).await {
                Ok(started) => Ok(started),
                // Nobody is linked to an actor that drains; this one waits for its connections all the same.
                Err(_) => Connection::spawn(None, Connection, args()).await,
            }
        };
        match self.connections.start(self.next, start).await {
            Ok(connection) => {
                let connection = connection.clone();
                // Bound to the connection's actor; on the way out the lane only turns a flag.
                beside(connection.get_cell(), async move {
                    let _ = ended.wait_for(|it| *it).await;
                    let _ = connection.cast(connection::Msg::Ended);
                });
            }
            // The lane serves it all the same, under its own orders.
            Err(error) => tracing::warn!(%peer, %error, "a connection has no actor"),
        }
    }
}

impl Front {
    /// Connections under way.
    pub(crate) fn open(&self) -> usize {
        self.lanes.iter().map(LaneHandle::open).sum()
    }

    /// Deals a connection to the lane with the fewest.
    fn deal(
        &self,
        stream: std::net::TcpStream,
        peer: SocketAddr,
    ) -> Option<(watch::Sender<Order>, watch::Receiver<bool>)> {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.high_water.fetch_max(self.open() as u64 + 1, Ordering::Relaxed);
        let is_refused = self.max_connections > 0 && self.open() as u64 >= self.max_connections;
        if is_refused {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        let (orders, hears) = watch::channel(Order::Serve);
        let (ended, has_ended) = watch::channel(false);
        let mut arrival = Arrival {
            stream,
            peer,
            orders: hears,
            ended: Box::new(move || {
                ended.send_replace(true);
            }),
            is_refused,
        };
        let mut lanes: Vec<&LaneHandle> = self.lanes.iter().collect();
        lanes.sort_by_key(|lane| lane.open());
        for lane in lanes {
            match lane.take(arrival) {
                Ok(()) => return Some((orders, has_ended)),
                Err(back) => arrival = back,
            }
        }
        tracing::error!(%peer, "no lane takes connections any more");
        None
    }

    /// Closes the socket for good: who connects now is refused by the system.
    pub(crate) fn close(&self) {
        use std::os::fd::AsRawFd;
        self.is_closed.store(true, Ordering::Release);
        // SAFETY: a call on a descriptor that `self` owns. It ends `accept` on all duplicates of the socket.
        unsafe { libc::shutdown(self.socket.as_raw_fd(), libc::SHUT_RD) };
    }
}

/// Accepts for as long as the listener lives.
async fn accept(front: Arc<Front>, socket: tokio::net::TcpListener, listener: ActorRef<Msg>, health: Arc<ChildHealth>) {
    while !front.is_closed.load(Ordering::Acquire) {
        match accepted(&socket).await {
            Ok((stream, peer)) => {
                if let Some((orders, ended)) = front.deal(stream, peer) {
                    let _pending = health.begin();
                    // Without an actor the connection is served under its lane's orders.
                    let _ = listener.cast(Msg::Accepted(Dealt { peer, orders, ended, _pending }));
                }
            }
            Err(_) if front.is_closed.load(Ordering::Acquire) => return,
            Err(error) => {
                front.accept_errors.fetch_add(1, Ordering::Relaxed);
                if !is_of_one_client(&error) {
                    tracing::warn!(%error, "cannot accept connections; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// The next connection.
async fn accepted(socket: &tokio::net::TcpListener) -> std::io::Result<(std::net::TcpStream, SocketAddr)> {
    fault!(io "listener.accept")?;
    let (stream, peer) = socket.accept().await?;
    Ok((stream.into_std()?, peer))
}

/// Errors that concern the one connection that was about to be accepted.
fn is_of_one_client(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
