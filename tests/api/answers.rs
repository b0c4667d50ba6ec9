//! What holds for every answer: token, methods, fields, the form of errors.

use crate::stack::{Recorder, Reply};

const OPEN: [&str; 2] = ["/", "/healthz"];
const PROTECTED: [&str; 5] =
    ["/api/traces", "/api/traces/01J00000000000000000000000", "/api/config/media", "/api/sessions", "/api/stats"];

fn is_problem(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{}", reply.text());
    let body = reply.json();
    assert_eq!(body["error"], code);
    assert!(body["message"].as_str().is_some_and(|it| !it.is_empty()), "{body}");
    let members = body.as_object().unwrap();
    assert!(members.values().all(serde_json::Value::is_string), "flat, of strings: {body}");
    is_json(reply);
}

fn is_json(reply: &Reply) {
    assert_eq!(reply.field("content-type"), Some("application/json"));
    assert!(reply.body.ends_with(b"\n"), "ends with a newline");
    is_guarded(reply);
}

fn is_guarded(reply: &Reply) {
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    assert_eq!(reply.field("x-content-type-options"), Some("nosniff"));
}

#[test]
fn only_the_token_spelt_exactly_opens_protected_routes() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let token = recorder.token.clone();
    let wrong = [
        vec![],
        vec![format!("bearer {token}")],
        vec![format!("BEARER {token}")],
        vec![format!("Bearer  {token}")],
        vec![format!("Bearer {token}x")],
        vec![format!("Bearer {}", &token[1..])],
        vec![format!("Basic {token}")],
        vec![token.clone()],
        vec!["Bearer".to_owned()],
        vec!["Bearer x".to_owned(), format!("Bearer {token}")],
    ];
    for target in PROTECTED {
        for values in &wrong {
            let fields: Vec<(&str, &str)> = values.iter().map(|value| ("Authorization", value.as_str())).collect();
            is_problem(&recorder.api_with("GET", target, &fields, ""), 401, "unauthorized");
        }
        assert_ne!(recorder.api("GET", target, "").status, 401, "{target}");
        // The token comes first: what else is wrong is nobody's business.
        let bad = format!("{target}?nonsense=1");
        is_problem(&recorder.api_with("GET", &bad, &[], ""), 401, "unauthorized");
    }
    is_problem(&recorder.api_with("PUT", "/api/config/media", &[], "nonsense"), 401, "unauthorized");
    // A token in the query is none.
    is_problem(&recorder.api_with("GET", &format!("/api/traces?token={token}"), &[], ""), 401, "unauthorized");
}

#[test]
fn open_routes_ask_for_nothing_and_mind_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    for target in OPEN {
        for fields in [&[][..], &[("Authorization", "Bearer wrong")]] {
            let reply = recorder.api_with("GET", target, fields, "");
            assert_eq!(reply.status, 200);
            is_json(&reply);
        }
    }
    let root = recorder.get("/");
    for member in ["name", "version", "viewer", "api", "healthz", "docs"] {
        assert!(root[member].is_string(), "{member}");
    }
    assert_eq!((&root["api"], &root["healthz"]), (&"/api".into(), &"/healthz".into()));
}

#[test]
fn a_wrong_method_is_told_before_the_token_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let allowed = [
        (OPEN[0], "GET, HEAD"),
        (OPEN[1], "GET, HEAD"),
        (PROTECTED[0], "GET, HEAD"),
        (PROTECTED[1], "GET, HEAD"),
        (PROTECTED[2], "GET, HEAD, PUT"),
        (PROTECTED[3], "GET, HEAD"),
        (PROTECTED[4], "GET, HEAD"),
    ];
    for (target, allow) in allowed {
        for method in ["POST", "DELETE", "PATCH", "OPTIONS", "PUT"].into_iter().filter(|it| !allow.contains(it)) {
            let reply = recorder.api_with(method, target, &[], "");
            assert_eq!(reply.status, 405, "{method} {target}");
            assert_eq!(reply.field("allow"), Some(allow), "{method} {target}");
            assert!(reply.field("content-type").unwrap().starts_with("text/plain"));
            is_guarded(&reply);
        }
    }
    for target in ["/api", "/api/", "/api/nope", "/api/traces/", "/api/traces/x/y", "/nope", "/healthz/", "//"] {
        for method in ["GET", "POST"] {
            let reply = recorder.api_with(method, target, &[], "");
            assert_eq!(reply.status, 404, "{method} {target}");
            assert!(reply.field("content-type").unwrap().starts_with("text/plain"));
            is_guarded(&reply);
        }
    }
}

#[test]
fn head_is_get_without_the_body() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    // Not of `/healthz`: its counters move between the two calls.
    for target in [OPEN[0]].into_iter().chain(PROTECTED) {
        let (get, head) = (recorder.api("GET", target, ""), recorder.api("HEAD", target, ""));
        assert_eq!((get.status, head.body.len()), (head.status, 0), "{target}");
        for field in ["content-type", "content-length", "cache-control", "x-content-type-options"] {
            assert_eq!(get.field(field), head.field(field), "{target} {field}");
        }
    }
    assert_eq!(recorder.api("HEAD", "/healthz", "").status, 200);
    assert_eq!(recorder.api_with("HEAD", "/api/traces", &[], "").status, 401);
}

#[test]
fn every_refusal_has_one_form() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    is_problem(&recorder.api("GET", "/api/traces?limit=0", ""), 400, "bad_param");
    for id in ["01J00000000000000000000000", "x", "%ff", "01j00000000000000000000000", "..%2F..%2Fadmin_token"] {
        is_problem(&recorder.api("GET", &format!("/api/traces/{id}"), ""), 404, "not_found");
    }
    is_problem(&recorder.api("PUT", "/api/config/media", "{"), 400, "bad_body");
    let long = format!("{{\"save_attachments\":true{}}}", " ".repeat(2 << 20));
    is_problem(&recorder.api("PUT", "/api/config/media", &long), 413, "body_too_large");
}
