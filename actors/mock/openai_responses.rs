//! OpenAI Responses: one answer, whole or as typed events.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::{Answer, Finish, Usage};
use super::call::Call;
use super::openai_chat::{read_tool, read_tool_choice, split_arguments};
use super::question::{Question, Speaker, list_at, read_content, text_at};
use super::reply::{self, EVENT_STREAM, Script};
use super::wish::Fault;

/// Answers `…/responses`.
pub(super) fn answer(call: &Call, model: String, asked: &Value) -> Response {
    let turn = match Turn::take(call, model, asked) {
        Ok(turn) => turn,
        Err(body) => {
            return reply::whole(call, StatusCode::BAD_REQUEST, "application/json", body.to_string());
        }
    };
    let wants_stream = asked["stream"] == true && call.wish.fault != Some(Fault::JsonForStream);
    if !wants_stream {
        return reply::json(call, &turn.last_response());
    }
    let mut events = turn.events();
    let error = json!({"type": "error", "code": "server_error", "param": null,
        "message": "The mock fails in mid-stream as wished.", "sequence_number": events.len() / 2});
    let frame = |value: &Value| reply::event(call, text_at(value, "type"), value);
    let mut terminator: Vec<_> = events.pop().iter().map(frame).collect();
    if call.wish.fault == Some(Fault::BareEvents) {
        terminator.push(reply::done());
    }
    let events = events.iter().map(frame).collect();
    reply::stream(call, Script { content_type: EVENT_STREAM, events, terminator, error: frame(&error) })
}

/// One turn: what was asked, and what is answered.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    asked: &'a Value,
    response_id: String,
    item_id: String,
    call_id: String,
    created: u64,
    model: String,
    answer: Answer,
}

impl<'a> Turn<'a> {
    /// Answers and remembers a turn.
    ///
    /// # Errors
    ///
    /// The error's body, if `previous_response_id` names a response that is not remembered.
    pub(super) fn take(call: &Call, model: String, asked: &'a Value) -> Result<Self, Value> {
        let number = match asked["previous_response_id"].as_str() {
            None => 1,
            Some(previous) => match call.gateway.turn_of(previous) {
                Some(turn) => turn + 1,
                None => return Err(previous_not_found(previous)),
            },
        };
        let question = read_question(model, asked);
        let mut answer = Answer::to(&question, call.wish.size);
        if number > 1 && answer.tool_call.is_none() {
            // A server-side conversation shows in the answer.
            answer.text.push_str(&format!(" [turn {number}]"));
        }
        let response_id = call.id("resp_");
        call.gateway.remember(response_id.clone(), number);
        let item_prefix = if answer.tool_call.is_some() { "fc_" } else { "msg_" };
        Ok(Self {
            asked,
            response_id,
            item_id: call.id(item_prefix),
            call_id: call.id("call_"),
            created: call.created(),
            model: question.model,
            answer,
        })
    }

    /// The response as it stands at the end.
    pub(super) fn last_response(&self) -> Value {
        self.response(self.last_status(), &[self.item("completed")], Some(self.answer.usage))
    }

