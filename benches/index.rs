//! How fast rows go into the index and come out of it, on an empty one and on one of a million rows.
//!
//! `cargo bench --bench index [-- ROWS]`

#![expect(clippy::expect_used, reason = "a measurement that cannot be taken stops")]

use std::time::{Duration, Instant};

use api_log::exchange::End;
use api_log::ids::{KeyHash, Place, SegmentId, TraceId, UnixMillis, short_sha256};
use api_log::index::filter::{Filter, ListParams};
use api_log::index::sessions::{SessionParams, sessions};
use api_log::index::{WriterState, insert_batch, query, schema};
use api_log::protocol::Protocol;
use api_log::session::Conversation;
use api_log::trace::{Row, Usage};
use rusqlite::Connection;

/// Rows a transaction, as the recorder at full load.
const BATCH_ROWS: usize = 1024;

/// Turns of a conversation: each request carries two more than the one before.
const REQUESTS: u64 = 8;

fn main() {
    // Anything but `cargo bench` only wants to know that it builds.
    if !std::env::args().any(|it| it == "--bench") {
        return;
    }
    let rows: u64 = std::env::args().filter_map(|it| it.parse().ok()).next().unwrap_or(1_000_000);
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("index.sqlite");
    let mut writer = schema::open_writer(&path).expect("a new index");
    let mut state = WriterState::new();
    let mut traffic = Traffic::default();

    let mut done = 0;
    let mut mark = 20_000.min(rows);
    while done < rows {
        let part = mark - done;
        let took = insert(&mut writer, &mut state, &mut traffic, part, BATCH_ROWS);
        println!("{done:>8} rows there: {}", rate(part, took));
        done = mark;
        mark = rows.min(if mark < 100_000 { 100_000 } else { mark + 300_000 });
    }
    for batch in [256, 4096] {
        let took = insert(&mut writer, &mut state, &mut traffic, 20_480, batch);
        println!("{done:>8} rows there, {batch} a transaction: {}", rate(20_480, took));
        done += 20_480;
    }
    let bytes = std::fs::metadata(&path).map_or(0, |it| it.len());
    println!("{} bytes a row", bytes / done);

    let reader = schema::open_reader(&path).expect("the index");
    reads(&reader, done);
}

fn insert(
    writer: &mut Connection,
    state: &mut WriterState,
    traffic: &mut Traffic,
    rows: u64,
    batch_rows: usize,
) -> Duration {
    let mut took = Duration::ZERO;
    let mut left = rows;
    while left > 0 {
        let batch: Vec<(Row, Place)> = (0..left.min(batch_rows as u64)).map(|_| traffic.next_row()).collect();
        left -= batch.len() as u64;
        let begun = Instant::now();
        let report = insert_batch(writer, state, &batch).expect("a batch");
        took += begun.elapsed();
        assert_eq!(report.inserted, batch.len());
    }
    took
}

fn reads(reader: &Connection, rows: u64) {
    let root = id(rows / 2 / REQUESTS * REQUESTS).to_string();
    let lists: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("newest", vec![]),
        ("status=500", vec![("status", "500")]),
        ("status=4xx", vec![("status", "4xx")]),
        ("status=418 (none)", vec![("status", "418")]),
        ("model", vec![("model", "model-3")]),
        ("path", vec![("path", "/v1/messages")]),
        ("path with query", vec![("path", "/v1/messages?beta=true")]),
        ("path prefix", vec![("path", "/v1/*")]),
        ("path prefix (none)", vec![("path", "/v9/*")]),
        ("path prefix (many rare)", vec![("path", "/v1/responses/*")]),
        ("key", vec![("key_hash", "0707070707070707")]),
        ("key prefix", vec![("key_hash", "07070707")]),
        ("session", vec![("session_root_id", &root)]),
        ("project", vec![("project", "project-3")]),
        ("rare status of one key", vec![("status", "500"), ("key_hash", "07070707")]),
        ("model and status", vec![("status", "429"), ("model", "model-3")]),
        (
            "model, path, status, key",
            vec![("status", "4xx"), ("model", "model-3"), ("path", "/v1/*"), ("key_hash", "07070707")],
        ),
    ];
    for (name, pairs) in lists {
        let params = ListParams::parse(pairs).expect("a filter");
        report(name, || query::list(reader, &params.filter, 100, None).expect("a page").rows.len());
    }
    let middle = query::list(reader, &Filter::default(), 1, None).expect("a page").next_cursor;
    let middle = middle.map(|mut cursor| {
        cursor.ts_start.0 -= rows as i64 / 2;
        cursor
    });
    report("page in the middle", || query::list(reader, &Filter::default(), 100, middle).expect("a page").rows.len());
    report("get", || usize::from(query::get(reader, id(rows / 2)).expect("a row").is_some()));
    let all = SessionParams { limit: 100, since: None };
    report("sessions", || sessions(reader, all).expect("sessions").len());
}

