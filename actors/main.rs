//! The program: what runs, what it hears, who starts it again.

#[macro_use]
mod faults;

mod api;
mod cli;
#[cfg_attr(not(test), expect(dead_code, reason = "the kit is whole and tested by itself; not all of it is needed yet"))]
#[expect(unused_imports, reason = "its front page names all of it")]
mod kit;
mod log;
mod mock;
mod notify;
mod otlp;
mod overridden;
mod plugins;
mod proxy;
mod record;
mod retention;
mod runtimes;
mod sockets;
mod stalls;
mod system;
#[cfg(test)]
mod tests;
mod tls;
mod viewer;

use std::process::ExitCode;

/// Nearly as fast as the fastest on the lanes, and far leaner under many streams (docs/performance.md).
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
/// The same, counting: see `actors/tests/allocations.rs`.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: tests::Counting = tests::Counting;

fn main() -> ExitCode {
    #[cfg(feature = "faults")]
    faults::file::follow();
    tls::choose_provider();
    cli::run(std::env::args_os())
}
