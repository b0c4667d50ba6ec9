//! The API's server: owns the listener and the replies under way, which is what its crash costs.

use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::connection::{Activity, Limits, Told};
use super::streams::Holding;
use super::{State, routes};
use crate::kit::beside;

/// Longest header block, in bytes, and most fields of it.
pub(super) const MAX_HEADER_BYTES: usize = 64 * 1024;
const MAX_HEADER_FIELDS: usize = 100;
/// Connections beyond the limit that are being told so; more wait to be accepted.
const REFUSED_AT_ONCE: usize = 64;
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
    /// Breaks off the answers that have no end of their own.
    streams: watch::Sender<bool>,
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
        let streams = args.state.ending.clone();
        streams.send_replace(false);
        beside(myself.get_cell(), async move {
            serve(socket, args.state, stopping).await;
            let _ = told.send(());
        });
        Ok(Serving { stop, streams, stopped })
    }

    async fn handle(&self, _: ActorRef<Msg>, msg: Msg, _: &mut Serving) -> Result<(), ActorProcessingErr> {
        match msg {
            #[cfg(test)]
            Msg::Panic => panic!("asked to"),
        }
    }

    /// Drained: replies under way are finished, and streams broken off.
    async fn post_stop(&self, _: ActorRef<Msg>, state: &mut Serving) -> Result<(), ActorProcessingErr> {
        state.stop.send_replace(true);
        state.streams.send_replace(true);
        let _ = tokio::time::timeout(GRACE, &mut state.stopped).await;
        Ok(())
    }
}

async fn serve(socket: tokio::net::TcpListener, state: Arc<State>, mut stopping: watch::Receiver<bool>) {
    let (router, refusing) = (routes::router(state.clone()), routes::refusing(state.clone()));
    let graceful = GracefulShutdown::new();
    let (mut connections, mut refused) = (JoinSet::new(), JoinSet::new());
    let most = state.parts.max_connections;
    loop {
        state.callers.set(connections.len());
        tokio::select! {
            () = told_to_stop(&mut stopping) => break,
            Some(_) = connections.join_next() => {}
            Some(_) = refused.join_next() => {}
            accepted = socket.accept(), if connections.len() < most || refused.len() < REFUSED_AT_ONCE => match accepted {
                Ok((stream, peer)) => {
                    fault!("api.accept");
                    let _ = stream.set_nodelay(true);
                    let caller = Caller { stream, peer: Peer(peer), limits: state.limits.clone() };
                    if connections.len() < most {
                        connections.spawn(caller.serve(router.clone(), Stays::ForMore, &graceful));
                    } else {
                        refused.spawn(caller.serve(refusing.clone(), Stays::ForOneAnswer, &graceful));
                    }
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

/// Who is at the other end of a request's connection; stands in its extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// A connection that was accepted.
struct Caller {
    stream: TcpStream,
    peer: Peer,
    limits: Arc<ArcSwap<Limits>>,
}

/// How long a connection is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stays {
    ForMore,
    ForOneAnswer,
}

impl Caller {
    /// Serves it, until it ends or has been quiet for too long. How it ends is the caller's affair.
    fn serve(self, router: Router, stays: Stays, graceful: &GracefulShutdown) -> impl Future<Output = ()> + use<> {
        let Caller { stream, peer, limits } = self;
        let activity = Activity::new();
        let (socket, seen) = (Told::new(stream, activity.clone()), activity.clone());
        let service = TowerToHyperService::new(router);
        let service = service_fn(move |mut request: Request<Incoming>| {
            let open = seen.open();
            request.extensions_mut().insert(peer);
            let answer = service.call(request);
            async move { answer.await.map(|it| it.map(|body| Holding::body(body, open))) }
        });
        let mut builder = http1::Builder::new();
        // What it would bound, the activity does, and tells heads from pauses.
        builder.timer(TokioTimer::new()).header_read_timeout(None);
        builder.max_buf_size(MAX_HEADER_BYTES).max_headers(MAX_HEADER_FIELDS).keep_alive(stays == Stays::ForMore);
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(socket), service));
        async move {
            let mut connection = pin!(connection);
            loop {
                let limits = **limits.load();
                tokio::select! {
                    _ = &mut connection => return,
                    () = tokio::time::sleep(limits.period()) => {
                        if activity.is_overdue(&limits, Instant::now()) {
                            return;
                        }
                    }
                }
            }
        }
    }
}

async fn told_to_stop(stopping: &mut watch::Receiver<bool>) {
    // An error means that the server's actor is gone, and this task with it.
    let _ = stopping.wait_for(|it| *it).await;
}
