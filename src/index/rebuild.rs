//! A new index from all the files, at the speed of the machine's cores: into a database beside the one in use.
//!
//! [`Plan`] cuts the files into [`Piece`]s at line borders; [`parse`] makes rows of one, on any thread; one [`Loader`]
//! takes what was parsed, in the plan's order, and makes the database: rows first, without secondary indexes, then
//! those by which parents are found, the links, and what lists need last. Whoever calls brings the threads, and bounds
//! what is under way. [`super::files::install`] puts the finished database in place.
//!
//! The result is the one that [`super::catch_up()`] comes to: rows by the same code, in the same order, parents by the
//! same questions. Links are found when all rows are there, so nothing depends on the order of lines.

mod interim;
mod link;
mod loader;
mod plan;

#[cfg(test)]
mod tests;

pub use interim::{is_empty, is_interim, make_interim};
pub use loader::{FinishError, Loader, Report, Step};
pub use plan::{Parsed, Piece, Plan, parse};
