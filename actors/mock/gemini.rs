//! Gemini: `generateContent` and its streams, as events and as a JSON array sent piecewise.

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::{Answer, Finish, REASONING};
use super::call::Call;
use super::openai_lists::embed;
use super::question::{Question, Speaker, Tool, ToolChoice, list_at, text_at};
use super::reply::{self, EVENT_STREAM, Script, Vendor};
use super::wish::Fault;

/// Values in an embedding.
const DIMENSIONS: usize = 8;

/// What is asked of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    GenerateContent,
    StreamGenerateContent,
    CountTokens,
    EmbedContents,
}

/// The model and the method in a path such as `/v1beta/models/M:generateContent`.
pub(super) fn model_and_method(path: &str) -> Option<(&str, Method)> {
    let (_, named) = path.rsplit_once('/')?;
    let (model, method) = named.split_once(':')?;
    let method = match method {
        "generateContent" => Method::GenerateContent,
        "streamGenerateContent" => Method::StreamGenerateContent,
        "countTokens" => Method::CountTokens,
        "batchEmbedContents" => Method::EmbedContents,
        _ => return None,
    };
    Some((model, method))
}

/// Answers one of the methods.
pub(super) fn answer(call: &Call, model: String, method: Method, asked: &Value) -> Response {
    if method == Method::EmbedContents {
        return reply::json(call, &embeddings(asked));
    }
    if list_at(asked, "contents").is_empty() {
        let message = "* GenerateContentRequest.contents: contents is not specified";
        return reply::error(call, Vendor::Gemini, StatusCode::BAD_REQUEST, message);
    }
    let question = read_question(model, asked);
    if method == Method::CountTokens {
        return reply::json(call, &json!({"totalTokens": question.tokens()}));
    }
    let answer = Answer::to(&question, call.wish.size);
    let elements = Elements { call, question: &question, answer: &answer };
    if method == Method::GenerateContent || call.wish.fault == Some(Fault::JsonForStream) {
        return reply::json(call, &elements.element(elements.parts(), true));
    }
    let as_events = call.query.split('&').any(|pair| pair == "alt=sse");
    reply::stream(call, if as_events { elements.events() } else { elements.array() })
}

fn embeddings(asked: &Value) -> Value {
    let requests = list_at(asked, "requests").iter();
    let vectors = requests.map(|request| {
        let (text, _) = read_parts(&request["content"]);
        json!({"values": embed(&text, DIMENSIONS)})
    });
    json!({"embeddings": vectors.collect::<Vec<_>>()})
}

/// A member by its name in camel case, or by the same in snake case: protobuf's JSON mapping allows
/// both, and clients use both.
fn member<'a>(value: &'a Value, name: &str) -> &'a Value {
    if let Some(member) = value.get(name) {
        return member;
    }
    let snake: String = name
        .chars()
        .flat_map(|letter| letter.is_ascii_uppercase().then_some('_').into_iter().chain([letter.to_ascii_lowercase()]))
        .collect();
    &value[snake]
}

fn read_question(model: String, asked: &Value) -> Question {
    let settings = member(asked, "generationConfig");
    let mut question = Question {
        model,
        tools: list_at(asked, "tools").iter().flat_map(read_tools).collect(),
        tool_choice: read_tool_choice(member(member(asked, "toolConfig"), "functionCallingConfig")),
        max_tokens: member(settings, "maxOutputTokens").as_u64(),
        thinks: member(settings, "thinkingConfig").is_object(),
        ..Question::default()
    };
    let instruction = member(asked, "systemInstruction");
    if instruction.is_object() {
        let (text, media) = read_parts(instruction);
        question.hear(Speaker::Instructions, text, media);
    }
    for content in list_at(asked, "contents") {
        let (text, media) = read_parts(content);
        let has_result = list_at(content, "parts").iter().any(|part| member(part, "functionResponse").is_object());
        let speaker = match text_at(content, "role") {
            "model" => Speaker::Assistant,
            _ if has_result => Speaker::Tool,
            _ => Speaker::User,
        };
        question.hear(speaker, text, media);
    }
    question
}

fn read_tools(tool: &Value) -> Vec<Tool> {
    let functions = member(tool, "functionDeclarations").as_array().into_iter().flatten();
    let read = |function: &Value| {
        let name = function["name"].as_str()?.to_owned();
        let schema = Some(member(function, "parametersJsonSchema")).filter(|schema| schema.is_object());
        Some(Tool { name, schema: schema.unwrap_or(&function["parameters"]).clone() })
    };
    functions.filter_map(read).collect()
}

fn read_tool_choice(calling: &Value) -> ToolChoice {
    match text_at(calling, "mode") {
        "NONE" => ToolChoice::Never,
        "ANY" => ToolChoice::Always,
        _ => ToolChoice::Auto,
    }
}

