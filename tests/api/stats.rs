//! `/api/stats`: sums of what was recorded.

use serde_json::{Value, json};

use crate::seed::{Line, write};
use crate::stack::{Recorder, remove_index};

fn lines() -> Vec<Line> {
    let mut lines: Vec<Line> = (0..6).map(|number| Line::new(number, number * 1_800_000)).collect();
    for (line, took_ms) in lines.iter_mut().zip([10, 20, 30, 1000, 5, 5]) {
        line.took_ms = took_ms;
        line.total_tokens = Some(7);
    }
    lines[1].status = 404;
    lines[2].status = 503;
    lines[2].model = "m-2";
    lines[3].status = -1;
    lines[4].key_hash = "bbbbbbbb00000001";
    lines[5].user_agent = "claude-cli/2.0.1 (external, cli)";
    lines[5].project = "Ferry";
    lines
}

#[test]
fn sums_are_told_by_what_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &lines());
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 6);
    let all = recorder.get("/api/stats");
    assert_eq!((&all["since"], &all["until"], &all["bucket"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!((&all["by"], &all["series"], &all["others"]), (&json!([]), &json!([]), &Value::Null));
    let expected = json!({
        "traces": 6, "ok_count": 3, "err_count": 2, "client_errors": 1, "server_errors": 1, "unanswered": 1,
        "disconnected": 0, "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 42, "cached_tokens": 0,
        "cache_creation_tokens": 0, "reasoning_tokens": 0,
        "duration_ms": {"count": 6, "mean": 178.3, "p50": 10, "p90": 1023, "p95": 1023, "p99": 1023},
        "first_event_ms": {"count": 0, "mean": null, "p50": null, "p90": null, "p95": null, "p99": null},
    });
    assert_eq!(all["total"], expected);

    let told = |query: &str| -> Vec<Value> {
        let answer = recorder.get(&format!("/api/stats?{query}"));
        let series = answer["series"].as_array().unwrap().iter().cloned();
        series
            .map(|mut it| {
                let members = it.as_object_mut().unwrap();
                members.retain(|name, _| {
                    ["bucket", "model", "key_hash", "client_kind", "project", "traces"].contains(&name.as_str())
                });
                it
            })
            .collect()
    };
    assert_eq!(told("by=model"), [json!({"model": "m-1", "traces": 5}), json!({"model": "m-2", "traces": 1})]);
    assert_eq!(
        told("by=key&until=2026-05-27T12:15:00Z"),
        [json!({"key_hash": "aaaaaaaa00000001", "traces": 4}), json!({"key_hash": "bbbbbbbb00000001", "traces": 1})]
    );
    assert_eq!(
        told("by=client,project&since=2026-05-27T12:29:00Z"),
        [json!({"client_kind": "claude-cli", "project": "Ferry", "traces": 1})]
    );
    assert_eq!(told("by=project&project=nobody"), [] as [Value; 0]);
    let hour =
        |hour: usize, traces: usize| json!({"bucket": format!("2026-05-27T{hour}:00:00.000Z"), "traces": traces});
    assert_eq!(told("bucket=hour&since=2026-05-27T10:10:00Z"), [hour(10, 1), hour(11, 2), hour(12, 2)]);
    assert_eq!(told("bucket=day"), [json!({"bucket": "2026-05-27T00:00:00.000Z", "traces": 6})]);

    let limited = recorder.get("/api/stats?by=model&limit=1");
    assert_eq!(limited["series"].as_array().unwrap().len(), 1);
    assert_eq!((&limited["others"]["series"], &limited["others"]["server_errors"]), (&1.into(), &1.into()));

    recorder.stop();
    remove_index(dir.path());
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 6);
    assert_eq!(recorder.get("/api/stats"), all, "the same when read back from the files");
}

#[test]
fn what_cannot_be_summed_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    for (param, value) in [("by", "path"), ("bucket", "minute"), ("limit", "0"), ("status", "200"), ("until", "now")] {
        let (status, body) = recorder.refusal(&format!("/api/stats?{param}={value}"));
        assert_eq!((status, &body["error"], &body["param"]), (400, &"bad_param".into(), &param.into()));
    }
    let empty = recorder.get("/api/stats?by=model&bucket=hour");
    assert_eq!((&empty["total"]["traces"], &empty["series"]), (&0.into(), &json!([])));
}
