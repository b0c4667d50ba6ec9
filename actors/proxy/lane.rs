//! A lane: one thread with a single-threaded runtime that forwards.
//!
//! A client's connection and the upstream connections it uses live on one lane, so forwarding shares
//! nothing with other lanes, and nothing with the recording side but atomics.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpStream};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use api_log::exchange::End;
use arc_swap::ArcSwap;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::capture::Recorder;
use super::client::{Client, Limits, Verdict};
use super::exchange::{self, Settings};
use super::heads::Heads;
use super::upstream::{LocalExecutor, MAX_FIELDS, Pool, Target};
use crate::kit::Pulse;

/// How often a lane closes upstream connections that have been idle for too long.
const PRUNE_EVERY: Duration = Duration::from_millis(500);

/// Longest wait for the parts of an exchange that has been cut. They let go as soon as they run.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(1);

/// What a connection is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Go on.
    Serve,
    /// End after the exchange under way.
    Drain,
    /// End now.
    Cut,
}

/// A client's connection on its way to a lane.
pub(crate) struct Arrival {
    /// The socket, non-blocking.
    pub(crate) stream: TcpStream,
    /// Who connected.
    pub(crate) peer: SocketAddr,
    /// What its actor says. If the actor is lost the connection is served on: the lane's own orders stay.
    pub(crate) orders: watch::Receiver<Order>,
    /// Called when the connection has ended.
    pub(crate) ended: Box<dyn FnOnce() + Send>,
    /// There are too many: every request is answered with 503.
    pub(crate) is_refused: bool,
}

/// What can be changed while lanes run. Read by each exchange and each new connection, without a lock.
#[derive(Clone)]
pub(crate) struct Live {
    /// Whether anything is captured at all.
    pub(crate) is_capturing: bool,
    /// How long connections may be quiet.
    pub(crate) limits: Limits,
}

/// What all lanes of a proxy are made of.
#[derive(Clone)]
pub(crate) struct Plan {
    /// For exchanges.
    pub(crate) settings: Arc<Settings>,
    /// The upstream.
    pub(crate) target: Arc<Target>,
    /// For captures.
    pub(crate) recorder: Arc<Recorder>,
    /// What a reload changes.
    pub(crate) live: Arc<ArcSwap<Live>>,
    /// Longest request head, in bytes.
    pub(crate) max_header_bytes: usize,
}

/// A lane from within.
pub(crate) struct Lane {
    pub(crate) settings: Arc<Settings>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) live: Arc<ArcSwap<Live>>,
    pub(crate) pool: Rc<Pool>,
    max_header_bytes: usize,
    server: auto::Builder<LocalExecutor>,
}

/// A lane from outside. It ends when its handle is dropped and its connections have ended.
pub(crate) struct LaneHandle {
    arrivals: mpsc::UnboundedSender<Arrival>,
    orders: watch::Sender<Order>,
    open: Arc<AtomicUsize>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl LaneHandle {
    /// Starts a lane's thread; the pulse beats for as long as its loop turns.
    pub(crate) fn start(number: usize, plan: Plan, pulse: Arc<Pulse>) -> std::io::Result<LaneHandle> {
        let (arrivals, arriving) = mpsc::unbounded_channel();
        let (orders, lane_orders) = watch::channel(Order::Serve);
        let open = Arc::new(AtomicUsize::new(0));
        let count = open.clone();
        let (ready, started) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name(format!("lane-{number}")).spawn(move || {
            // The runtime stays on the thread that made it.
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => {
                    let _ = ready.send(Ok(()));
                    runtime.block_on(run(Lane::new(plan), arriving, lane_orders, count, pulse));
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        })?;
        started.recv().unwrap_or_else(|_| Err(std::io::Error::other("the lane's thread ended at once")))?;
        Ok(LaneHandle { arrivals, orders, open, thread: Some(thread) })
    }

    /// Connections on this lane.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Gives the lane a connection; back if the lane is gone.
    pub(crate) fn take(&self, arrival: Arrival) -> Result<(), Arrival> {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.arrivals.send(arrival).map_err(|back| {
            self.open.fetch_sub(1, Ordering::Relaxed);
            back.0
        })
    }

    /// Tells every connection of the lane.
    pub(crate) fn order(&self, order: Order) {
        self.orders.send_replace(order);
    }

    /// Waits for the lane's end once everybody else has let go of it. Blocks.
    pub(crate) fn join(mut self) {
        let thread = self.thread.take();
        drop(self);
        if thread.is_some_and(|it| it.join().is_err()) {
            tracing::error!("a lane's thread had panicked");
        }
    }
}

async fn run(
    lane: Rc<Lane>,
    mut arriving: mpsc::UnboundedReceiver<Arrival>,
    orders: watch::Receiver<Order>,
    open: Arc<AtomicUsize>,
    pulse: Arc<Pulse>,
) {
    let mut prune = tokio::time::interval(PRUNE_EVERY);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            arrival = arriving.recv() => {
                let Some(arrival) = arrival else { break };
                let counted = Counted(open.clone());
                let (lane, orders) = (lane.clone(), orders.clone());
                connections.spawn_local(async move {
                    let _counted = counted;
                    lane.serve(arrival, orders).await;
                });
            }
            Some(ended) = connections.join_next() => report(ended),
            _ = prune.tick() => {
                fault!("lane");
                lane.pool.prune();
                pulse.beat();
            }
        }
    }
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

/// A panic costs the connection it happened on.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "serving a connection panicked");
    }
}

