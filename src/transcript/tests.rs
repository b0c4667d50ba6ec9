//! What the fixtures of the wire do not hold: tools and their results, thoughts, attachments, in every protocol.

use serde_json::{Value, json};

use super::*;
use crate::headers::Headers;
use crate::trace::view::{EventData, EventView};

fn said(protocol: Protocol, request: &Value, answer: Answer<'_>) -> String {
    let headers = Headers::new();
    let request = request.to_string();
    let view = TraceView {
        method: "POST",
        target: "/",
        status: Some(200),
        request_headers: &headers,
        response_headers: &headers,
        request_json: Some(&request),
        answer,
    };
    let transcript = Transcript::of_view(protocol, &view);
    for message in &transcript.request {
        let place = message.place.clone().expect("a message of a request has its place");
        assert!(serde_json::from_str::<Value>(&request[place]).is_ok());
    }
    layout::conversation(&transcript).plain()
}

fn answered(protocol: Protocol, request: &Value, answer: &Value) -> String {
    said(protocol, request, Answer::Json(&answer.to_string()))
}

fn streamed(protocol: Protocol, events: &[Value]) -> String {
    let texts: Vec<String> = events.iter().map(Value::to_string).collect();
    let events: Vec<EventView<'_>> =
        texts.iter().map(|text| EventView { name: "", data: EventData::Json(text) }).collect();
    said(protocol, &json!({}), Answer::Events(&events))
}

#[test]
fn chat_with_tools_and_a_picture() {
    let request = json!({
        "model": "m", "tools": [{"type": "function", "function": {"name": "grep", "parameters": {}}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "grep", "arguments": "{\"for\":\"x\"}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "line 1\nline 2"}
        ]
    });
    let answer = json!({"choices": [{"index": 0, "finish_reason": "stop", "message":
        {"role": "assistant", "reasoning_content": "hm", "content": "found", "refusal": null}}]});
    assert_eq!(
        answered(Protocol::Chat, &request, &answer),
        "tools grep
settings model=\"m\"

user
  look
  [0.png image/png, 2 bytes]
  [https://example.com/a.png]

assistant
  call grep  [c1]
    {\"for\":\"x\"}

tool
  result  [c1]
    line 1
    line 2

▶ assistant  (stop)
  reasoning
    hm
  found
"
    );
}

#[test]
fn messages_with_thoughts_and_a_tool_that_failed() {
    let request = json!({
        "system": [{"type": "text", "text": "rules"}],
        "messages": [
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "let me see", "signature": "s"},
                {"type": "tool_use", "id": "t1", "name": "read", "input": {"path": "a"}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "is_error": true,
                "content": [{"type": "text", "text": "no such file"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "aGk="}}]}]}
        ]
    });
    let answer = json!({"type": "message", "role": "assistant", "content": [{"type": "text", "text": "sorry"}],
        "stop_reason": "end_turn"});
    let expected = "
system
  rules

assistant
  reasoning
    let me see
  call read  [t1]
    {\"path\":\"a\"}

user
  result  [t1] failed
    no such file
    [0.jpg image/jpeg, 2 bytes]

▶ assistant  (end_turn)
  sorry
";
    assert_eq!(answered(Protocol::Messages, &request, &answer), expected);
}

#[test]
fn responses_with_items_of_every_kind() {
    let request = json!({
        "instructions": "rules", "tools": [{"type": "function", "name": "grep"}, {"type": "web_search"}],
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "go"}]},
            {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "thinking"}]},
            {"type": "function_call", "call_id": "c1", "name": "grep", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "none"}
        ]
    });
    let answer = json!({"status": "completed", "output": [
        {"type": "reasoning", "summary": [], "encrypted_content": "xyz"},
        {"type": "web_search_call", "id": "w", "action": {"query": "x"}},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "done"}]}]});
    let expected = "tools grep, web_search

instructions
  rules

user
  go

assistant
  reasoning
    thinking

assistant
  call grep  [c1]
    {}

tool
  result  [c1]
    none

▶ assistant  (completed)
  reasoning
    (encrypted)
  call web_search  [w]
    {\"query\":\"x\"}
  done
";
    assert_eq!(answered(Protocol::Responses, &request, &answer), expected);
}

