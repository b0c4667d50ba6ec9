//! Tends the arena: gives it memory ahead of need and takes back what is unused, whatever recording waits for.
//!
//! Lanes find chunks here only if this comes round in time. So it waits neither for a disk, as the spool does, nor for
//! a recording thread: it runs beside the listener, its system calls on a thread that does nothing else.

use std::sync::Arc;
use std::time::Duration;

use api_log::ids::TraceIds;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::log::LogShared;
use crate::kit::{ChildHealth, Condition};

/// How often to look though nobody asked.
const EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Tender;

pub(crate) enum Msg {
    /// Few chunks are free, or it is time to look.
    Tend,
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) logs: Arc<LogShared>,
    pub(crate) ids: Arc<TraceIds>,
    pub(crate) health: Arc<ChildHealth>,
    /// There is less memory for the arena than it wants.
    pub(crate) is_short: Condition,
}

impl Actor for Tender {
    type Msg = Msg;
    type State = Args;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<Args, ActorProcessingErr> {
        myself.cast(Msg::Tend)?;
        myself.send_interval(EVERY, || Msg::Tend);
        Ok(args)
    }

    async fn handle(&self, _: ActorRef<Msg>, _: Msg, state: &mut Args) -> Result<(), ActorProcessingErr> {
        fault!(await "arena");
        let _pending = state.health.begin();
        let logs = state.logs.clone();
        let last_id = state.ids.last();
        let tended = tokio::task::spawn_blocking(move || {
            logs.arena.note_last_id(last_id);
            logs.arena.tend()
        });
        match tended.await? {
            Ok(()) => {
                state.is_short.clear();
            }
            Err(error) => {
                let reason = format!("no more memory for captures: {error}; new ones do not survive a crash");
                if state.is_short.raise(reason) {
                    tracing::warn!(%error, "the arena of captures cannot grow");
                }
            }
        }
        state.health.progressed();
        Ok(())
    }
}
