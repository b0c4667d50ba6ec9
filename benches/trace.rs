//! What finalizing costs: its parts, and whole exchanges, beside a `serde_json::Value` round trip of the same bytes.

#![expect(clippy::unwrap_used, reason = "a failure ends the bench")]

mod made;

use std::hint::black_box;
use std::io::Write as _;

use api_log::headers::Headers;
use api_log::jsonl::line::read_row;
use api_log::protocol::{Protocol, extract};
use api_log::trace::view::{Answer, EventData, EventView, TraceView};
use api_log::trace::{FinalizeSettings, finalize};
use api_log::wire::decode::{Limits, codings, decode};
use api_log::wire::{json, sse};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use made::{agent_request, event_stream, exchange, recording};

/// The way not taken: every JSON text becomes a tree and is written anew.
fn value_round_trip(text: &str) -> String {
    serde_json::from_str::<serde_json::Value>(text).unwrap().to_string()
}

fn wire(criterion: &mut Criterion) {
    let request = agent_request(400);
    let stream = event_stream(5_000);
    let bytes = |it: &str| Throughput::Bytes(it.len() as u64);

    let mut group = criterion.benchmark_group("sse");
    group.throughput(bytes(&stream));
    group.bench_function("split", |bench| bench.iter(|| sse::parse(black_box(&stream)).events.len()));
    group.bench_function("split_in_pieces", |bench| {
        bench.iter(|| {
            let mut splitter = sse::Splitter::new();
            let mut events = Vec::new();
            black_box(&stream).as_bytes().chunks(700).for_each(|piece| splitter.push(piece, &mut events));
            events.len()
        });
    });
    group.bench_function("split_and_value_round_trip", |bench| {
        bench.iter(|| {
            let events = sse::parse(black_box(&stream)).events;
            events.iter().filter_map(|it| it.data.as_deref()).map(|data| value_round_trip(data).len()).sum::<usize>()
        });
    });
    group.finish();

    let mut group = criterion.benchmark_group("json");
    group.throughput(bytes(&request));
    group.bench_function("check_and_embed", |bench| {
        bench.iter(|| {
            let mut out = String::new();
            json::embed(&mut out, json::value(black_box(&request)).unwrap());
            out
        });
    });
    group.bench_function("value_round_trip", |bench| bench.iter(|| value_round_trip(black_box(&request))));
    group.finish();

    let mut group = criterion.benchmark_group("decode");
    group.throughput(bytes(&stream));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(stream.as_bytes()).unwrap();
    let mut brotli = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
    brotli.write_all(stream.as_bytes()).unwrap();
    for (name, coded) in [
        ("gzip", gzip.finish().unwrap()),
        ("br", brotli.into_inner()),
        ("zstd", zstd::encode_all(stream.as_bytes(), 3).unwrap()),
    ] {
        let body = recording(coded, 700);
        let codings = codings([name.as_bytes()].into_iter()).unwrap();
        group.bench_function(name, |bench| {
            bench.iter(|| decode(black_box(&body), &codings, Limits::default()).unwrap().bytes.len());
        });
    }
    group.finish();
}

/// What an answer says of itself: model, tokens, finish.
fn usage(criterion: &mut Criterion) {
    let stream = event_stream(5_000);
    let parsed = sse::parse(&stream).events;
    let data: Vec<&str> = parsed.iter().filter_map(|it| it.data.as_deref()).collect();
    let events: Vec<_> = data.iter().map(|data| EventView { name: "", data: EventData::Json(data) }).collect();
    let headers = Headers::new();
    let view = TraceView {
        method: "POST",
        target: "/v1/chat/completions",
        status: Some(200),
        request_headers: &headers,
        response_headers: &headers,
        request_json: None,
        answer: Answer::Events(&events),
    };
    let mut group = criterion.benchmark_group("usage");
    group.throughput(Throughput::Bytes(data.iter().map(|it| it.len() as u64).sum()));
    group.bench_function("extract", |bench| bench.iter(|| extract(Protocol::Chat, black_box(&view), true, true)));
    group.bench_function("value_round_trip", |bench| {
        bench.iter(|| black_box(&data).iter().map(|data| value_round_trip(data).len()).sum::<usize>());
    });
    group.finish();
}

fn whole(criterion: &mut Criterion) {
    let settings = FinalizeSettings::default();
    let mut group = criterion.benchmark_group("finalize");
    let answer = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m-large","content":[{"type":"text","text":"Done."}],"stop_reason":"end_turn","usage":{"input_tokens":9,"output_tokens":3}}"#;
    for turns in [10, 100, 400, 1000] {
        let request = agent_request(turns);
        group.throughput(Throughput::Bytes((request.len() + answer.len()) as u64));
        group.bench_with_input(BenchmarkId::new("value_round_trip", turns), &request, |bench, request| {
            bench.iter(|| value_round_trip(black_box(request)));
        });
        let it = exchange("/v1/messages", request, "application/json", answer.into());
        group.bench_with_input(BenchmarkId::new("agent_turns", turns), &it, |bench, it| {
            bench.iter(|| finalize(black_box(it), &settings));
        });
        let line = finalize(&it, &settings).line;
        group.bench_with_input(BenchmarkId::new("read_row_turns", turns), &line, |bench, line| {
            bench.iter(|| read_row(black_box(line)).unwrap());
        });
    }

    let ask = r#"{"model":"m-1","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hello there"}],"stream":false}"#;
    let reply = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1779877425,"model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"Hi."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}"#;
    let small = exchange("/v1/chat/completions", ask.into(), "application/json", reply.into());
    group.throughput(Throughput::Elements(1));
    group.bench_function("small_chat", |bench| bench.iter(|| finalize(black_box(&small), &settings)));
    group.bench_function("small_chat_value_round_trip", |bench| {
        bench.iter(|| (value_round_trip(black_box(ask)), value_round_trip(black_box(reply))));
    });
    let streamed = exchange("/v1/chat/completions", ask.into(), "text/event-stream", event_stream(50));
    group.bench_function("chat_stream_of_50", |bench| bench.iter(|| finalize(black_box(&streamed), &settings)));
    group.finish();
}

criterion_group!(benches, wire, usage, whole);
criterion_main!(benches);
