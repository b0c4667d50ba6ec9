//! `/healthz`: its members and their types, and that it counts.

use serde_json::Value;

use crate::stack::{Recorder, until};

#[test]
fn health_has_every_member_of_its_type() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let health = recorder.get("/healthz");
    assert_eq!(health["status"], "ok");
    let ts = health["ts"].as_str().unwrap();
    assert!(ts.len() == 24 && ts.ends_with('Z') && ts.as_bytes()[19] == b'.', "{ts}");
    assert!(health["version"].is_string() && health["uptime_seconds"].is_u64());
    for name in [
        "appended",
        "indexed",
        "appended_2xx",
        "appended_4xx",
        "appended_5xx",
        "total_bytes",
        "total_media_files",
        "total_prompt_tokens",
        "total_completion_tokens",
        "total_cached_tokens",
        "total_cache_creation_tokens",
        "total_reasoning_tokens",
        "drop_writer_full",
        "drop_jsonl_fail",
        "drop_sqlite_fail",
        "truncated_req_total",
        "truncated_resp_total",
        "writer_chan_high_water",
        "upstream_dial_err",
        "slow_traces",
        "traces_dropped_capture_filter",
        "evicted_traces",
        "evicted_bytes",
    ] {
        assert_eq!(health["counters"][name].as_u64(), Some(0), "{name}");
    }
    for name in ["drain_ms", "parse_ms", "sqlite_ms"] {
        let timing = &health["counters"]["timings"][name];
        for member in ["count", "p50_ms", "p95_ms", "p99_ms"] {
            assert_eq!(timing[member].as_u64(), Some(0), "{name} {member}");
        }
        assert!(timing["mean_ms"].is_number(), "{name}");
    }
    let storage = &health["storage"];
    for name in ["data_dir_bytes", "max_bytes", "max_age_days", "usage_pct"] {
        assert!(storage[name].is_u64(), "{name}");
    }
    for name in ["engine_running", "eviction_cap_hit"] {
        assert!(storage[name].is_boolean(), "{name}");
    }
    let states = ["pending", "disabled", "ok", "warning", "critical"];
    assert!(states.contains(&storage["state"].as_str().unwrap()));
    assert!(health["viewer"]["enabled"].is_boolean());
    let sources = ["cache", "fetched", "local", "disabled", "error"];
    assert!(sources.contains(&health["viewer"]["source"].as_str().unwrap()));
}

#[test]
fn health_counts_what_was_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let usage = r#"{"usage":{"prompt_tokens":7,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":2}}}"#;
    let ask = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#;
    for status in ["200", "304", "404", "500"] {
        recorder.send("/v1/chat/completions", &[("x-answer-status", status), ("x-answer", usage)], ask);
    }
    recorder.await_rows("", 4);
    // Rows show an instant before they are counted, and may have been read back before the batch that offers them.
    let mut health = Value::Null;
    until("the index to have counted", || {
        health = recorder.get("/healthz");
        let counters = &health["counters"];
        counters["indexed"] == 4 && counters["timings"]["sqlite_ms"]["count"].as_u64() >= Some(1)
    });
    let counters = &health["counters"];
    let count = |name: &str| counters[name].as_u64().unwrap();
    assert_eq!(count("appended"), 4);
    assert_eq!([count("appended_2xx"), count("appended_4xx"), count("appended_5xx")], [1, 1, 1]);
    let file_bytes: u64 = recorder.rows("").iter().map(|row| row["jsonl_bytes"].as_u64().unwrap() + 1).sum();
    assert_eq!(count("total_bytes"), file_bytes);
    // A 304 has no body.
    assert_eq!([count("total_prompt_tokens"), count("total_completion_tokens")], [21, 15]);
    assert_eq!([count("total_cached_tokens"), count("total_reasoning_tokens")], [9, 6]);
    for name in ["drain_ms", "parse_ms"] {
        assert_eq!(counters["timings"][name]["count"], 4, "{name}");
    }
    assert!(counters["timings"]["sqlite_ms"]["count"].as_u64().unwrap() >= 1);
    // How full the disk of this machine is, no test can know.
    let degraded = health["degraded"].as_array().unwrap().iter().filter(|it| it["condition"] != "disk_filling");
    assert_eq!(degraded.collect::<Vec<_>>(), Vec::<&Value>::new());
}

#[test]
fn a_recorder_that_serves_is_ready() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let reply = crate::stack::call(recorder.api, "GET", "/readyz", &[], b"");
    assert_eq!((reply.status, reply.json()), (200, serde_json::json!({"ready": true, "reasons": []})));
    assert_eq!(recorder.get("/healthz")["ready"], true);
    assert_eq!(recorder.get("/healthz")["reload"], Value::Null);
}
