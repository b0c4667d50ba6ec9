//! One request that reached the mock: its head, its wishes and its place in the count.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::request::Parts;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::wish::Wish;

/// The first second that answers are dated with; each answer is dated one second later.
const FIRST_SECOND: u64 = 1_700_000_000;

/// Responses that `previous_response_id` can name, the oldest forgotten first.
const REMEMBERED_RESPONSES: usize = 1024;

/// What all requests to one mock share.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) pause: Duration,
    serial: AtomicU64,
    /// Id of a response and the number of its turn, newest last.
    responses: Mutex<VecDeque<(String, u64)>>,
    closing: watch::Receiver<bool>,
}

impl Gateway {
    pub(super) fn new(pause: Duration, closing: watch::Receiver<bool>) -> Self {
        Self { pause, serial: AtomicU64::new(0), responses: Mutex::default(), closing }
    }

    /// The number of the next answer, from 1.
    pub(super) fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The turn that this response was, if it is remembered.
    pub(super) fn turn_of(&self, response_id: &str) -> Option<u64> {
        self.responses.lock().iter().find(|(id, _)| id == response_id).map(|(_, turn)| *turn)
    }

    pub(super) fn remember(&self, response_id: String, turn: u64) {
        let mut responses = self.responses.lock();
        responses.push_back((response_id, turn));
        if responses.len() > REMEMBERED_RESPONSES {
            responses.pop_front();
        }
    }

    /// Waits until the mock is shutting down.
    pub(super) async fn closed(&self) {
        // An error means that the mock is gone, which is as good as closing.
        let _ = self.closing.clone().wait_for(|closing| *closing).await;
    }
}

/// Set when the connection is to end by a TCP reset.
#[derive(Debug, Clone, Default)]
pub(super) struct Cut(Arc<AtomicBool>);

impl Cut {
    pub(super) fn demand(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_demanded(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// One request under way.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) headers: HeaderMap,
    pub(super) query: String,
    pub(super) wish: Wish,
    pub(super) cut: Cut,
    pub(super) gateway: Arc<Gateway>,
    serial: u64,
}

impl Call {
    pub(super) fn new(parts: &Parts, gateway: Arc<Gateway>, cut: Cut) -> Self {
        let query = parts.uri.query().unwrap_or("").to_owned();
        Self {
            wish: Wish::read(&parts.headers, &query),
            headers: parts.headers.clone(),
            query,
            cut,
            serial: gateway.next_serial(),
            gateway,
        }
    }

    /// An id with the vendor's `prefix`; the same within one answer.
    pub(super) fn id(&self, prefix: &str) -> String {
        format!("{prefix}mock{:012}", self.serial)
    }

    /// The second that the answer is dated with.
    pub(super) fn created(&self) -> u64 {
        FIRST_SECOND + self.serial
    }

    /// Counts a further answer to the same request, as one socket's turns are.
    pub(super) fn begin_next(&mut self) {
        self.serial = self.gateway.next_serial();
    }

    /// The pause before each event of a stream.
    pub(super) fn pause(&self) -> Duration {
        self.wish.delay.unwrap_or(self.gateway.pause)
    }

    /// True if `Accept-Encoding` names gzip and does not forbid it (RFC 9110 §12.5.3).
    pub(super) fn accepts_gzip(&self) -> bool {
        self.headers
            .get_all("accept-encoding")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|choice| choice.split_once(';').map_or((choice, ""), |(name, weight)| (name, weight)))
            .any(|(name, weight)| {
                let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
                name.trim().eq_ignore_ascii_case("gzip") && weight.is_none_or(|weight| weight > 0.0)
            })
    }
}
