//! How fast conversations are hashed: the time per turn must not grow with their number.

use std::hint::black_box;

use api_log::headers::Headers;
use api_log::protocol::Protocol;
use api_log::session::conversation;
use api_log::trace::view::{Answer, TraceView};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// A Messages request of an agent: text, tool calls and their results, by about 2 KB a turn.
fn request(turns: usize) -> String {
    let prose = r#"It reads the file, \"quotes\" a line and goes on.\n"#.repeat(35);
    let turn = |index: usize| match index % 2 {
        0 => format!(
            r#"{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"t{index}","content":"{prose}"}}]}}"#
        ),
        _ => format!(
            r#"{{"role":"assistant","content":[{{"type":"text","text":"{prose}"}},{{"type":"tool_use","id":"t{index}","name":"read","input":{{"path":"src/lib.rs","limit":{index},"deep":[1,2.5,{{"b":null,"a":true}}]}}}}]}}"#
        ),
    };
    let turns: Vec<_> = (0..turns).map(turn).collect();
    format!(r#"{{"model":"m","max_tokens":1024,"system":"{prose}","messages":[{}]}}"#, turns.join(","))
}

fn prefixes(criterion: &mut Criterion) {
    let headers = Headers::new();
    let mut group = criterion.benchmark_group("session");
    for turns in [10, 100, 1000] {
        let body = request(turns);
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::new("prefixes", turns), &body, |bencher, body| {
            let view = TraceView {
                method: "POST",
                target: "/v1/messages",
                status: None,
                request_headers: &headers,
                response_headers: &headers,
                request_json: Some(body),
                answer: Answer::None,
            };
            bencher.iter(|| conversation(Protocol::Messages, black_box(&view)));
        });
        // What any way over a tree of values costs before it has hashed a byte.
        group.bench_with_input(BenchmarkId::new("serde_json_round_trip", turns), &body, |bencher, body| {
            bencher.iter(|| {
                let value: Option<serde_json::Value> = serde_json::from_str(black_box(body)).ok();
                value.map(|value| value.to_string())
            });
        });
    }
    group.finish();
}

criterion_group!(benches, prefixes);
criterion_main!(benches);
