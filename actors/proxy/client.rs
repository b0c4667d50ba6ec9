//! A client's connection as its exchanges see it: activity, the head being read, why it is ended.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use api_log::exchange::End;
use tokio::sync::Notify;

use super::heads::{HeadCopy, Reads};

/// Shared by the parts of one connection, all on one lane; the atomics are for `Send`, nobody contends.
pub(crate) struct Client {
    /// Who connected.
    pub(crate) peer: SocketAddr,
    /// Copies the request heads.
    pub(crate) heads: HeadCopy,
    accepted: Instant,
    /// Milliseconds since `accepted` of the last byte in either direction.
    active_ms: AtomicU64,
    open: AtomicU32,
    answers: AtomicU32,
    served: AtomicU32,
    ending: AtomicU8,
    /// Tells tunnels, which have left the connection's task, that it is to be cut.
    cut: Notify,
    /// Tells the connection's task that its last exchange has ended.
    quiet: Notify,
}

/// An exchange under way on a connection; counted until dropped.
pub(crate) struct Open {
    client: Arc<Client>,
    is_answered: Cell<bool>,
}

impl Client {
    /// A connection that has just been accepted.
    pub(crate) fn new(peer: SocketAddr, max_header_bytes: usize) -> Arc<Client> {
        Arc::new(Client {
            peer,
            heads: HeadCopy::new(Reads::Requests, max_header_bytes),
            accepted: Instant::now(),
            active_ms: AtomicU64::new(0),
            open: AtomicU32::new(0),
            answers: AtomicU32::new(0),
            served: AtomicU32::new(0),
            ending: AtomicU8::new(0),
            cut: Notify::new(),
            quiet: Notify::new(),
        })
    }

    /// A byte passed `now`.
    pub(crate) fn touch(&self, now: Instant) {
        self.active_ms.store(now.saturating_duration_since(self.accepted).as_millis() as u64, Ordering::Relaxed);
    }

    /// Counts an exchange as under way.
    pub(crate) fn open(self: &Arc<Client>) -> Rc<Open> {
        self.touch(Instant::now());
        self.open.fetch_add(1, Ordering::Relaxed);
        self.served.fetch_add(1, Ordering::Relaxed);
        Rc::new(Open { client: self.clone(), is_answered: Cell::new(false) })
    }

    /// What is read next belongs to a request head.
    pub(crate) fn expect_head(&self) {
        self.heads.expect();
    }

    /// Says why the connection is about to be cut.
    pub(crate) fn end(&self, end: End) {
        let code = End::ALL.iter().position(|it| *it == end).map_or(0, |at| at as u8 + 1);
        self.ending.store(code, Ordering::Relaxed);
        self.cut.notify_waiters();
    }

    /// Waits until the connection is to be cut.
    pub(crate) async fn until_cut(&self) {
        loop {
            let told = self.cut.notified();
            if self.ending().is_some() {
                return;
            }
            told.await;
        }
    }

    /// Waits until no exchange is under way.
    pub(crate) async fn until_quiet(&self) {
        loop {
            let told = self.quiet.notified();
            if self.open.load(Ordering::Relaxed) == 0 {
                return;
            }
            told.await;
        }
    }

    /// Why the connection was cut, if the recorder cut it.
    pub(crate) fn ending(&self) -> Option<End> {
        let code = self.ending.load(Ordering::Relaxed);
        End::ALL.get(usize::from(code).checked_sub(1)?).copied()
    }

    /// What the watchdog should do about this connection now.
    pub(crate) fn verdict(&self, limits: &Limits, now: Instant) -> Verdict {
        let active = self.accepted + Duration::from_millis(self.active_ms.load(Ordering::Relaxed));
        let quiet = now.saturating_duration_since(active);
        if self.open.load(Ordering::Relaxed) > 0 {
            // A gateway may think as long as it likes; the limit is for answers that have begun.
            let is_answering = self.answers.load(Ordering::Relaxed) > 0;
            return match limits.stream_idle {
                Some(limit) if is_answering && quiet >= limit => Verdict::StreamIsIdle,
                _ => Verdict::Fine,
            };
        }
        let head_began = self.heads.begun();
        let is_fresh = self.served.load(Ordering::Relaxed) == 0;
        match head_began.or(is_fresh.then_some(self.accepted)) {
            Some(since) if now.saturating_duration_since(since) >= limits.read_header => Verdict::HeadIsLate,
            None if quiet >= limits.idle => Verdict::KeptAliveTooLong,
            _ => Verdict::Fine,
        }
    }
}

impl Open {
    /// The head of its answer has come.
    pub(crate) fn answered(&self) {
        if !self.is_answered.replace(true) {
            self.client.answers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.client.touch(Instant::now());
        if self.is_answered.get() {
            self.client.answers.fetch_sub(1, Ordering::Relaxed);
        }
        if self.client.open.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.client.quiet.notify_waiters();
        }
    }
}

/// How long a connection may be quiet. A zero limit on heads or keep-alive means none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For a request head, from its first byte (for the first head: from the accept).
    pub(crate) read_header: Duration,
    /// Between exchanges.
    pub(crate) idle: Duration,
    /// Within an exchange whose answer has begun, in both directions.
    pub(crate) stream_idle: Option<Duration>,
}

impl Limits {
    /// How often to look: often enough to be at most a quarter late.
    pub(crate) fn period(&self) -> Duration {
        let shortest = self.read_header.min(self.idle).min(self.stream_idle.unwrap_or(Duration::MAX));
        (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(5))
    }
}

/// The watchdog's finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing to do.
    Fine,
    /// A request head takes too long.
    HeadIsLate,
    /// Nobody asked anything for too long.
    KeptAliveTooLong,
    /// Nothing passed within an exchange for too long.
    StreamIsIdle,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        read_header: Duration::from_secs(10),
        idle: Duration::from_secs(120),
        stream_idle: Some(Duration::from_secs(600)),
    };

    #[test]
    fn each_phase_has_its_own_limit() {
        let client = Client::new(([127, 0, 0, 1], 1).into(), 1000);
        let at = |seconds| client.accepted + Duration::from_secs(seconds);
        assert_eq!(client.verdict(&LIMITS, at(9)), Verdict::Fine);
        assert_eq!(client.verdict(&LIMITS, at(10)), Verdict::HeadIsLate);
        let open = client.open();
        client.touch(at(50));
        assert_eq!(client.verdict(&LIMITS, at(5000)), Verdict::Fine, "nothing has been answered yet");
        open.answered();
        assert_eq!(client.verdict(&LIMITS, at(649)), Verdict::Fine);
        assert_eq!(client.verdict(&LIMITS, at(650)), Verdict::StreamIsIdle);
        drop(open);
        assert_eq!(client.verdict(&LIMITS, at(119)), Verdict::Fine);
        client.touch(at(1));
        assert_eq!(client.verdict(&LIMITS, at(121)), Verdict::KeptAliveTooLong);
    }

    #[test]
    fn an_ending_is_told_as_it_was_given() {
        let client = Client::new(([127, 0, 0, 1], 1).into(), 1000);
        assert_eq!(client.ending(), None);
        for end in End::ALL {
            client.end(end);
            assert_eq!(client.ending(), Some(end));
        }
    }
}
