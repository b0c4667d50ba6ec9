//! Spans on their way: lines read back, made into a request, and sent until the collector has them.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use api_log::ids::{Place, TraceId};
use api_log::jsonl::read;
use api_log::otlp::answer::{Verdict, pause};
use api_log::otlp::{CONTENT_TYPE, Shape, Spans};
use api_log::store::layout::Layout;
use api_log::store::lease::Leases;
use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE as CONTENT_TYPE_FIELD, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use tokio::time::Instant;

use super::{Cause, Collector, Export, On, Waiting};
use crate::proxy::reason;

/// Bytes of spans in one request, or so: collectors refuse larger ones.
const MOST_BYTES: usize = 4 << 20;
/// The longest answer that is read.
const MOST_ANSWER: usize = 64 << 10;
const OURSELVES: &str = concat!("api-log/", env!("CARGO_PKG_VERSION"));

/// What was taken from the queue and is not done with.
#[derive(Default)]
pub(super) struct Carried {
    /// Not yet in a request.
    taken: VecDeque<Waiting>,
    request: Option<Request>,
    client: Option<Client>,
}

/// Spans that go out together, and how often they have.
struct Request {
    spans: Vec<Waiting>,
    body: Bytes,
    begun: Instant,
    tries: u32,
    next_try: Instant,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Something was done with; there may be more.
    Done,
    /// Nothing waits.
    Idle,
    /// It is not yet time, or the collector takes nothing now, or somebody else is at it.
    Rest,
}

/// Whether pauses between two tries are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pauses {
    Kept,
    /// The recorder ends: now or never.
    LeftOut,
}

/// Lines made into a request's body.
struct Made {
    /// For each line that was looked at, whether it is in it.
    are_in: Vec<bool>,
    body: Vec<u8>,
}

impl Export {
    /// Sends some spans, or tries to. Dropped at any await, it has lost none.
    pub(super) async fn step(&self, pauses: Pauses) -> Step {
        let Some(on) = &self.on else { return Step::Idle };
        let Ok(mut carried) = on.carried.try_lock() else { return Step::Rest };
        if carried.request.is_none() && !self.make(on, &mut carried).await {
            return if on.queue.is_empty() { Step::Idle } else { Step::Done };
        }
        let Carried { request: Some(request), client, .. } = &mut *carried else { return Step::Idle };
        if pauses == Pauses::Kept && Instant::now() < request.next_try {
            return Step::Rest;
        }
        let sent = on.collector.send(client, request.body.clone(), on.shape.gzip).await;
        let step = self.settle(on, request, sent);
        if step == Step::Done {
            carried.request = None;
        }
        step
    }

    /// Makes the next request; `false` if nothing is in it.
    async fn make(&self, on: &On, carried: &mut Carried) -> bool {
        while carried.taken.len() < on.collector.batch
            && let Some(waiting) = on.queue.pop()
        {
            carried.taken.push_back(waiting);
        }
        if carried.taken.is_empty() {
            return false;
        }
        let places: Vec<(TraceId, Place)> = carried.taken.iter().map(|it| (it.id, it.place)).collect();
        let (layout, leases, shape) = (on.layout.clone(), on.leases.clone(), on.shape.clone());
        let made = tokio::task::spawn_blocking(move || made(&layout, &leases, &shape, &places)).await;
        // An error means that the runtime ends.
        let Ok(made) = made else { return false };
        let mut spans = Vec::new();
        for is_in in made.are_in {
            let Some(waiting) = carried.taken.pop_front() else { break };
            if is_in {
                spans.push(waiting);
            } else {
                self.counts.drop(Cause::Unreadable, 1);
            }
        }
        if spans.is_empty() {
            return false;
        }
        let now = Instant::now();
        carried.request = Some(Request { spans, body: made.body.into(), begun: now, tries: 0, next_try: now });
        true
    }

