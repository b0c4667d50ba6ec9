//! The composition root: what runs on which runtime, in which order it starts, and the supervision table.

mod bounds;
mod ending;
mod failure;
mod reloading;
mod table;
mod watching;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use api_log::config::{Config, ListenAddress};
use api_log::counters::Counters;
use api_log::ids::{TraceIds, UnixMillis};
use api_log::store::data_dir;
use api_log::store::layout::Layout;
use api_log::store::lease::Leases;
use api_log::store::lock::{DataDirLock, Holder, LockError};
use api_log::store::token;
use api_log::trace::FinalizeSettings;
use api_log::wire::decode::Limits as DecodeLimits;
use arc_swap::ArcSwap;
use tokio::runtime::Runtime;

use crate::api;
use crate::api::access_log::{self, AccessLog};
use crate::kit::{Budget, Escalation, Registry, Root, Slot, WatchdogMsg};
use crate::otlp::{Export, exporter};
use crate::overridden::{Overridden, OverridesFile};
use crate::plugins::{Plugins, registry as plugins_registry};
use crate::proxy::listener::{self, Front};
use crate::proxy::{self, LaneHandle, Recorder, start_lanes};
use crate::record::disk::Disk;
use crate::record::finalizer::{self, Shared};
use crate::record::{
    DayBytes, Held, Intake, LogShared, Memory, OpenSockets, Parsing, Queue, SocketShared, disk, finalizers, index,
    recovery, sealer, sockets as upgraded, spool, tender, writers,
};
use crate::retention::{Gauge, sweeper};
use crate::viewer::{self, Hosted};
use crate::{record, runtimes, sockets};
use bounds::Bounded;
pub(crate) use failure::{StartError, SystemError};
pub(crate) use reloading::{LastReload, Reload};
use table::Parts;

