//! A capture as bytes: the log of an exchange under way, and how it is found again after a crash.
//!
//! A log is a sequence of [`record`]s in order of arrival, none of them torn. It stands in [`chunk`]s of an [`arena`],
//! memory that survives the process, and a prefix of it may stand in a [`spool`] file. [`read`] makes the exchange of
//! it, [`find`] the logs of what a dead process left; [`place`] says where arenas are. [`underway`] reads a log
//! that still grows.

pub mod arena;
pub mod chunk;
pub mod find;
pub mod place;
pub mod read;
pub mod record;
pub mod spool;
pub mod underway;