    /// Takes note of an answer, or of none.
    fn settle(&self, on: &On, request: &mut Request, sent: Result<Answered, String>) -> Step {
        let spans = request.spans.len() as u64;
        let collector = &on.collector;
        let (why, after) = match sent {
            Ok(Answered { verdict: Verdict::Taken { rejected, message }, .. }) => {
                let rejected = rejected.min(spans);
                self.counts.exported.fetch_add(spans - rejected, Ordering::Relaxed);
                self.counts.drop(Cause::Rejected, rejected);
                if rejected > 0 || !message.is_empty() {
                    tracing::warn!(rejected, message, "the collector does not take all spans");
                }
                if on.failing.clear() {
                    tracing::info!(url = collector.url, "the collector takes spans again");
                }
                return Step::Done;
            }
            Ok(Answered { verdict: Verdict::Refused, status }) => {
                self.counts.drop(Cause::Refused, spans);
                on.fails(format!("it refuses them with status {status}; they are left out"));
                return Step::Done;
            }
            Ok(Answered { verdict: Verdict::Later { after }, status }) => (format!("status {status}"), after),
            Err(error) => (error, None),
        };
        self.counts.retries.fetch_add(1, Ordering::Relaxed);
        request.tries += 1;
        let wait = after.unwrap_or_else(|| pause(request.tries, rand::random()));
        request.next_try = Instant::now() + wait;
        on.fails(format!("{why}; spans wait, then are left out"));
        if request.next_try.duration_since(request.begun) > collector.retry {
            self.counts.drop(Cause::Unreachable, spans);
            return Step::Done;
        }
        Step::Rest
    }

    /// The recorder ends: what still waits is left out.
    pub(super) fn give_up(&self) {
        let Some(on) = &self.on else { return };
        let Ok(mut carried) = on.carried.try_lock() else { return };
        let left = std::mem::take(&mut *carried);
        let mut lost = left.taken.len() + left.request.map_or(0, |it| it.spans.len());
        while on.queue.pop().is_some() {
            lost += 1;
        }
        if lost > 0 {
            self.counts.drop(Cause::Shutdown, lost as u64);
            tracing::warn!(lost, "spans are left out: the recorder ends and the collector has not taken them");
        }
    }
}

impl On {
    fn fails(&self, why: String) {
        let url = &self.collector.url;
        if self.failing.raise(format!("the collector at {url} does not take spans: {why}")) {
            tracing::warn!(url, why, "the collector does not take spans; recording goes on without it");
        }
    }
}

/// An answer, as far as it matters.
struct Answered {
    status: u16,
    verdict: Verdict,
}

impl Collector {
    /// Sends a request's body. An error tells why there is no answer.
    async fn send(&self, client: &mut Option<Client>, body: Bytes, gzip: bool) -> Result<Answered, String> {
        fault!("otlp.send");
        let client = match client {
            Some(client) => client,
            none => none.insert(self.client()?),
        };
        let mut request = client
            .post(&self.url)
            .headers(self.fields.clone())
            .header(CONTENT_TYPE_FIELD, CONTENT_TYPE)
            .timeout(self.timeout)
            .body(body);
        if gzip {
            request = request.header(CONTENT_ENCODING, "gzip");
        }
        let answer = request.send().await.map_err(|error| reason(&error.without_url()))?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok()).map(str::to_owned);
        let body = bounded(answer).await;
        Ok(Answered { status, verdict: Verdict::of(status, retry_after.as_deref(), &body) })
    }

    fn client(&self) -> Result<Client, String> {
        Client::builder()
            .tls_backend_preconfigured(crate::tls::http1_client(self.is_https)?)
            .connect_timeout(self.timeout.min(Duration::from_secs(10)))
            .user_agent(OURSELVES)
            .referer(false)
            // Its fields are for the collector that is configured.
            .redirect(Policy::none())
            .build()
            .map_err(|error| reason(&error))
    }
}

/// What there is of an answer's body, and no more than may be.
async fn bounded(mut answer: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        if body.len() + chunk.len() > MOST_ANSWER {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    body
}

/// Reads lines back, each under its segment's lease, until there are enough for a request (blocking).
fn made(layout: &Layout, leases: &Leases, shape: &Shape, places: &[(TraceId, Place)]) -> Made {
    let mut spans = Spans::new(shape);
    let mut are_in = Vec::with_capacity(places.len());
    for (id, place) in places {
        if spans.bytes() >= MOST_BYTES {
            break;
        }
        let line = leases.shared(place.segment).ok().and_then(|_lease| {
            let line = read::line(layout, *place, *id);
            line.inspect_err(|error| tracing::debug!(%error, "a line cannot be read for its span")).ok()
        });
        // A line that makes the library panic costs its own span.
        let is_in = line
            .is_some_and(|line| catch_unwind(AssertUnwindSafe(|| spans.add(&line))).is_ok_and(|added| added.is_ok()));
        are_in.push(is_in);
    }
    Made { are_in, body: spans.into_body() }
}
