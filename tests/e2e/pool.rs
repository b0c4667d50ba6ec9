//! Connections to the gateway: used again, closed in time, and what happens when a used one proves dead.

use crate::recorder::Recorder;
use crate::wire::{Ended, Gateway, Wire};

const ASK: &str = "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A recorder with one connection in its pool, and a client.
fn pooled(settings: &[(&str, &str)]) -> (Recorder, Gateway, Wire, Wire) {
    let gateway = Gateway::new();
    let recorder = Recorder::with(&gateway, settings);
    let mut client = recorder.ask(ASK);
    let (mut upstream, _) = gateway.request();
    upstream.send(ANSWER);
    client.until("ok");
    (recorder, gateway, client, upstream)
}

#[test]
fn a_connection_to_the_gateway_serves_one_client_after_another() {
    let (recorder, gateway, client, mut upstream) = pooled(&[]);
    client.close();
    for _ in 0..3 {
        let mut client = recorder.ask(ASK);
        upstream.head();
        upstream.send(ANSWER);
        client.until("ok");
    }
    assert!(gateway.is_untouched());
    assert_eq!(recorder.finish().len(), 4);
}

#[test]
fn exchanges_at_the_same_time_have_a_connection_each() {
    let (recorder, gateway, mut first, mut upstream) = pooled(&[]);
    first.send(ASK);
    upstream.head();
    let mut second = recorder.ask(ASK);
    let (mut other, _) = gateway.request();
    other.send(ANSWER);
    second.until("ok");
    upstream.send(ANSWER);
    first.until("ok");
    assert_eq!(recorder.finish().len(), 3);
}

#[test]
fn an_unused_connection_is_closed_in_time() {
    let (recorder, _gateway, _client, mut upstream) = pooled(&[("PROXY_UPSTREAM_IDLE", "100ms")]);
    assert_eq!(upstream.ends_without_a_byte(), Ended::InOrder);
    recorder.finish_with_one();
}

#[test]
fn a_gateway_that_says_close_is_not_asked_again_on_that_connection() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let mut client = recorder.ask(ASK);
    let (mut upstream, _) = gateway.request();
    upstream.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    client.until("ok");
    client.send(ASK);
    let (mut next, _) = gateway.request();
    next.send(ANSWER);
    client.until("ok");
    assert_eq!(upstream.ends_without_a_byte(), Ended::InOrder);
    assert_eq!(recorder.finish().len(), 2);
}

#[test]
fn a_request_that_finds_its_used_connection_dead_is_sent_once_more() {
    let (recorder, gateway, mut client, mut upstream) = pooled(&[]);
    client.send(ASK);
    // The gateway takes the request and dies, as one does that had already decided to close.
    upstream.head();
    upstream.close();
    let (mut next, head) = gateway.request();
    assert!(head.starts_with("GET /v1/models HTTP/1.1\r\n"));
    next.send(ANSWER);
    client.until("ok");
    let lines = recorder.finish();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[1]["end"], &lines[1]["status"]), (&"complete".into(), &200.into()));
}

#[test]
fn a_body_goes_by_a_new_connection_where_the_used_one_had_been_closed() {
    let (recorder, gateway, mut client, upstream) = pooled(&[]);
    upstream.close();
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
    let (mut next, _) = gateway.request();
    assert_eq!(next.exactly(4), b"body");
    next.send(ANSWER);
    client.until("ok");
    let lines = recorder.finish();
    assert_eq!((&lines[1]["end"], &lines[1]["req"]["bytes"]), (&"complete".into(), &4.into()));
}

#[test]
fn a_new_connection_that_dies_is_not_tried_again() {
    let (recorder, gateway, mut client, mut upstream) = pooled(&[]);
    client.send(ASK);
    upstream.head();
    upstream.close();
    let (next, _) = gateway.request();
    next.close();
    assert!(client.head().starts_with("HTTP/1.1 502 "));
    assert!(gateway.is_untouched());
    assert_eq!(recorder.finish().len(), 2);
}

#[test]
fn a_body_is_never_sent_twice() {
    let (recorder, gateway, mut client, mut upstream) = pooled(&[]);
    client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
    upstream.until("body");
    upstream.close();
    assert!(client.head().starts_with("HTTP/1.1 502 "));
    assert!(gateway.is_untouched());
    let lines = recorder.finish();
    assert_eq!((&lines[1]["end"], &lines[1]["status"]), (&"upstream_unreachable".into(), &(-1).into()));
    assert_eq!(lines[1]["req"]["bytes"], 4);
}

#[test]
fn an_answer_that_has_begun_is_never_asked_for_again() {
    let (recorder, gateway, mut client, mut upstream) = pooled(&[]);
    client.send(ASK);
    upstream.head();
    upstream.send("HTTP/1.1 200 OK\r\nConte");
    upstream.close();
    assert!(client.head().starts_with("HTTP/1.1 502 "));
    assert!(gateway.is_untouched());
    assert_eq!(recorder.finish().len(), 2);
}
