//! Anthropic Messages.

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::{Answer, Finish, REASONING};
use super::call::Call;
use super::openai_chat::split_arguments;
use super::question::{Question, Speaker, Tool, ToolChoice, list_at, read_content, text_at};
use super::reply::{self, EVENT_STREAM, Script, Vendor};
use super::wish::Fault;

/// Answers `…/messages`.
pub(super) fn messages(call: &Call, model: String, asked: &Value) -> Response {
    for required in ["max_tokens", "messages"] {
        if asked[required].is_null() {
            let message = format!("{required}: Field required");
            return reply::error(call, Vendor::Anthropic, StatusCode::BAD_REQUEST, &message);
        }
    }
    let question = read_question(model, asked);
    let answer = Answer::to(&question, call.wish.size);
    let message = Message { call, question: &question, answer: &answer, cache: Cache::of(asked, &question) };
    if question.stream && call.wish.fault != Some(Fault::JsonForStream) {
        return reply::stream(call, message.script());
    }
    reply::json(call, &message.object())
}

/// Answers `…/messages/count_tokens`.
pub(super) fn count_tokens(call: &Call, model: String, asked: &Value) -> Response {
    reply::json(call, &json!({"input_tokens": read_question(model, asked).tokens()}))
}

fn read_question(model: String, asked: &Value) -> Question {
    let tool = |tool: &Value| {
        let name = tool["name"].as_str()?.to_owned();
        Some(Tool { name, schema: tool["input_schema"].clone() })
    };
    let mut question = Question {
        model,
        stream: asked["stream"] == true,
        tools: list_at(asked, "tools").iter().filter_map(tool).collect(),
        tool_choice: match text_at(&asked["tool_choice"], "type") {
            "none" => ToolChoice::Never,
            "any" => ToolChoice::Always,
            "tool" => ToolChoice::This(text_at(&asked["tool_choice"], "name").to_owned()),
            _ => ToolChoice::Auto,
        },
        max_tokens: asked["max_tokens"].as_u64(),
        thinks: matches!(text_at(&asked["thinking"], "type"), "enabled" | "adaptive"),
        ..Question::default()
    };
    if !asked["system"].is_null() {
        let (text, media) = read_content(&asked["system"]);
        question.hear(Speaker::Instructions, text, media);
    }
    for message in list_at(asked, "messages") {
        let (text, media) = read_content(&message["content"]);
        let has_result = list_at(message, "content").iter().any(|part| text_at(part, "type") == "tool_result");
        let speaker = match text_at(message, "role") {
            "assistant" => Speaker::Assistant,
            _ if has_result => Speaker::Tool,
            _ => Speaker::User,
        };
        question.hear(speaker, text, media);
    }
    question
}

/// Tokens that came from, or went to, the prompt cache.
#[derive(Debug, Clone, Copy)]
struct Cache {
    read: u64,
    created: u64,
}

impl Cache {
    /// With a cache mark in the request, everything before its last message is cached: written by
    /// the first question, read by the later ones.
    fn of(asked: &Value, question: &Question) -> Self {
        let earlier = question.earlier_tokens();
        match (asked.to_string().contains("\"cache_control\""), list_at(asked, "messages").len()) {
            (false, _) => Self { read: 0, created: 0 },
            (true, 0 | 1) => Self { read: 0, created: earlier },
            (true, _) => Self { read: earlier, created: 0 },
        }
    }
}

struct Message<'a> {
    call: &'a Call,
    question: &'a Question,
    answer: &'a Answer,
    cache: Cache,
}

impl Message<'_> {
    fn usage(&self, output_tokens: u64) -> Value {
        json!({
            // What the cache gave or took is not counted here.
            "input_tokens": self.answer.usage.prompt - self.cache.read - self.cache.created,
            "cache_creation_input_tokens": self.cache.created,
            "cache_read_input_tokens": self.cache.read,
            "output_tokens": output_tokens,
            "service_tier": "standard",
        })
    }

    fn stop_reason(&self) -> &'static str {
        match self.answer.finish {
            Finish::Stop => "end_turn",
            Finish::Length => "max_tokens",
            Finish::ToolCall => "tool_use",
        }
    }

    fn object(&self) -> Value {
        self.with(&self.blocks(), Some(self.stop_reason()), self.answer.usage.completion)
    }

    fn with(&self, content: &[Value], stop_reason: Option<&str>, output_tokens: u64) -> Value {
        json!({
            "id": self.call.id("msg_"),
            "type": "message",
            "role": "assistant",
            "model": self.question.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": null,
            "usage": self.usage(output_tokens),
        })
    }

    /// The whole content.
    fn blocks(&self) -> Vec<Value> {
        let mut blocks = Vec::new();
        if self.question.thinks {
            blocks.push(json!({"type": "thinking", "thinking": REASONING, "signature": "bW9jaw=="}));
        }
        blocks.push(match &self.answer.tool_call {
            Some(tool_call) => json!({"type": "tool_use", "id": self.call.id("toolu_"),
                "name": tool_call.name, "input": tool_call.arguments}),
            None => json!({"type": "text", "text": self.answer.text}),
        });
        blocks
    }

    fn event(&self, value: &Value) -> Bytes {
        reply::event(self.call, text_at(value, "type"), value)
    }

    fn script(&self) -> Script {
        let mut events = vec![
            self.event(&json!({"type": "message_start", "message": self.with(&[], None, 1)})),
            self.event(&json!({"type": "ping"})),
        ];
        for (index, block) in self.blocks().into_iter().enumerate() {
            self.push_block(index, block, &mut events);
        }
        events.push(self.event(&json!({
            "type": "message_delta",
            "delta": {"stop_reason": self.stop_reason(), "stop_sequence": null},
            "usage": {"output_tokens": self.answer.usage.completion},
        })));
        let error = json!({"type": "error",
            "error": {"type": "overloaded_error", "message": "The mock fails in mid-stream as wished."}});
        Script {
            content_type: EVENT_STREAM,
            events,
            terminator: vec![self.event(&json!({"type": "message_stop"}))],
            error: self.event(&error),
        }
    }

    /// One block: its empty start, its deltas, its stop.
    fn push_block(&self, index: usize, mut block: Value, events: &mut Vec<Bytes>) {
        let deltas: Vec<Value> = match text_at(&block, "type") {
            "thinking" => {
                let signature = block["signature"].take();
                block["signature"] = json!("");
                let thinking = block["thinking"].take();
                block["thinking"] = json!("");
                vec![
                    json!({"type": "thinking_delta", "thinking": thinking}),
                    json!({"type": "signature_delta", "signature": signature}),
                ]
            }
            "tool_use" => {
                let input = block["input"].take().to_string();
                block["input"] = json!({});
                let pieces = split_arguments(&input).into_iter();
                pieces.map(|piece| json!({"type": "input_json_delta", "partial_json": piece})).collect()
            }
            _ => {
                block["text"] = json!("");
                let pieces = self.answer.pieces().into_iter();
                pieces.map(|piece| json!({"type": "text_delta", "text": piece})).collect()
            }
        };
        events.push(self.event(&json!({"type": "content_block_start", "index": index, "content_block": block})));
        for delta in deltas {
            events.push(self.event(&json!({"type": "content_block_delta", "index": index, "delta": delta})));
        }
        events.push(self.event(&json!({"type": "content_block_stop", "index": index})));
    }
}
