//! The program's allocator, and how often each thread has asked it for memory.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use tikv_jemallocator::Jemalloc;

/// Threads that are counted; those that begin later are not.
const THREADS: usize = 1 << 16;

/// Counts what passes. Growing a block is asking for memory, for it may be moved.
pub(crate) struct Counting;

static NEXT: AtomicUsize = AtomicUsize::new(0);
static THREAD_IDS: [AtomicU32; THREADS] = [const { AtomicU32::new(0) }; THREADS];
static ALLOCATIONS: [AtomicU64; THREADS] = [const { AtomicU64::new(0) }; THREADS];

thread_local! {
    static OWN: Cell<Option<usize>> = const { Cell::new(None) };
}

fn count() {
    // A thread that is ending has no number any more.
    let _ = OWN.try_with(|own| {
        let own = own.get().unwrap_or_else(|| {
            let new = NEXT.fetch_add(1, Ordering::Relaxed);
            own.set(Some(new));
            if let Some(place) = THREAD_IDS.get(new) {
                // SAFETY: a plain system call.
                place.store(unsafe { libc::gettid() } as u32, Ordering::Relaxed);
            }
            new
        });
        if let Some(count) = ALLOCATIONS.get(own) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
}

/// How often this thread of the process has asked so far; 0 if it never did.
pub(super) fn allocations_of(thread_id: u32) -> u64 {
    let threads = NEXT.load(Ordering::Relaxed).min(THREADS);
    // Numbers of threads come again: the latest is the one that lives.
    let own = (0..threads).rev().find(|at| THREAD_IDS[*at].load(Ordering::Relaxed) == thread_id);
    own.map_or(0, |at| ALLOCATIONS[at].load(Ordering::Relaxed))
}

// SAFETY: everything is left to the program's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as promised to us.
        unsafe { Jemalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as promised to us.
        unsafe { Jemalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: as promised to us.
        unsafe { Jemalloc.realloc(pointer, layout, new_size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as promised to us.
        unsafe { Jemalloc.dealloc(pointer, layout) }
    }
}
