//! How a request's body is framed: kept in kind towards the gateway, and refused where it is ambiguous.

use crate::recorder::{Recorder, sha256};
use crate::wire::{Ended, Gateway, Wire, text, values};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Sends `request` and gives what the gateway got of it: the head, and the connection for the rest.
fn forwarded(recorder: &Recorder, gateway: &Gateway, request: impl AsRef<[u8]>) -> (Wire, Wire, String) {
    let client = recorder.ask(request);
    let (upstream, head) = gateway.request();
    (client, upstream, head)
}

/// Answers and reads the answer.
fn answer(client: &mut Wire, upstream: &mut Wire) {
    upstream.send(ANSWER);
    client.until("\r\n\r\nok");
}

#[test]
fn a_chunked_body_stays_chunked_and_its_trailers_pass() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let (mut client, mut upstream, head) = forwarded(
        &recorder,
        &gateway,
        "POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n",
    );
    assert_eq!(values(&head, "transfer-encoding"), ["chunked"]);
    assert_eq!(values(&head, "content-length"), [""; 0]);
    assert_eq!(values(&head, "trailer"), ["X-Sum"]);
    // The first chunk is here before the second has been sent.
    assert_eq!(text(&upstream.until("hello\r\n")), "5\r\nhello\r\n");
    client.send("6;ext=1\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n");
    assert_eq!(upstream.chunked().to_lowercase(), "6\r\n world\r\n0\r\nx-sum: 11\r\n\r\n");
    answer(&mut client, &mut upstream);
    let line = recorder.finish_with_one();
    assert_eq!(line["req"]["bytes"], 11);
    assert_eq!(line["req"]["sha256"], sha256("hello world"));
    assert_eq!(line["req"]["trailers"], serde_json::json!({"x-sum": "11"}));
    assert_eq!(line["end"], "complete");
}

#[test]
fn a_chunked_body_of_a_get_passes_too() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let (mut client, mut upstream, head) = forwarded(
        &recorder,
        &gateway,
        "GET /search HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    );
    assert_eq!(values(&head, "transfer-encoding"), ["chunked"]);
    assert_eq!(upstream.chunked(), "2\r\n{}\r\n0\r\n\r\n");
    answer(&mut client, &mut upstream);
    assert_eq!(recorder.finish_with_one()["req"]["bytes"], 2);
}

#[test]
fn a_body_with_a_length_keeps_it_and_is_not_collected_first() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let (mut client, mut upstream, head) =
        forwarded(&recorder, &gateway, "PUT /up HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello");
    assert_eq!(values(&head, "content-length"), ["10"]);
    assert_eq!(values(&head, "transfer-encoding"), [""; 0]);
    assert_eq!(upstream.exactly(5), b"hello");
    client.send("world");
    assert_eq!(upstream.exactly(5), b"world");
    answer(&mut client, &mut upstream);
    recorder.finish_with_one();
}

#[test]
fn an_empty_body_keeps_its_length_of_zero() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let (mut client, mut upstream, head) =
        forwarded(&recorder, &gateway, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(values(&head, "content-length"), ["0"]);
    answer(&mut client, &mut upstream);
    recorder.finish_with_one();
}

#[test]
fn a_client_that_expects_100_gets_it_before_it_sends() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let mut client = recorder.ask("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    let (mut upstream, _) = gateway.request();
    assert_eq!(upstream.exactly(4), b"body");
    // The gateway's own interim answer is not the exchange's.
    upstream.send("HTTP/1.1 100 Continue\r\n\r\n");
    upstream.send(ANSWER);
    let head = client.head();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    client.until("ok");
    let line = recorder.finish_with_one();
    assert_eq!((&line["status"], &line["end"]), (&200.into(), &"complete".into()));
}

/// Sends what must be refused, and checks that it ends the connection with this status, unseen by the gateway.
fn is_refused(request: &str, status: u16) -> Vec<serde_json::Value> {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let mut client = recorder.ask(request);
    let (answer, _) = client.rest();
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
    let lines = recorder.finish();
    assert!(gateway.is_untouched(), "{request:?}");
    lines
}

#[test]
fn two_framings_in_one_request_are_refused() {
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "transfer-encoding: chunked\r\ncontent-length: 0",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n");
        let lines = is_refused(&request, 400);
        assert_eq!(lines.len(), 1, "{request:?}");
        assert_eq!((&lines[0]["end"], &lines[0]["status"]), (&"rejected".into(), &(-1).into()));
    }
}

#[test]
fn two_framings_behind_another_requests_body_reach_nobody_as_two() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let mut client = recorder.ask(
        "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbodyPOST /2 HTTP/1.1\r\nHost: h\r\n\
         Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /3 HTTP/1.1\r\nHost: h\r\n\r\n",
    );
    let (mut upstream, _) = gateway.request();
    upstream.exactly(4);
    answer(&mut client, &mut upstream);
    let (answer, _) = client.rest();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let lines = recorder.finish();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["end"], "rejected");
    assert_eq!(upstream.ends_without_a_byte(), Ended::InOrder);
}

#[test]
fn differing_lengths_are_refused() {
    is_refused("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody!", 400);
    is_refused("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4, 5\r\n\r\nbody!", 400);
    is_refused("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +4\r\n\r\nbody", 400);
}

#[test]
fn malformed_requests_are_refused() {
    for request in [
        "\u{1}\u{2}\u{3}\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        "GET / HTTP/1.1\r\nA: \u{0}\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding : chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: folded\r\n line\r\n\r\n",
    ] {
        is_refused(request, 400);
    }
}

#[test]
fn a_bad_chunk_size_ends_the_request_unfinished() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let (mut client, mut upstream, _) =
        forwarded(&recorder, &gateway, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    upstream.until("abc\r\n");
    client.send("zz\r\nabc\r\n0\r\n\r\n");
    let (answer, _) = client.rest();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // Nothing that could pass for the body's end reaches the gateway.
    assert_eq!(upstream.rest().0, "");
    let line = recorder.finish_with_one();
    assert_eq!((&line["end"], &line["status"]), (&"client_gone".into(), &(-1).into()));
    assert_eq!(line["req"]["bytes"], 3);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let mut client = recorder.ask(
        "GET /1 HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nX-B: 2\r\n\r\nhi\
         GET /3 HTTP/1.1\r\nHost: h\r\nX-C: 3\r\n\r\n",
    );
    let mut upstream = gateway.accept();
    for number in 1..=3 {
        let head = upstream.head();
        assert!(head.contains(&format!(" /{number} HTTP/1.1\r\n")), "{head}");
        if number == 2 {
            assert_eq!(upstream.exactly(2), b"hi");
        }
        upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"));
    }
    for number in 1..=3 {
        client.until(format!("\r\n\r\n{number}"));
    }
    let lines = recorder.finish();
    let headers: Vec<_> = lines.iter().map(|line| line["req"]["headers"].clone()).collect();
    assert_eq!(
        serde_json::json!(headers),
        serde_json::json!([{"X-A": "1"}, {"Content-Length": "2", "X-B": "2"}, {"X-C": "3"}])
    );
}
