//! An exchange being captured.
//!
//! It is shared by the exchange's parts: the service future, the two body taps, a tunnel. Whoever lets go
//! last ends it, so there is no way for an exchange to end that leaves no trace. Its lock is its own.
//! Nothing here waits, parses or touches a disk.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use api_log::capture::record::{self, Ended, Kind};
use api_log::counters::{Counters, DropCause, InFlight};
use api_log::exchange::End;
use api_log::ids::{TraceIds, UnixMillis};
use api_log::plugin::note::{MOST_FAILURES, MOST_NOTES, Note};
use api_log::plugin::set::Set;
use parking_lot::Mutex;

use super::client::Client;
use super::socket_tap::SocketTap;
use crate::plugins::InForce;
use crate::record::{Captured, CapturedLog, Content, Log, LogShared, Need, OpenSocket};

/// So many ended exchanges may wait whatever memory they take.
const LEAST_WAITING: usize = 1024;

/// What every capture of a recorder needs.
pub(crate) struct Recorder {
    /// Where captures are written, and go when they have ended.
    pub(crate) logs: Arc<LogShared>,
    /// The process's counters.
    pub(crate) counters: Arc<Counters>,
    /// Makes the ids.
    pub(crate) ids: Arc<TraceIds>,
    /// Recording cap of each direction, from now on.
    pub(crate) max_body_bytes: Arc<AtomicU64>,
    /// At most this many ended exchanges wait.
    pub(crate) max_waiting: usize,
    /// The configured upstream.
    pub(crate) upstream: Arc<str>,
    /// The plugins that each exchange begins with.
    pub(crate) plugins: Arc<InForce>,
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
    log: Arc<Log>,
    plugins: Arc<Set>,
    notes: AtomicUsize,
    started: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    /// `None` once the exchange has become a socket: its ends are no longer told here.
    in_flight: Option<InFlight>,
    request: Side,
    response: Side,
    end: Option<End>,
    last: Duration,
    error: Option<Box<str>>,
}

#[derive(Default)]
struct Side {
    recorded: u64,
    wire_bytes: u64,
    is_cut: bool,
}

impl Capture {
    /// Begins the capture of a request whose head is `request_head`, under these plugins.
    pub(crate) fn begin(
        recorder: &Arc<Recorder>,
        plugins: Arc<Set>,
        peer: SocketAddr,
        request_head: &[u8],
    ) -> Arc<Capture> {
        let ts_start = UnixMillis::now();
        let started = Instant::now();
        let id = recorder.ids.next(ts_start);
        Arc::new(Capture {
            log: Log::begin(&recorder.logs, id, ts_start, peer, &recorder.upstream, request_head),
            plugins,
            notes: AtomicUsize::new(0),
            started,
            inner: Mutex::new(Inner {
                in_flight: Some(recorder.counters.ledger.accept()),
                request: Side::default(),
                response: Side::default(),
                end: None,
                last: Duration::ZERO,
                error: None,
            }),
            recorder: recorder.clone(),
        })
    }

    /// Records a chunk that passes now.
    pub(crate) fn chunk(&self, direction: Direction, chunk: &[u8], now: Instant) {
        let mut inner = self.inner.lock();
        inner.last = now.saturating_duration_since(self.started);
        let at_us = inner.last.as_micros() as u64;
        inner.side(direction).push(chunk, at_us, direction, self);
    }

