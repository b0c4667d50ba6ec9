//! OpenAI Chat completions and their legacy ancestor.

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::{Answer, Finish, ToolCall, Usage};
use super::call::Call;
use super::question::{Question, Speaker, Tool, ToolChoice, list_at, read_content, text_at};
use super::reply::{self, EVENT_STREAM, Script, Vendor};
use super::wish::Fault;

/// What the mock calls its own software state.
const FINGERPRINT: &str = "fp_mock";

/// Answers `…/chat/completions`.
pub(super) fn chat(call: &Call, model: String, asked: &Value) -> Response {
    if list_at(asked, "messages").is_empty() {
        let message = "Missing required parameter: 'messages'.";
        return reply::error(call, Vendor::OpenAi, StatusCode::BAD_REQUEST, message);
    }
    let question = read_question(model, asked);
    let answer = Answer::to(&question, call.wish.size);
    if question.stream && call.wish.fault != Some(Fault::JsonForStream) {
        let with_usage = asked.pointer("/stream_options/include_usage") == Some(&Value::Bool(true));
        return reply::stream(call, chat_script(call, &question, &answer, with_usage));
    }
    reply::json(call, &chat_object(call, &question, &answer))
}

fn read_question(model: String, asked: &Value) -> Question {
    let mut question = Question {
        model,
        stream: asked["stream"] == true,
        tools: list_at(asked, "tools").iter().filter_map(|tool| read_tool(&tool["function"])).collect(),
        tool_choice: read_tool_choice(&asked["tool_choice"]),
        max_tokens: asked["max_completion_tokens"].as_u64().or_else(|| asked["max_tokens"].as_u64()),
        thinks: asked["reasoning_effort"].is_string(),
        ..Question::default()
    };
    for message in list_at(asked, "messages") {
        let (text, media) = read_content(&message["content"]);
        let speaker = match text_at(message, "role") {
            "system" | "developer" => Speaker::Instructions,
            "assistant" => Speaker::Assistant,
            "tool" | "function" => Speaker::Tool,
            _ => Speaker::User,
        };
        question.hear(speaker, text, media);
    }
    question
}

/// A function as Chat (in `function`) and Responses (in the tool itself) describe it.
pub(super) fn read_tool(function: &Value) -> Option<Tool> {
    let name = function["name"].as_str()?.to_owned();
    Some(Tool { name, schema: function["parameters"].clone() })
}

/// `tool_choice` as Chat and Responses write it.
pub(super) fn read_tool_choice(choice: &Value) -> ToolChoice {
    match choice {
        Value::String(word) if word == "none" => ToolChoice::Never,
        Value::String(word) if word == "required" => ToolChoice::Always,
        Value::Object(_) => {
            let name = choice.pointer("/function/name").unwrap_or(&choice["name"]);
            name.as_str().map_or(ToolChoice::Auto, |name| ToolChoice::This(name.to_owned()))
        }
        _ => ToolChoice::Auto,
    }
}

fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ToolCall => "tool_calls",
    }
}

fn usage_object(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total(),
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    })
}

fn tool_call_object(call: &Call, tool_call: &ToolCall) -> Value {
    json!({"id": call.id("call_"), "type": "function",
        "function": {"name": tool_call.name, "arguments": tool_call.arguments.to_string()}})
}

