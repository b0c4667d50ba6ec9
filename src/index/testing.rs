//! Small traces for the index's tests: lines that say what their row holds.

use proptest::prelude::Strategy;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::exchange::End;
use crate::ids::{KeyHash, SegmentId, TraceId, UnixMillis, short_sha256};
use crate::index::{WriterState, schema, texts};
use crate::jsonl::line::BadLine;
use crate::protocol::Protocol;
use crate::session::Conversation;
use crate::store::layout::Layout;
use crate::trace::{Row, Texts, Usage};

/// The id number `n`.
pub(crate) fn id(n: u64) -> TraceId {
    TraceId::from_bytes((1_u128 << 100 | u128::from(n)).to_be_bytes())
}

/// A trace without turns.
pub(crate) fn row(n: u64, ts_start: i64) -> Row {
    Row {
        id: id(n),
        ts_start: UnixMillis(ts_start),
        ts_end: UnixMillis(ts_start + 10),
        client: "192.0.2.1:5000".into(),
        method: "POST".into(),
        path: "/v1/chat/completions".into(),
        upstream: "http://gateway".into(),
        status: 200,
        end: End::Complete,
        disconnected: false,
        truncated_req: false,
        truncated_resp: false,
        protocol: Protocol::Chat,
        model: Some("m".into()),
        stream: None,
        usage: Usage::default(),
        finish_reason: None,
        error_type: None,
        key: KeyHash::NONE,
        conversation: Conversation::default(),
        client_kind: None,
        client_version: None,
        client_project: None,
        media_count: 0,
        ttfb_ms: None,
        first_event_ms: None,
        req_bytes: None,
        resp_bytes: None,
        tags: Vec::new(),
        texts: None,
    }
}

fn fingerprint(text: &str) -> [u8; 8] {
    short_sha256(text.as_bytes())
}

/// A line of which [`read_row`] makes a row. `turns` beginning with `a` are an assistant's.
pub(crate) fn line(n: u64, key: u8, ts_start: i64, took_ms: i64, turns: &[String], answer: &str) -> Value {
    json!({"id": id(n).to_string(), "key": key, "ts": ts_start, "took": took_ms, "turns": turns, "answer": answer})
}

/// The row of a line made by [`line`], with members `status`, `response`, `previous` and `conversation` added
/// where wanted.
pub(crate) fn read_row(line: &[u8]) -> Result<Row, BadLine> {
    let bad = || BadLine("not a test line".into());
    let value: Value = serde_json::from_slice(line).map_err(|_| bad())?;
    let id: TraceId = value["id"].as_str().and_then(|id| id.parse().ok()).ok_or_else(bad)?;
    let turns: Vec<&str> = value["turns"].as_array().ok_or_else(bad)?.iter().filter_map(Value::as_str).collect();
    let prefixes = (1..=turns.len()).map(|length| fingerprint(&turns[..length].join("\n"))).collect();
    let replies = turns.iter().map(|turn| turn.starts_with('a').then(|| fingerprint(turn))).collect();
    let optional = |name: &str| value[name].as_str().map(fingerprint);
    let ts_start = value["ts"].as_i64().ok_or_else(bad)?;
    let mut row = row(0, ts_start);
    row.id = id;
    row.ts_end = UnixMillis(ts_start + value["took"].as_i64().ok_or_else(bad)?);
    row.key = KeyHash([value["key"].as_u64().ok_or_else(bad)? as u8; 8]);
    row.texts = Some(Texts { request: turns.join("\n"), answer: value["answer"].as_str().unwrap_or_default().into() });
    row.status = value["status"].as_i64().unwrap_or(200) as i32;
    row.tags = value["tags"].as_array().into_iter().flatten().filter_map(|it| it.as_str().map(str::to_owned)).collect();
    row.conversation = Conversation {
        prefixes,
        replies,
        answer: optional("answer"),
        response_id: optional("response"),
        previous_response_id: optional("previous"),
        conversation_id: optional("conversation"),
    };
    Ok(row)
}

/// How much text of a trace tests keep.
pub(crate) const TEXT_BYTES: usize = 1 << 14;

/// An empty index of a data dir, with what its writer remembers.
pub(crate) fn new_index(layout: &Layout) -> (Connection, WriterState) {
    let mut index = schema::open_writer(&layout.index()).unwrap();
    texts::prepare(&mut index, Some(TEXT_BYTES)).unwrap();
    (index, WriterState::new())
}