    /// Records the trailers of a body.
    pub(crate) fn trailers(&self, direction: Direction, fields: &hyper::HeaderMap) {
        let kind = match direction {
            Direction::Request => Kind::RequestTrailers,
            Direction::Response => Kind::ResponseTrailers,
        };
        let fields = record::fields(fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
        // As they came with a head's limits, so are they kept with a head's right.
        self.log.append(kind, self.now_us(), &fields, Need::Vital);
    }

    /// The answer's head is here.
    pub(crate) fn answered(&self, status: u16, head: &[u8]) {
        let mut inner = self.inner.lock();
        inner.last = self.started.elapsed();
        let at_us = inner.last.as_micros() as u64;
        self.log.append(Kind::Answer, at_us, &status.to_le_bytes(), Need::Vital);
        self.log.append(Kind::AnswerHead, at_us, head, Need::Vital);
    }

    /// The request goes on with another head than it came with.
    pub(crate) fn sent_head(&self, head: &[u8]) {
        self.log.append(Kind::RequestHeadSent, self.now_us(), head, Need::Vital);
    }

    /// A plugin did something to it: that goes onto its line. Of more than a line tells the rest is left out.
    pub(crate) fn note(&self, note: &Note) {
        if self.notes.fetch_add(1, Ordering::Relaxed) < MOST_NOTES + MOST_FAILURES {
            self.log.append(Kind::Plugin, self.now_us(), &note.encode(), Need::Vital);
        }
    }

    /// The exchange has become a WebSocket: from here on its tap tells of it, and nobody else.
    pub(crate) fn become_socket(&self, client: &Arc<Client>) -> SocketTap {
        let opening = self.captured(self.inner.lock().in_flight.take());
        self.log.append(Kind::Socket, self.now_us(), &[], Need::Vital);
        let socket = OpenSocket::new(opening, self.log.clone(), self.started, &self.recorder.logs.memory);
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

    fn now_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    fn captured(&self, in_flight: Option<InFlight>) -> Captured {
        let log = CapturedLog::Live(self.log.clone());
        Captured { log, plugins: Some(self.plugins.clone()), handed_over: Instant::now(), in_flight }
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
}

impl Side {
    fn push(&mut self, chunk: &[u8], at_us: u64, direction: Direction, capture: &Capture) {
        self.wire_bytes += chunk.len() as u64;
        capture.log.passed(direction as usize, self.wire_bytes);
        if self.is_cut || chunk.is_empty() {
            return;
        }
        let Capture { recorder, log, .. } = capture;
        let (kind, cut) = match direction {
            Direction::Request => (Kind::RequestBody, Kind::RequestCut),
            Direction::Response => (Kind::ResponseBody, Kind::ResponseCut),
        };
        let room = recorder.max_body_bytes.load(Ordering::Relaxed).saturating_sub(self.recorded);
        let wanted = &chunk[..chunk.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        let kept = if wanted.is_empty() { 0 } else { log.append(kind, at_us, wanted, Need::WithinBudget) };
        self.recorded += kept as u64;
        if kept < wanted.len() {
            recorder.counters.recording.capture_memory_cut.increment();
        }
        if kept < chunk.len() {
            self.is_cut = true;
            log.append(cut, at_us, &record::number(self.wire_bytes), Need::Vital);
        }
    }
}

/// The last part has let go: hand over, or drop and count.
impl Drop for Capture {
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        let Some(in_flight) = inner.in_flight.take() else { return };
        let recorder = &self.recorder;
        let waiting = recorder.logs.intake.ended.len();
        // Each capture has some memory, whether there is room or not: so it is those that wait that must become fewer.
        let is_too_much = waiting > LEAST_WAITING && recorder.logs.memory.is_exceeded();
        if waiting >= recorder.max_waiting || is_too_much {
            let cause = if is_too_much { DropCause::BudgetFull } else { DropCause::WriterFull };
            recorder.counters.ledger.count_dropped(cause);
            self.log.clone().discard();
            return;
        }
        let last = if inner.end.is_some() { inner.last } else { self.started.elapsed() };
        let ended = Ended {
            end: inner.end.unwrap_or(End::ClientGone),
            request_bytes: inner.request.wire_bytes,
            response_bytes: inner.response.wire_bytes,
            error: inner.error.take(),
        };
        self.log.append(Kind::End, last.as_micros() as u64, &ended.encode(), Need::Vital);
        let captured = self.captured(Some(in_flight));
        self.recorder.logs.intake.ended.push(Content::Exchange(captured));
    }
}
