//! Requests and answers that mutators rewrite, on bare sockets: what the gateway and the client get, and what is
//! recorded of it.

use std::io::Write;

use serde_json::{Value, json};

use crate::recorder::{DataDir, Recorder, sha256};
use crate::wire::{Gateway, Wire, text, values};

/// A recorder with these instances.
pub(crate) fn with(gateway: &Gateway, instances: Value, settings: &[(&str, &str)]) -> Recorder {
    let data_dir = DataDir::new();
    let overrides = json!({"plugins": {"instances": instances}});
    std::fs::write(data_dir.path().join("runtime_overrides.json"), overrides.to_string()).unwrap();
    let upstream = format!("http://{}", gateway.address());
    let mut all = vec![("PROXY_UPSTREAM", upstream.as_str())];
    all.extend(settings);
    Recorder::on(data_dir, &all, &[])
}

/// Replaces a code name in both directions.
pub(crate) fn names() -> Value {
    let rules = json!([{"match": "codename", "replace": "[x]"}]);
    json!({"type": "text-replace", "id": "names", "enabled": true, "config": {"routes": ["/v1/*"], "up": rules, "down": rules}})
}

fn foot() -> Value {
    json!({"type": "text-append", "id": "foot", "enabled": true, "config": {"down": {"suffix": "!"}}})
}

/// An exchange up to where the gateway has the request, whose body is `{}`.
pub(crate) fn asked(gateway: &Gateway, recorder: &Recorder, path: &str) -> (Wire, Wire) {
    let head = "Host: h\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n";
    let client = recorder.ask(format!("POST {path} HTTP/1.1\r\n{head}{{}}"));
    let (mut upstream, _) = gateway.request();
    upstream.exactly(2);
    (client, upstream)
}

pub(crate) fn chunked(body: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
}

/// Puts a body into a coding.
pub(crate) type Encode = fn(&[u8]) -> Vec<u8>;

pub(crate) fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn brotli(plain: &[u8]) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
    encoder.write_all(plain).unwrap();
    encoder.into_inner()
}

pub(crate) fn zstandard(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 3).unwrap()
}

pub(crate) fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// The four protocols: a path, a request and an answer in which `codename` stands in a text and in a tool's argument.
const SPEAKERS: [(&str, &str, &str); 4] = [
    (
        "/v1/chat/completions",
        r#"{"messages":[{"role":"user","content":"@"},{"role":"assistant","tool_calls":[{"function":{"arguments":"codename"}}]}],"seed":12345678901234567890}"#,
        r#"{"choices":[{"index":0,"message":{"content":"@","tool_calls":[{"function":{"arguments":"codename"}}]}}],"x":1.0}"#,
    ),
    (
        "/v1/messages?beta=true",
        r#"{"system":"codename","messages":[{"role":"user","content":[{"type":"text","text":"@"}]},{"role":"user","content":[{"type":"tool_result","content":"codename"}]}]}"#,
        r#"{"content":[{"type":"thinking","thinking":"codename","signature":"s"},{"type":"text","text":"@"},{"type":"tool_use","input":{"a":"codename"}}]}"#,
    ),
    (
        "/v1/responses",
        r#"{"instructions":"codename","input":[{"role":"user","content":"@"},{"type":"function_call_output","output":"codename"}]}"#,
        r#"{"output":[{"type":"function_call","call_id":"c","arguments":"codename"},{"type":"message","content":[{"type":"output_text","text":"@","annotations":[]}]}]}"#,
    ),
    (
        "/v1/models/m:generateContent",
        r#"{"contents":[{"parts":[{"text":"@"},{"functionResponse":{"response":{"a":"codename"}}}]}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":"@"},{"functionCall":{"args":{"a":"codename"}}}]}}]}"#,
    ),
];

