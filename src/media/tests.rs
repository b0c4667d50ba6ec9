//! Attachments in the bodies of every protocol.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::headers::Headers;
use crate::protocol::Protocol;
use crate::trace::view::{Answer, EventData, EventView, TraceView};

fn found_in(protocol: Protocol, request: &str, answer: Answer<'_>) -> Vec<Attachment> {
    let headers = Headers::new();
    let view = TraceView {
        method: "POST",
        target: "/",
        status: Some(200),
        request_headers: &headers,
        response_headers: &headers,
        request_json: Some(request),
        answer,
    };
    attachments(protocol, &view)
}

/// `<text>.<extension>` of each attachment.
fn named(found: Vec<Attachment>) -> Vec<String> {
    let name = |it: Attachment| format!("{}.{}", String::from_utf8(it.bytes).unwrap(), it.extension);
    found.into_iter().map(name).collect()
}

fn in_request(protocol: Protocol, request: Value) -> Vec<String> {
    named(found_in(protocol, &request.to_string(), Answer::None))
}

fn in_answer(protocol: Protocol, request: Value, answer: Value) -> Vec<String> {
    named(found_in(protocol, &request.to_string(), Answer::Json(&answer.to_string())))
}

fn in_events(protocol: Protocol, request: Value, events: &[(&str, Value)]) -> Vec<String> {
    let texts: Vec<_> = events.iter().map(|(name, data)| (*name, data.to_string())).collect();
    let events: Vec<_> = texts.iter().map(|(name, text)| EventView { name, data: EventData::Json(text) }).collect();
    named(found_in(protocol, &request.to_string(), Answer::Events(&events)))
}

fn base64(text: &str) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text)
}

fn data_url(mime: &str, text: &str) -> String {
    format!("data:{mime};base64,{}", base64(text))
}

fn source(mime: &str, text: &str) -> Value {
    json!({"type": "base64", "media_type": mime, "data": base64(text)})
}

#[test]
fn chat_carriers() {
    let request = json!({"audio": {"format": "mp3"}, "messages": [
        {"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": data_url("image/png", "a")}},
            {"type": "image_url", "image_url": {"url": "https://example.com/x.png"}},
            {"type": "image_url", "image_url": data_url("image/gif", "b")},
            {"type": "input_audio", "input_audio": {"data": base64("c"), "format": "wav"}},
            {"type": "file", "file": {"filename": "x.exe", "file_data": data_url("application/pdf", "d")}},
            {"type": "file", "file": {"file_data": base64("%PDF-1")}},
            {"type": "file", "file": {"file_id": "file-1"}},
            {"image_url": {"url": base64("e")}},
        ]},
        {"role": "tool", "content": [{"type": "image_url", "image_url": {"url": data_url("image/webp", "f")}}]},
    ]});
    let answer = json!({"choices": [{"message": {"content": "x", "audio": {"data": base64("g")},
        "images": [{"type": "image_url", "image_url": {"url": data_url("image/png", "h")}}]}}]});
    assert_eq!(
        in_answer(Protocol::Chat, request, answer),
        ["a.png", "b.gif", "c.wav", "d.pdf", "%PDF-1.pdf", "e.bin", "f.webp", "g.mp3", "h.png"]
    );
}

#[test]
fn the_audio_of_a_chat_stream_is_one_attachment() {
    let delta = |index: u64, delta: Value| ("", json!({"choices": [{"index": index, "delta": delta}]}));
    let events = [
        delta(0, json!({"audio": {"data": base64("one ")}})),
        delta(1, json!({"audio": {"data": base64("other")}})),
        delta(0, json!({"images": [{"type": "image_url", "image_url": {"url": data_url("image/png", "i")}}]})),
        delta(0, json!({"audio": {"data": base64("voice")}})),
        delta(0, json!({"audio": {"transcript": "x"}})),
    ];
    let request = json!({"audio": {"format": "opus"}});
    assert_eq!(in_events(Protocol::Chat, request, &events), ["i.png", "one voice.opus", "other.opus"]);
}

