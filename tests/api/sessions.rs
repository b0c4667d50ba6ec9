//! What links traces to sessions, as the lists show it.

use serde_json::Value;

use crate::stack::{Recorder, remove_index};

/// Sends a conversation of these turns and waits for its row.
fn ask(recorder: &Recorder, key: &str, turns: &[&str], number: usize) -> Value {
    let roles = ["user", "assistant"];
    let turns: Vec<Value> = turns
        .iter()
        .zip(roles.iter().cycle())
        .map(|(text, role)| serde_json::json!({"role": role, "content": text}))
        .collect();
    let body = serde_json::json!({"model": "m", "messages": turns}).to_string();
    let key = format!("Bearer {key}");
    recorder.send("/v1/chat/completions", &[("Authorization", &key)], &body);
    recorder.await_rows("", number).remove(0)
}

#[test]
fn a_growing_conversation_has_one_root() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let turns = ["one", "two", "three", "four", "five"];
    let first = ask(&recorder, "a", &turns[..1], 1);
    let second = ask(&recorder, "a", &turns[..3], 2);
    let third = ask(&recorder, "a", &turns, 3);
    assert!(first["parent_id"].is_null() && first["session_method"].is_null());
    assert_eq!(first["session_root_id"], first["id"]);
    for (child, parent) in [(&second, &first), (&third, &second)] {
        assert_eq!(child["parent_id"], parent["id"]);
        assert_eq!(child["session_root_id"], first["id"]);
        assert!(child["session_method"].is_string());
    }
    // The same again from the middle: another child of the same parent.
    let again = ask(&recorder, "a", &turns[..3], 4);
    assert_eq!((&again["parent_id"], &again["session_root_id"]), (&first["id"], &first["id"]));

    // The same messages of another key, and another conversation of this one, are no part of it.
    let stranger = ask(&recorder, "b", &turns[..3], 5);
    let other = ask(&recorder, "a", &["uno", "two", "three"], 6);
    for alone in [&stranger, &other] {
        assert!(alone["parent_id"].is_null());
        assert_eq!(alone["session_root_id"], alone["id"]);
    }
    assert_ne!(stranger["key_hash"], first["key_hash"]);

    let root = first["id"].as_str().unwrap();
    let session = recorder.rows(&format!("session_root_id={root}&limit=500"));
    let ids: Vec<&Value> = session.iter().map(|row| &row["id"]).collect();
    assert_eq!(ids, [&again["id"], &third["id"], &second["id"], &first["id"]]);
    // A trace that is not a root is no session.
    assert!(recorder.rows(&format!("session_root_id={}", second["id"].as_str().unwrap())).is_empty());
    assert_eq!(recorder.get(&format!("/api/traces/{}", third["id"].as_str().unwrap()))["row"], third);
}

#[test]
fn links_are_the_same_when_read_back_from_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    for (number, turns) in [(1, &["a"][..]), (2, &["a", "b", "c"]), (3, &["x"]), (4, &["a", "b", "c", "d", "e"])] {
        ask(&recorder, "k", turns, number);
    }
    let before = recorder.rows("");
    recorder.stop();
    remove_index(dir.path());
    let recorder = Recorder::start(dir.path());
    assert_eq!(recorder.await_rows("", 4), before);
}
