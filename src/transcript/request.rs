//! Requests of every protocol as messages, in the order in which the model reads them.

use super::blocks::{Names, content, gemini_parts, push_text, string, text_of};
use super::{Message, Part};
use crate::json::Json;
use crate::protocol::Protocol;
use crate::trace::asked::Asked;

fn present(value: Option<Json<'_>>) -> Option<Json<'_>> {
    value.filter(|it| !it.is_null())
}

/// What is said in a request. Places count from the beginning of its own text.
pub(super) fn messages(protocol: Protocol, request: Json<'_>, asked: &Asked<'_>, names: &Names) -> Vec<Message> {
    let mut said = Vec::new();
    let mut say = |role: &str, of: Json<'_>, read: &dyn Fn(&mut Vec<Part>)| {
        let mut parts = Vec::new();
        read(&mut parts);
        said.push(Message { role: role.to_owned(), note: None, parts, place: of.place_in(request.text()) });
    };
    match protocol {
        Protocol::Chat | Protocol::Messages => {
            if let Some(system) = present(asked.system) {
                say("system", system, &|parts| content(parts, system, names));
            }
            for turn in asked.messages.into_iter().flat_map(Json::elements) {
                said.push(chat_message(turn, request, names));
            }
        }
        Protocol::Responses => {
            if let Some(instructions) = present(asked.instructions) {
                say("instructions", instructions, &|parts| content(parts, instructions, names));
            }
            match present(asked.input) {
                Some(input) if input.is_array() => {
                    for item in input.elements() {
                        said.push(item_message(item, request, names));
                    }
                }
                Some(input) => say("user", input, &|parts| content(parts, input, names)),
                None => {}
            }
        }
        Protocol::Gemini => {
            if let Some(system) = present(asked.system_instruction) {
                say("system", system, &|parts| gemini_parts(parts, system, names, 0));
            }
            let contents = asked.contents;
            let one = contents.filter(|it| it.is_object());
            for turn in contents.into_iter().flat_map(Json::elements).chain(one) {
                let role = turn.get("role").map_or_else(|| "user".to_owned(), |it| string(Some(it)));
                say(&role, turn, &|parts| gemini_parts(parts, turn, names, 0));
            }
        }
        _ => {
            for name in SAID_ELSEWHERE {
                let Some(value) = present(request.get(name)) else { continue };
                say(name, value, &|parts| {
                    if value.is_array() {
                        value.elements().for_each(|it| push_text(parts, text_of(it), Part::Text));
                    } else {
                        push_text(parts, text_of(value), Part::Text);
                    }
                });
            }
        }
    }
    said
}

/// Where requests of other protocols say what they want.
const SAID_ELSEWHERE: [&str; 3] = ["instructions", "prompt", "input"];

/// Whether a member of a request is said, and no setting.
pub(super) fn is_said(protocol: Protocol, name: &str) -> bool {
    match protocol {
        Protocol::Chat | Protocol::Messages => matches!(name, "system" | "messages"),
        Protocol::Responses => matches!(name, "instructions" | "input"),
        Protocol::Gemini => matches!(name, "systemInstruction" | "system_instruction" | "contents"),
        _ => SAID_ELSEWHERE.contains(&name),
    }
}

/// The names in a list of tools, in whatever form they are declared.
pub(super) fn tool_names(tools: Json<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for tool in tools.elements() {
        let [name, function, kind, declared, snake] =
            tool.pick(["name", "function", "type", "functionDeclarations", "function_declarations"]);
        if let Some(declared) = declared.or(snake) {
            names.extend(declared.elements().map(|it| string(it.get("name"))));
            continue;
        }
        let named = name.or_else(|| function?.get("name")).or(kind);
        let first = || tool.members().next().map(|(name, _)| name.into_owned());
        names.extend(named.map(|it| string(Some(it))).or_else(first));
    }
    names
}

/// A message of Chat or Messages; of the answer too.
pub(super) fn chat_message(turn: Json<'_>, whole: Json<'_>, names: &Names) -> Message {
    let role = string(turn.get("role"));
    let mut parts = Vec::new();
    for (name, value) in turn.members() {
        match &*name {
            // What was thought before anything was said, wherever it stands.
            "reasoning_content" | "reasoning" => {
                let mut thoughts = Vec::new();
                push_text(&mut thoughts, string(Some(value)), Part::Reasoning);
                parts.splice(..0, thoughts);
            }
            "content" | "images" => content(&mut parts, value, names),
            "refusal" => push_text(&mut parts, string(Some(value)), |text| {
                let kind = "refusal".to_owned();
                Part::Other { kind, text }
            }),
            "tool_calls" => value.elements().for_each(|call| parts.push(chat_call(call))),
            "function_call" if value.is_object() => parts.push(chat_call(turn)),
            "audio" => {
                let [data, transcript] = value.pick(["data", "transcript"]);
                parts.extend(data.map(|data| names.media(data, None)));
                push_text(&mut parts, string(transcript), Part::Text);
            }
            _ => {}
        }
    }
    if role == "tool" || role == "function" {
        let of = string(turn.get("tool_call_id").or(turn.get("name")));
        parts = vec![Part::Result { of, is_error: false, parts }];
    }
    let role = if role.is_empty() { "message".to_owned() } else { role };
    Message { role, note: None, parts, place: turn.place_in(whole.text()) }
}

fn chat_call(call: Json<'_>) -> Part {
    let [id, function, custom, legacy] = call.pick(["id", "function", "custom", "function_call"]);
    let called = function.or(custom).or(legacy).unwrap_or(call);
    let [name, arguments, input] = called.pick(["name", "arguments", "input"]);
    Part::Call { name: string(name), id: string(id), arguments: arguments.or(input).map_or_else(String::new, text_of) }
}

/// An item of Responses; of the answer too.
pub(super) fn item_message(item: Json<'_>, whole: Json<'_>, names: &Names) -> Message {
    let mut parts = Vec::new();
    content(&mut parts, item, names);
    let role = match (item.get("role"), parts.first()) {
        (Some(role), _) => string(Some(role)),
        (None, Some(Part::Result { .. })) => "tool".to_owned(),
        (None, _) => "assistant".to_owned(),
    };
    Message { role, note: None, parts, place: item.place_in(whole.text()) }
}
