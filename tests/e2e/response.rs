//! What the client sees of an answer.

use serde_json::Value;

use crate::recorder::{Recorder, sha256};
use crate::wire::{Ended, Gateway, Wire, fields, text, values};

const ASK: &str = "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n";

/// An exchange up to where the gateway has the request.
fn asked(request: &str) -> (Recorder, Wire, Wire) {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let client = recorder.ask(request);
    let (upstream, _) = gateway.request();
    (recorder, client, upstream)
}

fn is_complete(line: &Value) {
    assert_eq!((&line["end"], &line["disconnected"]), (&"complete".into(), &false.into()), "{line:#}");
    assert_eq!((&line["truncated_req"], &line["truncated_resp"]), (&false.into(), &false.into()));
}

#[test]
fn an_answer_arrives_byte_for_byte() {
    let (recorder, mut client, mut upstream) = asked(ASK);
    let answer = "HTTP/1.1 200 Fine By Me\r\nContent-Length: 11\r\nSet-Cookie: a=1\r\nX-MiXeD: Kept\r\n\
        Server: gw\r\nX-Empty: \r\nContent-Type: application/json\r\n\r\n{\"a\": [1 ]}";
    upstream.send(answer);
    assert_eq!(text(&client.until("]}")), answer);
    let line = recorder.finish_with_one();
    is_complete(&line);
    assert_eq!(line["status"], 200);
    assert_eq!(line["resp"]["headers"]["X-MiXeD"], "Kept");
    assert_eq!(line["resp"]["bytes"], 11);
    assert_eq!(line["resp"]["sha256"], sha256("{\"a\": [1 ]}"));
    assert_eq!(line["resp"]["body"], serde_json::json!({"a": [1]}));
}

#[test]
fn cookies_stay_apart_and_in_order() {
    let (recorder, mut client, mut upstream) = asked(ASK);
    upstream.send(
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nContent-Length: 2\r\nset-cookie: b=2\r\nSet-Cookie: c=3, d\r\n\r\nok",
    );
    let head = client.head();
    let cookies: Vec<_> =
        fields(&head).into_iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")).collect();
    assert_eq!(cookies, [("Set-Cookie", "a=1; Path=/"), ("set-cookie", "b=2"), ("Set-Cookie", "c=3, d")]);
    let line = recorder.finish_with_one();
    assert_eq!(line["resp"]["headers"]["Set-Cookie"], "a=1; Path=/, b=2, c=3, d");
    assert_eq!(
        line["resp"]["headers_list"],
        serde_json::json!([
            ["Set-Cookie", "a=1; Path=/"],
            ["Content-Length", "2"],
            ["set-cookie", "b=2"],
            ["Set-Cookie", "c=3, d"]
        ])
    );
}

#[test]
fn status_and_reason_pass_as_they_are() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let mut client = recorder.client();
    let mut upstream = None;
    let status_lines =
        ["200 ", "200 Sure", "529 ", "529 Overloaded", "418 I'm a teapot", "599 caf\u{e9}", "404 Not Found"];
    for status_line in status_lines {
        client.send(ASK);
        let upstream = upstream.get_or_insert_with(|| gateway.accept());
        upstream.head();
        upstream.send(b"HTTP/1.1 ");
        upstream.send(status_line.chars().map(|it| it as u8).collect::<Vec<_>>());
        upstream.send("\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(client.head().lines().next().unwrap(), format!("HTTP/1.1 {status_line}"));
        client.until("ok");
    }
    let statuses: Vec<_> = recorder.finish().iter().map(|line| line["status"].as_i64().unwrap()).collect();
    assert_eq!(statuses, [200, 200, 529, 529, 418, 599, 404]);
}

#[test]
fn what_belongs_to_the_gateways_hop_stays_on_it() {
    let (recorder, mut client, mut upstream) = asked(ASK);
    upstream.send(
        "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-End: 2\r\nContent-Length: 2\r\n\r\nok",
    );
    assert_eq!(client.head(), "HTTP/1.1 200 OK\r\nX-End: 2\r\nContent-Length: 2\r\n\r\n");
    client.until("ok");
    is_complete(&recorder.finish_with_one());
}

