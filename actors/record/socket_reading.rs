//! What was read of a socket, and what becomes of it: each piece that its reader gives is handed over as a trace.
//!
//! *Invariant:* every guard of the ledger that is taken here goes with a piece, or is counted as dropped.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use api_log::counters::{Counters, DropCause, InFlight};
use api_log::exchange::{End, Exchange};
use api_log::ids::{TraceIds, UnixMillis};
use api_log::protocol::Protocol;
use api_log::recording::Mark;
use api_log::socket::{PartLimits, Piece, SocketEnd, SocketLimits, SocketReader, SocketTrace, Unread};
use api_log::wire::websocket::Deflate;
use tokio::sync::broadcast;

use super::captured::Captured;
use super::cover::Stretch;
use super::held::{CapturedPiece, Content, PieceSource};
use super::intake::Intake;
use super::memory::{Memory, Share};
use super::open_socket::{Batch, Ended, Heard, Listening, News, Passed};

/// The longest message that is held for those who listen.
const MOST_FRAME_BYTES: usize = 64 * 1024;
/// A part of a socket is sealed when it holds so much.
const PART_BYTES: usize = 4 << 20;
/// And so long after its first event: a crash of the process loses no more than that of a socket.
const PART_AGE: Duration = Duration::from_secs(60);

/// What all readings share.
pub(crate) struct Shared {
    /// Where pieces go.
    pub(crate) intake: Arc<Intake>,
    /// The memory of all captures.
    pub(crate) memory: Arc<Memory>,
    /// The process's counters.
    pub(crate) counters: Arc<Counters>,
    /// Makes the ids.
    pub(crate) ids: Arc<TraceIds>,
    /// Recording cap of a body, for sockets that are opened from now on.
    pub(crate) max_body_bytes: Arc<AtomicU64>,
    /// At most this many traces wait to be finalized.
    pub(crate) max_waiting: usize,
}

impl Shared {
    /// What a socket's reader may hold: of messages and turns no more than of a body.
    fn limits(&self) -> SocketLimits {
        let mut limits = SocketLimits::default();
        let most = usize::try_from(self.max_body_bytes.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        limits.messages.message_bytes = limits.messages.message_bytes.min(most);
        limits.turns.turn_bytes = limits.turns.turn_bytes.min(most);
        limits.parts = PartLimits { part_bytes: PART_BYTES, part_us: PART_AGE.as_micros() as u64, ..limits.parts };
        limits
    }
}

/// One socket's reading.
pub(crate) struct Reading {
    opening: Arc<Captured>,
    /// What of its log the pieces that it gives are made from.
    stretch: Arc<Stretch>,
    /// Where the batches begin that may hold something of what is open, in the log and in time.
    begins: VecDeque<(u64, u64)>,
    /// Where in the log the last batch ends that was read.
    read_until: u64,
    handshake: Option<Arc<Exchange>>,
    state: State,
    /// What the reader is at; still here after it failed.
    under_way: Option<News>,
    /// What it gave and was not handed over yet.
    pieces: Vec<Piece>,
    /// Those of the exchange that opened the socket, and of each piece that has begun.
    guards: Vec<InFlight>,
    /// What the reader holds.
    share: Share,
    given: Given,
    listening: Listening,
}

enum State {
    /// Nothing was read yet.
    New,
    /// All is well.
    Reading(Box<SocketReader>),
    /// The reader failed. From here on bytes are counted only.
    Counting(Box<Unread>),
    /// The socket has ended, and all was handed over.
    Over,
}

/// How many pieces of each kind were given.
#[derive(Default)]
struct Given {
    turns: u64,
    parts: u64,
    unread: u64,
}

/// Tells those who listen what was said. Nobody waits for them.
fn tell(listeners: &broadcast::Sender<Arc<Heard>>, reader: &mut SocketReader) {
    for event in reader.take_heard() {
        let Some(frame) = event.frame() else { continue };
        let frame = (frame.len() <= MOST_FRAME_BYTES).then_some(frame);
        // An error means that the last of them has just left.
        let _ = listeners.send(Arc::new(Heard { side: event.side, frame }));
    }
}

impl Reading {
    /// Nothing was read yet of the socket that this exchange opened.
    pub(super) fn new(mut opening: Captured, memory: &Arc<Memory>, listening: Listening) -> Reading {
        let guards = opening.in_flight.take().into_iter().collect();
        let opening = Arc::new(opening);
        Reading {
            stretch: Stretch::first(opening.clone()),
            begins: VecDeque::new(),
            read_until: 0,
            opening,
            handshake: None,
            state: State::New,
            under_way: None,
            pieces: Vec::new(),
            guards,
            share: Share::none(memory),
            given: Given::default(),
            listening,
        }
    }

