//! What stands in an answer, or in an event of a streamed one, for whoever rewrites its texts.

use super::request::texts_of;
use super::template::Template;
use crate::json::Json;
use crate::protocol::Protocol;

/// Which text of an answer: the choice (Chat), the block (Messages), output and content (Responses), the candidate
/// (Gemini).
pub(super) type Key = (u32, u32);

/// Something to act on, in the order in which it stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    /// The next piece of a text.
    Text(Key, Json<'a>),
    /// The text has come to its end.
    Over(Key),
    /// All texts of this output (Responses) have.
    OverOutput(u32),
    /// All texts have.
    OverAll,
    /// What comes now follows the text, which may go on behind it.
    Pause(Key),
    /// The same for all texts.
    PauseAll,
    /// A text once more, all of it.
    Copy(Json<'a>),
    /// A text once more, as far as it has come.
    CopySoFar(Json<'a>),
}

/// What stands in one event.
#[derive(Debug, Default)]
pub(super) struct Sight<'a> {
    pub(super) items: Vec<Item<'a>>,
    /// What the event's own number is in its stream (Responses).
    pub(super) sequence: Option<Json<'a>>,
}

/// Whether an answer's texts can be told in this protocol.
pub(super) fn is_known(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Chat | Protocol::Messages | Protocol::Responses | Protocol::Gemini)
}

/// Looks at an event: its name and its data, a JSON value.
pub(super) fn event<'a>(protocol: Protocol, name: &str, data: Json<'a>) -> Sight<'a> {
    let mut sight = Sight::default();
    match protocol {
        Protocol::Chat => chat_chunk(data, &mut sight.items),
        Protocol::Messages => messages_event(name, data, &mut sight.items),
        Protocol::Responses => {
            sight.sequence = data.get("sequence_number");
            responses_event(name, data, &mut sight.items);
        }
        Protocol::Gemini => gemini_element(data, &mut sight.items),
        _ => {}
    }
    sight
}

/// Looks at a whole answer.
pub(super) fn answer(protocol: Protocol, body: Json<'_>) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    match protocol {
        Protocol::Chat => {
            for (key, choice) in numbered(body.get("choices")) {
                let content = choice.get("message").and_then(|it| it.get("content"));
                items.extend(texts_of(content, &["text"]).into_iter().map(|it| Item::Text(key, it)));
            }
        }
        Protocol::Messages => {
            for (at, block) in body.get("content").into_iter().flat_map(Json::elements).enumerate() {
                let [kind, text] = block.pick(["type", "text"]);
                if let Some(text) = text.filter(|it| it.is_string() && kind.is_some_and(|it| it.is("text"))) {
                    let key = (at as u32, 0);
                    items.extend([Item::Text(key, text), Item::Over(key)]);
                }
            }
        }
        Protocol::Responses => {
            let [output, text] = body.pick(["output", "output_text"]);
            response_output(output, Item::Copy, &mut items);
            items.extend(text.filter(|it| it.is_string()).map(Item::Copy));
        }
        Protocol::Gemini => gemini_element(body, &mut items),
        _ => {}
    }
    items.push(Item::OverAll);
    items
}

/// The texts of a whole answer's reasoning: of each message, thought or summary the last one. Thoughts that are
/// signed are not among them, for the provider would refuse them when they come back.
pub(super) fn reasoning(protocol: Protocol, body: Json<'_>) -> Vec<Json<'_>> {
    let strings = |it: Option<Json<'_>>| it.is_some_and(Json::is_string);
    let mut found = Vec::new();
    match protocol {
        Protocol::Chat => {
            for (_, choice) in numbered(body.get("choices")) {
                let [content, other] =
                    choice.get("message").map_or([None; 2], |it| it.pick(["reasoning_content", "reasoning"]));
                found.extend(content.filter(|it| strings(Some(*it))).or(other.filter(|it| strings(Some(*it)))));
            }
        }
        Protocol::Messages => {
            for block in body.get("content").into_iter().flat_map(Json::elements) {
                let [thinking, signature] = block.pick(["thinking", "signature"]);
                let is_signed = signature.is_some_and(|it| !it.is_null() && !it.is(""));
                found.extend(thinking.filter(|it| it.is_string() && !is_signed));
            }
        }
        Protocol::Responses => {
            for item in body.get("output").into_iter().flat_map(Json::elements) {
                let [kind, summary, content] = item.pick(["type", "summary", "content"]);
                if kind.is_some_and(|it| it.is("reasoning")) {
                    let last = |list| texts_of(list, &["summary_text", "reasoning_text"]).last().copied();
                    found.extend(last(summary).or_else(|| last(content)));
                }
            }
        }
        Protocol::Gemini => {
            for (_, candidate) in numbered(unwrapped(body).get("candidates")) {
                let parts = candidate.get("content").and_then(|it| it.get("parts"));
                let thought = |part: Json<'_>| {
                    let [text, thought, signature] = part.pick(["text", "thought", "thoughtSignature"]);
                    let is_open = thought.is_some_and(|it| it.text() == "true") && signature.is_none();
                    // The lifetime of what is found is the body's.
                    is_open && strings(text)
                };
                let last = parts.into_iter().flat_map(Json::elements).filter(|it| thought(*it)).last();
                found.extend(last.and_then(|it| it.get("text")));
            }
        }
        _ => {}
    }
    found
}

