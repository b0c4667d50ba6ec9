//! Streamed answers that mutators rewrite, event by event, and how they break off.

use serde_json::json;

use crate::mutators::{Encode, asked, brotli, chunked, gzip, names, with, zlib, zstandard};
use crate::recorder::sha256;
use crate::wire::{Ended, Gateway, Wire, text};

/// Streams of the four protocols, an event each, in which the deltas say `a code`, `name` and ` co`; and what becomes of
/// them.
fn streams() -> Vec<(&'static str, Vec<String>, Vec<String>)> {
    let chat = |text: &str| {
        format!("data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    };
    let chat_added =
        "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" co\"},\"finish_reason\":null}]}\n\n";
    let tool = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"codename\"}}]}}]}\n\n";
    let chat_end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    let event = |kind: &str, rest: &str| format!("event: {kind}\r\ndata: {{\"type\":\"{kind}\",{rest}}}\r\n\r\n");
    let block = |text: &str| {
        event("content_block_delta", &format!("\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}"))
    };
    let json = event(
        "content_block_delta",
        "\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"codename\"}",
    );
    let stop = event("content_block_stop", "\"index\":0") + &json + &event("message_stop", "\"x\":1.0");
    let at = "\"item_id\":\"i\",\"output_index\":0,\"content_index\":0";
    let output = |text: &str, number: u32| {
        event("response.output_text.delta", &format!("{at},\"delta\":\"{text}\",\"sequence_number\":{number}"))
    };
    let output_added =
        event("response.output_text.delta", &format!("{at},\"delta\":\" co\",\"logprobs\":[],\"sequence_number\":3"));
    let done = |text: &str| {
        event("response.output_text.done", &format!("{at},\"text\":\"{text}\",\"sequence_number\":4"))
            + &event(
                "response.completed",
                &format!(
                    "\"response\":{{\"output\":[{{\"type\":\"function_call\",\"arguments\":\"codename\"}},{{\"type\":\"message\",\"content\":[{{\"type\":\"output_text\",\"text\":\"{text}\"}}]}}]}}"
                ),
            )
    };
    let part = |text: &str| {
        format!("data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"{text}\"}}]}}}}]}}\r\n\r\n")
    };
    let last = |text: &str| part(text).replace("}]}}]}", "}]},\"finishReason\":\"STOP\"}]}");
    let array =
        |text: &str| format!("{{\"candidates\": [{{\"content\": {{\"parts\": [{{\"text\": \"{text}\"}}]}}}}]}}");
    let array_last = |text: &str| array(text).replace("}]}}]}", "}]},\"finishReason\":\"STOP\"}]}");
    vec![
        (
            "/v1/chat/completions",
            vec![chat("a code"), ": alive\n\n".into(), chat("name"), chat(" co"), tool.into(), chat_end.into()],
            vec![
                chat("a "),
                ": alive\n\n".into(),
                chat("[x]"),
                chat(" "),
                chat_added.replace(" co", "co") + tool,
                chat_end.into(),
            ],
        ),
        (
            "/v1/messages",
            vec![block("a code"), event("ping", "\"x\":1"), block("name"), block(" co"), stop.clone()],
            vec![block("a "), event("ping", "\"x\":1"), block("[x]"), block(" "), block("co") + &stop],
        ),
        (
            "/v1/responses",
            vec![output("a code", 1), output("name", 2), output(" co", 3), done("a codename co")],
            vec![
                output("a ", 1),
                output("[x]", 2),
                output(" ", 3),
                output_added.replace(" co", "co") + &done("a [x] co"),
            ],
        ),
        (
            "/v1/models/m:streamGenerateContent?alt=sse",
            vec![part("a code"), part("name"), part(" co"), last("")],
            vec![part("a "), part("[x]"), part(" "), last("co")],
        ),
        (
            "/v1/models/m:streamGenerateContent",
            vec![
                format!("[{}", array("a code")),
                format!("\r\n,\r\n{}", array("name")),
                format!("\n,{}", array(" co")),
                format!(",{}", array_last("")),
                "\n]\n".into(),
            ],
            vec![
                format!("[{}", array("a ")),
                format!("\r\n,\r\n{}", array("[x]")),
                format!("\n,{}", array(" ")),
                format!(",{}", array_last("co")),
                "\n]\n".into(),
            ],
        ),
    ]
}

/// The data of a chunked body that is not at its end.
fn next_chunk(wire: &mut Wire) -> Vec<u8> {
    let size = wire.until("\r\n");
    let count = usize::from_str_radix(text(&size).trim(), 16).unwrap();
    let data = wire.exactly(count);
    wire.until("\r\n");
    data
}

#[test]
fn streams_are_rewritten_event_by_event_and_recorded_as_they_went_on() {
    let gateway = Gateway::new();
    let recorder = with(&gateway, json!([names()]), &[]);
    let mut expected = Vec::new();
    for (path, events, rewritten) in streams() {
        let (mut client, mut upstream) = asked(&gateway, &recorder, path);
        let kind = if path.ends_with("streamGenerateContent") { "application/json" } else { "text/event-stream" };
        upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"));
        // The head is here before any event.
        client.head();
        let mut got = Vec::new();
        for (event, becomes) in events.iter().zip(&rewritten) {
            upstream.send(chunked(event.as_bytes()));
            // Each event arrives before the next one has been sent.
            let mut came = Vec::new();
            while came.len() < becomes.len() {
                came.extend(next_chunk(&mut client));
            }
            assert_eq!(text(&came), *becomes, "{path}");
            got.extend(came);
        }
        upstream.send("0\r\n\r\n");
        assert_eq!(client.chunked(), "0\r\n\r\n");
        expected.push(got);
    }
    for (line, got) in recorder.finish().iter().zip(expected) {
        assert_eq!((&line["end"], &line["disconnected"]), (&json!("complete"), &json!(false)), "{line:#}");
        assert_eq!((&line["resp"]["bytes"], &line["resp"]["sha256"]), (&got.len().into(), &sha256(&got).into()));
        assert_eq!(line["plugins"].as_array().unwrap().len(), 1, "{line:#}");
        assert_eq!(line["plugins"][0]["hook"], "after");
    }
}

#[test]
fn coded_streams_are_undone_and_sent_plain() {
    let gateway = Gateway::new();
    let recorder = with(&gateway, json!([names()]), &[]);
    let codings: [(&str, Encode); 4] = [("gzip", gzip), ("br", brotli), ("deflate", zlib), ("zstd", zstandard)];
    for (path, events, rewritten) in streams() {
        for (coding, encode) in codings {
            let (mut client, mut upstream) = asked(&gateway, &recorder, path);
            let kind = if path.ends_with("streamGenerateContent") { "application/json" } else { "text/event-stream" };
            let body = encode(events.concat().as_bytes());
            upstream.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\nX: 1\r\n\r\n",
                body.len()
            ));
            for piece in body.chunks(11) {
                upstream.send(piece);
            }
            let head = client.head();
            assert_eq!(
                head,
                format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nX: 1\r\ntransfer-encoding: chunked\r\n\r\n")
            );
            let mut got = Vec::new();
            while got.len() < rewritten.concat().len() {
                got.extend(next_chunk(&mut client));
            }
            assert_eq!(text(&got), rewritten.concat());
            client.until("0\r\n\r\n");
        }
    }
    for line in recorder.finish() {
        assert!(line["resp"].get("content_decoded").is_none() && line["resp"]["events"].is_array(), "{line:#}");
        assert_eq!((&line["end"], &line["resp"]["headers"]["X"]), (&json!("complete"), &json!("1")));
        assert!(line["resp"]["headers"].get("Content-Encoding").is_none());
    }
}