/// Ended exchanges that may wait beyond those being finalized. Their bytes are bounded by `capture.memory_bytes`.
const MOST_WAITING: usize = 65_536;
/// How long the parts behind the listener may take to finish when the recorder ends. Tests wait for its end.
const DRAIN_GRACE: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 20 });
/// What they may take beyond that, to count what they could not finish.
const COUNT_GRACE: Duration = Duration::from_secs(5);
/// How often the recording threads give a sign of life.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// How often to look whether the last connection has ended.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A running recorder.
pub(crate) struct System {
    root: Root,
    registry: Registry,
    escalation: Escalation,
    front: Arc<Front>,
    lanes: Arc<Vec<LaneHandle>>,
    intake: Arc<Intake>,
    shared: Arc<Shared>,
    logs: Arc<LogShared>,
    door: index::Door,
    api: Arc<api::State>,
    lanes_live: Arc<ArcSwap<proxy::Live>>,
    pub(crate) plugins: Arc<Plugins>,
    plugins_slot: Slot<plugins_registry::Msg>,
    max_body_bytes: Arc<AtomicU64>,
    last_reload: LastReload,
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
    pub(crate) otlp: Slot<exporter::Msg>,
    pub(crate) disk: Slot<disk::Msg>,
    pub(crate) writers: Slot<writers::Msg>,
    pub(crate) sweeper: Slot<sweeper::Msg>,
    pub(crate) sealer: Slot<sealer::Msg>,
    pub(crate) arena: Slot<tender::Msg>,
    pub(crate) spool: Slot<spool::Msg>,
    pub(crate) finalizers: Slot<finalizers::Msg>,
    pub(crate) recovery: Slot<recovery::Msg>,
    pub(crate) upgraded: Slot<upgraded::Msg>,
    pub(crate) plugins: Slot<plugins_registry::Msg>,
    pub(crate) viewer: Slot<viewer::Msg>,
    pub(crate) api: Slot<api::Msg>,
    pub(crate) access_log: Slot<access_log::Msg>,
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
        let (registry, escalation) = (Registry::new(), Escalation::default());
        let counters = Arc::new(Counters::default());
        let memory = Memory::new(config.capture.memory_bytes);
        let intake = Arc::new(Intake {
            ended: Queue::to(&slots.finalizers, || finalizers::Msg::Wake),
            sockets: Queue::to(&slots.upgraded, || upgraded::Msg::Wake),
            spills: Queue::to(&slots.spool, || spool::Msg::Wake),
        });
        let door = index::Door::new(slots.index.clone(), &registry);
        let overrides = OverridesFile::new(&layout);
        let leases = Leases::new();
        let gauge = Gauge::new(slots.sweeper.clone());
        let overridden = Arc::new(Overridden::begin(config, &overrides, gauge.clone(), &registry));
        let live = overridden.retention.clone();
        let conditions = (registry.condition("disk_full"), registry.condition("disk_error"));
        let disk = Arc::new(Disk::new(layout.clone(), config.storage.min_free_bytes, conditions, {
            // Whoever makes room looks at once.
            let gauge = gauge.clone();
            move || gauge.look()
        }));
        let plugins = Plugins::new(config, &layout, overrides.clone(), &registry);
        let settings = FinalizeSettings {
            limits: DecodeLimits { max_decoded_bytes: config.storage.max_decoded_bytes, ..DecodeLimits::default() },
            trusted_proxies: config.proxy.trusted_proxies.clone(),
            extracts_media: true,
            text_bytes: config.index.text_bytes(),
        };
        let shared = Arc::new(Shared {
            held: Held::default(),
            writers: slots.writers.clone(),
            writers_health: registry.child("writers"),
            index: door.clone(),
            settings_without_media: FinalizeSettings { extracts_media: false, ..settings.clone() },
            settings,
            saves_media: overridden.media.clone(),
            live: ArcSwap::from_pointee(finalizer::Live::of(config)),
            plugins: plugins.in_force.clone(),
            disk: disk.clone(),
            day_bytes: Arc::new(DayBytes::new(layout.clone(), config.capture.per_key_daily_bytes)),
            is_memory_tight: {
                let memory = memory.clone();
                Box::new(move || memory.is_tight())
            },
            parsing: Parsing::new(runtimes::recording_threads(), runtimes::threads_in_need()),
            lines: Budget::new(config.capture.memory_bytes, config.storage.writer_chan_size),
            counters: counters.clone(),
            layout: layout.clone(),
            leases: leases.clone(),
            gauge,
        });
        let max_body_bytes = Arc::new(AtomicU64::new(config.storage.max_body_bytes));
        let ids = Arc::new(TraceIds::new(rand::random()));
        let slot = slots.arena.clone();
        let captures = record::Captures {
            config: &config.capture,
            layout: &layout,
            intake: &intake,
            memory: &memory,
            ids: &ids,
            counters: &counters,
            registry: &registry,
        };
        // Nobody there: it looks by itself once a second.
        let prepared = captures.prepare(move || drop(slot.cast(tender::Msg::Tend)))?;
        let record::Prepared { logs, tender, spool, recovery } = prepared;
        let sockets = Arc::new(SocketShared {
            intake: intake.clone(),
            memory: memory.clone(),
            counters: counters.clone(),
            ids: ids.clone(),
            max_body_bytes: max_body_bytes.clone(),
            max_waiting: MOST_WAITING,
        });
        let recorder = Arc::new(Recorder {
            logs: logs.clone(),
            counters: counters.clone(),
            ids,
            max_body_bytes: max_body_bytes.clone(),
            max_waiting: MOST_WAITING,
            upstream: config.proxy.upstream.text.clone(),
            plugins: plugins.in_force.clone(),
        });
        let lanes_live = Arc::new(ArcSwap::from_pointee(proxy::Live::of(config)));
        let lanes = Arc::new(start_lanes(config, recorder, lanes_live.clone(), &registry)?);
        registry.pulse("recording threads").of_runtime(recording.handle(), BEAT_EVERY);
        let front = Arc::new(Front {
            socket: proxy_socket,
            lanes: lanes.clone(),
            max_connections: config.proxy.max_connections,
            accepted: AtomicU64::new(0),
            high_water: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            accept_errors: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
        });
        let open_sockets = Arc::new(OpenSockets::default());
        bounds::show(
            &registry,
            Bounded {
                memory: &memory,
                logs: &logs,
                intake: &intake,
                shared: &shared,
                sockets: &open_sockets,
                front: Arc::downgrade(&front),
                counters: &counters,
                most_held: config.storage.writer_chan_size,
            },
        );
        let last_reload = LastReload::default();
        let spans = Export::new(config, &token.secret, &layout, &leases, &registry);
        let token_file = config.api.token_file.clone().unwrap_or_else(|| layout.tokens());
        let tokens = api::Tokens::new(layout.token(), token, token_file, registry.condition("tokens_malformed"));
        let access_log = AccessLog::new(&config.api, &layout, &slots.access_log, &registry);
        let viewer = Arc::new(Hosted::new(config, &layout));
        let api = api::Args {
            socket: Arc::new(api_socket),
            state: Arc::new(api::State::new(api::Parts {
                tokens: Arc::new(tokens),
                access_log: access_log.clone(),
                spans: spans.clone(),
                max_connections: config.api.max_connections,
                limits: api::Limits::of(config),
                layout: layout.clone(),
                leases: leases.clone(),
                retention: live.clone(),
                overrides,
                viewer: viewer.clone(),
                plugins: plugins.clone(),
                plugins_slot: slots.plugins.clone(),
                overridden: overridden.clone(),
                counters: counters.clone(),
                registry: registry.clone(),
                logs: logs.clone(),
                recovery: recovery.work.clone(),
                shared: shared.clone(),
                front: front.clone(),
                escalation: escalation.clone(),
                last_reload: last_reload.clone(),
                metrics_want_token: config.api.metrics_auth,
                open_sockets: open_sockets.clone(),
                export_byte_cap: api::byte_cap(config.api.export_byte_hardcap),
                redact_profiles: config.api.redact_profiles.clone(),
                query_timeout: config.api.query_timeout,
            })),
        };
        let (ended, upgraded, spills) = (intake.clone(), intake.clone(), intake.clone());
        registry.child("spool").also_waits(move || spills.spills.len());
        registry.child("finalizers").also_waits(move || ended.ended.len());
        registry.child("sockets").also_waits(move || upgraded.sockets.len());
        let parts = Parts {
            slots: slots.clone(),
            registry: registry.clone(),
            escalation: escalation.clone(),
            counters: counters.clone(),
            layout,
            leases,
            live,
            intake: intake.clone(),
            shared: shared.clone(),
            sockets,
            tender,
            spool,
            recovery,
            open_sockets,
            front: front.clone(),
            api: api.clone(),
            access_log,
            spans,
            plugins: plugins.clone(),
            overridden,
            viewer,
            door: door.clone(),
            storage: config.storage.clone(),
            grace: config.shutdown.grace,
        };
        let root = Root::start(parts.table(recording.handle())).await?;
        Ok(System {
            root,
            registry,
            escalation,
            front,
            lanes,
            intake,
            shared,
            logs,
            door,
            api: api.state,
            lanes_live,
            plugins,
            plugins_slot: slots.plugins.clone(),
            max_body_bytes,
            last_reload,
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

fn tell_about_token(layout: &Layout, token: &token::Token) {
    let path = layout.token();
    if token.is_new {
        tracing::info!(path = %path.display(), "the read API's token was made");
    }
    if token.is_exposed {
        tracing::warn!(path = %path.display(), "other users can read the read API's token; use mode 600");
    }
}
