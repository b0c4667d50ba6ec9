//! A lane's connections to the upstream.
//!
//! HTTP/1.1 connections serve one exchange at a time and wait in the pool between; an HTTP/2 connection
//! (TLS with ALPN) serves many. All of it belongs to one lane: nothing here is shared with another.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper::rt::{Read, Write};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::heads::{HeadCopy, Heads, Reads};
use super::tap::RequestBody;

/// Longest wait for a connection. The operating system's own limit is minutes; a client waits meanwhile.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Idle connections a lane keeps.
const MAX_IDLE: usize = 1024;

/// Where the upstream is and how to speak to it.
pub(crate) struct Target {
    /// Host name or address, without brackets.
    pub(crate) host: String,
    /// Port.
    pub(crate) port: u16,
    /// TLS and the name to verify, for `https`.
    pub(crate) tls: Option<(TlsConnector, ServerName<'static>)>,
    /// How long an unused connection is kept.
    pub(crate) idle: Duration,
    /// Longest answer head, in bytes.
    pub(crate) max_header_bytes: usize,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Name resolution or TCP.
    #[error("cannot connect to {host}:{port}: {source}")]
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// TLS.
    #[error("TLS with {host} failed: {source}")]
    Tls {
        /// The host.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The HTTP layer did not come up.
    #[error("cannot begin HTTP with {host}: {source}")]
    Http {
        /// The host.
        host: String,
        /// Why.
        source: hyper::Error,
    },
}

/// Which protocol a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Whichever the upstream prefers.
    Any,
    /// HTTP/1.1: an upgrade, which HTTP/2 does not know (RFC 9113 §8.6).
    Http1,
}

/// The pool of one lane.
pub(crate) struct Pool {
    target: Arc<Target>,
    /// TLS that offers HTTP/1.1 alone.
    http1_tls: Option<TlsConnector>,
    idle: RefCell<Vec<Idle>>,
    shared: RefCell<Option<Http2>>,
}

struct Idle {
    line: Http1,
    since: Instant,
}

/// An HTTP/1.1 connection, in use or idle. Dropping it closes the socket.
struct Http1 {
    sender: http1::SendRequest<RequestBody>,
    heads: HeadCopy,
    work: Rc<Work>,
    task: AbortHandle,
}

/// What an HTTP/1.1 connection does: reading, writing, framing. Its task does it, and so does whoever waits for an answer's
/// body: a turn of another task for each frame would send each by itself, and an answer's head without its body.
struct Work {
    /// `None` when it has come to its end.
    connection: RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>>,
    /// Wakes the task, whoever did the work last: so nobody else need be there for it to go on.
    waker: RefCell<Option<Waker>>,
}

impl Work {
    fn new(connection: impl Future<Output = ()> + 'static) -> Rc<Work> {
        Rc::new(Work { connection: RefCell::new(Some(Box::pin(connection))), waker: RefCell::default() })
    }

    /// Does all there is to do now.
    fn go_on(&self) -> Poll<()> {
        let waker = self.waker.borrow();
        // Without a waker the task has not begun; a connection that is borrowed is at work further down this very stack.
        let (Some(waker), Ok(mut connection)) = (&*waker, self.connection.try_borrow_mut()) else {
            return Poll::Pending;
        };
        let Some(work) = &mut *connection else { return Poll::Ready(()) };
        std::task::ready!(work.as_mut().poll(&mut Context::from_waker(waker)));
        *connection = None;
        waker.wake_by_ref();
        Poll::Ready(())
    }

