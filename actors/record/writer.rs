//! The writer of one bucket: it alone appends to that bucket's segments.
//!
//! Lines gather for a few milliseconds and go out in one write. A line is acknowledged once it stands whole in
//! its file, and with `fsync: always` on the disk; its trace is held until then, so a crash here loses nothing.
//!
//! What forces bytes to the disk runs on a thread of its own, with all that it needs: whoever is killed meanwhile, the
//! file stays this writer's, and what was appended is acknowledged, until that thread is done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api_log::config::Fsync;
use api_log::counters::{Count, Counters};
use api_log::ids::{BucketId, Place, SegmentId};
use api_log::jsonl::bucket::{BucketError, BucketFile, Durability};
use api_log::store::pressure::DiskTrouble;
use api_log::trace::{BodiesDropped, Finished};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::Semaphore;

use super::day_bytes::DayBytes;
use super::disk::Disk;
use super::held::HeldTrace;
use super::index::Door;
use super::writers;
use crate::kit::{ChildHealth, Pending};
use crate::otlp::Export;
use crate::retention::Gauge;

/// How long lines gather while there are many.
const GATHER: Duration = Duration::from_millis(5);
/// Bytes that go out at once.
const BATCH_BYTES: usize = 256 * 1024;
/// A file without lines for this long is closed.
const IDLE: Duration = Duration::from_secs(600);
/// Buckets whose bytes are forced to the disk at once: more would only stand in the disk's own queue.
pub(crate) const MOST_SYNCING: usize = 16;

pub(crate) struct Writer;

pub(crate) enum Msg {
    /// Appends the line, and replies once it stands in the file.
    Append { trace: Arc<HeldTrace>, finished: Arc<Finished>, reply: RpcReplyPort<Result<Appended, AppendFailed>> },
    /// The gathering time is over.
    Flush,
    /// Forces to the disk what was appended since the last time.
    Sync,
    /// Closes the file if nothing came since the last look.
    CloseIfIdle,
}

/// The line stands in its file; the trace says in which.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appended;

/// The line does not stand in its file, because of the disk's trouble or, with none, of something else's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppendFailed(pub(crate) Option<DiskTrouble>);

/// What all writers share.
pub(crate) struct Shared {
    pub(crate) index: Door,
    pub(crate) spans: Arc<Export>,
    pub(crate) gauge: Gauge,
    pub(crate) counters: Arc<Counters>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) day_bytes: Arc<DayBytes>,
    pub(crate) fsync: Fsync,
    pub(crate) fsync_interval: Duration,
    /// Bounds how many force their bytes to the disk at once.
    pub(crate) syncing: Semaphore,
    /// Told of each segment that was closed: it may be sealed if it is full or its day is over.
    pub(crate) segment_closed: Box<dyn Fn(SegmentId) + Send + Sync>,
}

pub(crate) struct Args {
    /// The bucket's segments. Nobody else appends to them.
    pub(crate) file: BucketFile,
    pub(crate) shared: Arc<Shared>,
    /// Its own, for the watchdog.
    pub(crate) health: Arc<ChildHealth>,
    pub(crate) writers: ActorRef<writers::Msg>,
}

pub(crate) struct State {
    bucket: BucketId,
    /// Away only while a thread works on it.
    file: Option<BucketFile>,
    shared: Arc<Shared>,
    health: Arc<ChildHealth>,
    writers: ActorRef<writers::Msg>,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    flushed: Instant,
    is_armed: bool,
    is_sync_armed: bool,
    is_idle: bool,
}

struct Waiting {
    trace: Arc<HeldTrace>,
    finished: Arc<Finished>,
    reply: RpcReplyPort<Result<Appended, AppendFailed>>,
    _pending: Pending,
}

impl Actor for Writer {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let Args { file, shared, health, writers } = args;
        myself.send_interval(IDLE / 2, || Msg::CloseIfIdle);
        Ok(State {
            bucket: file.bucket(),
            file: Some(file),
            shared,
            health,
            writers,
            waiting: Vec::new(),
            waiting_bytes: 0,
            flushed: Instant::now(),
            is_armed: false,
            is_sync_armed: false,
            is_idle: false,
        })
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Append { trace, finished, reply } => {
                let _pending = state.health.begin();
                state.gather(&myself, Waiting { trace, finished, reply, _pending }).await?;
            }
            Msg::Flush => {
                state.is_armed = false;
                state.flush(&myself).await?;
            }
            Msg::Sync => {
                state.is_sync_armed = false;
                state.sync().await?;
            }
            Msg::CloseIfIdle if state.is_idle => state.writers.cast(writers::Msg::Idle(state.bucket))?,
            Msg::CloseIfIdle => state.is_idle = true,
        }
        Ok(())
    }

    async fn post_stop(&self, myself: ActorRef<Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.flush(&myself).await?;
        state.close().await
    }
}

