//! Observers and mutators of traffic.

pub mod path_patterns;
pub mod rewrite;
