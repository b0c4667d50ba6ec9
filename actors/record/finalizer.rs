//! The finalizer of one trace: reads what was captured, and sees the line into its file.
//!
//! It only borrows the trace, which stays held until the line stands. A crash costs one try; the next one
//! parses nothing and records the bodies raw.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use api_log::config::Config;
use api_log::counters::{Counters, DropCause};
use api_log::exchange::Exchange;
use api_log::ids::SegmentId;
use api_log::media;
use api_log::plugin::record::{self, Decision};
use api_log::store::layout::Layout;
use api_log::store::lease::Leases;
use api_log::store::pressure::{DiskTrouble, Verdict};
use api_log::trace::{BodiesDropped, FinalizeSettings, Finished, Row};
use arc_swap::ArcSwap;
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::day_bytes::DayBytes;
use super::disk::Disk;
use super::held::{Held, HeldTrace};
use super::index::Door;
use super::intake::Intake;
use super::parsing::{Parsing, Where};
use super::writer::{AppendFailed, Appended};
use super::writers;
use crate::kit::{Budget, ChildHealth, Slot};
use crate::overridden::MediaSwitch;
use crate::plugins::InForce;
use crate::retention::Gauge;

/// How often an append is tried that is refused for another reason than the disk's trouble, before the trace is given up
/// and counted.
const APPEND_TRIES: u32 = 8;
/// First pause between tries; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Longest pause between tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What all finalizers share.
pub(crate) struct Shared {
    /// Where traces are held.
    pub(crate) held: Held,
    /// The way to the files.
    pub(crate) writers: Slot<writers::Msg>,
    /// Knows what the writers are asked for.
    pub(crate) writers_health: Arc<ChildHealth>,
    /// The way to the index.
    pub(crate) index: Door,
    /// How bodies are read while attachments are saved.
    pub(crate) settings: FinalizeSettings,
    /// The same while they are not.
    pub(crate) settings_without_media: FinalizeSettings,
    /// Whether attachments are written beside the lines.
    pub(crate) saves_media: Arc<MediaSwitch>,
    /// What a reload changes.
    pub(crate) live: ArcSwap<Live>,
    /// The plugins in force, for what does not bring its own.
    pub(crate) plugins: Arc<InForce>,
    /// How many traces are read at once.
    pub(crate) parsing: Parsing,
    /// What finished lines may take until they stand in their files.
    pub(crate) lines: Budget,
    /// Which step recording has come down to.
    pub(crate) disk: Arc<Disk>,
    /// What each key has left today.
    pub(crate) day_bytes: Arc<DayBytes>,
    /// Whether captures have taken so much memory that no trace may wait for the disk.
    pub(crate) is_memory_tight: Box<dyn Fn() -> bool + Send + Sync>,
    /// The process's counters.
    pub(crate) counters: Arc<Counters>,
    /// The data dir.
    pub(crate) layout: Layout,
    /// Attachments are written under them.
    pub(crate) leases: Leases,
    /// Told of what they take.
    pub(crate) gauge: Gauge,
}

/// What can be changed while traces are finalized.
pub(crate) struct Live {
    /// From which duration a trace is told of in the log.
    pub(crate) slow_trace: Option<Duration>,
}

impl Live {
    /// As the configuration has it.
    pub(crate) fn of(config: &Config) -> Live {
        Live { slow_trace: config.timeouts.slow_trace }
    }
}

/// What became of what was still on its way when the recorder ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rest {
    /// Traces that the next start recovers.
    pub(crate) left: u64,
    /// Traces that are lost.
    pub(crate) dropped: u64,
}

impl Shared {
    /// The recorder ends, and nobody will write what is still on its way: whatever survives the process is left to be
    /// recovered at the next start, and stays in flight until then; the rest is counted as dropped. This is the one
    /// place where what is left at the ceiling of a shutdown meets its end.
    pub(crate) fn spool_the_rest(&self, intake: &Intake) -> Rest {
        let mut rest = Rest::default();
        while let Some(content) = intake.ended.pop() {
            if content.outlives() {
                self.count_left(&mut rest);
                // Whoever drops it has its log forgotten.
                std::mem::forget(content);
            } else {
                self.count_dropped(&mut rest);
            }
        }
        for trace in self.held.all() {
            let is_without_outcome = trace.give_up();
            // A writer may have it that gets on no further, or is just done: its line will be looked for.
            let is_in_doubt = !is_without_outcome && !trace.is_given_up() && trace.written_in().is_none();
            if (is_without_outcome || is_in_doubt) && trace.content.outlives() {
                self.count_left(&mut rest);
                // As above.
                std::mem::forget(trace.clone());
            } else if is_without_outcome || is_in_doubt {
                // In doubt: rather a line that is counted as dropped than one that is missing and was not counted.
                self.count_dropped(&mut rest);
            }
            self.held.release(trace.content.id());
        }
        rest
    }

