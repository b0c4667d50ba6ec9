//! The memory of all logs: chunks that lanes take and give back without a lock, in a mapping that survives the process.
//!
//! A lane stores into chunks that were allocated beforehand and nothing else. Growing and shrinking, with their system
//! calls, are [`Arena::tend`]'s, on the recording side.

use std::fs::File;
use std::io;
use std::ptr::NonNull;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

use api_log::capture::arena::{Geometry, LAST_ID_AT, SIZES};
use api_log::capture::chunk::{COMMITTED_AT, COVERED_AT, HEADER_BYTES, Header, NEXT_AT, OFFSET_AT};
use api_log::capture::place::Folder;
use api_log::ids::TraceId;
use crossbeam_queue::ArrayQueue;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;

use super::log::Log;
use super::mapping::Mapping;

/// So many chunks of each size are allocated from the start, and stay so.
const LEAST: [u32; SIZES.len()] = [512, 64, 64];
/// What was not needed for so many rounds is given back.
const ROUNDS: u32 = 10;

/// All chunks.
pub(crate) struct Arena {
    map: Mapping,
    geometry: Geometry,
    home: Option<Home>,
    classes: [Class; SIZES.len()],
    /// Whose log begins in which of the smallest chunks. Nobody waits for one of these locks: they are tried.
    heads: Box<[Mutex<Weak<Log>>]>,
    /// Bytes that may be allocated.
    limit: u64,
    allocated: AtomicU64,
    high_water: AtomicU64,
    /// Chunks taken from the heap because none was free here.
    heap_chunks: AtomicU64,
    was_asked: AtomicBool,
    ask: Box<dyn Fn() + Send + Sync>,
}

/// The file that survives.
struct Home {
    id: TraceId,
    file: File,
    folder: Folder,
}

/// The chunks of one size.
struct Class {
    free: ArrayQueue<u32>,
    allocated: AtomicU32,
    /// With fewer free ones more are asked for.
    low: AtomicU32,
    spare: Mutex<Spare>,
}

/// Of the recording side.
struct Spare {
    /// Chunks without memory, the first to be used at the end.
    dry: Vec<u32>,
    /// The fewest that were free at any look.
    fewest_free: u32,
    rounds: u32,
}

/// The arena as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Arena")]
pub(crate) struct ArenaReport {
    /// Whether what stands in it survives the process.
    pub survives: bool,
    /// Bytes of memory allocated for it.
    pub allocated_bytes: u64,
    /// The most that ever was.
    pub high_water_bytes: u64,
    /// At most so many.
    pub limit_bytes: u64,
    /// Chunks ever taken from the heap because none was free: not safe from a crash until they are spooled.
    pub heap_chunks: u64,
}

