//! `api-log tail`.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Stdio;

use serde_json::Value;

use crate::stack::{Recorder, until};
use crate::stand::{Running, Stand, api_log, run, said, text};

fn send(recorder: &Recorder, model: &str, status: u16) {
    let answer = format!(r#"{{"model":"{model}","choices":[],"usage":{{"prompt_tokens":7,"completion_tokens":2}}}}"#);
    let fields = [("x-answer-status", status.to_string()), ("x-answer", answer)];
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(recorder.send("/v1/chat/completions", &fields, r#"{"messages":[]}"#).status, status);
}

/// The arguments that ask a recorder, the token in its file.
fn asking(recorder: &Recorder, arguments: &[&str]) -> Vec<String> {
    let api = [
        "--url".to_owned(),
        format!("http://{}", recorder.api),
        "--token-file".to_owned(),
        recorder.data_dir.join("admin_token").to_str().unwrap().to_owned(),
    ];
    arguments.iter().map(|it| (*it).to_owned()).chain(api).collect()
}

fn strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn a_recorder_is_followed_from_its_last_traces_on() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    for model in ["first", "second"] {
        send(&recorder, model, 200);
    }
    let rows = recorder.await_rows("", 2);
    let mut tail = Running::start(&strs(&asking(&recorder, &["tail", "-n", "1"])));
    let line = tail.line();
    let row = &rows[0];
    for word in ["second", " 200 ", "in 7 cached - out 2", " complete ", row["id"].as_str().unwrap()] {
        assert!(line.contains(word), "{word:?} in {line}");
    }
    assert!(line.starts_with(&row["ts_start"].as_str().unwrap()[5..23].replace('T', " ")), "{line}");
    assert!(!line.contains('\u{1b}'), "no colours where no terminal is: {line:?}");
    send(&recorder, "third", 500);
    let line = tail.line();
    assert!(line.contains("third") && line.contains(" 500 "), "{line}");
    assert!(tail.is_silent());
    assert_eq!(tail.interrupt().code(), Some(0));
}

#[test]
fn rows_are_those_of_the_api_and_filters_hold_in_both_places() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    for (model, status) in [("a", 200), ("b", 404), ("a", 404)] {
        send(&recorder, model, status);
    }
    let rows = recorder.await_rows("status=4xx&model=a", 1);
    let filters = ["tail", "--no-follow", "-json", "--status", "4xx", "-model=a", "--since", "1h"];
    let of_api: Value = serde_json::from_str(&said(&strs(&asking(&recorder, &filters)))).unwrap();
    assert_eq!(of_api, rows[0]);
    let data_dir = dir.path().to_str().unwrap();
    let of_files: Value = serde_json::from_str(&said(&[&filters[..], &["--data-dir", data_dir]].concat())).unwrap();
    assert_eq!(of_files, rows[0], "which continues nothing, so that the index knows no more");
    let all = said(&["tail", "--no-follow", "--data-dir", data_dir, "-n", "2", "--color", "always"]);
    assert_eq!(all.lines().count(), 2);
    assert!(all.contains("\u{1b}["), "{all:?}");
}

#[test]
fn files_are_followed_without_a_recorder_being_asked() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    send(&recorder, "before", 200);
    recorder.await_rows("", 1);
    let mut tail = Running::start(&["tail", "--data-dir", dir.path().to_str().unwrap()]);
    assert!(tail.line().contains("before"));
    send(&recorder, "after", 200);
    assert!(tail.line().contains("after"));
    // Another file: another key.
    let fields = [("Authorization", "Bearer other"), ("x-answer", r#"{"model":"elsewhere"}"#)];
    recorder.send("/v1/chat/completions", &fields, "{}");
    assert!(tail.line().contains("elsewhere"));
    assert_eq!(tail.interrupt().code(), Some(0));
}

#[test]
fn a_recorder_that_starts_again_is_followed_on_and_nothing_is_missed() {
    let dir = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let start = || Recorder::with(dir.path(), &[("APILOG_API_LISTEN", &free)]);
    let recorder = start();
    let mut tail = Running::start(&strs(&asking(&recorder, &["tail", "--json", "-n", "0"])));
    // Followed from some moment on: until then nothing is heard.
    let mut sent = 0;
    let model = |line: &str| serde_json::from_str::<Value>(line).unwrap()["model"].as_str().unwrap().to_owned();
    until("the first trace is heard", || {
        send(&recorder, &format!("m{sent}"), 200);
        sent += 1;
        !tail.is_silent()
    });
    recorder.stop();
    assert!(tail.complaint().ends_with("connecting again"));
    let recorder = start();
    send(&recorder, "again", 200);
    let mut heard = Vec::new();
    while heard.last().is_none_or(|it| it != "again") {
        heard.push(model(&tail.line()));
    }
    heard.dedup();
    let count = heard.len();
    heard.sort();
    heard.dedup();
    assert_eq!(heard.len(), count, "each once");
    assert_eq!(tail.complaint(), "api-log: connected again");
}

#[test]
fn a_reader_who_goes_has_had_enough() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    send(&recorder, "m", 200);
    recorder.await_rows("", 1);
    let arguments = asking(&recorder, &["tail"]);
    let mut tail = api_log(&strs(&arguments)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(tail.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.ends_with('\n'));
    // The pipe is closed now; whoever writes next finds out.
    until("it ends", || {
        send(&recorder, "m", 200);
        tail.try_wait().unwrap().is_some()
    });
    let output = tail.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn what_cannot_be_followed_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let url = format!("http://{}", recorder.api);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let data_dir = dir.path().to_str().unwrap();
    for (arguments, code, words) in [
        (vec!["--url", &format!("http://{gone}")], 1, ["cannot reach a recorder at", "is it running?"]),
        (vec!["--url", &url, "--token", "wrong"], 1, ["wants another token", "APILOG_TOKEN"]),
        (vec!["--url", "localhost:1"], 2, ["--url localhost:1", "http://HOST:PORT"]),
        (vec!["--status", "3xx"], 2, ["parameter status", "2xx"]),
        (vec!["--since", "yesterday"], 2, ["--since", "10m"]),
        (vec!["--data-dir", "/nowhere"], 1, ["there is no data dir at /nowhere", "--data-dir"]),
        (vec!["--data-dir", data_dir, "--session-root-id", "x"], 2, ["--session-root-id", "--url"]),
    ] {
        let output = run(&[&["tail", "--no-follow"], &arguments[..]].concat());
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {complaint}");
        assert!(complaint.starts_with("api-log: ") && words.iter().all(|it| complaint.contains(it)), "{complaint}");
    }
    // The token of the environment, which is no setting of the recorder.
    let output =
        api_log(&["tail", "--no-follow", "--url", &url]).env("APILOG_TOKEN", &recorder.token).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[test]
fn a_stream_shows_its_first_event_and_its_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::new(dir.path());
    let body = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(stand.recorder.send("/v1/chat/completions", &[], body).status, 200);
    let row = stand.recorder.await_rows("", 1).remove(0);
    let api = stand.api();
    let line = said(&stand.arguments(&api, &["tail", "--no-follow"]));
    let first = format!("first {}ms", row["first_event_ms"]);
    let tokens =
        format!("in {} cached {} out {}", row["prompt_tokens"], row["cached_tokens"], row["completion_tokens"]);
    assert!(line.contains(&first) && line.contains(&tokens), "{line}");
}
