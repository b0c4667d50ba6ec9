//! `/api/config/retention`: set, kept over a restart, applied at once; and what is deleted is gone everywhere.

use std::path::Path;

use serde_json::{Value, json};

use crate::seed::{self, Line};
use crate::stack::{Recorder, until};

const TARGET: &str = "/api/config/retention";

fn put(recorder: &Recorder, body: &str) -> (u16, Value) {
    let reply = recorder.api("PUT", TARGET, body);
    (reply.status, reply.json())
}

fn storage(recorder: &Recorder) -> Value {
    recorder.get("/healthz")["storage"].clone()
}

/// A line on each of three days that are long over.
fn seed_three_days(data_dir: &Path) {
    let lines: Vec<Line> = (1..=3)
        .map(|number| Line { ts_start: format!("2026-05-{:02}T10:00:00.000", 10 + number), ..Line::new(number, 0) })
        .collect();
    seed::write(data_dir, &lines);
}

fn days(data_dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(data_dir).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut days: Vec<String> = names.filter(|it| it.starts_with("2026-05-")).collect();
    days.sort();
    days
}

fn limits(max_bytes: u64, max_age_days: u64, warn_at_percent: u64, source: &str) -> Value {
    json!({
        "max_bytes": max_bytes, "max_age_days": max_age_days, "warn_at_percent": warn_at_percent,
        "per_key_max_bytes": 0, "media_max_bytes": 0, "source": source,
    })
}

