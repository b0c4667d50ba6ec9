//! `/api/config/plugins`: what is taken, what is refused and how, what is kept, and what the kinds do.

use serde_json::{Value, json};

use crate::stack::{Recorder, until};

const LIST: &str = "/api/config/plugins";

fn tag(id: &str, config: Value) -> Value {
    json!({"type": "tag", "id": id, "enabled": true, "config": config})
}

fn put(recorder: &Recorder, target: &str, body: impl std::fmt::Display) -> (u16, Value) {
    let reply = recorder.api("PUT", target, &body.to_string());
    (reply.status, reply.json())
}

/// Replaces the list, which must be taken.
pub(crate) fn put_list(recorder: &Recorder, instances: Value) {
    let answer = put(recorder, LIST, json!({"instances": instances}));
    assert_eq!(answer, (200, json!({"ok": true, "instances": instances, "errors": []})));
}

fn overrides(recorder: &Recorder) -> String {
    std::fs::read_to_string(recorder.data_dir.join("runtime_overrides.json")).unwrap()
}

#[test]
fn the_types_are_told_with_their_fields() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let types = recorder.get("/api/plugins/types")["types"].as_array().unwrap().clone();
    let names: Vec<&str> = types.iter().map(|it| it["type"].as_str().unwrap()).collect();
    assert_eq!(names, ["capture-filter", "text-replace", "text-append", "path-filter", "sample", "redact", "tag"]);
    let fields = types[2]["config_schema"]["fields"].as_array().unwrap();
    let target = fields.iter().find(|it| it["name"] == "up.target").unwrap();
    assert_eq!(target["enum"], json!(["last_user_message", "system_prompt"]));
}

#[test]
fn a_list_is_replaced_patched_kept_over_a_restart_and_given_back() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("runtime_overrides.json"), r#"{"mine":[1],"plugins":{"note":2,"instances":[]}}"#)
        .unwrap();
    let recorder = Recorder::start(dir.path());
    assert_eq!(recorder.get(LIST), json!({"instances": [], "source": "override"}));
    let list =
        json!([tag("a", json!({"tags": ["x"]})), {"type": "text-append", "id": "b", "enabled": false, "config": {}}]);
    put_list(&recorder, list.clone());
    let (status, patched) =
        put(&recorder, &format!("{LIST}/b"), r#"{"enabled":true,"config":{"down":{"suffix":"."}}}"#);
    let b = json!({"type": "text-append", "id": "b", "enabled": true, "config": {"down": {"suffix": "."}}});
    assert_eq!((status, patched), (200, json!({"ok": true, "instance": b})));
    let (status, patched) = put(&recorder, &format!("{LIST}/b"), r#"{"enabled":false,"config":null}"#);
    assert_eq!((status, &patched["instance"]["config"]), (200, &b["config"]));
    let text = overrides(&recorder);
    assert!(text.ends_with("}\n") && text.contains("\n  \"mine\""), "{text}");
    let kept: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&kept["mine"], &kept["plugins"]["note"]), (&json!([1]), &json!(2)));
    let shown = recorder.get(LIST);
    recorder.stop();

    let recorder = Recorder::start(dir.path());
    assert_eq!(recorder.get(LIST), shown);
    for _ in 0..2 {
        let reply = recorder.api("DELETE", LIST, "");
        assert_eq!((reply.status, reply.json()), (200, json!({"ok": true, "source": "yaml"})));
        assert_eq!(recorder.get(LIST), json!({"instances": [], "source": "yaml"}));
    }
    assert_eq!(serde_json::from_str::<Value>(&overrides(&recorder)).unwrap(), json!({"mine": [1]}));
}

