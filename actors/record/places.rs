//! Where captures stand, and what those of earlier runs left.

use std::io;
use std::sync::Arc;

use api_log::capture::place::{Abandoned, Folder};
use api_log::config;
use api_log::counters::Counters;
use api_log::ids::{TraceIds, UnixMillis};
use api_log::store::layout::Layout;
use parking_lot::Mutex;

use super::arena::Arena;
use super::intake::Intake;
use super::log::LogShared;
use super::memory::Memory;
use super::{recovery, spool, tender};
use crate::kit::Registry;

/// What captures are made from when a recorder starts.
pub(crate) struct Captures<'a> {
    pub(crate) config: &'a config::Capture,
    pub(crate) layout: &'a Layout,
    pub(crate) intake: &'a Arc<Intake>,
    pub(crate) memory: &'a Arc<Memory>,
    pub(crate) ids: &'a Arc<TraceIds>,
    pub(crate) counters: &'a Arc<Counters>,
    pub(crate) registry: &'a Registry,
}

/// Where captures are written, and what its actors are started with.
pub(crate) struct Prepared {
    pub(crate) logs: Arc<LogShared>,
    pub(crate) tender: tender::Args,
    pub(crate) spool: spool::Args,
    pub(crate) recovery: recovery::Args,
}

impl Captures<'_> {
    /// Takes what earlier runs left, so that ids rise above those given, and makes an arena; `ask` is called when it
    /// wants more memory. If there is no memory that survives the process, a condition says so.
    ///
    /// # Errors
    /// There is no memory at all, or a folder of arenas cannot be read.
    pub(crate) fn prepare(self, ask: impl Fn() + Clone + Send + Sync + 'static) -> io::Result<Prepared> {
        let Captures { config, layout, intake, memory, ids, counters, registry } = self;
        let mut left = Vec::new();
        for folder in Folder::all(layout, config.arena_dir.as_deref()) {
            left.append(&mut folder.abandoned()?);
        }
        left.iter().filter_map(Abandoned::last_id).for_each(|last| ids.raise(last));
        let first_id = ids.next(UnixMillis::now());
        let folder = Folder::choose(layout, config.arena_dir.as_deref()).map_err(|error| error.to_string());
        let arena = folder.and_then(|it| {
            Arena::new(first_id, config.memory_bytes, Some(it), ask.clone()).map_err(|error| error.to_string())
        });
        let arena = match arena {
            Ok(arena) => arena,
            Err(error) => {
                let reason = format!("captures younger than a second do not survive a crash: {error}");
                tracing::warn!("{reason}");
                registry.condition("captures_unsafe").raise(reason);
                Arena::new(first_id, config.memory_bytes, None, ask)?
            }
        };
        let logs = Arc::new(LogShared {
            arena,
            memory: memory.clone(),
            intake: intake.clone(),
            spill_bytes: config.spill_bytes,
            layout: layout.clone(),
            strays: Mutex::default(),
        });
        let spool = spool::Args { logs: logs.clone(), counters: counters.clone(), health: registry.child("spool") };
        let tender = tender::Args {
            logs: logs.clone(),
            ids: ids.clone(),
            health: registry.child("arena"),
            is_short: registry.condition("arena_short"),
        };
        let recovery = recovery::Args {
            work: Arc::new(Mutex::new(recovery::Work::Look)),
            arenas: left.into(),
            first_id,
            layout: layout.clone(),
            intake: intake.clone(),
            memory: memory.clone(),
            counters: counters.clone(),
            health: registry.child("recovery"),
        };
        Ok(Prepared { logs, tender, spool, recovery })
    }
}
