//! The composition root: what runs on which runtime, in which order it starts, and the supervision table.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use api_log::config::{Config, ListenAddress, Storage};
use api_log::counters::{Counters, DropCause};
use api_log::ids::{TraceIds, UnixMillis};
use api_log::store::data_dir;
use api_log::store::layout::Layout;
use api_log::store::lease::Leases;
use api_log::store::lock::{DataDirLock, Holder, LockError};
use api_log::store::open_segments::OpenSegments;
use api_log::store::overrides::Overrides;
use api_log::store::token::{self, TokenError};
use api_log::trace::FinalizeSettings;
use api_log::wire::decode::Limits as DecodeLimits;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;

use crate::api;
use crate::kit::{
    Budget, Child, EndedUnasked, Patience, Plan, Registry, Root, Slot, Watchdog, WatchdogArgs, WatchdogMsg,
};
use crate::proxy::listener::{self, Front};
use crate::proxy::{LaneHandle, Order, Recorder, start_lanes};
use crate::record::finalizer::Shared;
use crate::record::{
    Held, Intake, LogShared, MOST_SYNCING, Memory, OpenSockets, Queue, SocketShared, WriterShared, finalizers, index,
    recovery, sockets as upgraded, spool, writers,
};
use crate::{record, runtimes, sockets};

