//! `/api/traces`: every parameter, the pages, the row.

use serde_json::Value;

use crate::seed::{Line, id, write};
use crate::stack::Recorder;

/// Ten traces, a second apart, that differ in what can be filtered by.
fn ten() -> Vec<Line> {
    let mut lines: Vec<Line> = (0..10).map(|number| Line::new(number, number * 1000)).collect();
    lines[1].status = 201;
    lines[2].status = 404;
    lines[3].status = 429;
    lines[4].status = 500;
    lines[5].status = -1;
    lines[1].path = "/v1/chat/completions?beta=true".into();
    lines[2].path = "/v1/chat/completions?beta=true&x=1".into();
    lines[3].path = "/v1/chat/completions2".into();
    lines[4].path = "/v1/chat%/c_mpletions".into();
    lines[5].path = "/V1/chat/completions".into();
    lines[6].model = "m-2";
    lines[7].model = "m_2";
    lines[8].key_hash = "aaaaaaaa00000002";
    lines[9].key_hash = "bbbbbbbb00000001";
    lines[6].project = "Ferry";
    lines[7].project = "Ferry two";
    for (line, took_ms) in lines.iter_mut().zip([0, 15, 16, 1500, 1448, 3_600_000, 10, 10, 10, 10]) {
        line.took_ms = took_ms;
    }
    lines[0].total_tokens = Some(0);
    lines[6].total_tokens = Some(1447);
    lines[7].total_tokens = Some(250_000);
    lines[5].end = "upstream_unreachable";
    lines[6].end = "client_gone";
    lines[7].user_agent = "claude-cli/2.0.1 (external, cli)";
    lines[8].stream = Some(true);
    lines[9].stream = Some(false);
    lines
}

/// The numbers of the rows, in the order of the list.
fn numbers(rows: &[Value]) -> Vec<usize> {
    rows.iter().map(|row| row["id"].as_str().unwrap()[3..].parse().unwrap()).collect()
}

