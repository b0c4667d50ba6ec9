//! The log of a capture: written by its lane, spooled and read by the recording side.
//!
//! A lane holds the writer's lock for a copy; nobody holds it across a file operation. Memory of a log is given back
//! by whoever has the spool's lock, or when nobody has the log any more: so who has that lock may read it.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use api_log::capture::read::{LogReader, Told};
use api_log::capture::record::{Begin, Kind};
use api_log::capture::spool::{self, FRAME_HEAD_BYTES, Frame, HEADER_BYTES};
use api_log::ids::{TraceId, UnixMillis};
use api_log::store::layout::Layout;
use parking_lot::Mutex;

use super::arena::{Arena, Chunk, View};
use super::intake::{Intake, MOST_SPILLS, SpoolOrder};
use super::memory::{Memory, Share};
use look::Seen;
pub(crate) use look::{LetGo, LookedAt};
use writer::{Stretch, Writer};

mod look;
mod writer;

/// A spool of a socket that is covered may be longer than this until it is written anew.
const MOST_COVERED: u64 = 1 << 20;

/// Logs older than this are spooled.
const SPOOLED_AFTER: Duration = Duration::from_secs(1);
/// The same for those whose exchange has ended, and that a crash leaves where they are: soon there is a line.
const ENDED_SPOOLED_AFTER: Duration = Duration::from_secs(10);

/// What all logs share.
pub(crate) struct LogShared {
    /// Their chunks.
    pub(crate) arena: Arena,
    /// The memory of all captures.
    pub(crate) memory: Arc<Memory>,
    /// The way to the spool.
    pub(crate) intake: Arc<Intake>,
    /// What one log keeps in memory before it spills.
    pub(crate) spill_bytes: u64,
    /// Where spools are.
    pub(crate) layout: Layout,
    /// Logs that do not begin in the arena. No lane asks for them.
    pub(crate) strays: Mutex<Vec<Weak<Log>>>,
}

/// A log under way, or on its way to its line.
pub(crate) struct Log {
    /// Whose it is.
    pub(crate) id: TraceId,
    /// When the exchange began.
    pub(crate) began: Instant,
    shared: Arc<LogShared>,
    writer: Mutex<Writer>,
    spooled: Mutex<Spooled>,
    is_spill_ordered: AtomicBool,
    /// Its first chunk, for who looks at it without the writer's lock.
    head: View,
    /// Bytes of each body that passed, recorded or not: of the request, of the answer.
    passed: [AtomicU64; 2],
    has_ended: AtomicBool,
    /// What lookers have read of it. No lane asks for it.
    seen: Mutex<Option<Box<Seen>>>,
}

/// Whether bytes may be left out for want of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Without them there is no trace.
    Vital,
    /// The budget decides.
    WithinBudget,
}

/// What of a log is on disk.
#[derive(Default)]
struct Spooled {
    file: SpoolFile,
    /// So many bytes of the log.
    end: u64,
    frames: Vec<Frame>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum SpoolFile {
    #[default]
    NotYet,
    /// Its length.
    There(u64),
    /// The trace is done with.
    Gone,
}

impl Log {
    /// Begins the log of an exchange with its request's head.
    pub(crate) fn begin(
        shared: &Arc<LogShared>,
        id: TraceId,
        ts_start: UnixMillis,
        peer: SocketAddr,
        upstream: &str,
        head: &[u8],
    ) -> Arc<Log> {
        let first = shared.arena.take(0, id, 0);
        let (size, is_in_arena) = (first.size() as u64, first.is_in_arena());
        let view = first.view();
        let mut share = Share::none(&shared.memory);
        share.grow_told(size);
        let mut writer = Writer { first: Some(first), more: Vec::new(), filled: 0, end: 0, in_memory: size, share };
        let begin = Begin::encode(id, ts_start, peer, upstream);
        writer.append(shared, id, Kind::Begin, 0, &begin, Need::Vital);
        writer.append(shared, id, Kind::RequestHead, 0, head, Need::Vital);
        let log = Arc::new(Log {
            id,
            began: Instant::now(),
            shared: shared.clone(),
            writer: Mutex::new(writer),
            spooled: Mutex::default(),
            is_spill_ordered: AtomicBool::new(false),
            head: view,
            passed: Default::default(),
            has_ended: AtomicBool::new(false),
            seen: Mutex::default(),
        });
        let is_noted = is_in_arena && {
            let writer = log.writer.lock();
            writer.first.as_ref().is_some_and(|first| shared.arena.note(first, Arc::downgrade(&log)))
        };
        if !is_noted && shared.intake.spills.len() < MOST_SPILLS {
            shared.intake.spills.push(SpoolOrder::Watch(Arc::downgrade(&log)));
        }
        log
    }

