//! The read API as callers see it: the shipped binary over sockets.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure is the test's result")]

mod collector;
mod schema;
mod seed;
mod stack;

mod access_log;
mod answers;
mod attachments;
mod contract;
mod detail;
mod export;
mod hardening;
mod health;
mod inflight;
mod lists;
mod media;
mod metrics;
mod openapi;
mod otlp;
mod plugins;
mod plugins_live;
mod rebuild;
mod replay;
mod retention;
mod search;
mod sessions;
mod stats;
mod tail;
mod tokens;
mod verify;