    fn count_left(&self, rest: &mut Rest) {
        self.counters.recording.left_to_recover.increment();
        rest.left += 1;
    }

    fn count_dropped(&self, rest: &mut Rest) {
        self.counters.ledger.count_dropped(DropCause::Shutdown);
        rest.dropped += 1;
    }
}

/// What became of a line.
enum Fate {
    /// It stands in this bucket.
    Stands(SegmentId),
    /// There will be none; that is counted.
    GivenUp,
    /// The disk does not take it with its bodies.
    TooLarge(DiskTrouble),
}

/// Content of more bytes is parsed on a thread of its own: writers and all else that runs on
/// the recording threads must not wait behind a storm of parsing.
const PARSED_IN_PLACE: u64 = 64 * 1024;

pub(crate) struct Finalizer;

pub(crate) enum Msg {}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) trace: Arc<HeldTrace>,
    pub(crate) shared: Arc<Shared>,
    /// Its own, for the watchdog: only what it does itself, for whom it waits is another's affair.
    pub(crate) health: Arc<ChildHealth>,
}

impl Actor for Finalizer {
    type Msg = Msg;
    type State = Args;
    type Arguments = Args;

    async fn pre_start(&self, _: ActorRef<Msg>, args: Args) -> Result<Args, ActorProcessingErr> {
        Ok(args)
    }

    /// All of its life: one trace.
    async fn post_start(&self, myself: ActorRef<Msg>, state: &mut Args) -> Result<(), ActorProcessingErr> {
        state.run().await;
        myself.stop(None);
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Msg>, msg: Msg, _: &mut Args) -> Result<(), ActorProcessingErr> {
        match msg {}
    }
}

impl Args {
    async fn run(&self) {
        let Args { trace, shared, .. } = self;
        let id = trace.content.id();
        // Who parses goes on to its line's room before the next may parse: lines that wait for the disk are
        // bounded by their bytes, however far a body was decoded.
        let (parsing, place) = shared.parsing.turn((shared.is_memory_tight)()).await;
        shared.counters.timings.drain_ms.observe(trace.content.handed_over().elapsed());
        let mut bodies_dropped = self.without_bodies().await;
        if let Some(mut finished) = self.finalize(bodies_dropped, place).await {
            self.tell_if_slow(&finished.row);
            let mut room = shared.lines.take(finished.line.len() as u64).await;
            drop(parsing);
            loop {
                match self.append(&finished).await {
                    Fate::Stands(segment) => self.write_media(&finished, segment),
                    Fate::GivenUp => {}
                    Fate::TooLarge(trouble) => {
                        bodies_dropped = Some(trouble.into());
                        let Some(without) = self.finalize(bodies_dropped, place).await else { break };
                        finished = without;
                        // First out, then in: the rest of the line's room is others'.
                        drop(room);
                        room = shared.lines.take(finished.line.len() as u64).await;
                        continue;
                    }
                }
                break;
            }
            drop(room);
        } else if trace.give_up() {
            shared.counters.ledger.count_filtered();
        }
        shared.held.release(id);
    }

    /// Why this trace is to be recorded without its bodies, if it is.
    async fn without_bodies(&self) -> Option<BodiesDropped> {
        let Args { trace, shared, .. } = self;
        if let Some(trouble) = shared.disk.leaves_out_bodies() {
            return Some(trouble.into());
        }
        // What reads the head may be what failed the last time.
        let is_first_try = trace.failures.load(Ordering::Relaxed) == 0;
        let is_over = is_first_try && shared.day_bytes.is_over(|| trace.content.key()).await;
        is_over.then_some(BodiesDropped::OverBudget)
    }

    /// The line and its row; `None` if a filter wants the trace gone.
    async fn finalize(&self, bodies_dropped: Option<BodiesDropped>, place: Where) -> Option<Arc<Finished>> {
        let is_small = bodies_dropped.is_some() || self.trace.content.is_within(PARSED_IN_PLACE);
        if place == Where::BySize && is_small {
            return self.finalize_here(bodies_dropped);
        }
        let args = self.clone();
        match tokio::task::spawn_blocking(move || args.finalize_here(bodies_dropped)).await {
            Ok(finished) => finished,
            // Its owner sees that it failed, as if it had been done here.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime ends, and this with it.
            Err(_) => std::future::pending().await,
        }
    }