#[test]
fn a_break_is_passed_on_as_a_break() {
    let gateway = Gateway::new();
    let recorder = with(&gateway, json!([names()]), &[]);
    // In a stream: what is held back goes out before.
    let (mut client, mut upstream) = asked(&gateway, &recorder, "/v1/messages");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
    let block = |text: &str| {
        format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
        )
    };
    upstream.send(chunked(block("a code").as_bytes()));
    client.head();
    assert_eq!(text(&next_chunk(&mut client)), block("a "));
    upstream.send(chunked(b"event: half"));
    upstream.reset();
    let (rest, _) = client.rest();
    let expected = [block("code").as_bytes(), b"event: half"].concat();
    assert_eq!(rest.as_bytes(), chunked(&expected), "and no last chunk");
    // In a whole answer: what had come.
    let (mut client, mut upstream) = asked(&gateway, &recorder, "/v1/messages");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{\"content\":");
    upstream.close();
    let (rest, ended) = client.rest();
    assert!(rest.contains("Content-Length: 99") && rest.ends_with("{\"content\":"), "{rest}");
    assert_eq!(ended, Ended::InOrder);
    let lines = recorder.finish();
    let ends: Vec<_> = lines.iter().map(|line| line["end"].as_str().unwrap()).collect();
    assert_eq!(ends, ["upstream_gone"; 2]);
    assert_eq!(lines[1]["resp"]["bytes"], 11);
}

#[test]
fn gateways_that_call_streams_json_and_json_a_stream_are_understood() {
    let gateway = Gateway::new();
    let recorder = with(&gateway, json!([names()]), &[]);
    let (mut client, mut upstream) = asked(&gateway, &recorder, "/v1/chat/completions");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = |text: &str| {
        format!("data: {{\"id\":\"c\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    };
    upstream.send(chunked(chunk("code").as_bytes()));
    client.head();
    assert_eq!(text(&next_chunk(&mut client)), chunk(""));
    upstream.send(chunked(chunk("name").as_bytes()));
    assert_eq!(text(&next_chunk(&mut client)), chunk("[x]"));
    upstream.send("0\r\n\r\n");
    client.until("0\r\n\r\n");
    upstream.close();
    let (mut client, mut upstream) = asked(&gateway, &recorder, "/v1/chat/completions");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 48\r\n\r\n");
    upstream.send(r#"{"choices":[{"message":{"content":"codename"}}]}"#);
    client.until(r#"{"choices":[{"message":{"content":"[x]"}}]}"#);
    client.until("0\r\n\r\n");
    assert!(recorder.finish().iter().all(|line| line["plugins"][0]["action"] == "mutate"));
}
