//! The watchdog: kills children that hang, so that their supervisor starts them again, and says what cannot be killed.
//!
//! It owns nothing and promises to act on each child for which work waits while none gets done. Its crash costs the
//! looks it had taken: a hang is seen that much later.
//!
//! A kill takes effect where the handler next awaits. One that blocks its thread cannot be killed; it is shown as hung
//! with the time since when, and dies of the kill when it ever comes back. A row of the table that stays hung beyond the
//! limit, or threads whose [`Pulse`] is missed for as long, end the system: nobody can mend them but a new process. A
//! nursling that stays hung is shown and no more, for its siblings do their work.
//!
//! Nothing of this is done while the world outside is the reason (see [`Excuse`]), and time counts by looks: a process
//! that was stopped for an hour finds nobody guilty when it goes on.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef};
use tokio::time::Instant;
use tracing::{error, warn};

use super::probe::Sample;
use super::{ChildHealth, Condition, Escalation, Pulse, Registry};

/// The actor that looks.
pub(crate) struct Watchdog;

/// What it hears.
pub(crate) enum WatchdogMsg {
    /// Looks at everything once.
    Look,
}

/// Why nothing may get on though nobody here is to blame, if that is so: asked once per look while something is stuck.
pub(crate) type Excuse = Arc<dyn Fn() -> Option<String> + Send + Sync>;

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
    /// How long beyond that a row, or threads, may stay blocked until the system is ended.
    pub limit: Duration,
    /// Who ends it.
    pub escalation: Escalation,
    /// What excuses them.
    pub excuse: Excuse,
    /// Raised while that is so.
    pub excused: Condition,
}

/// What it saw.
pub(crate) struct WatchdogState {
    args: WatchdogArgs,
    looked: Option<Instant>,
    seen: HashMap<ActorId, Seen>,
    pulses: HashMap<Arc<str>, Seen>,
}

/// Something that should get on, as it was when it last did.
#[derive(Clone, Copy)]
struct Seen {
    progress: u64,
    /// For so long it has not, excuses left out.
    stuck: Duration,
    is_killed: bool,
}

/// A child for which work waits and that has not got on since the last look.
struct Stuck {
    health: Arc<ChildHealth>,
    kind: Kind,
    sample: Sample,
    seen: Seen,
}

/// What a child is. Only a row is missed by everybody.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Row,
    Nursling,
}

impl Seen {
    fn fresh(progress: u64) -> Seen {
        Seen { progress, stuck: Duration::ZERO, is_killed: false }
    }
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
        WatchdogState { args, looked: None, seen: HashMap::new(), pulses: HashMap::new() }
    }

    /// What ends the system.
    #[cfg(test)]
    pub(super) fn escalation(&self) -> &Escalation {
        &self.args.escalation
    }

    pub(super) fn look(&mut self, now: Instant) {
        fault!("watchdog");
        let since = self.looked.replace(now).map_or(Duration::ZERO, |it| now.duration_since(it));
        let (rows, nurslings) = self.args.registry.look();
        let mut stuck = Vec::new();
        let before = mem::take(&mut self.seen);
        self.sort_out(rows, Kind::Row, &before, &mut stuck);
        self.sort_out(nurslings, Kind::Nursling, &before, &mut stuck);
        let missed = self.missed();
        let excuse = if stuck.is_empty() && missed.is_empty() { None } else { (self.args.excuse)() };
        let step = match &excuse {
            Some(_) => Duration::ZERO,
            None => since.min(self.args.period * 2),
        };
        self.tell(excuse);
        for it in stuck {
            let seen = self.judge(&it, step);
            self.seen.insert(it.sample.actor, seen);
        }
        for pulse in missed {
            self.judge_pulse(&pulse, step);
        }
    }

    /// Finds those for whom work waits and who have not got on since the last look. The others are not hung.
    fn sort_out(
        &mut self,
        children: Vec<Arc<ChildHealth>>,
        kind: Kind,
        before: &HashMap<ActorId, Seen>,
        stuck: &mut Vec<Stuck>,
    ) {
        for health in children {
            let sample = health.sample().filter(|it| it.waiting > 0);
            let known = sample.and_then(|it| before.get(&it.actor).filter(|seen| seen.progress == it.progress));
            match (sample, known) {
                (Some(sample), Some(seen)) => stuck.push(Stuck { health, kind, sample, seen: *seen }),
                (Some(sample), None) => {
                    health.set_hung(false);
                    self.seen.insert(sample.actor, Seen::fresh(sample.progress));
                }
                (None, _) => _ = health.set_hung(false),
            }
        }
    }

    fn tell(&self, excuse: Option<String>) {
        match excuse {
            Some(reason) => {
                if self.args.excused.raise(reason.as_str()) {
                    warn!(%reason, "something does not get on, and nobody here is to blame");
                }
            }
            None => _ = self.args.excused.clear(),
        }
    }

    /// Pulses that have not beaten since the last look.
    fn missed(&mut self) -> Vec<Arc<Pulse>> {
        let mut missed = Vec::new();
        for pulse in self.args.registry.pulses() {
            let beats = pulse.beats();
            match self.pulses.get(pulse.name()) {
                Some(seen) if seen.progress == beats => missed.push(pulse),
                _ => {
                    pulse.set_stopped(false);
                    self.pulses.insert(pulse.name().into(), Seen::fresh(beats));
                }
            }
        }
        missed
    }

    /// Acts on one child that does not get on; what to remember of it.
    fn judge(&self, Stuck { health, kind, sample, seen }: &Stuck, step: Duration) -> Seen {
        let mut seen = Seen { stuck: seen.stuck + step, ..*seen };
        if seen.is_killed {
            if health.set_hung(true) {
                error!(child = health.name(), "hangs and cannot be killed: it blocks its thread");
            }
            if *kind == Kind::Row && seen.stuck >= self.args.patience + self.args.limit {
                self.escalate(&format!("{} hangs and cannot be killed", health.name()));
            }
        } else if seen.stuck >= self.args.patience && step > Duration::ZERO {
            let why = format!("no progress for {:?} while {} waited", self.args.patience, sample.waiting);
            warn!(child = health.name(), %why, "killing a child that hangs");
            health.kill(why);
            seen.is_killed = true;
        }
        seen
    }

    fn judge_pulse(&mut self, pulse: &Pulse, step: Duration) {
        let Some(seen) = self.pulses.get_mut(pulse.name()) else { return };
        seen.stuck += step;
        let stuck = seen.stuck;
        if stuck >= self.args.patience && pulse.set_stopped(true) {
            error!(threads = pulse.name(), "nothing turns on these threads any more: they are blocked");
        }
        if stuck >= self.args.patience + self.args.limit {
            self.escalate(&format!("{} are blocked", pulse.name()));
        }
    }

    fn escalate(&self, what: &str) {
        let reason = format!("{what}, for more than {:?}", self.args.patience + self.args.limit);
        if self.args.escalation.raise(&reason) {
            error!(%reason, "only a new process helps");
        }
    }
}
