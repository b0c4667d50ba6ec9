//! Answers that came whole, as messages.

use super::blocks::{Names, content, gemini_parts, push_text, string, text_of};
use super::request::{chat_message, item_message};
use super::{Media, Message, Part};
use crate::json::Json;
use crate::protocol::Protocol;

/// What an answer says.
pub(super) fn messages(protocol: Protocol, answer: Json<'_>, names: &Names) -> Vec<Message> {
    let mut said = match protocol {
        Protocol::Chat | Protocol::Completions => choices(answer, names),
        Protocol::Messages => spoken(answer, names).into_iter().collect(),
        Protocol::Responses | Protocol::Realtime => output(answer, names),
        Protocol::Gemini => candidates(answer, names),
        Protocol::Embeddings => vectors(answer).into_iter().collect(),
        Protocol::Images => images(answer, names).into_iter().collect(),
        Protocol::Audio => transcription(answer).into_iter().collect(),
        Protocol::Models | Protocol::Unknown => Vec::new(),
    };
    if said.is_empty() {
        said.extend(failure(answer));
    }
    if said.is_empty() && !answer.is_null() {
        let parts = vec![Part::Other { kind: "json".to_owned(), text: answer.text().to_owned() }];
        said.push(assistant(None, parts));
    }
    said.iter_mut().for_each(|message| message.place = None);
    said
}

pub(super) fn assistant(note: Option<String>, parts: Vec<Part>) -> Message {
    Message { role: "assistant".to_owned(), note, parts, place: None }
}

/// A reason to end, if one is told.
pub(super) fn told(reason: Option<Json<'_>>) -> Option<String> {
    Some(string(reason)).filter(|it| !it.is_empty())
}

/// The error that a body is.
pub(super) fn failure(answer: Json<'_>) -> Option<Message> {
    let [error, of_response, detail, message] = answer.pick(["error", "response", "detail", "message"]);
    let error = error.filter(|it| !it.is_null()).or_else(|| of_response?.get("error").filter(|it| !it.is_null()));
    let error = error.or(detail).or(message)?;
    let [kind, code, message] = error.pick(["type", "code", "message"]);
    let note = told(kind).or_else(|| code.map(text_of));
    let text = message.map_or_else(|| text_of(error), text_of);
    Some(Message { role: "error".to_owned(), note, parts: vec![Part::Text(text)], place: None })
}

fn choices(answer: Json<'_>, names: &Names) -> Vec<Message> {
    let choices: Vec<Json<'_>> = answer.get("choices").into_iter().flat_map(Json::elements).collect();
    let read = |choice: &Json<'_>| {
        let [message, text, reason] = choice.pick(["message", "text", "finish_reason"]);
        let mut said = match (message, text) {
            (Some(message), _) => chat_message(message, answer, names),
            (None, Some(text)) => assistant(None, vec![Part::Text(string(Some(text)))]),
            (None, None) => assistant(None, Vec::new()),
        };
        said.note = told(reason);
        said
    };
    choices.iter().map(read).collect()
}

/// A message of the Messages API.
fn spoken(answer: Json<'_>, names: &Names) -> Option<Message> {
    let [role, blocks, reason, tokens] = answer.pick(["role", "content", "stop_reason", "input_tokens"]);
    if let Some(tokens) = tokens {
        return Some(assistant(None, vec![Part::Other { kind: "input tokens".to_owned(), text: text_of(tokens) }]));
    }
    let blocks = blocks.filter(|it| it.is_array())?;
    let mut parts = Vec::new();
    content(&mut parts, blocks, names);
    let role = role.map_or_else(|| "assistant".to_owned(), |it| string(Some(it)));
    Some(Message { role, note: told(reason), parts, place: None })
}

/// The items of a response; what the model said between two calls is one message.
pub(super) fn output(response: Json<'_>, names: &Names) -> Vec<Message> {
    let [items, status, incomplete] = response.pick(["output", "status", "incomplete_details"]);
    let items: Vec<Json<'_>> = items.into_iter().flat_map(Json::elements).collect();
    let reason = incomplete.and_then(|it| told(it.get("reason"))).or(told(status));
    of_items(&items, reason, response, names)
}

/// Items as one message, but for those of other roles.
pub(super) fn of_items(items: &[Json<'_>], note: Option<String>, whole: Json<'_>, names: &Names) -> Vec<Message> {
    let mut said: Vec<Message> = Vec::new();
    for item in items {
        let message = item_message(*item, whole, names);
        match said.last_mut() {
            Some(last) if last.role == message.role => last.parts.extend(message.parts),
            _ => said.push(message),
        }
    }
    if let Some(last) = said.last_mut() {
        last.note = note;
    }
    said
}

fn candidates(answer: Json<'_>, names: &Names) -> Vec<Message> {
    let one = Some(answer).filter(|it| it.is_object());
    let mut said = Vec::new();
    for element in answer.elements().chain(one) {
        for candidate in element.get("candidates").into_iter().flat_map(Json::elements) {
            let [value, reason] = candidate.pick(["content", "finishReason"]);
            let role = value.and_then(|it| it.get("role")).map_or_else(|| "model".to_owned(), |it| string(Some(it)));
            let mut parts = Vec::new();
            value.into_iter().for_each(|it| gemini_parts(&mut parts, it, names, 0));
            said.push(Message { role, note: told(reason), parts, place: None });
        }
        let blocked = element.get("promptFeedback").and_then(|it| told(it.get("blockReason")));
        said.extend(blocked.map(|reason| Message {
            role: "error".to_owned(),
            note: Some("blocked".to_owned()),
            parts: vec![Part::Text(reason)],
            place: None,
        }));
    }
    said
}

fn vectors(answer: Json<'_>) -> Option<Message> {
    let [data, many, one] = answer.pick(["data", "embeddings", "embedding"]);
    let vectors: Vec<Json<'_>> = data.or(many).into_iter().flat_map(Json::elements).chain(one).collect();
    let first = vectors.first()?;
    let numbers = first.get("embedding").or(first.get("values")).unwrap_or(*first);
    let length = if numbers.is_array() { format!(" of {} numbers", numbers.elements().count()) } else { String::new() };
    let text = format!("{}{length}", vectors.len());
    Some(assistant(None, vec![Part::Other { kind: "vectors".to_owned(), text }]))
}

fn images(answer: Json<'_>, names: &Names) -> Option<Message> {
    let mut parts = Vec::new();
    for image in answer.get("data")?.elements() {
        let [payload, url, prompt] = image.pick(["b64_json", "url", "revised_prompt"]);
        parts.extend(payload.or(url).map(|it| names.media(it, None)));
        push_text(&mut parts, string(prompt), Part::Text);
    }
    Some(assistant(None, parts))
}

fn transcription(answer: Json<'_>) -> Option<Message> {
    Some(assistant(None, vec![Part::Text(string(Some(answer.get("text")?)))]))
}

/// The attachments that were put together from pieces.
pub(super) fn joined(names: &Names) -> impl Iterator<Item = Part> {
    names.joined.iter().map(|media: &Media| Part::Media(media.clone()))
}
