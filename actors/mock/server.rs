//! The mock's listener and connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use api_log::config::ListenAddress;
use axum::body::Body;
use axum::extract::Request;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::call::{Call, Cut, Gateway};
use super::recorded::Recorded;
use super::route;

/// The pause after a failed accept, as when descriptors have run out.
const AFTER_ACCEPT_ERROR: Duration = Duration::from_millis(100);

/// How a mock behaves where a request wishes for nothing else.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// The pause before each event of a stream.
    pub(crate) pause: Duration,
    /// What it answers from, if nothing is to be made up.
    pub(crate) recorded: Option<Arc<Recorded>>,
}

/// A mock gateway that is running. Dropping it ends it at once.
#[derive(Debug)]
pub(crate) struct Mock {
    address: SocketAddr,
    closing: watch::Sender<bool>,
    listener: JoinHandle<()>,
}

/// Starts a mock gateway on `listen`; port 0 takes a free one. Must be called within a tokio runtime.
///
/// # Errors
///
/// Those of binding the address.
pub(crate) async fn start(listen: &ListenAddress, options: Options) -> io::Result<Mock> {
    let listener = TcpListener::from_std(crate::sockets::bind(listen)?)?;
    let address = listener.local_addr()?;
    let (closing, closed) = watch::channel(false);
    let gateway = Arc::new(Gateway::new(options.pause, closed));
    let listener = tokio::spawn(listen_until_closed(listener, gateway, options.recorded));
    Ok(Mock { address, closing, listener })
}

impl Mock {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it: no new connections, and those under way are closed.
    pub(crate) async fn shutdown(mut self) {
        self.closing.send_replace(true);
        if let Err(error) = (&mut self.listener).await {
            tracing::error!(%error, "the mock's listener failed");
        }
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.closing.send_replace(true);
        self.listener.abort();
    }
}

async fn listen_until_closed(listener: TcpListener, gateway: Arc<Gateway>, recorded: Option<Arc<Recorded>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = gateway.closed() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, gateway.clone(), recorded.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the mock cannot accept a connection");
                    tokio::time::sleep(AFTER_ACCEPT_ERROR).await;
                }
            },
        }
    }
    connections.shutdown().await;
}

async fn serve(stream: TcpStream, gateway: Arc<Gateway>, recorded: Option<Arc<Recorded>>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the mock cannot set TCP_NODELAY");
    }
    let cut = Cut::default();
    let socket = Socket { stream, cut: cut.clone() };
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (gateway, cut, recorded) = (gateway.clone(), cut.clone(), recorded.clone());
        async move {
            let (parts, body) = request.into_parts();
            if let Some(recorded) = recorded {
                return Ok(recorded.answer(&parts, Body::new(body), cut).await);
            }
            let call = Call::new(&parts, gateway, cut);
            Ok::<_, Infallible>(route::answer(call, Request::from_parts(parts, Body::new(body))).await)
        }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    // A connection that was broken as wished, or by its client, is not an error of the mock.
    if let Err(error) = server.serve_connection_with_upgrades(TokioIo::new(socket), service).await {
        tracing::debug!(%error, "a connection to the mock ended");
    }
}

/// A TCP stream that ends by a reset, not in order, when that was demanded.
struct Socket {
    stream: TcpStream,
    cut: Cut,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.cut.is_demanded() {
            // Closing with a linger of zero sends RST. If it fails the client sees a plain close.
            let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.cut.is_demanded() {
            // A FIN first would make the reset look like an orderly end.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