/// How a piece of a text is told that no event of the stream told: in the words of the event that opened the text.
pub(super) fn template(protocol: Protocol, key: Key, data: Json<'_>) -> Template {
    let (first, second) = key;
    let kept = |json: Json<'_>, names: &[&str]| {
        let mut members = String::new();
        for (name, value) in json.members().filter(|(name, _)| names.contains(&name.as_ref())) {
            // What is longer is none of the short words that are meant.
            if value.text().len() <= 256 {
                members.push_str(&format!("\"{name}\":{},", value.text()));
            }
        }
        members
    };
    match protocol {
        Protocol::Chat => {
            let words = kept(data, &["id", "object", "created", "model", "system_fingerprint", "service_tier"]);
            let before = format!("{{{words}\"choices\":[{{\"index\":{first},\"delta\":{{\"content\":");
            Template { name: None, before, after: "},\"finish_reason\":null}]}".into() }
        }
        Protocol::Responses => {
            let item = kept(data, &["item_id"]);
            let name = "response.output_text.delta";
            let before =
                format!("{{\"type\":\"{name}\",{item}\"output_index\":{first},\"content_index\":{second},\"delta\":");
            Template { name: Some(name), before, after: ",\"logprobs\":[]}".into() }
        }
        Protocol::Gemini => {
            let words = kept(unwrapped(data), &["modelVersion", "responseId", "createTime"]);
            let (open, close) = if data.get("candidates").is_some() { ("", "") } else { ("{\"response\":", "}") };
            let before = format!("{open}{{{words}\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":");
            Template { name: None, before, after: format!("}}],\"role\":\"model\"}},\"index\":{first}}}]}}{close}") }
        }
        _ => {
            let name = "content_block_delta";
            let before =
                format!("{{\"type\":\"{name}\",\"index\":{first},\"delta\":{{\"type\":\"text_delta\",\"text\":");
            Template { name: Some(name), before, after: "}}".into() }
        }
    }
}

fn chat_chunk<'a>(chunk: Json<'a>, items: &mut Vec<Item<'a>>) {
    let [choices, usage] = chunk.pick(["choices", "usage"]);
    let mut has_content = false;
    for (key, choice) in numbered(choices) {
        let [delta, finish] = choice.pick(["delta", "finish_reason"]);
        let [content, tools, function] = match delta {
            Some(delta) => delta.pick(["content", "tool_calls", "function_call"]),
            None => [None; 3],
        };
        for text in texts_of(content, &["text"]) {
            has_content = true;
            items.push(Item::Text(key, text));
        }
        let calls = tools.is_some_and(|it| it.elements().next().is_some()) || function.is_some_and(Json::is_object);
        if calls || finish.is_some_and(|it| !it.is_null()) {
            has_content = true;
            items.push(Item::Over(key));
        }
    }
    if has_content {
        return;
    }
    let is_of_usage = choices.is_some_and(|it| it.elements().next().is_none()) && usage.is_some_and(Json::is_object);
    items.push(if is_of_usage { Item::OverAll } else { Item::PauseAll });
}

fn messages_event<'a>(name: &str, data: Json<'a>, items: &mut Vec<Item<'a>>) {
    let [kind, index, inner] = data.pick(["type", "index", "delta"]);
    let key = (index.and_then(number).unwrap_or_default(), 0);
    let kind = kind.and_then(Json::string).unwrap_or_else(|| name.to_owned().into());
    match &*kind {
        "ping" => {}
        "content_block_start" | "content_block_delta" => {
            let inner = if kind == "content_block_delta" { inner } else { data.get("content_block") };
            let [kind, text] = inner.map_or([None; 2], |it| it.pick(["type", "text"]));
            let is_text = kind.is_some_and(|it| it.is("text") || it.is("text_delta"));
            match text.filter(|it| is_text && it.is_string()) {
                Some(text) => items.push(Item::Text(key, text)),
                None => items.push(Item::PauseAll),
            }
        }
        "content_block_stop" => items.push(Item::Over(key)),
        "message_stop" => items.push(Item::OverAll),
        "message_delta" => {
            let reason = inner.and_then(|it| it.get("stop_reason"));
            items.push(if reason.is_some_and(Json::is_string) { Item::OverAll } else { Item::PauseAll });
        }
        _ => items.push(Item::PauseAll),
    }
}