    /// Whether the socket has ended and all of it was handed over.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Whether something is open that comes due by its age.
    pub(super) fn has_open_pieces(&self) -> bool {
        matches!(&self.state, State::Reading(reader) if reader.open_pieces() > 0)
    }

    /// Reads what a tunnel told.
    pub(super) fn read(&mut self, news: News, shared: &Shared) {
        self.handshake(shared);
        self.under_way = Some(news);
        match &self.under_way {
            Some(News::Passed(batch)) => {
                fault!("socket");
                match &mut self.state {
                    State::Reading(reader) => {
                        let listeners = self.listening.get().filter(|it| it.receiver_count() > 0);
                        reader.listen(listeners.is_some());
                        pass(batch, reader, &mut self.pieces, shared);
                        listeners.into_iter().for_each(|listeners| tell(listeners, reader));
                        self.share.set(reader.held_bytes() as u64);
                    }
                    State::Counting(unread) => count(batch, unread),
                    State::New | State::Over => {}
                }
                let (logged, begins_us) = (batch.logged.clone(), batch.begins_us());
                self.under_way = None;
                self.give(None, shared);
                self.begins.extend(begins_us.map(|at_us| (logged.start, at_us)));
                self.read_until = self.read_until.max(logged.end);
                self.cover(self.read_until);
            }
            Some(News::Ended(ended)) => {
                let ended = *ended;
                self.end(ended, shared);
                self.under_way = None;
            }
            None => {}
        }
    }

    /// Hands over what is due by its age, `now_us` after the exchange began.
    pub(super) fn tick(&mut self, now_us: u64, shared: &Shared) {
        if let State::Reading(reader) = &mut self.state {
            self.under_way = Some(News::Passed(Batch::new(&shared.memory)));
            reader.tick(now_us, &mut self.pieces);
            self.under_way = None;
            self.share.set(reader.held_bytes() as u64);
        }
        self.give(None, shared);
        self.cover(self.read_until);
    }

    /// Notes how far everything was given: up to `end`, or to the batch in which the oldest began that is open.
    fn cover(&mut self, end: u64) {
        let open_since = match &self.state {
            State::Reading(reader) => reader.open_since_us(),
            State::New | State::Counting(_) | State::Over => None,
        };
        let covered = match open_since {
            None => {
                self.begins.clear();
                Some(end)
            }
            Some(since) => {
                let behind = self.begins.partition_point(|(_, at_us)| *at_us <= since).saturating_sub(1);
                self.begins.drain(..behind);
                self.begins.front().filter(|_| behind > 0).map(|(offset, _)| *offset)
            }
        };
        if let Some(covered) = covered {
            self.stretch = self.stretch.next(covered);
        }
    }

    /// The actor that read failed in the middle: saves what there is and goes on without a reader.
    pub(super) fn recover(&mut self, now_us: u64, shared: &Shared) {
        let Some(news) = self.under_way.take() else { return };
        shared.counters.recording.socket_readers_failed.increment();
        self.give(None, shared);
        if let State::Reading(reader) = std::mem::replace(&mut self.state, State::Counting(Box::default())) {
            // Whatever state it is in: what can be had of it is cut here.
            let rest = catch_unwind(AssertUnwindSafe(|| {
                let mut rest = Vec::new();
                let summary = reader.finish(now_us, &mut rest);
                (rest, summary)
            }));
            if let Ok((rest, summary)) = rest {
                self.pieces = rest;
                let ended = SocketEnd {
                    end: End::Interrupted,
                    left: None,
                    summary: Some(summary),
                    error: Some("the reader of this socket failed".into()),
                };
                self.give(Some(ended), shared);
            }
        }
        self.share.set(0);
        match news {
            // What it failed on, as it came.
            News::Passed(batch) if !batch.is_empty() => {
                self.pieces.push(Piece::Unread(Box::new(unread(&batch))));
                self.give(None, shared);
            }
            News::Passed(_) => {}
            News::Ended(ended) => self.end(ended, shared),
        }
        self.drop_guards(shared);
    }

    /// The socket has ended.
    pub(super) fn end(&mut self, ended: Ended, shared: &Shared) {
        self.handshake(shared);
        let summary = match std::mem::replace(&mut self.state, State::Over) {
            State::Reading(reader) => Some(reader.finish(ended.at_us, &mut self.pieces)),
            State::Counting(unread) => {
                if unread.client.wire_bytes + unread.server.wire_bytes > 0 || !self.guards.is_empty() {
                    self.pieces.push(Piece::Unread(unread));
                }
                None
            }
            State::New | State::Over => None,
        };
        self.share.set(0);
        let error = summary.is_none().then(|| "the reader of this socket failed; its bytes were counted".into());
        self.give(Some(SocketEnd { end: ended.end, left: ended.left, summary, error }), shared);
        self.drop_guards(shared);
    }

