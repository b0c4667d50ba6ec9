//! Requests: the texts of their turns, and where a suffix goes.

use super::edits::{Edits, content, quoted};
use super::flow::Work;
use crate::json::Json;
use crate::plugin::kinds::text_append::UpTarget;
use crate::protocol::Protocol;
use crate::wire::json::value;

/// The request's body after `work`; `None` if that changes nothing, be it that the text is no JSON.
///
/// Rules are applied to the text parts of the turns. System prompts, arguments and results of tools, images and
/// definitions stay as they are. `target` is where a suffix goes.
pub fn request(protocol: Protocol, work: &Work, target: UpTarget, text: &str) -> Option<String> {
    value(text).ok()?;
    let turns = Turns::of(protocol, Json::new(text))?;
    let mut edits = Edits::default();
    match (work, target) {
        (Work::Replace(_), _) => {
            for text_part in turns.texts {
                edits.string(text, text_part, &work.whole(&content(text_part), &mut 0));
            }
        }
        (Work::Append(suffix), UpTarget::LastUserMessage) => append(&mut edits, text, turns.last_user?, suffix),
        (Work::Append(suffix), UpTarget::SystemPrompt) => match turns.system {
            System::Text(system) => append(&mut edits, text, system, suffix),
            System::Instead { of, before, after } => {
                edits.put(of.place_in(text)?, [before, &quoted(suffix.as_bytes()), after].concat());
            }
            System::Within { list, before, after } => {
                let start = list.place_in(text)?.start + 1;
                let is_empty = list.text()[1..].trim_ascii_start().starts_with([']', '}']);
                let comma = if is_empty { "" } else { "," };
                edits.put(start..start, [before, &quoted(suffix.as_bytes()), after, comma].concat());
            }
            System::Nowhere => return None,
        },
    }
    edits.applied(text)
}

fn append(edits: &mut Edits, whole: &str, string: Json<'_>, suffix: &str) {
    let mut text = content(string);
    text.extend_from_slice(suffix.as_bytes());
    edits.string(whole, string, &text);
}

/// What of a request can be rewritten.
struct Turns<'a> {
    /// The strings of all text parts, in order.
    texts: Vec<Json<'a>>,
    last_user: Option<Json<'a>>,
    system: System<'a>,
}

/// Where the system prompt is, or would be.
enum System<'a> {
    /// It is there.
    Text(Json<'a>),
    /// Instead of this value (a `null`).
    Instead {
        of: Json<'a>,
        before: &'static str,
        after: &'static str,
    },
    /// At the beginning of this object or array.
    Within {
        list: Json<'a>,
        before: &'static str,
        after: &'static str,
    },
    Nowhere,
}

/// Whose turn a role is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    User,
    Other,
    System,
    /// A tool's result.
    Tool,
}