fn responses_event<'a>(name: &str, data: Json<'a>, items: &mut Vec<Item<'a>>) {
    let [kind, output, content] = data.pick(["type", "output_index", "content_index"]);
    let kind = kind.and_then(Json::string).unwrap_or_else(|| name.to_owned().into());
    let output = output.and_then(number).unwrap_or_default();
    let key = (output, content.and_then(number).unwrap_or_default());
    let part = || data.get("part").into_iter().flat_map(output_text);
    match &*kind {
        "response.output_text.delta" => match data.get("delta").filter(|it| it.is_string()) {
            Some(text) => items.push(Item::Text(key, text)),
            None => items.push(Item::PauseAll),
        },
        "response.output_text.done" => {
            items.push(Item::Over(key));
            items.extend(data.get("text").filter(|it| it.is_string()).map(Item::Copy));
        }
        "response.content_part.added" => {
            items.push(Item::PauseAll);
            items.extend(part().map(|text| Item::Text(key, text)));
        }
        "response.content_part.done" => {
            items.push(Item::Over(key));
            items.extend(part().map(Item::Copy));
        }
        "response.output_item.added" => {
            items.push(Item::PauseAll);
            data.get("item").into_iter().for_each(|item| response_item(item, Item::CopySoFar, items));
        }
        "response.output_item.done" => {
            items.extend([Item::OverOutput(output), Item::PauseAll]);
            data.get("item").into_iter().for_each(|item| response_item(item, Item::Copy, items));
        }
        "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" => {
            items.push(Item::OverAll);
            response_output(data.get("response").and_then(|it| it.get("output")), Item::Copy, items);
        }
        _ => {
            items.push(Item::PauseAll);
            response_output(data.get("response").and_then(|it| it.get("output")), Item::CopySoFar, items);
        }
    }
}

fn response_output<'a>(output: Option<Json<'a>>, item: fn(Json<'a>) -> Item<'a>, items: &mut Vec<Item<'a>>) {
    output.into_iter().flat_map(Json::elements).for_each(|it| response_item(it, item, items));
}

fn response_item<'a>(message: Json<'a>, item: fn(Json<'a>) -> Item<'a>, items: &mut Vec<Item<'a>>) {
    let [kind, content] = message.pick(["type", "content"]);
    if kind.is_some_and(|it| it.is("message")) {
        items.extend(content.into_iter().flat_map(Json::elements).filter_map(output_text).map(item));
    }
}

fn output_text(part: Json<'_>) -> Option<Json<'_>> {
    texts_of_part(part, "output_text")
}

fn texts_of_part<'a>(part: Json<'a>, wanted: &str) -> Option<Json<'a>> {
    let [kind, text] = part.pick(["type", "text"]);
    text.filter(|it| it.is_string() && kind.is_some_and(|it| it.is(wanted)))
}

fn gemini_element<'a>(element: Json<'a>, items: &mut Vec<Item<'a>>) {
    let before = items.len();
    for (key, candidate) in numbered(unwrapped(element).get("candidates")) {
        let [content, finish] = candidate.pick(["content", "finishReason"]);
        for part in content.and_then(|it| it.get("parts")).into_iter().flat_map(Json::elements) {
            let [text, thought] = part.pick(["text", "thought"]);
            items.push(match text.filter(|it| it.is_string()) {
                Some(_) if thought.is_some_and(|it| it.text() == "true") => Item::Pause(key),
                Some(text) => Item::Text(key, text),
                None => Item::Over(key),
            });
        }
        if finish.is_some_and(|it| !it.is_null()) {
            items.push(Item::Over(key));
        }
    }
    if items.len() == before {
        items.push(Item::PauseAll);
    }
}

/// What a Gemini element says; the API of Google's command line wraps it.
fn unwrapped(element: Json<'_>) -> Json<'_> {
    match element.pick(["candidates", "response"]) {
        [None, Some(response)] => response,
        _ => element,
    }
}

/// The elements of a list with their own `index`, else with their place in it.
fn numbered(list: Option<Json<'_>>) -> impl Iterator<Item = (Key, Json<'_>)> {
    list.into_iter().flat_map(Json::elements).enumerate().map(|(at, element)| {
        let index = element.get("index").and_then(number).unwrap_or(at as u32);
        ((index, 0), element)
    })
}

fn number(json: Json<'_>) -> Option<u32> {
    json.text().parse().ok()
}
