//! The watchdog: kills children that hang, so that their supervisor starts them again.
//!
//! It owns nothing and promises to act on each child for which work waits while none gets done. Its crash costs the
//! looks it had taken: a hang is seen that much later.
//!
//! A kill takes effect where the handler next awaits. One that blocks its thread cannot be killed; it is shown as hung
//! with the time since when, and dies of the kill when it ever comes back.

use std::collections::HashMap;
use std::mem;
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef};
use tokio::time::Instant;
use tracing::{error, warn};

use super::probe::Sample;
use super::{ChildHealth, Registry};

/// The actor that looks.
pub(crate) struct Watchdog;

/// What it hears.
pub(crate) enum WatchdogMsg {
    /// Looks at every child once.
    Look,
}

/// What it is started with.
#[derive(Clone)]
pub(crate) struct WatchdogArgs {
    /// Whom it watches.
    pub registry: Registry,
    /// How often it looks.
    pub period: Duration,
    /// How long work may wait with none done. A child that takes longer over one piece says
    /// [`progressed`](ChildHealth::progressed) meanwhile.
    pub patience: Duration,
}

/// What it saw.
pub(crate) struct WatchdogState {
    args: WatchdogArgs,
    seen: HashMap<ActorId, Seen>,
}

/// A child for which work waits, as it was when it last got on.
struct Seen {
    progress: u64,
    since: Instant,
    killed: bool,
}

impl Actor for Watchdog {
    type Msg = WatchdogMsg;
    type State = WatchdogState;
    type Arguments = WatchdogArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<WatchdogMsg>,
        args: WatchdogArgs,
    ) -> Result<WatchdogState, ActorProcessingErr> {
        myself.send_interval(args.period, || WatchdogMsg::Look);
        Ok(WatchdogState::new(args))
    }

    async fn handle(
        &self,
        _: ActorRef<WatchdogMsg>,
        msg: WatchdogMsg,
        state: &mut WatchdogState,
    ) -> Result<(), ActorProcessingErr> {
        match msg {
            WatchdogMsg::Look => state.look(Instant::now()),
        }
        Ok(())
    }
}

impl WatchdogState {
    pub(super) fn new(args: WatchdogArgs) -> WatchdogState {
        WatchdogState { args, seen: HashMap::new() }
    }

    pub(super) fn look(&mut self, now: Instant) {
        #[cfg(test)]
        crate::faults::strike("watchdog");
        let mut before = mem::take(&mut self.seen);
        for health in self.args.registry.watched() {
            match health.sample() {
                Some(sample) if sample.waiting > 0 => {
                    let seen = self.judge(&health, sample, before.remove(&sample.actor), now);
                    self.seen.insert(sample.actor, seen);
                }
                Some(_) | None => _ = health.set_hung(false),
            }
        }
    }

    /// Acts on one child for which work waits; what to remember of it.
    fn judge(&self, health: &ChildHealth, sample: Sample, before: Option<Seen>, now: Instant) -> Seen {
        let Some(mut seen) = before.filter(|it| it.progress == sample.progress) else {
            health.set_hung(false);
            return Seen { progress: sample.progress, since: now, killed: false };
        };
        if seen.killed {
            if health.set_hung(true) {
                error!(child = health.name(), "hangs and cannot be killed: it blocks its thread");
            }
        } else if now.duration_since(seen.since) >= self.args.patience {
            let why = format!("no progress for {:?} while {} waited", self.args.patience, sample.waiting);
            warn!(child = health.name(), %why, "killing a child that hangs");
            health.kill(why);
            seen.killed = true;
        }
        seen
    }
}
