//! The trace files: lines, segments, sealed days.