    fn last_status(&self) -> &'static str {
        if self.answer.finish == Finish::Length { "incomplete" } else { "completed" }
    }

    fn response(&self, status: &str, output: &[Value], usage: Option<Usage>) -> Value {
        let incomplete = (status == "incomplete").then(|| json!({"reason": "max_output_tokens"}));
        json!({
            "id": self.response_id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": false,
            "error": null,
            "incomplete_details": incomplete,
            "instructions": self.asked["instructions"],
            "max_output_tokens": self.asked["max_output_tokens"],
            "metadata": {},
            "model": self.model,
            "output": output,
            "parallel_tool_calls": true,
            "previous_response_id": self.asked["previous_response_id"],
            "reasoning": {"effort": self.asked["reasoning"]["effort"], "summary": null},
            "service_tier": "default",
            "store": true,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}},
            "tool_choice": self.asked.get("tool_choice").cloned().unwrap_or_else(|| json!("auto")),
            "tools": list_at(self.asked, "tools"),
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": usage.map_or(Value::Null, usage_object),
            "user": null,
        })
    }

    /// The one item of the output, empty while in progress.
    fn item(&self, status: &str) -> Value {
        let is_whole = status != "in_progress";
        match &self.answer.tool_call {
            Some(tool_call) => {
                let arguments = if is_whole { tool_call.arguments.to_string() } else { String::new() };
                json!({"id": self.item_id, "type": "function_call", "status": status, "arguments": arguments,
                    "call_id": self.call_id, "name": tool_call.name})
            }
            None => {
                let content = if is_whole { vec![text_part(&self.answer.text)] } else { Vec::new() };
                json!({"id": self.item_id, "type": "message", "status": status, "role": "assistant",
                    "content": content})
            }
        }
    }

    /// All events of the turn, numbered; the last one carries the whole response.
    pub(super) fn events(&self) -> Vec<Value> {
        let mut events = vec![
            json!({"type": "response.created", "response": self.response("in_progress", &[], None)}),
            json!({"type": "response.in_progress", "response": self.response("in_progress", &[], None)}),
            json!({"type": "response.output_item.added", "output_index": 0, "item": self.item("in_progress")}),
        ];
        match &self.answer.tool_call {
            Some(tool_call) => self.push_call_events(&tool_call.arguments.to_string(), &mut events),
            None => self.push_text_events(&mut events),
        }
        events.push(json!({
            "type": "response.output_item.done", "output_index": 0, "item": self.item("completed")}));
        events.push(json!({
            "type": format!("response.{}", self.last_status()), "response": self.last_response()}));
        for (number, event) in events.iter_mut().enumerate() {
            event["sequence_number"] = json!(number);
        }
        events
    }

    fn push_call_events(&self, arguments: &str, events: &mut Vec<Value>) {
        for piece in split_arguments(arguments) {
            events.push(json!({"type": "response.function_call_arguments.delta", "item_id": self.item_id,
                "output_index": 0, "delta": piece}));
        }
        let name = self.answer.tool_call.as_ref().map(|call| call.name.as_str());
        events.push(json!({"type": "response.function_call_arguments.done", "item_id": self.item_id,
            "output_index": 0, "name": name, "arguments": arguments}));
    }

    fn push_text_events(&self, events: &mut Vec<Value>) {
        let place = |kind: &str| json!({"type": kind, "item_id": self.item_id, "output_index": 0, "content_index": 0});
        let mut push = |kind: &str, members: Value| {
            let mut event = place(kind);
            for (name, value) in members.as_object().into_iter().flatten() {
                event[name] = value.clone();
            }
            events.push(event);
        };
        push("response.content_part.added", json!({"part": text_part("")}));
        for piece in self.answer.pieces() {
            push("response.output_text.delta", json!({"delta": piece, "logprobs": []}));
        }
        push("response.output_text.done", json!({"text": self.answer.text, "logprobs": []}));
        push("response.content_part.done", json!({"part": text_part(&self.answer.text)}));
    }
}

fn previous_not_found(previous: &str) -> Value {
    json!({"error": {
        "message": format!("Previous response with id '{previous}' not found."),
        "type": "invalid_request_error",
        "param": "previous_response_id",
        "code": "previous_response_not_found"}})
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn usage_object(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total(),
    })
}

fn read_question(model: String, asked: &Value) -> Question {
    let mut question = Question {
        model,
        tools: list_at(asked, "tools").iter().filter_map(read_tool).collect(),
        tool_choice: read_tool_choice(&asked["tool_choice"]),
        max_tokens: asked["max_output_tokens"].as_u64(),
        thinks: asked["reasoning"].is_object(),
        ..Question::default()
    };
    if let Some(instructions) = asked["instructions"].as_str() {
        question.hear(Speaker::Instructions, instructions.to_owned(), 0);
    }
    if let Some(text) = asked["input"].as_str() {
        question.hear(Speaker::User, text.to_owned(), 0);
    }
    for item in list_at(asked, "input") {
        let (speaker, content) = match (text_at(item, "type"), text_at(item, "role")) {
            ("function_call_output", _) => (Speaker::Tool, &item["output"]),
            ("function_call", _) => (Speaker::Assistant, &item["arguments"]),
            (_, "system" | "developer") => (Speaker::Instructions, &item["content"]),
            (_, "assistant") => (Speaker::Assistant, &item["content"]),
            (_, "user") => (Speaker::User, &item["content"]),
            _ => continue,
        };
        let (text, media) = read_content(content);
        question.hear(speaker, text, media);
    }
    question
}
