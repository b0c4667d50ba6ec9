//! What an assistant said, as a loose fingerprint: the same for a recorded answer, streamed or not, and for the
//! turn that the client makes of it. Only text and tool calls count, for thoughts, ids, annotations and empty
//! members come back in many ways or not at all.

use serde::de::IgnoredAny;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::HASH_VERSION;
use super::canonical::{Blocks, Canonical};
use super::form::Form;
use crate::json::Json;

/// Text and tool calls, gathered from a turn, an answer or the events of a stream.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    text: Vec<u8>,
    calls: Vec<Call>,
}

/// One call of a tool.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// The tool's name.
    pub(super) name: Vec<u8>,
    /// What it is called with.
    pub(super) arguments: Arguments,
}

/// The arguments of a tool call.
#[derive(Debug)]
pub(super) enum Arguments {
    /// Text that holds JSON where all is well.
    Text(Vec<u8>),
    /// A value in its canonical form.
    Form(Vec<u8>),
}

impl Default for Arguments {
    fn default() -> Arguments {
        Arguments::Text(Vec::new())
    }
}

impl Spoken {
    /// Adds a piece of text behind what there is.
    pub(super) fn add_text(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    /// Adds a tool call.
    pub(super) fn add_call(&mut self, call: Call) {
        self.calls.push(call);
    }

    /// Adds what `add` finds in a value.
    pub(super) fn add_json(&mut self, json: Json<'_>, add: fn(&mut Spoken, Form<'_>)) {
        let mut canonical = Canonical::default();
        canonical.value(json, Blocks::No);
        add(self, Form::new(canonical.bytes()));
    }

    /// Adds what a Chat message holds.
    pub(super) fn add_chat_message(&mut self, message: Form<'_>) {
        let [content, tool_calls, function_call] = message.pick(["content", "tool_calls", "function_call"]);
        self.add_content(content);
        for call in tool_calls.into_iter().flat_map(Form::elements) {
            // Custom tools have their input as free text.
            let [function, custom] = call.pick(["function", "custom"]);
            function.or(custom).into_iter().for_each(|function| self.add_call(called(function)));
        }
        let function_call = function_call.filter(|it| it.is_object());
        function_call.into_iter().for_each(|function| self.add_call(called(function)));
    }

    /// Adds what a Messages message holds: a string or blocks.
    pub(super) fn add_messages_message(&mut self, message: Form<'_>) {
        let Some(content) = message.get("content") else { return };
        self.add_text(content.string().unwrap_or_default());
        for block in content.elements() {
            let [kind, text] = block.pick(["type", "text"]);
            match kind.and_then(Form::string).unwrap_or_default() {
                b"text" => self.add_text(string(text)),
                kind if kind.ends_with(b"tool_use") => self.add_call(called(block)),
                _ => {}
            }
        }
    }

    /// Adds an item that [`is_made_by_model`].
    pub(super) fn add_responses_item(&mut self, item: Form<'_>) {
        let [kind, content, action] = item.pick(["type", "content", "action"]);
        match kind.and_then(Form::string) {
            None | Some(b"message") => self.add_content(content),
            Some(b"function_call" | b"custom_tool_call") => self.add_call(called(item)),
            Some(kind @ b"local_shell_call") => self.add_call(Call {
                name: kind.to_vec(),
                arguments: action.map(|it| Arguments::Form(it.bytes().to_vec())).unwrap_or_default(),
            }),
            Some(_) => {}
        }
    }

    /// Adds the items of a Responses answer.
    pub(super) fn add_responses_output(&mut self, output: Form<'_>) {
        output.elements().filter(|item| is_made_by_model(*item)).for_each(|item| self.add_responses_item(item));
    }

    /// Adds the parts of a Gemini content; thoughts do not count.
    pub(super) fn add_gemini_content(&mut self, content: Form<'_>) {
        for part in content.get("parts").into_iter().flat_map(Form::elements) {
            let [text, thought, call, call_snake] = part.pick(["text", "thought", "functionCall", "function_call"]);
            if thought.is_some_and(|it| it.bytes() == b"t") {
                continue;
            }
            self.add_text(string(text));
            call.or(call_snake).into_iter().for_each(|call| self.add_call(called(call)));
        }
    }

