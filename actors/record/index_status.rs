//! How the index is, for those who ask: health, the read API, and the index's next life. Belongs to no actor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use api_log::ids::{TraceId, UnixMillis};
use api_log::index::Progress;
use api_log::index::rebuild::Report;
use api_log::work::{Seen, Work};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::kit::{Condition, Registry};

/// Corrections that wait to be made. Beyond it the oldest are forgotten; a rebuild counts again.
const MOST_CORRECTIONS: usize = 262_144;

/// What lists may be missing, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Every line that was offered in time has its row.
    Current,
    /// Lines are being read back.
    CatchingUp,
    /// Older traces are missing until a new index is whole.
    Rebuilding,
    /// Somebody has locked it.
    Locked,
    /// The disk refuses.
    Unwritable,
}

impl Standing {
    /// Every one.
    pub(crate) const ALL: [Standing; 5] =
        [Standing::Current, Standing::CatchingUp, Standing::Rebuilding, Standing::Locked, Standing::Unwritable];

    /// Its word in JSON and in the header.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Standing::Current => "current",
            Standing::CatchingUp => "catching_up",
            Standing::Rebuilding => "rebuilding",
            Standing::Locked => "locked",
            Standing::Unwritable => "unwritable",
        }
    }
}

/// How the index is.
pub(crate) struct Status {
    inner: Mutex<Inner>,
    /// A reader met damage.
    suspect: AtomicBool,
    /// How many rows went in, for those who wait for more.
    grown: watch::Sender<u64>,
    pub(super) locked: Condition,
    pub(super) unwritable: Condition,
    rebuilding: Condition,
}

#[derive(Default)]
struct Inner {
    is_interim: bool,
    is_catching_up: bool,
    behind_segments: usize,
    behind_bytes: u64,
    total_bytes: u64,
    fresh_rows: u64,
    merged_rows: u64,
    last_error: Option<(String, UnixMillis)>,
    rebuild: Option<Rebuild>,
    corrections: Vec<(TraceId, u32)>,
}

/// The latest rebuild.
struct Rebuild {
    number: u64,
    work: Arc<Work>,
    phase: Phase,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Debug)]
enum Phase {
    Wanted,
    Building,
    Built(Report),
    Done(Report),
    Failed(String),
}

/// How far the index is, as it is told.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) standing: Standing,
    pub(crate) behind_segments: usize,
    pub(crate) behind_bytes: u64,
    pub(crate) total_bytes: u64,
    pub(crate) fresh_rows: u64,
    pub(crate) merged_rows: u64,
    pub(crate) last_error: Option<(String, UnixMillis)>,
    pub(crate) rebuild: Option<ShownRebuild>,
}

/// The latest rebuild, as it is told.
#[derive(Clone, Debug)]
pub(crate) struct ShownRebuild {
    pub(crate) number: u64,
    pub(crate) state: &'static str,
    pub(crate) seen: Seen,
    pub(crate) report: Option<Report>,
    pub(crate) error: Option<String>,
}

impl Status {
    /// Of an index that nobody has looked at yet.
    pub(crate) fn new(registry: &Registry) -> Status {
        Status {
            inner: Mutex::new(Inner { is_catching_up: true, ..Inner::default() }),
            suspect: AtomicBool::new(false),
            grown: watch::Sender::new(0),
            locked: registry.condition("index_locked"),
            unwritable: registry.condition("index_unwritable"),
            rebuilding: registry.condition("index_rebuilding"),
        }
    }

