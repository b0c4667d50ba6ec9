//! The trace files: lines, segments, sealed days.

pub mod bucket;
pub mod file;
pub mod find;
pub mod follow;
pub mod forward;
pub mod line;
pub mod read;
pub mod scan;
pub mod sealed;
