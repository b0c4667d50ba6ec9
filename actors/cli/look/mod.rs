//! Looking at traffic: `tail`, `show` and `replay`, of a running recorder or of a data dir's files.
//!
//! [`source`] is where traces come from, [`recorder`] asks the read API, [`row_line`] is the one line that a trace has,
//! [`paint`] gives colours, [`screen`] is `tail --inflight`. What a trace says and how it is laid out is the library's (`transcript`, `diff`).

pub(super) mod args;
mod error;
mod paint;
mod recorder;
mod replay;
mod row_line;
mod screen;
mod show;
mod source;
mod tail;
mod tail_files;
mod tail_recorder;

use std::io;

use api_log::config::Config;

use super::exit::Code;
use crate::runtimes;
use args::{Replay, Show, Tail};
use error::LookError;
pub(super) use recorder::TOKEN_VARIABLE;

/// `api-log tail`.
pub(super) fn tail(asked: Tail, config: &Config) -> Code {
    run(tail::run(asked, config))
}

/// `api-log show`.
pub(super) fn show(asked: Show, config: &Config) -> Code {
    run(show::run(asked, config))
}

/// `api-log replay`.
pub(super) fn replay(asked: Replay, config: &Config) -> Code {
    run(replay::run(asked, config))
}

/// Looks to the end. A reader of standard output that has gone had all it wanted.
fn run(look: impl Future<Output = Result<(), LookError>>) -> Code {
    let looked = runtimes::control().map_err(LookError::from).and_then(|runtime| {
        let looked = runtime.block_on(look);
        // Does not wait for files that are still being read: nobody does any more.
        runtime.shutdown_background();
        looked
    });
    match looked {
        Ok(()) => Code::Done,
        Err(LookError::Out(error)) if error.kind() == io::ErrorKind::BrokenPipe => Code::Done,
        Err(error) => {
            super::complain(&error);
            if error.is_usage() { Code::Usage } else { Code::Failed }
        }
    }
}