    /// Everything at once.
    pub(crate) fn shown(&self) -> Shown {
        let inner = self.inner.lock();
        let standing = match &*inner {
            _ if self.locked.raised().is_some() => Standing::Locked,
            _ if self.unwritable.raised().is_some() => Standing::Unwritable,
            Inner { is_interim: true, .. } => Standing::Rebuilding,
            Inner { is_catching_up: true, .. } => Standing::CatchingUp,
            _ => Standing::Current,
        };
        let rebuild = inner.rebuild.as_ref().map(Rebuild::shown);
        let building = rebuild.as_ref().filter(|it| standing == Standing::Rebuilding && it.seen.total > 0);
        Shown {
            standing,
            behind_segments: inner.behind_segments,
            behind_bytes: building.map_or(inner.behind_bytes, |it| it.seen.total.saturating_sub(it.seen.done)),
            total_bytes: building.map_or(inner.total_bytes, |it| it.seen.total),
            fresh_rows: inner.fresh_rows,
            merged_rows: inner.merged_rows,
            last_error: inner.last_error.clone(),
            rebuild,
        }
    }

    /// Asks for a rebuild, unless one is under way already; the number of the one that will end next.
    pub(crate) fn want_rebuild(&self) -> u64 {
        let mut inner = self.inner.lock();
        let last = inner.rebuild.as_ref();
        if let Some(Rebuild { number, phase: Phase::Wanted | Phase::Building | Phase::Built(_), .. }) = last {
            return *number;
        }
        let number = last.map_or(1, |it| it.number + 1);
        inner.rebuild = Some(Rebuild { number, work: Arc::default(), phase: Phase::Wanted, thread: None });
        number
    }

    /// Tells when rows have gone in.
    pub(crate) fn grown(&self) -> watch::Receiver<u64> {
        self.grown.subscribe()
    }

    /// So many rows have gone in.
    pub(super) fn grew(&self, rows: u64) {
        if rows > 0 {
            self.grown.send_modify(|it| *it += rows);
        }
    }

    /// A query met damage: the index is to be looked through.
    pub(crate) fn suspect(&self) {
        self.suspect.store(true, Ordering::Release);
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Acquire)
    }

    pub(super) fn clear_suspicion(&self) {
        self.suspect.store(false, Ordering::Release);
    }

    pub(super) fn failed(&self, error: &dyn std::fmt::Display) {
        self.inner.lock().last_error = Some((error.to_string(), UnixMillis::now()));
    }

    pub(super) fn set_interim(&self, is_interim: bool) {
        self.inner.lock().is_interim = is_interim;
        if is_interim {
            self.rebuilding.raise("the index was lost; lists show what was recorded since, until it is made anew");
        } else {
            self.rebuilding.clear();
        }
    }

    pub(super) fn is_interim(&self) -> bool {
        self.inner.lock().is_interim
    }

    pub(super) fn set_catching_up(&self) {
        self.inner.lock().is_catching_up = true;
    }

    pub(super) fn caught_up_to(&self, progress: &Progress) {
        let mut inner = self.inner.lock();
        inner.is_catching_up = !progress.is_done;
        inner.behind_segments = progress.behind_segments;
        inner.behind_bytes = progress.behind_bytes;
        inner.total_bytes = progress.total_bytes;
    }

    /// So many rows are fresh, and so many more were.
    pub(super) fn set_fresh(&self, rows: u64, merged: u64) {
        let mut inner = self.inner.lock();
        inner.fresh_rows = rows;
        inner.merged_rows += merged;
    }

    /// A rebuild that is wanted, now being begun: `run` gives its thread.
    pub(super) fn begin_wanted(&self, run: impl FnOnce(u64, Arc<Work>) -> std::io::Result<JoinHandle<()>>) {
        let mut inner = self.inner.lock();
        let Some(rebuild) = inner.rebuild.as_mut().filter(|it| matches!(it.phase, Phase::Wanted)) else { return };
        match run(rebuild.number, rebuild.work.clone()) {
            Ok(thread) => (rebuild.phase, rebuild.thread) = (Phase::Building, Some(thread)),
            Err(error) => rebuild.phase = Phase::Failed(error.to_string()),
        }
    }

    /// Its thread is done.
    pub(super) fn built(&self, number: u64, outcome: Result<Report, String>) {
        self.end(number, outcome.map_or_else(Phase::Failed, Phase::Built));
    }

    /// A new index stands beside the old one, to be put in place.
    pub(super) fn is_built(&self) -> Option<(u64, Report)> {
        match &self.inner.lock().rebuild {
            Some(Rebuild { number, phase: Phase::Built(report), .. }) => Some((*number, report.clone())),
            _ => None,
        }
    }

    /// It stands in place, or could not be put there.
    pub(super) fn installed(&self, number: u64, outcome: Result<Report, String>) {
        self.end(number, outcome.map_or_else(Phase::Failed, Phase::Done));
    }

    /// Whether a rebuild is wanted or under way.
    pub(super) fn is_rebuilding(&self) -> bool {
        let inner = self.inner.lock();
        inner.rebuild.as_ref().is_some_and(|it| !matches!(it.phase, Phase::Done(_) | Phase::Failed(_)))
    }

    /// Calls off a rebuild; its thread is to be waited for.
    pub(super) fn cancel_rebuild(&self) -> Option<JoinHandle<()>> {
        let mut inner = self.inner.lock();
        let rebuild = inner.rebuild.as_mut()?;
        rebuild.work.cancel();
        rebuild.thread.take()
    }

    /// Keeps a correction until it can be made.
    pub(super) fn keep_correction(&self, id: TraceId, count: u32) {
        let corrections = &mut self.inner.lock().corrections;
        if corrections.len() >= MOST_CORRECTIONS {
            corrections.drain(..MOST_CORRECTIONS / 2);
        }
        corrections.push((id, count));
    }

    pub(super) fn take_corrections(&self) -> Vec<(TraceId, u32)> {
        std::mem::take(&mut self.inner.lock().corrections)
    }

    fn end(&self, number: u64, phase: Phase) {
        let mut inner = self.inner.lock();
        if let Some(rebuild) = inner.rebuild.as_mut().filter(|it| it.number == number) {
            rebuild.phase = phase;
        }
    }
}

