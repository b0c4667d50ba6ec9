//! Answers that came as events: the pieces put together.

use std::collections::BTreeMap;

use super::answer::{assistant, failure, joined, of_items, output, told};
use super::blocks::{Names, content, gemini_parts, push_text, string, text_of};
use super::{Message, Part};
use crate::json::Json;
use crate::protocol::Protocol;
use crate::trace::view::EventView;

/// What a stream says.
pub(super) fn messages(protocol: Protocol, events: &[EventView<'_>], names: &Names) -> Vec<Message> {
    let payloads: Vec<Payload<'_>> = events.iter().filter_map(Payload::of).collect();
    let mut said = match protocol {
        Protocol::Chat | Protocol::Completions => choices(&payloads, names),
        Protocol::Messages => blocks(&payloads, names),
        Protocol::Responses | Protocol::Realtime => items(&payloads, names),
        Protocol::Gemini => candidates(&payloads, names),
        Protocol::Images => pictures(&payloads, names),
        _ => deltas(&payloads),
    };
    said.retain(|message| !message.parts.is_empty() || message.note.is_some());
    said.extend(payloads.iter().filter(|it| it.may_fail()).find_map(|it| failure(it.data)));
    said
}

/// An event with a JSON payload.
struct Payload<'a> {
    /// Its `type`, else its name.
    kind: String,
    data: Json<'a>,
}