#[test]
fn messages_carriers() {
    let request = json!({
        "messages": [
            {"role": "user", "content": [
                {"type": "image", "source": source("image/png", "a")},
                {"type": "image", "source": {"type": "url", "url": "https://example.com"}},
                {"type": "document", "source": {"type": "text", "data": "aGk=", "media_type": "text/plain"}},
                {"type": "document", "source": source("application/pdf", "b")},
                {"type": "tool_result", "content": [{"type": "image", "source": source("image/jpeg", "c")}]},
                {"type": "web_fetch_tool_result", "content": {"type": "web_fetch_result",
                    "content": {"type": "document", "source": source("application/pdf", "d")}}},
            ]},
            {"role": "user", "content": "text"},
        ],
        "system": [{"type": "image", "source": source("image/gif", "e")}],
    });
    let answer = json!({"content": [{"type": "image", "source": source("image/webp", "f")}]});
    let expected = ["a.png", "b.pdf", "c.jpg", "d.pdf", "e.gif", "f.webp"];
    assert_eq!(in_answer(Protocol::Messages, request, answer), expected);
    let block = json!({"type": "image", "source": source("image/png", "g")});
    let start = json!({"type": "content_block_start", "index": 0, "content_block": block});
    assert_eq!(in_events(Protocol::Messages, json!({}), &[("content_block_start", start)]), ["g.png"]);
    assert_eq!(
        in_events(Protocol::Messages, json!({}), &[("content_block_start", json!({"content_block": block}))]),
        ["g.png"]
    );
}

