//! The shipped program from outside: the test is the gateway on one side and the client on the other, both with
//! bare sockets, and reads what was recorded from the files and from the read API.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by it, as it should")]

mod recorder;
mod wire;

mod endings;
mod framing;
mod http2;
mod limits;
mod mutated_streams;
mod mutators;
mod pool;
mod reload;
mod request;
mod response;
mod restart;
mod service;
mod shutdown;
mod tls;
mod upgrade;