/// A connection counted as open until dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Calls back when dropped: also when what it watches panics.
struct OnEnd(Option<Box<dyn FnOnce() + Send>>);

impl Drop for OnEnd {
    fn drop(&mut self) {
        if let Some(ended) = self.0.take() {
            ended();
        }
    }
}

impl Lane {
    fn new(plan: Plan) -> Rc<Lane> {
        let mut server = auto::Builder::new(LocalExecutor);
        server
            .http1()
            .preserve_header_case(true)
            .auto_date_header(false)
            .max_headers(MAX_FIELDS)
            .max_buf_size(plan.max_header_bytes.max(8192));
        server.http2().auto_date_header(false).max_header_list_size(plan.max_header_bytes as u32);
        Rc::new(Lane {
            settings: plan.settings,
            recorder: plan.recorder,
            live: plan.live,
            pool: Pool::new(plan.target),
            max_header_bytes: plan.max_header_bytes,
            server,
        })
    }

    /// Serves one client's connection to its end.
    async fn serve(self: Rc<Lane>, arrival: Arrival, mut lane_orders: watch::Receiver<Order>) {
        let Arrival { stream, peer, mut orders, ended, is_refused } = arrival;
        let _ended = OnEnd(Some(ended));
        // A socket that fails here has been closed by its client already.
        let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
        let _ = stream.set_nodelay(true);
        let client = Client::new(peer, self.max_header_bytes);
        let io = Heads::new(TokioIo::new(stream), client.heads.clone());
        let service = {
            let (lane, client) = (self.clone(), client.clone());
            service_fn(move |request| {
                let (lane, client) = (lane.clone(), client.clone());
                async move { Ok::<_, Infallible>(exchange::forward(lane, client, request, is_refused).await) }
            })
        };
        let mut connection = pin!(Some(self.server.serve_connection_with_upgrades(io, service)));
        let limits = self.live.load().limits;
        let mut watchdog = tokio::time::interval(limits.period());
        loop {
            let order = tokio::select! {
                biased;
                // Errors are the client's or the upstream's doing, and stand in the trace.
                () = ended_in(connection.as_mut()), if connection.is_some() => {
                    // It holds the answer that its client broke off, and with it an exchange, until it is dropped.
                    connection.set(None);
                    continue;
                }
                // Tunnels outlive their connection's task.
                () = client.until_quiet(), if connection.is_none() => return,
                order = heard(&mut orders) => order,
                order = heard(&mut lane_orders) => order,
                _ = watchdog.tick() => match client.verdict(&limits, Instant::now()) {
                    Verdict::Fine => continue,
                    Verdict::HeadIsLate => return,
                    Verdict::KeptAliveTooLong => Order::Drain,
                    Verdict::StreamIsIdle => {
                        client.end(End::IdleTimeout);
                        break;
                    }
                },
            };
            match order {
                Order::Serve => {}
                Order::Drain => {
                    if let Some(connection) = connection.as_mut().as_pin_mut() {
                        connection.graceful_shutdown();
                    }
                }
                Order::Cut => {
                    client.end(End::Shutdown);
                    break;
                }
            }
        }
        // What other tasks hold of its exchanges is handed over before the connection counts as ended.
        connection.set(None);
        let _ = tokio::time::timeout(HAND_OVER_LIMIT, client.until_quiet()).await;
    }
}

/// Waits for the end of the connection in there; for ever if there is none.
async fn ended_in(mut connection: Pin<&mut Option<impl Future>>) {
    match connection.as_mut().as_pin_mut() {
        Some(connection) => drop(connection.await),
        None => std::future::pending().await,
    }
}

/// The next order. Whoever gives them may be gone: then none ever comes.
async fn heard(orders: &mut watch::Receiver<Order>) -> Order {
    match orders.changed().await {
        Ok(()) => *orders.borrow_and_update(),
        Err(_) => std::future::pending().await,
    }
}
