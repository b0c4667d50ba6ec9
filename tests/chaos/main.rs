//! The built program under mixed traffic while everything in it fails: what clients, the ledger and the files must say.
//!
//! `cargo test --features faults --test chaos`. `CHAOS_SEED` repeats a schedule, `CHAOS_SECONDS` says how long; the soak
//! has `SOAK_SECONDS`, and `CHAOS_ROW` is the one row of the supervision table that dies. With
//! `-- --nocapture` each prints a closing summary.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by it, as it should")]
#![allow(dead_code, reason = "the helpers are those of the end-to-end tests, and not all are needed here")]

#[path = "../api/collector.rs"]
mod collector;
#[path = "../e2e/recorder.rs"]
mod recorder;
#[path = "../e2e/wire.rs"]
mod wire;

mod socket;
mod traffic;

mod books;
mod readers;
mod stand;

mod schedule;
mod summary;

mod ceiling;
mod chaos;
mod rows;
mod soak;

/// What the environment says, if it does.
fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}
