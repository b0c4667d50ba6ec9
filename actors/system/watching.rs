//! Who watches over the recorder: the watchdog within, and whoever holds it, up to the service manager.

use std::sync::Arc;
use std::time::Duration;

use super::System;
use crate::kit::{EndedUnasked, Escalation, Registry, WatchdogArgs};
use crate::proxy::LANE;
use crate::stalls::Stalls;

/// A lane's loop turns at least as often as this, however busy the machine is.
const LANE_TURN: Duration = Duration::from_secs(5);

/// What the watchdog is started with.
pub(super) fn args(registry: &Registry, escalation: Escalation) -> WatchdogArgs {
    let stalls = Stalls::default();
    let (period, patience, limit) = times();
    WatchdogArgs {
        registry: registry.clone(),
        period,
        patience,
        limit,
        escalation,
        excuse: Arc::new(move || stalls.look()),
        excused: registry.condition("disk_stalled"),
    }
}

/// How often the watchdog looks, when it kills, and how much longer it waits until it ends what cannot be killed.
fn times() -> (Duration, Duration, Duration) {
    #[cfg(feature = "faults")]
    if let Some(times) = crate::faults::file::watchdog_times() {
        return times;
    }
    (Duration::from_secs(5), Duration::from_secs(60), Duration::from_secs(240))
}

/// How many restarts of all rows together are borne within a minute.
pub(super) fn patience() -> usize {
    #[cfg(feature = "faults")]
    if let Some(restarts) = crate::faults::file::patience() {
        return restarts;
    }
    30
}

impl System {
    /// Whether it gets on: the topmost supervisor answers, the watchdog looks, the lanes turn. Recording is left out, for
    /// what holds it up may be a disk.
    pub(crate) async fn gets_on(&self, within: Duration) -> bool {
        let looks = self.registry.looked().is_none_or(|ago| ago < 3 * times().0);
        let mut pulses = self.registry.pulses().into_iter();
        let turn = pulses.all(|it| !it.name().starts_with(LANE) || it.age() < within.max(LANE_TURN));
        looks && turn && self.root.answers(within).await
    }

    /// Waits until the system ends by itself, because something failed too often, or hangs and cannot be mended.
    pub(crate) async fn ended(&mut self) -> EndedUnasked {
        tokio::select! {
            ended = self.root.ended() => ended,
            reason = self.escalation.raised() => EndedUnasked(reason),
        }
    }
}
