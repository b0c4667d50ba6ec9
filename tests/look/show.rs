//! `api-log show` and `api-log replay`.

use std::process::Command;

use serde_json::{Value, json};

use crate::stack::Recorder;
use crate::stand::{Stand, run, said, text};

/// Asks in Chat; the answer's text.
fn ask(recorder: &Recorder, messages: &Value, stream: bool) {
    let body = json!({"model": "m", "stream": stream, "messages": messages});
    let fields = [("Authorization", "Bearer sk-secret")];
    assert_eq!(recorder.send("/v1/chat/completions", &fields, &body.to_string()).status, 200);
}

/// The line of a trace as it stands in its file.
fn line_of(recorder: &Recorder, row: &Value) -> String {
    let file = std::fs::read_to_string(recorder.data_dir.join(row["jsonl_path"].as_str().unwrap())).unwrap();
    let line = file.lines().find(|line| line.contains(row["id"].as_str().unwrap())).unwrap();
    format!("{line}\n")
}

#[test]
fn a_trace_is_a_conversation_from_the_api_and_from_the_files_alike() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::new(dir.path());
    let image = "data:image/png;base64,iVBORw0KGgo=";
    let said_first = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": [
        {"type": "text", "text": "What is this?\u{1b}[2J"}, {"type": "image_url", "image_url": {"url": image}}]}]);
    ask(&stand.recorder, &said_first, true);
    let row = stand.recorder.await_rows("", 1).remove(0);
    let id = row["id"].as_str().unwrap();
    let api = stand.api();
    let data_dir = dir.path().to_str().unwrap();
    let of_api = said(&stand.arguments(&api, &["show", id]));
    let of_files = said(&["show", id, "--data-dir", data_dir]);
    let without_place =
        |text: &str| text.lines().filter(|it| !it.starts_with("attachments ")).collect::<Vec<_>>().join("\n");
    assert_eq!(without_place(&of_api), without_place(&of_files));
    for words in [
        "\nsystem\n  Be brief.\n",
        "\nuser\n  What is this?␛[2J\n  [0.png image/png, 8 bytes]\n",
        "▶ assistant  (stop)\n  You said: What is this?",
        "stream of ",
        "█",
    ] {
        assert!(of_api.contains(words), "{words:?} in {of_api}");
    }
    let folder = of_files.lines().find_map(|line| line.strip_prefix("attachments ")).unwrap();
    assert!(std::path::Path::new(folder).join("0.png").is_file(), "{folder}");
    // The beginning of an id is enough, in any case; of many, too little.
    assert_eq!(said(&["show", &id[..24].to_lowercase(), "--data-dir", data_dir]), of_files);
    assert_eq!(said(&stand.arguments(&api, &["show", &id[..24]])), of_api);
    let line = line_of(&stand.recorder, &row);
    assert_eq!(said(&stand.arguments(&api, &["show", id, "--raw"])), line);
    assert_eq!(said(&["show", "--raw", id, "--data-dir", data_dir]), line);
    let events = said(&stand.arguments(&api, &["show", id, "--events"]));
    let recorded: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(events.lines().count(), recorded["resp"]["events"].as_array().unwrap().len());
    assert!(events.lines().next().unwrap().contains(" ms "), "{events}");
}

#[test]
fn the_request_can_be_repeated_by_curl() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::new(dir.path());
    ask(&stand.recorder, &json!([{"role": "user", "content": "it's\n$HOME `x`"}]), false);
    let id = stand.recorder.await_rows("", 1).remove(0)["id"].as_str().unwrap().to_owned();
    let api = stand.api();
    let hidden = said(&stand.arguments(&api, &["show", &id, "--curl"]));
    assert!(!hidden.contains("sk-secret") && hidden.contains("\"$API_KEY\""), "{hidden}");
    let whole = said(&stand.arguments(&api, &["show", &id, "--curl", "--with-credentials"]));
    assert!(whole.contains("Bearer sk-secret"), "{whole}");
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("SKIPPED: the command itself, for curl is not installed");
        return;
    }
    let output = Command::new("sh").args(["-c", &hidden]).env("API_KEY", "sk-other").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["choices"][0]["message"]["content"], "You said: it's\n$HOME `x`");
}

