//! The supervision table: what runs, in which order it starts, and what each row is made from.

use std::sync::Arc;
use std::time::Duration;

use api_log::config::Storage;
use api_log::counters::Counters;
use api_log::store::layout::Layout;
use api_log::store::lease::Leases;
use api_log::store::open_segments::OpenSegments;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::{COUNT_GRACE, DRAIN_GRACE, Slots, watching};
use crate::api;
use crate::api::access_log::{self, AccessLog};
use crate::kit::{Child, Escalation, Patience, Plan, Registry, Watchdog};
use crate::otlp::{Export, exporter};
use crate::overridden::Overridden;
use crate::plugins::{Plugins, registry as registry_of_plugins};
use crate::proxy::listener::{self, Front};
use crate::record::finalizer::Shared;
use crate::record::{
    Intake, MOST_SYNCING, OpenSockets, SocketShared, WriterShared, disk, finalizers, index, recovery, sealer,
    sockets as upgraded, spool, tender, writers,
};
use crate::retention::{Live, sweeper};
use crate::viewer::{self, Hosted};

/// What the table's rows are made from, again at each restart.
pub(super) struct Parts {
    pub(super) slots: Slots,
    pub(super) registry: Registry,
    pub(super) escalation: Escalation,
    pub(super) counters: Arc<Counters>,
    pub(super) layout: Layout,
    pub(super) leases: Leases,
    pub(super) live: Arc<Live>,
    pub(super) intake: Arc<Intake>,
    pub(super) shared: Arc<Shared>,
    pub(super) sockets: Arc<SocketShared>,
    pub(super) tender: tender::Args,
    pub(super) spool: spool::Args,
    pub(super) recovery: recovery::Args,
    pub(super) open_sockets: Arc<OpenSockets>,
    pub(super) front: Arc<Front>,
    pub(super) api: api::Args,
    pub(super) access_log: Arc<AccessLog>,
    pub(super) spans: Arc<Export>,
    pub(super) plugins: Arc<Plugins>,
    pub(super) overridden: Arc<Overridden>,
    pub(super) viewer: Arc<Hosted>,
    pub(super) door: index::Door,
    pub(super) storage: Storage,
    pub(super) grace: Duration,
}

