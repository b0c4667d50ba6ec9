//! What was asked and answered as plain text, for searching: bounded, the newest first, without what no one looks for.

use crate::json::Json;
use crate::protocol::Protocol;
use crate::trace::asked::Asked;
use crate::trace::view::{Answer, TraceView};

/// A trace's texts. Pieces stand on lines of their own; none holds a NUL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// What was asked: the newest turn first, for older ones stand in earlier traces too.
    pub request: String,
    /// What was answered: text, thoughts, calls of tools with their arguments.
    pub answer: String,
}

impl Texts {
    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.answer.is_empty()
    }

    /// How many bytes they have.
    pub fn len(&self) -> usize {
        self.request.len() + self.answer.len()
    }
}

/// Deeper values are passed over.
const MAX_DEPTH: usize = 24;

/// Members whose text nobody looks for: names of kinds, ids, signatures, bytes in base64.
const PASSED_OVER: [&str; 40] = [
    "type",
    "role",
    "id",
    "object",
    "model",
    "status",
    "format",
    "detail",
    "call_id",
    "tool_call_id",
    "tool_use_id",
    "item_id",
    "signature",
    "thoughtSignature",
    "thought_signature",
    "encrypted_content",
    "data",
    "b64_json",
    "embedding",
    "image_url",
    "file_data",
    "file_id",
    "mime_type",
    "mimeType",
    "media_type",
    "cache_control",
    "finish_reason",
    "finishReason",
    "stop_reason",
    "stop_sequence",
    "system_fingerprint",
    "service_tier",
    "usage",
    "usageMetadata",
    "logprobs",
    "safetyRatings",
    "responseId",
    "modelVersion",
    "obfuscation",
    "annotations",
];

/// Members that hold what a tool is called with: any name in them is the tool's own.
const ARGUMENTS: [&str; 3] = ["input", "args", "arguments"];

/// The texts of a trace, together of at most `most_bytes`. At least half of them are left to the request.
pub(crate) fn texts_of(protocol: Protocol, trace: &TraceView<'_>, most_bytes: usize) -> Texts {
    let mut answer = Gathered::new(most_bytes / 2);
    match trace.answer {
        Answer::None => {}
        Answer::Json(text) => answer.whole_answer(Json::new(text)),
        Answer::Events(events) => {
            for event in events {
                if let Some(data) = event.data.json() {
                    answer.event(protocol, Json::new(data));
                }
            }
        }
    }
    let answer = answer.text;
    let mut request = Gathered::new(most_bytes - answer.len());
    if let Some(text) = trace.request_json {
        request.request(Json::new(text));
    }
    Texts { request: request.text, answer }
}

/// Text gathered up to a bound.
struct Gathered {
    text: String,
    most: usize,
    /// What the last piece belongs to: the next one of the same goes on in its line.
    last: Option<(&'static str, u64)>,
    has_deltas: bool,
}

impl Gathered {
    fn new(most: usize) -> Gathered {
        Gathered { text: String::new(), most, last: None, has_deltas: false }
    }

    fn is_full(&self) -> bool {
        self.text.len() >= self.most
    }

    /// Adds text in the same line, cut where there is no more room.
    fn add(&mut self, text: &str) {
        let room = self.most.saturating_sub(self.text.len());
        let mut end = text.len().min(room);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &text[..end];
        if text.contains('\0') {
            self.text.extend(text.chars().map(|it| if it == '\0' { ' ' } else { it }));
        } else {
            self.text.push_str(text);
        }
    }

    /// Begins a line.
    fn begin_line(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') && !self.is_full() {
            self.text.push('\n');
        }
    }

    fn line(&mut self, text: &str) {
        if !text.is_empty() {
            self.begin_line();
            self.add(text);
        }
    }

    /// Every string in a value that somebody may look for, each on a line.
    fn strings(&mut self, json: Json<'_>, is_argument: bool, depth: usize) {
        if self.is_full() || depth > MAX_DEPTH {
            return;
        }
        if let Some(text) = json.string() {
            return self.line(&text);
        }
        for element in json.elements() {
            self.strings(element, is_argument, depth + 1);
        }
        for (name, value) in json.members() {
            if is_argument || !PASSED_OVER.contains(&&*name) {
                self.strings(value, is_argument || ARGUMENTS.contains(&&*name), depth + 1);
            }
        }
    }

