//! Loads that wrk and oha cannot make: growing conversations, streams, transfers, sockets, and requests at times that are
//! set beforehand.
//!
//! It sends by hand and reads with as little work as will do, so that most of the machine is left to the program under
//! test. What it began it brings to an end, so that it knows how many exchanges there were to record.

mod chunked;
mod connection;
mod paced;
mod requests;
mod sockets;
mod timer;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// What to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Towards whom.
    pub(crate) address: SocketAddr,
    /// Connections at once.
    pub(crate) connections: usize,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// As fast as answers come, for so many seconds.
    Closed { what: What, seconds: f64 },
    /// So many requests a second, whatever becomes of those before. Each is late from when it should have been sent.
    Open { what: What, seconds: f64, rate: f64 },
    /// A stream on each connection, of so many events, one a second.
    Paced { events: u64 },
    /// Turns on WebSockets, for so many seconds.
    Sockets { seconds: f64 },
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum What {
    /// 1 KB in, half a kilobyte out.
    Chat,
    /// About 200 KB in, 2 KB out; each asks what was asked before and some more.
    Agent,
    /// An answer of events, all at once.
    Stream,
    /// So many bytes in.
    Upload(u64),
    /// So many bytes out.
    Download(u64),
}

/// What was seen. Times in µs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Whole right answers.
    pub(crate) requests: u64,
    /// Wrong ones, or none.
    pub(crate) failed: u64,
    /// What broke first.
    pub(crate) first_failure: Option<String>,
    /// Exchanges that may have begun beyond those, and broken off when the time was over.
    pub(crate) broken_off_at_most: u64,
    /// Events, if there were any.
    pub(crate) events: u64,
    /// From the first request to the last answer.
    pub(crate) seconds: f64,
    /// Until the answer was whole.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
    /// Until the first byte of its body was there.
    pub(crate) first_p50_us: Option<f64>,
    pub(crate) first_p99_us: Option<f64>,
    /// Bytes of requests and answers, heads included.
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
}

/// What tasks of a load note.
#[derive(Default)]
pub(crate) struct Notes {
    whole_us: Vec<f32>,
    first_us: Vec<f32>,
    measured: Measured,
}

impl Notes {
    fn failed(&mut self, why: impl std::fmt::Display) {
        self.measured.failed += 1;
        self.measured.first_failure.get_or_insert_with(|| why.to_string());
    }

    fn add(&mut self, other: Notes) {
        self.whole_us.extend(other.whole_us);
        self.first_us.extend(other.first_us);
        let (own, more) = (&mut self.measured, other.measured);
        own.requests += more.requests;
        own.failed += more.failed;
        own.first_failure = own.first_failure.take().or(more.first_failure);
        own.events += more.events;
        own.sent_bytes += more.sent_bytes;
        own.received_bytes += more.received_bytes;
    }

    fn measured(mut self, seconds: f64) -> Measured {
        self.whole_us.sort_unstable_by(f32::total_cmp);
        self.first_us.sort_unstable_by(f32::total_cmp);
        let at = |times: &[f32], part: f64| {
            let last = times.len().checked_sub(1)?;
            Some(f64::from(times[((times.len() as f64 * part) as usize).min(last)]))
        };
        let whole = |part| at(&self.whole_us, part).unwrap_or_default();
        Measured {
            seconds,
            p50_us: whole(0.5),
            p99_us: whole(0.99),
            max_us: whole(1.0),
            first_p50_us: at(&self.first_us, 0.5),
            first_p99_us: at(&self.first_us, 0.99),
            ..self.measured
        }
    }
}

/// Does it.
pub(crate) fn run(load: Load) -> Measured {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let began = std::time::Instant::now();
    let notes = match load.kind {
        Kind::Closed { what, seconds } => runtime.block_on(requests::run(&load, what, seconds, None)),
        Kind::Open { what, seconds, rate } => runtime.block_on(requests::run(&load, what, seconds, Some(rate))),
        Kind::Paced { events } => runtime.block_on(paced::run(&load, events)),
        Kind::Sockets { seconds } => sockets::run(&load, seconds),
    };
    notes.measured(began.elapsed().as_secs_f64())
}