#[test]
fn requests_and_answers_of_each_protocol_are_rewritten_and_recorded_as_they_went_on() {
    let gateway = Gateway::new();
    let recorder = with(&gateway, json!([names()]), &[]);
    let codings: [(&str, Encode); 5] =
        [("", |it| it.to_vec()), ("gzip", gzip), ("br", brotli), ("deflate", zlib), ("zstd", zstandard)];
    let mut expected = Vec::new();
    for (path, request, answer) in SPEAKERS {
        for (coding, encode) in codings {
            let (asked, said) = (request.replace('@', "a codename"), answer.replace('@', "the codename"));
            let (sent, got) = (request.replace('@', "a [x]"), answer.replace('@', "the [x]"));
            let field = if coding.is_empty() { String::new() } else { format!("Content-Encoding: {coding}\r\n") };
            let body = encode(asked.as_bytes());
            let mut client = recorder.ask(format!(
                "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nCONTENT-Length: {}\r\n{field}X-Mine: 1\r\nDigest: d\r\n\r\n",
                body.len()
            ));
            client.send(&body);
            let (mut upstream, head) = gateway.request();
            assert_eq!(values(&head, "content-length"), [sent.len().to_string()], "{head}");
            assert_eq!([values(&head, "content-encoding"), values(&head, "digest")], [[""; 0], [""; 0]]);
            assert_eq!(values(&head, "x-mine"), ["1"]);
            assert_eq!(text(&upstream.exactly(sent.len())), sent);
            let body = encode(said.as_bytes());
            upstream.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{field}ETag: \"e\"\r\nContent-LENGTH: {}\r\nX-Its: 2\r\n\r\n",
                body.len()
            ));
            upstream.send(&body);
            let expected_head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-LENGTH: {}\r\nX-Its: 2\r\n\r\n",
                got.len()
            );
            assert_eq!(client.head(), expected_head);
            assert_eq!(text(&client.exactly(got.len())), got);
            // The recorder has noticed that this connection ended before it may choose one for the next request.
            upstream.half_close();
            upstream.ends_without_a_byte();
            expected.push((sent, got));
        }
    }
    let lines = recorder.finish();
    assert_eq!(lines.len(), expected.len());
    for (line, (sent, got)) in lines.iter().zip(expected) {
        assert_eq!((&line["end"], &line["status"]), (&json!("complete"), &json!(200)), "{line:#}");
        for (side, body) in [("req", sent), ("resp", got)] {
            assert_eq!(line[side]["sha256"], sha256(&body));
            assert_eq!(line[side]["body"], serde_json::from_str::<Value>(&body).unwrap());
            let headers = line[side]["headers"].as_object().unwrap();
            let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length")).unwrap();
            assert_eq!(*length.1, body.len().to_string());
            assert!(line[side].get("content_decoded").is_none());
            assert!(!headers.keys().any(|it| ["content-encoding", "etag", "digest"].contains(&&*it.to_lowercase())));
        }
        let note = |hook: &str| json!({"id": "names", "type": "text-replace", "hook": hook, "action": "mutate"});
        assert_eq!(line["plugins"], json!([note("before"), note("after")]));
    }
}

/// Sends an answer and sees that it passes as it is.
#[track_caller]
fn passes(gateway: &Gateway, recorder: &Recorder, method: &str, head: &str, body: &[u8]) {
    let asks = "Host: h\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let mut client = recorder.ask(format!("{method} /v1/chat/completions HTTP/1.1\r\n{asks}"));
    let (mut upstream, _) = gateway.request();
    upstream.exactly(2);
    upstream.send(format!("HTTP/1.1 {head}\r\n\r\n"));
    upstream.send(body);
    upstream.close();
    assert_eq!(client.head(), format!("HTTP/1.1 {head}\r\n\r\n"));
    assert_eq!(client.exactly(body.len()), body);
}

#[test]
fn what_is_never_touched_passes_byte_for_byte() {
    let gateway = Gateway::new();
    let recorder = with(&gateway, json!([names(), foot()]), &[("STORAGE_MAX_BODY_BYTES", "4KiB")]);
    let said = br#"{"choices":[{"message":{"content":"codename"}}]}"#;
    let json = "Content-Type: application/json\r\n";
    let sized = |status: &str, more: &str, length: usize| format!("{status}\r\n{more}Content-Length: {length}");
    passes(&gateway, &recorder, "POST", &sized("500 No", json, said.len()), said);
    passes(&gateway, &recorder, "POST", &sized("200 OK", "Content-Type: text/html\r\n", said.len()), said);
    passes(&gateway, &recorder, "POST", &sized("200 OK", "", said.len()), said);
    passes(&gateway, &recorder, "HEAD", &sized("200 OK", json, 999), b"");
    passes(&gateway, &recorder, "POST", "204 No Content\r\nContent-Type: application/json", b"");
    passes(&gateway, &recorder, "POST", &sized("206 Part", json, said.len()), said);
    // Not what it says.
    passes(&gateway, &recorder, "POST", &sized("200 OK", json, 9), b"{\"choices");
    passes(
        &gateway,
        &recorder,
        "POST",
        &sized("200 OK", &format!("{json}Content-Encoding: gzip\r\nETag: e\r\n"), said.len()),
        said,
    );
    passes(
        &gateway,
        &recorder,
        "POST",
        &sized("200 OK", &format!("{json}Content-Encoding: magic\r\n"), said.len()),
        said,
    );
    let events = "Content-Type: text/event-stream\r\nContent-Encoding: br\r\n";
    passes(&gateway, &recorder, "POST", &sized("200 OK", events, 12), b"data: {}\n\n\n\n");
    // Larger than is gathered, whether that is known before or not.
    let large = format!("{{\"choices\":[{{\"message\":{{\"content\":\"{}codename\"}}}}]}}", "x".repeat(5000));
    passes(&gateway, &recorder, "POST", &sized("200 OK", json, large.len()), large.as_bytes());
    let lines = recorder.finish();
    let reasons: Vec<_> = lines.iter().map(|line| &line["plugin_errors"][0]["msg"]).collect();
    assert_eq!(reasons[..7], [&Value::Null; 7]);
    let reasons: Vec<_> = reasons[7..].iter().map(|it| it.as_str().unwrap()).collect();
    let expected = [
        "the body cannot be decoded",
        "the body is of an unknown coding",
        "the stream cannot be decoded",
        "the body is larger than storage.max_body_bytes",
    ];
    assert_eq!(reasons, expected);
    assert!(lines.iter().all(|line| line.get("plugins").is_none()));
}

