//! Every way in which an exchange can end: both sides see it, and exactly one trace tells it.

use serde_json::Value;

use crate::recorder::{DataDir, Recorder, sha256};
use crate::wire::{Ended, Gateway, Wire, text, values};

const ASK: &str = "POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"stream\": 1}";
const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// An exchange up to where the gateway has the whole of [`ASK`].
fn asked_with(settings: &[(&str, &str)]) -> (Recorder, Gateway, Wire, Wire) {
    let gateway = Gateway::new();
    let recorder = Recorder::with(&gateway, settings);
    let client = recorder.ask(ASK);
    let mut upstream = gateway.accept();
    upstream.until("{\"stream\": 1}");
    (recorder, gateway, client, upstream)
}

fn asked() -> (Recorder, Gateway, Wire, Wire) {
    asked_with(&[])
}

/// The one trace, with the request whole, and this end.
fn ended(recorder: Recorder, end: &str, status: i64) -> Value {
    let line = recorder.finish_with_one();
    let is_disconnected = !matches!(end, "complete" | "rejected");
    assert_eq!(line["end"], end, "{line:#}");
    assert_eq!((&line["status"], &line["disconnected"]), (&status.into(), &is_disconnected.into()), "{line:#}");
    assert_eq!((&line["truncated_req"], &line["truncated_resp"]), (&false.into(), &false.into()));
    line
}

fn has_whole_request(line: &Value) {
    assert_eq!(line["req"]["sha256"], sha256("{\"stream\": 1}"));
    assert_eq!(line["req"]["body"], serde_json::json!({"stream": 1}));
}

/// The recorder's own answer of this status and code; its message.
fn own_answer(client: &mut Wire, status: u16, code: &str) -> String {
    let head = client.head();
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
    assert_eq!(values(&head, "content-type"), ["application/json"]);
    let length = values(&head, "content-length")[0].parse().unwrap();
    let body: Value = serde_json::from_slice(&client.exactly(length)).unwrap();
    assert_eq!(body["error"]["type"], "api_log_proxy_error");
    assert_eq!(body["error"]["code"], code);
    body["error"]["message"].as_str().unwrap().to_owned()
}

#[test]
fn a_chunked_answer_that_the_gateway_breaks_off_is_broken_off_for_the_client() {
    let (recorder, _gateway, mut client, mut upstream) = asked();
    upstream.send(STREAM);
    upstream.send(chunk("data: {\"n\":1}\n\n"));
    client.until("\"n\":1}\n\n\r\n");
    upstream.reset();
    let (rest, _) = client.rest();
    assert!(!rest.ends_with("0\r\n\r\n"), "no clean end: {rest:?}");
    let line = ended(recorder, "upstream_gone", 200);
    has_whole_request(&line);
    assert_eq!(line["resp"]["events"][0]["data"], serde_json::json!({"n": 1}));
    assert_eq!(line["resp"]["bytes"], 15);
    assert_eq!(line["resp"]["stream_done"], false);
}

#[test]
fn a_chunked_answer_without_its_end_is_broken_off_for_the_client() {
    let (recorder, _gateway, mut client, mut upstream) = asked();
    upstream.send(STREAM);
    upstream.send(chunk("data: {\"n\":1}\n\n"));
    client.until("\"n\":1}\n\n\r\n");
    upstream.close();
    assert!(!client.rest().0.ends_with("0\r\n\r\n"));
    ended(recorder, "upstream_gone", 200);
}

#[test]
fn an_answer_shorter_than_its_length_is_broken_off_for_the_client() {
    for is_reset in [false, true] {
        let (recorder, _gateway, mut client, mut upstream) = asked();
        upstream.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"half\": ");
        client.until("{\"half\": ");
        if is_reset {
            upstream.reset()
        } else {
            upstream.close()
        }
        assert_eq!(client.rest().0, "");
        let line = ended(recorder, "upstream_gone", 200);
        has_whole_request(&line);
        assert_eq!(line["resp"]["bytes"], 9);
        assert_eq!(line["resp"]["sha256"], sha256("{\"half\": "));
    }
}

#[test]
fn a_broken_chunk_ends_the_answer_for_the_client() {
    let (recorder, _gateway, mut client, mut upstream) = asked();
    upstream.send(STREAM);
    upstream.send(chunk("data: 1\n\n"));
    client.until("data: 1\n\n\r\n");
    upstream.send("zz\r\n");
    assert!(!client.rest().0.ends_with("0\r\n\r\n"));
    ended(recorder, "upstream_gone", 200);
}

