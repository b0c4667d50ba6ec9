//! An exchange being captured.
//!
//! It is shared by the exchange's parts: the service future, the two body taps, a tunnel. Whoever lets go
//! last ends it, so there is no way for an exchange to end that leaves no trace. Its lock is its own.
//! Nothing here waits, parses or touches a disk.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use api_log::counters::{Counters, DropCause, InFlight};
use api_log::exchange::End;
use api_log::headers::Headers;
use api_log::ids::{TraceId, TraceIds, UnixMillis};
use api_log::recording::Mark;
use parking_lot::Mutex;

use super::client::Client;
use super::socket_tap::SocketTap;
use crate::record::{
    Block, Captured, CapturedBody, Content, Intake, MOST_SPILLS, Memory, OpenSocket, Share, SpillOrder, SpoolFile,
};

/// A full tail becomes a block of this size, which can move to disk by itself.
const BLOCK_BYTES: usize = 256 * 1024;
/// A body of unknown length starts with this much room.
const FIRST_BYTES: usize = 1024;

/// What every capture of a recorder needs.
pub(crate) struct Recorder {
    /// Where ended exchanges go.
    pub(crate) intake: Arc<Intake>,
    /// The memory of all captures.
    pub(crate) memory: Arc<Memory>,
    /// The process's counters.
    pub(crate) counters: Arc<Counters>,
    /// Makes the ids.
    pub(crate) ids: Arc<TraceIds>,
    /// The folder of spooled bodies.
    pub(crate) tmp: PathBuf,
    /// Recording cap of each direction, from now on.
    pub(crate) max_body_bytes: Arc<AtomicU64>,
    /// What one direction keeps in memory before it spools.
    pub(crate) spill_bytes: u64,
    /// At most this many ended exchanges wait.
    pub(crate) max_waiting: usize,
    /// The configured upstream.
    pub(crate) upstream: Arc<str>,
}

/// Which of the two bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client.
    Request,
    /// From the upstream.
    Response,
}

/// An exchange under way.
pub(crate) struct Capture {
    recorder: Arc<Recorder>,
    id: TraceId,
    ts_start: UnixMillis,
    started: Instant,
    peer: SocketAddr,
    inner: Mutex<Inner>,
}

struct Inner {
    /// `None` once the exchange has become a socket: its ends are no longer told here.
    in_flight: Option<InFlight>,
    request_head: Vec<u8>,
    answer: Option<(u16, Vec<u8>)>,
    request: Side,
    response: Side,
    request_trailers: Headers,
    response_trailers: Headers,
    end: Option<End>,
    ttfb_ms: Option<u64>,
    last: Duration,
    error: Option<Box<str>>,
}

struct Side {
    blocks: Vec<Arc<Block>>,
    tail: Vec<u8>,
    marks: Vec<Mark>,
    recorded: u64,
    in_memory: u64,
    wire_bytes: u64,
    is_cut: bool,
    share: Share,
    spool: Option<Arc<SpoolFile>>,
}

impl Capture {
    /// Begins the capture of a request whose head is `request_head`.
    pub(crate) fn begin(recorder: &Arc<Recorder>, peer: SocketAddr, request_head: Vec<u8>) -> Arc<Capture> {
        let ts_start = UnixMillis::now();
        let mut request = Side::new(&recorder.memory);
        // A head is kept even where the budget has no room for it: without it there is no trace.
        let _ = request.share.grow(request_head.len() as u64);
        Arc::new(Capture {
            id: recorder.ids.next(ts_start),
            ts_start,
            started: Instant::now(),
            peer,
            inner: Mutex::new(Inner {
                in_flight: Some(recorder.counters.ledger.accept()),
                request_head,
                answer: None,
                request,
                response: Side::new(&recorder.memory),
                request_trailers: Headers::new(),
                response_trailers: Headers::new(),
                end: None,
                ttfb_ms: None,
                last: Duration::ZERO,
                error: None,
            }),
            recorder: recorder.clone(),
        })
    }

    /// Makes room for a body whose length is known.
    pub(crate) fn expect(&self, direction: Direction, bytes: u64) {
        let room = bytes.min(self.recorder.max_body_bytes.load(Ordering::Relaxed)).min(BLOCK_BYTES as u64);
        self.inner.lock().side(direction).reserve(room as usize);
    }

    /// Records a chunk that passes now.
    pub(crate) fn chunk(&self, direction: Direction, chunk: &[u8], now: Instant) {
        let mut inner = self.inner.lock();
        inner.last = now.saturating_duration_since(self.started);
        let at_us = inner.last.as_micros() as u64;
        let side = inner.side(direction);
        side.push(chunk, at_us, &self.recorder, || {
            let suffix = if direction == Direction::Request { "req" } else { "resp" };
            self.recorder.tmp.join(format!("{}.{suffix}.bin", self.id))
        });
    }

    /// Records the trailers of a body.
    pub(crate) fn trailers(&self, direction: Direction, fields: &hyper::HeaderMap) {
        let trailers = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let mut inner = self.inner.lock();
        match direction {
            Direction::Request => inner.request_trailers = trailers,
            Direction::Response => inner.response_trailers = trailers,
        }
    }

    /// The answer's head is here.
    pub(crate) fn answered(&self, status: u16, head: Vec<u8>) {
        let mut inner = self.inner.lock();
        inner.last = self.started.elapsed();
        inner.ttfb_ms = Some(inner.last.as_millis() as u64);
        // As for the request's head.
        let _ = inner.response.share.grow(head.len() as u64);
        inner.answer = Some((status, head));
    }