impl<'a> Payload<'a> {
    fn of(event: &EventView<'a>) -> Option<Payload<'a>> {
        let data = Json::new(event.data.json()?);
        let kind = data.get("type").and_then(Json::string).map_or_else(|| event.name.to_owned(), Into::into);
        Some(Payload { kind, data })
    }

    /// Whether it may be what reports that the stream failed.
    fn may_fail(&self) -> bool {
        let [error, response] = self.data.pick(["error", "response"]);
        let is_there = |it: Option<Json<'_>>| it.is_some_and(|it| !it.is_null());
        is_there(error) || self.kind == "error" || is_there(response.and_then(|it| it.get("error")))
    }
}

fn number(json: Option<Json<'_>>) -> u64 {
    json.and_then(|it| it.text().parse().ok()).unwrap_or(0)
}

/// What a choice has said so far.
#[derive(Default)]
struct Choice {
    role: String,
    reasoning: String,
    parts: Vec<Part>,
    text: String,
    refusal: String,
    calls: BTreeMap<u64, (String, String, String)>,
    note: Option<String>,
}

fn choices(payloads: &[Payload<'_>], names: &Names) -> Vec<Message> {
    let mut choices: BTreeMap<u64, Choice> = BTreeMap::new();
    for piece in payloads.iter().filter_map(|it| it.data.get("choices")).flat_map(Json::elements) {
        let [index, delta, text, reason, message] = piece.pick(["index", "delta", "text", "finish_reason", "message"]);
        let choice = choices.entry(number(index)).or_default();
        choice.text += &string(text);
        choice.note = told(reason).or(choice.note.take());
        for (name, value) in delta.or(message).into_iter().flat_map(Json::members) {
            match &*name {
                "role" => choice.role = string(Some(value)),
                "content" if value.is_string() => choice.text += &string(Some(value)),
                "content" | "images" => content(&mut choice.parts, value, names),
                "reasoning_content" | "reasoning" => choice.reasoning += &string(Some(value)),
                "refusal" => choice.refusal += &string(Some(value)),
                "audio" => choice.text += &string(value.get("transcript")),
                "tool_calls" => value.elements().for_each(|call| choice.call(call)),
                "function_call" if value.is_object() => choice.called(0, None, value),
                _ => {}
            }
        }
    }
    let mut said: Vec<Message> = choices.into_values().map(Choice::message).collect();
    if let Some(first) = said.first_mut() {
        first.parts.extend(joined(names));
    }
    said
}

impl Choice {
    fn call(&mut self, piece: Json<'_>) {
        let [index, id, function, custom] = piece.pick(["index", "id", "function", "custom"]);
        let last = self.calls.last_key_value().map_or(0, |(last, _)| *last);
        // Some gateways send no index, and every call in one piece.
        let implied = if id.is_some() && !self.calls.is_empty() { last + 1 } else { last };
        let index = index.and_then(|it| it.text().parse().ok()).unwrap_or(implied);
        if let Some(function) = function.or(custom) {
            self.called(index, id, function);
        }
    }

    fn called(&mut self, index: u64, id: Option<Json<'_>>, function: Json<'_>) {
        let [name, arguments, input] = function.pick(["name", "arguments", "input"]);
        let (known, of, so_far) = self.calls.entry(index).or_default();
        if known.is_empty() {
            *known = string(name);
        }
        if of.is_empty() {
            *of = string(id);
        }
        *so_far += &string(arguments.or(input));
    }

    fn message(self) -> Message {
        let mut parts = Vec::new();
        push_text(&mut parts, self.reasoning, Part::Reasoning);
        push_text(&mut parts, self.text, Part::Text);
        parts.extend(self.parts);
        push_text(&mut parts, self.refusal, |text| Part::Other { kind: "refusal".to_owned(), text });
        parts.extend(self.calls.into_values().map(|(name, id, arguments)| Part::Call { name, id, arguments }));
        let mut message = assistant(self.note, parts);
        if !self.role.is_empty() {
            message.role = self.role;
        }
        message
    }
}

/// Messages: blocks begin, grow, and end.
fn blocks(payloads: &[Payload<'_>], names: &Names) -> Vec<Message> {
    let mut parts: BTreeMap<u64, Vec<Part>> = BTreeMap::new();
    let mut arguments: BTreeMap<u64, String> = BTreeMap::new();
    let mut note = None;
    for Payload { kind, data } in payloads {
        let [index, block, delta] = data.pick(["index", "content_block", "delta"]);
        let index = number(index);
        match (kind.as_str(), block, delta) {
            ("content_block_start", Some(block), _) => content(parts.entry(index).or_default(), block, names),
            ("content_block_delta", _, Some(delta)) => {
                let [text, thinking, json] = delta.pick(["text", "thinking", "partial_json"]);
                grow(parts.entry(index).or_default(), string(text), Part::Text);
                grow(parts.entry(index).or_default(), string(thinking), Part::Reasoning);
                *arguments.entry(index).or_default() += &string(json);
            }
            ("message_delta", _, Some(delta)) => note = told(delta.get("stop_reason")).or(note),
            _ => {}
        }
    }
    for (index, pieces) in arguments {
        let call = parts.get_mut(&index).and_then(|it| it.last_mut());
        if let (Some(Part::Call { arguments, .. }), false) = (call, pieces.is_empty()) {
            *arguments = pieces;
        }
    }
    vec![assistant(note, parts.into_values().flatten().collect())]
}

/// Adds a piece to the last part if it is of this kind.
fn grow(parts: &mut Vec<Part>, piece: String, kind: fn(String) -> Part) {
    match (parts.last_mut(), kind(String::new())) {
        _ if piece.is_empty() => {}
        (Some(Part::Text(so_far)), Part::Text(_)) | (Some(Part::Reasoning(so_far)), Part::Reasoning(_)) => {
            *so_far += &piece;
        }
        _ => parts.push(kind(piece)),
    }
}

/// Responses: as the final response tells; where it has no items, as the finished ones do; else by the pieces.
fn items(payloads: &[Payload<'_>], names: &Names) -> Vec<Message> {
    let mut note = None;
    for Payload { kind, data } in payloads {
        let final_kinds = ["response.completed", "response.incomplete", "response.failed", "response.done"];
        let Some(response) = data.get("response").filter(|_| final_kinds.contains(&kind.as_str())) else { continue };
        let said = output(response, names);
        // The attachments of items that came by themselves are named after those.
        if !said.is_empty() && !has_item(payloads) {
            return said;
        }
        note = response.get("incomplete_details").and_then(|it| told(it.get("reason")));
        note = note.or(told(response.get("status")));
    }
    let done = payloads.iter().filter(|it| it.kind == "response.output_item.done");
    let done: Vec<Json<'_>> = done.filter_map(|it| it.data.get("item")).collect();
    if !done.is_empty() {
        let whole = done.first().copied().unwrap_or(Json::new("null"));
        return of_items(&done, note, whole, names);
    }
    let mut parts: BTreeMap<(u64, u64), Vec<Part>> = BTreeMap::new();
    for Payload { kind, data } in payloads {
        let [output, piece, delta] = data.pick(["output_index", "content_index", "delta"]);
        let of = parts.entry((number(output), number(piece)));
        let delta = string(delta);
        match kind.as_str() {
            "response.audio.delta" | "response.output_audio.delta" => {}
            kind if kind.contains("reasoning") && kind.ends_with(".delta") => {
                grow(of.or_default(), delta, Part::Reasoning);
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                if let Some(Part::Call { arguments, .. }) = of.or_default().last_mut() {
                    arguments.push_str(&delta);
                }
            }
            "response.output_item.added" => {
                if let Some(item) = data.get("item") {
                    content(of.or_default(), item, names);
                }
            }
            kind if kind.ends_with(".delta") => grow(of.or_default(), delta, Part::Text),
            _ => {}
        }
    }
    vec![assistant(note, parts.into_values().flatten().collect())]
}

fn has_item(payloads: &[Payload<'_>]) -> bool {
    payloads.iter().any(|it| it.kind == "response.output_item.done")
}

fn candidates(payloads: &[Payload<'_>], names: &Names) -> Vec<Message> {
    let mut said: BTreeMap<u64, Message> = BTreeMap::new();
    let mut blocked = None;
    for Payload { data, .. } in payloads {
        for candidate in data.get("candidates").into_iter().flat_map(Json::elements) {
            let [index, value, reason] = candidate.pick(["index", "content", "finishReason"]);
            let message =
                said.entry(number(index)).or_insert_with(|| Message { role: "model".to_owned(), ..Message::default() });
            let mut pieces = Vec::new();
            value.into_iter().for_each(|it| gemini_parts(&mut pieces, it, names, 0));
            for piece in pieces {
                match piece {
                    Part::Text(text) => grow(&mut message.parts, text, Part::Text),
                    Part::Reasoning(text) => grow(&mut message.parts, text, Part::Reasoning),
                    other => message.parts.push(other),
                }
            }
            message.note = told(reason).or(message.note.take());
        }
        blocked = data.get("promptFeedback").and_then(|it| told(it.get("blockReason"))).or(blocked);
    }
    let blocked = blocked.map(|reason| Message {
        role: "error".to_owned(),
        note: Some("blocked".to_owned()),
        parts: vec![Part::Text(reason)],
        place: None,
    });
    said.into_values().chain(blocked).collect()
}

fn pictures(payloads: &[Payload<'_>], names: &Names) -> Vec<Message> {
    let pictures = payloads.iter().filter_map(|it| Some((&it.kind, it.data.get("b64_json")?)));
    let mut parts = Vec::new();
    for (kind, picture) in pictures {
        if kind.contains("partial") {
            parts.push(Part::Other { kind: "partial".to_owned(), text: String::new() });
        }
        parts.push(names.media(picture, None));
    }
    vec![assistant(None, parts)]
}

/// Streams of other kinds: what is called a piece of text in them.
fn deltas(payloads: &[Payload<'_>]) -> Vec<Message> {
    let mut parts = Vec::new();
    for Payload { kind, data } in payloads {
        let [delta, choices] = data.pick(["delta", "choices"]);
        if kind.contains("audio") {
            continue;
        }
        if let Some(delta) = delta {
            let piece = if delta.is_object() { delta.get("text").map(text_of) } else { Some(text_of(delta)) };
            grow(&mut parts, piece.unwrap_or_default(), Part::Text);
        }
        for choice in choices.into_iter().flat_map(Json::elements) {
            let piece = string(choice.get("delta").and_then(|it| it.get("content")));
            grow(&mut parts, piece, Part::Text);
        }
    }
    if parts.is_empty() && !payloads.is_empty() {
        parts.push(Part::Other { kind: "events".to_owned(), text: payloads.len().to_string() });
    }
    vec![assistant(None, parts)]
}
