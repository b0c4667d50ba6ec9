//! Limits and timeouts of connections and of what is recorded; filters.

use crate::recorder::{Recorder, sha256, until};
use crate::wire::{Ended, Gateway, Wire, values};

const ASK: &str = "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_connection_too_many_is_told_to_come_back() {
    let gateway = Gateway::new();
    let recorder = Recorder::with(&gateway, &[("PROXY_MAX_CONNECTIONS", "1")]);
    let mut first = recorder.ask(ASK);
    let (mut upstream, _) = gateway.request();
    let mut second = recorder.ask(ASK);
    let head = second.head();
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert_eq!(values(&head, "retry-after"), ["1"]);
    let (body, ended) = second.rest();
    assert!(body.contains(r#""code":"too_many_connections""#), "{body}");
    // It does not keep the place that it did not get.
    assert_eq!(ended, Ended::InOrder);
    upstream.send(ANSWER);
    first.until("ok");
    first.close();
    // The place is free once the recorder has noticed; until then it says so.
    let mut third = until("there is room again", || {
        let mut third = recorder.ask(ASK);
        upstream.is_asked_before(&mut third).then_some(third)
    });
    upstream.head();
    upstream.send(ANSWER);
    third.until("ok");
    let lines = recorder.finish();
    let rejected: Vec<_> = lines.iter().filter(|line| line["end"] == "rejected").collect();
    assert!(!rejected.is_empty());
    for line in rejected {
        assert_eq!((&line["status"], &line["disconnected"]), (&(-1).into(), &false.into()));
    }
    assert_eq!(lines.iter().filter(|line| line["end"] == "complete").count(), 2);
}

#[test]
fn a_header_block_over_the_limit_is_refused() {
    let gateway = Gateway::new();
    let recorder = Recorder::with(&gateway, &[("PROXY_MAX_HEADER_BYTES", "16KiB")]);
    let mut client = recorder.client();
    client.try_send(format!("GET / HTTP/1.1\r\nHost: h\r\nX-Long: {}\r\n\r\n", "a".repeat(40_000)));
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 431 "), "{head}");
    // One below the limit passes.
    let long = "b".repeat(12_000);
    let mut client = recorder.ask(format!("GET / HTTP/1.1\r\nHost: h\r\nX-Long: {long}\r\n\r\n"));
    let (mut upstream, head) = gateway.request();
    assert_eq!(values(&head, "x-long"), [long]);
    upstream.send(ANSWER);
    client.until("ok");
    recorder.finish();
}

#[test]
fn long_header_blocks_pass_by_default() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let long = "c".repeat(200_000);
    let mut client = recorder.ask(
        format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n")
            .replace(&long, "x?")
            .replace("Host: h", &format!("Host: h\r\nX-Long: {long}")),
    );
    let (mut upstream, head) = gateway.request();
    assert_eq!(values(&head, "x-long"), [long.as_str()]);
    upstream.send(format!("HTTP/1.1 200 OK\r\nX-Long: {long}\r\nContent-Length: 2\r\n\r\nok"));
    assert_eq!(values(&client.head(), "x-long"), [long.as_str()]);
    client.until("ok");
    let line = recorder.finish_with_one();
    assert_eq!(line["req"]["headers"]["X-Long"], long);
    assert_eq!(line["resp"]["headers"]["X-Long"], long);
}

#[test]
fn a_head_that_never_ends_is_not_waited_for() {
    let gateway = Gateway::new();
    let recorder = Recorder::with(&gateway, &[("TIMEOUTS_READ_HEADER", "200ms")]);
    let mut silent = recorder.client();
    let mut slow = recorder.ask("GET / HTTP/1.1\r\nHost");
    silent.ends_without_a_byte();
    slow.rest();
    // Also behind an exchange on the same connection.
    let mut client = recorder.ask(ASK);
    let (mut upstream, _) = gateway.request();
    upstream.send(ANSWER);
    client.until("ok");
    client.send("GET / HT");
    client.rest();
    assert_eq!(recorder.finish_with_one()["end"], "complete");
    assert!(gateway.is_untouched());
}

#[test]
fn a_connection_that_asks_nothing_for_too_long_is_closed() {
    let gateway = Gateway::new();
    let recorder = Recorder::with(&gateway, &[("TIMEOUTS_IDLE", "200ms")]);
    let mut client = recorder.ask(ASK);
    let (mut upstream, _) = gateway.request();
    upstream.send(ANSWER);
    client.until("ok");
    assert_eq!(client.ends_without_a_byte(), Ended::InOrder);
    recorder.finish_with_one();
}