    /// A string, or the text of every part.
    fn add_content(&mut self, content: Option<Form<'_>>) {
        let Some(content) = content else { return };
        self.add_text(content.string().unwrap_or_default());
        for part in content.elements() {
            self.add_text(string(part.get("text")));
        }
    }

    /// The fingerprint; `None` if nothing was said. White space around the text does not count, as clients trim it.
    pub(super) fn fingerprint(&self) -> Option<[u8; 8]> {
        let text = self.text.trim_ascii();
        if text.is_empty() && self.calls.is_empty() {
            return None;
        }
        let text_hash = xxh3_64_with_seed(text, HASH_VERSION.into());
        if self.calls.is_empty() {
            return Some(text_hash.to_be_bytes());
        }
        let mut canonical = Canonical::default();
        for call in &self.calls {
            canonical.string(&call.name);
            match &call.arguments {
                Arguments::Form(form) => canonical.form(Form::new(form)),
                Arguments::Text(text) => arguments(text.trim_ascii(), &mut canonical),
            }
        }
        Some(xxh3_64_with_seed(canonical.bytes(), text_hash).to_be_bytes())
    }
}

/// Writes arguments that came as text: none are an empty object, what is no JSON is a string.
fn arguments(text: &[u8], canonical: &mut Canonical) {
    match std::str::from_utf8(text) {
        Ok("") => canonical.value(Json::new("{}"), Blocks::No),
        Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => canonical.value(Json::new(text), Blocks::No),
        _ => canonical.string(text),
    }
}

/// The fingerprint of a Chat message if an assistant spoke it.
pub(super) fn of_chat_turn(message: Form<'_>) -> Option<[u8; 8]> {
    spoken_by(b"assistant", message, Spoken::add_chat_message)
}

/// The fingerprint of a Messages message if an assistant spoke it.
pub(super) fn of_messages_turn(message: Form<'_>) -> Option<[u8; 8]> {
    spoken_by(b"assistant", message, Spoken::add_messages_message)
}

/// The fingerprint of a Gemini content if the model spoke it.
pub(super) fn of_gemini_turn(content: Form<'_>) -> Option<[u8; 8]> {
    spoken_by(b"model", content, Spoken::add_gemini_content)
}

fn spoken_by(role: &[u8], turn: Form<'_>, add: fn(&mut Spoken, Form<'_>)) -> Option<[u8; 8]> {
    turn.get("role").and_then(Form::string).filter(|it| *it == role)?;
    let mut spoken = Spoken::default();
    add(&mut spoken, turn);
    spoken.fingerprint()
}

/// Whether a Responses item is part of what a model answers: its messages, thoughts and calls.
pub(super) fn is_made_by_model(item: Form<'_>) -> bool {
    let [kind, role] = item.pick(["type", "role"]);
    match kind.and_then(Form::string) {
        None | Some(b"message") => role.and_then(Form::string) == Some(b"assistant"),
        Some(b"reasoning" | b"mcp_list_tools" | b"mcp_approval_request") => true,
        Some(kind) => kind.ends_with(b"_call"),
    }
}

/// A call whose `arguments`, `args` or `input` is JSON or a string that holds it.
pub(super) fn called(call: Form<'_>) -> Call {
    let [name, arguments, args, input] = call.pick(["name", "arguments", "args", "input"]);
    let arguments = arguments.or(args).or(input).filter(|it| it.bytes() != b"n");
    let arguments = arguments.map(|it| match it.string() {
        Some(text) => Arguments::Text(text.to_vec()),
        None => Arguments::Form(it.bytes().to_vec()),
    });
    Call { name: string(name).to_vec(), arguments: arguments.unwrap_or_default() }
}

/// The string that a member is, `""` if it is none.
fn string(member: Option<Form<'_>>) -> &[u8] {
    member.and_then(Form::string).unwrap_or_default()
}
