//! Tunnels: both directions as bytes after a 101, and refused upgrades.

use crate::recorder::Recorder;
use crate::wire::{Ended, Gateway, Wire, values};

const ASK: &str = "GET /v1/realtime?model=m HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
/// An unmasked text frame, as a gateway sends.
const DOWN: &[u8] = b"\x81\x0d{\"type\":\"hi\"}";

fn tunnel_with(settings: &[(&str, &str)]) -> (Recorder, Wire, Wire) {
    let gateway = Gateway::new();
    let recorder = Recorder::with(&gateway, settings);
    let mut client = recorder.ask(ASK);
    let (mut upstream, head) = gateway.request();
    assert_eq!(head, ASK.replace("Host: h", &format!("Host: {}", gateway.address())));
    upstream.send(SWITCH);
    assert_eq!(client.head(), SWITCH);
    (recorder, client, upstream)
}

fn tunnel() -> (Recorder, Wire, Wire) {
    tunnel_with(&[])
}

#[test]
fn bytes_pass_both_ways_at_once() {
    let (recorder, mut client, mut upstream) = tunnel();
    client.send("any bytes");
    assert_eq!(upstream.exactly(9), b"any bytes");
    upstream.send(DOWN);
    assert_eq!(client.exactly(DOWN.len()), DOWN);
    for number in 0..50_u8 {
        client.send([number]);
        assert_eq!(upstream.exactly(1), [number]);
        upstream.send([number, 0]);
        assert_eq!(client.exactly(2), [number, 0]);
    }
    client.close();
    upstream.ends_without_a_byte();
    upstream.close();
    let lines = recorder.finish();
    assert_eq!(lines[0]["status"], 101);
    assert_eq!(lines[0]["req"]["headers"]["Sec-WebSocket-Extensions"], "permessage-deflate; client_max_window_bits");
}

#[test]
fn bytes_sent_with_the_switch_are_the_tunnels() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let mut client = recorder.ask(format!("{ASK}early"));
    let (mut upstream, _) = gateway.request();
    upstream.send([SWITCH.as_bytes(), DOWN].concat());
    assert_eq!(client.head(), SWITCH);
    assert_eq!(client.exactly(DOWN.len()), DOWN);
    assert_eq!(upstream.exactly(5), b"early");
    client.close();
    upstream.ends_without_a_byte();
    upstream.close();
    recorder.finish();
}

#[test]
fn one_direction_can_end_before_the_other() {
    let (recorder, mut client, mut upstream) = tunnel();
    client.send("last");
    client.half_close();
    assert_eq!(upstream.rest(), ("last".to_owned(), Ended::InOrder));
    upstream.send("still here");
    assert_eq!(client.exactly(10), b"still here");
    upstream.half_close();
    assert_eq!(client.ends_without_a_byte(), Ended::InOrder);
    let lines = recorder.finish();
    assert_eq!((&lines[0]["end"], &lines[0]["disconnected"]), (&"complete".into(), &false.into()));
}

#[test]
fn the_gateways_direction_can_end_first() {
    let (recorder, mut client, mut upstream) = tunnel();
    upstream.half_close();
    assert_eq!(client.ends_without_a_byte(), Ended::InOrder);
    client.send("still here");
    assert_eq!(upstream.exactly(10), b"still here");
    client.close();
    upstream.ends_without_a_byte();
    assert_eq!(recorder.finish()[0]["end"], "complete");
}

#[test]
fn a_reset_passes_on() {
    for is_client in [true, false] {
        let (recorder, client, upstream) = tunnel();
        let (dying, mut other, end) = match is_client {
            true => (client, upstream, "client_gone"),
            false => (upstream, client, "upstream_gone"),
        };
        dying.reset();
        other.ends_without_a_byte();
        let lines = recorder.finish();
        assert_eq!(lines.len(), 1);
        assert_eq!((&lines[0]["end"], &lines[0]["disconnected"]), (&end.into(), &true.into()));
    }
}

#[test]
fn a_tunnel_without_bytes_for_too_long_is_closed() {
    let (recorder, mut client, mut upstream) = tunnel_with(&[("TIMEOUTS_STREAM_IDLE", "200ms")]);
    client.send("x");
    upstream.exactly(1);
    client.ends_without_a_byte();
    upstream.ends_without_a_byte();
    let line = recorder.finish_with_one();
    assert_eq!((&line["end"], &line["status"]), (&"idle_timeout".into(), &101.into()));
}

#[test]
fn a_refused_upgrade_is_an_ordinary_answer() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let mut client = recorder.ask(ASK);
    let (mut upstream, _) = gateway.request();
    upstream.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
    let head = client.head();
    assert_eq!(head, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n");
    client.until("no");
    // The connection still speaks HTTP.
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    upstream.head();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    client.until("ok");
    let lines = recorder.finish();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["status"], &lines[0]["end"]), (&403.into(), &"complete".into()));
}

#[test]
fn any_protocol_is_tunnelled() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let mut client = recorder.ask(
        "POST /up HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, upgrade\r\nUpgrade: my-own/1\r\nContent-Length: 2\r\n\r\nhi",
    );
    let (mut upstream, head) = gateway.request();
    assert_eq!(values(&head, "upgrade"), ["my-own/1"]);
    assert_eq!(upstream.exactly(2), b"hi");
    upstream.send("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: my-own/1\r\n\r\nnow");
    assert_eq!(client.head().lines().next().unwrap(), "HTTP/1.1 101 Go");
    assert_eq!(client.exactly(3), b"now");
    client.send("yes");
    assert_eq!(upstream.exactly(3), b"yes");
    client.close();
    upstream.ends_without_a_byte();
    upstream.close();
    assert_eq!(recorder.finish()[0]["status"], 101);
}

#[test]
fn a_switch_that_nobody_asked_for_is_refused() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let mut client = recorder.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let (mut upstream, _) = gateway.request();
    upstream.send(SWITCH);
    assert!(client.head().starts_with("HTTP/1.1 502 "));
    upstream.ends_without_a_byte();
    recorder.finish_with_one();
}
