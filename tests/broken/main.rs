//! The built program with faults on demand: what hangs, blocks or is refused, seen from outside.
//!
//! `cargo test --features faults --test broken`: a program as it ships has no faults to ask for.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by it, as it should")]
#![allow(dead_code, reason = "the helpers are those of the end-to-end tests, and not all are needed here")]

#[path = "../e2e/recorder.rs"]
mod recorder;
#[path = "../e2e/wire.rs"]
mod wire;

use std::path::PathBuf;

use serde_json::Value;

use recorder::{DataDir, Recorder, until};
use wire::Gateway;

/// A recorder that does as its file of faults says.
struct Broken {
    recorder: Recorder,
    gateway: Gateway,
    faults: PathBuf,
    loaded: u64,
    _dir: tempfile::TempDir,
}

impl Broken {
    /// Whose watchdog has these times: how often it looks, when it kills, how much longer it waits until it gives up.
    fn with(watchdog: &str) -> Broken {
        let dir = tempfile::tempdir().unwrap();
        let faults = dir.path().join("faults");
        let gateway = Gateway::new();
        let upstream = format!("http://{}", gateway.address());
        let variables = [("API_LOG_FAULTS", faults.to_str().unwrap()), ("API_LOG_WATCHDOG", watchdog)];
        let recorder = Recorder::on(DataDir::new(), &[("PROXY_UPSTREAM", upstream.as_str())], &variables);
        Broken { recorder, gateway, faults, loaded: 0, _dir: dir }
    }

    /// Arms these points, and waits until they are.
    fn arm(&mut self, faults: &str) {
        self.loaded += 1;
        let part = self.faults.with_extension("part");
        std::fs::write(&part, faults).unwrap();
        std::fs::rename(&part, &self.faults).unwrap();
        let loaded = self.loaded;
        until("the faults are armed", || self.seen("loaded").first().filter(|it| **it == loaded).map(drop));
    }

    /// What is told of a point: how often it was passed, and how often it struck.
    fn seen(&self, point: &str) -> Vec<u64> {
        let text = std::fs::read_to_string(self.faults.with_extension("seen")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(point)?.strip_prefix(' ')).unwrap_or_default();
        line.split(' ').filter_map(|it| it.parse().ok()).collect()
    }

    /// Sends requests through it, each of which has its answer whatever is broken behind.
    fn pass(&self, count: usize) {
        for _ in 0..count {
            let mut client = self.recorder.ask("GET /v1/models HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
            let (mut upstream, _) = self.gateway.request();
            upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
            client.until("ok");
            client.rest();
        }
    }

    fn health(&self) -> Value {
        self.recorder.api("/healthz").1
    }

    fn child(&self, name: &str) -> Value {
        let health = self.health();
        let children = health["supervision"]["children"].as_array().unwrap();
        children.iter().find(|it| it["name"] == name).unwrap().clone()
    }
}

#[test]
fn a_part_that_hangs_where_it_awaits_is_killed_and_started_again() {
    for part in ["writers", "finalizers", "index"] {
        let mut it = Broken::with("100ms 1s 1h");
        it.arm(&format!("{part} hang for=1h times=1"));
        it.pass(5);
        let child = until("it is started again", || {
            Some(it.child(part)).filter(|it| it["restarts"].as_u64() > Some(0) && it["state"] == "running")
        });
        assert!(child["last_error"]["message"].as_str().unwrap().contains("no progress for 1s"), "{child}");
        assert_eq!(it.seen(part)[1], 1);
        it.recorder.listed(5);
        assert_eq!(it.recorder.finish().len(), 5);
    }
}

#[test]
fn a_part_that_blocks_its_thread_is_told_and_the_system_ends_in_order_when_that_lasts() {
    let mut it = Broken::with("100ms 500ms 500ms");
    let threads = std::thread::available_parallelism().unwrap().get();
    // As many as there are threads that record, and more.
    it.arm(&format!("finalizer block for=1h times={threads}"));
    it.pass(threads + 2);
    let status = it.recorder.wait();
    assert_eq!(status.code(), Some(1), "for the service manager to start it anew");
    let log = it.recorder.log();
    for said in ["nothing turns on these threads any more", "only a new process helps", "\"msg\":\"ended\""] {
        assert!(log.contains(said), "{said}: {log}");
    }
}

#[test]
fn a_large_body_whose_parsing_never_ends_is_parsed_anew_and_blocks_no_thread_that_records() {
    let mut it = Broken::with("100ms 1s 1h");
    it.arm("finalizer block for=1h times=1");
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]}}"#, "x".repeat(100_000));
    let head =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let mut client = it.recorder.ask(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
    let (mut upstream, _) = it.gateway.request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    client.until("ok");
    client.rest();
    it.pass(3);
    it.recorder.listed(4);
    let health = it.health();
    assert_eq!(health["supervision"]["troubles"], serde_json::json!([]), "{health:#}");
    assert_eq!(it.recorder.finish().len(), 4);
}

#[test]
fn a_refused_write_is_tried_again_and_nothing_is_lost() {
    let mut it = Broken::with("5s 60s 240s");
    it.arm("writer.refused io error=enospc times=3\nindex.write io error=eio times=2\n");
    it.pass(5);
    it.recorder.listed(5);
    assert_eq!(it.seen("writer.refused")[1], 3);
    assert!(it.health()["recording"]["append_errors"].as_u64() >= Some(3));
    assert_eq!(it.recorder.finish().len(), 5);
}

#[test]
fn a_third_signal_ends_at_once_whatever_is_left() {
    let mut it = Broken::with("5s 60s 240s");
    it.arm("writer block for=1h");
    it.pass(1);
    until("the writer blocks", || it.seen("writer").get(1).filter(|it| **it > 0).map(drop));
    for said in ["ending: streams", "hurrying"] {
        it.recorder.signal(libc::SIGTERM);
        until(said, || it.recorder.log().contains(said).then_some(()));
    }
    it.recorder.signal(libc::SIGTERM);
    assert_eq!(it.recorder.wait().code(), Some(1));
    assert!(it.recorder.log().contains("ending at once"));
}