#[test]
fn large_bodies_of_unknown_length_are_replayed_in_both_directions() {
    let gateway = Gateway::new();
    let recorder = with(&gateway, json!([names()]), &[("STORAGE_MAX_BODY_BYTES", "4KiB")]);
    let large = format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{}codename\"}}]}}", "x".repeat(100_000));
    let fields = "Host: h\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut client = recorder.ask(format!("POST /v1/chat/completions HTTP/1.1\r\n{fields}"));
    for piece in large.as_bytes().chunks(3000) {
        client.send(chunked(piece));
    }
    client.send("0\r\n\r\n");
    let (mut upstream, head) = gateway.request();
    assert_eq!(values(&head, "transfer-encoding"), ["chunked"]);
    let got = upstream.chunked();
    let data: String = got.split("\r\n").skip(1).step_by(2).collect();
    assert!(data == large, "the request passes whole");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    for piece in large.as_bytes().chunks(3000) {
        upstream.send(chunked(piece));
    }
    upstream.send("0\r\n\r\n");
    assert_eq!(values(&client.head(), "transfer-encoding"), ["chunked"]);
    let data: String = client.chunked().split("\r\n").skip(1).step_by(2).collect();
    assert!(data == large, "the answer passes whole");
    let line = recorder.finish_with_one();
    assert_eq!(
        (&line["end"], &line["truncated_req"], &line["req"]["bytes"]),
        (&json!("complete"), &json!(true), &json!(large.len()))
    );
    assert_eq!(line["plugin_errors"].as_array().unwrap().len(), 2);
}

#[test]
fn without_memory_a_body_passes_as_it_came() {
    let gateway = Gateway::new();
    let recorder =
        with(&gateway, json!([names()]), &[("CAPTURE_MEMORY_BYTES", "1MiB"), ("CAPTURE_SPILL_BYTES", "1MiB")]);
    let (mut client, mut upstream) = asked(&gateway, &recorder, "/v1/messages");
    let large = format!("{{\"content\":[{{\"type\":\"text\",\"text\":\"{}codename\"}}]}}", "x".repeat(3 << 20));
    upstream
        .send(format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", large.len()));
    let sending = {
        let (mut upstream, large) = (upstream.twin(), large.clone());
        std::thread::spawn(move || upstream.send(large))
    };
    assert_eq!(values(&client.head(), "content-length"), [large.len().to_string()]);
    assert!(client.exactly(large.len()) == large.as_bytes(), "the answer passes whole");
    sending.join().unwrap();
    let line = recorder.finish_with_one();
    assert_eq!((&line["end"], &line["resp"]["bytes"]), (&json!("complete"), &json!(large.len())));
    assert_eq!(line["plugin_errors"][0]["msg"], "there is no memory for the body");
}

#[test]
fn the_connection_serves_on_behind_a_rewritten_request() {
    let gateway = Gateway::new();
    let recorder = with(&gateway, json!([names(), foot()]), &[]);
    let mut client = recorder.client();
    let mut upstream = None;
    let body = r#"{"messages":[{"role":"user","content":"codename"}]}"#;
    for round in 0..3 {
        // Sized, then in chunks, whose end only the reader of the body knows.
        let is_chunked = round == 1;
        let (field, sent) = match is_chunked {
            true => {
                ("Transfer-Encoding: chunked".to_owned(), [chunked(body.as_bytes()), b"0\r\n\r\n".to_vec()].concat())
            }
            false => (format!("Content-Length: {}", body.len()), body.into()),
        };
        client.send(format!("POST /v1/chat/completions HTTP/1.1\r\nHOST: h\r\nX-Round: {round}\r\n{field}\r\n\r\n"));
        client.send(sent);
        let upstream = upstream.get_or_insert_with(|| gateway.accept());
        assert_eq!(values(&upstream.head(), "content-length"), ["46"]);
        upstream.until("[x]\"}]}");
        upstream.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
        upstream.send(chunked(br#"{"choices":[{"message":{"content":"hi"}}]}"#));
        upstream.send("0\r\n\r\n");
        let head = client.head();
        assert_eq!((values(&head, "content-length"), values(&head, "transfer-encoding")), (vec!["43"], vec![]));
        client.until("hi!\"}}]}");
    }
    for (round, line) in recorder.finish().iter().enumerate() {
        assert_eq!(line["req"]["headers"]["X-Round"], round.to_string(), "{line:#}");
        assert_eq!(line["plugins"].as_array().unwrap().len(), 2);
        assert_eq!(line["end"], "complete");
    }
}

#[test]
fn a_client_that_leaves_while_a_body_is_gathered_leaves_a_trace() {
    let gateway = Gateway::new();
    let recorder = with(&gateway, json!([names()]), &[]);
    let client = recorder
        .ask("POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{");
    client.reset();
    recorder.listed(1);
    let (client, mut upstream) = asked(&gateway, &recorder, "/v1/messages");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{");
    client.close();
    recorder.listed(2);
    upstream.close();
    for line in recorder.finish() {
        assert_eq!(line["end"], "client_gone", "{line:#}");
    }
}
