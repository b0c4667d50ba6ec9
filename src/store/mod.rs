//! The data dir: its paths, leases and limits.

pub mod data_dir;
pub mod layout;
pub mod lease;
pub mod lock;
pub mod open_segments;
pub mod overrides;
pub mod token;
