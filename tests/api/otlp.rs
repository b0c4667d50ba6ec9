//! Spans for a collector: one for each trace, and nothing that waits for it.

use std::collections::BTreeSet;
use std::time::Duration;

use api_log::ids::{TraceId, UnixMillis};
use api_log::otlp::SCHEMA_URL;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::Value;

use crate::collector::{Answer, Collector, attribute, text};
use crate::stack::{Recorder, until};

const ASK: &str = r#"{"model":"m-large","temperature":0.5,"messages":[{"role":"user","content":"What is hidden?"}]}"#;
const ANSWER: &str = r#"{"id":"c-1","model":"m-large-2","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"Little."}}],"usage":{"prompt_tokens":11,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":3}}}"#;
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn recorder(dir: &tempfile::TempDir, collector: &Collector, more: &[(&str, &str)]) -> Recorder {
    let endpoint = collector.endpoint();
    let settings = [&[("APILOG_OTLP_ENDPOINT", endpoint.as_str())], more].concat();
    Recorder::with(dir.path(), &settings)
}

/// How the export stands. What was offered is accounted for, but for what changes while it is read.
fn report(recorder: &Recorder) -> Value {
    recorder.get("/healthz")["otlp"].clone()
}

fn until_report(recorder: &Recorder, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut seen = Value::Null;
    let count = |it: &Value| it.as_u64().unwrap();
    // What is just being counted may stand in two places, or in none yet.
    until(&format!("{what}, and all accounted for"), || {
        seen = report(recorder);
        let dropped: u64 = seen["dropped"].as_object().unwrap().values().map(count).sum();
        let is_balanced = count(&seen["offered"]) == count(&seen["exported"]) + dropped + count(&seen["waiting"]);
        holds(&seen) && is_balanced
    });
    seen
}

fn is_degraded(recorder: &Recorder) -> bool {
    let health = recorder.get("/healthz");
    health["degraded"].as_array().unwrap().iter().any(|it| it["condition"] == "otlp")
}

fn ask(recorder: &Recorder, times: usize) {
    for _ in 0..times {
        assert_eq!(recorder.send("/v1/chat/completions", &[("x-answer", ANSWER)], ASK).status, 200);
    }
}

fn nanos(row: &Value, name: &str) -> u64 {
    row[name].as_str().unwrap().parse::<UnixMillis>().unwrap().0 as u64 * 1_000_000
}

#[test]
fn each_trace_is_one_span_with_its_ids_times_and_facts() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(&[]);
    let endpoint = format!("{}/base/", collector.endpoint());
    let settings = [
        ("APILOG_OTLP_ENDPOINT", endpoint.as_str()),
        ("APILOG_OTLP_HEADERS", "Authorization=Basic cGs6c2s=,x-team=red"),
        ("APILOG_OTLP_GZIP", "true"),
        ("APILOG_OTLP_SERVICE_NAME", "edge"),
    ];
    let recorder = Recorder::with(dir.path(), &settings);
    let key = ("Authorization", "Bearer sk-unseen");
    recorder.send("/v1/chat/completions", &[("x-answer", ANSWER), key], ASK);
    recorder.send("/v1/chat/completions?q=unseen", &[("x-answer", ANSWER), key, ("traceparent", PARENT)], ASK);
    recorder.send("/v1/chat/completions", &[("x-answer-status", "401"), key], ASK);
    let rows = recorder.await_rows("", 3);
    until("three spans", || collector.spans().len() >= 3);
    let seen = until_report(&recorder, "they are counted", |it| it["exported"] == 3);
    assert_eq!((&seen["offered"], &seen["enabled"]), (&3.into(), &true.into()));
    let spans = collector.spans();
    assert_eq!(spans.len(), 3, "each once");
    for row in &rows {
        let id = row["id"].as_str().unwrap();
        let span = spans.iter().find(|it| attribute(it, "api_log.trace.id").as_deref() == Some(id)).unwrap();
        is_of(span, row);
    }
    let child = spans.iter().find(|it| !it.parent_span_id.is_empty()).expect("the caller's span has a child");
    let hex = |bytes: &[u8]| bytes.iter().map(|it| format!("{it:02x}")).collect::<String>();
    assert_eq!(format!("00-{}-{}-01", hex(&child.trace_id), hex(&child.parent_span_id)), PARENT);
    assert_eq!(spans.iter().filter(|it| it.parent_span_id.is_empty()).count(), 2);
    let failed: Vec<&Span> = spans.iter().filter(|it| it.status.is_some()).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(attribute(failed[0], "error.type").as_deref(), Some("401"));
    collector.look(|seen| {
        for it in seen {
            assert_eq!(it.target, "/base/v1/traces");
            for (name, value) in [
                ("authorization", "Basic cGs6c2s="),
                ("x-team", "red"),
                ("content-type", "application/x-protobuf"),
                ("content-encoding", "gzip"),
            ] {
                assert_eq!(it.fields[name], value);
            }
            let of_resource = &it.request.resource_spans[0];
            let service = &of_resource.resource.as_ref().unwrap().attributes[0];
            assert_eq!(
                (service.key.as_str(), text(service.value.as_ref().unwrap())),
                ("service.name", "edge".to_owned())
            );
            assert_eq!(of_resource.scope_spans[0].schema_url, SCHEMA_URL);
            // Neither credentials, nor queries, nor what was said.
            let body = String::from_utf8_lossy(&it.body);
            assert!(!body.contains("unseen") && !body.contains("hidden") && !body.contains("Little"), "{body}");
        }
    });
    let metrics = recorder.api("GET", "/metrics", "");
    let metrics = metrics.text();
    for line in ["api_log_otlp_spans_exported_total 3", "api_log_otlp_spans_dropped_total{cause=\"queue_full\"} 0"] {
        assert!(metrics.lines().any(|it| it == line), "{line}: {metrics}");
    }
    recorder.stop();
}