/// A chunk in use. Whoever has it gives it back with [`Arena::give_back`].
pub(crate) struct Chunk {
    at: NonNull<u8>,
    class: u8,
    home: ChunkHome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ChunkHome {
    Arena(u32),
    Heap,
}

// SAFETY: a chunk is memory that nobody else has, wherever it is used from.
unsafe impl Send for Chunk {}
// SAFETY: through a shared reference only what is committed can be read, and that does not change.
unsafe impl Sync for Chunk {}

impl Arena {
    /// An arena of at most so many bytes, in `folder` if there is one. Its first chunks are allocated at once; `ask`
    /// is called when more are wanted.
    ///
    /// # Errors
    /// It cannot be made or mapped.
    pub(crate) fn new(
        id: TraceId,
        bytes: u64,
        folder: Option<Folder>,
        ask: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Arena> {
        let limit = folder.as_ref().map_or(bytes, |it| it.room().min(bytes));
        let geometry = Geometry::for_bytes(limit);
        let home = match folder {
            Some(folder) => Some(Home { id, file: folder.create(id, &geometry)?, folder }),
            None => None,
        };
        let map = match Mapping::new(geometry.file_bytes() as usize, home.as_ref().map(|it| &it.file)) {
            Ok(map) => map,
            Err(error) => {
                if let Some(home) = &home {
                    home.remove();
                }
                return Err(error);
            }
        };
        let classes = std::array::from_fn(|class| Class {
            free: ArrayQueue::new(geometry.count(class) as usize),
            allocated: AtomicU32::new(0),
            low: AtomicU32::new(0),
            spare: Mutex::new(Spare {
                dry: (0..geometry.count(class)).rev().collect(),
                fewest_free: u32::MAX,
                rounds: 0,
            }),
        });
        let heads = (0..geometry.count(0)).map(|_| Mutex::new(Weak::new())).collect();
        let arena = Arena {
            map,
            geometry,
            home,
            classes,
            heads,
            limit,
            allocated: AtomicU64::new(0),
            high_water: AtomicU64::new(0),
            heap_chunks: AtomicU64::new(0),
            was_asked: AtomicBool::new(false),
            ask: Box::new(ask),
        };
        if let Err(error) = arena.tend() {
            arena.close();
            return Err(error);
        }
        Ok(arena)
    }

    /// Its identity, if what stands in it survives the process.
    pub(crate) fn surviving(&self) -> Option<TraceId> {
        self.home.as_ref().map(|it| it.id)
    }

    /// How it stands.
    pub(crate) fn report(&self) -> ArenaReport {
        ArenaReport {
            survives: self.home.is_some(),
            allocated_bytes: self.allocated.load(Ordering::Relaxed),
            high_water_bytes: self.high_water.load(Ordering::Relaxed),
            limit_bytes: self.limit,
            heap_chunks: self.heap_chunks.load(Ordering::Relaxed),
        }
    }

    /// A chunk of about this size for the log `trace`, whose payload begins at `offset` of it: if none is free, a
    /// smaller or a larger one, and if there is none of those either, one from the heap.
    pub(crate) fn take(&self, class: usize, trace: TraceId, offset: u64) -> Chunk {
        let wanted = &self.classes[class];
        let mut found = wanted.free.pop().map(|index| (class, index));
        if wanted.free.len() < wanted.low.load(Ordering::Relaxed) as usize
            && !self.was_asked.swap(true, Ordering::Relaxed)
        {
            (self.ask)();
        }
        if found.is_none() {
            let others = (0..class).rev().chain(class + 1..SIZES.len());
            found = others.into_iter().find_map(|it| Some((it, self.classes[it].free.pop()?)));
        }
        let (class, at, home) = match found {
            Some((class, index)) => (class, self.map.at(self.geometry.at(class, index)), ChunkHome::Arena(index)),
            None => {
                self.heap_chunks.fetch_add(1, Ordering::Relaxed);
                (class, on_heap(class), ChunkHome::Heap)
            }
        };
        // SAFETY: the chunk is as large as its class says, which is more than a header, and nobody else has it.
        let header = unsafe { at.cast::<[u8; HEADER_BYTES]>().as_mut() };
        Header::write(header, trace, offset);
        let chunk = Chunk { at, class: class as u8, home };
        chunk.link(None);
        chunk
    }

    /// The chunk is free again, and nothing of it counts any more.
    pub(crate) fn give_back(&self, chunk: Chunk) {
        chunk.uncommit();
        match chunk.home {
            // There is room: the queue is as long as there are chunks.
            ChunkHome::Arena(index) => drop(self.classes[chunk.class as usize].free.push(index)),
            // SAFETY: it was allocated with this layout, and given to this chunk alone.
            ChunkHome::Heap => unsafe {
                std::alloc::dealloc(chunk.at.as_ptr(), heap_layout(chunk.class as usize));
            },
        }
    }

    /// Notes whose log begins in this chunk, so that the recording side finds it; `false` if it cannot be noted here, or
    /// if somebody is just looking there.
    pub(crate) fn note(&self, chunk: &Chunk, log: Weak<Log>) -> bool {
        match chunk.home {
            ChunkHome::Arena(index) if chunk.class == 0 => match self.heads[index as usize].try_lock() {
                Some(mut head) => {
                    *head = log;
                    true
                }
                None => false,
            },
            _ => false,
        }
    }

    /// The log that begins in the chunk of this number; none, too, while its lane is just noting it.
    pub(crate) fn log(&self, head: usize) -> Option<std::sync::Arc<Log>> {
        self.heads[head].try_lock()?.upgrade()
    }

    /// How many chunks a log may begin in: those with memory have the lowest numbers, or have had it.
    pub(crate) fn heads(&self) -> usize {
        self.heads.len()
    }

    /// Allocates chunks where few are free, gives back what was long unused. Makes system calls.
    ///
    /// # Errors
    /// There is no memory; lanes use the heap meanwhile.
    pub(crate) fn tend(&self) -> io::Result<()> {
        self.was_asked.store(false, Ordering::Relaxed);
        let mut outcome = Ok(());
        for (class, least) in LEAST.into_iter().enumerate() {
            let Class { free, allocated, low, spare } = &self.classes[class];
            let spare = &mut *spare.lock();
            let (now_free, now_allocated) = (free.len() as u32, allocated.load(Ordering::Relaxed));
            let least = least.min(self.geometry.count(class));
            if now_allocated < least || now_free < low.load(Ordering::Relaxed) {
                let more = now_allocated.max(least);
                outcome = outcome.and(self.grow(class, more, spare));
                *spare = Spare { dry: std::mem::take(&mut spare.dry), fewest_free: u32::MAX, rounds: 0 };
            } else {
                spare.fewest_free = spare.fewest_free.min(now_free);
                spare.rounds += 1;
                if spare.rounds >= ROUNDS {
                    // More are asked for when half of them are in use; what is left is as far from that as from this.
                    let most_used = now_allocated.saturating_sub(spare.fewest_free);
                    let left = most_used.saturating_mul(3).max(least);
                    self.shrink(class, now_allocated.saturating_sub(left), spare);
                    (spare.fewest_free, spare.rounds) = (u32::MAX, 0);
                }
            }
            low.store(allocated.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
        }
        outcome
    }

    fn grow(&self, class: usize, more: u32, spare: &mut Spare) -> io::Result<()> {
        let size = SIZES[class] as u64;
        let room = self.limit.saturating_sub(self.allocated.load(Ordering::Relaxed)) / size;
        let mut left = u64::from(more).min(room) as usize;
        while left > 0 {
            // A run of neighbours is allocated in one go.
            let Some(&first) = spare.dry.last() else { break };
            let dry = spare.dry.iter().rev();
            let run = dry.zip(first..).take(left).take_while(|(index, expected)| **index == *expected).count();
            let at = self.geometry.at(class, first);
            self.map.allocate(at, run as u64 * size, self.home.as_ref().map(|it| &it.file))?;
            spare.dry.truncate(spare.dry.len() - run);
            let allocated = self.allocated.fetch_add(run as u64 * size, Ordering::Relaxed) + run as u64 * size;
            self.high_water.fetch_max(allocated, Ordering::Relaxed);
            self.classes[class].allocated.fetch_add(run as u32, Ordering::Relaxed);
            for index in first..first + run as u32 {
                // There is room, as above.
                let _ = self.classes[class].free.push(index);
            }
            left -= run;
        }
        Ok(())
    }

    fn shrink(&self, class: usize, fewer: u32, spare: &mut Spare) {
        let size = SIZES[class] as u64;
        for _ in 0..fewer {
            let Some(index) = self.classes[class].free.pop() else { break };
            let at = self.geometry.at(class, index);
            if self.map.give_back(at, size, self.home.as_ref().map(|it| &it.file)).is_err() {
                // It stays what it was.
                let _ = self.classes[class].free.push(index);
                break;
            }
            self.allocated.fetch_sub(size, Ordering::Relaxed);
            self.classes[class].allocated.fetch_sub(1, Ordering::Relaxed);
            spare.dry.push(index);
        }
        spare.dry.sort_unstable_by(|one, other| other.cmp(one));
    }

    /// Notes the last id given, so that those of the next process are above it.
    pub(crate) fn note_last_id(&self, last: u64) {
        // SAFETY: in the first page, aligned, and used as an atomic by this process alone.
        let at = unsafe { AtomicU64::from_ptr(self.map.at(LAST_ID_AT as u64).as_ptr().cast()) };
        at.store(last, Ordering::Relaxed);
    }

    /// Nobody writes to it any more. Removes the file if no log stands in it; else it stays, to be recovered.
    pub(crate) fn close(&self) {
        let is_unused = self.classes.iter().all(|it| it.free.len() as u32 == it.allocated.load(Ordering::Relaxed));
        let Some(home) = &self.home else { return };
        if is_unused {
            home.remove();
        } else if let Err(error) = home.file.unlock() {
            // It is unlocked at the process's end.
            tracing::warn!(%error, "the arena of captures stays locked");
        }
    }
}

impl Home {
    fn remove(&self) {
        if let Err(error) = std::fs::remove_file(self.folder.arena(self.id)) {
            tracing::warn!(%error, "the arena of captures cannot be removed");
        }
        self.folder.tidy_up();
    }
}

impl Chunk {
    /// Bytes of memory.
    pub(crate) fn size(&self) -> usize {
        SIZES[self.class as usize]
    }

    /// Whether it stands in the arena.
    pub(crate) fn is_in_arena(&self) -> bool {
        self.home != ChunkHome::Heap
    }

    /// Bytes of payload that fit behind the first `filled`.
    pub(crate) fn room(&self, filled: u32) -> usize {
        self.size() - HEADER_BYTES - filled as usize
    }

    /// Appends behind the first `filled` bytes and publishes both together. There must be room.
    pub(crate) fn append(&mut self, filled: u32, head: &[u8], payload: &[u8]) -> u32 {
        let length = head.len() + payload.len();
        assert!(length <= self.room(filled), "a chunk was overfilled");
        // SAFETY: the bytes are within the chunk, as was just checked; nobody else writes to it, for this is the only
        // reference that may, and nobody reads beyond what is committed.
        unsafe {
            let to = self.at.as_ptr().add(HEADER_BYTES + filled as usize);
            to.copy_from_nonoverlapping(head.as_ptr(), head.len());
            to.add(head.len()).copy_from_nonoverlapping(payload.as_ptr(), payload.len());
        }
        let committed = filled + length as u32;
        self.committed_length().store(committed.to_le(), Ordering::Release);
        committed
    }

    /// The payload that counts.
    pub(crate) fn committed(&self) -> &[u8] {
        let length = u32::from_le(self.committed_length().load(Ordering::Acquire)) as usize;
        // SAFETY: so many bytes were written before the length was published, and are not written again.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr().add(HEADER_BYTES), length) }
    }

    /// The same for somebody who does not own it.
    pub(crate) fn view(&self) -> View {
        View(self.at)
    }

    /// Says which chunk of its log comes next, for who looks at the log without its lock.
    pub(crate) fn link(&self, next: Option<&Chunk>) {
        // SAFETY: within the header, aligned, and used as an atomic only.
        let at = unsafe { AtomicPtr::<u8>::from_ptr(self.at.as_ptr().add(NEXT_AT).cast()) };
        at.store(next.map_or(std::ptr::null_mut(), |it| it.at.as_ptr()), Ordering::Release);
    }

    /// Nothing of it counts any more.
    pub(crate) fn uncommit(&self) {
        self.committed_length().store(0, Ordering::Release);
    }

    /// Notes how far its log is covered; it is the first of it.
    pub(crate) fn cover(&self, until: u64) {
        // SAFETY: within the header, aligned, and used as an atomic only while the chunk is in use.
        let at = unsafe { AtomicU64::from_ptr(self.at.as_ptr().add(COVERED_AT).cast()) };
        at.store(until.to_le(), Ordering::Release);
    }

    /// How far its log is covered.
    #[cfg(test)]
    pub(crate) fn covered(&self) -> u64 {
        // SAFETY: as where it is noted.
        u64::from_le(unsafe { AtomicU64::from_ptr(self.at.as_ptr().add(COVERED_AT).cast()) }.load(Ordering::Acquire))
    }

    fn committed_length(&self) -> &AtomicU32 {
        // SAFETY: within the header, aligned as chunks are, and used as an atomic only.
        unsafe { AtomicU32::from_ptr(self.at.as_ptr().add(COMMITTED_AT).cast()) }
    }
}

/// A chunk seen by somebody who does not own it.
#[derive(Clone, Copy)]
pub(crate) struct View(NonNull<u8>);

// SAFETY: it is an address; what may be read there, and until when, is its user's to know.
unsafe impl Send for View {}
// SAFETY: the same.
unsafe impl Sync for View {}

impl View {
    /// Where in its log it begins, and the payload that counts.
    ///
    /// # Safety
    /// The chunk is not given back for as long as the payload is looked at, and the view was reached through the log's
    /// first chunk.
    pub(crate) unsafe fn payload<'a>(self) -> (u64, &'a [u8]) {
        let at = self.0.as_ptr();
        // SAFETY: it is a chunk in use, by the caller's promise. The offset was written before the chunk was linked; so
        // many bytes were written before the length was published, and are not written again.
        unsafe {
            let offset = at.add(OFFSET_AT).cast::<u64>().read();
            let length = AtomicU32::from_ptr(at.add(COMMITTED_AT).cast()).load(Ordering::Acquire);
            let payload = std::slice::from_raw_parts(at.add(HEADER_BYTES), u32::from_le(length) as usize);
            (u64::from_le(offset), payload)
        }
    }

    /// The chunk behind it.
    ///
    /// # Safety
    /// As for [`View::payload`].
    pub(crate) unsafe fn next(self) -> Option<View> {
        // SAFETY: it is a chunk in use, by the caller's promise; the link is used as an atomic only.
        let next = unsafe { AtomicPtr::<u8>::from_ptr(self.0.as_ptr().add(NEXT_AT).cast()).load(Ordering::Acquire) };
        NonNull::new(next).map(View)
    }
}

fn heap_layout(class: usize) -> std::alloc::Layout {
    #[expect(clippy::unwrap_used, reason = "the sizes are constants, and powers of two")]
    std::alloc::Layout::from_size_align(SIZES[class], HEADER_BYTES).unwrap()
}

/// A chunk's memory from the heap, with nothing committed.
fn on_heap(class: usize) -> NonNull<u8> {
    let layout = heap_layout(class);
    // SAFETY: the layout is not empty.
    let Some(at) = NonNull::new(unsafe { std::alloc::alloc(layout) }) else { std::alloc::handle_alloc_error(layout) };
    // SAFETY: it is longer than a header, and nobody else has it.
    unsafe { at.as_ptr().write_bytes(0, HEADER_BYTES) };
    at
}

#[cfg(test)]
mod tests;
