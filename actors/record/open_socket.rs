//! An upgraded connection between its tunnel on a lane and its reader on the recording side.
//!
//! The tunnel leaves [`Batch`]es of what passed in the socket's own queue. What the reader knows stands here too,
//! not in an actor, so that it outlives one that fails.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use api_log::exchange::End;
use api_log::ids::TraceId;
use api_log::wire::websocket::Side;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::captured::Captured;
use super::intake::Queue;
use super::log::Log;
use super::memory::{Memory, Share};
use super::socket;
use super::socket_reading::Reading;
use crate::kit::Slot;

/// A batch is handed over when it holds so many bytes.
const FULL_BYTES: usize = 64 * 1024;
/// Or so many chunks.
const FULL_CHUNKS: usize = 1024;
/// Batches that may wait for a socket's reader. The next is kept by the tunnel, and what passes then is only counted.
pub(crate) const MOST_NEWS: usize = 1024;
/// Messages that may wait for somebody who listens; who is slower misses the oldest.
const MOST_HEARD: usize = 64;
/// A batch starts with this much room.
const FIRST_BYTES: usize = 1024;

/// A socket that is open, or not yet read to its end.
pub(crate) struct OpenSocket {
    /// Its identity: that of the exchange that opened it.
    pub(crate) id: TraceId,
    /// When that exchange began.
    pub(crate) started: Instant,
    /// The log of both.
    pub(crate) log: Arc<Log>,
    /// What its tunnel tells.
    pub(crate) news: Queue<News>,
    /// Its actor.
    pub(crate) slot: Slot<socket::Msg>,
    /// What was read of it.
    pub(crate) reading: Mutex<Reading>,
    listening: Listening,
}

/// Where messages go for those who listen; nowhere before somebody does.
pub(super) type Listening = Arc<OnceLock<broadcast::Sender<Arc<Heard>>>>;

/// A message that passed, for those who listen.
pub(crate) struct Heard {
    /// Who sent it.
    pub(crate) side: Side,
    /// As a replay gives it; `None` for one that is too long to be held for who listens.
    pub(crate) frame: Option<String>,
}

/// What a tunnel tells.
pub(crate) enum News {
    /// Bytes passed.
    Passed(Batch),
    /// Both directions have ended.
    Ended(Ended),
}

/// How a tunnel ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// How.
    pub(crate) end: End,
    /// Which side was the first to end its direction in order.
    pub(crate) left: Option<Side>,
    /// When, in microseconds since the exchange began.
    pub(crate) at_us: u64,
}

/// Bytes that passed in both directions, in order of arrival.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    chunks: Vec<Chunk>,
    share: Share,
    /// Where in the socket's log its bytes begin and end.
    pub(crate) logged: Range<u64>,
    /// Nothing more is copied: the bytes of client and gateway since, and when the last of them passed.
    closed: Option<[u64; 2]>,
    last_us: u64,
}

/// So many bytes of one side, of about one moment.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    side: Side,
    length: usize,
    at_us: u64,
    /// The memory budget had no room for them: they are not in the copy.
    is_missed: bool,
}

/// What of a batch comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed<'b> {
    /// These bytes.
    Bytes(&'b [u8]),
    /// So many bytes that are not in the copy.
    Missed(u64),
}

impl OpenSocket {
    /// The socket that the exchange `opening`, which began at `started`, has opened.
    pub(crate) fn new(opening: Captured, log: Arc<Log>, started: Instant, memory: &Arc<Memory>) -> Arc<OpenSocket> {
        let slot: Slot<socket::Msg> = Slot::new();
        let address = slot.clone();
        let listening = Listening::default();
        Arc::new(OpenSocket {
            id: opening.id(),
            started,
            log,
            // Nobody there: the actor looks at the queue when it starts.
            news: Queue::new(move || drop(address.cast(socket::Msg::Look))),
            slot,
            reading: Mutex::new(Reading::new(opening, memory, listening.clone())),
            listening,
        })
    }

    /// Listens to the messages that pass from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<Heard>> {
        self.listening.get_or_init(|| broadcast::Sender::new(MOST_HEARD)).subscribe()
    }
}

impl Batch {
    /// An empty one, whose bytes are taken from this budget.
    pub(crate) fn new(memory: &Arc<Memory>) -> Batch {
        let share = Share::none(memory);
        Batch { bytes: Vec::new(), chunks: Vec::new(), share, logged: 0..0, closed: None, last_us: 0 }
    }

    /// Copies bytes that passed; what the budget has no room for is counted.
    pub(crate) fn push(&mut self, side: Side, bytes: &[u8], at_us: u64) {
        if let Some(since) = &mut self.closed {
            since[usize::from(side == Side::Server)] += bytes.len() as u64;
            self.last_us = at_us;
            return;
        }
        let is_missed = !self.reserve(bytes.len());
        if !is_missed {
            self.bytes.extend_from_slice(bytes);
        }
        match self.chunks.last_mut() {
            // Times are told in milliseconds, so one entry serves all chunks of the same one.
            Some(last) if last.side == side && last.is_missed == is_missed && last.at_us / 1000 == at_us / 1000 => {
                last.length += bytes.len();
            }
            _ => self.chunks.push(Chunk { side, length: bytes.len(), at_us, is_missed }),
        }
    }

    /// When its first byte passed.
    pub(crate) fn begins_us(&self) -> Option<u64> {
        self.chunks.first().map(|it| it.at_us)
    }

