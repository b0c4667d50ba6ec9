//! The recording side: from what a lane captured to a line in its file and a row in the index.
//!
//! [`intake`] is where lanes leave it; [`finalizers`] start a [`finalizer`] for each trace, which is [`held`]
//! until its [`writer`] (one for each bucket, under [`writers`]) has appended the line; the writer offers the
//! row to the [`index`], which reads back from the files whatever it missed and heals itself ([`index_healing`],
//! [`rebuild`]). How many are read at once, [`parsing`] says. Captures are [`log`]s in an [`arena`] (its [`tender`]
//! has memory ready) that survives the process; [`spool`] appends them to disk and takes large ones out of memory
//! meanwhile, and [`recovery`] makes traces of what an earlier process left ([`recovered`]). The
//! [`sealer`] compresses files that are finished.
//! What the [`disk`] refuses waits, loses its bodies, or is dropped, in this order; so does a key that leaves more than
//! its share ([`day_bytes`]) lose its bodies.
//!
//! An upgraded connection is an [`open_socket`] with a queue of its own; its [`socket`] actor (under [`sockets`])
//! reads it ([`socket_reading`]) and hands each piece over as a trace like any other.

mod arena;
mod captured;
mod cover;
mod day_bytes;
pub(crate) mod disk;
pub(crate) mod finalizer;
pub(crate) mod finalizers;
mod held;
pub(crate) mod index;
mod index_healing;
mod index_merging;
mod index_open;
pub(crate) mod index_status;
mod intake;
mod log;
mod mapping;
mod memory;
mod open_socket;
mod parsing;
mod places;
pub(crate) mod rebuild;
mod recovered;
pub(crate) mod recovery;
pub(crate) mod sealer;
mod socket;
mod socket_reading;
pub(crate) mod sockets;
pub(crate) mod spool;
pub(crate) mod tender;
mod writer;
pub(crate) mod writers;

#[cfg(test)]
mod tests;

pub(crate) use arena::ArenaReport;
pub(crate) use captured::{Captured, CapturedLog};
pub(crate) use day_bytes::DayBytes;
pub(crate) use held::{Content, Held};
pub(crate) use intake::{Intake, MOST_SPILLS, Queue};
pub(crate) use log::{LetGo, Log, LogShared, LookedAt, Need};
pub(crate) use memory::{Memory, Share};
pub(crate) use open_socket::{Batch, Ended as SocketEnded, Heard, MOST_NEWS, News, OpenSocket, OpenSockets};
pub(crate) use parsing::Parsing;
pub(crate) use places::{Captures, Prepared};
pub(crate) use socket_reading::Shared as SocketShared;
pub(crate) use writer::{MOST_SYNCING, Shared as WriterShared};
