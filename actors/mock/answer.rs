//! What the mock says to a question: an echo or a tool call, and what it costs in tokens.

use serde_json::{Map, Value, json};

use super::question::{Question, Speaker, Tool, ToolChoice, count_tokens};

/// Tokens of a reasoned answer's reasoning.
const REASONING_TOKENS: u64 = 7;

/// The reasoning itself, where the protocol shows it.
pub(super) const REASONING: &str = "The user wants an echo.";

/// Bytes of a piece of a padded answer.
const LARGE_PIECE_BYTES: usize = 4096;

/// Why the answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    Stop,
    Length,
    ToolCall,
}

/// A call of one of the client's tools.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ToolCall {
    pub(super) name: String,
    /// An object that satisfies the tool's schema.
    pub(super) arguments: Value,
}

/// What the exchange costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) prompt: u64,
    /// Part of `prompt`.
    pub(super) cached: u64,
    /// Includes `reasoning`.
    pub(super) completion: u64,
    pub(super) reasoning: u64,
}

impl Usage {
    pub(super) fn total(self) -> u64 {
        self.prompt + self.completion
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// Empty beside a tool call.
    pub(super) text: String,
    pub(super) tool_call: Option<ToolCall>,
    pub(super) finish: Finish,
    pub(super) usage: Usage,
}

impl Answer {
    /// Answers `question`, with a text of at least `size` bytes if it is a text.
    pub(super) fn to(question: &Question, size: usize) -> Self {
        let tool_call =
            choose_tool(question).map(|tool| ToolCall { name: tool.name.clone(), arguments: satisfy(&tool.schema) });
        let (text, finish) = match &tool_call {
            Some(_) => (String::new(), Finish::ToolCall),
            None => shorten(pad(echo(question), size), question.max_tokens),
        };
        let spoken = match &tool_call {
            Some(call) => 1 + count_tokens(&call.arguments.to_string()),
            None => count_tokens(&text),
        };
        let reasoning = if question.thinks { REASONING_TOKENS } else { 0 };
        let usage = Usage {
            prompt: question.tokens(),
            cached: question.earlier_tokens(),
            completion: spoken + reasoning,
            reasoning,
        };
        Self { text, tool_call, finish, usage }
    }

    /// The text in the pieces it is streamed in: words, or blocks if it is large.
    pub(super) fn pieces(&self) -> Vec<&str> {
        if self.text.len() <= LARGE_PIECE_BYTES {
            return self.text.split_inclusive(' ').collect();
        }
        let mut pieces = Vec::new();
        let mut rest = self.text.as_str();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(LARGE_PIECE_BYTES.min(rest.len())));
            pieces.push(piece);
            rest = after;
        }
        pieces
    }
}

fn echo(question: &Question) -> String {
    let (speaker, said, media) = question.last_said();
    let verb = if speaker == Speaker::Tool { "The tool said" } else { "You said" };
    match media {
        0 => format!("{verb}: {said}"),
        1 => format!("{verb}: {said} (and I saw 1 attachment)"),
        _ => format!("{verb}: {said} (and I saw {media} attachments)"),
    }
}

fn pad(mut text: String, size: usize) -> String {
    const FILLER: &str = " and so on";
    while text.len() < size {
        let missing = size - text.len();
        text.push_str(&FILLER[..missing.min(FILLER.len())]);
    }
    text
}

fn shorten(text: String, max_tokens: Option<u64>) -> (String, Finish) {
    match max_tokens.and_then(|most| usize::try_from(most).ok()) {
        Some(most) if count_tokens(&text) > most as u64 => {
            (text.split_whitespace().take(most).collect::<Vec<_>>().join(" "), Finish::Length)
        }
        _ => (text, Finish::Stop),
    }
}

fn choose_tool(question: &Question) -> Option<&Tool> {
    let first = question.tools.first();
    match &question.tool_choice {
        ToolChoice::Never => None,
        ToolChoice::Always => first,
        ToolChoice::This(name) => question.tools.iter().find(|tool| tool.name == *name),
        ToolChoice::Auto => {
            let (speaker, said, _) = question.last_said();
            if speaker != Speaker::User {
                return None;
            }
            let named = question.tools.iter().find(|tool| said.contains(&tool.name));
            named.or(if said.contains("tool") { first } else { None })
        }
    }
}

/// The smallest value that a JSON Schema of the common kind allows.
fn satisfy(schema: &Value) -> Value {
    if let Some(first) = schema.get("enum").and_then(Value::as_array).and_then(|choices| choices.first()) {
        return first.clone();
    }
    // Gemini writes the names of types in capitals.
    let kind = schema.get("type").and_then(Value::as_str).unwrap_or("object").to_ascii_lowercase();
    match kind.as_str() {
        "string" => json!("mock"),
        "integer" => json!(1),
        "number" => json!(1.5),
        "boolean" => json!(true),
        "array" => json!([]),
        _ => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let members = properties.into_iter().flatten().map(|(name, schema)| (name.clone(), satisfy(schema)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(said: &str) -> Question {
        let mut question = Question {
            tools: vec![Tool {
                name: "get_weather".into(),
                schema: json!({"type":"object","properties":{"city":{"type":"string"},"days":{"type":"INTEGER"}}}),
            }],
            ..Question::default()
        };
        question.hear(Speaker::User, said.into(), 0);
        question
    }

    #[test]
    fn a_tool_is_called_only_when_asked_for() {
        assert_eq!(Answer::to(&question("hello there"), 0).tool_call, None);
        let asked = Answer::to(&question("use get_weather please"), 0);
        let arguments = json!({"city":"mock","days":1});
        assert_eq!(asked.tool_call, Some(ToolCall { name: "get_weather".into(), arguments }));
        assert_eq!(asked.finish, Finish::ToolCall);
        let never = Question { tool_choice: ToolChoice::Never, ..question("use the tool") };
        assert_eq!(Answer::to(&never, 0).tool_call, None);
    }

    #[test]
    fn the_answer_keeps_to_the_tokens_allowed() {
        let short = Answer::to(&Question { max_tokens: Some(3), ..question("a b c d") }, 0);
        assert_eq!((short.text.as_str(), short.finish, short.usage.completion), ("You said: a", Finish::Length, 3));
    }

    #[test]
    fn a_padded_answer_has_exactly_the_size_and_its_pieces_make_the_whole() {
        let large = Answer::to(&question("grüße"), 10_000);
        assert_eq!(large.text.len(), 10_000);
        assert_eq!(large.pieces().concat(), large.text);
        let small = Answer::to(&question("a b"), 0);
        assert_eq!(small.pieces(), ["You ", "said: ", "a ", "b"]);
    }
}
