//! The access log: who read which trace, written beside the answers and never in their way.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::stack::{Recorder, open, until};

const ASK: &str = r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#;

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Waits for a line of which this holds.
fn line(path: &Path, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let mut found = None;
    until(what, || {
        found = lines(path).into_iter().find(|it| holds(it));
        found.is_some()
    });
    found.unwrap()
}

fn degraded(recorder: &Recorder) -> bool {
    let health = recorder.get("/healthz");
    health["degraded"].as_array().unwrap().iter().any(|it| it["condition"] == "access_log")
}

#[test]
fn nothing_is_written_down_unless_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    recorder.rows("");
    assert_eq!(recorder.get("/healthz")["api"]["access_log"], json!({"enabled": false, "written": 0, "dropped": 0}));
    recorder.stop();
    assert!(!dir.path().join("access.jsonl").exists());
}

#[test]
fn each_answer_that_hands_out_traffic_has_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::with(dir.path(), &[("APILOG_API_ACCESS_LOG", "true")]);
    let log = dir.path().join("access.jsonl");
    recorder.send("/v1/chat/completions", &[], ASK);
    let id = recorder.await_rows("model=m", 1)[0]["id"].as_str().unwrap().to_owned();
    let reply = recorder.api("GET", "/api/traces?model=m&limit=3", "");
    let listed = line(&log, "the list", |it| it["query"] == "model=m&limit=3");
    assert!(listed["ts"].as_str().is_some_and(|it| it.len() == 24 && it.ends_with('Z')), "{listed}");
    assert!(listed["client"].as_str().unwrap().starts_with("127.0.0.1:") && listed["ms"].is_u64(), "{listed}");
    for (member, value) in [
        ("token", json!("admin_token")),
        ("scope", json!("admin")),
        ("method", json!("GET")),
        ("route", json!("/api/traces")),
        ("status", json!(200)),
        ("bytes", json!(reply.body.len())),
        ("whole", json!(true)),
    ] {
        assert_eq!(listed[member], value, "{member}: {listed}");
    }
    assert!(listed.get("trace").is_none());
    let detail = recorder.api("GET", &format!("/api/traces/{id}"), "");
    let noted = line(&log, "the detail", |it| it["route"] == "/api/traces/{id}");
    assert_eq!((&noted["trace"], &noted["bytes"]), (&json!(id), &json!(detail.body.len())));
    let export = recorder.api("GET", "/api/export?format=jsonl&model=m", "").whole();
    let noted = line(&log, "the export", |it| it["route"] == "/api/export");
    assert_eq!((&noted["query"], &noted["bytes"]), (&json!("format=jsonl&model=m"), &json!(export.len())));
    assert_eq!(noted["whole"], true);
    recorder.api("HEAD", &format!("/api/traces/{id}"), "");
    let noted = line(&log, "the look", |it| it["method"] == "HEAD");
    assert_eq!((&noted["bytes"], &noted["whole"]), (&json!(0), &json!(true)));
    // What was asked for and is not there is told, with its status.
    recorder.api("GET", "/api/media/01J00000000000000000000000/0", "");
    let noted = line(&log, "what is not there", |it| it["route"] == "/api/media/{trace_id}/{idx}");
    assert_eq!((&noted["trace"], &noted["status"]), (&json!("01J00000000000000000000000"), &json!(404)));
    for target in ["/api/sessions?limit=2", "/api/inflight"] {
        recorder.get(target);
        line(&log, target, |it| it["route"] == target.split('?').next().unwrap());
    }
    // A stream has its line when its caller leaves.
    let mut tail = open(&recorder, "/api/tail?model=m");
    let mut some = [0; 64];
    assert!(tail.read(&mut some).unwrap() > 0);
    drop(tail);
    recorder.send("/v1/chat/completions", &[], ASK);
    let noted = line(&log, "the tail", |it| it["route"] == "/api/tail");
    assert_eq!((&noted["whole"], &noted["query"]), (&json!(false), &json!("model=m")));
    // An address that a proxy tells counts, as for traces.
    let bearer = format!("Bearer {}", recorder.token);
    let fields = [("Authorization", bearer.as_str()), ("X-Forwarded-For", "203.0.113.7")];
    recorder.api_with("GET", "/api/traces?limit=9", &fields, "");
    assert_eq!(line(&log, "the proxied", |it| it["query"] == "limit=9")["client"], "203.0.113.7");
    // What hands out no traffic has none; nor who was not let in.
    for target in ["/api/stats", "/api/index", "/api/config/media", "/api/plugins/types", "/healthz", "/metrics"] {
        assert_eq!(recorder.api("GET", target, "").status, 200);
    }
    assert_eq!(recorder.api_with("GET", "/api/traces?limit=8", &[("Authorization", "Bearer x")], "").status, 401);
    recorder.api("GET", "/api/traces?limit=7", "");
    line(&log, "the last", |it| it["query"] == "limit=7");
    let all = lines(&log);
    assert!(all.iter().all(|it| it["query"] != "limit=8"));
    let routes = ["/api/stats", "/api/index", "/api/config/media", "/api/plugins/types", "/healthz", "/metrics"];
    assert!(all.iter().all(|it| !routes.contains(&it["route"].as_str().unwrap())));
    assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    until("they are counted", || recorder.get("/healthz")["api"]["access_log"]["written"] == lines(&log).len());
    recorder.stop();
}