    fn finalize_here(&self, bodies_dropped: Option<BodiesDropped>) -> Option<Arc<Finished>> {
        let Args { trace, shared, health } = self;
        let _under_way = health.begin();
        let began = std::time::Instant::now();
        let is_first_try = trace.failures.load(Ordering::Relaxed) == 0;
        let saves_media = shared.saves_media.saves();
        let settings = if saves_media { &shared.settings } else { &shared.settings_without_media };
        let prepare = |exchange: &mut Exchange| {
            let plugins = trace.content.plugins().cloned().unwrap_or_else(|| shared.plugins.pin());
            let decision = record::prepare(&plugins, exchange);
            match (decision, is_first_try) {
                (Decision::LeaveOut, _) => {}
                (Decision::Record, true) => fault!("finalizer"),
                (Decision::Record, false) => fault!("finalizer.raw"),
            }
            decision
        };
        let mut finished = match bodies_dropped {
            Some(why) => trace.content.finalize_without_bodies(settings, why, prepare)?,
            None => trace.content.finalize(is_first_try.then_some(settings), prepare)?,
        };
        if !is_first_try && bodies_dropped.is_none() {
            shared.counters.recording.finalized_raw.increment();
        }
        Arc::make_mut(&mut finished.row).media_count = finished.attachments.len() as u32;
        shared.counters.timings.parse_ms.observe(began.elapsed());
        Some(Arc::new(finished))
    }

    fn tell_if_slow(&self, row: &Row) {
        let live = self.shared.live.load();
        let Args { shared, .. } = self;
        let duration = Duration::from_millis((row.ts_end.0 - row.ts_start.0).max(0) as u64);
        if live.slow_trace.is_some_and(|threshold| duration >= threshold) {
            shared.counters.slow_traces.increment();
            tracing::warn!(trace = %row.id, path = row.path, status = row.status, ?duration, "slow trace");
        }
    }

    /// Sees the line into its file. A writer that crashed, or is not there yet, is asked again for as long as
    /// it takes; a disk that refuses is as long as it is expected back, and there is memory to wait in.
    async fn append(&self, finished: &Arc<Finished>) -> Fate {
        let Args { trace, shared, .. } = self;
        let mut pause = FIRST_PAUSE;
        let mut refused = 0;
        loop {
            // Also by an append that a predecessor had asked for.
            if let Some(segment) = trace.written_in() {
                return Fate::Stands(segment);
            }
            if trace.is_given_up() {
                return Fate::GivenUp;
            }
            let (trace_again, finished_again) = (trace.clone(), finished.clone());
            let asked = |reply| writers::Msg::Append { trace: trace_again, finished: finished_again, reply };
            let _asking = shared.writers_health.begin();
            match shared.writers.ask(asked).await {
                Ok(Ok(Appended)) => continue,
                Ok(Err(AppendFailed(Some(trouble)))) => {
                    let has_bodies = finished.bodies_dropped.is_none();
                    match shared.disk.verdict(has_bodies, self.may_wait()) {
                        Verdict::Wait => {}
                        Verdict::DropBodies => return Fate::TooLarge(trouble),
                        Verdict::DropLine if trace.give_up() => {
                            shared.counters.ledger.count_dropped(match trouble {
                                DiskTrouble::Full => DropCause::DiskFull,
                                DiskTrouble::Failing => DropCause::JsonlFail,
                            });
                            return Fate::GivenUp;
                        }
                        Verdict::DropLine => {}
                    }
                }
                Ok(Err(AppendFailed(None))) => {
                    refused += 1;
                    if refused >= APPEND_TRIES && trace.give_up() {
                        shared.counters.ledger.count_dropped(DropCause::JsonlFail);
                        return Fate::GivenUp;
                    }
                }
                // Nobody there, or it crashed with the line in its mailbox, or another try has the claim.
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Whether there is memory for traces to wait in: half of what lines may take, and of what captures may.
    fn may_wait(&self) -> bool {
        let lines = self.shared.lines.report();
        lines.used_bytes <= lines.max_bytes / 2
            && lines.used_count <= lines.max_count / 2
            && !(self.shared.is_memory_tight)()
    }

    /// Attachments come after the line is safe, and never harm it. If the line has been deleted already, or is just
    /// being deleted, they are not wanted any more.
    fn write_media(&self, finished: &Finished, segment: SegmentId) {
        if finished.attachments.is_empty() {
            return;
        }
        let Ok(_lease) = self.shared.leases.shared(segment) else { return };
        if !self.shared.layout.has_segment(segment).unwrap_or(true) {
            return;
        }
        let _under_way = self.health.begin();
        let id = finished.row.id;
        if let Err(error) = fault!(io "media.write") {
            return tracing::warn!(trace = %id, %error, "attachments are only in the line");
        }
        let folder = self.shared.layout.media(segment.bucket, id);
        let written = media::write(&folder, &finished.attachments);
        for error in written.failures {
            // What the disk as a whole does is told once, not for each trace.
            match self.shared.disk.refused(&error.source) {
                Some(_) => tracing::debug!(trace = %id, %error, "an attachment is only in the line"),
                None => tracing::warn!(trace = %id, %error, "an attachment is only in the line"),
            }
        }
        self.shared.counters.total_media_files.add(u64::from(written.count));
        self.shared.gauge.wrote(written.bytes);
        // The row said what was meant to be there, and one read back from the line counted what was there then.
        self.shared.index.correct_media_count(id, written.count);
    }
}