    fn request(&mut self, json: Json<'_>) {
        let asked = Asked::of(json);
        let turns = [asked.messages, asked.input, asked.contents, asked.response];
        if turns.iter().all(Option::is_none) {
            return self.strings(json, false, 0);
        }
        for turns in turns.into_iter().flatten() {
            if turns.is_array() {
                let elements: Vec<Json<'_>> = turns.elements().collect();
                elements.into_iter().rev().for_each(|turn| self.strings(turn, false, 0));
            } else {
                self.strings(turns, false, 0);
            }
        }
        for rules in [asked.system, asked.instructions, asked.system_instruction].into_iter().flatten() {
            self.strings(rules, false, 0);
        }
    }

    /// An answer that came whole. Of a Responses object the output only: it repeats what was asked.
    fn whole_answer(&mut self, json: Json<'_>) {
        match json.pick(["output", "error"]) {
            [Some(output), error] => {
                self.strings(output, false, 0);
                error.into_iter().for_each(|error| self.strings(error, false, 0));
            }
            _ => self.strings(json, false, 0),
        }
    }

    /// Adds a piece of something that comes in pieces.
    fn piece(&mut self, of: &'static str, number: u64, text: Option<Json<'_>>) {
        let Some(text) = text.and_then(Json::string).filter(|it| !it.is_empty()) else { return };
        self.has_deltas = true;
        if self.last != Some((of, number)) {
            self.begin_line();
            self.last = Some((of, number));
        }
        self.add(&text);
    }

    fn event(&mut self, protocol: Protocol, data: Json<'_>) {
        if self.is_full() {
            return;
        }
        match protocol {
            Protocol::Chat => self.chat_event(data),
            Protocol::Messages => self.messages_event(data),
            Protocol::Responses => self.responses_event(data),
            Protocol::Gemini => self.gemini_event(data),
            _ => self.strings(data, false, 0),
        }
    }

    fn chat_event(&mut self, data: Json<'_>) {
        let [choices, error] = data.pick(["choices", "error"]);
        error.into_iter().for_each(|error| self.strings(error, false, 0));
        for choice in choices.into_iter().flat_map(Json::elements) {
            let [delta, text] = choice.pick(["delta", "text"]);
            self.piece("text", 0, text);
            let Some(delta) = delta else { continue };
            let [content, reasoning, calls] = delta.pick(["content", "reasoning_content", "tool_calls"]);
            self.piece("thought", 0, reasoning);
            self.piece("text", 0, content);
            for call in calls.into_iter().flat_map(Json::elements) {
                let [index, function] = call.pick(["index", "function"]);
                let [name, arguments] = function.map_or([None; 2], |it| it.pick(["name", "arguments"]));
                self.piece("name", number(index), name);
                self.piece("arguments", number(index), arguments);
            }
        }
    }

    fn messages_event(&mut self, data: Json<'_>) {
        let [index, block, delta, error] = data.pick(["index", "content_block", "delta", "error"]);
        let index = number(index);
        error.into_iter().for_each(|error| self.strings(error, false, 0));
        if let Some(block) = block {
            let [name, text, input] = block.pick(["name", "text", "input"]);
            self.piece("name", index, name);
            self.piece("text", index, text);
            input.into_iter().for_each(|input| self.strings(input, true, 0));
        }
        if let Some(delta) = delta {
            let [text, thinking, json] = delta.pick(["text", "thinking", "partial_json"]);
            self.piece("thought", index, thinking);
            self.piece("text", index, text);
            self.piece("arguments", index, json);
        }
    }

    fn responses_event(&mut self, data: Json<'_>) {
        let [kind, index, delta, item, response, error] =
            data.pick(["type", "output_index", "delta", "item", "response", "error"]);
        let kind = kind.and_then(Json::string).unwrap_or_default();
        error.into_iter().for_each(|error| self.strings(error, false, 0));
        match &*kind {
            "response.output_item.added" => {
                self.piece("name", number(index), item.and_then(|item| item.get("name")));
            }
            // Sound, in base64.
            "response.audio.delta" | "response.output_audio.delta" => {}
            kind if kind.ends_with(".delta") => self.piece("text", number(index), delta),
            // Who got no pieces finds the whole at the end.
            "response.completed" | "response.done" | "response.failed" | "response.incomplete" if !self.has_deltas => {
                response.into_iter().for_each(|response| self.whole_answer(response));
            }
            _ => {}
        }
    }