#[test]
fn every_filter_lets_through_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &ten());
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 10);
    let all = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0];
    let cases: &[(&str, &[usize])] = &[
        ("", &all),
        ("limit=3", &[9, 8, 7]),
        ("limit=500", &all),
        ("limit=1", &[9]),
        // Begun at or after, and before.
        ("since=2026-05-27T10:00:08Z", &[9, 8]),
        ("since=2026-05-27T10:00:08.001Z", &[9]),
        ("since=2026-05-27T12:00:08%2B02:00", &[9, 8]),
        ("until=2026-05-27T10:00:01Z", &[0]),
        ("until=2026-05-27T10:00:01.001Z", &[1, 0]),
        ("since=2026-05-27T10:00:02Z&until=2026-05-27T10:00:04Z", &[3, 2]),
        ("since=2026-05-27T10:00:04Z&until=2026-05-27T10:00:04Z", &[]),
        ("since=2027-01-01T00:00:00Z", &[]),
        ("status=200", &[9, 8, 7, 6, 0]),
        ("status=404", &[2]),
        ("status=-1", &[5]),
        ("status=302", &[]),
        ("status=2xx", &[9, 8, 7, 6, 1, 0]),
        ("status=4xx", &[3, 2]),
        ("status=4XX", &[3, 2]),
        ("status=5xX", &[4]),
        ("model=m-2", &[6]),
        ("model=m_2", &[7]),
        ("model=m-%25", &[]),
        ("model=M-2", &[]),
        // Without a query in the filter, the query does not matter; with one, it is part of the target.
        ("path=/v1/chat/completions", &[9, 8, 7, 6, 2, 1, 0]),
        ("path=/v1/chat/completions?beta=true", &[1]),
        ("path=/v1/chat/completions%3Fbeta%3Dtrue%26x%3D1", &[2]),
        ("path=/v1/chat/completions?beta=tru", &[]),
        ("path=/v1/chat", &[]),
        ("path=/v1/chat/completions*", &[9, 8, 7, 6, 3, 2, 1, 0]),
        ("path=/v1/chat/completions?beta*", &[2, 1]),
        ("path=/v1/*", &[9, 8, 7, 6, 4, 3, 2, 1, 0]),
        ("path=/v1/*/completions", &[]),
        ("path=*", &all),
        ("path=/v1/chat%25/*", &[4]),
        ("path=/v1/chat/c_mpletions*", &[]),
        ("path=/%25*", &[]),
        ("path=%25", &[]),
        ("key_hash=aaaaaaaa", &[8, 7, 6, 5, 4, 3, 2, 1, 0]),
        ("key_hash=aaaaaaaa00000002", &[8]),
        ("key_hash=BBBBBBBB", &[9]),
        ("key_hash=cccccccc", &[]),
        ("key_hash=%25%25%25%25%25%25%25%25", &[]),
        ("key_hash=________", &[]),
        ("project=Ferry", &[6]),
        ("project=Ferry%20two", &[7]),
        ("project=Ferry+two", &[7]),
        ("project=ferry", &[]),
        ("session_root_id=nonsense", &[]),
        ("client_kind=claude-cli", &[7]),
        ("client_kind=nobody", &[]),
        ("stream=true", &[8]),
        ("stream=false", &[9]),
        ("end=upstream_unreachable", &[5]),
        ("end=complete", &[9, 8, 7, 4, 3, 2, 1, 0]),
        ("end=shutdown", &[]),
        ("has_media=true", &[]),
        ("has_media=false", &all),
        ("min_ms=0", &all),
        ("min_ms=16", &[5, 4, 3, 2]),
        ("min_ms=1449", &[5, 3]),
        ("min_ms=3600001", &[]),
        // Who does not tell of tokens has none to count.
        ("min_tokens=0", &[7, 6, 0]),
        ("min_tokens=1447", &[7, 6]),
        ("min_tokens=1448", &[7]),
        ("min_ms=1&min_tokens=1&end=complete&limit=1", &[7]),
        // All that is given must hold.
        ("status=2xx&key_hash=aaaaaaaa00000001&model=m-1&path=/v1/*&limit=2", &[1, 0]),
        // An empty parameter is none; of repeated ones the first counts, even if it is empty.
        ("since=&until=&status=&model=&path=&key_hash=&session_root_id=&project=&limit=&cursor=&nonsense=", &all),
        ("model=m-2&model=m_2", &[6]),
        ("status=404&status=nonsense", &[2]),
        ("model=&model=m-2", &all),
    ];
    for (query, expected) in cases {
        assert_eq!(numbers(&recorder.rows(query)), *expected, "{query}");
    }
    let rows = recorder.rows(&format!("session_root_id={}", id(4)));
    assert_eq!(numbers(&rows), [4], "a trace alone is its own session");
}

#[test]
fn what_cannot_be_honoured_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    for (param, value) in [
        ("since", "yesterday"),
        ("since", "2026-05-27"),
        ("since", "2026-05-27T10:00:00"),
        ("since", "1779877425"),
        ("until", "2026-13-27T10:00:00Z"),
        ("status", "3xx"),
        ("status", "1xx"),
        ("status", "xx"),
        ("status", "200.0"),
        ("status", "ok"),
        ("status", "99999999999"),
        ("key_hash", "aaaaaaa"),
        ("key_hash", "aaaaaaaaa"),
        ("key_hash", "aaaaaaaa0000000"),
        ("key_hash", "aaaaaaaa000000011"),
        ("limit", "0"),
        ("limit", "501"),
        ("limit", "-1"),
        ("limit", "1.5"),
        ("limit", "ten"),
        ("limit", "99999999999999999999"),
        ("stream", "1"),
        ("has_media", "yes"),
        ("end", "Complete"),
        ("min_ms", "-1"),
        ("min_tokens", "1e3"),
        ("cursor", "!!"),
        ("cursor", "MTIz"),
        ("cursor", "MTIzOg"),
        ("cursor", "OjAxSjAwMDAwMDAwMDAwMDAwMDAwMDAwMDA"),
        ("nonsense", "1"),
        ("Limit", "1"),
        ("offset", "1"),
        ("all", "1"),
    ] {
        let (status, body) =
            recorder.refusal(&format!("/api/traces?limit=5&{param}={value}").replace("limit=5&limit", "limit"));
        assert_eq!(status, 400, "{param}={value}");
        assert_eq!(body["error"], "bad_param", "{param}={value}");
        assert_eq!(body["param"], param, "{param}={value}");
        assert!(body["message"].as_str().unwrap().contains(param), "{body}");
    }
}

