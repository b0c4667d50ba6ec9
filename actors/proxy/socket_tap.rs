//! Copies what passes through a WebSocket's tunnel, for its reader on the recording side.
//!
//! Nothing is parsed here, nothing waits, and what passes is not delayed: bytes gather in a batch that is handed
//! over when it is full, a moment after its first byte, and at the end.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api_log::capture::record::{Ended, Kind};
use api_log::exchange::End;
use api_log::wire::websocket::Side;
use tokio::sync::Notify;

use super::capture::{Direction, Recorder};
use super::client::Client;
use crate::record::{Batch, MOST_NEWS, Need, News, OpenSocket, SocketEnded};

/// How long bytes gather.
const GATHER: Duration = Duration::from_millis(25);

/// The tap of one tunnel. Dropped, it tells the socket's end, however that came about.
pub(crate) struct SocketTap {
    recorder: Arc<Recorder>,
    socket: Arc<OpenSocket>,
    client: Arc<Client>,
    batch: RefCell<Batch>,
    /// A batch has begun.
    begun: Notify,
    end: Cell<Option<End>>,
    left: Cell<Option<Side>>,
    /// Its log says already that it lacks bytes.
    is_log_cut: Cell<bool>,
    /// Bytes of each direction.
    bytes: Cell<[u64; 2]>,
}

impl SocketTap {
    /// Opens the socket on the recording side.
    pub(crate) fn open(recorder: Arc<Recorder>, socket: Arc<OpenSocket>, client: Arc<Client>) -> SocketTap {
        recorder.logs.intake.sockets.push(socket.clone());
        let batch = RefCell::new(Batch::new(&recorder.logs.memory));
        SocketTap {
            recorder,
            socket,
            client,
            batch,
            begun: Notify::new(),
            end: Cell::new(None),
            left: Cell::new(None),
            is_log_cut: Cell::new(false),
            bytes: Cell::default(),
        }
    }

    /// Copies a chunk that passes `now`.
    pub(crate) fn passed(&self, direction: Direction, chunk: &[u8], now: Instant) {
        let mut bytes = self.bytes.get();
        bytes[direction as usize] += chunk.len() as u64;
        self.bytes.set(bytes);
        self.socket.log.passed(direction as usize, bytes[direction as usize]);
        let mut batch = self.batch.borrow_mut();
        if batch.is_empty() {
            self.begun.notify_one();
        }
        let at_us = self.at_us(now);
        batch.push(side(direction), chunk, at_us);
        self.log(&mut batch, direction, chunk, at_us);
        if batch.is_full() {
            drop(batch);
            let _ = self.hand_over_if_room();
        }
    }

    /// This direction has ended in order.
    pub(crate) fn closed(&self, direction: Direction) {
        if self.left.get().is_none() {
            self.left.set(Some(side(direction)));
        }
    }

    /// Tells how the tunnel ended.
    pub(crate) fn ended(&self, end: End) {
        self.end.set(Some(end));
    }

    /// Hands each batch over once it has gathered; never done.
    pub(crate) async fn keep_handing_over(&self) -> Infallible {
        loop {
            self.begun.notified().await;
            tokio::time::sleep(GATHER).await;
            while !self.hand_over_if_room() {
                tokio::time::sleep(GATHER).await;
            }
        }
    }

    /// A reader that is far behind gets no more than so much; `false` if this batch has to wait.
    fn hand_over_if_room(&self) -> bool {
        let has_room = self.socket.news.len() < MOST_NEWS;
        match has_room {
            true => self.hand_over(),
            false => self.batch.borrow_mut().close(),
        }
        has_room
    }

    /// For the case that the process crashes before the socket's reader has made something of it.
    fn log(&self, batch: &mut Batch, direction: Direction, chunk: &[u8], at_us: u64) {
        let log = &self.socket.log;
        let (kind, cut) = match direction {
            Direction::Request => (Kind::SocketClient, Kind::RequestCut),
            Direction::Response => (Kind::SocketServer, Kind::ResponseCut),
        };
        let begins = log.end();
        if log.append(kind, at_us, chunk, Need::WithinBudget) < chunk.len() && !self.is_log_cut.replace(true) {
            log.append(cut, at_us, &[], Need::Vital);
        }
        let begins = if batch.logged.end == 0 { begins } else { batch.logged.start };
        batch.logged = begins..log.end();
    }

    fn hand_over(&self) {
        let batch = self.batch.replace(Batch::new(&self.recorder.logs.memory));
        if !batch.is_empty() {
            self.socket.news.push(News::Passed(batch));
        }
    }

    fn at_us(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.socket.started).as_micros() as u64
    }
}

impl Drop for SocketTap {
    fn drop(&mut self) {
        self.hand_over();
        let end = self.client.ending().or(self.end.get()).unwrap_or(End::ClientGone);
        let ended = SocketEnded { end, left: self.left.get(), at_us: self.at_us(Instant::now()) };
        let told = Ended { end, request_bytes: 0, response_bytes: 0, error: None };
        self.socket.log.append(Kind::End, ended.at_us, &told.encode(), Need::Vital);
        self.socket.news.push(News::Ended(ended));
    }
}

fn side(direction: Direction) -> Side {
    match direction {
        Direction::Request => Side::Client,
        Direction::Response => Side::Server,
    }
}
