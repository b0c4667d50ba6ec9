//! The read API as callers see it: the shipped binary over sockets.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure is the test's result")]

mod seed;
mod stack;

mod answers;
mod detail;
mod health;
mod lists;
mod media;
mod metrics;
mod rebuild;
mod retention;
mod search;
mod sessions;
mod stats;
mod verify;