#[test]
fn the_log_is_rotated_by_size_and_the_oldest_goes() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("logs/who.jsonl");
    let settings = [
        ("APILOG_API_ACCESS_LOG", log.to_str().unwrap()),
        ("APILOG_API_ACCESS_LOG_BYTES", "4KiB"),
        ("APILOG_API_ACCESS_LOG_FILES", "2"),
    ];
    let recorder = Recorder::with(&dir.path().join("data"), &settings);
    // Some 200 bytes each, so that more files are filled than are kept.
    for number in 0..120 {
        recorder.api("GET", &format!("/api/traces?model=m{number}"), "");
    }
    recorder.stop();
    let mut names: Vec<String> = std::fs::read_dir(log.parent().unwrap())
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["who.jsonl", "who.jsonl.1", "who.jsonl.2"]);
    let mut queries = Vec::new();
    for name in names.iter().rev() {
        let path = log.with_file_name(name);
        let metadata = std::fs::metadata(&path).unwrap();
        assert!(metadata.len() <= 4096 && metadata.permissions().mode() & 0o777 == 0o600, "{name}: {metadata:?}");
        queries.extend(lines(&path).into_iter().map(|it| it["query"].as_str().unwrap().to_owned()));
    }
    let newest: Vec<String> = (120 - queries.len()..120).map(|it| format!("model=m{it}")).collect();
    assert_eq!(queries, newest, "in order, to the last one: it was asked to end");
}

#[test]
fn a_log_that_cannot_be_written_fails_no_request_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    // A folder that is a file: not even root writes there.
    let folder = dir.path().join("logs");
    std::fs::write(&folder, "in the way").unwrap();
    let log = folder.join("who.jsonl");
    let recorder = Recorder::with(&dir.path().join("data"), &[("APILOG_API_ACCESS_LOG", log.to_str().unwrap())]);
    for number in 0..20 {
        assert_eq!(recorder.api("GET", &format!("/api/traces?model=m{number}"), "").status, 200);
    }
    until("it is told", || degraded(&recorder));
    assert_eq!(recorder.get("/readyz")["ready"], true);
    // Lines wait, and go on once it can be written.
    std::fs::remove_file(&folder).unwrap();
    until("it is over", || !degraded(&recorder));
    until("they are written", || lines(&log).len() == 20);
    assert_eq!(recorder.get("/healthz")["api"]["access_log"], json!({"enabled": true, "written": 20, "dropped": 0}));
    let health = recorder.get("/healthz");
    let child = health["supervision"]["children"].as_array().unwrap().iter().find(|it| it["name"] == "access_log");
    assert_eq!((&child.unwrap()["state"], &child.unwrap()["restarts"]), (&json!("running"), &json!(0)));
    // A file that is moved away is left, and another one is begun.
    std::fs::rename(&log, dir.path().join("moved")).unwrap();
    recorder.api("GET", "/api/traces?model=later", "");
    line(&log, "the next", |it| it["query"] == "model=later");
    assert_eq!(lines(&log).len(), 1);
}