    /// Appends what happened `at_us` after the beginning; how many bytes of the payload there was room for.
    pub(crate) fn append(self: &Arc<Log>, kind: Kind, at_us: u64, payload: &[u8], need: Need) -> usize {
        let shared = &self.shared;
        if kind == Kind::End {
            self.has_ended.store(true, Ordering::Relaxed);
        }
        let mut writer = self.writer.lock();
        let before = writer.more.len();
        let kept = writer.append(shared, self.id, kind, at_us, payload, need);
        let wants_spool = writer.more.len() > before && self.wants_spool(&mut writer);
        drop(writer);
        if wants_spool
            && shared.intake.spills.len() < MOST_SPILLS
            && !self.is_spill_ordered.swap(true, Ordering::Relaxed)
        {
            shared.intake.spills.push(SpoolOrder::Spill(Arc::downgrade(self)));
        }
        kept
    }

    /// Whether it should be spooled before the spool looks at it in its time: because it takes much memory, or stands where
    /// a crash would lose it. Where memory is short all of it does, and files for small logs would only take time.
    fn wants_spool(&self, writer: &mut Writer) -> bool {
        if writer.in_memory > self.shared.spill_bytes {
            return true;
        }
        if self.shared.memory.is_tight() {
            return writer.has_to_shed();
        }
        writer.last().is_some_and(|chunk| !chunk.is_in_arena())
    }

    /// So many bytes of a body have passed in all: of the request (0), of the answer (1).
    pub(crate) fn passed(&self, body: usize, bytes: u64) {
        self.passed[body].store(bytes, Ordering::Relaxed);
    }

    /// The order to spill is being carried out; from here on another may be given.
    pub(crate) fn take_order(&self) {
        self.is_spill_ordered.store(false, Ordering::Relaxed);
    }

    /// Whether its exchange has ended: soon its line takes all of its memory away.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    /// Whether its spool would give back enough memory to be worth a file.
    pub(crate) fn has_to_shed(&self) -> bool {
        self.writer.lock().has_to_shed()
    }

    /// Whether it is old enough to be spooled.
    pub(crate) fn is_due(&self) -> bool {
        let age = self.began.elapsed();
        age >= SPOOLED_AFTER && (age >= ENDED_SPOOLED_AFTER || !self.has_ended() || !self.stands_in_arena())
    }

    /// Whether its spool should lose memory for it, beyond keeping a copy.
    pub(crate) fn is_large(&self) -> bool {
        self.shared.memory.is_tight() || self.writer.lock().in_memory > self.shared.spill_bytes
    }