impl Parts {
    /// The supervision table, read top to bottom: started in this order, drained in reverse.
    pub(super) fn table(self, recording: &Handle) -> Plan {
        let Parts { slots, registry, escalation, counters, layout, leases, live, .. } = self;
        let Parts { intake, shared, sockets, open_sockets, front, api, door, storage, grace, .. } = self;
        let index = {
            let args = index::Args {
                layout: layout.clone(),
                leases: leases.clone(),
                counters: counters.clone(),
                health: registry.child("index"),
                door: door.clone(),
                text_bytes: shared.settings.text_bytes,
            };
            Child::actor("index", &slots.index, move || (index::Index, args.clone()))
        };
        let otlp = {
            let args = exporter::Args { export: self.spans.clone(), health: registry.child("otlp") };
            Child::actor("otlp", &slots.otlp, move || (exporter::Exporter, args.clone()))
        };
        let segments = OpenSegments::default();
        let disk = {
            let args = disk::Args { disk: shared.disk.clone(), health: registry.child("disk") };
            Child::actor("disk", &slots.disk, move || (disk::DiskWatch, args.clone()))
        };
        let sealer = {
            let args = sealer::Args {
                layout: layout.clone(),
                leases: leases.clone(),
                segments: segments.clone(),
                codec: storage.seal.codec(),
                counters: counters.clone(),
                health: registry.child("sealer"),
                failing: registry.condition("sealing"),
                slot: slots.sealer.clone(),
                across: Arc::default(),
            };
            Child::actor("sealer", &slots.sealer, move || (sealer::Sealer, args.clone()))
        };
        let writers = {
            let nudged = slots.sealer.clone();
            let args = writers::Args {
                layout: layout.clone(),
                leases: leases.clone(),
                segments: segments.clone(),
                segment_bytes: storage.segment_bytes,
                shared: Arc::new(WriterShared {
                    index: door.clone(),
                    spans: self.spans.clone(),
                    gauge: live.gauge.clone(),
                    counters: counters.clone(),
                    disk: shared.disk.clone(),
                    day_bytes: shared.day_bytes.clone(),
                    fsync: storage.fsync,
                    fsync_interval: storage.fsync_interval,
                    syncing: Semaphore::new(MOST_SYNCING),
                    // Nobody there: the sealer looks by itself when it starts.
                    segment_closed: Box::new(move |_| drop(nudged.cast(sealer::Msg::Look))),
                }),
                nursery: registry.nursery("writers"),
                grace: DRAIN_GRACE,
            };
            Child::actor("writers", &slots.writers, move || (writers::Writers, args.clone()))
        };
        let sweeper = {
            let args = sweeper::Args {
                layout,
                leases,
                segments,
                live,
                index: slots.index.clone(),
                door,
                counters,
                health: registry.child("sweeper"),
                disk_filling: registry.condition("disk_filling"),
            };
            Child::actor("sweeper", &slots.sweeper, move || (sweeper::Sweeper, args.clone()))
        };
        let args = self.tender;
        let arena = Child::actor("arena", &slots.arena, move || (tender::Tender, args.clone()));
        let args = self.spool;
        let spool = Child::actor("spool", &slots.spool, move || (spool::Spool, args.clone()));
        let args = self.recovery;
        let recovery = Child::actor("recovery", &slots.recovery, move || (recovery::Recovery, args.clone()));
        let sockets = {
            let args = upgraded::Args {
                intake: intake.clone(),
                open: open_sockets,
                shared: sockets,
                health: registry.child("sockets"),
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
        let plugins = {
            let tokens = api.state.tokens.clone();
            let args = registry_of_plugins::Args {
                plugins: self.plugins,
                token_file: tokens.path().to_owned(),
                read_tokens_again: Arc::new(move || drop(tokens.read_again())),
                overridden: self.overridden,
                slot: slots.plugins.clone(),
                health: registry.child("plugins"),
            };
            Child::actor("plugins", &slots.plugins, move || (registry_of_plugins::Registry, args.clone()))
        };
        let access_log = {
            let args = access_log::Args { log: self.access_log, health: registry.child("access_log") };
            Child::actor("access_log", &slots.access_log, move || (access_log::AccessWriter, args.clone()))
        };
        let viewer = {
            let args = viewer::Args { hosted: self.viewer, health: registry.child("viewer") };
            Child::actor("viewer", &slots.viewer, move || (viewer::Keeper, args.clone()))
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
            let args = watching::args(&registry, escalation);
            Child::actor("watchdog", &slots.watchdog, move || (Watchdog, args.clone()))
        };
        Plan {
            patience: Patience {
                // These many fit into the time, delays included: what fails on and on does end the patience.
                restarts: watching::patience(),
                within: Duration::from_secs(60),
                first_delay: Duration::from_millis(10),
                longest_delay: Duration::from_secs(1),
            },
            registry,
            children: vec![
                index.on(recording.clone()).with_grace(DRAIN_GRACE),
                otlp.on(recording.clone()),
                disk.on(recording.clone()),
                writers.on(recording.clone()).with_grace(DRAIN_GRACE + COUNT_GRACE),
                sweeper.on(recording.clone()),
                sealer.on(recording.clone()),
                arena,
                spool.on(recording.clone()),
                finalizers.on(recording.clone()).with_grace(DRAIN_GRACE + COUNT_GRACE),
                recovery.on(recording.clone()),
                sockets.on(recording.clone()).with_grace(DRAIN_GRACE + COUNT_GRACE),
                plugins.on(recording.clone()),
                access_log.on(recording.clone()),
                viewer,
                api,
                listener.with_grace(grace + Duration::from_secs(5)),
                watchdog,
            ],
        }
    }
}