fn chat_object(call: &Call, question: &Question, answer: &Answer) -> Value {
    let mut message = json!({"role": "assistant", "content": answer.text, "refusal": null, "annotations": []});
    if let Some(tool_call) = &answer.tool_call {
        message["content"] = Value::Null;
        message["tool_calls"] = json!([tool_call_object(call, tool_call)]);
    }
    json!({
        "id": call.id("chatcmpl-"),
        "object": "chat.completion",
        "created": call.created(),
        "model": question.model,
        "choices": [{
            "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(answer.finish)}],
        "usage": usage_object(answer.usage),
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    })
}

fn chat_script(call: &Call, question: &Question, answer: &Answer, with_usage: bool) -> Script {
    let chunk = |choices: Value, usage: Option<Usage>| -> Bytes {
        let mut chunk = json!({
            "id": call.id("chatcmpl-"),
            "object": "chat.completion.chunk",
            "created": call.created(),
            "model": question.model,
            "service_tier": "default",
            "system_fingerprint": FINGERPRINT,
            "choices": choices,
        });
        if with_usage {
            chunk["usage"] = usage.map_or(Value::Null, usage_object);
        }
        reply::data(&chunk)
    };
    let delta = |delta: Value, finish: Option<&str>| {
        chunk(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]), None)
    };
    let mut events = Vec::new();
    match &answer.tool_call {
        Some(tool_call) => {
            let mut first = tool_call_object(call, tool_call);
            first["index"] = json!(0);
            first["function"]["arguments"] = json!("");
            events.push(delta(json!({"role": "assistant", "content": null, "tool_calls": [first]}), None));
            for piece in split_arguments(&tool_call.arguments.to_string()) {
                let more = json!({"index": 0, "function": {"arguments": piece}});
                events.push(delta(json!({"tool_calls": [more]}), None));
            }
        }
        None => {
            events.push(delta(json!({"role": "assistant", "content": "", "refusal": null}), None));
            events.extend(answer.pieces().into_iter().map(|piece| delta(json!({"content": piece}), None)));
        }
    }
    events.push(delta(json!({}), Some(finish_reason(answer.finish))));
    if with_usage {
        events.push(chunk(json!([]), Some(answer.usage)));
    }
    Script { content_type: EVENT_STREAM, events, terminator: vec![reply::done()], error: stream_error(call) }
}

/// The pieces in which a tool call's arguments are streamed.
pub(super) fn split_arguments(arguments: &str) -> Vec<&str> {
    arguments.split_inclusive([':', ',']).collect()
}

/// The event with which an OpenAI Chat stream fails.
fn stream_error(call: &Call) -> Bytes {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    reply::data(&reply::error_body(call, Vendor::OpenAi, status, "The mock fails in mid-stream as wished."))
}

/// Answers `…/completions`.
pub(super) fn completion(call: &Call, model: String, asked: &Value) -> Response {
    let prompt = match &asked["prompt"] {
        Value::String(prompt) => prompt.clone(),
        Value::Array(prompts) => prompts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        _ => String::new(),
    };
    let max_tokens = asked["max_tokens"].as_u64();
    let mut question = Question { model, stream: asked["stream"] == true, max_tokens, ..Question::default() };
    question.hear(Speaker::User, prompt, 0);
    let answer = Answer::to(&question, call.wish.size);
    let object = |text: &str, finish: Option<&str>, usage: Option<Usage>| {
        json!({
            "id": call.id("cmpl-"),
            "object": "text_completion",
            "created": call.created(),
            "model": question.model,
            "system_fingerprint": FINGERPRINT,
            "choices": [{"index": 0, "text": text, "logprobs": null, "finish_reason": finish}],
            "usage": usage.map_or(Value::Null, usage_object),
        })
    };
    let finish = Some(finish_reason(answer.finish));
    if !question.stream || call.wish.fault == Some(Fault::JsonForStream) {
        return reply::json(call, &object(&answer.text, finish, Some(answer.usage)));
    }
    let with_usage = asked.pointer("/stream_options/include_usage") == Some(&Value::Bool(true));
    let mut events: Vec<_> = answer.pieces().into_iter().map(|piece| reply::data(&object(piece, None, None))).collect();
    events.push(reply::data(&object("", finish, None)));
    if with_usage {
        let mut last = object("", None, Some(answer.usage));
        last["choices"] = json!([]);
        events.push(reply::data(&last));
    }
    let script =
        Script { content_type: EVENT_STREAM, events, terminator: vec![reply::done()], error: stream_error(call) };
    reply::stream(call, script)
}