#[test]
fn bodies_over_the_cap_pass_whole_and_are_recorded_in_part() {
    let gateway = Gateway::new();
    let recorder = Recorder::with(&gateway, &[("STORAGE_MAX_BODY_BYTES", "10")]);
    let mut client = recorder.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 16\r\n\r\n0123456789abcdef");
    let (mut upstream, _) = gateway.request();
    assert_eq!(upstream.exactly(16), b"0123456789abcdef");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nABCDEFGHIJ");
    client.until("ABCDEFGHIJ");
    let line = recorder.finish_with_one();
    assert_eq!((&line["end"], &line["disconnected"]), (&"complete".into(), &false.into()));
    // Exactly the cap is not over it.
    assert_eq!((&line["truncated_req"], &line["truncated_resp"]), (&true.into(), &false.into()));
    assert_eq!((&line["req"]["bytes"], &line["resp"]["bytes"]), (&16.into(), &10.into()));
    assert!(line["req"].get("sha256").is_none());
    assert_eq!(line["resp"]["sha256"], sha256("ABCDEFGHIJ"));
}

#[test]
fn with_capture_off_everything_passes_and_nothing_is_recorded() {
    let gateway = Gateway::new();
    let recorder = Recorder::with(&gateway, &[("CAPTURE_ENABLED", "false")]);
    let mut client = recorder.ask(ASK);
    let (mut upstream, _) = gateway.request();
    upstream.send(ANSWER);
    client.until("ok");
    assert!(recorder.finish().is_empty());
}

#[test]
fn filtered_paths_pass_and_are_not_recorded() {
    let gateway = Gateway::new();
    let filters = [("PLUGINS_CAPTURE_FILTER_PATTERNS", "/quiet,/q/*"), ("PLUGINS_PATH_FILTER_PATTERNS", "/health")];
    let recorder = Recorder::with(&gateway, &filters);
    let mut client = recorder.client();
    let mut upstream = None;
    for path in ["/quiet?x", "/q/a/b", "/health?y=1", "/v1/models", "/healthy"] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let upstream = upstream.get_or_insert_with(|| gateway.accept());
        upstream.head();
        upstream.send(ANSWER);
        client.until("ok");
    }
    let paths: Vec<_> = recorder.finish().iter().map(|line| line["path"].as_str().unwrap().to_owned()).collect();
    assert_eq!(paths, ["/v1/models", "/healthy"]);
}

/// Bytes of a large body, sent and read in pieces.
const LARGE: usize = 64 * 1024 * 1024;
/// What the recorder may take for it beyond what it has in memory anyway: it would be twice as much if a body were collected.
const MEMORY_BYTES: u64 = LARGE as u64 / 2;

#[test]
fn large_bodies_stream_through_without_being_collected() {
    let gateway = Gateway::new();
    let recorder = Recorder::with(
        &gateway,
        &[("STORAGE_MAX_BODY_BYTES", "1MiB"), ("CAPTURE_MEMORY_BYTES", "4MiB"), ("CAPTURE_SPILL_BYTES", "64KiB")],
    );
    let before = recorder.most_memory_bytes();
    let mut client = recorder.ask(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {LARGE}\r\n\r\n"));
    let mut sender = client.twin();
    let uploading = std::thread::spawn(move || send_large(&mut sender));
    let (mut upstream, _) = gateway.request();
    read_large(&mut upstream);
    uploading.join().unwrap();
    upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
    let mut sender = upstream.twin();
    let downloading = std::thread::spawn(move || send_large(&mut sender));
    client.head();
    read_large(&mut client);
    downloading.join().unwrap();
    let most = recorder.most_memory_bytes();
    assert!(most - before < MEMORY_BYTES, "{most} bytes, {before} before");
    let line = recorder.finish_with_one();
    assert_eq!(line["end"], "complete");
    assert_eq!((&line["req"]["bytes"], &line["resp"]["bytes"]), (&LARGE.into(), &LARGE.into()));
    assert_eq!((&line["truncated_req"], &line["truncated_resp"]), (&true.into(), &true.into()));
}

fn send_large(wire: &mut Wire) {
    let piece = vec![b'x'; 1024 * 1024];
    (0..LARGE / piece.len()).for_each(|_| wire.send(&piece));
}

fn read_large(wire: &mut Wire) {
    let piece = 1024 * 1024;
    (0..LARGE / piece).for_each(|_| drop(wire.exactly(piece)));
}

#[test]
fn a_data_dir_that_passes_its_level_of_warning_is_told_once() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let mut client = recorder.ask(ASK);
    let (mut upstream, _) = gateway.request();
    upstream.send(ANSWER);
    client.until("ok");
    let health = || recorder.api("/healthz").1;
    until("it is recorded", || (health()["counters"]["appended"] == 1).then_some(()));
    let limit = |max_bytes: u64| {
        let text = format!(r#"{{"retention":{{"max_bytes":{max_bytes},"warn_at_percent":1}}}}"#);
        std::fs::write(recorder.data_dir().path().join("runtime_overrides.json"), text).unwrap();
    };
    let told = || recorder.log().matches("retention.warn_at_percent is passed").count();
    limit(20_000);
    until("it is told", || (told() > 0).then_some(()));
    let sweeps = || health()["storage"]["sweeps"].as_u64();
    let before = sweeps();
    limit(19_000);
    until("another look", || (health()["storage"]["max_bytes"] == 19_000 && sweeps() > before).then_some(()));
    assert_eq!(told(), 1);
}
