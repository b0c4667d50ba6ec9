//! The span of every protocol's exchanges, with texts, as the official messages of OTLP read it.

use api_log::otlp::{SCHEMA_URL, Shape, Spans};
use api_log::trace::{FinalizeSettings, finalize};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::{fixture, wire};

/// Each kind of answer once, whole and streamed; and each way to fail.
const CASES: &[(&str, &str)] = &[
    ("chat", "json-complete"),
    ("chat", "json-error-status"),
    ("chat", "stream-complete"),
    ("chat", "stream-client-gone"),
    ("completions", "json-complete"),
    ("responses", "json-complete"),
    ("responses", "stream-complete"),
    ("responses", "stream-failed"),
    ("messages", "json-complete"),
    ("messages", "stream-complete"),
    ("messages", "stream-upstream-gone"),
    ("gemini", "json-complete"),
    ("gemini", "sse-complete"),
    ("gemini", "array-complete"),
    ("embeddings", "json-complete"),
    ("images", "json-complete"),
    ("audio", "speech-complete"),
    ("audio", "transcription-complete"),
    ("models", "json-complete"),
];

#[test]
fn spans() {
    let mut differ = Vec::new();
    for (family, case) in CASES {
        // All that differ are told at once.
        if std::panic::catch_unwind(|| check(family, case)).is_err() {
            differ.push(format!("{family}-{case}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join(", "));
}

fn check(family: &str, case: &str) {
    let exchange = fixture::exchange(&wire().join(family).join(case));
    let finished = finalize(&exchange, &FinalizeSettings::default());
    let shape = Shape { service_name: "it".to_owned(), with_text: true, hidden: None, gzip: false };
    let mut spans = Spans::new(&shape);
    spans.add(&finished.line).unwrap();
    let body = spans.into_body();
    let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    assert_eq!(request.encode_to_vec(), body, "the official messages know every field");
    let of_resource = &request.resource_spans[0];
    assert_eq!(of_resource.schema_url, SCHEMA_URL);
    let scope = &of_resource.scope_spans[0];
    assert_eq!((scope.schema_url.as_str(), scope.scope.as_ref().unwrap().name.as_str()), (SCHEMA_URL, "api-log"));
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("spans");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _scope = settings.bind_to_scope();
    insta::assert_snapshot!(format!("{family}-{case}"), shown(&scope.spans[0]));
}

fn shown(span: &Span) -> String {
    let milli = |nano: u64| format!("{}.{:03}", nano / 1_000_000_000, nano / 1_000_000 % 1000);
    let hex = |bytes: &[u8]| bytes.iter().map(|it| format!("{it:02x}")).collect::<String>();
    let mut text = format!(
        "{} ({:?})\ntrace {} span {} parent {:?} flags {:#x}\nfrom {} to {}\n",
        span.name,
        span.kind(),
        hex(&span.trace_id),
        hex(&span.span_id),
        hex(&span.parent_span_id),
        span.flags,
        milli(span.start_time_unix_nano),
        milli(span.end_time_unix_nano),
    );
    if let Some(status) = &span.status {
        text.push_str(&format!("{:?} {:?}\n", status.code(), status.message));
    }
    for event in &span.events {
        text.push_str(&format!("event {} at {}\n", event.name, milli(event.time_unix_nano)));
    }
    for KeyValue { key, value, .. } in &span.attributes {
        text.push_str(&format!("{key} = {}\n", value.as_ref().map_or_else(String::new, value_text)));
    }
    text
}

fn value_text(value: &AnyValue) -> String {
    match value.value.as_ref().unwrap() {
        Value::StringValue(text) => text.clone(),
        Value::BoolValue(flag) => flag.to_string(),
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => format!("{number:?}"),
        Value::ArrayValue(list) => format!("[{}]", list.values.iter().map(value_text).collect::<Vec<_>>().join(", ")),
        other => format!("{other:?}"),
    }
}