/// Ended exchanges that may wait beyond those being finalized. Their bytes are bounded by `capture.memory_bytes`.
const MOST_WAITING: usize = 65_536;
/// How long the parts behind the listener may take to finish when the recorder ends. Tests wait for its end.
const DRAIN_GRACE: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 20 });
/// What they may take beyond that, to count what they could not finish.
const COUNT_GRACE: Duration = Duration::from_secs(5);
/// What connections may take to end once they are cut.
const CUT_GRACE: Duration = Duration::from_secs(2);
/// How often to look whether the last connection has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Why the recorder does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// A listener's address is taken, or not ours.
    #[error("cannot listen on {address} ({key}): {source}")]
    Listen {
        /// The configuration key.
        key: &'static str,
        /// The address asked for.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The data dir is another recorder's, or cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The data dir cannot be made.
    #[error(transparent)]
    DataDir(#[from] data_dir::DataDirError),
    /// No token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// TLS towards the upstream cannot be set up.
    #[error("cannot verify TLS of {upstream}: {reason}")]
    Tls {
        /// The upstream.
        upstream: Arc<str>,
        /// Why.
        reason: String,
    },
    /// A thread or runtime cannot be made.
    #[error("cannot start threads: {0}")]
    Threads(#[from] std::io::Error),
    /// A supervised part did not start.
    #[error("cannot start: {0}")]
    Supervision(#[from] ractor::SpawnErr),
}

/// Why the recorder ended with an error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SystemError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A thread, a signal handler or a runtime could not be had.
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
    /// Something failed too often.
    #[error(transparent)]
    Unasked(#[from] EndedUnasked),
    /// Not everything could be brought to its end in time.
    #[error("not everything was finished in time; the log says what")]
    NotDrained,
}

/// A running recorder.
pub(crate) struct System {
    root: Root,
    front: Arc<Front>,
    lanes: Arc<Vec<LaneHandle>>,
    intake: Arc<Intake>,
    shared: Arc<Shared>,
    logs: Arc<LogShared>,
    recording: Runtime,
    grace: Duration,
    /// Given back last: until then this recorder may write.
    lock: DataDirLock,
    /// Where clients connect.
    pub(crate) proxy_address: SocketAddr,
    /// Where the read API is.
    pub(crate) api_address: SocketAddr,
    /// The process's counters.
    pub(crate) counters: Arc<Counters>,
    /// The addresses of what tests strike.
    #[cfg(test)]
    pub(crate) slots: Slots,
}

/// The addresses that outlive restarts.
#[derive(Clone, Default)]
pub(crate) struct Slots {
    pub(crate) index: Slot<index::Msg>,
    pub(crate) writers: Slot<writers::Msg>,
    pub(crate) spool: Slot<spool::Msg>,
    pub(crate) finalizers: Slot<finalizers::Msg>,
    pub(crate) recovery: Slot<recovery::Msg>,
    pub(crate) upgraded: Slot<upgraded::Msg>,
    pub(crate) api: Slot<api::Msg>,
    pub(crate) listener: Slot<listener::Msg>,
    pub(crate) watchdog: Slot<WatchdogMsg>,
}

impl System {
    /// Starts everything. Sockets come first, then the data dir's lock: who cannot have them touches nothing else.
    ///
    /// # Errors
    /// [`StartError`]; what had been started is ended again.
    pub(crate) async fn start(config: &Config) -> Result<System, StartError> {
        let proxy_socket = bind("proxy.listen", &config.proxy.listen)?;
        let api_socket = bind("api.listen", &config.api.listen)?;
        let proxy_address = proxy_socket.local_addr()?;
        let api_address = api_socket.local_addr()?;
        let layout = Layout::new(&config.storage.data_dir);
        let lock = take_data_dir(&layout, proxy_address, api_address)?;
        for warning in data_dir::create(&layout)? {
            tracing::warn!("{warning}");
        }
        let token = token::read_or_create(&layout.token())?;
        tell_about_token(&layout, &token);
        let recording = runtimes::recording()?;

        let slots = Slots::default();
        let registry = Registry::new();
        let counters = Arc::new(Counters::default());
        let memory = Memory::new(config.capture.memory_bytes);
        let intake = Arc::new(Intake {
            ended: Queue::to(&slots.finalizers, || finalizers::Msg::Wake),
            sockets: Queue::to(&slots.upgraded, || upgraded::Msg::Wake),
            spills: Queue::to(&slots.spool, || spool::Msg::Wake),
        });
        let door = index::Door::new(slots.index.clone(), &registry);
        let overridden = saves_attachments_override(&layout);
        let settings = FinalizeSettings {
            limits: DecodeLimits { max_decoded_bytes: config.storage.max_decoded_bytes, ..DecodeLimits::default() },
            trusted_proxies: config.proxy.trusted_proxies.clone(),
            extracts_media: true,
        };
        let shared = Arc::new(Shared {
            held: Held::default(),
            writers: slots.writers.clone(),
            index: door.clone(),
            settings_without_media: FinalizeSettings { extracts_media: false, ..settings.clone() },
            settings,
            saves_media: AtomicBool::new(overridden.unwrap_or(config.media.save_attachments)),
            path_filter: config.plugins.path_filter.clone(),
            parsing: Semaphore::new(runtimes::recording_threads()),
            lines: Budget::new(config.capture.memory_bytes, config.storage.writer_chan_size),
            counters: counters.clone(),
            layout: layout.clone(),
            slow_trace: config.timeouts.slow_trace,
        });
        let ids = Arc::new(TraceIds::new(rand::random()));
        let slot = slots.spool.clone();
        let captures = record::Captures {
            config: &config.capture,
            layout: &layout,
            intake: &intake,
            memory: &memory,
            ids: &ids,
            counters: &counters,
            registry: &registry,
        };
        // Nobody there: the spool looks by itself once a second.
        let (logs, spool, recovery) = captures.prepare(move || drop(slot.cast(spool::Msg::Tend)))?;
        let sockets = Arc::new(SocketShared {
            intake: intake.clone(),
            memory: memory.clone(),
            counters: counters.clone(),
            ids: ids.clone(),
            limits: SocketShared::limits(config.storage.max_body_bytes),
            max_waiting: MOST_WAITING,
        });
        let recorder = Arc::new(Recorder {
            logs: logs.clone(),
            counters: counters.clone(),
            ids,
            max_body_bytes: config.storage.max_body_bytes,
            max_waiting: MOST_WAITING,
            upstream: config.proxy.upstream.text.clone(),
        });
        let lanes = Arc::new(start_lanes(config, recorder)?);
        registry.show("finished lines", &shared.lines);
        let front = Arc::new(Front {
            socket: proxy_socket,
            lanes: lanes.clone(),
            max_connections: config.proxy.max_connections,
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            accept_errors: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
        });
        let api = api::Args {
            socket: Arc::new(api_socket),
            state: Arc::new(api::State::new(api::Parts {
                token,
                layout: layout.clone(),
                counters: counters.clone(),
                registry: registry.clone(),
                logs: logs.clone(),
                recovery: recovery.work.clone(),
                shared: shared.clone(),
                front: front.clone(),
                media_is_overridden: overridden.is_some(),
            })),
        };
        let parts = Parts {
            slots: slots.clone(),
            registry,
            counters: counters.clone(),
            layout,
            intake: intake.clone(),
            shared: shared.clone(),
            sockets,
            spool,
            recovery,
            front: front.clone(),
            api,
            door,
            storage: config.storage.clone(),
            grace: config.shutdown.grace,
        };
        let root = Root::start(parts.table(recording.handle())).await?;
        Ok(System {
            root,
            front,
            lanes,
            intake,
            shared,
            logs,
            recording,
            grace: config.shutdown.grace,
            lock,
            proxy_address,
            api_address,
            counters,
            #[cfg(test)]
            slots,
        })
    }

    /// Waits until the system ends by itself, because something failed too often.
    pub(crate) async fn ended(&mut self) -> EndedUnasked {
        self.root.ended().await
    }

    /// Ends in order: listeners, exchanges under way, captures, lines, rows. Whatever is not done at the end of
    /// the grace is cut, and recorded as such.
    pub(crate) async fn drain(self) -> bool {
        let System {
            root,
            front,
            lanes,
            intake,
            shared,
            logs,
            counters,
            recording,
            grace,
            lock: _held_until_the_end,
            ..
        } = self;
        // By their lanes, for a crash of the listener leaves connections without an actor; and before anything that
        // takes in what they captured.
        front.close();
        lanes.iter().for_each(|lane| lane.order(Order::Drain));
        if !is_quiet_within(&front, grace).await {
            tracing::warn!(connections = front.open(), "connections did not end in time; they are cut");
            lanes.iter().for_each(|lane| lane.order(Order::Cut));
            is_quiet_within(&front, CUT_GRACE).await;
        }
        drop(front);
        let drained = root.drain(grace + 3 * DRAIN_GRACE).await;
        if let Err(error) = &drained {
            tracing::error!("{error}");
        }
        lanes.iter().for_each(|lane| lane.order(Order::Cut));
        let ended = tokio::task::spawn_blocking(move || {
            if let Some(lanes) = Arc::into_inner(lanes) {
                lanes.into_iter().for_each(LaneHandle::join);
            }
            recording.shutdown_timeout(Duration::from_secs(1));
        });
        let has_ended = ended.await.is_ok();
        let unwritten = shared.give_up_the_rest(&intake);
        if unwritten > 0 {
            tracing::error!(unwritten, "nobody was left to write these traces");
        }
        // Whatever is left in it the next start recovers.
        logs.arena.close();
        has_ended && drained.is_ok() && counters.ledger.dropped(DropCause::Shutdown) == 0
    }
}

/// What the table's rows are made from, again at each restart.
struct Parts {
    slots: Slots,
    registry: Registry,
    counters: Arc<Counters>,
    layout: Layout,
    intake: Arc<Intake>,
    shared: Arc<Shared>,
    sockets: Arc<SocketShared>,
    spool: spool::Args,
    recovery: recovery::Args,
    front: Arc<Front>,
    api: api::Args,
    door: index::Door,
    storage: Storage,
    grace: Duration,
}

impl Parts {
    /// The supervision table, read top to bottom: started in this order, drained in reverse.
    fn table(self, recording: &Handle) -> Plan {
        let Parts {
            slots, registry, counters, layout, intake, shared, sockets, front, api, door, storage, grace, ..
        } = self;
        let index = {
            let args = index::Args {
                layout: layout.clone(),
                counters: counters.clone(),
                health: registry.child("index"),
                door: door.clone(),
            };
            Child::actor("index", &slots.index, move || (index::Index, args.clone()))
        };
        let writers = {
            let args = writers::Args {
                layout,
                leases: Leases::default(),
                segments: OpenSegments::default(),
                segment_bytes: storage.segment_bytes,
                shared: Arc::new(WriterShared {
                    index: door,
                    counters: counters.clone(),
                    fsync: storage.fsync,
                    fsync_interval: storage.fsync_interval,
                    syncing: Semaphore::new(MOST_SYNCING),
                    // Who seals is nudged here.
                    segment_closed: Box::new(|_| ()),
                }),
                nursery: registry.nursery("writers"),
                grace: DRAIN_GRACE,
            };
            Child::actor("writers", &slots.writers, move || (writers::Writers, args.clone()))
        };
        let args = self.spool;
        let spool = Child::actor("spool", &slots.spool, move || (spool::Spool, args.clone()));
        let args = self.recovery;
        let recovery = Child::actor("recovery", &slots.recovery, move || (recovery::Recovery, args.clone()));
        let sockets = {
            let args = upgraded::Args {
                intake: intake.clone(),
                open: Arc::new(OpenSockets::default()),
                shared: sockets,
                nursery: registry.nursery("sockets"),
                grace: DRAIN_GRACE,
            };
            Child::actor("sockets", &slots.upgraded, move || (upgraded::Sockets, args.clone()))
        };
        let finalizers = {
            let args = finalizers::Args {
                intake,
                shared,
                most: storage.writer_chan_size,
                health: registry.child("finalizers"),
                nursery: registry.nursery("finalizers"),
                grace: DRAIN_GRACE,
            };
            Child::actor("finalizers", &slots.finalizers, move || (finalizers::Finalizers, args.clone()))
        };
        let api = Child::actor("api", &slots.api, move || (api::Server, api.clone()));
        let listener = {
            let args = listener::Args {
                front,
                grace,
                health: registry.child("listener"),
                connections: registry.nursery("connections"),
            };
            Child::actor("listener", &slots.listener, move || (listener::Listener, args.clone()))
        };
        let watchdog = {
            let args = WatchdogArgs {
                registry: registry.clone(),
                period: Duration::from_secs(5),
                patience: Duration::from_secs(60),
            };
            Child::actor("watchdog", &slots.watchdog, move || (Watchdog, args.clone()))
        };
        Plan {
            patience: Patience {
                // These many fit into the time, delays included: what fails on and on does end the patience.
                restarts: 30,
                within: Duration::from_secs(60),
                first_delay: Duration::from_millis(10),
                longest_delay: Duration::from_secs(1),
            },
            registry,
            children: vec![
                index.on(recording.clone()).with_grace(DRAIN_GRACE),
                writers.on(recording.clone()).with_grace(DRAIN_GRACE + COUNT_GRACE),
                spool.on(recording.clone()),
                finalizers.on(recording.clone()).with_grace(DRAIN_GRACE + COUNT_GRACE),
                recovery.on(recording.clone()),
                sockets.on(recording.clone()).with_grace(DRAIN_GRACE + COUNT_GRACE),
                api,
                listener.with_grace(grace + Duration::from_secs(5)),
                watchdog,
            ],
        }
    }
}

/// Waits until no client is connected; `false` if that takes longer.
async fn is_quiet_within(front: &Front, within: Duration) -> bool {
    let quiet = async {
        while front.open() > 0 {
            // The lanes tell nobody; the recorder ends only once.
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(within, quiet).await.is_ok()
}

fn bind(key: &'static str, address: &ListenAddress) -> Result<TcpListener, StartError> {
    sockets::bind(address).map_err(|source| StartError::Listen { key, address: address.to_string(), source })
}

/// Takes the data dir for this process.
fn take_data_dir(layout: &Layout, proxy: SocketAddr, api: SocketAddr) -> Result<DataDirLock, LockError> {
    let holder = Holder {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: UnixMillis::now(),
        proxy,
        api,
    };
    let lock = DataDirLock::acquire(layout, &holder)?;
    for warning in &lock.warnings {
        tracing::warn!("{warning}");
    }
    Ok(lock)
}

/// What an earlier run was told at run time. A malformed file overrides nothing, and is told.
fn saves_attachments_override(layout: &Layout) -> Option<bool> {
    match Overrides::read(&layout.overrides()) {
        Ok(overrides) => overrides.save_attachments(),
        Err(error) => {
            tracing::error!(%error, "the overrides are not in force");
            None
        }
    }
}

fn tell_about_token(layout: &Layout, token: &token::Token) {
    let path = layout.token();
    if token.is_new {
        tracing::info!(path = %path.display(), "the read API's token was made");
    }
    if token.is_exposed {
        tracing::warn!(path = %path.display(), "other users can read the read API's token; use mode 600");
    }
}
