//! Tunnels: after a 101 both directions are spliced as bytes until both have ended.
//!
//! Each chunk is copied as it passes: to a WebSocket's reader, else to the one raw trace of the exchange.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use api_log::exchange::End;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::capture::{Capture, Direction};
use super::client::{Client, Open};
use super::socket_tap::SocketTap;
use super::upstream::Borrowed;

/// Bytes read at once in each direction.
const CHUNK_BYTES: usize = 16 * 1024;

/// Where the copy of what passes goes.
pub(crate) enum Copying {
    /// Nowhere.
    Nowhere,
    /// To the capture, as the bodies of one raw exchange.
    Exchange(Arc<Capture>),
    /// To the reader of a WebSocket.
    Socket(Box<SocketTap>),
}

impl Copying {
    /// By what the connection is upgraded to.
    pub(crate) fn of(capture: Option<&Arc<Capture>>, client: &Arc<Client>, is_websocket: bool) -> Copying {
        match capture {
            None => Copying::Nowhere,
            Some(capture) if is_websocket => Copying::Socket(Box::new(capture.become_socket(client))),
            Some(capture) => Copying::Exchange(capture.clone()),
        }
    }

    fn passed(&self, direction: Direction, chunk: &[u8], now: Instant) {
        match self {
            Copying::Nowhere => {}
            Copying::Exchange(capture) => capture.chunk(direction, chunk, now),
            Copying::Socket(tap) => tap.passed(direction, chunk, now),
        }
    }

    fn closed(&self, direction: Direction) {
        if let Copying::Socket(tap) = self {
            tap.closed(direction);
        }
    }

    fn ended(&self, end: End) {
        match self {
            Copying::Nowhere => {}
            Copying::Exchange(capture) => capture.ended(end),
            Copying::Socket(tap) => tap.ended(end),
        }
    }

    /// Hands over what gathers; never done.
    async fn keep_handing_over(&self) -> Infallible {
        match self {
            Copying::Socket(tap) => tap.keep_handing_over().await,
            Copying::Nowhere | Copying::Exchange(_) => std::future::pending().await,
        }
    }
}

/// Splices the two connections once both have switched. Runs on the lane until both directions have ended.
pub(crate) fn tunnel(
    copying: Copying,
    client: Arc<Client>,
    open: Rc<Open>,
    upstream: Borrowed,
    on_client: OnUpgrade,
    on_upstream: OnUpgrade,
) {
    tokio::task::spawn_local(async move {
        let _open = open;
        // The connection's task must live until it has given its socket up.
        let line = upstream.give_up();
        let both = tokio::try_join!(on_client, on_upstream);
        drop(line);
        let end = match both {
            Ok((client_side, upstream_side)) => {
                splice(&copying, &client, TokioIo::new(client_side), TokioIo::new(upstream_side)).await
            }
            Err(_) => End::ClientGone,
        };
        copying.ended(client.ending().unwrap_or(end));
        // What is told of the end is told before the exchange counts as over.
        drop(copying);
    });
}

/// What a direction's copy came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Copied {
    /// The reader saw an orderly end, and it was passed on.
    ToEnd,
    /// Reading failed.
    ReadFailed,
    /// Writing failed.
    WriteFailed,
}

async fn splice(
    copying: &Copying,
    client: &Client,
    client_side: TokioIo<Upgraded>,
    upstream_side: TokioIo<Upgraded>,
) -> End {
    let (mut from_client, mut to_client) = tokio::io::split(client_side);
    let (mut from_upstream, mut to_upstream) = tokio::io::split(upstream_side);
    let up = copy(&mut from_client, &mut to_upstream, Direction::Request, copying, client);
    let down = copy(&mut from_upstream, &mut to_client, Direction::Response, copying, client);
    let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
    // A half that ends in order leaves the other open; one that breaks ends both.
    let both = async {
        tokio::select! {
            up_end = &mut up => match up_end {
                Copied::ReadFailed => End::ClientGone,
                Copied::WriteFailed => End::UpstreamGone,
                Copied::ToEnd => if down.await == Copied::ReadFailed { End::UpstreamGone } else { End::Complete },
            },
            down_end = &mut down => match down_end {
                Copied::ReadFailed => End::UpstreamGone,
                Copied::WriteFailed => End::ClientGone,
                Copied::ToEnd => if up.await == Copied::ReadFailed { End::ClientGone } else { End::Complete },
            },
        }
    };
    // Also while only one half is left.
    tokio::select! {
        end = both => end,
        () = client.until_cut() => End::Shutdown,
        never = copying.keep_handing_over() => match never {},
    }
}

async fn copy(
    from: &mut ReadHalf<TokioIo<Upgraded>>,
    to: &mut WriteHalf<TokioIo<Upgraded>>,
    direction: Direction,
    copying: &Copying,
    client: &Client,
) -> Copied {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) => {
                copying.closed(direction);
                return if to.shutdown().await.is_ok() { Copied::ToEnd } else { Copied::WriteFailed };
            }
            Ok(read) => read,
            Err(_) => return Copied::ReadFailed,
        };
        let now = Instant::now();
        client.touch(now);
        copying.passed(direction, &buffer[..read], now);
        if to.write_all(&buffer[..read]).await.is_err() || to.flush().await.is_err() {
            return Copied::WriteFailed;
        }
    }
}
