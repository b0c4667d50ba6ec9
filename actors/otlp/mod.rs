//! Traces sent to a collector as OpenTelemetry spans, beside what is recorded and never in its way.
//!
//! A writer that has appended a line leaves its place here ([`Export::offer`]); the [`exporter`] reads the line back from
//! its file, has the library make a span of it, and sends some at once ([`delivery`]). What waits is places, bounded in
//! number; one that finds no room is left out and counted. So is whatever the collector does not take in time. The files
//! have all of it.

mod delivery;
pub(crate) mod exporter;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api_log::config::{Config, Otlp, SpanContent};
use api_log::export::profile::{CREDENTIALS, Hidden};
use api_log::ids::{Place, TraceId};
use api_log::otlp::{Shape, TRACES_PATH};
use api_log::store::layout::Layout;
use api_log::store::lease::Leases;
use crossbeam_queue::SegQueue;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Serialize;

use crate::kit::{BoundReport, Budget, Condition, Permit, Registry};
use delivery::Carried;

/// The spans that wait, those under way, and what came of the others. Outlives the exporter.
pub(crate) struct Export {
    on: Option<On>,
    counts: Counts,
}

/// What there is where a collector is configured.
struct On {
    collector: Collector,
    shape: Arc<Shape>,
    layout: Layout,
    leases: Leases,
    queue: SegQueue<Waiting>,
    room: Budget,
    /// Held by whoever is at it.
    carried: tokio::sync::Mutex<Carried>,
    failing: Condition,
}

/// Where spans go, and how.
struct Collector {
    /// As it is told: without fields.
    url: String,
    is_https: bool,
    fields: HeaderMap,
    timeout: Duration,
    retry: Duration,
    batch: usize,
}

/// A trace whose line stands in its file, and its place in the queue.
struct Waiting {
    id: TraceId,
    place: Place,
    _permit: Permit,
}

/// Why a span was left out: the members of [`DroppedSpans`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Too many waited.
    QueueFull,
    /// Its line was deleted, or cannot be read.
    Unreadable,
    /// The collector did not take it in time.
    Unreachable,
    /// The collector refused the request that it was in.
    Refused,
    /// The collector took the request, but not this span.
    Rejected,
    /// The recorder ended before.
    Shutdown,
}

impl Cause {
    pub(crate) const ALL: [Cause; 6] =
        [Cause::QueueFull, Cause::Unreadable, Cause::Unreachable, Cause::Refused, Cause::Rejected, Cause::Shutdown];

    /// Its name in health and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Cause::QueueFull => "queue_full",
            Cause::Unreadable => "unreadable",
            Cause::Unreachable => "unreachable",
            Cause::Refused => "refused",
            Cause::Rejected => "rejected",
            Cause::Shutdown => "shutdown",
        }
    }
}

#[derive(Default)]
struct Counts {
    offered: AtomicU64,
    exported: AtomicU64,
    retries: AtomicU64,
    dropped: [AtomicU64; Cause::ALL.len()],
}

impl Counts {
    fn drop(&self, cause: Cause, spans: u64) {
        self.dropped[cause as usize].fetch_add(spans, Ordering::Relaxed);
    }
}

/// How it stands: `exported`, all `dropped` and `waiting` together are `offered`, but for what changes meanwhile.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "SpansHealth")]
pub(crate) struct Report {
    /// Whether a collector is configured.
    pub(crate) enabled: bool,
    /// Where spans are sent, if they are.
    pub(crate) endpoint: Option<String>,
    /// Traces whose line stands in its file.
    pub(crate) offered: u64,
    /// Spans that the collector has.
    pub(crate) exported: u64,
    /// Spans that wait, or are under way.
    pub(crate) waiting: u64,
    /// Requests that were to be tried again.
    pub(crate) retries: u64,
    /// Spans that were left out, by cause.
    pub(crate) dropped: DroppedSpans,
}

/// Spans that were left out.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct DroppedSpans {
    /// Too many waited.
    queue_full: u64,
    /// Their lines were deleted, or cannot be read.
    unreadable: u64,
    /// The collector did not take them in time.
    unreachable: u64,
    /// The collector refused the requests that they were in.
    refused: u64,
    /// The collector took the requests, but not these spans.
    rejected: u64,
    /// The recorder ended before.
    shutdown: u64,
}