#[test]
fn a_head_answer_keeps_its_length_and_has_no_body() {
    let (recorder, mut client, mut upstream) = asked("HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    // The connection serves on: nothing was taken for a body.
    client.send(ASK);
    upstream.head();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(text(&client.until("ok")), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let lines = recorder.finish();
    assert_eq!(lines.len(), 2);
    is_complete(&lines[0]);
    assert_eq!(lines[0]["resp"]["bytes"], 0);
    assert_eq!(lines[0]["resp"]["headers"]["Content-Length"], "1234");
}

#[test]
fn answers_without_content_have_none() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let mut client = recorder.client();
    let mut upstream = None;
    for (answer, expected) in [
        ("HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n", "HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n"),
        ("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"),
        (
            // A length here describes what a GET would have brought; it may be left out (RFC 9110 §8.6).
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\n\r\n",
        ),
    ] {
        client.send(ASK);
        let upstream = upstream.get_or_insert_with(|| gateway.accept());
        upstream.head();
        upstream.send(answer);
        assert_eq!(client.head(), expected);
    }
    let lines = recorder.finish();
    assert_eq!(lines.len(), 3);
    lines.iter().for_each(is_complete);
}

#[test]
fn interim_answers_are_not_the_answer() {
    let (recorder, mut client, mut upstream) = asked(ASK);
    upstream.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
    upstream.send("HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok");
    let mut head = client.head();
    // Interim answers may pass; the final one stands as it is.
    while head.starts_with("HTTP/1.1 1") {
        head = client.head();
    }
    assert_eq!(head, "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n");
    let line = recorder.finish_with_one();
    assert_eq!(line["status"], 201);
    assert_eq!(line["resp"]["headers"], serde_json::json!({"Content-Length": "2"}));
    is_complete(&line);
}

#[test]
fn each_chunk_passes_before_the_next_is_there() {
    let (recorder, mut client, mut upstream) =
        asked("POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    let head = client.head();
    assert_eq!(values(&head, "transfer-encoding"), ["chunked"]);
    let mut sent = String::new();
    for number in 0..20 {
        let event = format!("data: {{\"n\":{number}}}\n\n");
        upstream.send(format!("{:x}\r\n{event}\r\n", event.len()));
        // Only now does the gateway send more.
        assert_eq!(text(&client.until("\n\n\r\n")), format!("{:X}\r\n{event}\r\n", event.len()));
        sent.push_str(&event);
    }
    upstream.send("0\r\n\r\n");
    assert_eq!(client.chunked(), "0\r\n\r\n");
    let line = recorder.finish_with_one();
    is_complete(&line);
    assert_eq!(line["resp"]["events"].as_array().unwrap().len(), 20);
    assert_eq!(line["resp"]["sha256"], sha256(&sent));
    assert_eq!(line["stream_done"], Value::Null);
    assert_eq!(line["resp"]["stream_done"], false);
}

#[test]
fn what_the_gateway_sends_together_is_sent_together() {
    let (recorder, mut client, mut upstream) =
        asked("POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    let events: Vec<String> = (0..60).map(|number| format!("data: {{\"n\":{number}}}\n\n")).collect();
    let chunks: String = events.iter().map(|it| format!("{:x}\r\n{it}\r\n", it.len())).collect();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    upstream.send(format!("{head}{chunks}0\r\n\r\n"));
    client.head();
    assert_eq!(client.chunked().to_lowercase(), format!("{chunks}0\r\n\r\n"));
    // One for each chunk would be 60.
    let segments = client.segments_received();
    assert!(segments <= 10, "{segments} segments");
    let line = recorder.finish_with_one();
    is_complete(&line);
    assert_eq!(line["resp"]["events"].as_array().unwrap().len(), 60);
    assert_eq!(line["resp"]["sha256"], sha256(events.concat()));
}

#[test]
fn a_body_with_a_length_is_streamed_too() {
    let (recorder, mut client, mut upstream) = asked(ASK);
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
    client.head();
    assert_eq!(client.exactly(3), b"abc");
    upstream.send("def");
    assert_eq!(client.exactly(3), b"def");
    is_complete(&recorder.finish_with_one());
}

#[test]
fn a_body_that_ends_with_the_connection_passes() {
    let (recorder, mut client, mut upstream) = asked(ASK);
    upstream.send("HTTP/1.1 200 OK\r\n\r\nabc");
    let head = client.head();
    assert_eq!(values(&head, "transfer-encoding"), ["chunked"], "the client must be able to tell the end: {head}");
    assert_eq!(text(&client.until("abc\r\n")), "3\r\nabc\r\n");
    upstream.send("de");
    upstream.close();
    assert_eq!(client.chunked(), "2\r\nde\r\n0\r\n\r\n");
    let line = recorder.finish_with_one();
    is_complete(&line);
    assert_eq!(line["resp"]["sha256"], sha256("abcde"));
}

#[test]
fn an_old_client_gets_a_body_that_ends_with_the_connection() {
    let (recorder, mut client, mut upstream) = asked("GET / HTTP/1.0\r\nHost: h\r\n\r\n");
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let (answer, ended) = client.rest();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(values(head, "transfer-encoding"), [""; 0]);
    assert_eq!((body, ended), ("abc", Ended::InOrder));
    is_complete(&recorder.finish_with_one());
}

#[test]
fn an_old_gateways_answer_passes() {
    let (recorder, mut client, mut upstream) = asked(ASK);
    upstream.send("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let answer = text(&client.until("ok"));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    is_complete(&recorder.finish_with_one());
}

#[test]
fn trailers_pass_to_a_client_that_takes_them() {
    let (recorder, mut client, mut upstream) = asked("GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n");
    upstream.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-More\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n",
    );
    let head = client.head();
    assert_eq!(values(&head, "trailer"), ["X-Sum, X-More"]);
    assert_eq!(client.chunked().to_lowercase(), "2\r\nok\r\n0\r\nx-sum: 1\r\nx-more: 2\r\n\r\n");
    let line = recorder.finish_with_one();
    is_complete(&line);
    assert_eq!(line["resp"]["trailers"], serde_json::json!({"x-sum": "1", "x-more": "2"}));
}

#[test]
fn two_framings_in_an_answer_do_not_reach_the_client() {
    let (recorder, mut client, mut upstream) = asked(ASK);
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let head = client.head();
    assert_eq!(values(&head, "content-length"), [""; 0], "{head}");
    assert_eq!(client.chunked(), "5\r\nhello\r\n0\r\n\r\n");
    recorder.finish_with_one();
}

#[test]
fn an_answer_passes_before_the_upload_has_ended() {
    let (recorder, mut client, mut upstream) =
        asked("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\npart");
    upstream.exactly(4);
    upstream.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    assert_eq!(text(&client.until("\r\n\r\nno")), "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    upstream.close();
    client.close();
    let line = recorder.finish_with_one();
    assert_eq!((&line["status"], &line["end"]), (&413.into(), &"complete".into()));
    assert_eq!(line["req"]["bytes"], 4);
}

#[test]
fn an_upload_goes_on_after_an_early_answer() {
    let (recorder, mut client, mut upstream) = asked("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\npart");
    upstream.exactly(4);
    upstream.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
    client.until("hi\r\n");
    client.send("rest");
    assert_eq!(upstream.exactly(4), b"rest");
    upstream.send("0\r\n\r\n");
    client.until("0\r\n\r\n");
    let line = recorder.finish_with_one();
    is_complete(&line);
    assert_eq!(line["req"]["sha256"], sha256("partrest"));
}

#[test]
fn coded_bodies_pass_untouched_and_are_recorded_decoded() {
    let (recorder, mut client, mut upstream) =
        asked("GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: zstd, gzip\r\n\r\n");
    let coded = zstd::encode_all(&br#"{"a":"b"}"#[..], 3).unwrap();
    upstream.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: zstd\r\nContent-Length: {}\r\n\r\n",
        coded.len()
    ));
    upstream.send(&coded);
    assert_eq!(values(&client.head(), "content-encoding"), ["zstd"]);
    assert_eq!(client.exactly(coded.len()), coded);
    let line = recorder.finish_with_one();
    is_complete(&line);
    assert_eq!(line["resp"]["body"], serde_json::json!({"a": "b"}));
    assert_eq!(line["resp"]["content_decoded"], serde_json::json!(["zstd"]));
    assert_eq!(line["resp"]["headers"]["Content-Encoding"], "zstd");
    assert_eq!(line["resp"]["sha256"], sha256(&coded));
}

#[test]
fn a_redirect_is_the_clients_to_follow() {
    let (recorder, mut client, mut upstream) = asked(ASK);
    upstream
        .send("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://elsewhere.invalid/x\r\nContent-Length: 0\r\n\r\n");
    let head = client.head();
    assert_eq!(values(&head, "location"), ["http://elsewhere.invalid/x"]);
    assert_eq!(recorder.finish_with_one()["status"], 307);
}

#[test]
fn a_client_that_wants_to_close_is_let_go() {
    let (recorder, mut client, mut upstream) = asked("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let (answer, ended) = client.rest();
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    assert_eq!(ended, Ended::InOrder);
    is_complete(&recorder.finish_with_one());
}
