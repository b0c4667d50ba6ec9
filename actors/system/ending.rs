//! How the recorder ends: in order, with patience, and in a hurry when it is told to.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use api_log::counters::{Counters, DropCause};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{DRAIN_GRACE, LOOK_EVERY, System};
use crate::kit::NotDrained;
use crate::notify;
use crate::proxy::listener::Front;
use crate::proxy::{LaneHandle, Order};
use crate::record::Intake;
use crate::record::finalizer::{Rest, Shared};
use crate::record::index::Door;

/// What connections may take to end once they are cut.
const CUT_GRACE: Duration = Duration::from_secs(2);
/// What everything behind them may take once there is a hurry, or something blocks.
const HURRIED: Duration = Duration::from_secs(10);
/// How often to tell what is left.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What is still to be done.
struct Left {
    front: Weak<Front>,
    intake: Arc<Intake>,
    shared: Arc<Shared>,
    door: Door,
    counters: Arc<Counters>,
}

impl System {
    /// As [`System::drain_unless_hurried`], with all the patience there is.
    pub(crate) async fn drain(self) -> bool {
        let (_patient, hurried) = watch::channel(false);
        self.drain_unless_hurried(hurried).await
    }

    /// Ends in order: listeners, exchanges under way, captures, lines, rows. Whatever is not done at the end of
    /// the grace, or when `hurried` turns true, is cut, and recorded as such; in a hurry recording has 10 s for that.
    /// Whether everything was finished.
    pub(crate) async fn drain_unless_hurried(self, hurried: watch::Receiver<bool>) -> bool {
        let left = Left {
            front: Arc::downgrade(&self.front),
            intake: self.intake.clone(),
            shared: self.shared.clone(),
            door: self.door.clone(),
            counters: self.counters.clone(),
        };
        let mut ending = pin!(self.end(hurried));
        let mut tell = interval(TELL_EVERY);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tell.tick().await;
        loop {
            tokio::select! {
                finished = &mut ending => return finished,
                _ = tell.tick() => left.tell(),
            }
        }
    }

    async fn end(self, mut hurried: watch::Receiver<bool>) -> bool {
        let System { root, front, lanes, intake, shared, logs, counters, recording, grace, api, escalation, .. } = self;
        let _until_the_end = self.lock;
        drop(api);
        // What blocks its thread gets on no further for being waited for.
        let within = if escalation.reason().is_some() { HURRIED } else { grace + 3 * DRAIN_GRACE };
        // By their lanes, for a crash of the listener leaves connections without an actor; and before anything that
        // takes in what they captured.
        front.close();
        lanes.iter().for_each(|lane| lane.order(Order::Drain));
        let is_quiet = tokio::select! {
            is_quiet = is_quiet_within(&front, grace) => is_quiet,
            () = told(&mut hurried) => front.open() == 0,
        };
        if !is_quiet {
            tracing::warn!(connections = front.open(), "connections did not end in time; they are cut");
            lanes.iter().for_each(|lane| lane.order(Order::Cut));
            is_quiet_within(&front, CUT_GRACE).await;
        }
        drop(front);
        let drained = {
            let mut draining = pin!(root.drain(within));
            tokio::select! {
                drained = &mut draining => drained,
                () = told(&mut hurried) => timeout(HURRIED, &mut draining).await.unwrap_or(Err(NotDrained(HURRIED))),
            }
        };
        if let Err(error) = &drained {
            tracing::error!("{error}");
            root.kill();
        }
        // What was made to be started again holds on to the lanes.
        drop(root);
        lanes.iter().for_each(|lane| lane.order(Order::Cut));
        let ended = tokio::task::spawn_blocking(move || {
            if let Some(lanes) = Arc::into_inner(lanes) {
                lanes.into_iter().for_each(LaneHandle::join);
            }
            recording.shutdown_timeout(Duration::from_secs(1));
        });
        let has_ended = ended.await.is_ok();
        let Rest { left, dropped } = shared.spool_the_rest(&intake);
        if left + dropped > 0 {
            tracing::error!(
                left,
                dropped,
                "nobody was there to write these traces; those left the next start recovers"
            );
        }
        // What stands in it is found by the next start.
        logs.arena.close();
        let is_all_done =
            counters.ledger.dropped(DropCause::Shutdown) == 0 && counters.recording.left_to_recover.get() == 0;
        has_ended && drained.is_ok() && is_all_done
    }
}

impl Left {
    /// Tells the log and the service manager.
    fn tell(&self) {
        let connections = self.front.upgrade().map_or(0, |it| it.open());
        let (under_way, queued) = (self.counters.ledger.snapshot().in_flight, self.intake.ended.len());
        let (held, rows) = (self.shared.held.len(), self.door.waiting());
        tracing::info!(connections, under_way, queued, held, rows, "ending: this is left");
        notify::tell(&format!(
            "STATUS=ending: {connections} connections, {under_way} exchanges, {rows} rows are left\nWATCHDOG=1"
        ));
    }
}

/// Waits until there is a hurry.
async fn told(hurried: &mut watch::Receiver<bool>) {
    if hurried.wait_for(|it| *it).await.is_err() {
        // Whoever could have told is gone.
        std::future::pending::<()>().await;
    }
}

/// Waits until no client is connected; `false` if that takes longer.
async fn is_quiet_within(front: &Front, within: Duration) -> bool {
    let quiet = async {
        while front.open() > 0 {
            // The lanes tell nobody; the recorder ends only once.
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(within, quiet).await.is_ok()
}
