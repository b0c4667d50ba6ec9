//! SIGHUP: the configuration is read again, and whatever can be changed is.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::recorder::{DataDir, Recorder, until};
use crate::wire::Gateway;

/// A recorder with a configuration file.
struct Configured {
    recorder: Recorder,
    gateway: Gateway,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Configured {
    fn with(text: &str) -> Configured {
        let gateway = Gateway::new();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("api-log.yaml");
        std::fs::write(&file, text).unwrap();
        let upstream = format!("http://{}", gateway.address());
        let settings = [("PROXY_UPSTREAM", upstream.as_str())];
        let recorder = Recorder::called(DataDir::new(), &settings, &[], &["--config", file.to_str().unwrap()]);
        Configured { recorder, gateway, file, _dir: dir }
    }

    /// Writes the file anew and has it read; what health says of that.
    fn reload(&self, text: &str) -> Value {
        let before = self.health()["reload"].clone();
        std::fs::write(&self.file, text).unwrap();
        self.recorder.signal(libc::SIGHUP);
        until("the configuration is read again", || Some(self.health()["reload"].clone()).filter(|it| *it != before))
    }

    fn health(&self) -> Value {
        self.recorder.api("/healthz").1
    }

    /// Sends a request for this path through it.
    fn pass(&self, path: &str) {
        let mut client = self.recorder.ask(format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"));
        let (mut upstream, _) = self.gateway.request();
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nabcdef");
        client.until("abcdef");
        client.rest();
    }
}

#[test]
fn a_changed_file_takes_effect_without_a_restart() {
    let it = Configured::with("storage: {max_body_bytes: 1MiB}\n");
    it.pass("/one");
    let reload = it.reload(
        "storage: {max_body_bytes: 3}\nplugins: {path_filter: {patterns: [/two]}, capture_filter: {patterns: [/three]}}\nlogging: {level: debug}\n",
    );
    assert_eq!(reload["applied"], true, "{reload}");
    assert_eq!(reload["needs_restart"], serde_json::json!([]));
    let changed = reload["changed"].as_array().unwrap();
    assert!(changed.contains(&"storage.max_body_bytes: 1MiB → 3".into()), "{reload}");
    assert_eq!(changed.len(), 4, "{reload}");
    for path in ["/two", "/three", "/four"] {
        it.pass(path);
    }
    let lines = it.recorder.finish();
    let seen: Vec<_> = lines.iter().map(|it| (it["path"].as_str().unwrap(), it["truncated_resp"].clone())).collect();
    assert_eq!(seen, [("/one", false.into()), ("/four", true.into())]);
}

#[test]
fn what_wants_a_restart_is_told_and_stays_until_then() {
    let it = Configured::with("proxy: {max_connections: 10}\n");
    let text = "logging: {level: debug}\nproxy: {max_connections: 20}\n";
    for changed in [1, 0] {
        let reload = it.reload(text);
        assert_eq!(reload["needs_restart"], serde_json::json!(["proxy.max_connections: 10 → 20"]));
        assert_eq!(reload["changed"].as_array().unwrap().len(), changed, "{reload}");
    }
    let connections = it.health()["bounds"].as_array().unwrap().iter().find(|it| it["name"] == "connections").cloned();
    assert_eq!(connections.unwrap()["count"]["limit"], 10);
    let log = it.recorder.log();
    assert!(log.contains("this wants a restart") && log.contains("proxy.max_connections"), "{log}");
    it.pass("/");
    it.recorder.finish_with_one();
}

#[test]
fn a_wrong_file_changes_nothing_and_every_mistake_is_told() {
    let it = Configured::with("logging: {level: info}\n");
    let reload = it.reload("logging: {level: loud}\nplugins: {path_filter: {patterns: [/x]}}\nnonsense: 1\n");
    assert_eq!((&reload["applied"], &reload["changed"]), (&false.into(), &serde_json::json!([])));
    let complaints = reload["complaints"].to_string();
    assert!(complaints.contains("logging.level") && complaints.contains("nonsense"), "{complaints}");
    it.pass("/x");
    assert_eq!(it.recorder.finish_with_one()["path"], "/x");
}

#[test]
fn a_replaced_token_is_taken_and_an_empty_one_is_not() {
    let it = Configured::with("{}\n");
    let token = Path::new(it.recorder.data_dir().path()).join("admin_token");
    std::fs::write(token.with_extension("new"), "another\n").unwrap();
    std::fs::rename(token.with_extension("new"), &token).unwrap();
    until("the token is taken without being asked to", || (it.recorder.api("/api/traces").0 == 200).then_some(()));
    std::fs::write(&token, "").unwrap();
    let reload = it.reload("{}\n");
    assert!(reload["complaints"][0].as_str().unwrap().contains("empty"), "{reload}");
}

#[test]
fn the_configurations_plugins_are_taken_over_and_stand_below_what_was_set_at_run_time() {
    let list = |label: &str| {
        format!("plugins: {{instances: [{{type: tag, id: t, enabled: true, config: {{tags: [{label}]}}}}]}}\n")
    };
    let it = Configured::with(&list("one"));
    // Those that every data dir of these tests has.
    let overrides = it.recorder.data_dir().path().join("runtime_overrides.json");
    std::fs::remove_file(&overrides).unwrap();
    until("the configuration", || (it.health()["plugins"]["source"] == "yaml").then_some(()));
    it.pass("/one");
    assert_eq!(it.reload(&list("two"))["changed"].as_array().unwrap().len(), 1);
    it.pass("/two");
    let reload = it.reload("plugins: {instances: [{type: tag, id: t, enabled: true}]}\n");
    assert_eq!(reload["applied"], false);
    let complaint = reload["complaints"][0].as_str().unwrap();
    assert!(complaint.contains(":1:23: plugins.instances: instances[0] (t): bad config: config.tags"), "{complaint}");
    it.pass("/still-two");
    std::fs::write(&overrides, r#"{"plugins":{"instances":[]}}"#).unwrap();
    until("the overrides", || (it.health()["plugins"]["source"] == "override").then_some(()));
    it.reload(&list("three"));
    it.pass("/none");
    std::fs::remove_file(overrides).unwrap();
    until("the configuration", || (it.health()["plugins"]["source"] == "yaml").then_some(()));
    it.pass("/three");
    let lines = it.recorder.finish();
    let seen: Vec<_> = lines.iter().map(|it| (it["path"].as_str().unwrap(), it["tags"][0].as_str())).collect();
    assert_eq!(
        seen,
        [
            ("/one", Some("one")),
            ("/two", Some("two")),
            ("/still-two", Some("two")),
            ("/none", None),
            ("/three", Some("three"))
        ]
    );
}
