//! The index made anew: by the command alone, by a running recorder that is asked to, and of an earlier data dir.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::seed::{self, Line};
use crate::stack::{Recorder, remove_index, until};

/// Runs `api-log rebuild` over a data dir.
fn rebuild(data_dir: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_api-log"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("APILOG_")) {
        command.env_remove(name);
    }
    command.arg("rebuild").arg("--data-dir").arg(data_dir).args(more).output().unwrap()
}

/// What it says, as JSON.
fn rebuilt(data_dir: &Path) -> Value {
    let output = rebuild(data_dir, &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn some_lines(count: usize) -> Vec<Line> {
    (0..count).map(|number| Line::new(number, number * 1000)).collect()
}

#[test]
fn the_command_makes_the_index_of_a_data_dir_that_nobody_uses() {
    let dir = tempfile::tempdir().unwrap();
    seed::write(dir.path(), &some_lines(30));
    for _ in 0..2 {
        let told = rebuilt(dir.path());
        assert_eq!((&told["rows"], &told["bad_lines"], &told["by"]), (&json!(30), &json!(0), &json!("command")));
    }
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(names.iter().all(|it| !it.to_string_lossy().starts_with("index.sqlite.")), "{names:?}");
    let output = rebuild(dir.path(), &[]);
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("30 rows in "));
    let recorder = Recorder::start(dir.path());
    assert_eq!(recorder.rows("limit=100").len(), 30);
    assert_eq!(recorder.get("/api/index")["rebuild"], Value::Null);
}

#[test]
fn the_command_asks_a_running_recorder_and_follows_it() {
    let dir = tempfile::tempdir().unwrap();
    seed::write(dir.path(), &some_lines(30));
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("limit=100", 30);
    let told = rebuilt(dir.path());
    assert_eq!((&told["rows"], &told["by"]), (&json!(30), &json!("recorder")));
    let shown = recorder.get("/api/index");
    assert_eq!((&shown["rebuild"]["number"], &shown["rebuild"]["state"]), (&json!(1), &json!("done")));
    assert_eq!(recorder.rows("limit=100").len(), 30);
    // It takes rows as before.
    recorder.send("/v1/models", &[], "");
    recorder.await_rows("limit=100", 31);
    assert_eq!(rebuilt(dir.path())["rows"], 31);
    assert_eq!(recorder.get("/api/index")["rebuild"]["number"], 2);
}

#[test]
fn a_recorder_that_ends_meanwhile_leaves_nothing_of_the_new_index() {
    let dir = tempfile::tempdir().unwrap();
    seed::write(dir.path(), &some_lines(3000));
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("limit=1", 1);
    assert_eq!(recorder.api("POST", "/api/index/rebuild", "").status, 202);
    recorder.stop();
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(names.iter().all(|it| !it.to_string_lossy().starts_with("index.sqlite.")), "{names:?}");
}

#[test]
fn what_cannot_be_rebuilt_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere");
    let output = rebuild(&nowhere, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no data dir at "), "{output:?}");
    assert!(!nowhere.exists());
    assert_eq!(rebuild(dir.path(), &["--bogus"]).status.code(), Some(2));
}

#[test]
fn only_who_has_the_token_may_ask_and_only_by_post() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let reply = recorder.api_with("POST", "/api/index/rebuild", &[], "");
    assert_eq!((reply.status, reply.json()["error"].clone()), (401, json!("unauthorized")));
    assert_eq!(recorder.api("GET", "/api/index/rebuild", "").status, 405);
    let reply = recorder.api("POST", "/api/index/rebuild?fast=1", "");
    assert_eq!((reply.status, reply.json()["error"].clone()), (400, json!("bad_param")));
    assert_eq!(recorder.get("/api/index")["rebuild"], Value::Null);
}

#[test]
fn a_list_tells_while_it_may_be_incomplete_and_heals_when_the_index_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    seed::write(dir.path(), &some_lines(40));
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("limit=100", 40);
    until("the index to be current", || recorder.api("GET", "/api/traces", "").field("x-api-log-index").is_none());
    remove_index(dir.path());
    let mut told = 0;
    until("the list to be whole again, and to say so", || {
        let reply = recorder.api("GET", "/api/traces?limit=100", "");
        let rows = reply.json()["traces"].as_array().map_or(0, Vec::len);
        let header = reply.field("x-api-log-index").map(str::to_owned);
        told += usize::from(header.is_some());
        let is_new = dir.path().join("index.sqlite").exists();
        is_new && rows == 40 && header.is_none()
    });
    let health = recorder.api("GET", "/healthz", "").json();
    assert_eq!(health["index"]["state"], "current");
    // A line that nobody offers is found too.
    let header = recorder.api("GET", "/api/traces", "");
    assert_eq!(header.field("x-api-log-index"), None);
}

/// Copies a folder whole.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn an_earlier_data_dir_opens_rebuilds_and_lists_right() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/earlier-data-dir");
    for is_rebuilt in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        copy(&fixture, dir.path());
        if is_rebuilt {
            let told = rebuilt(dir.path());
            assert_eq!((&told["rows"], &told["bad_lines"], &told["unreadable"]), (&json!(5), &json!(0), &json!([])));
        }
        let recorder = Recorder::start(dir.path());
        let rows = recorder.await_rows("limit=100", 5);
        let shown: Vec<_> = rows
            .iter()
            .map(|row| {
                let id = row["id"].as_str().unwrap();
                let detail = recorder.get(&format!("/api/traces/{id}"));
                assert_eq!(detail["trace"]["id"], id);
                let parent = row["parent_id"].as_str().map(|it| it[25..].to_owned());
                let (end, media) = (row["end"].as_str().unwrap().to_owned(), row["media_count"].as_u64().unwrap());
                (id[25..].to_owned(), parent, end, media, row["status"].as_i64().unwrap())
            })
            .collect();
        let expected = [
            ("5", None, "upstream_gone", 0, 502),
            ("4", None, "complete", 1, 200),
            ("3", Some("2"), "complete", 0, 200),
            ("2", Some("1"), "complete", 0, 200),
            ("1", None, "complete", 0, 200),
        ];
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(id, parent, end, media, status)| {
                (id.to_owned(), parent.map(str::to_owned), end.to_owned(), media, status)
            })
            .collect();
        assert_eq!(shown, expected);
        assert_eq!(rows[4]["ts_start"], "2030-01-01T10:00:00.123Z");
    }
}