#[test]
fn what_comes_together_with_a_break_still_reaches_the_client() {
    let chunks: String = (0..30).map(|number| chunk(&format!("data: {number}\n\n"))).collect();
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"half\": ";
    let streamed = format!("{STREAM}{chunks}");
    for (answer, end) in
        [(streamed.clone() + "zz\r\n", &chunks[..]), (streamed, &chunks), (short.into(), "{\"half\": ")]
    {
        let (recorder, _gateway, mut client, mut upstream) = asked();
        upstream.send(answer);
        upstream.close();
        let (got, _) = client.rest();
        assert!(got.to_lowercase().ends_with(end), "{got:?}");
        ended(recorder, "upstream_gone", 200);
    }
}

#[test]
fn a_client_that_leaves_a_stream_takes_the_gateways_connection_with_it() {
    for is_reset in [false, true] {
        let (recorder, _gateway, mut client, mut upstream) = asked();
        upstream.send(STREAM);
        upstream.send(chunk("data: {\"n\":1}\n\n"));
        client.until("\"n\":1}\n\n\r\n");
        if is_reset {
            client.reset()
        } else {
            client.close()
        }
        // The gateway is told at once, without having sent anything more.
        upstream.ends_without_a_byte();
        let line = ended(recorder, "client_gone", 200);
        has_whole_request(&line);
        assert_eq!(line["resp"]["events"][0]["data"], serde_json::json!({"n": 1}));
    }
}

#[test]
fn a_client_that_leaves_before_the_answer_takes_the_gateways_connection_with_it() {
    let (recorder, _gateway, client, mut upstream) = asked();
    client.close();
    upstream.ends_without_a_byte();
    let line = ended(recorder, "client_gone", -1);
    has_whole_request(&line);
}

#[test]
fn a_client_that_leaves_in_its_upload_takes_the_gateways_connection_with_it() {
    for is_reset in [false, true] {
        let gateway = Gateway::new();
        let recorder = Recorder::start(&gateway);
        let client = recorder.ask("POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf");
        let mut upstream = gateway.accept();
        upstream.until("half");
        if is_reset {
            client.reset()
        } else {
            client.close()
        }
        upstream.ends_without_a_byte();
        let line = ended(recorder, "client_gone", -1);
        assert_eq!(line["req"]["bytes"], 4);
        assert_eq!(line["req"]["sha256"], sha256("half"));
    }
}

#[test]
fn a_client_that_leaves_on_the_terminator_had_all_it_wanted() {
    let (recorder, _gateway, mut client, mut upstream) = asked();
    upstream.send(STREAM);
    upstream.send(chunk("data: {\"choices\":[]}\n\ndata: [DONE]\n\n"));
    client.until("[DONE]\n\n\r\n");
    client.close();
    upstream.ends_without_a_byte();
    let line = ended(recorder, "complete", 200);
    assert_eq!(line["resp"]["stream_done"], true);
}

#[test]
fn an_unreachable_gateway_is_told_at_once() {
    let gateway = Gateway::new();
    let address = gateway.address();
    drop(gateway);
    let data_dir = DataDir::new();
    let upstream = format!("http://{address}");
    let recorder = Recorder::on(data_dir, &[("PROXY_UPSTREAM", &upstream)], &[]);
    let mut client = recorder.ask(ASK);
    let message = own_answer(&mut client, 502, "upstream_unreachable");
    assert!(message.contains(&address.to_string()), "{message}");
    // The connection is still good.
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    own_answer(&mut client, 502, "upstream_unreachable");
    let lines = recorder.finish();
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert_eq!((&line["end"], &line["status"]), (&"upstream_unreachable".into(), &(-1).into()));
        assert_eq!(line["disconnected"], true);
        assert!(line["error"].as_str().unwrap().contains(&address.to_string()), "{line:#}");
    }
}

#[test]
fn a_name_that_nobody_has_is_an_unreachable_gateway() {
    let recorder = Recorder::on(DataDir::new(), &[("PROXY_UPSTREAM", "http://gateway.invalid:1")], &[]);
    let mut client = recorder.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    own_answer(&mut client, 502, "upstream_unreachable");
    ended(recorder, "upstream_unreachable", -1);
}

#[test]
fn a_gateway_that_closes_before_its_answer_is_told() {
    for part in ["", "HTTP/1.1 200 OK\r\nContent-Le"] {
        for is_reset in [false, true] {
            let (recorder, _gateway, mut client, mut upstream) = asked();
            upstream.send(part);
            if is_reset {
                upstream.reset()
            } else {
                upstream.close()
            }
            own_answer(&mut client, 502, "upstream_closed");
            let line = ended(recorder, "upstream_unreachable", -1);
            has_whole_request(&line);
            assert!(line["error"].is_string());
        }
    }
}