impl Export {
    /// As it is configured. Placeholders of what is hidden are made with `secret`.
    pub(crate) fn new(
        config: &Config,
        secret: &str,
        layout: &Layout,
        leases: &Leases,
        registry: &Registry,
    ) -> Arc<Export> {
        let otlp = &config.otlp;
        let failing = registry.condition("otlp");
        let on = otlp.endpoint.as_ref().map(|endpoint| {
            let base = format!("{}{}", origin(endpoint), endpoint.path_prefix);
            On {
                collector: Collector {
                    url: format!("{base}{TRACES_PATH}"),
                    is_https: endpoint.https,
                    fields: fields(otlp),
                    timeout: otlp.timeout,
                    retry: otlp.retry,
                    batch: otlp.batch,
                },
                shape: Arc::new(Shape {
                    service_name: otlp.service_name.clone(),
                    with_text: otlp.content == SpanContent::Text,
                    hidden: hidden(config, secret),
                    gzip: otlp.gzip,
                }),
                layout: layout.clone(),
                leases: leases.clone(),
                queue: SegQueue::new(),
                room: Budget::new(0, otlp.queue),
                carried: tokio::sync::Mutex::default(),
                failing,
            }
        });
        let export = Arc::new(Export { on, counts: Counts::default() });
        let (seen, most) = (export.clone(), otlp.queue as u64);
        registry.show_bound("otlp_spans", move |name| {
            let (used, high_water) = seen.on.as_ref().map_or((0, 0), |on| {
                let room = on.room.report();
                (room.used_count, room.high_water_count)
            });
            Cause::ALL.iter().fold(BoundReport::new(name).count(used, high_water, Some(most)), |report, cause| {
                report.dropped(cause.name(), seen.dropped(*cause))
            })
        });
        export
    }

    /// Leaves the place of a line that stands in its file. Never waits.
    pub(crate) fn offer(&self, id: TraceId, place: Place) {
        let Some(on) = &self.on else { return };
        self.counts.offered.fetch_add(1, Ordering::Relaxed);
        match on.room.try_take(0) {
            Some(_permit) => on.queue.push(Waiting { id, place, _permit }),
            None => self.counts.drop(Cause::QueueFull, 1),
        }
    }

    /// How many were left out for this cause.
    pub(crate) fn dropped(&self, cause: Cause) -> u64 {
        self.counts.dropped[cause as usize].load(Ordering::Relaxed)
    }

    /// Its part of the health document.
    pub(crate) fn report(&self) -> Report {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Report {
            enabled: self.on.is_some(),
            endpoint: self.on.as_ref().map(|on| on.collector.url.clone()),
            offered: count(&self.counts.offered),
            exported: count(&self.counts.exported),
            waiting: self.waiting(),
            retries: count(&self.counts.retries),
            dropped: DroppedSpans {
                queue_full: self.dropped(Cause::QueueFull),
                unreadable: self.dropped(Cause::Unreadable),
                unreachable: self.dropped(Cause::Unreachable),
                refused: self.dropped(Cause::Refused),
                rejected: self.dropped(Cause::Rejected),
                shutdown: self.dropped(Cause::Shutdown),
            },
        }
    }

    fn waiting(&self) -> u64 {
        self.on.as_ref().map_or(0, |on| on.room.report().used_count)
    }
}

fn origin(endpoint: &api_log::config::Upstream) -> String {
    let scheme = if endpoint.https { "https" } else { "http" };
    format!("{scheme}://{}", endpoint.authority)
}

/// The fields of each request. The configuration has seen to it that they can be sent.
fn fields(otlp: &Otlp) -> HeaderMap {
    let field = |it: &api_log::config::SecretField| {
        let mut value = HeaderValue::from_str(it.value.reveal()).ok()?;
        value.set_sensitive(true);
        Some((it.name.parse::<HeaderName>().ok()?, value))
    };
    otlp.headers.iter().filter_map(field).collect()
}

/// What is hidden. Spans without texts hold nothing that only credentials would be hidden in.
fn hidden(config: &Config, secret: &str) -> Option<Hidden> {
    let (otlp, profiles) = (&config.otlp, &config.api.redact_profiles);
    if otlp.content == SpanContent::None && otlp.redact == CREDENTIALS {
        return None;
    }
    let redaction = profiles.get(&otlp.redact)?;
    Some(Hidden { profile: otlp.redact.clone(), redaction, secret: format!("export {secret}") })
}