fn is_of(span: &Span, row: &Value) {
    let id: TraceId = row["id"].as_str().unwrap().parse().unwrap();
    let bytes = id.to_bytes();
    assert_eq!(span.span_id, bytes[8..]);
    assert!(!span.parent_span_id.is_empty() || span.trace_id == bytes);
    assert_eq!(span.kind(), SpanKind::Client);
    assert_eq!(span.name, "chat m-large");
    assert_eq!(span.start_time_unix_nano, nanos(row, "ts_start"));
    assert_eq!(span.end_time_unix_nano, nanos(row, "ts_end"));
    let upstream = row["upstream"].as_str().unwrap();
    let port = upstream.rsplit_once(':').unwrap().1;
    let is_good = row["status"] == 200;
    for (key, value) in [
        ("gen_ai.operation.name", Some("chat")),
        ("gen_ai.provider.name", Some("openai")),
        ("gen_ai.request.model", Some("m-large")),
        ("gen_ai.request.temperature", Some("0.5")),
        ("gen_ai.response.model", is_good.then_some("m-large-2")),
        ("gen_ai.response.id", is_good.then_some("c-1")),
        ("gen_ai.response.finish_reasons", is_good.then_some("stop")),
        ("gen_ai.usage.input_tokens", is_good.then_some("11")),
        ("gen_ai.usage.output_tokens", is_good.then_some("7")),
        ("gen_ai.usage.cache_read.input_tokens", is_good.then_some("3")),
        ("gen_ai.input.messages", None),
        ("server.address", Some("127.0.0.1")),
        ("server.port", Some(port)),
        ("url.path", Some("/v1/chat/completions")),
        ("http.response.status_code", Some(if is_good { "200" } else { "401" })),
        ("api_log.end", Some("complete")),
        ("api_log.key_hash", row["key_hash"].as_str()),
    ] {
        assert_eq!(attribute(span, key).as_deref(), value, "{key}: {span:?}");
    }
}

#[test]
fn texts_are_sent_only_when_asked_for_and_without_what_a_profile_hides() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(&[]);
    let settings = [
        ("APILOG_OTLP_CONTENT", "text"),
        ("APILOG_OTLP_REDACT", "support"),
        ("APILOG_API_REDACT_PROFILES", "support: json=$.messages[0].content"),
    ];
    let recorder = recorder(&dir, &collector, &settings);
    ask(&recorder, 1);
    until("the span", || collector.spans().len() == 1);
    let span = &collector.spans()[0];
    let said = |key: &str| serde_json::from_str::<Value>(&attribute(span, key).unwrap()).unwrap();
    let input = said("gen_ai.input.messages");
    assert_eq!((&input[0]["role"], &input[0]["parts"][0]["type"]), (&"user".into(), &"text".into()));
    assert!(input[0]["parts"][0]["content"].as_str().unwrap().starts_with("[redacted:"), "{input}");
    let output = said("gen_ai.output.messages");
    assert_eq!(output[0]["parts"][0]["content"], "Little.");
    assert_eq!((&output[0]["role"], &output[0]["finish_reason"]), (&"assistant".into(), &"stop".into()));
}