    /// The exchange that opened the socket; its heads are read once, and the reader begins by them.
    fn handshake(&mut self, shared: &Shared) -> Arc<Exchange> {
        let handshake = self.handshake.get_or_insert_with(|| Arc::new(self.opening.exchange())).clone();
        if let State::New = self.state {
            let protocol = Protocol::of(&handshake.method, &handshake.target);
            let deflate = Deflate::negotiated(&handshake.response_headers);
            self.state = State::Reading(Box::new(SocketReader::new(protocol, deflate, shared.limits())));
        }
        handshake
    }

    /// Hands over the pieces there are, and has a guard for each piece that is open.
    fn give(&mut self, ended: Option<SocketEnd>, shared: &Shared) {
        for piece in std::mem::take(&mut self.pieces) {
            self.hand_over(piece, ended.clone(), shared);
        }
        if let State::Reading(reader) = &self.state {
            while self.guards.len() < reader.open_pieces() {
                self.guards.push(shared.counters.ledger.accept());
            }
        }
    }

    fn hand_over(&mut self, piece: Piece, ended: Option<SocketEnd>, shared: &Shared) {
        let handshake = self.handshake(shared);
        let ledger = &shared.counters.ledger;
        let in_flight = self.guards.pop().unwrap_or_else(|| ledger.accept());
        let is_first = self.given.turns + self.given.parts + self.given.unread == 0;
        let given = match &piece {
            Piece::Turn(_) => &mut self.given.turns,
            Piece::Part(_) => &mut self.given.parts,
            Piece::Unread(_) => &mut self.given.unread,
        };
        let number = *given;
        *given += 1;
        if shared.intake.ended.len() >= shared.max_waiting {
            ledger.count_dropped(DropCause::WriterFull);
            return;
        }
        let mut share = Share::none(&shared.memory);
        share.set(piece.held_bytes() as u64);
        let id = if is_first { handshake.id } else { shared.ids.next(UnixMillis::now()) };
        shared.intake.ended.push(Content::Piece(Box::new(CapturedPiece {
            trace: SocketTrace { id, handshake, number, piece, ended },
            handed_over: Instant::now(),
            _share: share,
            source: PieceSource::Read(self.stretch.clone()),
            _in_flight: in_flight,
        })));
    }

    /// Guards of pieces that went down with their reader.
    fn drop_guards(&mut self, shared: &Shared) {
        for guard in self.guards.drain(..) {
            shared.counters.ledger.count_dropped(DropCause::FinalizeFail);
            drop(guard);
        }
    }
}

/// A socket that nobody reads any more: the recorder ended first.
impl Drop for Reading {
    fn drop(&mut self) {
        for guard in self.guards.drain(..) {
            guard.ledger().count_dropped(DropCause::Shutdown);
        }
    }
}

fn pass(batch: &Batch, reader: &mut SocketReader, out: &mut Vec<Piece>, shared: &Shared) {
    for (side, at_us, passed) in batch.chunks() {
        match passed {
            Passed::Bytes(bytes) => reader.push(side, bytes, at_us, out),
            Passed::Missed(bytes) => {
                shared.counters.recording.socket_bytes_missed.add(bytes);
                reader.skip(side, bytes, out);
            }
        }
    }
}

fn count(batch: &Batch, unread: &mut Unread) {
    for (side, at_us, passed) in batch.chunks() {
        let recording = unread.side(side);
        recording.is_cut = true;
        if recording.marks.is_empty() {
            recording.marks.push(Mark { offset: 0, at_us });
        }
        recording.wire_bytes += match passed {
            Passed::Bytes(bytes) => bytes.len() as u64,
            Passed::Missed(bytes) => bytes,
        };
    }
}

fn unread(batch: &Batch) -> Unread {
    let mut unread = Unread::default();
    for (side, at_us, passed) in batch.chunks() {
        let recording = unread.side(side);
        match passed {
            Passed::Bytes(bytes) => {
                if !recording.is_cut {
                    recording.marks.push(Mark { offset: recording.bytes.len() as u64, at_us });
                    recording.bytes.extend_from_slice(bytes);
                }
                recording.wire_bytes += bytes.len() as u64;
            }
            Passed::Missed(bytes) => {
                recording.is_cut = true;
                recording.wire_bytes += bytes;
            }
        }
    }
    unread
}