impl State {
    async fn gather(&mut self, myself: &ActorRef<Msg>, waiting: Waiting) -> Result<(), ActorProcessingErr> {
        self.is_idle = false;
        self.waiting_bytes += waiting.finished.line.len();
        self.waiting.push(waiting);
        if self.waiting_bytes >= BATCH_BYTES {
            self.flush(myself).await?;
        } else if !self.is_armed {
            self.is_armed = true;
            let since = self.flushed.elapsed();
            if since >= GATHER {
                // A lone line does not wait for others; those behind it in the mailbox go with it.
                let _ = myself.cast(Msg::Flush);
            } else {
                myself.send_after(GATHER - since, || Msg::Flush);
            }
        }
        Ok(())
    }

    /// One write for all that waits.
    async fn flush(&mut self, myself: &ActorRef<Msg>) -> Result<(), ActorProcessingErr> {
        self.flushed = Instant::now();
        self.waiting_bytes = 0;
        let mut batch = Batch(std::mem::take(&mut self.waiting));
        // A trace that another try has claimed or written is not appended again.
        batch.0.retain(|it| it.trace.claim());
        if batch.0.is_empty() {
            return Ok(());
        }
        let shared = self.shared.clone();
        match self.shared.fsync {
            Fsync::Always => self.on_disk(move |file| batch.append(file, &shared, Durability::Disk)).await?,
            Fsync::Interval | Fsync::Never => batch.append(self.file()?, &shared, Durability::Kernel),
        }
        if self.file()?.is_full() {
            return self.close().await;
        }
        if self.shared.fsync == Fsync::Interval && !self.is_sync_armed && self.file()?.is_dirty() {
            self.is_sync_armed = true;
            myself.send_after(self.shared.fsync_interval, || Msg::Sync);
        }
        Ok(())
    }

    /// Forces everything to the disk. If that fails, its segment takes nothing more.
    async fn sync(&mut self) -> Result<(), ActorProcessingErr> {
        if !self.file()?.is_dirty() {
            return Ok(());
        }
        if let Err((segment, error)) = self.on_disk(BucketFile::sync).await? {
            self.shared.sync_failed(segment, &error);
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<(), ActorProcessingErr> {
        let Some(closed) = self.on_disk(BucketFile::close).await? else { return Ok(()) };
        if let Some(error) = &closed.error {
            self.shared.sync_failed(closed.segment, error);
        }
        (self.shared.segment_closed)(closed.segment);
        Ok(())
    }

    fn file(&mut self) -> Result<&mut BucketFile, ActorProcessingErr> {
        self.file.as_mut().ok_or_else(|| "work on the file was lost; it is opened anew".into())
    }

    /// Runs work that waits for the disk where nobody else is kept waiting. It comes to its end, whatever becomes of
    /// this actor.
    async fn on_disk<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut BucketFile) -> T + Send + 'static,
    ) -> Result<T, ActorProcessingErr> {
        let shared = self.shared.clone();
        // An error cannot be: nobody closes it.
        let _turn = shared.syncing.acquire().await;
        let mut file = self.file.take().ok_or("work on the file was lost; it is opened anew")?;
        let (file, done) = tokio::task::spawn_blocking(move || {
            let done = work(&mut file);
            (file, done)
        })
        .await?;
        self.file = Some(file);
        Ok(done)
    }
}

impl Shared {
    /// Lines were refused: tells whoever looks after the disk, or else the log.
    fn tell(&self, bucket: BucketId, error: &BucketError) -> Option<DiskTrouble> {
        if let BucketError::Sync { segment, source } = error {
            self.sync_failed(*segment, source);
        }
        let trouble = error.disk().and_then(|error| self.disk.refused(error));
        match trouble {
            Some(_) => tracing::debug!(%bucket, %error, "lines could not be appended"),
            None => tracing::warn!(%bucket, %error, "lines could not be appended"),
        }
        trouble
    }

    fn sync_failed(&self, segment: SegmentId, error: &std::io::Error) {
        self.counters.recording.sync_errors.increment();
        self.disk.refused(error);
        tracing::error!(%segment, %error, "lines may not be on the disk; their segment takes nothing more");
    }
}

