//! What was said, as the conventions write messages: JSON texts of roles and parts.

use serde_json::{Value, json};

use super::attributes::Attributes;
use crate::protocol::Protocol;
use crate::trace::Row;
use crate::trace::view::TraceView;
use crate::transcript::{Message, Part, Transcript};

/// How much text one span may hold: collectors refuse requests that are too large, and a conversation grows with each
/// turn.
const MOST_BYTES: usize = 1 << 20;

/// Adds instructions, input and output. Of what is too long the newest messages stay.
pub(super) fn describe(attributes: &mut Attributes, row: &Row, trace: &TraceView<'_>) {
    let Transcript { request, answer, .. } = Transcript::of_view(row.protocol, trace);
    let mut room = Room { left: MOST_BYTES, is_cut: false };
    // What failed said nothing: `error.type` tells of it.
    let said = answer.iter().filter(|it| it.role != "error");
    let output: Vec<Value> = said.map(|it| room.message(it, row.finish_reason.as_deref())).collect();
    // Chat's system messages are turns like any other; elsewhere they stand apart.
    let is_apart = |it: &Message| it.role == "instructions" || (row.protocol != Protocol::Chat && it.role == "system");
    let instructions: Vec<Value> =
        request.iter().filter(|it| is_apart(it)).flat_map(|it| room.parts(&it.parts)).collect();
    let turns = request.iter().filter(|it| !is_apart(it)).rev();
    let mut input: Vec<Value> = Vec::new();
    for message in turns {
        if room.left == 0 {
            room.is_cut = true;
            break;
        }
        input.push(room.message(message, None));
    }
    input.reverse();
    for (key, messages) in [
        ("gen_ai.system_instructions", instructions),
        ("gen_ai.input.messages", input),
        ("gen_ai.output.messages", output),
    ] {
        if !messages.is_empty() {
            attributes.text(key, Value::Array(messages).to_string());
        }
    }
    attributes.flag("api_log.content.cut", room.is_cut);
}

/// How much text there is still room for.
struct Room {
    left: usize,
    is_cut: bool,
}

impl Room {
    fn message(&mut self, message: &Message, finish_reason: Option<&str>) -> Value {
        let role = match message.role.as_str() {
            "model" => "assistant",
            // What is embedded, drawn or spoken has no turns.
            "prompt" | "input" => "user",
            role => role,
        };
        let mut value = json!({"role": role, "parts": self.parts(&message.parts)});
        if let Some(reason) = message.note.as_deref().or(finish_reason).filter(|_| message.place.is_none()) {
            value["finish_reason"] = reason.into();
        }
        value
    }

    fn parts(&mut self, parts: &[Part]) -> Vec<Value> {
        parts.iter().map(|it| self.part(it)).collect()
    }

    fn part(&mut self, part: &Part) -> Value {
        match part {
            Part::Text(text) => json!({"type": "text", "content": self.text(text)}),
            Part::Reasoning(text) => json!({"type": "reasoning", "content": self.text(text)}),
            Part::Call { name, id, arguments } => {
                let text = self.text(arguments);
                let arguments = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
                json!({"type": "tool_call", "id": id, "name": name, "arguments": arguments})
            }
            Part::Result { of, parts, .. } => {
                let response = match &parts[..] {
                    [Part::Text(text)] => Value::String(self.text(text).to_owned()),
                    parts => Value::Array(self.parts(parts)),
                };
                json!({"type": "tool_call_response", "id": of, "response": response})
            }
            // Under its name: bytes are no text.
            Part::Media(media) => json!({"type": "file", "name": self.text(&media.name), "mime_type": media.mime}),
            Part::Other { kind, text } => json!({"type": kind, "content": self.text(text)}),
        }
    }

    /// As much of it as there is room for.
    fn text<'t>(&mut self, text: &'t str) -> &'t str {
        let end = text.floor_char_boundary(self.left);
        self.is_cut |= end < text.len();
        self.left = if end < text.len() { 0 } else { self.left - end };
        &text[..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_between_characters_and_says_so() {
        let mut room = Room { left: 5, is_cut: false };
        assert_eq!((room.text("ab"), room.text("éé"), room.text("c")), ("ab", "é", ""));
        assert!(room.is_cut && room.left == 0);
    }
}
