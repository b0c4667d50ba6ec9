//! `/metrics`: everything of `/healthz`, for Prometheus.
//!
//! Nothing is counted here: each scrape reads the counters and probes, as `/healthz` does.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use api_log::counters::{BOUNDS_MS, Counters, DropCause, Histogram};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, LabelSetEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use serde_json::Value;

use super::State as Api;
use super::endpoint::{Output, Reply, Schemas};
use crate::kit::ChildState;
use crate::otlp::Cause;
use crate::record::index_status::Standing;

/// The text format of OpenMetrics, which Prometheus reads.
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A figure that is no counter though it stands among them.
const HIGH_WATER: &str = "writer_chan_high_water";

/// Figures as text.
pub(crate) struct Scrape(Response);

impl IntoResponse for Scrape {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Output for Scrape {
    fn replies(_: &mut Schemas) -> Vec<Reply> {
        vec![Reply::new(200, "Every figure of `/healthz`.").of(TEXT, api_log::described::text())]
    }
}

/// `GET /metrics`.
pub(crate) async fn metrics(State(api): State<Arc<Api>>) -> Scrape {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Everything(api)));
    let mut text = String::new();
    Scrape(match encode(&mut text, &registry) {
        Ok(()) => ([(CONTENT_TYPE, TEXT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    })
}

struct Everything(Arc<Api>);

impl fmt::Debug for Everything {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Everything")
    }
}

impl Collector for Everything {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut metrics = Metrics(encoder);
        metrics.program(&self.0)?;
        metrics.counters(&self.0.parts.counters)?;
        metrics.storage(&self.0)?;
        metrics.index(&self.0)?;
        metrics.plugins(&self.0)?;
        metrics.spans(&self.0)?;
        metrics.supervision(&self.0)?;
        metrics.bounds(&self.0)
    }
}

/// Labels and their values.
type Labels<'l> = &'l [(&'static str, &'l str)];

struct LabelSet<'l>(Labels<'l>);

impl EncodeLabelSet for LabelSet<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        for (name, value) in self.0 {
            let mut label = encoder.encode_label();
            let mut key = label.encode_label_key()?;
            prometheus_client::encoding::EncodeLabelKey::encode(name, &mut key)?;
            let mut text = key.encode_label_value()?;
            value.encode(&mut text)?;
            text.finish()?;
        }
        Ok(())
    }
}

/// Writes families of metrics, each with its samples.
struct Metrics<'e>(DescriptorEncoder<'e>);