#[test]
fn what_changed_since_the_parent_is_told_from_either_place() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::new(dir.path());
    let first = json!({"role": "user", "content": "one ".repeat(3000)});
    ask(&stand.recorder, &json!([first]), false);
    stand.recorder.await_rows("", 1);
    let answer = json!({"role": "assistant", "content": format!("You said: {}", "one ".repeat(3000))});
    ask(&stand.recorder, &json!([first, answer, {"role": "user", "content": "two"}]), false);
    let rows = stand.recorder.await_rows("", 2);
    let (child, parent) = (rows[0]["id"].as_str().unwrap(), rows[1]["id"].as_str().unwrap());
    assert_eq!(rows[0]["parent_id"], parent);
    let api = stand.api();
    let told = said(&stand.arguments(&api, &["show", child, "--diff", "parent"]));
    for words in [
        &format!("before  {parent}")[..],
        "now begins with all of before, and goes on with message 2 (assistant)",
        "1 of 1 pieces before and 3 now agree",
        "tokens from its cache",
    ] {
        assert!(told.contains(words), "{words:?} in {told}");
    }
    let data_dir = dir.path().to_str().unwrap();
    assert_eq!(said(&["show", child, "--diff", "parent", "--data-dir", data_dir]), told);
    assert_eq!(said(&["show", child, "--diff", parent, "--data-dir", data_dir]), told);
    // Without an index the files tell by themselves.
    let bare = tempfile::tempdir().unwrap();
    let path = rows[0]["jsonl_path"].as_str().unwrap();
    std::fs::create_dir_all(bare.path().join(path).parent().unwrap()).unwrap();
    std::fs::copy(dir.path().join(path), bare.path().join(path)).unwrap();
    let bare = bare.path().to_str().unwrap();
    assert_eq!(said(&["show", child, "--diff", "parent", "--data-dir", bare]), told);
    let output = run(&["show", parent, "--diff", "parent", "--data-dir", bare]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("continues no other"), "{}", text(&output.stderr));
}

#[test]
fn a_stream_is_sent_again_as_the_api_sends_it() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::new(dir.path());
    ask(&stand.recorder, &json!([{"role": "user", "content": "one two three"}]), true);
    let id = stand.recorder.await_rows("", 1).remove(0)["id"].as_str().unwrap().to_owned();
    let of_api = |query: &str| stand.recorder.api("GET", &format!("/api/traces/{id}/replay?{query}"), "").unchunked();
    let api = stand.api();
    let data_dir = dir.path().to_str().unwrap();
    assert_eq!(said(&stand.arguments(&api, &["replay", &id, "--nodelay"])), of_api("nodelay=1"));
    assert_eq!(said(&["replay", &id, "-speed", "100", "--data-dir", data_dir]), of_api("nodelay=1"));
    let part = said(&["replay", &id, "--nodelay", "--from", "1", "--to=3", "--data-dir", data_dir]);
    assert_eq!(part, of_api("nodelay=1&from=1&to=3"));
    assert!(of_api("nodelay=1").ends_with("data: [DONE]\n\n"));
}

#[test]
fn what_cannot_be_shown_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::new(dir.path());
    for _ in 0..2 {
        ask(&stand.recorder, &json!([{"role": "user", "content": "hi"}]), false);
    }
    let rows = stand.recorder.await_rows("", 2);
    let id = rows[0]["id"].as_str().unwrap();
    let data_dir = dir.path().to_str().unwrap();
    let api = stand.api();
    let api: Vec<&str> = api.iter().map(String::as_str).collect();
    for place in [&["--data-dir", data_dir][..], &api] {
        for (arguments, code, words) in [
            (&["show", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"][..], 1, "has no trace"),
            (&["show", "7ZZZ"], 1, "has no trace"),
            (&["show", &id[..5]], 1, "the beginning of several ids"),
            (&["show", "not-an-id"], 2, "is not the beginning of a trace id"),
            (&["show", id, "--with-credentials"], 2, "--curl"),
            (&["show", id, "--raw", "--curl"], 2, "cannot be used with"),
            (&["replay", id], 1, "was not recorded as a stream of events"),
            (&["replay", id, "--speed", "0"], 2, "above 0"),
        ] {
            let output = run(&[arguments, place].concat());
            let complaint = text(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {complaint}");
            assert!(complaint.starts_with("api-log: ") && complaint.contains(words), "{complaint}");
        }
    }
}