#[test]
fn nothing_is_deleted_unasked_and_what_is_asked_is_deleted_at_once_oldest_first() {
    let dir = tempfile::tempdir().unwrap();
    seed_three_days(dir.path());
    let recorder = Recorder::start(dir.path());
    recorder.send("/v1/chat/completions", &[], r#"{"model":"m"}"#);
    recorder.await_rows("", 4);
    until("a look at what is stored", || storage(&recorder)["engine_running"] == true);
    assert_eq!(recorder.get(TARGET), limits(0, 0, 80, "yaml"));
    assert_eq!(storage(&recorder)["state"], "disabled");
    assert_eq!(days(dir.path()).len(), 3);

    // One byte too much: the oldest day goes, with its row and its session, and with no other.
    let stored: u64 = recorder.rows("").iter().map(|row| row["jsonl_bytes"].as_u64().unwrap() + 1).sum();
    assert_eq!(storage(&recorder)["data_dir_bytes"], stored);
    let max = stored - 1;
    let (status, answer) = put(&recorder, &format!(r#"{{"max_bytes":{max}}}"#));
    assert_eq!((status, answer), (200, limits(max, 0, 80, "override")));
    until("the oldest day is gone", || days(dir.path()) == ["2026-05-12", "2026-05-13"]);
    let rows = recorder.await_rows("", 3);
    assert!(rows.iter().all(|row| row["id"] != seed::id(1).as_str()));
    let (status, refusal) = recorder.refusal(&format!("/api/traces/{}", seed::id(1)));
    assert_eq!((status, &refusal["error"]), (404, &"not_found".into()));
    until("the figures", || storage(&recorder)["evicted_segments"] == 1);
    let health = recorder.get("/healthz");
    assert_eq!(health["counters"]["evicted_traces"], 1);
    assert_eq!(health["storage"]["last_evicted_bytes"], health["counters"]["evicted_bytes"]);
    assert!(health["storage"]["usage_pct"].as_u64() < Some(100), "{health}");

    // A limit of age on top; what was set before stays.
    assert_eq!(put(&recorder, r#"{"max_age_days":30}"#), (200, limits(max, 30, 80, "override")));
    until("the old days are gone", || days(dir.path()).is_empty());
    recorder.await_rows("", 1);
    let index = rusqlite::Connection::open(dir.path().join("index.sqlite")).unwrap();
    let left = |table: &str| index.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0));
    assert_eq!((left("sessions"), left("segments")), (Ok(1), Ok(1)));
}

#[test]
fn what_is_open_stays_and_the_state_is_of_this_moment() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    recorder.send("/v1/chat/completions", &[], r#"{"model":"m"}"#);
    recorder.await_rows("", 1);
    until("a look at what is stored", || storage(&recorder)["data_dir_bytes"].as_u64() > Some(0));
    for (max_bytes, state) in [(1_u64, "critical"), (1 << 40, "ok"), (0, "disabled"), (2, "critical")] {
        let (status, _) = put(&recorder, &format!(r#"{{"max_bytes":{max_bytes}}}"#));
        let seen = storage(&recorder);
        assert_eq!((status, &seen["state"]), (200, &state.into()), "{seen}");
    }
    assert!(storage(&recorder)["usage_pct"].as_u64() > Some(100));
    recorder.send("/v1/chat/completions", &[], r#"{"model":"m"}"#);
    assert_eq!(recorder.await_rows("", 2).len(), 2);
}

#[test]
fn limits_are_merged_and_outlive_a_restart_beside_the_other_overrides() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    assert_eq!(put(&recorder, r#"{"max_bytes":1000000,"max_age_days":7}"#).0, 200);
    assert_eq!(put(&recorder, r#"{"warn_at_percent":50}"#), (200, limits(1_000_000, 7, 50, "override")));
    assert_eq!(put(&recorder, r#"{"warn_at_percent":0}"#), (200, limits(1_000_000, 7, 80, "override")));
    // Both at once: each reads, changes and replaces the file.
    std::thread::scope(|scope| {
        for number in 0..4 {
            let recorder = &recorder;
            scope.spawn(move || {
                assert_eq!(put(recorder, &format!(r#"{{"per_key_max_bytes":{}}}"#, 100 + number)).0, 200);
                assert_eq!(recorder.api("PUT", "/api/config/media", r#"{"save_attachments":false}"#).status, 200);
                assert_eq!(put(recorder, r#"{"media_max_bytes":5}"#).0, 200);
            });
        }
    });
    let before = recorder.get(TARGET);
    assert_eq!((&before["max_bytes"], &before["media_max_bytes"]), (&1_000_000.into(), &5.into()));
    drop(recorder);
    let recorder = Recorder::start(dir.path());
    assert_eq!(recorder.get(TARGET), before);
    assert_eq!(recorder.get("/api/config/media")["save_attachments"], false);
}

#[test]
fn what_is_refused_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let large = format!(r#"{{"max_bytes":1,"x":"{}"}}"#, "x".repeat(2 << 20));
    for (body, status, code) in [
        ("", 400, "bad_body"),
        ("[]", 400, "bad_body"),
        (r#"{"max_bytes":1"#, 400, "bad_body"),
        (r#"{"max_bytes":1} x"#, 400, "bad_body"),
        (r#"{"max_bytes":1,"x":1}"#, 400, "bad_body"),
        (r#"{"max_bytes":"1"}"#, 400, "bad_body"),
        (r#"{"max_bytes":1.5}"#, 400, "bad_body"),
        (r#"{"max_bytes":-1}"#, 400, "invalid_retention"),
        (r#"{"max_bytes":1,"max_age_days":-1}"#, 400, "invalid_retention"),
        (r#"{"warn_at_percent":101}"#, 400, "invalid_retention"),
        (&large, 413, "body_too_large"),
    ] {
        let (seen, answer) = put(&recorder, body);
        assert_eq!((seen, &answer["error"]), (status, &code.into()), "{body:.80}");
        assert!(answer["detail"].is_string() && answer["message"].is_string(), "{answer}");
    }
    assert_eq!(recorder.get(TARGET), limits(0, 0, 80, "yaml"));
    assert!(!dir.path().join("runtime_overrides.json").exists());
    let overrides = dir.path().join("runtime_overrides.json");
    std::fs::write(&overrides, "{").unwrap();
    let (status, answer) = put(&recorder, r#"{"max_bytes":1}"#);
    assert_eq!((status, &answer["error"]), (500, &"override_write_failed".into()));
    assert_eq!(recorder.get(TARGET), limits(0, 0, 80, "yaml"));
    assert_eq!(recorder.api_with("PUT", TARGET, &[], "{}").status, 401);
    assert_eq!(recorder.api("DELETE", TARGET, "").status, 405);
}

#[test]
fn malformed_overrides_delete_nothing_and_are_said_until_they_are_set_anew() {
    let dir = tempfile::tempdir().unwrap();
    seed_three_days(dir.path());
    let overrides = dir.path().join("runtime_overrides.json");
    std::fs::write(&overrides, r#"{"retention":{"max_bytes":"1","max_age_days":1}}"#).unwrap();
    let recorder = Recorder::start(dir.path());
    let is_told = || {
        let health = recorder.get("/healthz");
        health["degraded"].as_array().unwrap().iter().any(|it| it["condition"] == "overrides_malformed")
    };
    assert!(is_told());
    until("a sweep", || storage(&recorder)["sweeps"].as_u64() > Some(0));
    assert_eq!(days(dir.path()).len(), 3);
    assert_eq!(recorder.get(TARGET), limits(0, 0, 80, "yaml"));
    // What is in form of it comes into force with what is set.
    assert_eq!(put(&recorder, r#"{"max_bytes":0}"#), (200, limits(0, 1, 80, "override")));
    assert!(!is_told());
    until("the old days are gone", || days(dir.path()).is_empty());
}

#[test]
fn a_deletion_that_a_crash_interrupted_is_finished_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    seed_three_days(dir.path());
    std::fs::write(dir.path().join("2026-05-12/.aaaaaaaa.jsonl.deleting"), "").unwrap();
    let recorder = Recorder::start(dir.path());
    until("the half-deleted day is gone", || days(dir.path()) == ["2026-05-11", "2026-05-13"]);
    until("its row is gone", || recorder.rows("").len() == 2);
    assert_eq!(storage(&recorder)["state"], "disabled");
}

#[test]
fn an_edit_of_the_file_is_in_force_without_a_restart_and_a_broken_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    seed_three_days(dir.path());
    let recorder = Recorder::start(dir.path());
    let edit = |text: &str| {
        std::fs::write(dir.path().join("edited"), text).unwrap();
        std::fs::rename(dir.path().join("edited"), dir.path().join("runtime_overrides.json")).unwrap();
    };
    let media = || recorder.get("/api/config/media");
    let is_told = || {
        let health = recorder.get("/healthz");
        health["degraded"].as_array().unwrap().iter().any(|it| it["condition"] == "overrides_malformed")
    };
    edit(r#"{"retention": {"warn_at_percent": 60}, "media": {"save_attachments": false}}"#);
    until("both are in force", || {
        recorder.get(TARGET) == limits(0, 0, 60, "override")
            && media() == json!({"save_attachments": false, "source": "override"})
    });
    for broken in [r#"{"retention": {"max_bytes": "1"}, "media": {"save_attachments": true}}"#, r#"{"retention": "#] {
        edit(broken);
        until("it is told", is_told);
        assert_eq!(recorder.get(TARGET), limits(0, 0, 60, "override"), "{broken}");
        assert_eq!(media()["save_attachments"], false, "{broken}");
        edit(r#"{"retention": {"warn_at_percent": 60}, "media": {"save_attachments": false}}"#);
        until("it is over", || !is_told());
    }
    assert_eq!(days(dir.path()).len(), 3);
    // What is asked is done at once.
    edit(r#"{"retention": {"max_age_days": 30}}"#);
    until("the old days are gone", || days(dir.path()).is_empty());
    until("attachments are as configured", || media() == json!({"save_attachments": true, "source": "yaml"}));
    assert_eq!(recorder.get(TARGET), limits(0, 30, 80, "override"));
    std::fs::remove_file(dir.path().join("runtime_overrides.json")).unwrap();
    until("nothing is overridden", || recorder.get(TARGET) == limits(0, 0, 80, "yaml"));
}