impl Rebuild {
    fn shown(&self) -> ShownRebuild {
        let (state, report, error) = match &self.phase {
            Phase::Wanted | Phase::Building | Phase::Built(_) => ("running", None, None),
            Phase::Done(report) => ("done", Some(report.clone()), None),
            Phase::Failed(error) => ("failed", None, Some(error.clone())),
        };
        ShownRebuild { number: self.number, state, seen: self.work.seen(), report, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rebuild_runs_at_a_time_and_the_next_has_the_next_number() {
        let status = Status::new(&Registry::new());
        assert_eq!((status.want_rebuild(), status.want_rebuild()), (1, 1));
        status.begin_wanted(|number, _| {
            assert_eq!(number, 1);
            Ok(std::thread::spawn(|| {}))
        });
        status.begin_wanted(|_, _| panic!("it runs already"));
        assert_eq!((status.want_rebuild(), status.is_rebuilding()), (1, true));
        status.built(1, Ok(Report::default()));
        let (number, report) = status.is_built().unwrap();
        status.installed(number, Ok(report));
        assert_eq!((status.is_rebuilding(), status.shown().rebuild.unwrap().state), (false, "done"));
        assert_eq!(status.want_rebuild(), 2);
        status.built(1, Err("of an earlier one".into()));
        assert_eq!(status.shown().rebuild.unwrap().state, "running");
    }

    #[test]
    fn the_worst_is_told_first() {
        let status = Status::new(&Registry::new());
        assert_eq!(status.shown().standing, Standing::CatchingUp);
        status.caught_up_to(&Progress { is_done: true, ..Progress::default() });
        assert_eq!(status.shown().standing, Standing::Current);
        status.set_interim(true);
        assert_eq!(status.shown().standing, Standing::Rebuilding);
        status.locked.raise("by somebody");
        assert_eq!(status.shown().standing, Standing::Locked);
    }
}
