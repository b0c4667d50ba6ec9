//! The API's server: owns the listener and the replies under way, which is what its crash costs.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::{State, routes};
use crate::kit::beside;

/// How long a caller may take to send a request's headers.
const READ_HEADER: Duration = Duration::from_secs(10);
/// Longest header block, in bytes.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Callers at once.
pub(super) const MAX_CONNECTIONS: usize = 1024;
/// How long replies under way may take when the recorder ends.
const GRACE: Duration = Duration::from_secs(5);
/// Pause after an accept error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Server;

pub(crate) enum Msg {
    /// Fails on purpose.
    #[cfg(test)]
    Panic,
}

#[derive(Clone)]
pub(crate) struct Args {
    /// The bound socket; it outlives the server.
    pub(crate) socket: Arc<TcpListener>,
    /// What the routes read.
    pub(crate) state: Arc<State>,
}

pub(crate) struct Serving {
    stop: watch::Sender<bool>,
    stopped: oneshot::Receiver<()>,
}

impl Actor for Server {
    type Msg = Msg;
    type State = Serving;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<Serving, ActorProcessingErr> {
        let socket = tokio::net::TcpListener::from_std(args.socket.try_clone()?)?;
        let (stop, stopping) = watch::channel(false);
        let (told, stopped) = oneshot::channel();
        beside(myself.get_cell(), async move {
            serve(socket, args.state, stopping).await;
            let _ = told.send(());
        });
        Ok(Serving { stop, stopped })
    }

    async fn handle(&self, _: ActorRef<Msg>, msg: Msg, _: &mut Serving) -> Result<(), ActorProcessingErr> {
        match msg {
            #[cfg(test)]
            Msg::Panic => panic!("asked to"),
        }
    }

    /// Drained: replies under way are finished.
    async fn post_stop(&self, _: ActorRef<Msg>, state: &mut Serving) -> Result<(), ActorProcessingErr> {
        state.stop.send_replace(true);
        let _ = tokio::time::timeout(GRACE, &mut state.stopped).await;
        Ok(())
    }
}

async fn serve(socket: tokio::net::TcpListener, state: Arc<State>, mut stopping: watch::Receiver<bool>) {
    let router = routes::router(state.clone());
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(READ_HEADER).max_buf_size(MAX_HEADER_BYTES);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        state.callers.set(connections.len());
        tokio::select! {
            () = told_to_stop(&mut stopping) => break,
            Some(_) = connections.join_next() => {}
            accepted = socket.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    fault!("api.accept");
                    let _ = stream.set_nodelay(true);
                    let service = TowerToHyperService::new(router.clone());
                    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
                    // How a caller's connection ends is the caller's affair.
                    connections.spawn(graceful.watch(connection));
                }
                Err(error) => {
                    tracing::warn!(%error, "the API cannot accept connections; trying again");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(socket);
    graceful.shutdown().await;
}

async fn told_to_stop(stopping: &mut watch::Receiver<bool>) {
    // An error means that the server's actor is gone, and this task with it.
    let _ = stopping.wait_for(|it| *it).await;
}