    /// Copies nothing more: whatever passes until it is handed over is counted as missed, however much that is.
    pub(crate) fn close(&mut self) {
        self.closed.get_or_insert([0, 0]);
    }

    /// Whether nothing passed.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether it is time to hand it over.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= FULL_BYTES || self.chunks.len() >= FULL_CHUNKS
    }

    /// What passed: who sent it, and when.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (Side, u64, Passed<'_>)> {
        let mut rest = self.bytes.as_slice();
        let since = self.closed.unwrap_or_default();
        let since = [(Side::Client, since[0]), (Side::Server, since[1])].into_iter().filter(|(_, bytes)| *bytes > 0);
        let since = since.map(|(side, bytes)| (side, self.last_us, Passed::Missed(bytes)));
        let copied = self.chunks.iter().map(move |chunk| {
            if chunk.is_missed {
                return (chunk.side, chunk.at_us, Passed::Missed(chunk.length as u64));
            }
            let (bytes, others) = rest.split_at(chunk.length);
            rest = others;
            (chunk.side, chunk.at_us, Passed::Bytes(bytes))
        });
        copied.chain(since)
    }

    /// Room for `more` bytes, taken from the budget as it grows by doubling.
    fn reserve(&mut self, more: usize) -> bool {
        let needed = self.bytes.len() + more;
        if needed <= self.bytes.capacity() {
            return true;
        }
        let capacity = needed.max((self.bytes.capacity() * 2).min(FULL_BYTES)).max(FIRST_BYTES);
        if !self.share.grow((capacity - self.bytes.capacity()) as u64) {
            return false;
        }
        self.bytes.reserve_exact(capacity - self.bytes.len());
        true
    }
}

/// Every socket whose traces have not all been handed over.
#[derive(Default)]
pub(crate) struct OpenSockets(Mutex<HashMap<TraceId, Arc<OpenSocket>>>);

impl OpenSockets {
    /// Takes a socket in.
    pub(crate) fn add(&self, socket: Arc<OpenSocket>) {
        self.0.lock().insert(socket.id, socket);
    }

    /// Lets a socket go.
    pub(crate) fn remove(&self, id: TraceId) {
        self.0.lock().remove(&id);
    }

    /// A socket by its id.
    pub(crate) fn get(&self, id: TraceId) -> Option<Arc<OpenSocket>> {
        self.0.lock().get(&id).cloned()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<OpenSocket>> {
        self.0.lock().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(batch: &Batch) -> Vec<(Side, u64, Passed<'_>)> {
        batch.chunks().collect()
    }

    #[test]
    fn a_batch_gives_both_directions_back_in_order() {
        let mut batch = Batch::new(&Memory::new(1 << 20));
        assert!(batch.is_empty());
        batch.push(Side::Client, b"ab", 1_000);
        batch.push(Side::Client, b"c", 1_999);
        batch.push(Side::Server, b"de", 1_999);
        batch.push(Side::Client, b"f", 2_000);
        assert_eq!(
            told(&batch),
            [
                (Side::Client, 1_000, Passed::Bytes(b"abc")),
                (Side::Server, 1_999, Passed::Bytes(b"de")),
                (Side::Client, 2_000, Passed::Bytes(b"f")),
            ]
        );
        assert!(!batch.is_full());
    }

    #[test]
    fn what_the_budget_has_no_room_for_is_counted_in_its_place() {
        let memory = Memory::new(2 * FIRST_BYTES as u64);
        let mut batch = Batch::new(&memory);
        batch.push(Side::Client, b"ab", 0);
        batch.push(Side::Server, &[0; 4096], 0);
        batch.push(Side::Server, &[0; 4096], 0);
        batch.push(Side::Client, b"c", 0);
        assert_eq!(
            told(&batch),
            [
                (Side::Client, 0, Passed::Bytes(b"ab")),
                (Side::Server, 0, Passed::Missed(8192)),
                (Side::Client, 0, Passed::Bytes(b"c")),
            ]
        );
        drop(batch);
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn a_closed_batch_counts_what_passes_and_grows_no_more() {
        let memory = Memory::new(1 << 30);
        let mut batch = Batch::new(&memory);
        batch.push(Side::Client, b"ab", 0);
        let used = memory.used();
        batch.close();
        for at_us in 1..=100_000 {
            batch.push(if at_us % 2 == 0 { Side::Client } else { Side::Server }, b"xyz", at_us);
        }
        assert_eq!(
            told(&batch),
            [
                (Side::Client, 0, Passed::Bytes(b"ab")),
                (Side::Client, 100_000, Passed::Missed(150_000)),
                (Side::Server, 100_000, Passed::Missed(150_000)),
            ]
        );
        assert_eq!((memory.used(), batch.chunks.len()), (used, 1));
    }

    #[test]
    fn many_bytes_and_many_chunks_both_fill_a_batch() {
        let memory = Memory::new(1 << 30);
        let mut bytes = Batch::new(&memory);
        bytes.push(Side::Client, &vec![0; FULL_BYTES], 0);
        assert!(bytes.is_full());
        let mut chunks = Batch::new(&memory);
        for number in 0..FULL_CHUNKS as u64 {
            assert!(!chunks.is_full());
            chunks.push(Side::Client, b"x", number * 1000);
        }
        assert!(chunks.is_full());
    }
}
