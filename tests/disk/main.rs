//! The shipped program on real small file systems that run full or turn read-only under it.
//!
//! They are mounted, which takes root on Linux. Where that is refused these tests say so and end; the same promises are
//! then held by the tests of `actors/tests/disk.rs` alone, which need nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by it, as it should")]

#[path = "../e2e/recorder.rs"]
#[allow(dead_code, reason = "shared with the tests of `e2e`")]
mod recorder;
#[path = "../e2e/wire.rs"]
#[allow(dead_code, reason = "shared with the tests of `e2e`")]
mod wire;

mod access_log;
mod full;
mod mounted;
mod read_only;
