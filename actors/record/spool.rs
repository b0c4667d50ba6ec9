//! The spool: moves blocks of large captures from memory to files in `tmp/`.
//!
//! A block is readable wherever it stands, so a crash, or a disk that refuses, costs nothing but memory.

use std::sync::Arc;
use std::time::Duration;

use api_log::counters::Counters;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::intake::{Intake, LOOK_EVERY, SpillOrder};
use crate::kit::ChildHealth;

/// Pause after a refusal, so that a full disk is not asked for each block.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct Spool;

pub(crate) enum Msg {
    /// There is something in the queue.
    Wake,
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) intake: Arc<Intake>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) health: Arc<ChildHealth>,
}

impl Actor for Spool {
    type Msg = Msg;
    type State = Args;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<Args, ActorProcessingErr> {
        myself.cast(Msg::Wake)?;
        myself.send_interval(LOOK_EVERY, || Msg::Wake);
        Ok(args)
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut Args) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Wake => state.spill(&myself),
        }
        Ok(())
    }
}

impl Args {
    /// Moves one block and comes back for the next, so that a drain is not kept waiting by a long queue.
    fn spill(&self, myself: &ActorRef<Msg>) {
        let spills = &self.intake.spills;
        let Some(SpillOrder { block, file }) = spills.pop() else {
            if !spills.sleep() {
                wake(myself);
            }
            return;
        };
        fault!("spool");
        self.health.progressed();
        let Some(block) = block.upgrade() else { return wake(myself) };
        let _pending = self.health.begin();
        match fault!(io "spool.write").and_then(|()| block.spill(&file)) {
            Ok(()) => {
                self.counters.recording.spilled_blocks.increment();
                wake(myself);
            }
            Err(error) => {
                self.counters.recording.spill_errors.increment();
                tracing::warn!(%error, "a capture cannot move to tmp/ and stays in memory");
                myself.send_after(REFUSED_PAUSE, || Msg::Wake);
            }
        }
    }
}

/// Comes back to the queue. An error means that the recorder ends: what is left is read from memory.
fn wake(myself: &ActorRef<Msg>) {
    let _ = myself.cast(Msg::Wake);
}
