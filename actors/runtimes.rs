//! The runtimes beside the lanes, and how many threads each has.

use std::io;
use std::num::NonZero;

use tokio::runtime::{Builder, Runtime};

/// Threads of the control runtime: supervision, the listener and the read API.
const CONTROL_THREADS: usize = 2;

/// After how many tasks a recording thread looks whether timers, sockets or other threads have something for it. The
/// runtime's own 61 are made for tasks of microseconds; here each may parse for milliseconds, and writers wait for both.
const TURNS_UNTIL_EVENTS: u32 = 7;

/// The runtime that everything but forwarding and recording runs on.
pub(crate) fn control() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(CONTROL_THREADS).thread_name("control").enable_all().build()
}

/// The runtime that records. Parsing and disks never run on a lane.
pub(crate) fn recording() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(recording_threads())
        .thread_name("recording")
        .event_interval(TURNS_UNTIL_EVENTS)
        .global_queue_interval(TURNS_UNTIL_EVENTS)
        .enable_all()
        .build()
}

/// One thread for every two cores: more would only take turns with the lanes, which forward meanwhile.
pub(crate) fn recording_threads() -> usize {
    (cores() / 2).max(1)
}

/// Threads that parse beside those while memory is short: as many as make one for every core, and at least
/// one. What is not recorded then is lost, and what they take of the lanes' turns slows what comes.
pub(crate) fn threads_in_need() -> usize {
    (cores() - recording_threads()).max(1)
}

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get)
}

/// Lets others go before this thread, for good: the more, the higher the niceness (at most 19).
pub(crate) fn lower(niceness: libc::c_int) {
    // SAFETY: a plain system call; 0 is the calling thread. A refusal changes nothing.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) };
}
