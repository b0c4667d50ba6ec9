//! What a new start finds: a data dir with its index gone, a torn line, a killed predecessor.

use std::io::Write;

use crate::recorder::{DataDir, Recorder};
use crate::wire::Gateway;

/// A recorder on `data_dir` that records one exchange for each path.
fn recorded(gateway: &Gateway, data_dir: &DataDir, paths: &[&str]) -> Recorder {
    let upstream = format!("http://{}", gateway.address());
    let recorder = Recorder::on(data_dir.clone(), &[("PROXY_UPSTREAM", &upstream)], &[]);
    for path in paths {
        let mut client = recorder.ask(format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
        let (mut upstream, _) = gateway.request();
        upstream.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        client.rest();
    }
    recorder
}

fn paths(recorder: &Recorder, count: usize) -> Vec<String> {
    let mut paths: Vec<_> = recorder.listed(count).iter().map(|row| row["path"].as_str().unwrap().to_owned()).collect();
    paths.sort_unstable();
    paths
}

#[test]
fn a_lost_index_is_made_again_from_the_files() {
    let (gateway, data_dir) = (Gateway::new(), DataDir::new());
    let before = recorded(&gateway, &data_dir, &["/1", "/2", "/3"]);
    let rows = before.listed(3);
    before.finish();
    for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        let removed = std::fs::remove_file(data_dir.path().join(name));
        assert!(removed.is_ok() || name != "index.sqlite");
    }
    let after = recorded(&gateway, &data_dir, &[]);
    assert_eq!(after.listed(3), rows);
    assert_eq!(after.finish().len(), 3);
}

#[test]
fn the_read_api_answers_from_its_first_moment() {
    let (gateway, data_dir) = (Gateway::new(), DataDir::new());
    let recorder = recorded(&gateway, &data_dir, &[]);
    let (status, listed) = recorder.api("/api/traces");
    assert_eq!((status, &listed["traces"]), (200, &serde_json::json!([])), "{listed}");
    recorder.finish();
}

#[test]
fn a_torn_last_line_is_set_aside_and_the_next_one_is_whole() {
    let (gateway, data_dir) = (Gateway::new(), DataDir::new());
    recorded(&gateway, &data_dir, &["/1"]).finish();
    let segment = data_dir.segments().remove(0);
    let whole = std::fs::read(&segment).unwrap();
    let torn = &whole[..whole.len() / 2];
    std::fs::OpenOptions::new().append(true).open(&segment).unwrap().write_all(torn).unwrap();
    let after = recorded(&gateway, &data_dir, &["/2"]);
    assert_eq!(paths(&after, 2), ["/1", "/2"]);
    let lines = after.finish();
    assert_eq!(lines.len(), 2);
    assert!(std::fs::read(&segment).unwrap().starts_with(&whole), "what was whole stays as it was");
    // Nothing is thrown away.
    let beside: Vec<_> = std::fs::read_dir(segment.parent().unwrap())
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| *it != segment)
        .filter(|it| std::fs::read(it).is_ok_and(|bytes| bytes.windows(torn.len()).any(|it| it == torn)))
        .collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
}

#[test]
fn a_killed_recorder_loses_nothing_that_was_listed() {
    let (gateway, data_dir) = (Gateway::new(), DataDir::new());
    let mut before = recorded(&gateway, &data_dir, &["/1", "/2"]);
    before.listed(2);
    before.signal(libc::SIGKILL);
    before.wait();
    let after = recorded(&gateway, &data_dir, &["/3"]);
    assert_eq!(paths(&after, 3), ["/1", "/2", "/3"]);
    assert_eq!(after.finish().len(), 3);
}

#[test]
fn a_recorder_whose_port_is_taken_does_not_start() {
    let (gateway, data_dir) = (Gateway::new(), DataDir::new());
    let first = recorded(&gateway, &data_dir, &["/1"]);
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_api-log"))
        .env("APILOG_PROXY_LISTEN", first.proxy.to_string())
        .env("APILOG_API_LISTEN", "127.0.0.1:0")
        .env("APILOG_STORAGE_DATA_DIR", data_dir.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let complaint = String::from_utf8(second.stderr).unwrap();
    assert!(complaint.contains("cannot listen on"), "{complaint}");
    assert_eq!(paths(&first, 1), ["/1"]);
    first.finish_with_one();
}

#[test]
fn a_second_recorder_on_the_same_data_dir_is_refused_and_touches_nothing() {
    let (gateway, data_dir) = (Gateway::new(), DataDir::new());
    let mut first = recorded(&gateway, &data_dir, &["/1"]);
    first.listed(1);
    // What a recorder that starts would clear or make anew.
    std::fs::remove_file(data_dir.path().join("admin_token")).unwrap();
    let refused = second_on(&data_dir);
    assert_eq!(refused.status.code(), Some(1));
    let complaint = String::from_utf8(refused.stderr).unwrap();
    for part in [
        data_dir.path().to_str().unwrap(),
        &format!("pid {}", first.pid()),
        &first.proxy.to_string(),
        &first.api.to_string(),
        "storage.data_dir",
    ] {
        assert!(complaint.contains(part), "{part} is not in: {complaint}");
    }
    assert!(!data_dir.path().join("admin_token").exists(), "the second one made a token");
    first.signal(libc::SIGKILL);
    first.wait();
    let after = recorded(&gateway, &data_dir, &["/2"]);
    assert_eq!(paths(&after, 2), ["/1", "/2"]);
    assert_eq!(after.finish().len(), 2);
}

/// The output of another recorder that is started on `data_dir`, and ends by itself.
fn second_on(data_dir: &DataDir) -> std::process::Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_api-log"))
        .env("APILOG_PROXY_LISTEN", "127.0.0.1:0")
        .env("APILOG_API_LISTEN", "127.0.0.1:0")
        .env("APILOG_STORAGE_DATA_DIR", data_dir.path())
        .output()
        .unwrap()
}
