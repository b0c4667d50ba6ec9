//! Retention: what is deleted so that the data dir stays within its limits, and how full disk and data dir are.
//!
//! [`sweeper`] looks and deletes; [`live`] is what the API reads and sets without asking it; [`gauge`] is how those
//! who write tell how much, so that nobody need look all the time.

mod gauge;
mod live;
pub(crate) mod sweeper;

#[cfg(test)]
mod tests;

pub(crate) use gauge::Gauge;
pub(crate) use live::{Limits, Live, Report, Source};