#[test]
fn what_a_tool_is_given_is_no_attachment() {
    let input = json!({"source": source("image/png", "x"), "image_url": {"url": base64("x")},
        "type": "image", "data": base64("x"), "content": [{"type": "image", "source": source("image/png", "x")}]});
    let arguments = input.to_string();
    let messages = json!([{"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": input}],
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": arguments}}]}]);
    let tools = json!([{"name": "f", "input_schema": input, "parameters": input}]);
    for protocol in [Protocol::Chat, Protocol::Messages] {
        let body = json!({"messages": messages, "tools": tools, "metadata": input});
        assert!(in_request(protocol, body).is_empty());
    }
    let call = json!({"type": "function_call", "arguments": arguments, "input": input});
    assert!(
        in_answer(Protocol::Responses, json!({"input": [call], "tools": tools}), json!({"output": [call]})).is_empty()
    );
    let part = json!({"functionCall": {"name": "f", "args": {"inlineData": {"data": base64("x")}}}});
    assert!(in_request(Protocol::Gemini, json!({"contents": [{"parts": [part]}]})).is_empty());
    assert!(
        in_request(
            Protocol::Unknown,
            json!({"messages": [{"content": [{"type": "image", "source": source("a/b", "x")}]}]})
        )
        .is_empty()
    );
}

#[test]
fn responses_carriers() {
    let request = json!({"input": [
        {"role": "user", "content": [
            {"type": "input_image", "image_url": data_url("image/png", "a")},
            {"type": "input_image", "image_url": {"url": data_url("image/png", "b")}},
            {"type": "input_image", "file_id": "file-1", "image_url": "https://example.com"},
            {"type": "input_file", "filename": "x", "file_data": data_url("application/pdf", "c")},
            {"type": "input_file", "file_data": base64("GIF89a")},
        ]},
        {"type": "message", "role": "user", "content": [
            {"type": "input_audio", "input_audio": {"data": base64("d"), "format": "mp3"}}]},
        {"type": "function_call_output", "output": [{"type": "input_image", "image_url": data_url("image/gif", "e")}]},
        {"type": "function_call_output", "output": "text"},
        {"type": "computer_call_output",
            "output": {"type": "computer_screenshot", "image_url": data_url("image/png", "f")}},
        {"type": "image_generation_call", "result": base64("g"), "output_format": "webp"},
    ]});
    let answer = json!({"output": [
        {"type": "image_generation_call", "result": base64("h")},
        {"type": "code_interpreter_call", "outputs": [{"type": "image", "url": data_url("image/png", "i")},
            {"type": "image", "url": "https://example.com"}, {"type": "logs", "logs": "x"}]},
    ]});
    assert_eq!(
        in_answer(Protocol::Responses, request, answer),
        ["a.png", "b.png", "c.pdf", "GIF89a.gif", "d.mp3", "e.gif", "f.png", "g.webp", "h.png", "i.png"]
    );
}

#[test]
fn a_responses_stream_gives_each_image_once() {
    let item = json!({"type": "image_generation_call", "result": base64("whole"), "output_format": "jpeg"});
    let partial = json!({"type": "response.image_generation_call.partial_image",
        "partial_image_b64": base64("half"), "output_format": "webp"});
    let done = json!({"type": "response.output_item.done", "item": item});
    let completed = json!({"type": "response.completed", "response": {"output": [item]}});
    let events = [("", partial), ("", done), ("", completed.clone())];
    assert_eq!(in_events(Protocol::Responses, json!({}), &events), ["half.webp", "whole.jpg"]);
    assert_eq!(in_events(Protocol::Responses, json!({}), &[("response.completed", completed)]), ["whole.jpg"]);
}

#[test]
fn gemini_carriers_in_document_order() {
    let inline = |text: &str| json!({"inlineData": {"mimeType": "image/png", "data": base64(text)}});
    // serde_json would sort the members.
    let request = format!(
        r#"{{"systemInstruction":{{"parts":{}}},"contents":[{{"parts":[{},{{"fileData":{{"fileUri":"gs://x"}}}},{}]}}]}}"#,
        inline("z"),
        inline("a"),
        json!({"inline_data": {"mime_type": "audio/mp3", "data": base64("b")}})
    );
    assert_eq!(named(found_in(Protocol::Gemini, &request, Answer::None)), ["z.png", "a.png", "b.mp3"]);
    let response = json!({"functionResponse": {"name": "f", "parts": [inline("c")]}});
    assert_eq!(in_request(Protocol::Gemini, json!({"contents": {"parts": [response]}})), ["c.png"]);
    let element = |text: &str| json!({"candidates": [{"content": {"parts": [{"text": "x"}, inline(text)]}}]});
    assert_eq!(in_answer(Protocol::Gemini, json!({}), element("d")), ["d.png"]);
    assert_eq!(in_answer(Protocol::Gemini, json!({}), json!([element("e"), element("f")])), ["e.png", "f.png"]);
    assert_eq!(in_events(Protocol::Gemini, json!({}), &[("", element("g")), ("", element("h"))]), ["g.png", "h.png"]);
}

#[test]
fn images_carriers() {
    let data = json!([{"b64_json": base64("a")}, {"url": "https://example.com"}, {"b64_json": base64("b")}]);
    assert_eq!(in_answer(Protocol::Images, json!({}), json!({"data": data})), ["a.png", "b.png"]);
    let asked = json!({"output_format": "webp"});
    assert_eq!(in_answer(Protocol::Images, asked.clone(), json!({"data": data})), ["a.webp", "b.webp"]);
    let answer = json!({"data": data, "output_format": "jpeg"});
    assert_eq!(in_answer(Protocol::Images, asked.clone(), answer), ["a.jpg", "b.jpg"]);
    let events = [
        ("", json!({"type": "image_generation.partial_image", "b64_json": base64("a"), "output_format": "jpeg"})),
        ("image_edit.completed", json!({"b64_json": base64("b")})),
        ("other", json!({"b64_json": base64("c")})),
    ];
    assert_eq!(in_events(Protocol::Images, asked, &events), ["a.jpg", "b.webp"]);
}

#[test]
fn a_line_read_back_gives_what_the_fresh_body_gave() {
    let body = json!({"messages": [{"role": "user", "content": [
        {"type": "image", "source": source("image/png", "a")},
        {"type": "image_url", "image_url": {"url": data_url("image/gif", "b")}},
    ]}]});
    let fresh = serde_json::to_string_pretty(&body).unwrap().replace('\n', "\r\n");
    let stored = fresh.replace(['\r', '\n'], "");
    let found = found_in(Protocol::Chat, &fresh, Answer::None);
    assert_eq!(found.len(), 2);
    assert_eq!(found, found_in(Protocol::Chat, &stored, Answer::None));
    let escaped = stored.replace('/', "\\/");
    assert_eq!(found, found_in(Protocol::Chat, &escaped, Answer::None), "some encoders escape slashes");
}

#[test]
fn hostile_depth_is_survived() {
    let deep = r#"{"type":"tool_result","content":["#.repeat(100_000);
    let request = format!(r#"{{"messages":[{deep}"base64""#);
    assert!(found_in(Protocol::Messages, &request, Answer::None).is_empty());
}

proptest! {
    #[test]
    fn odd_text_never_panics(
        text in "([\\[\\]{}\",: 0-9]|\"(messages|input|contents|parts|inlineData|data|content|choices|delta|source|base64|image_url|b64_json)\"|\\PC){0,60}",
        protocol in prop::sample::select(vec![
            Protocol::Chat, Protocol::Messages, Protocol::Responses, Protocol::Gemini, Protocol::Images])
    ) {
        let events = [EventView { name: "", data: EventData::Json(&text) }];
        for answer in [Answer::Json(&text), Answer::Events(&events)] {
            found_in(protocol, &text, answer);
        }
    }
}
