//! `q` of `/api/traces`: texts found, and where they come from.

use serde_json::{Value, json};

use crate::plugins::put_list;
use crate::stack::{Recorder, remove_index, until};

const ON: [(&str, &str); 1] = [("APILOG_INDEX_FULL_TEXT", "true")];

/// Sends a question, has it answered so, and waits for its row.
fn ask(recorder: &Recorder, question: &str, answer: &str, number: usize) {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": question}]}).to_string();
    let answer = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": answer,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "edit_file", "arguments": "{\"path\":\"src/lane.rs\"}"}}]}}]});
    // A field's value holds no other characters.
    let answer: String = answer.to_string().chars().map(escaped).collect();
    recorder.send("/v1/chat/completions", &[("x-answer", &answer)], &body);
    recorder.await_rows("", number);
}

fn escaped(char: char) -> String {
    if char.is_ascii() { char.to_string() } else { format!("\\u{:04x}", u32::from(char)) }
}

/// Where what is searched for is found: place, and the text with what was found in brackets.
fn places(recorder: &Recorder, query: &str) -> Vec<String> {
    let shown = |row: &Value| {
        let snippet = &row["snippet"];
        let text = |name: &str| snippet[name].as_str().unwrap().replace('\n', "/");
        format!("{}: {}[{}]{}", text("in"), text("before"), text("match"), text("after"))
    };
    recorder.rows(query).iter().map(shown).collect()
}

/// What is found by some queries, whatever made the index.
fn is_found(recorder: &Recorder) {
    for (query, expected) in [
        // 函数: two characters, less than a trigram.
        ("q=%E5%87%BD%E6%95%B0", &["request: 重命名[函数]"][..]),
        ("q=%E5%91%BD%E5%90%8D%E5%87%BD", &["request: 重[命名函]数"]),
        (
            "q=SRC/lane",
            &[
                "answer: done: Grün/{\"path\":\"[src/lane].rs\"}/edit_file",
                "answer: done: blue/{\"path\":\"[src/lane].rs\"}/edit_file",
            ],
        ),
        ("q=gr%C3%BCn", &["answer: done: [Grün]/{\"path\":\"src/lane.rs\"}/edit_file"]),
        ("q=rename+blue", &["answer: done: [blue]/{\"path\":\"src/lane.rs\"}/edit_file"]),
        ("q=%22rename+blue%22", &[]),
        ("q=edit_file&limit=1", &["answer: done: Grün/{\"path\":\"src/lane.rs\"}/[edit_file]"]),
        ("q=edit_file&model=other", &[]),
        ("q=edit_file&status=4xx", &[]),
    ] {
        assert_eq!(places(recorder, query), expected, "{query}");
    }
}

#[test]
fn texts_are_found_however_they_came_into_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::with(dir.path(), &ON);
    ask(&recorder, "rename it", "done: blue", 1);
    ask(&recorder, "重命名函数", "done: Grün", 2);
    is_found(&recorder);
    // Rows that nobody searches for have no snippet.
    assert!(recorder.rows("").iter().all(|row| row.get("snippet").is_none()));
    let first = recorder.get("/api/traces?q=edit_file&limit=1");
    let next = format!("q=edit_file&limit=1&cursor={}", first["next_cursor"].as_str().unwrap());
    assert_eq!(places(&recorder, &next), ["answer: done: blue/{\"path\":\"src/lane.rs\"}/[edit_file]"]);
    recorder.stop();

    // Read back from the files.
    remove_index(dir.path());
    let recorder = Recorder::with(dir.path(), &ON);
    recorder.await_rows("", 2);
    is_found(&recorder);
    assert_eq!(recorder.api("POST", "/api/index/rebuild", "").status, 202);
    until("a rebuild", || recorder.get("/api/index")["rebuild"]["state"] == "done");
    is_found(&recorder);
    recorder.stop();

    // Not wanted any more, and wanted again: made anew by itself.
    let recorder = Recorder::start(dir.path());
    // Deleted when the index is opened for writing; who reads may be there before.
    until("no texts", || recorder.api("GET", "/api/traces?q=blue", "").status != 200);
    let (status, body) = recorder.refusal("/api/traces?q=blue");
    assert_eq!((status, &body["error"], &body["param"]), (400, &"bad_param".into(), &"q".into()));
    recorder.stop();
    let recorder = Recorder::with(dir.path(), &ON);
    until("texts of what was recorded before", || recorder.api("GET", "/api/traces?q=edit_file", "").status == 200);
    is_found(&recorder);
}

#[test]
fn what_cannot_be_searched_for_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::with(dir.path(), &ON);
    for query in ["q=x", "q=%22%22", "q=long+y", &format!("q={}", "ab+".repeat(17))] {
        let (status, body) = recorder.refusal(&format!("/api/traces?{query}"));
        assert_eq!((status, &body["error"], &body["param"]), (400, &"bad_param".into(), &"q".into()), "{query}");
    }
    // Who asks may be there before the index is.
    until("an index", || recorder.api("GET", "/api/traces?q=ab", "").status == 200);
    assert!(recorder.rows("q=").is_empty() && recorder.rows("q=ab").is_empty());
}

#[test]
fn what_is_redacted_is_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::with(dir.path(), &ON);
    put_list(
        &recorder,
        json!([{"type": "redact", "id": "r", "enabled": true, "config": {"paths": ["$..content"], "routes": ["/v1/*"]}}]),
    );
    ask(&recorder, "the hidden question", "the hidden answer", 1);
    let holds = |recorder: &Recorder| {
        for query in ["q=hidden", "q=question", "q=the+hidden", "q=answer"] {
            assert!(recorder.rows(query).is_empty(), "{query}");
        }
        // What stands on the line is found: what is not redacted, and what stands there instead.
        assert_eq!(recorder.rows("q=edit_file").len(), 1);
        assert_eq!(recorder.rows("q=redacted").len(), 1);
    };
    holds(&recorder);
    let live = places(&recorder, "q=edit_file");
    recorder.stop();

    remove_index(dir.path());
    let recorder = Recorder::with(dir.path(), &ON);
    recorder.await_rows("", 1);
    holds(&recorder);
    assert_eq!(places(&recorder, "q=edit_file"), live);
    assert_eq!(recorder.api("POST", "/api/index/rebuild", "").status, 202);
    until("a rebuild", || recorder.get("/api/index")["rebuild"]["state"] == "done");
    holds(&recorder);
    assert_eq!(places(&recorder, "q=edit_file"), live);
}