    /// The task.
    async fn run(self: Rc<Work>) {
        std::future::poll_fn(|cx| {
            let is_known = self.waker.borrow().as_ref().is_some_and(|it| it.will_wake(cx.waker()));
            if !is_known {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
            }
            self.go_on()
        })
        .await;
    }
}

impl Drop for Http1 {
    fn drop(&mut self) {
        // Ends the connection even while a request body is still being sent: a client that left must not
        // keep its upload going.
        self.task.abort();
    }
}

#[derive(Clone)]
struct Http2 {
    sender: http2::SendRequest<RequestBody>,
}

/// A connection lent to one exchange.
pub(crate) struct Borrowed {
    line: Line,
    pool: Rc<Pool>,
    /// It has served an exchange before: it may have been closed meanwhile.
    pub(crate) is_reused: bool,
}

enum Line {
    Http1(Http1),
    Http2(Http2),
}

impl Pool {
    /// An empty pool.
    pub(crate) fn new(target: Arc<Target>) -> Rc<Pool> {
        let http1_tls = target.tls.as_ref().map(|(connector, _)| {
            let mut config = rustls::ClientConfig::clone(connector.config());
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            TlsConnector::from(Arc::new(config))
        });
        Rc::new(Pool { target, http1_tls, idle: RefCell::default(), shared: RefCell::default() })
    }

    /// A connection: an idle one, else a new one.
    pub(crate) async fn borrow(self: &Rc<Pool>, wants: Wants) -> Result<Borrowed, ConnectError> {
        if let Some(line) = self.take_idle(wants) {
            return Ok(Borrowed { line, pool: self.clone(), is_reused: true });
        }
        self.borrow_new(wants).await
    }

    /// A connection that nobody has used.
    pub(crate) async fn borrow_new(self: &Rc<Pool>, wants: Wants) -> Result<Borrowed, ConnectError> {
        let http1_tls = self.http1_tls.as_ref().filter(|_| wants == Wants::Http1);
        let line = connect(&self.target, http1_tls).await?;
        if let Line::Http2(line) = &line {
            *self.shared.borrow_mut() = Some(line.clone());
        }
        Ok(Borrowed { line, pool: self.clone(), is_reused: false })
    }

    fn take_idle(&self, wants: Wants) -> Option<Line> {
        let shared = self.shared.borrow().clone();
        if let Some(line) = shared
            && wants == Wants::Any
        {
            if !line.sender.is_closed() {
                return Some(Line::Http2(line));
            }
            *self.shared.borrow_mut() = None;
        }
        let mut idle = self.idle.borrow_mut();
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            let candidate = &idle[at];
            if candidate.line.sender.is_closed() || candidate.since.elapsed() >= self.target.idle {
                drop(idle.swap_remove(at));
            } else if candidate.line.sender.is_ready() {
                return Some(Line::Http1(idle.swap_remove(at).line));
            }
        }
        None
    }

    /// Closes what has been idle for too long.
    pub(crate) fn prune(&self) {
        self.idle.borrow_mut().retain(|it| !it.line.sender.is_closed() && it.since.elapsed() < self.target.idle);
    }
}

/// What became of a request that was sent.
pub(crate) enum Sending {
    /// The answer's head, and the copy of its bytes if it came by HTTP/1.1.
    Answer(Box<Response<Incoming>>, Option<Vec<u8>>),
    /// The connection was closed before any byte of an answer.
    Failed(hyper::Error),
}

