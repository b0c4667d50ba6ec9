//! The data dir: its paths, leases and limits.

pub mod data_dir;
pub mod disk;
pub mod evict;
pub mod inventory;
pub mod layout;
pub mod lease;
pub mod links;
pub mod lock;
pub mod open_segments;
pub mod overrides;
pub mod plugin_overrides;
pub mod pressure;
pub mod retention;
pub mod retention_change;
pub mod token;

#[cfg(test)]
mod lease_model;
#[cfg(test)]
mod lease_tests;

/// The locks that leases are made of.
mod sync {
    pub(super) use std::sync::Arc;

    pub(super) use parking_lot::Mutex;
}
