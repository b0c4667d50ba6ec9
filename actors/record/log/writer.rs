//! The chunks of a log, and appending to them: what its lane does under its lock.

use api_log::capture::arena::SIZES;
use api_log::capture::record::{Head, Kind, MOST_HEAD_BYTES};
use api_log::ids::TraceId;

use super::{LogShared, Need};
use crate::record::arena::Chunk;
use crate::record::memory::Share;

/// A payload is not split for fewer bytes than this.
const LEAST_SPLIT: usize = 64;

/// What a spool gives back for want of memory is at least this: for less, making and removing files took the lines' time.
const LEAST_SHED: usize = SIZES[2];

pub(super) struct Writer {
    /// Stays until the trace has its outcome. *Invariant:* `None` only while the log is dropped.
    pub(super) first: Option<Chunk>,
    /// What follows. *Invariant:* the last is in memory.
    pub(super) more: Vec<Stretch>,
    /// Bytes in the last chunk.
    pub(super) filled: u32,
    /// Bytes of the log.
    pub(super) end: u64,
    pub(super) in_memory: u64,
    pub(super) share: Share,
}

pub(super) enum Stretch {
    /// A chunk, and where in the log it begins.
    Memory(Chunk, u64),
    /// So many bytes of the log from here on are in the spool alone.
    Moved { offset: u64, bytes: u64 },
}

impl Stretch {
    pub(super) fn chunk(&self) -> Option<&Chunk> {
        match self {
            Stretch::Memory(chunk, _) => Some(chunk),
            Stretch::Moved { .. } => None,
        }
    }

    pub(super) fn into_chunk(self) -> Option<Chunk> {
        match self {
            Stretch::Memory(chunk, _) => Some(chunk),
            Stretch::Moved { .. } => None,
        }
    }

    /// Where in the log it ends.
    pub(super) fn end(&self) -> u64 {
        match self {
            Stretch::Memory(chunk, offset) => offset + chunk.committed().len() as u64,
            Stretch::Moved { offset, bytes } => offset + bytes,
        }
    }

    pub(super) fn offset(&self) -> u64 {
        match self {
            Stretch::Memory(_, offset) | Stretch::Moved { offset, .. } => *offset,
        }
    }
}

impl Writer {
    pub(super) fn append(
        &mut self,
        shared: &LogShared,
        id: TraceId,
        kind: Kind,
        at_us: u64,
        payload: &[u8],
        need: Need,
    ) -> usize {
        let mut rest = payload;
        loop {
            let filled = self.filled;
            let Some(chunk) = self.last() else { return payload.len() - rest.len() };
            let room = chunk.room(filled).saturating_sub(MOST_HEAD_BYTES);
            if rest.len() <= room || room >= LEAST_SPLIT {
                let (now, after) = rest.split_at(rest.len().min(room));
                let head = Head::new(kind, at_us, now.len() as u32);
                self.put(head.as_bytes(), now);
                rest = after;
                if rest.is_empty() {
                    return payload.len();
                }
            }
            if !self.next(shared, id, rest.len(), need) {
                return payload.len() - rest.len();
            }
        }
    }

    fn put(&mut self, head: &[u8], payload: &[u8]) {
        let filled = self.filled;
        let Some(chunk) = self.last() else { return };
        self.filled = chunk.append(filled, head, payload);
        self.end += u64::from(self.filled - filled);
    }

    pub(super) fn last(&mut self) -> Option<&mut Chunk> {
        match self.more.last_mut() {
            None => self.first.as_mut(),
            Some(Stretch::Memory(chunk, _)) => Some(chunk),
            Some(Stretch::Moved { .. }) => None,
        }
    }

    /// Another chunk, larger than those before; `false` if the budget has no room.
    fn next(&mut self, shared: &LogShared, id: TraceId, wanted: usize, need: Need) -> bool {
        let class = if self.more.len() >= 2 || wanted > SIZES[1] { 2 } else { 1 };
        let class = if self.share.grow(SIZES[class] as u64) {
            class
        } else if self.share.grow(SIZES[0] as u64) {
            0
        } else if need == Need::Vital {
            self.share.grow_told(SIZES[0] as u64);
            0
        } else {
            return false;
        };
        let chunk = shared.arena.take(class, id, self.end);
        if let Some(last) = self.last() {
            last.link(Some(&chunk));
        }
        // It may be of another size.
        let size = chunk.size() as u64;
        self.share.grow_told(size);
        self.share.shrink(SIZES[class] as u64);
        self.in_memory += size;
        self.more.push(Stretch::Memory(chunk, self.end));
        self.filled = 0;
        true
    }

    /// The first chunk leads on to the first that is left behind it: to be called whenever some have gone, before
    /// they are given back.
    pub(super) fn link_first(&self) {
        if let Some(first) = &self.first {
            first.link(self.more.iter().find_map(Stretch::chunk));
        }
    }

    /// Whether a spool would give enough memory back to be worth a file: it gives back all chunks but the first and the last.
    pub(super) fn has_to_shed(&self) -> bool {
        let behind = self.more.len().saturating_sub(1);
        let bytes: usize = self.more[..behind].iter().filter_map(Stretch::chunk).map(Chunk::size).sum();
        bytes >= LEAST_SHED
    }

    pub(super) fn each_chunk(&self, mut look: impl FnMut(u64, &Chunk)) {
        self.first.iter().for_each(|chunk| look(0, chunk));
        for stretch in &self.more {
            if let Stretch::Memory(chunk, offset) = stretch {
                look(*offset, chunk);
            }
        }
    }
}
