//! Statistics: counts, errors, tokens and times by model, key, client, project and hour or day. They come from the
//! rollups, and from rows only for the parts of an hour at either end of the time that is asked for.

mod distribution;
mod params;
mod report;
pub(super) mod rollup;

pub use params::{Bucket, By, StatsParams};
pub use report::{Others, Series, Spread, Stats, TooManySeries, Totals, stats};

#[cfg(test)]
mod tests;