#[test]
fn what_is_refused_is_named_and_changes_neither_file_nor_set() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    put_list(&recorder, json!([tag("a", json!({"tags": ["x"]}))]));
    let (file, generation) = (overrides(&recorder), recorder.get("/healthz")["plugins"]["generation"].clone());
    let long = format!(r#"{{"instances":[{{"type":"tag","id":"{}"}}]}}"#, "x".repeat(65_536));
    let longer = " ".repeat(2 << 20);
    for (target, body, status, expected) in [
        ("", "{", 400, json!({"error": "bad_body"})),
        ("", &long, 413, json!({"error": "body_too_large", "cap_bytes": "65536"})),
        ("", &longer, 413, json!({"error": "body_too_large", "cap_bytes": "65536"})),
        ("", r#"{"instances":[],"more":1}"#, 400, json!({"error": "bad_body"})),
        ("", r#"{"instances":[{"type":"tag","id":"a","more":1}]}"#, 400, json!({"error": "bad_body"})),
        ("", r#"{"instances":[{"type":"tag","id":7}]}"#, 400, json!({"error": "bad_body", "index": "0"})),
        ("", "{}", 400, json!({"error": "missing_field", "field": "instances"})),
        (
            "",
            r#"{"instances":[{"id":"a"}]}"#,
            400,
            json!({"error": "bad_instance", "detail": "missing type", "index": "0"}),
        ),
        (
            "",
            r#"{"instances":[{"type":"tag"}]}"#,
            400,
            json!({"error": "bad_instance", "detail": "missing id", "index": "0"}),
        ),
        (
            "",
            r#"{"instances":[{"type":"text-append","id":"a"},{"type":"text-append","id":"a"}]}"#,
            400,
            json!({"error": "duplicate_id", "id": "a", "index": "1"}),
        ),
        (
            "",
            r#"{"instances":[{"type":"warp","id":"a"}]}"#,
            400,
            json!({"error": "reload_failed", "field": "type", "id": "a"}),
        ),
        (
            "",
            r#"{"instances":[{"type":"text-replace","id":"r","config":{"up":[{"match":"a"},{"match":""}]}}]}"#,
            400,
            json!({"error": "reload_failed", "id": "r", "field": "config.up[1].match",
                "detail": "instances[0] (r): bad config: config.up[1].match: is empty"}),
        ),
        ("/", "{}", 400, json!({"error": "missing_param", "param": "id"})),
        ("/b", r#"{"enabled":true}"#, 404, json!({"error": "not_found"})),
        ("/a", r#"{"type":""}"#, 400, json!({"error": "bad_body"})),
        ("/a", r#"{"id":"b"}"#, 400, json!({"error": "bad_body"})),
        ("/a", r#"{"type":"warp"}"#, 400, json!({"error": "reload_failed", "field": "type"})),
        ("/a", r#"{"config":{}}"#, 400, json!({"error": "reload_failed", "field": "config.tags", "id": "a"})),
    ] {
        let (found, answer) = put(&recorder, &format!("{LIST}{target}"), body);
        let told = expected.as_object().unwrap().iter().all(|(name, value)| answer[name] == *value);
        let shown: String = body.chars().take(200).collect();
        assert!(found == status && told, "{target} {shown}: {found} {answer}");
    }
    for (method, target) in [
        ("GET", LIST),
        ("PUT", LIST),
        ("DELETE", LIST),
        ("PUT", "/api/config/plugins/a"),
        ("GET", "/api/plugins/types"),
    ] {
        let reply = recorder.api_with(method, target, &[], "{}");
        assert_eq!((reply.status, &reply.json()["error"]), (401, &json!("unauthorized")), "{method} {target}");
    }
    assert_eq!(overrides(&recorder), file);
    assert_eq!(recorder.get("/healthz")["plugins"]["generation"], generation);
    recorder.api("DELETE", LIST, "");
    assert_eq!(put(&recorder, "/api/config/plugins/a", "{}").0, 404, "no list is stored");
}

#[test]
fn a_file_that_cannot_be_read_or_written_is_told_and_left() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let file = dir.path().join("runtime_overrides.json");
    std::fs::write(&file, "{\n  \"plugins\": nonsense}").unwrap();
    let list = json!({"instances": []});
    let (status, answer) = put(&recorder, LIST, &list);
    assert_eq!((status, &answer["error"]), (500, &json!("override_read_failed")), "{answer}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\n  \"plugins\": nonsense}");
    until("the place to be told", || {
        let error = recorder.get("/healthz")["plugins"]["last_error"].clone();
        error["line"] == 2
            && error["column"].is_u64()
            && error["file"].as_str().unwrap_or_default().ends_with("overrides.json")
    });
    std::fs::remove_file(&file).unwrap();
    // What it is written to before it takes the file's name.
    std::fs::create_dir(dir.path().join("runtime_overrides.json.new")).unwrap();
    let (status, answer) = put(&recorder, LIST, &list);
    assert_eq!((status, &answer["error"]), (500, &json!("override_write_failed")), "{answer}");
    assert!(!file.exists());
    std::fs::remove_dir(dir.path().join("runtime_overrides.json.new")).unwrap();
    assert_eq!(put(&recorder, LIST, &list).0, 200);
}

#[test]
fn one_bad_instance_neither_keeps_it_from_starting_nor_the_others_from_acting() {
    let dir = tempfile::tempdir().unwrap();
    let list = json!({"plugins": {"instances": [{"type": "warp", "id": "w"}, tag("a", json!({"tags": ["x"]}))]}});
    std::fs::write(dir.path().join("runtime_overrides.json"), serde_json::to_string_pretty(&list).unwrap()).unwrap();
    let recorder = Recorder::start(dir.path());
    let health = recorder.get("/healthz");
    let error = &health["plugins"]["last_error"];
    assert!(error["message"].as_str().unwrap().contains("instances[0] (w): unknown type"), "{error}");
    assert!(error["line"].as_u64().is_some_and(|line| line > 1), "{error}");
    assert!(health["degraded"].to_string().contains("plugins_malformed"), "{health}");
    assert_eq!(recorder.send("/v1/models", &[], "").status, 200);
    assert_eq!(recorder.await_rows("tag=x", 1)[0]["tags"], json!(["x"]));
}

#[test]
fn each_kind_does_what_it_says_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    put_list(
        &recorder,
        json!([
            {"type": "capture-filter", "id": "cf", "enabled": true, "config": {"patterns": ["/health/*"]}},
            {"type": "path-filter", "id": "pf", "enabled": true, "config": {"patterns": ["/v1/files"]}},
            {"type": "sample", "id": "s", "enabled": true, "config": {"rate": 0, "routes": ["/v1/embeddings"]}},
            {"type": "redact", "id": "r", "enabled": true, "config": {"headers": ["authorization"], "paths": ["$..content"]}},
            tag("t", json!({"tags": ["all"], "from_header": "X-Team"})),
        ]),
    );
    let auth = ("Authorization", "Bearer sk-secret");
    for path in ["/health/live", "/v1/files", "/v1/embeddings"] {
        assert_eq!(recorder.send(path, &[auth], "").status, 200);
    }
    let answer = ("X-Answer", r#"{"choices":[{"message":{"content":"secret words"}}]}"#);
    let ask = r#"{"model":"m","messages":[{"role":"user","content":"secret question"}]}"#;
    let reply = recorder.send("/v1/chat/completions", &[auth, answer, ("X-Team", "red")], ask);
    assert!(reply.text().contains("secret words"), "the wire is untouched");
    recorder.send("/v1/models", &[auth, ("X-Team", "blue")], "");
    recorder.await_rows("", 2);
    let row = recorder.await_rows("tag=red", 1).remove(0);
    assert_eq!(
        (recorder.rows("tag=all").len(), recorder.rows("tag=none").len(), row["tags"].clone()),
        (2, 0, json!(["all", "red"]))
    );
    let trace = recorder.get(&format!("/api/traces/{}", row["id"].as_str().unwrap()))["trace"].clone();
    let line = trace.to_string();
    assert!(
        !line.contains("sk-secret") && !line.contains("secret words\"") && !line.contains("secret question"),
        "{line}"
    );
    assert_eq!(trace["req"]["body"]["model"], "m");
    assert_eq!(trace["plugins"][0], json!({"id": "r", "type": "redact", "hook": "record", "action": "redact"}));
    let health = recorder.get("/healthz");
    let instances = health["plugins"]["instances"].as_array().unwrap();
    let mutations: Vec<(&str, u64)> =
        instances.iter().map(|it| (it["id"].as_str().unwrap(), it["mutations"].as_u64().unwrap())).collect();
    assert_eq!(mutations[..3], [("cf", 1), ("pf", 1), ("s", 1)]);
    assert_eq!(health["ledger"]["filtered"], 3);
    let metrics = recorder.api("GET", "/metrics", "");
    assert!(
        metrics.text().contains(r#"api_log_plugin_mutations_total{id="pf",type="path-filter"} 1"#),
        "{}",
        metrics.text()
    );
}
