//! A caller's connection: how long it may be quiet, and who is at its other end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use api_log::config::Config;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How long a caller may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// To send a request's head, from its first byte or, for the first one, from the beginning; and to send its body.
    pub(crate) read_header: Duration,
    /// To send another request, or to take a byte of an answer.
    pub(crate) idle: Duration,
}

impl Limits {
    /// As they are configured.
    pub(crate) fn of(config: &Config) -> Limits {
        Limits { read_header: config.timeouts.read_header, idle: config.timeouts.idle }
    }

    /// How often to look: often enough to be at most a quarter late.
    pub(super) fn period(&self) -> Duration {
        (self.read_header.min(self.idle) / 4).clamp(Duration::from_millis(20), Duration::from_secs(5))
    }
}

/// What happens on a connection; clones are the same one.
#[derive(Clone)]
pub(super) struct Activity(Arc<Mutex<Phase>>);

struct Phase {
    /// Requests whose answer is not out.
    open: u32,
    /// The beginning of the head that is being read; of the first one it is the connection's.
    head_began: Option<Instant>,
    /// Since when nobody asks anything.
    quiet_since: Instant,
    /// Since when the caller takes nothing of what is written.
    stuck_since: Option<Instant>,
}

/// A request whose answer is not out; counted until dropped.
pub(super) struct Open(Activity);

impl Activity {
    /// Of a connection that has just been accepted.
    pub(super) fn new() -> Activity {
        let now = Instant::now();
        Activity(Arc::new(Mutex::new(Phase { open: 0, head_began: Some(now), quiet_since: now, stuck_since: None })))
    }

    /// A request's head is there.
    pub(super) fn open(&self) -> Open {
        let mut phase = self.0.lock();
        phase.open += 1;
        phase.head_began = None;
        drop(phase);
        Open(self.clone())
    }

    /// Whether the connection has been quiet for too long.
    pub(super) fn is_overdue(&self, limits: &Limits, now: Instant) -> bool {
        let phase = self.0.lock();
        let is_over = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        if phase.stuck_since.is_some_and(|since| is_over(since, limits.idle)) {
            return true;
        }
        match (phase.open, phase.head_began) {
            (0, Some(began)) => is_over(began, limits.read_header),
            (0, None) => is_over(phase.quiet_since, limits.idle),
            _ => false,
        }
    }

    fn read(&self) {
        let mut phase = self.0.lock();
        if phase.open == 0 && phase.head_began.is_none() {
            phase.head_began = Some(Instant::now());
        }
    }

    fn wrote(&self, outcome: &Poll<io::Result<usize>>) {
        let mut phase = self.0.lock();
        match outcome {
            Poll::Pending => drop(phase.stuck_since.get_or_insert_with(Instant::now)),
            Poll::Ready(_) => phase.stuck_since = None,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut phase = self.0.0.lock();
        phase.open -= 1;
        phase.quiet_since = Instant::now();
    }
}

/// A socket that tells what happens on it.
pub(super) struct Told<S> {
    socket: S,
    activity: Activity,
}

impl<S> Told<S> {
    /// This socket.
    pub(super) fn new(socket: S, activity: Activity) -> Told<S> {
        Told { socket, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Told<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, into))?;
        if into.filled().len() > before {
            self.activity.read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Told<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.activity.wrote(&outcome);
        outcome
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.socket).poll_write_vectored(cx, pieces);
        self.activity.wrote(&outcome);
        outcome
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { read_header: Duration::from_secs(10), idle: Duration::from_secs(120) };

    #[test]
    fn each_phase_has_its_own_limit() {
        let activity = Activity::new();
        let after = |seconds| Instant::now() + Duration::from_secs(seconds);
        let is_overdue = |seconds| activity.is_overdue(&LIMITS, after(seconds));
        assert!(!is_overdue(9) && is_overdue(10), "the first head");
        let open = activity.open();
        activity.read();
        assert!(!is_overdue(10_000), "an answer takes as long as it takes");
        activity.wrote(&Poll::Pending);
        activity.wrote(&Poll::Pending);
        assert!(!is_overdue(119) && is_overdue(121), "but somebody has to take it");
        activity.wrote(&Poll::Ready(Ok(1)));
        assert!(!is_overdue(10_000));
        drop(open);
        assert!(!is_overdue(119) && is_overdue(121), "nobody asks");
        activity.read();
        assert!(!is_overdue(9) && is_overdue(11), "the next head");
    }
}
