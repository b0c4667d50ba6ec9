//! What an answer said, whole or streamed, and under which id.

use std::collections::BTreeMap;

use super::id_hash;
use super::reply::{Call, Spoken, called, is_made_by_model, string};
use crate::json::Json;
use crate::protocol::Protocol;
use crate::trace::view::{Answer, EventView};

/// The hash of the answer's id (Responses only) and the fingerprint of what it said.
pub(super) fn of(protocol: Protocol, answer: &Answer<'_>) -> (Option<[u8; 8]>, Option<[u8; 8]>) {
    let mut spoken = Spoken::default();
    let mut id = None;
    match (protocol, answer) {
        (Protocol::Chat, Answer::Json(text)) => {
            let message = first_of(Json::new(text), "choices").and_then(|choice| choice.get("message"));
            if let Some(message) = message {
                spoken.add_chat_message(message);
            }
        }
        (Protocol::Chat, Answer::Events(events)) => chat_stream(events, &mut spoken),
        (Protocol::Messages, Answer::Json(text)) => {
            if let Some(content) = Json::new(text).get("content") {
                spoken.add_messages_content(content);
            }
        }
        (Protocol::Messages, Answer::Events(events)) => messages_stream(events, &mut spoken),
        (Protocol::Responses, Answer::Json(text)) => id = responses_object(Json::new(text), &mut spoken),
        (Protocol::Responses, Answer::Events(events)) => id = responses_stream(events, &mut spoken),
        (Protocol::Gemini, Answer::Json(text)) => {
            let json = Json::new(text);
            for element in json.elements().chain(Some(json).filter(|it| it.is_object())) {
                gemini_element(element, &mut spoken);
            }
        }
        (Protocol::Gemini, Answer::Events(events)) => {
            for (_, data) in payloads(events) {
                gemini_element(data, &mut spoken);
            }
        }
        _ => {}
    }
    (id, spoken.fingerprint())
}

/// Each event's name and JSON payload.
fn payloads<'a>(events: &'a [EventView<'a>]) -> impl DoubleEndedIterator<Item = (&'a str, Json<'a>)> {
    events.iter().filter_map(|event| event.data.json().map(|data| (event.name, Json::new(data))))
}

/// The element of `list` with `index` 0, where a missing index is 0.
fn first_of<'a>(json: Json<'a>, list: &str) -> Option<Json<'a>> {
    json.get(list)?.elements().find(|it| it.get("index").is_none_or(|index| index.text() == "0"))
}

fn chat_stream(events: &[EventView<'_>], spoken: &mut Spoken) {
    let mut calls: BTreeMap<u64, Call> = BTreeMap::new();
    for (_, data) in payloads(events) {
        let Some(delta) = first_of(data, "choices").and_then(|choice| choice.get("delta")) else { continue };
        let [content, tool_calls, function_call] = delta.pick(["content", "tool_calls", "function_call"]);
        spoken.add_text(&string(content));
        for piece in tool_calls.iter().flat_map(|it| it.elements()) {
            let [index, function, custom] = piece.pick(["index", "function", "custom"]);
            let Some(function) = function.or(custom) else { continue };
            let piece = called(function);
            let last = calls.last_key_value().map_or(0, |(last, _)| *last);
            // Some gateways send no index, and every call in one piece.
            let implied = if piece.name.is_empty() || calls.is_empty() { last } else { last.saturating_add(1) };
            let index = index.and_then(|it| it.text().parse().ok()).unwrap_or(implied);
            append(calls.entry(index).or_default(), piece);
        }
        if let Some(function) = function_call.filter(|it| it.is_object()) {
            append(calls.entry(0).or_default(), called(function));
        }
    }
    calls.into_values().for_each(|call| spoken.add_call(call));
}

fn append(call: &mut Call, piece: Call) {
    // Some gateways repeat the name in every piece.
    if call.name.is_empty() {
        call.name = piece.name;
    }
    call.arguments.push_str(&piece.arguments);
}

fn messages_stream(events: &[EventView<'_>], spoken: &mut Spoken) {
    // By block: the call as it began, and the arguments that came in pieces, which then count alone.
    let mut calls: BTreeMap<u64, (Call, String)> = BTreeMap::new();
    for (name, data) in payloads(events) {
        let [kind, index, block, delta] = data.pick(["type", "index", "content_block", "delta"]);
        let kind = kind.and_then(Json::string).unwrap_or(name.into());
        let index = index.and_then(|it| it.text().parse().ok()).unwrap_or(0);
        match (&*kind, block, delta) {
            ("content_block_start", Some(block), _) => {
                let [kind, text] = block.pick(["type", "text"]);
                let kind = string(kind);
                if kind == "text" {
                    spoken.add_text(&string(text));
                } else if kind.ends_with("tool_use") {
                    calls.insert(index, (called(block), String::new()));
                }
            }
            ("content_block_delta", _, Some(delta)) => {
                let [kind, text, json] = delta.pick(["type", "text", "partial_json"]);
                if kind.is_some_and(|it| it.is("text_delta")) {
                    spoken.add_text(&string(text));
                } else if let (Some(json), Some((_, pieces))) = (json, calls.get_mut(&index)) {
                    pieces.push_str(&string(Some(json)));
                }
            }
            _ => {}
        }
    }
    for (mut call, pieces) in calls.into_values() {
        if !pieces.is_empty() {
            call.arguments = pieces;
        }
        spoken.add_call(call);
    }
}

/// Adds what a response object holds; gives the hash of its id.
fn responses_object(response: Json<'_>, spoken: &mut Spoken) -> Option<[u8; 8]> {
    let [id, output] = response.pick(["id", "output"]);
    for item in output.iter().flat_map(|it| it.elements()).filter(|item| is_made_by_model(*item)) {
        spoken.add_responses_item(item);
    }
    id.and_then(id_hash)
}

/// As the final response tells; where it is missing or empty, as the finished items do.
fn responses_stream(events: &[EventView<'_>], spoken: &mut Spoken) -> Option<[u8; 8]> {
    let mut id = None;
    let mut items = Spoken::default();
    let mut whole = Spoken::default();
    for (name, data) in payloads(events) {
        let [kind, response, item] = data.pick(["type", "response", "item"]);
        let kind = kind.and_then(Json::string).unwrap_or(name.into());
        match (&*kind, response, item) {
            ("response.created", Some(response), _) => id = id.or(response.get("id").and_then(id_hash)),
            ("response.completed" | "response.incomplete" | "response.failed", Some(response), _) => {
                whole = Spoken::default();
                id = responses_object(response, &mut whole).or(id);
            }
            ("response.output_item.done", _, Some(item)) if is_made_by_model(item) => items.add_responses_item(item),
            _ => {}
        }
    }
    *spoken = if whole.fingerprint().is_some() { whole } else { items };
    id
}

fn gemini_element(element: Json<'_>, spoken: &mut Spoken) {
    if let Some(content) = first_of(element, "candidates").and_then(|candidate| candidate.get("content")) {
        spoken.add_gemini_content(content);
    }
}
