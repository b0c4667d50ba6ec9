//! Fresh rows: taken in while rows come faster than they can be put into every index, and merged when there is time.

use std::time::{Duration, Instant};

use api_log::index;
use ractor::ActorRef;

use super::index::{Msg, State};

/// From so many rows that wait on, what comes is taken in fresh.
const RUSH_ROWS: u64 = if cfg!(test) { 8 } else { 2048 };
/// Fresh rows that are merged in one transaction: what comes meanwhile waits for them.
const MERGE_ROWS: usize = if cfg!(test) { 4 } else { 512 };
/// While more rows than this come in a second, merging leaves most of the time to others …
const QUIET_ROWS_PER_SECOND: f64 = 1000.0;
/// … and rests for so many times as long as it took.
const REST_SHARE: u32 = 19;
/// From so many fresh rows on it does not rest: lists look at each of them.
const MOST_FRESH: u64 = 1_000_000;

/// How far merging is.
#[derive(Debug)]
pub(super) struct Merging {
    /// Fresh rows, at most; 1 if nothing is known.
    left: u64,
    is_armed: bool,
    /// When rows were merged last, and how many have come since.
    last: Instant,
    came: u64,
}

impl Default for Merging {
    /// An index may have been left with fresh rows: it is not done until it was asked.
    fn default() -> Merging {
        Merging { left: 1, is_armed: false, last: Instant::now(), came: 0 }
    }
}

impl Merging {
    /// Another index was opened.
    pub(super) fn ask(&mut self) {
        self.left = self.left.max(1);
    }

    /// Whether there is nothing to be merged.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// How long to rest after a step that took so long.
    fn rest(&mut self, took: Duration) -> Duration {
        let came_per_second = self.came as f64 / self.last.elapsed().as_secs_f64().max(0.001);
        (self.last, self.came) = (Instant::now(), 0);
        let is_quiet = came_per_second <= QUIET_ROWS_PER_SECOND;
        if is_quiet || self.left > MOST_FRESH { Duration::ZERO } else { took * REST_SHARE }
    }
}

impl State {
    /// Whether so much waits that it had better be taken in fresh.
    pub(super) fn is_rush(&self) -> bool {
        self.args.door.waiting() > RUSH_ROWS
    }

    /// Rows were inserted, and so many are fresh.
    pub(super) fn are_fresh(&mut self, myself: &ActorRef<Msg>, came: u64, fresh: u64) {
        self.merging.came += came;
        self.set_fresh(fresh, 0);
        if fresh > 0 {
            self.merge_after(myself, Duration::ZERO);
        }
    }

    /// At every look: a step may have failed.
    pub(super) fn go_on_merging(&mut self, myself: &ActorRef<Msg>) {
        if !self.merging.is_done() {
            self.merge_after(myself, Duration::ZERO);
        }
    }

    /// The next step comes behind what has come by then.
    fn merge_after(&mut self, myself: &ActorRef<Msg>, rest: Duration) {
        if self.merging.is_armed {
            return;
        }
        self.merging.is_armed = true;
        if rest.is_zero() {
            let _ = myself.cast(Msg::Merge);
        } else {
            myself.send_after(rest, || Msg::Merge);
        }
    }

    /// One step.
    pub(super) async fn merge(&mut self, myself: &ActorRef<Msg>) {
        self.merging.is_armed = false;
        if self.healing.is_resting() {
            // The next look tries again.
            return;
        }
        let _under_way = self.args.health.begin();
        self.is_warm = true;
        let began = Instant::now();
        let merged = self.run(myself, |index, memory| index::merge_fresh(index, memory, MERGE_ROWS)).await;
        let Ok(merged) = merged else { return };
        self.set_fresh(merged.left, merged.merged as u64);
        if !self.merging.is_done() {
            let rest = self.merging.rest(began.elapsed());
            self.merge_after(myself, rest);
        }
    }

    fn set_fresh(&mut self, fresh: u64, merged: u64) {
        self.merging.left = fresh;
        self.status().set_fresh(fresh, merged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_while_much_comes_unless_too_much_is_fresh() {
        let took = Duration::from_millis(20);
        let since = |ago: Duration, came, left| Merging {
            left,
            is_armed: false,
            last: Instant::now().checked_sub(ago).unwrap(),
            came,
        };
        let second = Duration::from_secs(1);
        assert_eq!(since(second, 900, 10).rest(took), Duration::ZERO);
        assert_eq!(since(second, 5000, 10).rest(took), took * REST_SHARE);
        assert_eq!(since(second, 5000, MOST_FRESH + 1).rest(took), Duration::ZERO);
        let mut merging = since(second, 5000, 10);
        merging.rest(took);
        assert_eq!(merging.came, 0);
    }
}