/// Lines being written. Given back if writing them panics.
struct Batch(Vec<Waiting>);

impl Batch {
    /// One write for all of them. No await stands between the write and its bookkeeping.
    fn append(mut self, file: &mut BucketFile, shared: &Shared, durability: Durability) {
        fault!("writer");
        let lines: Vec<&[u8]> = self.0.iter().map(|it| it.finished.line.as_slice()).collect();
        let outcome = append(file, &lines, durability);
        let torn = file.take_torn_bytes();
        if torn > 0 {
            shared.counters.recording.torn_lines.increment();
            tracing::warn!(bucket = %file.bucket(), bytes = torn, "a torn last line was cut off and kept aside");
        }
        match outcome {
            Ok(places) => {
                shared.gauge.wrote(places.iter().map(|it| u64::from(it.bytes) + 1).sum());
                shared.disk.accepted();
                let stand = std::mem::take(&mut self.0);
                // The outcome of all of them first: whatever fails from here on, none is written again.
                for (waiting, place) in stand.iter().zip(&places) {
                    shared.counters.ledger.count_recorded();
                    waiting.trace.written(place.segment);
                }
                fault!("writer.appended");
                for (waiting, place) in stand.into_iter().zip(places) {
                    let Waiting { finished, reply, trace: _held_until_told, _pending } = waiting;
                    count(&shared.counters, &finished);
                    shared.day_bytes.add(place.segment.bucket, u64::from(place.bytes) + 1);
                    // A row that the index has no room for is read back from the file.
                    shared.index.offer(finished.row.clone(), place);
                    shared.spans.offer(finished.row.id, place);
                    let _ = reply.send(Ok(Appended));
                }
            }
            Err(error) => {
                shared.counters.recording.append_errors.increment();
                let trouble = shared.tell(file.bucket(), &error);
                shared.gauge.look();
                // What has no room together may have it apart.
                if trouble == Some(DiskTrouble::Full) && self.0.len() > 1 {
                    while let Some(waiting) = self.0.pop() {
                        Batch(vec![waiting]).append(file, shared, durability);
                    }
                    return;
                }
                for waiting in std::mem::take(&mut self.0) {
                    waiting.trace.unclaim();
                    let _ = waiting.reply.send(Err(AppendFailed(trouble)));
                }
            }
        }
    }
}

fn append(file: &mut BucketFile, lines: &[&[u8]], durability: Durability) -> Result<Vec<Place>, BucketError> {
    #[cfg(test)]
    {
        crate::faults::stall("disk.stalled");
        let has_bodies = |line: &&[u8]| !line.windows(17).any(|it| it == b"\"bodies_dropped\":");
        if let Some(source) = crate::faults::refuse(lines.iter().any(has_bodies)) {
            return Err(BucketError::Open { bucket: file.bucket(), source });
        }
    }
    fault!(io "writer.refused").map_err(|source| BucketError::Open { bucket: file.bucket(), source })?;
    file.append(lines, durability)
}

impl Drop for Batch {
    fn drop(&mut self) {
        for waiting in &self.0 {
            waiting.trace.unclaim();
        }
    }
}

fn count(counters: &Counters, finished: &Finished) {
    let recording = &counters.recording;
    match finished.bodies_dropped {
        None => {}
        Some(BodiesDropped::DiskFull) => recording.bodies_dropped_disk_full.increment(),
        Some(BodiesDropped::DiskError) => recording.bodies_dropped_disk_error.increment(),
        Some(BodiesDropped::OverBudget) => recording.over_budget.increment(),
    }
    let row = &finished.row;
    counters.count_appended(u16::try_from(row.status).ok(), finished.line.len() as u64 + 1);
    let tokens =
        |total: &Count, found: Option<i64>| total.add(found.and_then(|it| u64::try_from(it).ok()).unwrap_or(0));
    tokens(&counters.total_prompt_tokens, row.usage.prompt);
    tokens(&counters.total_completion_tokens, row.usage.completion);
    tokens(&counters.total_cached_tokens, row.usage.cached);
    tokens(&counters.total_cache_creation_tokens, row.usage.cache_creation);
    tokens(&counters.total_reasoning_tokens, row.usage.reasoning);
    if row.truncated_req {
        counters.truncated_req_total.increment();
    }
    if row.truncated_resp {
        counters.truncated_resp_total.increment();
    }
}