#[test]
fn an_answer_that_is_not_http_is_told() {
    let (recorder, _gateway, mut client, mut upstream) = asked();
    upstream.send("SSH-2.0-OpenSSH_9.6\r\n\r\n");
    own_answer(&mut client, 502, "upstream_closed");
    ended(recorder, "upstream_unreachable", -1);
}

#[test]
fn a_gateway_that_gives_no_head_in_time_is_told() {
    let (recorder, _gateway, mut client, mut upstream) = asked_with(&[("TIMEOUTS_RESPONSE_HEADER", "100ms")]);
    own_answer(&mut client, 504, "upstream_timeout");
    upstream.ends_without_a_byte();
    let line = ended(recorder, "upstream_unreachable", -1);
    has_whole_request(&line);
}

#[test]
fn an_upload_may_take_longer_than_the_wait_for_a_head() {
    let gateway = Gateway::new();
    let recorder = Recorder::with(&gateway, &[("TIMEOUTS_RESPONSE_HEADER", "150ms")]);
    let mut client = recorder.ask("POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nhalf");
    let mut upstream = gateway.accept();
    upstream.until("half");
    std::thread::sleep(std::time::Duration::from_millis(400));
    client.send("more");
    upstream.until("more");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert!(client.head().starts_with("HTTP/1.1 200 OK\r\n"));
    client.until("ok");
    ended(recorder, "complete", 200);
}

#[test]
fn a_body_may_take_longer_than_the_wait_for_a_head() {
    let (recorder, _gateway, mut client, mut upstream) = asked_with(&[("TIMEOUTS_RESPONSE_HEADER", "150ms")]);
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    client.head();
    std::thread::sleep(std::time::Duration::from_millis(400));
    upstream.send("ok");
    client.until("ok");
    ended(recorder, "complete", 200);
}

#[test]
fn a_stream_without_bytes_for_too_long_ends_on_both_sides() {
    let (recorder, _gateway, mut client, mut upstream) = asked_with(&[("TIMEOUTS_STREAM_IDLE", "200ms")]);
    upstream.send(STREAM);
    upstream.send(chunk("data: 1\n\n"));
    client.until("data: 1\n\n\r\n");
    assert_eq!(client.ends_without_a_byte(), Ended::InOrder);
    upstream.ends_without_a_byte();
    let line = ended(recorder, "idle_timeout", 200);
    assert_eq!(line["resp"]["events"].as_array().unwrap().len(), 1);
}

#[test]
fn a_header_only_answer_is_complete() {
    let (recorder, _gateway, mut client, mut upstream) = asked();
    upstream.send("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
    let line = ended(recorder, "complete", 202);
    assert_eq!(line["resp"]["body"], Value::Null);
    assert_eq!(line["resp"]["bytes"], 0);
}

#[test]
fn what_passes_is_what_is_recorded_whatever_it_is() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let noise: Vec<u8> = (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut client = recorder.ask(format!("POST /bin HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", noise.len()));
    let (sent, mut sender) = (noise.clone(), client.twin());
    let sending = std::thread::spawn(move || sender.send(sent));
    let (mut upstream, _) = gateway.request();
    assert_eq!(upstream.exactly(noise.len()), noise);
    sending.join().unwrap();
    let (sent, mut sender) = (noise.clone(), upstream.twin());
    let sending = std::thread::spawn(move || {
        sender.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", sent.len()));
        sender.send(sent);
    });
    client.head();
    assert_eq!(client.exactly(noise.len()), noise);
    sending.join().unwrap();
    let line = ended(recorder, "complete", 200);
    for side in ["req", "resp"] {
        use base64::Engine;
        assert_eq!(line[side]["sha256"], sha256(&noise));
        assert_eq!(line[side]["bytes"], noise.len());
        let kept = base64::engine::general_purpose::STANDARD.decode(line[side]["body_b64"].as_str().unwrap()).unwrap();
        assert!(kept == noise, "the body is kept");
    }
}

#[test]
fn a_trace_can_be_read_as_soon_as_it_is_listed() {
    let (recorder, _gateway, mut client, mut upstream) = asked();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{\"a\": 1}");
    assert!(text(&client.until("{\"a\": 1}")).starts_with("HTTP/1.1 200 OK"));
    let rows = recorder.listed(1);
    let id = rows[0]["id"].as_str().unwrap();
    let (_, detail) = recorder.api(&format!("/api/traces/{id}"));
    assert_eq!(detail["row"], rows[0]);
    let line = ended(recorder, "complete", 200);
    assert_eq!(detail["trace"], line);
}
