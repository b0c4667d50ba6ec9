//! The index: derived from the files, rebuildable, never the truth.
//!
//! It is a tailer. Per segment it keeps, in the same transaction as the rows, how far it has indexed; what
//! it misses it reads back from the file ([`catch_up()`]). A catch-up into an empty database is a rebuild, and
//! [`rebuild`] is the fast way to the same.
//!
//! One connection writes ([`schema::open_writer`], [`insert_batch`], [`catch_up()`], [`remove_segment`]), any
//! number read ([`schema::open_reader`], [`query`], [`sessions`]).

pub mod check;
pub mod files;
pub mod filter;
pub mod query;
pub mod rebuild;
pub mod schema;
pub mod sessions;
pub mod stats;
pub mod texts;

mod awaiting;
mod batch;
mod catch_up;
mod classes;
mod correct;
mod fresh;
mod insert;
mod merge;
mod migrate;
mod parent;
mod remove;
mod state;

#[cfg(test)]
mod fresh_tests;
#[cfg(test)]
mod lease_tests;
#[cfg(test)]
mod takeover_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use catch_up::{Budget, Progress, bad_lines, catch_up};
pub use correct::set_media_count;
pub use insert::{BatchReport, insert_batch, insert_fresh};
pub use merge::{Merged, merge_fresh};
pub use remove::remove_segment;
pub use state::WriterState;

/// The index could not be written or caught up.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The database failed. Nothing of the transaction under way is in it.
    #[error("index: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Its file was deleted, or another one stands in its place.
    #[error("the index's file is not the one that was opened")]
    Gone,
    /// The data dir could not be listed, so that nothing is known about what is missing.
    #[error("cannot list the data dir: {0}")]
    List(std::io::Error),
}