    fn gemini_event(&mut self, data: Json<'_>) {
        let [candidates, error] = data.pick(["candidates", "error"]);
        error.into_iter().for_each(|error| self.strings(error, false, 0));
        for candidate in candidates.into_iter().flat_map(Json::elements) {
            let parts = candidate.get("content").and_then(|content| content.get("parts"));
            for part in parts.into_iter().flat_map(Json::elements) {
                let [text, thought, call, snake] = part.pick(["text", "thought", "functionCall", "function_call"]);
                let of = if thought.is_some_and(|it| it.text() == "true") { "thought" } else { "text" };
                self.piece(of, 0, text);
                if let Some(call) = call.or(snake) {
                    self.last = None;
                    self.strings(call, false, 0);
                }
            }
        }
    }
}

fn number(json: Option<Json<'_>>) -> u64 {
    json.and_then(|it| it.text().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::Headers;
    use crate::trace::view::{EventData, EventView};

    fn texts(protocol: Protocol, request: &str, answer: Answer<'_>, most_bytes: usize) -> Texts {
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
        texts_of(protocol, &view, most_bytes)
    }

    fn streamed(protocol: Protocol, events: &[&str]) -> String {
        let events: Vec<EventView<'_>> =
            events.iter().map(|it| EventView { name: "", data: EventData::Json(it) }).collect();
        texts(protocol, "null", Answer::Events(&events), 1000).answer
    }

    #[test]
    fn a_request_is_read_from_its_newest_turn_back() {
        let request = r#"{"model":"m","system":"rules","messages":[{"role":"user","content":"first"},
            {"role":"assistant","content":[{"type":"text","text":"second"},{"type":"tool_use","id":"t","name":"grep","input":{"type":"rust","data":"x\u0000y"}}]},
            {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"第三"},{"type":"image","source":{"data":"AAAA","media_type":"image/png"}}]}]}"#;
        let found = texts(Protocol::Messages, request, Answer::None, 1000);
        assert_eq!(
            found,
            Texts { request: "第三\nsecond\ngrep\nrust\nx y\nfirst\nrules".into(), answer: String::new() }
        );
        let other = texts(Protocol::Completions, r#"{"model":"m","prompt":"go on"}"#, Answer::None, 1000);
        assert_eq!(other.request, "go on");
        assert_eq!(texts(Protocol::Responses, r#"{"input":"one text"}"#, Answer::None, 1000).request, "one text");
    }

    #[test]
    fn both_are_cut_to_the_bound_between_characters() {
        let answer =
            r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"答答答答"},"finish_reason":"stop"}]}"#;
        let found = texts(Protocol::Chat, r#"{"messages":[{"content":"問問問問"}]}"#, Answer::Json(answer), 16);
        assert_eq!(found, Texts { request: "問問問".into(), answer: "答答".into() });
        assert!(found.len() <= 16 && !found.is_empty());
        assert!(texts(Protocol::Chat, r#"{"messages":[{"content":"x"}]}"#, Answer::None, 0).is_empty());
    }

    #[test]
    fn the_pieces_of_a_stream_are_put_together() {
        let chat = [
            r#"{"choices":[{"delta":{"role":"assistant","content":"re"}}]}"#,
            r#"{"choices":[{"delta":{"content":"name"}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"c","function":{"name":"edit","arguments":"{\"pa"}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"arguments":"th\":1}"}}]}}]}"#,
        ];
        assert_eq!(streamed(Protocol::Chat, &chat), "rename\nedit\n{\"path\":1}");
        let messages = [
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"re"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"name"}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"edit","input":{}}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"pa"}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"th\":1}"}}"#,
        ];
        assert_eq!(streamed(Protocol::Messages, &messages), "rename\nedit\n{\"path\":1}");
        let responses = [
            r#"{"type":"response.output_text.delta","output_index":0,"delta":"re"}"#,
            r#"{"type":"response.output_text.delta","output_index":0,"delta":"name"}"#,
            r#"{"type":"response.output_text.done","output_index":0,"text":"rename"}"#,
            r#"{"type":"response.completed","response":{"output":[{"content":[{"text":"rename"}]}]}}"#,
        ];
        assert_eq!(streamed(Protocol::Responses, &responses), "rename");
        assert_eq!(streamed(Protocol::Responses, &responses[3..]), "rename");
        let gemini = [
            r#"{"candidates":[{"content":{"parts":[{"text":"re"}]}}]}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"name"},{"functionCall":{"name":"edit","args":{"path":"a"}}}]}}]}"#,
        ];
        assert_eq!(streamed(Protocol::Gemini, &gemini), "rename\nedit\na");
    }

    #[test]
    fn any_depth_is_read_without_harm() {
        let deep = format!("{}\"x\"{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(texts(Protocol::Chat, &deep, Answer::Json(&deep), 100), Texts::default());
    }
}