    /// Appends to the spool what was committed since the last time (blocking); `true` if there was any.
    ///
    /// # Errors
    /// The disk refuses. What there was stays in memory, and in the spool.
    pub(crate) fn spool(&self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        fault!(io "spool.write")?;
        let mut spooled = self.spooled.lock();
        let start = match spooled.file {
            SpoolFile::Gone => return Ok(false),
            SpoolFile::NotYet => 0,
            SpoolFile::There(bytes) => bytes,
        };
        buffer.clear();
        let mut views = Vec::new();
        {
            let writer = self.writer.lock();
            if start == 0 {
                let first = writer.first.as_ref().filter(|it| it.is_in_arena());
                let arena = first.and_then(|_| self.shared.arena.surviving());
                buffer.extend_from_slice(&spool::Header { trace: self.id, arena }.encode());
            }
            writer.each_chunk(|offset, chunk| views.push((offset, std::ptr::from_ref(chunk.committed()))));
        }
        let mut frames = Vec::new();
        let mut end = spooled.end;
        for (offset, view) in views {
            // SAFETY: the chunk is this log's for as long as the spool's lock is held, and what is committed does not
            // change.
            let committed = unsafe { &*view };
            let begins = end.max(offset);
            let Some(new) = committed.get((begins - offset) as usize..).filter(|it| !it.is_empty()) else { continue };
            buffer.extend_from_slice(&spool::frame_head(begins, new));
            let at = start + buffer.len() as u64;
            buffer.extend_from_slice(new);
            frames.push(Frame { offset: begins, at, bytes: new.len() as u32 });
            end = begins + new.len() as u64;
        }
        if frames.is_empty() {
            return Ok(false);
        }
        debug_assert!(start > 0 || frames[0].at == HEADER_BYTES + FRAME_HEAD_BYTES);
        // At a fixed offset: bytes of a write that failed half-way are overwritten by the next. Opened each time:
        // thousands of streams have thousands of spools.
        let path = self.shared.layout.spool(self.id);
        // A new one may take the place of one that was all covered.
        let file = File::options().write(true).create(true).truncate(start == 0).mode(0o600).open(path)?;
        file.write_all_at(buffer, start)?;
        spooled.file = SpoolFile::There(start + buffer.len() as u64);
        spooled.end = end;
        spooled.frames.extend(frames);
        Ok(true)
    }

    /// Gives back the chunks that the spool has in full, but for the first and the last; how many there were.
    pub(crate) fn shed(&self) -> u64 {
        let spooled = self.spooled.lock();
        let mut writer = self.writer.lock();
        let is_moved = |it: &Stretch| match it {
            Stretch::Memory(..) => it.end() <= spooled.end,
            Stretch::Moved { .. } => true,
        };
        let behind = writer.more.len().saturating_sub(1);
        let moved = writer.more[..behind].iter().take_while(|it| is_moved(it)).count();
        let Some(first) = writer.more[..moved].first() else { return 0 };
        let offset = first.offset();
        let mut bytes = 0;
        let mut chunks = Vec::new();
        for stretch in writer.more.drain(..moved) {
            match stretch {
                Stretch::Memory(chunk, _) => {
                    bytes += chunk.committed().len() as u64;
                    chunks.push(chunk);
                }
                Stretch::Moved { bytes: before, .. } => bytes += before,
            }
        }
        writer.more.insert(0, Stretch::Moved { offset, bytes });
        writer.link_first();
        let freed = chunks.iter().map(|it| it.size() as u64).sum();
        writer.in_memory -= freed;
        writer.share.shrink(freed);
        drop(writer);
        let count = chunks.len() as u64;
        chunks.into_iter().for_each(|chunk| self.shared.arena.give_back(chunk));
        count
    }

    /// What of the socket stands before `until` has outcomes: memory and, in time, disk are given back.
    pub(crate) fn cover(&self, until: u64) {
        let mut spooled = self.spooled.lock();
        let mut writer = self.writer.lock();
        let Some(first) = &writer.first else { return };
        first.cover(until);
        let behind = writer.more.len().saturating_sub(1);
        let covered = writer.more[..behind].iter().take_while(|it| it.end() <= until).count();
        let chunks: Vec<Chunk> = writer.more.drain(..covered).filter_map(Stretch::into_chunk).collect();
        writer.link_first();
        let freed = chunks.iter().map(|it| it.size() as u64).sum();
        writer.in_memory -= freed;
        writer.share.shrink(freed);
        let is_all_in_memory = writer.more.iter().all(|it| matches!(it, Stretch::Memory(..)));
        drop(writer);
        chunks.into_iter().for_each(|chunk| self.shared.arena.give_back(chunk));
        if is_all_in_memory && matches!(spooled.file, SpoolFile::There(bytes) if bytes > MOST_COVERED) {
            // The next look writes what is left into a new one.
            *spooled = Spooled::default();
        }
    }

    /// So far it is covered.
    #[cfg(test)]
    pub(crate) fn covered(&self) -> u64 {
        self.writer.lock().first.as_ref().map_or(0, Chunk::covered)
    }

    /// Where its next record will begin.
    pub(crate) fn end(&self) -> u64 {
        self.writer.lock().end
    }