    /// The exchange has become a WebSocket: from here on its tap tells of it, and nobody else.
    pub(crate) fn become_socket(&self, client: &Arc<Client>) -> SocketTap {
        let mut inner = self.inner.lock();
        let opening = inner.take(self.id, self.ts_start, self.peer, self.started.elapsed(), &self.recorder);
        let socket = OpenSocket::new(opening, self.started, &self.recorder.memory);
        SocketTap::open(self.recorder.clone(), socket, client.clone())
    }

    /// Tells how it ended. What is told first stands: later endings are its consequences.
    pub(crate) fn ended(&self, end: End) {
        self.inner.lock().end(end, self.started);
    }

    /// Tells how it ended, with a word on why.
    pub(crate) fn failed(&self, end: End, error: &str) {
        let mut inner = self.inner.lock();
        if inner.end.is_none() {
            inner.error = Some(error.into());
        }
        inner.end(end, self.started);
    }
}

impl Inner {
    fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }

    fn end(&mut self, end: End, started: Instant) {
        if self.end.is_none() {
            self.end = Some(end);
            self.last = started.elapsed();
        }
    }

    /// All that is known of the exchange, which ended `last` after it began.
    fn take(
        &mut self,
        id: TraceId,
        ts_start: UnixMillis,
        peer: SocketAddr,
        last: Duration,
        recorder: &Recorder,
    ) -> Captured {
        let memory = &recorder.memory;
        Captured {
            id,
            ts_start,
            ts_end: UnixMillis(ts_start.0 + last.as_millis() as i64),
            peer,
            upstream: recorder.upstream.clone(),
            request_head: std::mem::take(&mut self.request_head),
            answer: self.answer.take(),
            request: std::mem::replace(&mut self.request, Side::new(memory)).captured(),
            response: std::mem::replace(&mut self.response, Side::new(memory)).captured(),
            request_trailers: std::mem::take(&mut self.request_trailers),
            response_trailers: std::mem::take(&mut self.response_trailers),
            end: self.end.unwrap_or(End::ClientGone),
            ttfb_ms: self.ttfb_ms,
            error: self.error.take(),
            handed_over: Instant::now(),
            in_flight: self.in_flight.take(),
        }
    }
}

impl Side {
    fn new(memory: &Arc<Memory>) -> Side {
        Side {
            blocks: Vec::new(),
            tail: Vec::new(),
            marks: Vec::new(),
            recorded: 0,
            in_memory: 0,
            wire_bytes: 0,
            is_cut: false,
            share: Share::none(memory),
            spool: None,
        }
    }

    fn push(&mut self, chunk: &[u8], at_us: u64, recorder: &Recorder, path: impl FnOnce() -> PathBuf) {
        self.wire_bytes += chunk.len() as u64;
        if self.is_cut || chunk.is_empty() {
            return;
        }
        let room = recorder.max_body_bytes.load(Ordering::Relaxed).saturating_sub(self.recorded);
        let mut kept = chunk;
        if chunk.len() as u64 > room {
            kept = &chunk[..room as usize];
            self.is_cut = true;
        }
        // Times are told in milliseconds, so one mark serves all chunks of the same one.
        if self.marks.last().is_none_or(|last| last.at_us / 1000 != at_us / 1000) {
            self.marks.push(Mark { offset: self.recorded, at_us });
        }
        if self.tail.len() + kept.len() > BLOCK_BYTES && !self.tail.is_empty() {
            self.freeze(recorder, path);
        }
        if !self.reserve(kept.len()) {
            self.is_cut = true;
            recorder.counters.recording.capture_memory_cut.increment();
            return;
        }
        self.tail.extend_from_slice(kept);
        self.recorded += kept.len() as u64;
    }

    /// Room for `more` bytes in the tail, taken from the budget as it grows by doubling.
    fn reserve(&mut self, more: usize) -> bool {
        let needed = self.tail.len() + more;
        if needed <= self.tail.capacity() {
            return true;
        }
        let doubled = (self.tail.capacity() * 2).min(BLOCK_BYTES);
        let capacity = needed.max(doubled).max(if self.tail.is_empty() { more } else { FIRST_BYTES });
        let grown = capacity - self.tail.capacity();
        if !self.share.grow(grown as u64) {
            return false;
        }
        self.in_memory += grown as u64;
        self.tail.reserve_exact(capacity - self.tail.len());
        true
    }

    /// Makes a block of the tail; past its share of memory it is to move to disk.
    fn freeze(&mut self, recorder: &Recorder, path: impl FnOnce() -> PathBuf) {
        let block = Block::new(std::mem::take(&mut self.tail), self.share.split());
        self.blocks.push(block.clone());
        let is_large = self.in_memory > recorder.spill_bytes || recorder.memory.is_tight();
        if is_large && recorder.intake.spills.len() < MOST_SPILLS {
            self.in_memory = 0;
            let file = self.spool.get_or_insert_with(|| SpoolFile::new(path())).clone();
            recorder.intake.spills.push(SpillOrder { block: Arc::downgrade(&block), file });
        }
    }

    fn captured(self) -> CapturedBody {
        CapturedBody {
            blocks: self.blocks,
            tail: self.tail,
            marks: self.marks,
            wire_bytes: self.wire_bytes,
            is_cut: self.is_cut,
            _share: self.share,
        }
    }
}

/// The last part has let go: hand over, or drop and count.
impl Drop for Capture {
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        if inner.in_flight.is_none() {
            return;
        }
        let recorder = &self.recorder;
        if recorder.intake.ended.len() >= recorder.max_waiting {
            recorder.counters.ledger.count_dropped(DropCause::WriterFull);
            return;
        }
        let last = if inner.end.is_some() { inner.last } else { self.started.elapsed() };
        let captured = inner.take(self.id, self.ts_start, self.peer, last, recorder);
        recorder.intake.ended.push(Content::Exchange(captured));
    }
}