/// Prints the median and the slowest of some rounds.
fn report(name: &str, mut read: impl FnMut() -> usize) {
    let mut times = Vec::new();
    let mut found = 0;
    for _ in 0..60 {
        let begun = Instant::now();
        found = read();
        times.push(begun.elapsed().as_micros());
    }
    let first = times[0];
    times.sort_unstable();
    println!("{name:<26} {found:>4} rows  first {first:>7} us  median {:>6} us  p95 {:>6} us", times[30], times[57]);
}

fn rate(rows: u64, took: Duration) -> String {
    let micros = took.as_micros() as f64 / rows as f64;
    format!("{:>7.0} rows/s, {micros:.1} us a row", 1e6 / micros)
}

fn id(n: u64) -> TraceId {
    TraceId::from_bytes((u128::from(1_u64 << 60 | n) << 64 | u128::from(n)).to_be_bytes())
}

/// Conversations of several keys, interleaved, with errors and other requests among them.
#[derive(Default)]
struct Traffic {
    made: u64,
    offset: u64,
}

impl Traffic {
    fn next_row(&mut self) -> (Row, Place) {
        let n = self.made;
        self.made += 1;
        let (conversation, request) = (n / REQUESTS, n % REQUESTS);
        let key = (conversation % 50) as u8;
        let ts_start = UnixMillis(1_780_000_000_000 + n as i64 * 2);
        let turns = if conversation % 4 == 3 { 0 } else { 2 * request as usize + 2 };
        let hash = |kind: &str, at: usize| short_sha256(format!("{kind} {conversation} {at}").as_bytes());
        let (path, model) = match conversation % 10 {
            0..4 => ("/v1/messages?beta=true".to_owned(), Some(format!("model-{}", conversation % 7))),
            4..9 => ("/v1/chat/completions".to_owned(), Some(format!("model-{}", conversation % 7))),
            _ if n % 100 == 95 => (format!("/v1/responses/resp_{n}"), None),
            _ => ("/v1/models".to_owned(), None),
        };
        let row = Row {
            id: id(n),
            ts_start,
            ts_end: UnixMillis(ts_start.0 + 1),
            client: format!("10.0.{}.{}:{}", n % 5, n % 250, 1024 + n % 60_000),
            method: "POST".into(),
            path,
            upstream: "http://127.0.0.1:4000".into(),
            status: match n % 1000 {
                0..20 => 429,
                20..25 => 500,
                _ => 200,
            },
            end: End::Complete,
            disconnected: false,
            truncated_req: false,
            truncated_resp: false,
            protocol: Protocol::Chat,
            model,
            stream: Some(n.is_multiple_of(2)),
            usage: Usage {
                prompt: Some(1000 + n as i64 % 999),
                completion: Some(50),
                total: Some(1050),
                ..Usage::default()
            },
            finish_reason: Some("stop".into()),
            error_type: None,
            key: KeyHash([key; 8]),
            conversation: Conversation {
                prefixes: (0..turns).map(|at| hash("turn", at)).collect(),
                replies: (0..turns).map(|at| (at % 2 == 1).then(|| hash("answer", at))).collect(),
                answer: (turns > 0).then(|| hash("answer", turns)),
                ..Conversation::default()
            },
            client_kind: Some("claude-code".into()),
            client_version: Some("2.0.1".into()),
            client_project: (conversation % 3 == 0).then(|| format!("project-{}", conversation % 11)),
            media_count: 0,
            ttfb_ms: Some(40),
            first_event_ms: Some(60),
            req_bytes: Some(4000),
            resp_bytes: Some(900),
            tags: Vec::new(),
            texts: None,
        };
        let segment: SegmentId = "2026-05-27/07070707.jsonl".parse().expect("a segment");
        let place = Place { segment, offset: self.offset, bytes: 5000 };
        self.offset += 5001;
        (row, place)
    }
}
