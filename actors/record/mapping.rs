//! The arena's address space: a file mapped into memory, or memory alone. All its system calls are here.

use std::fs::File;
use std::io;
use std::ptr::NonNull;

use api_log::capture::arena::PAGE_BYTES;
use rustix::fs::FallocateFlags;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// Address space, with memory where it was allocated.
pub(super) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: it is address space; who may use which chunk of it is the arena's affair.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Of this file, or of memory that ends with the process.
    pub(super) fn new(bytes: usize, file: Option<&File>) -> io::Result<Mapping> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: new address space wherever the kernel likes.
        let start = unsafe {
            match file {
                Some(file) => rustix::mm::mmap(
                    std::ptr::null_mut(),
                    bytes,
                    access,
                    MapFlags::SHARED | MapFlags::NORESERVE,
                    file,
                    0,
                ),
                None => rustix::mm::mmap_anonymous(
                    std::ptr::null_mut(),
                    bytes,
                    access,
                    MapFlags::PRIVATE | MapFlags::NORESERVE,
                ),
            }
        }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let map = Mapping { start, bytes };
        map.populate(0, PAGE_BYTES as u64);
        Ok(map)
    }

    /// The address of what stands at `offset` of the file.
    pub(super) fn at(&self, offset: u64) -> NonNull<u8> {
        assert!((offset as usize) < self.bytes, "beyond the arena");
        // SAFETY: within the mapping, as was just checked.
        unsafe { self.start.add(offset as usize) }
    }

    /// Gives it memory.
    pub(super) fn allocate(&self, at: u64, bytes: u64, file: Option<&File>) -> io::Result<()> {
        if let Some(file) = file {
            rustix::fs::fallocate(file, FallocateFlags::empty(), at, bytes)?;
        }
        self.populate(at, bytes);
        Ok(())
    }

    /// So that no lane meets a page for the first time. Older kernels cannot; then one does.
    fn populate(&self, at: u64, bytes: u64) {
        let start = self.at(at).as_ptr().cast();
        // SAFETY: within the mapping; it changes no content.
        let _ = unsafe { rustix::mm::madvise(start, bytes as usize, Advice::LinuxPopulateWrite) };
    }

    /// Takes its memory away; it reads as zeros then.
    pub(super) fn give_back(&self, at: u64, bytes: u64, file: Option<&File>) -> io::Result<()> {
        match file {
            Some(file) => {
                rustix::fs::fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, at, bytes)?;
            }
            None => {
                let start = self.at(at).as_ptr().cast();
                // SAFETY: within the mapping, and nobody uses that chunk.
                unsafe { rustix::mm::madvise(start, bytes as usize, Advice::LinuxDontNeed) }?;
            }
        }
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length; whoever has a chunk of it has the arena, too.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}
