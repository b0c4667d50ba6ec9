//! What links traces to sessions, as the lists show it; and the list of sessions.

use serde_json::Value;

use crate::seed::{Line, id, write};
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

#[test]
fn a_session_is_a_sum_of_its_traces() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let turns = ["one", "two", "three", "four", "five"];
    let first = ask(&recorder, "a", &turns[..1], 1);
    ask(&recorder, "a", &turns[..3], 2);
    let refused = serde_json::json!({"model": "other", "messages": [{"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"}, {"role": "user", "content": "else"}]});
    let fields = [("Authorization", "Bearer a"), ("x-answer-status", "429")];
    recorder.send("/v1/chat/completions?x=1", &fields, &refused.to_string());
    let last = recorder.await_rows("", 3).remove(0);
    let alone = ask(&recorder, "b", &["alone"], 4);

    let listed = recorder.get("/api/sessions");
    assert_eq!(listed.as_object().unwrap().len(), 1);
    let sessions = listed["sessions"].as_array().unwrap();
    let expected = serde_json::json!({
        "session_root_id": first["id"],
        "n_turns": 3,
        "first_ts": first["ts_start"],
        "last_ts": last["ts_start"],
        "last_path": "/v1/chat/completions?x=1",
        "last_status": 429,
        "last_model": "other",
        "distinct_key_count": 1,
        "ok_count": 2,
        "err_count": 1,
    });
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions[0]["session_root_id"], alone["id"], "newest activity first");
    assert_eq!(sessions[1], expected);
    let since = recorder.get(&format!("/api/sessions?since={}", alone["ts_start"].as_str().unwrap()));
    assert_eq!(since["sessions"].as_array().unwrap()[0], sessions[0]);
}

#[test]
fn sessions_are_listed_as_far_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    let mut lines: Vec<Line> = (0..5).map(|number| Line::new(number, number * 1000)).collect();
    lines[4].model = "";
    lines[4].status = -1;
    write(dir.path(), &lines);
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 5);
    let roots = |query: &str| -> Vec<Value> {
        let answer = recorder.get(&format!("/api/sessions?{query}"));
        answer["sessions"].as_array().unwrap().iter().map(|it| it["session_root_id"].clone()).collect()
    };
    let ids = |numbers: &[usize]| -> Vec<Value> { numbers.iter().map(|&number| id(number).into()).collect() };
    for (query, expected) in [
        ("", &[4, 3, 2, 1, 0][..]),
        ("limit=2", &[4, 3]),
        // More than is given at once is no mistake.
        ("limit=100000", &[4, 3, 2, 1, 0]),
        ("since=2026-05-27T10:00:03Z", &[4, 3]),
        ("since=2026-05-27T10:00:03.001Z&limit=9", &[4]),
        ("since=2027-01-01T00:00:00Z", &[]),
        ("since=&limit=", &[4, 3, 2, 1, 0]),
    ] {
        assert_eq!(roots(query), ids(expected), "{query}");
    }
    let newest = &recorder.get("/api/sessions?limit=1")["sessions"][0];
    assert_eq!((&newest["last_model"], &newest["last_status"]), (&"".into(), &(-1).into()));
    assert_eq!((&newest["ok_count"], &newest["err_count"]), (&0.into(), &0.into()));
    for (param, value) in
        [("limit", "0"), ("limit", "-1"), ("limit", "x"), ("since", "yesterday"), ("until", "2027-01-01T00:00:00Z")]
    {
        let (status, body) = recorder.refusal(&format!("/api/sessions?{param}={value}"));
        assert_eq!((status, &body["error"], &body["param"]), (400, &"bad_param".into(), &param.into()));
    }
}
