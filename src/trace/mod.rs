//! A trace as recorded: an exchange and what it says.
//!
//! [`view`] is what the extractors look at; it is made from a fresh exchange or from a line read back,
//! so that both give the same [`Row`].

mod row;
pub mod view;

pub use row::{Row, Usage};
