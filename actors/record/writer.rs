//! The writer of one bucket: it alone appends to that bucket's file.
//!
//! Lines gather for a few milliseconds and go out in one write. A line is acknowledged once it stands whole in
//! the file; its trace is held until then, so a crash here loses nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api_log::counters::{Count, Counters};
use api_log::ids::{BucketId, Place, SegmentId};
use api_log::jsonl::file::{AppendError, JsonlFile};
use api_log::store::layout::Layout;
use api_log::store::lease::SharedLease;
use api_log::trace::Finished;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use super::held::HeldTrace;
use super::index::Door;
use super::writers::{self, SoleWriter};

/// How long lines gather while there are many.
const GATHER: Duration = Duration::from_millis(5);
/// Bytes that go out at once.
const BATCH_BYTES: usize = 256 * 1024;
/// A file without lines for this long is closed.
const IDLE: Duration = Duration::from_secs(600);

pub(crate) struct Writer;

pub(crate) enum Msg {
    /// Appends the line, and replies once it stands in the file.
    Append { trace: Arc<HeldTrace>, finished: Arc<Finished>, reply: RpcReplyPort<Result<Appended, AppendFailed>> },
    /// The gathering time is over.
    Flush,
    /// Closes the file if nothing came since the last look.
    CloseIfIdle,
}

/// The line stands in its file; the trace says in which.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appended;

/// The disk refused a line. The file is as it was before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppendFailed;

pub(crate) struct Args {
    pub(crate) bucket: BucketId,
    /// Keeps retention away from the file for as long as it is open.
    pub(crate) _lease: SharedLease,
    pub(crate) layout: Layout,
    pub(crate) index: Door,
    pub(crate) counters: Arc<Counters>,
    pub(crate) writers: ActorRef<writers::Msg>,
    /// Nobody else has the file open.
    #[expect(dead_code, reason = "held for as long as the file is open")]
    pub(crate) sole: SoleWriter,
}

pub(crate) struct State {
    args: Args,
    file: JsonlFile,
    waiting: Vec<Waiting>,
    waiting_bytes: usize,
    flushed: Instant,
    is_armed: bool,
    is_idle: bool,
}

struct Waiting {
    trace: Arc<HeldTrace>,
    finished: Arc<Finished>,
    reply: RpcReplyPort<Result<Appended, AppendFailed>>,
}

impl Actor for Writer {
    type Msg = Msg;
    type State = State;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<State, ActorProcessingErr> {
        let file = JsonlFile::open(&args.layout, SegmentId { bucket: args.bucket, number: 0 })?;
        if file.cut_bytes() > 0 {
            args.counters.recording.torn_lines.increment();
            tracing::warn!(bucket = %args.bucket, bytes = file.cut_bytes(), "a torn last line was cut off and kept aside");
        }
        myself.send_interval(IDLE / 2, || Msg::CloseIfIdle);
        Ok(State {
            args,
            file,
            waiting: Vec::new(),
            waiting_bytes: 0,
            flushed: Instant::now(),
            is_armed: false,
            is_idle: false,
        })
    }

    async fn handle(&self, myself: ActorRef<Msg>, msg: Msg, state: &mut State) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Append { trace, finished, reply } => state.gather(&myself, Waiting { trace, finished, reply }),
            Msg::Flush => {
                state.is_armed = false;
                state.flush();
            }
            Msg::CloseIfIdle if state.is_idle => state.args.writers.cast(writers::Msg::Idle(state.args.bucket))?,
            Msg::CloseIfIdle => state.is_idle = true,
        }
        if state.file.is_poisoned() {
            return Err(format!("the file of {} is poisoned; it is opened anew", state.args.bucket).into());
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Msg>, state: &mut State) -> Result<(), ActorProcessingErr> {
        state.flush();
        Ok(state.file.sync()?)
    }
}

impl State {
    fn gather(&mut self, myself: &ActorRef<Msg>, waiting: Waiting) {
        self.is_idle = false;
        self.waiting_bytes += waiting.finished.line.len();
        self.waiting.push(waiting);
        if self.waiting_bytes >= BATCH_BYTES {
            self.flush();
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
    }

    /// One write for all that waits. No await stands between the write and its bookkeeping.
    fn flush(&mut self) {
        self.flushed = Instant::now();
        self.waiting_bytes = 0;
        let mut batch = Batch(std::mem::take(&mut self.waiting));
        // A trace that another try has claimed or written is not appended again.
        batch.0.retain(|it| it.trace.claim());
        if batch.0.is_empty() {
            return;
        }
        #[cfg(test)]
        crate::faults::strike("writer");
        let lines: Vec<&[u8]> = batch.0.iter().map(|it| it.finished.line.as_slice()).collect();
        match self.append(&lines) {
            Ok(places) => {
                let stand = std::mem::take(&mut batch.0);
                // The outcome of all of them first: whatever fails from here on, none is written again.
                for waiting in &stand {
                    self.args.counters.ledger.count_recorded();
                    waiting.trace.written(self.args.bucket);
                }
                #[cfg(test)]
                crate::faults::strike("writer.appended");
                for (waiting, place) in stand.into_iter().zip(places) {
                    self.stands(waiting, place);
                }
            }
            Err(error) => {
                tracing::warn!(bucket = %self.args.bucket, %error, "lines could not be appended");
                self.args.counters.recording.append_errors.increment();
                for waiting in std::mem::take(&mut batch.0) {
                    waiting.trace.unclaim();
                    let _ = waiting.reply.send(Err(AppendFailed));
                }
            }
        }
    }

    #[cfg(not(test))]
    fn append(&mut self, lines: &[&[u8]]) -> Result<Vec<Place>, AppendError> {
        self.file.append(lines)
    }

    #[cfg(test)]
    fn append(&mut self, lines: &[&[u8]]) -> Result<Vec<Place>, AppendError> {
        if crate::faults::is_due("writer.refused") {
            let source = std::io::ErrorKind::StorageFull.into();
            return Err(AppendError::Write { segment: self.file.segment(), source });
        }
        self.file.append(lines)
    }

    fn stands(&self, waiting: Waiting, place: Place) {
        let Waiting { finished, reply, trace: _held_until_told } = waiting;
        count(&self.args.counters, &finished);
        // A row that the index has no room for is read back from the file.
        self.args.index.offer(finished.row.clone(), place);
        let _ = reply.send(Ok(Appended));
    }
}

/// Lines being written. Given back if writing them panics.
struct Batch(Vec<Waiting>);

impl Drop for Batch {
    fn drop(&mut self) {
        for waiting in &self.0 {
            waiting.trace.unclaim();
        }
    }
}

fn count(counters: &Counters, finished: &Finished) {
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
