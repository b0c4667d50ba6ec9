//! What an assistant said, as a loose fingerprint: the same for a recorded answer, streamed or not, and for the
//! turn that the client makes of it. Only text and tool calls count, for thoughts, ids, annotations and empty
//! members come back in many ways or not at all.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};

use super::HASH_VERSION;
use super::canonical::{Blocks, Canonical};
use super::turns::short;
use crate::json::Json;

/// Text and tool calls, gathered from a turn, an answer or the events of a stream.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    text: String,
    calls: Vec<Call>,
}

/// One call of a tool.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// The tool's name.
    pub(super) name: String,
    /// The arguments: JSON text where all is well.
    pub(super) arguments: String,
}

impl Spoken {
    /// Adds a piece of text behind what there is.
    pub(super) fn add_text(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Adds a tool call.
    pub(super) fn add_call(&mut self, call: Call) {
        self.calls.push(call);
    }

    /// Adds what a Chat message holds.
    pub(super) fn add_chat_message(&mut self, message: Json<'_>) {
        let [content, tool_calls, function_call] = message.pick(["content", "tool_calls", "function_call"]);
        self.add_content(content);
        let functions = tool_calls.iter().flat_map(|it| it.elements()).filter_map(|call| {
            // Custom tools have their input as free text.
            let [function, custom] = call.pick(["function", "custom"]);
            function.or(custom)
        });
        for function in functions.chain(function_call.filter(|it| it.is_object())) {
            self.add_call(called(function));
        }
    }

    /// Adds the content of a Messages turn: a string or blocks.
    pub(super) fn add_messages_content(&mut self, content: Json<'_>) {
        if content.is_string() {
            return self.add_content(Some(content));
        }
        for block in content.elements() {
            let [kind, text] = block.pick(["type", "text"]);
            match kind.and_then(Json::string) {
                Some(kind) if kind == "text" => self.add_text(&string(text)),
                Some(kind) if kind.ends_with("tool_use") => self.add_call(called(block)),
                _ => {}
            }
        }
    }

    /// Adds an item that [`is_made_by_model`].
    pub(super) fn add_responses_item(&mut self, item: Json<'_>) {
        let [kind, content, action] = item.pick(["type", "content", "action"]);
        match kind.and_then(Json::string).as_deref() {
            None | Some("message") => self.add_content(content),
            Some("function_call" | "custom_tool_call") => self.add_call(called(item)),
            Some(kind @ "local_shell_call") => self.add_call(Call {
                name: kind.to_owned(),
                arguments: action.map_or_else(String::new, |it| it.text().to_owned()),
            }),
            Some(_) => {}
        }
    }

    /// Adds the parts of a Gemini content; thoughts do not count.
    pub(super) fn add_gemini_content(&mut self, content: Json<'_>) {
        for part in content.get("parts").iter().flat_map(|it| it.elements()) {
            let [text, thought, call, call_snake] = part.pick(["text", "thought", "functionCall", "function_call"]);
            if thought.is_some_and(|it| it.text() == "true") {
                continue;
            }
            self.add_text(&string(text));
            if let Some(call) = call.or(call_snake) {
                self.add_call(called(call));
            }
        }
    }

    /// A string, or the text of every part.
    fn add_content(&mut self, content: Option<Json<'_>>) {
        let Some(content) = content else { return };
        if content.is_string() {
            self.add_text(&string(Some(content)));
        }
        for part in content.elements() {
            self.add_text(&string(part.get("text")));
        }
    }

    /// The fingerprint; `None` if nothing was said. White space around the text does not count, as clients trim it.
    pub(super) fn fingerprint(&self) -> Option<[u8; 8]> {
        let text = self.text.trim();
        if text.is_empty() && self.calls.is_empty() {
            return None;
        }
        let mut canonical = Canonical::default();
        canonical.string(text);
        for call in &self.calls {
            canonical.string(&call.name);
            let arguments = call.arguments.trim();
            if arguments.is_empty() {
                canonical.value(Json::new("{}"), Blocks::No);
            } else if serde_json::from_str::<IgnoredAny>(arguments).is_ok() {
                canonical.value(Json::new(arguments), Blocks::No);
            } else {
                canonical.string(arguments);
            }
        }
        let mut digest = Sha256::new();
        digest.update(format!("api-log reply {HASH_VERSION}\0"));
        digest.update(canonical.bytes());
        Some(short(digest))
    }
}

/// The fingerprint of a Chat message if an assistant spoke it.
pub(super) fn of_chat_turn(message: Json<'_>) -> Option<[u8; 8]> {
    spoken_by("assistant", message, |spoken| spoken.add_chat_message(message))
}

/// The fingerprint of a Messages message if an assistant spoke it.
pub(super) fn of_messages_turn(message: Json<'_>) -> Option<[u8; 8]> {
    spoken_by("assistant", message, |spoken| {
        if let Some(content) = message.get("content") {
            spoken.add_messages_content(content);
        }
    })
}

/// The fingerprint of a Gemini content if the model spoke it.
pub(super) fn of_gemini_turn(content: Json<'_>) -> Option<[u8; 8]> {
    spoken_by("model", content, |spoken| spoken.add_gemini_content(content))
}

fn spoken_by(role: &str, turn: Json<'_>, add: impl FnOnce(&mut Spoken)) -> Option<[u8; 8]> {
    turn.first("role").filter(|it| it.is(role))?;
    let mut spoken = Spoken::default();
    add(&mut spoken);
    spoken.fingerprint()
}

/// Whether a Responses item is part of what a model answers: its messages, thoughts and calls.
pub(super) fn is_made_by_model(item: Json<'_>) -> bool {
    let [kind, role] = item.pick(["type", "role"]);
    match kind.and_then(Json::string).as_deref() {
        None | Some("message") => role.is_some_and(|it| it.is("assistant")),
        Some("reasoning" | "mcp_list_tools" | "mcp_approval_request") => true,
        Some(kind) => kind.ends_with("_call"),
    }
}

/// A call whose `arguments`, `args` or `input` is JSON or a string that holds it.
pub(super) fn called(call: Json<'_>) -> Call {
    let [name, arguments, args, input] = call.pick(["name", "arguments", "args", "input"]);
    let arguments = arguments.or(args).or(input).filter(|it| !it.is_null());
    let arguments = arguments.map(|it| it.string().unwrap_or(Cow::Borrowed(it.text()))).unwrap_or_default();
    Call { name: string(name).into_owned(), arguments: arguments.into_owned() }
}

/// The string that a member is, `""` if it is none.
pub(super) fn string(member: Option<Json<'_>>) -> Cow<'_, str> {
    member.and_then(Json::string).unwrap_or_default()
}