/// Text and number of media of one content.
fn read_parts(content: &Value) -> (String, usize) {
    let mut texts = Vec::new();
    let mut media = 0;
    for part in list_at(content, "parts") {
        let response = member(part, "functionResponse");
        if let Some(text) = part["text"].as_str() {
            texts.push(text.to_owned());
        } else if response.is_object() {
            texts.push(response["response"].to_string());
        } else if ["inlineData", "fileData"].iter().any(|name| member(part, name).is_object()) {
            media += 1;
        }
    }
    (texts.join(" "), media)
}

struct Elements<'a> {
    call: &'a Call,
    question: &'a Question,
    answer: &'a Answer,
}

impl Elements<'_> {
    /// All parts of the answer.
    fn parts(&self) -> Vec<Value> {
        let mut parts = self.thought();
        parts.push(match &self.answer.tool_call {
            Some(tool_call) => {
                json!({"functionCall": {"id": self.call.id("call_"), "name": tool_call.name,
                    "args": tool_call.arguments}})
            }
            None => json!({"text": self.answer.text}),
        });
        parts
    }

    fn thought(&self) -> Vec<Value> {
        let thought = || json!({"text": REASONING, "thought": true});
        self.question.thinks.then(thought).into_iter().collect()
    }

    /// One `GenerateContentResponse`. Only the last one has a finish reason and all the counts.
    fn element(&self, parts: Vec<Value>, is_last: bool) -> Value {
        let usage = self.answer.usage;
        let mut counts = json!({"promptTokenCount": usage.prompt, "totalTokenCount": usage.prompt});
        let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": parts}});
        if is_last {
            counts["candidatesTokenCount"] = json!(usage.completion - usage.reasoning);
            counts["totalTokenCount"] = json!(usage.total());
            if usage.reasoning > 0 {
                counts["thoughtsTokenCount"] = json!(usage.reasoning);
            }
            if usage.cached > 0 {
                counts["cachedContentTokenCount"] = json!(usage.cached);
            }
            let finish = if self.answer.finish == Finish::Length { "MAX_TOKENS" } else { "STOP" };
            candidate["finishReason"] = json!(finish);
        }
        json!({"candidates": [candidate], "usageMetadata": counts, "modelVersion": self.question.model,
            "responseId": self.call.id("resp-")})
    }

    /// The elements of a stream: the last one, which ends it, and those before.
    fn parted(&self) -> (Vec<Value>, Value) {
        let mut pieces: Vec<Vec<Value>> = self.thought().into_iter().map(|part| vec![part]).collect();
        match self.answer.tool_call {
            Some(_) => pieces.extend(self.parts().pop().map(|part| vec![part])),
            None => pieces.extend(self.answer.pieces().into_iter().map(|piece| vec![json!({"text": piece})])),
        }
        let last = pieces.pop().unwrap_or_default();
        let earlier = pieces.into_iter().map(|parts| self.element(parts, false)).collect();
        (earlier, self.element(last, true))
    }

    fn error(&self) -> Value {
        let message = "The mock fails in mid-stream as wished.";
        reply::error_body(self.call, Vendor::Gemini, StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// As an event stream, whose lines Gemini ends with CRLF.
    fn events(&self) -> Script {
        let frame = |value: &Value| Bytes::from(format!("data: {value}\r\n\r\n"));
        let (earlier, last) = self.parted();
        Script {
            content_type: EVENT_STREAM,
            events: earlier.iter().map(frame).collect(),
            terminator: vec![frame(&last)],
            error: frame(&self.error()),
        }
    }

    /// As one JSON array that grows.
    fn array(&self) -> Script {
        let (earlier, last) = self.parted();
        let mut events = Vec::new();
        for element in earlier.iter().chain([&last]) {
            let lead = if events.is_empty() { "[" } else { ",\r\n" };
            events.push(Bytes::from(format!("{lead}{element}")));
        }
        Script {
            content_type: "application/json; charset=UTF-8",
            events,
            terminator: vec![Bytes::from_static(b"]")],
            error: format!(",\r\n{}]", self.error()).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_a_member_are_read() {
        let snake = json!({
            "tools": [{"function_declarations": [{"name": "get_weather", "parameters_json_schema": {"type": "object"}}]}],
            "generation_config": {"max_output_tokens": 3, "thinking_config": {}},
            "system_instruction": {"parts": [{"text": "be kind"}]},
            "contents": [{"role": "user", "parts": [{"inline_data": {}}, {"text": "hi"}]}]});
        let question = read_question("m".into(), &snake);
        assert_eq!(question.tools[0].schema, json!({"type": "object"}));
        assert_eq!((question.max_tokens, question.thinks), (Some(3), true));
        assert_eq!(question.last_said(), (Speaker::User, "hi", 1));
        assert_eq!(question.messages.len(), 2);
    }
}
