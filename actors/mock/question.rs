//! What a client asked, whatever protocol it asked in.

use serde_json::Value;

/// Who speaks a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaker {
    Instructions,
    User,
    Assistant,
    Tool,
}

/// A tool that the client offers.
#[derive(Debug, Clone)]
pub(super) struct Tool {
    pub(super) name: String,
    /// JSON Schema of its arguments; null if none was given.
    pub(super) schema: Value,
}

/// Whether a tool is to be called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum ToolChoice {
    /// When the last user message asks for one.
    #[default]
    Auto,
    Never,
    Always,
    This(String),
}

/// The words and pictures of one message.
#[derive(Debug, Clone)]
pub(super) struct Message {
    speaker: Speaker,
    text: String,
    media: usize,
}

/// A question, ready to be answered.
#[derive(Debug, Default)]
pub(super) struct Question {
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) tools: Vec<Tool>,
    pub(super) tool_choice: ToolChoice,
    /// The most tokens the answer may have.
    pub(super) max_tokens: Option<u64>,
    /// The client asked for reasoning.
    pub(super) thinks: bool,
    /// Added to by [`hear`](Self::hear).
    pub(super) messages: Vec<Message>,
}

/// Tokens that a picture, a sound or a document counts for.
const MEDIA_TOKENS: u64 = 85;

impl Question {
    /// Takes in one message of the conversation.
    pub(super) fn hear(&mut self, speaker: Speaker, text: String, media: usize) {
        self.messages.push(Message { speaker, text, media });
    }

    /// Who spoke last, what, and with how many pictures; instructions do not count.
    pub(super) fn last_said(&self) -> (Speaker, &str, usize) {
        self.messages
            .iter()
            .rev()
            .find(|message| message.speaker != Speaker::Instructions)
            .map_or((Speaker::User, "", 0), |message| (message.speaker, message.text.as_str(), message.media))
    }

    /// Tokens of everything said.
    pub(super) fn tokens(&self) -> u64 {
        self.messages.iter().map(Message::tokens).sum()
    }

    /// Tokens of everything said before the last message, which a cache could hold.
    pub(super) fn earlier_tokens(&self) -> u64 {
        self.messages.split_last().map_or(0, |(_, earlier)| earlier.iter().map(Message::tokens).sum())
    }
}

impl Message {
    fn tokens(&self) -> u64 {
        count_tokens(&self.text) + MEDIA_TOKENS * self.media as u64
    }
}

/// The mock's tokenizer: words, parted by white space.
pub(super) fn count_tokens(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// The text of a member, or "".
pub(super) fn text_at<'a>(value: &'a Value, member: &str) -> &'a str {
    value.get(member).and_then(Value::as_str).unwrap_or("")
}

/// The elements of a member that is a list; none if it is anything else.
pub(super) fn list_at<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value.get(member).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Text and number of media of a message's content: a string, or parts with a `type`.
///
/// Serves both vendors that write content so: text parts (also nested in a tool's result) are
/// joined by a blank; parts that carry a picture, a sound or a file are counted.
pub(super) fn read_content(content: &Value) -> (String, usize) {
    let mut texts = Vec::new();
    let mut media = 0;
    match content {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(parts) => {
            for part in parts {
                let (text, count) = read_part(part);
                media += count;
                texts.extend((!text.is_empty()).then_some(text));
            }
        }
        _ => {}
    }
    (texts.join(" "), media)
}

fn read_part(part: &Value) -> (String, usize) {
    match text_at(part, "type") {
        "text" | "input_text" | "output_text" => (text_at(part, "text").to_owned(), 0),
        "tool_result" => read_content(part.get("content").unwrap_or(&Value::Null)),
        "image_url" | "input_audio" | "file" | "image" | "document" | "input_image" | "input_file" => {
            (String::new(), 1)
        }
        _ => (String::new(), 0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_read_as_text_and_media() {
        let content = json!([{"type":"text","text":"look"}, {"type":"image_url","image_url":{"url":"data:,"}},
            {"type":"tool_result","content":[{"type":"text","text":"here"}]}]);
        assert_eq!(read_content(&content), ("look here".into(), 1));
    }

    #[test]
    fn tokens_before_the_last_message_are_those_a_cache_could_hold() {
        let mut question = Question::default();
        question.hear(Speaker::Instructions, "be brief".into(), 0);
        question.hear(Speaker::User, "one two three".into(), 1);
        assert_eq!(question.earlier_tokens(), 2);
        assert_eq!(question.tokens(), 2 + 3 + MEDIA_TOKENS);
        assert_eq!(question.last_said(), (Speaker::User, "one two three", 1));
    }
}
