//! What mutators cost: an exchange that none is about, a streamed answer, a whole answer, a request.

#![expect(clippy::unwrap_used, reason = "a failure ends the bench")]

use std::fmt::Write as _;
use std::hint::black_box;

use api_log::plugin::instance::Instance;
use api_log::plugin::rewrite::{Framing, Mutators};
use api_log::plugin::set::{Set, Source};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

fn set(routes: &str) -> Set {
    let rules: Vec<Value> =
        (0..10).map(|number| json!({"match": format!("codename-{number}"), "replace": "[x]"})).collect();
    let instances = json!([
        {"type": "text-replace", "id": "names", "enabled": true, "config": {"routes": [routes], "up": rules, "down": rules}}
    ]);
    let (list, bad) = Instance::read_list(instances.as_array().unwrap());
    assert_eq!(bad, []);
    Set::after(&Set::default(), Source::Override, Vec::new(), list)
}

/// A chat stream of so many events of about 200 bytes, of which one in ten has a word that begins like a match.
fn event_stream(events: usize) -> String {
    let mut text = String::new();
    for number in 0..events {
        let word = if number % 10 == 0 { " codename" } else { " word" };
        write!(text, "data: {{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion.chunk\",\"created\":1779877425,\"model\":\"m-large\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{word}\"}},\"finish_reason\":null}}]}}\n\n").unwrap();
    }
    text + "data: [DONE]\n\n"
}

/// An agent's request of so many turns, about 5 KB each.
fn agent_request(turns: usize) -> String {
    let mut text = String::from(r#"{"model":"m-large","messages":["#);
    for turn in 0..turns {
        let comma = if turn == 0 { "" } else { "," };
        write!(text, r#"{comma}{{"role":"user","content":[{{"type":"text","text":""#).unwrap();
        for line in 0..90 {
            write!(text, r#"{turn}:{line}  let value = map.get(\"key\").unwrap_or(&0); // naïve\n"#).unwrap();
        }
        text.push_str(r#""}]}"#);
    }
    text + "]}"
}

fn rewrite(bench: &mut Criterion) {
    let elsewhere = set("/elsewhere/*");
    let here = set("/v1/*");
    let mut group = bench.benchmark_group("rewrite");
    group.bench_function("an exchange that no mutator is about", |bench| {
        bench.iter(|| Mutators::of(black_box(&elsewhere), "POST", black_box(CHAT)).is_none());
    });
    let mutators = Mutators::of(&here, "POST", CHAT).unwrap();
    let stream = event_stream(1000);
    group.throughput(Throughput::Elements(1000));
    group.bench_function("a stream of 1,000 events, 10 rules, an event at a time", |bench| {
        bench.iter(|| {
            let mut streams = mutators.stream(Framing::Events, &[]).unwrap();
            let events = stream.split_inclusive("\n\n");
            let bytes: usize = events.map(|event| streams.push(event.as_bytes()).unwrap().len()).sum();
            bytes + streams.finish().len()
        });
    });
    let request = agent_request(100);
    group.throughput(Throughput::Bytes(request.len() as u64));
    group.bench_function("a request of 100 turns, 10 rules, no match", |bench| {
        bench.iter(|| mutators.request(black_box(request.as_bytes()), &[], 1 << 30));
    });
    let matching = request.replace("naïve", "codename-7");
    group.bench_function("the same with 9,000 matches", |bench| {
        bench.iter(|| mutators.request(black_box(matching.as_bytes()), &[], 1 << 30));
    });
    group.finish();
}

criterion_group!(benches, rewrite);
criterion_main!(benches);
