//! What an answer said, whole or streamed, and under which id.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::canonical::{Blocks, Canonical};
use super::form::Form;
use super::id_hash;
use super::reply::{Arguments, Call, Spoken, called, is_made_by_model};
use crate::json::Json;
use crate::protocol::Protocol;
use crate::trace::view::{Answer, EventView};

/// The hash of the answer's id (Responses only) and the fingerprint of what it said.
pub(super) fn of(protocol: Protocol, answer: &Answer<'_>) -> (Option<[u8; 8]>, Option<[u8; 8]>) {
    let mut spoken = Spoken::default();
    let mut id = None;
    match (protocol, answer) {
        (Protocol::Chat, Answer::Json(text)) => {
            let message = of_first(Json::new(text), "choices", "message");
            message.into_iter().for_each(|message| spoken.add_json(message, Spoken::add_chat_message));
        }
        (Protocol::Chat, Answer::Events(events)) => chat_stream(events, &mut spoken),
        (Protocol::Messages, Answer::Json(text)) => {
            spoken.add_json(Json::new(text), Spoken::add_messages_message);
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

/// The member `name` of the element of `list` with `index` 0, where a missing index is 0.
fn of_first<'a>(json: Json<'a>, list: &str, name: &str) -> Option<Json<'a>> {
    json.get(list)?.elements().find_map(|element| {
        let [index, member] = element.pick(["index", name]);
        index.is_none_or(|index| index.text() == "0").then_some(member)
    })?
}

fn chat_stream(events: &[EventView<'_>], spoken: &mut Spoken) {
    let mut calls: BTreeMap<u64, Call> = BTreeMap::new();
    for (_, data) in payloads(events) {
        let Some(delta) = of_first(data, "choices", "delta") else { continue };
        let [content, tool_calls, function_call] = delta.pick(["content", "tool_calls", "function_call"]);
        spoken.add_text(string(content).as_bytes());
        for piece in tool_calls.iter().flat_map(|it| it.elements()) {
            let [index, function, custom] = piece.pick(["index", "function", "custom"]);
            let Some(function) = function.or(custom) else { continue };
            let piece = Piece::of(function);
            let last = calls.last_key_value().map_or(0, |(last, _)| *last);
            // Some gateways send no index, and every call in one piece.
            let implied = if piece.name.is_empty() || calls.is_empty() { last } else { last.saturating_add(1) };
            let index = index.and_then(|it| it.text().parse().ok()).unwrap_or(implied);
            append(calls.entry(index).or_default(), piece);
        }
        if let Some(function) = function_call.filter(|it| it.is_object()) {
            append(calls.entry(0).or_default(), Piece::of(function));
        }
    }
    calls.into_values().for_each(|call| spoken.add_call(call));
}

/// A piece of a call's name and arguments, which are text.
struct Piece {
    name: String,
    arguments: String,
}

impl Piece {
    fn of(function: Json<'_>) -> Piece {
        let [name, arguments, input] = function.pick(["name", "arguments", "input"]);
        Piece { name: string(name).into_owned(), arguments: string(arguments.or(input)).into_owned() }
    }
}

fn append(call: &mut Call, piece: Piece) {
    // Some gateways repeat the name in every piece.
    if call.name.is_empty() {
        call.name = piece.name.into_bytes();
    }
    if let Arguments::Text(text) = &mut call.arguments {
        text.extend_from_slice(piece.arguments.as_bytes());
    }
}

fn messages_stream(events: &[EventView<'_>], spoken: &mut Spoken) {
    // By block: the call as it began, and the arguments that came in pieces, which then count alone.
    let mut calls: BTreeMap<u64, (Call, Vec<u8>)> = BTreeMap::new();
    for (name, data) in payloads(events) {
        let [kind, index, block, delta] = data.pick(["type", "index", "content_block", "delta"]);
        let kind = kind.and_then(Json::string).unwrap_or(name.into());
        let index = index.and_then(|it| it.text().parse().ok()).unwrap_or(0);
        match (&*kind, block, delta) {
            ("content_block_start", Some(block), _) => {
                let [kind, text] = block.pick(["type", "text"]);
                let kind = string(kind);
                if kind == "text" {
                    spoken.add_text(string(text).as_bytes());
                } else if kind.ends_with("tool_use") {
                    let mut canonical = Canonical::default();
                    canonical.value(block, Blocks::No);
                    calls.insert(index, (called(Form::new(canonical.bytes())), Vec::new()));
                }
            }
            ("content_block_delta", _, Some(delta)) => {
                let [kind, text, json] = delta.pick(["type", "text", "partial_json"]);
                if kind.is_some_and(|it| it.is("text_delta")) {
                    spoken.add_text(string(text).as_bytes());
                } else if let (Some(json), Some((_, pieces))) = (json, calls.get_mut(&index)) {
                    pieces.extend_from_slice(string(Some(json)).as_bytes());
                }
            }
            _ => {}
        }
    }
    for (mut call, pieces) in calls.into_values() {
        if !pieces.is_empty() {
            call.arguments = Arguments::Text(pieces);
        }
        spoken.add_call(call);
    }
}

/// Adds what a response object holds; gives the hash of its id.
fn responses_object(response: Json<'_>, spoken: &mut Spoken) -> Option<[u8; 8]> {
    let [id, output] = response.pick(["id", "output"]);
    output.into_iter().for_each(|output| spoken.add_json(output, Spoken::add_responses_output));
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
            ("response.output_item.done", _, Some(item)) => items.add_json(item, |items, item| {
                if is_made_by_model(item) {
                    items.add_responses_item(item);
                }
            }),
            _ => {}
        }
    }
    *spoken = if whole.fingerprint().is_some() { whole } else { items };
    id
}

fn gemini_element(element: Json<'_>, spoken: &mut Spoken) {
    if let Some(content) = of_first(element, "candidates", "content") {
        spoken.add_json(content, Spoken::add_gemini_content);
    }
}

/// The string that a member is, `""` if it is none.
fn string(member: Option<Json<'_>>) -> Cow<'_, str> {
    member.and_then(Json::string).unwrap_or_default()
}
