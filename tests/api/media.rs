//! `/api/config/media`: set, kept over a restart, and obeyed by the next trace.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::stack::{Recorder, remove_index, until};

const TARGET: &str = "/api/config/media";

/// Sends an image with a key of its own, and waits for its row.
fn send(recorder: &Recorder, number: usize) -> Value {
    let ask = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="}}]}]}"#;
    let key = format!("Bearer media-{number}");
    recorder.send("/v1/chat/completions", &[("Authorization", &key)], ask);
    recorder.await_rows("", number).remove(0)
}

/// Where a trace's attachment stands.
fn attachment(recorder: &Recorder, row: &Value) -> PathBuf {
    let (day, _) = row["jsonl_path"].as_str().unwrap().split_once('/').unwrap();
    let short = &row["key_hash"].as_str().unwrap()[..8];
    recorder.data_dir.join(day).join(short).join("media").join(row["id"].as_str().unwrap()).join("0.png")
}

/// Waits until a trace's attachment stands beside its line, and its row tells of it.
fn await_saved(recorder: &Recorder, row: &Value) {
    let file = attachment(recorder, row);
    let target = format!("/api/traces/{}", row["id"].as_str().unwrap());
    until("an attachment is saved", || file.is_file() && recorder.get(&target)["row"]["media_count"] == 1);
    assert!(std::fs::read(file).unwrap().starts_with(b"\x89PNG\r\n"));
}

fn has_none(recorder: &Recorder, row: &Value) -> bool {
    let target = format!("/api/traces/{}", row["id"].as_str().unwrap());
    !attachment(recorder, row).exists() && recorder.get(&target)["row"]["media_count"] == 0
}

fn put(recorder: &Recorder, body: &str) -> (u16, Value) {
    let reply = recorder.api("PUT", TARGET, body);
    (reply.status, reply.json())
}

#[test]
fn the_switch_is_live_and_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    assert_eq!(recorder.get(TARGET), json!({"save_attachments": true, "source": "yaml"}));
    await_saved(&recorder, &send(&recorder, 1));
    let off = json!({"save_attachments": false, "source": "override"});
    assert_eq!(put(&recorder, r#"{"save_attachments": false}"#), (200, off.clone()));
    assert_eq!(recorder.get(TARGET), off);
    let second = send(&recorder, 2);
    recorder.stop();

    let recorder = Recorder::start(dir.path());
    assert_eq!(recorder.get(TARGET), off);
    assert!(has_none(&recorder, &second));
    let third = send(&recorder, 3);
    let on = json!({"save_attachments": true, "source": "override"});
    assert_eq!(put(&recorder, r#"{"save_attachments":true}"#), (200, on.clone()));
    await_saved(&recorder, &send(&recorder, 4));
    assert!(has_none(&recorder, &second) && has_none(&recorder, &third));
    drop(recorder);

    // Killed, not ended: what was answered is kept all the same.
    let recorder = Recorder::start(dir.path());
    assert_eq!(recorder.get(TARGET), on);
}

#[test]
fn attachments_are_counted_again_when_the_index_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    await_saved(&recorder, &send(&recorder, 1));
    let before = recorder.rows("");
    recorder.stop();
    remove_index(dir.path());
    let recorder = Recorder::start(dir.path());
    assert_eq!(recorder.await_rows("", 1), before);
    assert_eq!(before[0]["media_count"], 1);
}

#[test]
fn what_is_refused_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    for body in [
        "",
        "{",
        "[]",
        "true",
        r#"{"save_attachments":"true"}"#,
        r#"{"save_attachments":0}"#,
        r#"{"save_attachments":false,"x":1}"#,
        r#"{"x":1}"#,
        r#"{"save_attachments":false} {}"#,
        r#"{"save_attachments":false}x"#,
    ] {
        let (status, answer) = put(&recorder, body);
        assert_eq!((status, &answer["error"]), (400, &"bad_body".into()), "{body}");
        assert!(answer["detail"].is_string() && answer["message"].is_string(), "{answer}");
    }
    for body in ["{}", r#"{"save_attachments":null}"#] {
        let (status, answer) = put(&recorder, body);
        assert_eq!((status, &answer["error"]), (400, &"missing_field".into()), "{body}");
        assert_eq!(answer["field"], "save_attachments");
    }
    assert_eq!(recorder.get(TARGET), json!({"save_attachments": true, "source": "yaml"}));
    assert!(!dir.path().join("runtime_overrides.json").exists());
}

#[test]
fn what_cannot_be_kept_is_not_applied() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let overrides = dir.path().join("runtime_overrides.json");
    std::fs::write(&overrides, "{\"media\":").unwrap();
    let (status, answer) = put(&recorder, r#"{"save_attachments":false}"#);
    assert_eq!((status, &answer["error"]), (500, &"override_write_failed".into()));
    assert!(answer["detail"].is_string());
    assert_eq!(recorder.get(TARGET)["save_attachments"], true);
    assert_eq!(std::fs::read_to_string(&overrides).unwrap(), "{\"media\":");
    await_saved(&recorder, &send(&recorder, 1));
    // What others keep in the file stays.
    std::fs::write(&overrides, r#"{"retention":{"max_bytes":5},"media":{"other":1}}"#).unwrap();
    assert_eq!(put(&recorder, r#"{"save_attachments":false}"#).0, 200);
    let kept: Value = serde_json::from_slice(&std::fs::read(&overrides).unwrap()).unwrap();
    assert_eq!(kept, json!({"retention": {"max_bytes": 5}, "media": {"other": 1, "save_attachments": false}}));
}