    /// All of it, read (blocking). What cannot be read back is told as missing, with the reason.
    pub(crate) fn told(&self) -> (Told, Option<io::Error>) {
        let mut reader = LogReader::new();
        let mut error = None;
        let spooled = self.spooled.lock();
        // A socket's lane may be appending still: it does not wait for this.
        let mut pieces: Vec<(u64, Result<*const [u8], u64>)> = Vec::new();
        {
            let writer = self.writer.lock();
            pieces.extend(writer.first.iter().map(|it| (0, Ok(std::ptr::from_ref(it.committed())))));
            pieces.extend(writer.more.iter().map(|it| match it {
                Stretch::Memory(chunk, offset) => (*offset, Ok(std::ptr::from_ref(chunk.committed()))),
                Stretch::Moved { offset, bytes } => (*offset, Err(*bytes)),
            }));
        }
        for (offset, piece) in pieces {
            reader.seek(offset);
            match piece {
                // SAFETY: the chunk is this log's for as long as the spool's lock is held, and what is committed does
                // not change.
                Ok(committed) => reader.push(unsafe { &*committed }),
                Err(bytes) => {
                    if let Err(failed) = self.read_back(&spooled.frames, offset..offset + bytes, &mut reader) {
                        reader.miss();
                        error = Some(failed);
                    }
                }
            }
        }
        drop(spooled);
        (reader.finish().unwrap_or_else(|_| Told::nothing(self.id)), error)
    }

    /// What its first chunk tells, if there is one.
    pub(crate) fn first_told(&self) -> Option<Told> {
        let mut reader = LogReader::new();
        reader.push(self.writer.lock().first.as_ref()?.committed());
        reader.finish().ok()
    }

    /// Sees to it that the next start finds all of it if this process ends without forgetting it; `false` if the disk
    /// refuses. What stands in the arena needs no disk.
    pub(super) fn outlives(&self) -> bool {
        self.stands_in_arena() || self.spool(&mut Vec::new()).is_ok()
    }

    /// Whether what is in memory stands in an arena that survives the process.
    fn stands_in_arena(&self) -> bool {
        self.shared.arena.surviving().is_some() && {
            let writer = self.writer.lock();
            let mut chunks = writer.first.iter().chain(writer.more.iter().filter_map(Stretch::chunk));
            chunks.all(Chunk::is_in_arena)
        }
    }

    /// Its exchange is dropped. Waits for no disk: whatever may have a file is left to the spool.
    pub(crate) fn discard(self: Arc<Log>) {
        if let Some(first) = &self.writer.lock().first {
            first.uncommit();
        }
        let has_no_file = self.spooled.try_lock().is_some_and(|mut spooled| {
            let has_none = spooled.file == SpoolFile::NotYet;
            if has_none {
                spooled.file = SpoolFile::Gone;
            }
            has_none
        });
        if !has_no_file {
            let shared = self.shared.clone();
            shared.intake.spills.push(SpoolOrder::Discard(self));
        }
    }

    fn read_back(&self, frames: &[Frame], range: std::ops::Range<u64>, reader: &mut LogReader) -> io::Result<()> {
        let file = File::open(self.shared.layout.spool(self.id))?;
        let mut bytes = Vec::new();
        for frame in frames.iter().filter(|it| range.contains(&it.offset)) {
            bytes.clear();
            spool::read_frame(&file, *frame, 0, &mut bytes)?;
            reader.push(&bytes);
        }
        Ok(())
    }

    /// The trace has its outcome: a process that crashes from here on leaves nothing of it.
    pub(crate) fn forget(&self) {
        // The first chunk goes first: without it, nothing else of the log counts.
        if let Some(first) = &self.writer.lock().first {
            first.uncommit();
        }
        let mut spooled = self.spooled.lock();
        if let SpoolFile::There(_) = spooled.file {
            // A file that cannot be removed costs disk, not data.
            let _ = std::fs::remove_file(self.shared.layout.spool(self.id));
        }
        spooled.file = SpoolFile::Gone;
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.forget();
        let writer = self.writer.get_mut();
        let arena = &self.shared.arena;
        writer.first.take().into_iter().for_each(|chunk| arena.give_back(chunk));
        writer.more.drain(..).filter_map(Stretch::into_chunk).for_each(|chunk| arena.give_back(chunk));
    }
}

#[cfg(test)]
pub(crate) mod tests;