impl Borrowed {
    /// Whether requests need the form of HTTP/2: an absolute target, no `Host`.
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.line, Line::Http2(_))
    }

    /// Whether a byte of the answer has arrived. (HTTP/2 itself tells what has not been looked at.)
    pub(crate) fn has_begun_to_answer(&self) -> bool {
        match &self.line {
            Line::Http1(line) => line.heads.begun().is_some(),
            Line::Http2(_) => false,
        }
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(&mut self, request: Request<RequestBody>) -> Sending {
        match &mut self.line {
            Line::Http1(line) => {
                line.heads.expect();
                match line.sender.send_request(request).await {
                    Ok(answer) => {
                        let head = line.heads.take(&[b"HTTP/1."], None);
                        Sending::Answer(Box::new(answer), head)
                    }
                    Err(error) => Sending::Failed(error),
                }
            }
            Line::Http2(line) => match line.sender.send_request(request).await {
                Ok(answer) => Sending::Answer(Box::new(answer), None),
                Err(error) => Sending::Failed(error),
            },
        }
    }

    /// Reads on behind what is known to have been taken of what was read: what the answer's body waits for may be there
    /// already. Whether it went on.
    pub(crate) fn go_on_behind(&self, taken: u64) -> bool {
        let Line::Http1(line) = &self.line else { return false };
        // To look for more than there is costs hyper a buffer, for it holds the frame before.
        let has_more = line.heads.read_bytes() > taken;
        if has_more {
            let _ = line.work.go_on();
        }
        has_more
    }

    /// How many bytes have been read from it so far.
    pub(crate) fn read_bytes(&self) -> u64 {
        match &self.line {
            Line::Http1(line) => line.heads.read_bytes(),
            Line::Http2(_) => 0,
        }
    }

    /// The exchange has ended in order: the connection may serve another.
    pub(crate) fn give_back(self) {
        if let Line::Http1(line) = self.line {
            let mut idle = self.pool.idle.borrow_mut();
            if !line.sender.is_closed() && idle.len() < MAX_IDLE {
                idle.push(Idle { line, since: Instant::now() });
            }
        }
    }

    /// The connection now carries another protocol: it leaves the pool for good, and stays open.
    pub(crate) fn give_up(self) -> impl Sized {
        self.line
    }
}

/// Connects; by `tls` where that is given, else by the target's own.
async fn connect(target: &Target, tls: Option<&TlsConnector>) -> Result<Line, ConnectError> {
    let tcp_error = |source| ConnectError::Tcp { host: target.host.clone(), port: target.port, source };
    let stream = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect((target.host.as_str(), target.port)))
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection within 10 s")))
        .map_err(tcp_error)?;
    stream.set_nodelay(true).map_err(tcp_error)?;
    let Some((connector, name)) = &target.tls else {
        return begin_http1(target, TokioIo::new(stream)).await;
    };
    let connector = tls.unwrap_or(connector);
    let stream = tokio::time::timeout(CONNECT_LIMIT, connector.connect(name.clone(), stream))
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no handshake within 10 s")))
        .map_err(|source| ConnectError::Tls { host: target.host.clone(), source })?;
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        return begin_http2(target, TokioIo::new(stream)).await;
    }
    begin_http1(target, TokioIo::new(stream)).await
}

async fn begin_http1<I: Read + Write + Unpin + Send + 'static>(target: &Target, io: I) -> Result<Line, ConnectError> {
    let heads = HeadCopy::new(Reads::Answers, target.max_header_bytes);
    let (sender, connection) = http1::Builder::new()
        .preserve_header_case(true)
        .max_header_size(target.max_header_bytes)
        .max_headers(MAX_FIELDS)
        .handshake(Heads::new(io, heads.clone()))
        .await
        .map_err(|source| ConnectError::Http { host: target.host.clone(), source })?;
    // Its errors reach the exchange that uses it.
    let work = Work::new(async move {
        let _ = connection.with_upgrades().await;
    });
    let task = tokio::task::spawn_local(work.clone().run());
    Ok(Line::Http1(Http1 { sender, heads, work, task: task.abort_handle() }))
}

async fn begin_http2<I: Read + Write + Unpin + 'static>(target: &Target, io: I) -> Result<Line, ConnectError> {
    let (sender, connection) = http2::Builder::new(LocalExecutor)
        .timer(hyper_util::rt::TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .handshake(io)
        .await
        .map_err(|source| ConnectError::Http { host: target.host.clone(), source })?;
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    Ok(Line::Http2(Http2 { sender }))
}

/// Most header fields of a message.
pub(crate) const MAX_FIELDS: usize = 512;

/// Runs hyper's background work on the lane it is called on.
#[derive(Clone, Copy)]
pub(crate) struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(Discard(Box::pin(future)));
    }
}

/// A future whose outcome nobody asks for.
struct Discard<F>(Pin<Box<F>>);

impl<F: Future> Future for Discard<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx).map(|_| ())
    }
}