impl Metrics<'_> {
    fn family(&mut self, kind: MetricType, name: &str, help: &str, samples: &[(Labels<'_>, u64)]) -> fmt::Result {
        if samples.is_empty() {
            return Ok(());
        }
        // The encoder ends the sentence.
        let (name, help) = (format!("api_log_{name}"), help.trim().trim_end_matches('.'));
        let mut family = self.0.encode_descriptor(&name, help, None, kind)?;
        for (labels, value) in samples {
            let labels = LabelSet(labels);
            let mut sample = family.encode_family(&labels)?;
            match kind {
                MetricType::Counter => sample.encode_counter::<NoLabelSet, u64, u64>(value, None)?,
                _ => sample.encode_gauge(&i64::try_from(*value).unwrap_or(i64::MAX))?,
            }
        }
        Ok(())
    }

    fn one(&mut self, kind: MetricType, name: &str, help: &str, value: u64) -> fmt::Result {
        let (name, help) = (format!("api_log_{name}"), help.trim().trim_end_matches('.'));
        let mut metric = self.0.encode_descriptor(&name, help, None, kind)?;
        match kind {
            MetricType::Counter => metric.encode_counter::<NoLabelSet, u64, u64>(&value, None),
            _ => metric.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX)),
        }
    }

    fn program(&mut self, api: &Api) -> fmt::Result {
        let parts = &api.parts;
        let version: Labels<'_> = &[("version", env!("CARGO_PKG_VERSION"))];
        self.family(MetricType::Gauge, "build_info", "The program's version", &[(version, 1)])?;
        self.one(MetricType::Gauge, "uptime_seconds", "Since the start", api.started.elapsed().as_secs())?;
        let is_ready = super::ready::reasons(api).is_empty();
        self.one(MetricType::Gauge, "ready", "Whether clients should be sent here", is_ready.into())?;
        let front = &parts.front;
        self.one(MetricType::Gauge, "connections_open", "Clients' connections", front.open() as u64)?;
        for (name, help, count) in [
            ("connections_accepted", "Connections accepted", &front.accepted),
            ("connections_refused", "Connections answered with 503, for there were too many", &front.refused),
            ("accept_errors", "Connections that could not be accepted", &front.accept_errors),
        ] {
            self.one(MetricType::Counter, name, help, count.load(Ordering::Relaxed))?;
        }
        let turned_away = &api.turned_away;
        let causes = [("unauthorized", &turned_away.unauthorized), ("forbidden", &turned_away.forbidden)];
        let labels = causes.map(|(cause, count)| ([("cause", cause)], count.load(Ordering::Relaxed)));
        let refused: Vec<(Labels<'_>, u64)> = labels.iter().map(|(labels, count)| (&labels[..], *count)).collect();
        let help = "Requests to the read API without a token that is accepted there";
        self.family(MetricType::Counter, "api_requests_refused", help, &refused)?;
        let help = "Lines of the access log that stand in its file";
        self.one(MetricType::Counter, "access_log_lines", help, parts.access_log.written())?;
        if let Some(reload) = parts.last_reload.get() {
            let help = "Whether the configuration was taken over when it was read again the last time";
            self.one(MetricType::Gauge, "reload_applied", help, reload.applied.into())?;
        }
        Ok(())
    }

    fn spans(&mut self, api: &Api) -> fmt::Result {
        let spans = api.parts.spans.report();
        if !spans.enabled {
            return Ok(());
        }
        for (name, help, value) in [
            ("otlp_spans_offered", "Traces whose line stands in its file, since the start", spans.offered),
            ("otlp_spans_exported", "Spans that the collector has", spans.exported),
            ("otlp_retries", "Requests of spans that were to be tried again", spans.retries),
        ] {
            self.one(MetricType::Counter, name, help, value)?;
        }
        self.one(MetricType::Gauge, "otlp_spans_waiting", "Spans that wait, or are under way", spans.waiting)?;
        let labels = Cause::ALL.map(|it| ([("cause", it.name())], api.parts.spans.dropped(it)));
        let dropped: Vec<(Labels<'_>, u64)> = labels.iter().map(|(labels, count)| (&labels[..], *count)).collect();
        self.family(MetricType::Counter, "otlp_spans_dropped", "Spans that were left out", &dropped)
    }

    fn counters(&mut self, counters: &Counters) -> fmt::Result {
        for (name, value) in figures(&counters.snapshot()) {
            let help = Counters::ABOUT.iter().find(|(it, _)| *it == name).map_or("", |(_, about)| about);
            let kind = if name == HIGH_WATER { MetricType::Gauge } else { MetricType::Counter };
            // The format itself puts `_total` behind a counter's name.
            self.one(kind, name.strip_suffix("_total").unwrap_or(&name), help, value)?;
        }
        for (name, value) in figures(&counters.recording.snapshot()) {
            self.one(MetricType::Counter, &format!("recording_{name}"), "An incident between wire and file", value)?;
        }
        let timings = &counters.timings;
        self.histogram("drain_seconds", "From a capture's end until recording has all of it", &timings.drain_ms)?;
        self.histogram("parse_seconds", "Building a line", &timings.parse_ms)?;
        self.histogram("sqlite_seconds", "The index's transactions", &timings.sqlite_ms)?;
        let ledger = counters.ledger.snapshot();
        for (name, help, value) in [
            ("exchanges_accepted", "Exchanges begun", ledger.accepted),
            ("exchanges_recorded", "Exchanges whose line stands in a file", ledger.recorded),
            ("exchanges_filtered", "Exchanges that a filter skipped", ledger.filtered),
        ] {
            self.one(MetricType::Counter, name, help, value)?;
        }
        let causes = DropCause::ALL.map(|cause| [("cause", cause.name())]);
        let dropped: Vec<(Labels<'_>, u64)> =
            causes.iter().zip(DropCause::ALL).map(|(labels, cause)| (&labels[..], ledger.dropped.of(cause))).collect();
        self.family(MetricType::Counter, "exchanges_dropped", "Exchanges that left no trace", &dropped)?;
        self.one(MetricType::Gauge, "exchanges_in_flight", "Exchanges under way", ledger.in_flight)?;
        let help = "Whether each exchange accepted is under way or has one outcome";
        self.one(MetricType::Gauge, "ledger_balanced", help, ledger.balanced.into())
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) -> fmt::Result {
        let bounds = BOUNDS_MS.iter().map(|it| *it as f64 / 1000.0).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(histogram.buckets()).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let name = format!("api_log_{name}");
        let mut metric = self.0.encode_descriptor(&name, help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(histogram.sum().as_secs_f64(), count, &buckets, None)
    }

    fn supervision(&mut self, api: &Api) -> fmt::Result {
        let seen = api.parts.registry.snapshot();
        let names: Vec<[(&'static str, &str); 1]> =
            seen.children.iter().map(|it| [("child", it.name.as_str())]).collect();
        let of = |figure: &dyn Fn(&crate::kit::ChildReport) -> u64| -> Vec<(Labels<'_>, u64)> {
            names.iter().zip(&seen.children).map(|(labels, child)| (&labels[..], figure(child))).collect()
        };
        let gauge = MetricType::Gauge;
        let is_running = of(&|it| (it.state == ChildState::Running).into());
        self.family(gauge, "child_running", "Whether a supervised part runs", &is_running)?;
        self.family(gauge, "child_hung", "Whether it blocks its thread", &of(&|it| it.hung_since.is_some().into()))?;
        self.family(MetricType::Counter, "child_restarts", "How often it was started again", &of(&|it| it.restarts))?;
        self.family(MetricType::Counter, "child_progress", "Pieces of work it has done", &of(&|it| it.progress))?;
        self.family(gauge, "child_queue_depth", "Work that waits for it", &of(&|it| it.queue_depth))?;
        self.family(gauge, "child_queue_high_water", "The most that ever waited", &of(&|it| it.queue_high_water))?;
        let names: Vec<_> = seen.nurseries.iter().map(|it| [("nursery", it.name.as_str())]).collect();
        let of = |figure: &dyn Fn(&crate::kit::NurseryReport) -> u64| -> Vec<(Labels<'_>, u64)> {
            names.iter().zip(&seen.nurseries).map(|(labels, it)| (&labels[..], figure(it))).collect()
        };
        self.family(gauge, "nursery_running", "Short-lived parts that run", &of(&|it| it.running))?;
        self.family(MetricType::Counter, "nursery_ended", "Those that have ended", &of(&|it| it.ended))?;
        self.family(MetricType::Counter, "nursery_failed", "Those that failed", &of(&|it| it.failed))?;
        self.family(MetricType::Counter, "nursery_refused", "Those that were not started", &of(&|it| it.refused))?;
        let names: Vec<_> = seen.pulses.iter().map(|it| [("threads", it.name.as_str())]).collect();
        let beats: Vec<(Labels<'_>, u64)> =
            names.iter().zip(&seen.pulses).map(|(labels, it)| (&labels[..], it.beats)).collect();
        self.family(MetricType::Counter, "threads_beats", "Turns of the loop of threads", &beats)?;
        let blocked: Vec<(Labels<'_>, u64)> = names
            .iter()
            .zip(&seen.pulses)
            .map(|(labels, it)| (&labels[..], it.stopped_since.is_some().into()))
            .collect();
        self.family(gauge, "threads_blocked", "Whether they are blocked", &blocked)?;
        let conditions = api.parts.registry.conditions();
        let names: Vec<_> = conditions.iter().map(|(name, _)| [("condition", *name)]).collect();
        let raised: Vec<(Labels<'_>, u64)> =
            names.iter().zip(&conditions).map(|(labels, (_, is_raised))| (&labels[..], (*is_raised).into())).collect();
        self.family(gauge, "condition", "Whether something is wrong though every part runs", &raised)
    }

    /// What is not known yet has no sample.
    fn storage(&mut self, api: &Api) -> fmt::Result {
        let report = api.parts.retention.report();
        let stored = report.engine_running.then_some(report.data_dir_bytes);
        for (name, help, value) in [
            ("data_dir_bytes", "What all days take, attachments included", stored),
            ("media_bytes", "What attachments take of it", report.engine_running.then_some(report.media_bytes)),
            ("retention_max_bytes", "What all days may take; 0 is no limit", Some(report.max_bytes)),
            ("disk_free_bytes", "What is free on the data dir's disk", report.disk_free_bytes),
            ("disk_total_bytes", "How large the data dir's disk is", report.disk_total_bytes),
        ] {
            if let Some(value) = value {
                self.one(MetricType::Gauge, name, help, value)?;
            }
        }
        Ok(())
    }

    fn index(&mut self, api: &Api) -> fmt::Result {
        let door = &api.parts.shared.index;
        let shown = door.status().shown();
        let is_current = shown.standing == Standing::Current;
        for (name, help, value) in [
            ("index_current", "Whether lists are complete", is_current.into()),
            ("index_rows_waiting", "Rows that were offered and are not in yet", door.waiting()),
            ("index_fresh_rows", "Rows that are in, but not yet in their conversations", shown.fresh_rows),
            ("index_behind_segments", "Files with lines that are to be read back", shown.behind_segments as u64),
            ("index_behind_bytes", "Bytes of these lines", shown.behind_bytes),
        ] {
            self.one(MetricType::Gauge, name, help, value)?;
        }
        self.one(
            MetricType::Counter,
            "index_merged_rows",
            "Rows that were put into their conversations later, since the start",
            shown.merged_rows,
        )
    }

    fn plugins(&mut self, api: &Api) -> fmt::Result {
        let report = api.parts.plugins.report();
        self.one(
            MetricType::Gauge,
            "plugins_generation",
            "The number of the set of plugins in force",
            report.generation,
        )?;
        let is_wrong = report.last_error.is_some().into();
        self.one(MetricType::Gauge, "plugins_refused", "Whether a list of plugins was not taken over", is_wrong)?;
        let labels: Vec<_> = report.instances.iter().map(|it| [("id", it.id.as_str()), ("type", it.kind)]).collect();
        let of = |figure: fn(&crate::plugins::OfInstance) -> u64| -> Vec<(Labels<'_>, u64)> {
            labels.iter().zip(&report.instances).map(|(labels, it)| (&labels[..], figure(it))).collect()
        };
        let counter = MetricType::Counter;
        self.family(counter, "plugin_calls", "How often a plugin was asked", &of(|it| it.calls))?;
        let help = "How often it changed or decided something";
        self.family(counter, "plugin_mutations", help, &of(|it| it.mutations))?;
        self.family(counter, "plugin_errors", "How often it failed and was skipped", &of(|it| it.errors))?;
        self.family(counter, "plugin_time_microseconds", "Processor time that it took", &of(|it| it.time_us))?;
        let help = "Whether it failed too often and does not run any more";
        self.family(MetricType::Gauge, "plugin_switched_off", help, &of(|it| it.switched_off.is_some().into()))
    }

    fn bounds(&mut self, api: &Api) -> fmt::Result {
        let bounds = api.parts.registry.bounds();
        let (mut depths, mut high_waters, mut limits, mut dropped) = (vec![], vec![], vec![], vec![]);
        for bound in &bounds {
            for (unit, level) in [("count", bound.count), ("bytes", bound.bytes)] {
                let Some(level) = level else { continue };
                let labels = [("bound", bound.name.as_str()), ("unit", unit)];
                depths.push((labels, level.depth));
                high_waters.push((labels, level.high_water));
                limits.extend(level.limit.map(|it| (labels, it)));
            }
            let turned_away = bound.dropped.iter();
            dropped.extend(turned_away.map(|it| ([("bound", bound.name.as_str()), ("cause", it.cause)], it.count)));
        }
        for (kind, name, help, samples) in [
            (MetricType::Gauge, "bound_depth", "What is in a queue, or is open", depths),
            (MetricType::Gauge, "bound_high_water", "The most that ever was", high_waters),
            (MetricType::Gauge, "bound_limit", "As much as may be", limits),
            (MetricType::Counter, "bound_dropped", "What was turned away", dropped),
        ] {
            let samples: Vec<(Labels<'_>, u64)> = samples.iter().map(|(labels, value)| (&labels[..], *value)).collect();
            self.family(kind, name, help, &samples)?;
        }
        Ok(())
    }
}

/// The whole figures of a report, by name; what is no figure is left out.
fn figures(report: &impl serde::Serialize) -> Vec<(String, u64)> {
    let Ok(Value::Object(members)) = serde_json::to_value(report) else { return Vec::new() };
    members.into_iter().filter_map(|(name, value)| Some((name, value.as_u64()?))).collect()
}
