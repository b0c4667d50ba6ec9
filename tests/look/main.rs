//! Looking at traffic from outside: `tail`, `show`, `replay`, and the mock gateway that answers from recordings.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure is the test's result")]

#[path = "../api/stack.rs"]
#[expect(dead_code, reason = "the read API's tests use all of it")]
mod stack;

mod stand;

mod mock;
mod screen;
mod show;
mod tail;