#[test]
fn a_collector_that_comes_later_gets_every_span() {
    let dir = tempfile::tempdir().unwrap();
    let (collector, socket) = Collector::down(&[]);
    let recorder = recorder(&dir, &collector, &[]);
    ask(&recorder, 5);
    recorder.await_rows("", 5);
    until("that it is told", || is_degraded(&recorder));
    until_report(&recorder, "a try in vain", |it| it["retries"].as_u64() > Some(0) && it["waiting"] == 5);
    let collector = collector.up(socket);
    until_report(&recorder, "all of them", |it| it["exported"] == 5 && it["waiting"] == 0);
    assert!(!is_degraded(&recorder));
    let ids: BTreeSet<Vec<u8>> = collector.spans().into_iter().map(|it| it.trace_id).collect();
    assert_eq!(ids.len(), 5);
}

#[test]
fn a_collector_that_stalls_costs_spans_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(&[Answer::Never; 100]);
    let settings = [("APILOG_OTLP_QUEUE", "4"), ("APILOG_OTLP_BATCH", "2"), ("APILOG_OTLP_TIMEOUT", "10m")];
    let recorder = recorder(&dir, &collector, &settings);
    ask(&recorder, 1);
    until("a request that is not answered", || collector.look(<[_]>::len) == 1);
    ask(&recorder, 11);
    recorder.await_rows("", 12);
    let seen = until_report(&recorder, "what finds no room", |it| it["offered"] == 12);
    assert_eq!((&seen["waiting"], &seen["dropped"]["queue_full"]), (&4.into(), &8.into()), "{seen}");
    let health = recorder.get("/healthz");
    assert_eq!(health["ledger"]["recorded"], 12, "{health}");
    // It does not keep the recorder from ending either.
    recorder.stop();
}

#[test]
fn who_asks_for_a_pause_gets_it_and_the_same_spans_again() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(&[Answer::Status(429, Some("2"))]);
    let recorder = recorder(&dir, &collector, &[]);
    ask(&recorder, 1);
    let seen = until_report(&recorder, "the span", |it| it["exported"] == 1);
    assert_eq!(seen["retries"], 1);
    collector.look(|seen| {
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0].body, seen[1].body);
        assert!(seen[1].at - seen[0].at >= Duration::from_secs(2));
    });
}

#[test]
fn what_is_refused_or_rejected_is_counted_and_not_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(&[Answer::Status(400, None), Answer::Rejected(1)]);
    let recorder = recorder(&dir, &collector, &[]);
    ask(&recorder, 1);
    until_report(&recorder, "a refusal", |it| it["dropped"]["refused"] == 1);
    assert!(is_degraded(&recorder));
    ask(&recorder, 1);
    until_report(&recorder, "a rejection", |it| it["dropped"]["rejected"] == 1);
    assert!(!is_degraded(&recorder), "the collector answers as it should");
    ask(&recorder, 1);
    until_report(&recorder, "a span", |it| it["exported"] == 1 && it["waiting"] == 0);
    assert_eq!(collector.look(<[_]>::len), 3);
}

#[test]
fn spans_that_nobody_takes_in_time_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (collector, _refuses) = Collector::down(&[]);
    let recorder = recorder(&dir, &collector, &[("APILOG_OTLP_RETRY", "0")]);
    ask(&recorder, 2);
    until_report(&recorder, "that they are given up", |it| it["dropped"]["unreachable"] == 2);
}

#[test]
fn an_orderly_end_sends_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(&[]);
    let recorder = recorder(&dir, &collector, &[("APILOG_OTLP_BATCH", "3")]);
    ask(&recorder, 10);
    recorder.stop();
    let ids: BTreeSet<Vec<u8>> = collector.spans().into_iter().map(|it| it.trace_id).collect();
    assert_eq!(ids.len(), 10);
}

#[test]
fn nothing_is_sent_unless_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    ask(&recorder, 1);
    recorder.await_rows("", 1);
    let seen = report(&recorder);
    assert_eq!((&seen["enabled"], &seen["offered"]), (&false.into(), &0.into()));
}