/// All pages of this size, to the end.
fn pages(recorder: &Recorder, query: &str, limit: usize) -> Vec<usize> {
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = recorder.get(&format!("/api/traces?limit={limit}&cursor={cursor}&{query}"));
        let rows = page["traces"].as_array().unwrap();
        seen.extend(numbers(rows));
        match &page["next_cursor"] {
            Value::Null => return seen,
            Value::String(next) => {
                assert_eq!(rows.len(), limit, "a page with a next one is full");
                assert!(next.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{next}");
                cursor.clone_from(next);
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn pages_hold_every_trace_once_even_of_one_instant() {
    let dir = tempfile::tempdir().unwrap();
    // Seven instants of a hundred traces each, in files of three keys, written in no order of theirs.
    let keys = ["aaaaaaaa00000001", "bbbbbbbb00000001", "cccccccc00000001"];
    let lines: Vec<Line> = (0..700)
        .map(|at| {
            let number = at * 271 % 700;
            Line { key_hash: keys[number % 3], ..Line::new(number, number / 100) }
        })
        .collect();
    write(dir.path(), &lines);
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("limit=500&until=2026-05-27T10:00:00.004Z", 400);
    recorder.await_rows("limit=500&since=2026-05-27T10:00:00.004Z", 300);
    let all: Vec<usize> = (0..700).rev().collect();
    for limit in [37, 100, 350, 499, 500] {
        assert_eq!(pages(&recorder, "", limit), all, "{limit}");
    }
    let of_key: Vec<usize> = all.iter().copied().filter(|number| number % 3 == 1).collect();
    for (query, expected) in [
        ("key_hash=bbbbbbbb", &of_key),
        ("key_hash=bbbbbbbb00000001&status=2xx&model=m-1", &of_key),
        ("path=/v1/*", &all),
        ("status=2xx", &all),
    ] {
        for limit in [29, 233] {
            assert_eq!(&pages(&recorder, query, limit), expected, "{query} {limit}");
        }
    }
    assert_eq!(recorder.rows("").len(), 100, "a hundred unless asked for otherwise");
    // A page that is just full has no next one.
    assert_eq!(recorder.get("/api/traces?limit=100&until=2026-05-27T10:00:00.001Z")["next_cursor"], Value::Null);
}

#[test]
fn no_trace_is_an_empty_list() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    assert_eq!(recorder.api("GET", "/api/traces", "").text(), "{\"traces\":[],\"next_cursor\":null}\n");
}

#[test]
fn a_row_has_every_member_of_its_type_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let answer = r#"{"model":"m-2025","choices":[{"index":0,"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":3,"cache_write_tokens":1},"completion_tokens_details":{"reasoning_tokens":2}}}"#;
    let ask = r#"{"model":"m","stream":false,"messages":[{"role":"system","content":"Contents of /src/AGENTS.md:\n\n# Ferry\n"},{"role":"user","content":"Hi"}]}"#;
    let fields = [("Authorization", "Bearer sk-1"), ("User-Agent", "OpenAI/Python 1.99.0"), ("x-answer", answer)];
    recorder.send("/v1/chat/completions?key=secret", &fields, ask);
    recorder.send("/x", &[("x-answer-status", "500")], "");
    let rows = recorder.await_rows("", 2);
    let (full, bare) = (&rows[1], &rows[0]);

    let text = recorder.api("GET", "/api/traces?path=/v1/*", "").text().to_owned();
    let members = [
        "id",
        "ts_start",
        "ts_end",
        "client",
        "method",
        "path",
        "upstream",
        "status",
        "model",
        "stream",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "cached_tokens",
        "cache_creation_tokens",
        "reasoning_tokens",
        "finish_reason",
        "client_kind",
        "client_version",
        "client_project",
        "key_hash",
        "parent_id",
        "session_root_id",
        "disconnected",
        "truncated_req",
        "truncated_resp",
        "media_count",
        "jsonl_path",
        "jsonl_offset",
        "jsonl_bytes",
        "end",
        "protocol",
        "duration_ms",
        "ttfb_ms",
        "first_event_ms",
        "req_bytes",
        "resp_bytes",
        "session_method",
        "tags",
        "error_type",
    ];
    let places: Vec<usize> = members.iter().map(|it| text.find(&format!("\"{it}\":")).expect(it)).collect();
    assert!(places.is_sorted(), "{text}");
    for row in [full, bare] {
        assert_eq!(row.as_object().unwrap().len(), members.len());
        for name in [
            "id",
            "ts_start",
            "ts_end",
            "client",
            "method",
            "path",
            "upstream",
            "key_hash",
            "session_root_id",
            "jsonl_path",
            "end",
            "protocol",
        ] {
            assert!(row[name].is_string(), "{name} {row}");
        }
        for name in ["status", "media_count", "jsonl_offset", "jsonl_bytes", "duration_ms", "req_bytes", "resp_bytes"] {
            assert!(row[name].is_i64(), "{name} {row}");
        }
        for name in ["disconnected", "truncated_req", "truncated_resp"] {
            assert_eq!(row[name], false, "{name}");
        }
        assert_eq!(row["tags"], Value::Array(Vec::new()));
        for name in ["ts_start", "ts_end"] {
            let time = row[name].as_str().unwrap();
            assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[19] == b'.', "{time}");
        }
        let day = &row["ts_start"].as_str().unwrap()[..10];
        let short = &row["key_hash"].as_str().unwrap()[..8];
        assert_eq!(row["jsonl_path"], format!("{day}/{short}.jsonl"));
        assert_eq!(row["session_root_id"], row["id"]);
        assert!(row["parent_id"].is_null() && row["session_method"].is_null());
    }
    let expected = [
        ("method", "POST".into()),
        ("path", "/v1/chat/completions?key=***".into()),
        ("status", 200.into()),
        ("model", "m-2025".into()),
        ("stream", false.into()),
        ("prompt_tokens", 7.into()),
        ("completion_tokens", 5.into()),
        ("total_tokens", 12.into()),
        ("cached_tokens", 3.into()),
        ("cache_creation_tokens", 1.into()),
        ("reasoning_tokens", 2.into()),
        ("finish_reason", "stop".into()),
        ("client_kind", "openai-sdk-python".into()),
        ("client_version", "1.99.0".into()),
        ("client_project", "Ferry".into()),
        ("protocol", "chat".into()),
        ("end", "complete".into()),
        ("req_bytes", ask.len().into()),
        ("resp_bytes", answer.len().into()),
        ("error_type", Value::Null),
    ];
    for (name, value) in expected {
        assert_eq!(full[name], value, "{name}");
    }
    for name in [
        "model",
        "stream",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
        "cached_tokens",
        "cache_creation_tokens",
        "reasoning_tokens",
        "finish_reason",
        "client_kind",
        "client_version",
        "client_project",
        "first_event_ms",
        "error_type",
    ] {
        assert!(bare[name].is_null(), "{name}: {}", bare[name]);
    }
    assert_eq!((&bare["key_hash"], &bare["status"]), (&"0000000000000000".into(), &500.into()));
    assert_eq!(full["key_hash"].as_str().unwrap().len(), 16);
}
