//! The trace files: lines, segments, sealed days.

pub mod line;
