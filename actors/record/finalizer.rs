//! The finalizer of one trace: reads what was captured, and sees the line into its file.
//!
//! It only borrows the trace, which stays held until the line stands. A crash costs one try; the next one
//! parses nothing and records the bodies raw.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use api_log::config::Config;
use api_log::counters::{Counters, DropCause};
use api_log::ids::BucketId;
use api_log::media;
use api_log::plugin::path_patterns::PathPatterns;
use api_log::store::layout::Layout;
use api_log::trace::{FinalizeSettings, Finished};
use arc_swap::ArcSwap;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::Semaphore;

use super::held::{Held, HeldTrace};
use super::index::Door;
use super::intake::Intake;
use super::writer::{AppendFailed, Appended};
use super::writers;
use crate::kit::{Budget, ChildHealth, Slot};

/// How often an append that the disk refused is tried before the trace is given up and counted.
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
    pub(crate) saves_media: AtomicBool,
    /// What a reload changes.
    pub(crate) live: ArcSwap<Live>,
    /// How many traces are read at once.
    pub(crate) parsing: Semaphore,
    /// What finished lines may take until they stand in their files.
    pub(crate) lines: Budget,
    /// The process's counters.
    pub(crate) counters: Arc<Counters>,
    /// The data dir.
    pub(crate) layout: Layout,
}

/// What can be changed while traces are finalized.
pub(crate) struct Live {
    /// Paths whose traces are not recorded.
    pub(crate) path_filter: PathPatterns,
    /// From which duration a trace is told of in the log.
    pub(crate) slow_trace: Option<Duration>,
}

impl Live {
    /// As the configuration has it.
    pub(crate) fn of(config: &Config) -> Live {
        Live { path_filter: config.plugins.path_filter.clone(), slow_trace: config.timeouts.slow_trace }
    }
}

impl Shared {
    /// The recorder ends, and nobody will write what is still on its way: it is counted as dropped. Says how much that
    /// was. This is the one place where what is left at the ceiling of a shutdown meets its end.
    pub(crate) fn spool_the_rest(&self, intake: &Intake) -> u64 {
        let mut dropped = 0;
        let mut drop_one = || {
            self.counters.ledger.count_dropped(DropCause::Shutdown);
            dropped += 1;
        };
        while let Some(_captured) = intake.ended.pop() {
            drop_one();
        }
        for trace in self.held.all() {
            if trace.give_up() {
                drop_one();
            }
            self.held.release(trace.content.id());
        }
        dropped
    }
}

pub(crate) struct Finalizer;

pub(crate) enum Msg {}

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
        // bounded by their bytes, however far a body was decoded. An error cannot be: nobody closes it.
        let parsing = shared.parsing.acquire().await;
        if let Some(finished) = self.finalize() {
            let _room = shared.lines.take(finished.line.len() as u64).await;
            drop(parsing);
            if let Some(bucket) = self.append(&finished).await {
                self.write_media(&finished, bucket);
            }
        } else if trace.give_up() {
            shared.counters.ledger.count_filtered();
        }
        shared.held.release(id);
    }

    /// The line and its row; `None` if a filter wants the trace gone.
    fn finalize(&self) -> Option<Arc<Finished>> {
        let Args { trace, shared, health } = self;
        let _under_way = health.begin();
        let began = std::time::Instant::now();
        let is_first_try = trace.failures.load(Ordering::Relaxed) == 0;
        shared.counters.timings.drain_ms.observe(began.saturating_duration_since(trace.content.handed_over()));
        let saves_media = shared.saves_media.load(Ordering::Relaxed);
        let settings = if saves_media { &shared.settings } else { &shared.settings_without_media };
        let live = shared.live.load();
        let is_filtered = |path: &str| {
            let is_filtered = live.path_filter.matches(path);
            match (is_filtered, is_first_try) {
                (true, _) => {}
                (false, true) => fault!("finalizer"),
                (false, false) => fault!("finalizer.raw"),
            }
            is_filtered
        };
        let mut finished = trace.content.finalize(is_first_try.then_some(settings), is_filtered)?;
        if !is_first_try {
            shared.counters.recording.finalized_raw.increment();
        }
        Arc::make_mut(&mut finished.row).media_count = finished.attachments.len() as u32;
        shared.counters.timings.parse_ms.observe(began.elapsed());
        let row = &finished.row;
        let duration = Duration::from_millis((row.ts_end.0 - row.ts_start.0).max(0) as u64);
        if live.slow_trace.is_some_and(|threshold| duration >= threshold) {
            shared.counters.slow_traces.increment();
            tracing::warn!(trace = %row.id, path = row.path, status = row.status, ?duration, "slow trace");
        }
        Some(Arc::new(finished))
    }

    /// Sees the line into its file. A writer that crashed, or is not there yet, is asked again for as long as
    /// it takes; a disk that refuses is not. `None` if there will be no line.
    async fn append(&self, finished: &Arc<Finished>) -> Option<BucketId> {
        let Args { trace, shared, .. } = self;
        let mut pause = FIRST_PAUSE;
        let mut refused = 0;
        loop {
            // Also by an append that a predecessor had asked for.
            if let Some(bucket) = trace.written_in() {
                return Some(bucket);
            }
            if trace.is_given_up() {
                return None;
            }
            let (trace_again, finished) = (trace.clone(), finished.clone());
            let _asking = shared.writers_health.begin();
            match shared.writers.ask(|reply| writers::Msg::Append { trace: trace_again, finished, reply }).await {
                Ok(Ok(Appended)) => continue,
                Ok(Err(AppendFailed)) => {
                    refused += 1;
                    if refused >= APPEND_TRIES && trace.give_up() {
                        shared.counters.ledger.count_dropped(DropCause::JsonlFail);
                        return None;
                    }
                }
                // Nobody there, or it crashed with the line in its mailbox, or another try has the claim.
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Attachments come after the line is safe, and never harm it.
    fn write_media(&self, finished: &Finished, bucket: BucketId) {
        if finished.attachments.is_empty() {
            return;
        }
        let _under_way = self.health.begin();
        let id = finished.row.id;
        if let Err(error) = fault!(io "media.write") {
            return tracing::warn!(trace = %id, %error, "attachments are only in the line");
        }
        let folder = self.shared.layout.media(bucket, id);
        let written = media::write(&folder, &finished.attachments);
        for error in written.failures {
            tracing::warn!(trace = %id, %error, "an attachment is only in the line");
        }
        self.shared.counters.total_media_files.add(u64::from(written.count));
        // The row said what was meant to be there, and one read back from the line counted what was there then.
        self.shared.index.correct_media_count(id, written.count);
    }
}
