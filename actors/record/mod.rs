//! The recording side: from what a lane captured to a line in its file and a row in the index.
//!
//! [`intake`] is where lanes leave it; [`finalizers`] start a [`finalizer`] for each trace, which is [`held`]
//! until its [`writer`] (one for each bucket, under [`writers`]) has appended the line; the writer offers the
//! row to the [`index`], which reads back from the files whatever it missed. [`spool`] takes large captures
//! out of memory meanwhile.

mod captured;
pub(crate) mod finalizer;
pub(crate) mod finalizers;
mod held;
pub(crate) mod index;
mod intake;
pub(crate) mod spool;
mod writer;
pub(crate) mod writers;

pub(crate) use captured::{Block, Captured, CapturedBody, Memory, Share, SpoolFile};
pub(crate) use held::Held;
pub(crate) use intake::{Intake, Queue, SpillOrder};