impl<'a> Turns<'a> {
    fn of(protocol: Protocol, body: Json<'a>) -> Option<Turns<'a>> {
        if !body.is_object() {
            return None;
        }
        match protocol {
            Protocol::Chat => Some(Turns::chat(body)),
            Protocol::Messages => Some(Turns::messages(body)),
            Protocol::Responses => Some(Turns::responses(body)),
            Protocol::Gemini => Some(Turns::gemini(body)),
            _ => None,
        }
    }

    fn empty(system: System<'a>) -> Turns<'a> {
        Turns { texts: Vec::new(), last_user: None, system }
    }

    /// Takes in the texts of a turn.
    fn turn(&mut self, role: Role, texts: Vec<Json<'a>>) {
        match role {
            Role::Tool => {}
            Role::System => {
                if let (Some(last), false) = (texts.last(), matches!(self.system, System::Text(_))) {
                    self.system = System::Text(*last);
                }
            }
            Role::User | Role::Other => {
                if role == Role::User {
                    self.last_user = texts.last().copied().or(self.last_user);
                }
                self.texts.extend(texts);
            }
        }
    }

    fn chat(body: Json<'a>) -> Turns<'a> {
        let Some(messages) = body.get("messages").filter(|it| it.is_array()) else {
            return Turns::empty(System::Nowhere);
        };
        let before = r#"{"role":"system","content":"#;
        let mut turns = Turns::empty(System::Within { list: messages, before, after: "}" });
        for message in messages.elements() {
            let [role, content] = message.pick(["role", "content"]);
            turns.turn(role_of(role), texts_of(content, &["text"]));
        }
        turns
    }

    fn messages(body: Json<'a>) -> Turns<'a> {
        let [system, messages] = body.pick(["system", "messages"]);
        let block = r#"{"type":"text","text":"#;
        let mut turns = Turns::empty(match system {
            None if messages.is_none() => System::Nowhere,
            None => System::Within { list: body, before: "\"system\":", after: "" },
            Some(system) if system.is_null() => System::Instead { of: system, before: "", after: "" },
            Some(system) => match texts_of(Some(system), &["text"]).last() {
                Some(last) => System::Text(*last),
                None if system.is_array() => System::Within { list: system, before: block, after: "}" },
                None => System::Nowhere,
            },
        });
        for message in messages.into_iter().flat_map(Json::elements) {
            let [role, content] = message.pick(["role", "content"]);
            turns.turn(role_of(role), texts_of(content, &["text"]));
        }
        turns
    }

    fn responses(body: Json<'a>) -> Turns<'a> {
        let [instructions, input] = body.pick(["instructions", "input"]);
        let mut turns = Turns::empty(match instructions {
            Some(text) if text.is_string() => System::Text(text),
            Some(null) if null.is_null() => System::Instead { of: null, before: "", after: "" },
            Some(_) => System::Nowhere,
            None if input.is_none() => System::Nowhere,
            None => System::Within { list: body, before: "\"instructions\":", after: "" },
        });
        if let Some(text) = input.filter(|it| it.is_string()) {
            turns.turn(Role::User, vec![text]);
        }
        for item in input.into_iter().flat_map(Json::elements) {
            let [kind, role, content] = item.pick(["type", "role", "content"]);
            if kind.is_none_or(|kind| kind.is("message")) {
                turns.turn(role_of(role), texts_of(content, &["input_text", "output_text", "text"]));
            }
        }
        turns
    }

    fn gemini(body: Json<'a>) -> Turns<'a> {
        // The API of Google's command line wraps the request.
        let body = match body.pick(["contents", "request"]) {
            [None, Some(request)] if request.is_object() => request,
            _ => body,
        };
        let [contents, camel, snake] = body.pick(["contents", "systemInstruction", "system_instruction"]);
        let system = camel.or(snake);
        let mut turns = Turns::empty(match system {
            None if contents.is_none() => System::Nowhere,
            None => System::Within { list: body, before: r#""systemInstruction":{"parts":[{"text":"#, after: "}]}" },
            Some(system) if system.is_null() => {
                System::Instead { of: system, before: r#"{"parts":[{"text":"#, after: "}]}" }
            }
            Some(system) if system.is_string() => System::Text(system),
            Some(system) => {
                let parts = system.get("parts");
                match (parts.and_then(|it| texts_of_parts(it).last().copied()), parts) {
                    (Some(last), _) => System::Text(last),
                    (None, Some(parts)) if parts.is_array() => {
                        System::Within { list: parts, before: "{\"text\":", after: "}" }
                    }
                    _ => System::Nowhere,
                }
            }
        });
        let Some(contents) = contents else { return turns };
        // One content may stand without its list.
        let single = contents.is_object().then_some(contents);
        for content in contents.elements().chain(single) {
            let [role, parts] = content.pick(["role", "parts"]);
            turns.turn(
                role.map_or(Role::User, |role| role_of(Some(role))),
                parts.map(texts_of_parts).unwrap_or_default(),
            );
        }
        turns
    }
}

fn role_of(role: Option<Json<'_>>) -> Role {
    match role.and_then(Json::string).as_deref() {
        Some("user") => Role::User,
        Some("system" | "developer") => Role::System,
        Some("tool" | "function") => Role::Tool,
        _ => Role::Other,
    }
}

/// The string that a content is, or the texts of those of its parts that are of one of these types.
pub(super) fn texts_of<'a>(content: Option<Json<'a>>, types: &[&str]) -> Vec<Json<'a>> {
    let Some(content) = content else { return Vec::new() };
    if content.is_string() {
        return vec![content];
    }
    let text = |part: Json<'a>| {
        let [kind, text] = part.pick(["type", "text"]);
        let is_text = kind.is_some_and(|kind| types.iter().any(|it| kind.is(it)));
        text.filter(|text| is_text && text.is_string())
    };
    content.elements().filter_map(text).collect()
}

/// The texts of Gemini's parts that are no thoughts.
fn texts_of_parts(parts: Json<'_>) -> Vec<Json<'_>> {
    let mut texts = Vec::new();
    for part in parts.elements().chain(parts.is_object().then_some(parts)) {
        let [text, thought] = part.pick(["text", "thought"]);
        if thought.is_none_or(|it| it.text() != "true") {
            texts.extend(text.filter(|it| it.is_string()));
        }
    }
    texts
}

#[cfg(test)]
mod tests;