/// All that outside users see, in an order that does not depend on that of insertion.
pub(crate) fn dump(index: &Connection) -> Vec<String> {
    let mut lines = Vec::new();
    for sql in [
        "SELECT * FROM traces ORDER BY id",
        "SELECT root, turns, first_ts, last_ts, last_id, ok_count, err_count FROM sessions ORDER BY root",
        "SELECT id, text FROM tags LEFT JOIN rows USING (row, ts_start) JOIN words ON word = tag ORDER BY id, text",
        "SELECT path, indexed_to, bad_lines, is_done, first_trace FROM segments ORDER BY path",
        "SELECT hour, model.text, hex(hash), kind.text, project.text, traces, ok_count, client_errors, server_errors,
            unanswered, disconnected, prompt_tokens, completion_tokens, total_tokens, cached_tokens,
            cache_creation_tokens, reasoning_tokens, duration_ms, first_event_ms, hex(durations), hex(first_events)
         FROM rollups LEFT JOIN words AS model ON model.word = model LEFT JOIN keys USING (key)
         LEFT JOIN words AS kind ON kind.word = client_kind LEFT JOIN words AS project ON project.word = client_project
         ORDER BY 1, 2, 3, 4, 5",
    ] {
        let mut statement = index.prepare(sql).unwrap();
        let columns = statement.column_count();
        let text = |row: &rusqlite::Row<'_>| {
            (0..columns).map(|at| format!("{:?}", row.get_ref(at).unwrap())).collect::<Vec<_>>().join(" ")
        };
        let mut rows = statement.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            lines.push(text(row));
        }
    }
    if texts::bytes_kept(index).unwrap().is_some() {
        let mut rows = index.prepare("SELECT rows.id, rows.row FROM texts JOIN rows USING (row) ORDER BY 1").unwrap();
        let rows = rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?))).unwrap();
        lines.extend(rows.map(Result::unwrap).map(|(id, row)| format!("{id} {:?}", texts::texts_of(index, row))));
        if !index.is_readonly("main").unwrap() {
            index.execute_batch("INSERT INTO texts_found (texts_found) VALUES ('integrity-check')").unwrap();
        }
        let found: (i64, i64, i64) = index
            .query_row(
                "SELECT (SELECT count(*) FROM texts), (SELECT count(*) FROM texts JOIN rows USING (row)), \
                 (SELECT count(*) FROM texts_found_docsize)",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .unwrap();
        assert!(found.0 == found.1 && found.1 == found.2, "texts, their rows, and what is searched: {found:?}");
    }
    lines
}

/// A step in a random life of a few keys: whose, when, how long, which conversation, how far in, what answer.
pub(super) type Step = (u8, i64, i64, u8, usize, u8);

pub(super) fn life() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec((1..3u8, 0..60i64, 0..40i64, 0..3u8, 0..9usize, 0..3u8), 1..60)
}

/// Lines by segment, in the order of their writing: not that of start or end.
pub(super) fn lines_of(steps: &[Step]) -> Vec<(SegmentId, Value)> {
    let line_of = |(n, &(key, ts_start, took_ms, conversation, length, answer)): (usize, &Step)| {
        let turn = |at: usize| match at % 2 {
            0 => format!("u{conversation}.{at}"),
            _ => format!("a{}", (conversation as usize + at) % 3),
        };
        let turns: Vec<String> = (0..length).map(turn).collect();
        let mut line = line(n as u64, key, ts_start, took_ms, &turns, &format!("a{answer}"));
        let extra = match (answer, length) {
            (0, 1) => json!({"response": format!("r{conversation}"), "conversation": "c"}),
            (1, 1) => json!({"previous": format!("r{conversation}"), "status": 500}),
            (2, 1) => json!({"conversation": "c", "previous": "r0"}),
            _ => json!({}),
        };
        line.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        line["tags"] = (0..n % 3).map(|at| format!("t{at}")).collect();
        // Writing goes on past midnight, and the old day's file still gets a line now and then.
        let day = if n * 3 > steps.len() * 2 && n % 5 != 0 { "2026-05-28" } else { "2026-05-27" };
        (format!("{day}/{}.jsonl", format!("{key:02x}").repeat(4)).parse().unwrap(), line)
    };
    steps.iter().enumerate().map(line_of).collect()
}
