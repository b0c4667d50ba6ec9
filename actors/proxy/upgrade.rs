//! Tunnels: after a 101 both directions are spliced as bytes until both have ended.

use std::rc::Rc;
use std::sync::Arc;

use api_log::exchange::End;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::capture::{Capture, Direction};
use super::client::{Client, Open};
use super::upstream::Borrowed;

/// Bytes read at once in each direction.
const CHUNK_BYTES: usize = 16 * 1024;

/// Splices the two connections once both have switched. Runs on the lane until both directions have ended.
pub(crate) fn tunnel(
    capture: Option<Arc<Capture>>,
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
                splice(capture.as_deref(), &client, TokioIo::new(client_side), TokioIo::new(upstream_side)).await
            }
            Err(_) => End::ClientGone,
        };
        if let Some(capture) = capture {
            capture.ended(client.ending().unwrap_or(end));
        }
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
    capture: Option<&Capture>,
    client: &Client,
    client_side: TokioIo<Upgraded>,
    upstream_side: TokioIo<Upgraded>,
) -> End {
    let (mut from_client, mut to_client) = tokio::io::split(client_side);
    let (mut from_upstream, mut to_upstream) = tokio::io::split(upstream_side);
    let up = copy(&mut from_client, &mut to_upstream, Direction::Request, capture, client);
    let down = copy(&mut from_upstream, &mut to_client, Direction::Response, capture, client);
    let (mut up, mut down) = (std::pin::pin!(up), std::pin::pin!(down));
    // A half that ends in order leaves the other open; one that breaks ends both.
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
        () = client.until_cut() => End::Shutdown,
    }
}

async fn copy(
    from: &mut ReadHalf<TokioIo<Upgraded>>,
    to: &mut WriteHalf<TokioIo<Upgraded>>,
    direction: Direction,
    capture: Option<&Capture>,
    client: &Client,
) -> Copied {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) => {
                return if to.shutdown().await.is_ok() { Copied::ToEnd } else { Copied::WriteFailed };
            }
            Ok(read) => read,
            Err(_) => return Copied::ReadFailed,
        };
        client.touch(std::time::Instant::now());
        if let Some(capture) = capture {
            capture.tunnelled(direction, &buffer[..read]);
        }
        if to.write_all(&buffer[..read]).await.is_err() || to.flush().await.is_err() {
            return Copied::WriteFailed;
        }
    }
}