#[test]
fn gemini_with_calls_and_data() {
    let request = json!({
        "systemInstruction": {"parts": [{"text": "rules"}]},
        "tools": [{"functionDeclarations": [{"name": "grep"}, {"name": "read"}]}],
        "contents": [
            {"role": "user", "parts": [{"text": "look"}, {"inlineData": {"mimeType": "image/png", "data": "aGk="}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "grep", "args": {"for": "x"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "grep", "response": {"lines": 2}}}]}
        ]
    });
    let answer = json!({"candidates": [{"finishReason": "STOP", "content": {"role": "model", "parts":
        [{"text": "hm", "thought": true}, {"text": "two"}]}}]});
    let expected = "tools grep, read

system
  rules

user
  look
  [0.png image/png, 2 bytes]

model
  call grep
    {\"for\":\"x\"}

user
  result  [grep]
    {\"lines\":2}

▶ model  (STOP)
  reasoning
    hm
  two
";
    assert_eq!(answered(Protocol::Gemini, &request, &answer), expected);
}

#[test]
fn streams_with_calls_are_put_together() {
    let call = "call edit  [c]\n    {\"path\":1}\n";
    let chat = streamed(
        Protocol::Chat,
        &[
            json!({"choices": [{"delta": {"role": "assistant", "reasoning_content": "h"}}]}),
            json!({"choices": [{"delta": {"reasoning_content": "m", "tool_calls": [
                {"index": 1, "id": "c", "function": {"name": "edit", "arguments": "{\"pa"}}]}}]}),
            json!({"choices": [{"delta": {"tool_calls": [{"index": 1, "function": {"arguments": "th\":1}"}}]}}]}),
            json!({"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}),
        ],
    );
    assert_eq!(chat, format!("\n▶ assistant  (tool_calls)\n  reasoning\n    hm\n  {call}"));
    let messages = streamed(
        Protocol::Messages,
        &[
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}),
            json!({"type": "content_block_start", "index": 1, "content_block":
                {"type": "tool_use", "id": "c", "name": "edit", "input": {}}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"partial_json": "{\"pa"}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"partial_json": "th\":1}"}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}),
        ],
    );
    assert_eq!(messages, format!("\n▶ assistant  (tool_use)\n  reasoning\n    hm\n  {call}"));
    let broken_off = streamed(
        Protocol::Responses,
        &[
            json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "hm"}),
            json!({"type": "response.output_item.added", "output_index": 1, "item":
                {"type": "function_call", "call_id": "c", "name": "edit", "arguments": ""}}),
            json!({"type": "response.function_call_arguments.delta", "output_index": 1, "delta": "{\"path\":1}"}),
            json!({"type": "error", "code": "overloaded", "message": "later"}),
        ],
    );
    assert_eq!(broken_off, format!("\n▶ assistant\n  reasoning\n    hm\n  {call}\n▶ error\n  later\n"));
    let gemini = streamed(
        Protocol::Gemini,
        &[
            json!({"candidates": [{"content": {"parts": [{"text": "h", "thought": true}]}}]}),
            json!({"candidates": [{"content": {"parts": [{"text": "m", "thought": true}, {"text": "yes"}]}}]}),
            json!({"promptFeedback": {"blockReason": "SAFETY"}}),
        ],
    );
    assert_eq!(gemini, "\n▶ model\n  reasoning\n    hm\n  yes\n\n▶ error  (blocked)\n  SAFETY\n");
}

#[test]
fn what_nobody_knows_is_shown_as_it_is() {
    assert_eq!(answered(Protocol::Unknown, &json!({"a": 1}), &json!([2])), "settings a=1\n\n▶ assistant\n  json [2]\n");
    let failure = json!({"error": {"type": "overloaded_error", "message": "try later"}});
    assert!(answered(Protocol::Messages, &json!({}), &failure).ends_with("▶ error  (overloaded_error)\n  try later\n"));
    let deep = format!("{}\"x\"{}", "[".repeat(50_000), "]".repeat(50_000));
    said(Protocol::Chat, &json!({}), Answer::Json(&deep));
}
