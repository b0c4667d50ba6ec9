//! `api-log mock --from`: recordings as a gateway.

use serde_json::{Value, json};

use crate::stack::{Reply, call};
use crate::stand::{Stand, mock, run, text};

fn whole(reply: &Reply) -> Vec<u8> {
    match reply.field("transfer-encoding") {
        Some("chunked") => reply.whole(),
        _ => reply.body.clone(),
    }
}

#[test]
fn recordings_answer_byte_for_byte_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::new(dir.path());
    let asked = [
        ("/v1/chat/completions", json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]})),
        (
            "/v1/chat/completions",
            json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "a b c"}]}),
        ),
        (
            "/v1/messages",
            json!({"model": "m", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "hi"}]}),
        ),
        ("/v1/responses", json!({"model": "m", "stream": true, "input": "hi"})),
        ("/v1beta/models/g:streamGenerateContent?alt=sse", json!({"contents": [{"parts": [{"text": "hi"}]}]})),
        ("/v1/chat/completions", json!({"model": "error-429", "messages": []})),
    ];
    let json = [("Content-Type", "application/json")];
    let originals: Vec<Reply> =
        asked.iter().map(|(target, body)| stand.recorder.send(target, &[], &body.to_string())).collect();
    stand.recorder.await_rows("", asked.len());
    let data_dir = dir.path().to_str().unwrap();
    let (mut gateway, address) = mock(&["--from", data_dir, "--nodelay"]);
    assert_eq!(gateway.complaint(), format!("api-log: {} recorded exchanges answer", asked.len()));
    for ((target, body), original) in asked.iter().zip(&originals) {
        // Other white space; the same meaning.
        let body = serde_json::to_string_pretty(body).unwrap();
        let reply = call(address, "POST", target, &json, body.as_bytes());
        assert_eq!(reply.status, original.status, "{target}");
        assert_eq!(text(&whole(&reply)), text(&whole(original)), "{target}");
        assert_eq!(reply.field("content-type"), original.field("content-type"), "{target}");
        assert_eq!(
            (reply.field("x-api-log-match"), reply.field("retry-after")),
            (Some("body"), original.field("retry-after"))
        );
    }
    // Another body: the path's recordings in their order, whoever asks.
    let other = call(address, "POST", "/v1/chat/completions", &json, b"{\"model\":\"other\"}");
    assert_eq!((other.field("x-api-log-match"), &whole(&other)), (Some("order"), &whole(&originals[0])));
    let unknown = call(address, "POST", "/v1/nothing?x=1", &json, b"{}");
    let problem: Value = unknown.json();
    assert_eq!((unknown.status, unknown.field("content-type")), (404, Some("application/problem+json")));
    assert_eq!((&problem["status"], &problem["target"]), (&404.into(), &"/v1/nothing?x=1".into()));
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("no recording answers POST /v1/nothing") && detail.contains("POST /v1/messages"),
        "{detail}"
    );
    assert_eq!(gateway.interrupt().code(), Some(0));
}

#[test]
fn what_broke_off_breaks_off_again() {
    let dir = tempfile::tempdir().unwrap();
    let stand = Stand::new(dir.path());
    let body = json!({"model": "cut-mid-stream", "stream": true, "messages": [{"role": "user", "content": "a b c d"}]});
    let body = body.to_string();
    let original = stand.recorder.send("/v1/chat/completions", &[], &body);
    let row = stand.recorder.await_rows("", 1).remove(0);
    assert_eq!(row["end"], "upstream_gone");
    let (_gateway, address) = mock(&["--from", dir.path().to_str().unwrap(), "-speed=100"]);
    let reply = call(address, "POST", "/v1/chat/completions", &[("Content-Type", "application/json")], body.as_bytes());
    assert_eq!(crate::stack::unchunk(&reply.body), None, "it has no end");
    assert_eq!(crate::stack::unchunk(&original.body), None);
    assert!(text(&reply.body).contains("\"delta\""), "{}", text(&reply.body));
}

#[test]
fn a_data_dir_that_has_nothing_to_answer_with_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().to_str().unwrap();
    for (arguments, code, words) in [
        (&["--from", empty][..], 1, "holds no recorded answers"),
        (&["--from", "/nowhere"], 1, "cannot read /nowhere"),
        (&["--speed", "2"], 2, "--from"),
    ] {
        let output = run(&[&["mock", "--listen", "127.0.0.1:0"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(words), "{}", text(&output.stderr));
    }
}
