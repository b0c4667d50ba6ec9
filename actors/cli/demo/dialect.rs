//! The four protocols as a client speaks them: where it asks, how, and where in the answer the words stand.

use api_log::protocol::Protocol;
use serde_json::{Value, json};

/// A protocol, spoken with one key and one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Chat,
    Responses,
    Messages,
    Gemini,
}

/// Whether an answer is wanted whole or in events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Whole,
    Streamed,
}

/// What was said so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Talk {
    /// User and model in turn.
    turns: Vec<String>,
    /// The answer that the next question continues, where the gateway keeps the conversation.
    previous: Option<String>,
}

/// What an answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    text: String,
    id: Option<String>,
}

impl Dialect {
    /// What the recorder calls it.
    pub(super) fn protocol(self) -> Protocol {
        match self {
            Dialect::Chat => Protocol::Chat,
            Dialect::Responses => Protocol::Responses,
            Dialect::Messages => Protocol::Messages,
            Dialect::Gemini => Protocol::Gemini,
        }
    }

    /// The field that carries the key, and the key.
    pub(super) fn key(self) -> (&'static str, &'static str) {
        match self {
            Dialect::Chat => ("authorization", "Bearer sk-demo-chat"),
            Dialect::Responses => ("authorization", "Bearer sk-demo-agent"),
            Dialect::Messages => ("x-api-key", "sk-ant-demo"),
            Dialect::Gemini => ("x-goog-api-key", "demo-gemini"),
        }
    }

    /// Path and query.
    pub(super) fn target(self, form: Form) -> &'static str {
        match (self, form) {
            (Dialect::Chat, _) => "/v1/chat/completions",
            (Dialect::Responses, _) => "/v1/responses",
            (Dialect::Messages, _) => "/v1/messages",
            (Dialect::Gemini, Form::Whole) => "/v1beta/models/gemini-2:generateContent",
            (Dialect::Gemini, Form::Streamed) => "/v1beta/models/gemini-2:streamGenerateContent?alt=sse",
        }
    }

    /// The request that asks the last question of `talk`.
    pub(super) fn body(self, talk: &Talk, form: Form) -> Value {
        let is_streamed = form == Form::Streamed;
        match self {
            Dialect::Chat => {
                let mut body = json!({"model": "gpt-5", "messages": talk.messages("assistant"), "stream": is_streamed});
                if is_streamed {
                    body["stream_options"] = json!({"include_usage": true});
                }
                body
            }
            Dialect::Responses => json!({"model": "gpt-5", "input": talk.turns.last(), "stream": is_streamed,
                "previous_response_id": talk.previous}),
            Dialect::Messages => json!({"model": "claude-4", "max_tokens": 1024, "system": "Answer in one sentence.",
                "messages": talk.messages("assistant"), "stream": is_streamed}),
            Dialect::Gemini => {
                let content = |(role, text): (&str, &String)| json!({"role": role, "parts": [{"text": text}]});
                json!({"contents": talk.spoken("model").map(content).collect::<Vec<_>>()})
            }
        }
    }

    /// Reads an answer: JSON, or events with JSON in them. What cannot be read says nothing.
    pub(super) fn read(self, answer: &[u8]) -> Said {
        let Ok(answer) = std::str::from_utf8(answer) else { return Said::default() };
        let (in_whole, in_event) = match self {
            Dialect::Chat => ("/choices/0/message/content", "/choices/0/delta/content"),
            Dialect::Responses => ("/output/0/content/0/text", "/delta"),
            Dialect::Messages => ("/content/0/text", "/delta/text"),
            Dialect::Gemini => ("/candidates/0/content/parts/0/text", "/candidates/0/content/parts/0/text"),
        };
        let text_at = |value: &Value, pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        if let Ok(whole) = serde_json::from_str::<Value>(answer) {
            return Said { text: text_at(&whole, in_whole).unwrap_or_default(), id: text_at(&whole, "/id") };
        }
        let mut said = Said::default();
        let data = answer.lines().filter_map(|line| line.strip_prefix("data: "));
        for event in data.filter_map(|it| serde_json::from_str::<Value>(it).ok()) {
            said.text.extend(text_at(&event, in_event));
            said.id = said.id.or_else(|| text_at(&event, "/response/id"));
        }
        said
    }
}

impl Talk {
    /// A talk that begins with this question.
    pub(super) fn about(question: &str) -> Talk {
        Talk { turns: vec![question.to_owned()], previous: None }
    }

    /// Goes on with an answer and the next question.
    pub(super) fn go_on(&mut self, said: Said, question: &str) {
        self.turns.push(said.text);
        self.turns.push(question.to_owned());
        self.previous = said.id;
    }

    /// Who said what.
    fn spoken<'a>(&'a self, model: &'a str) -> impl Iterator<Item = (&'a str, &'a String)> {
        self.turns.iter().enumerate().map(move |(at, text)| (if at % 2 == 0 { "user" } else { model }, text))
    }

    fn messages(&self, model: &str) -> Vec<Value> {
        self.spoken(model).map(|(role, text)| json!({"role": role, "content": text})).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_an_answer_are_found_whole_and_in_events() {
        let whole = br#"{"id":"x","choices":[{"message":{"content":"one two"}}]}"#;
        let streamed = b"data: {\"choices\":[{\"delta\":{\"content\":\"one \"}}]}\n\n\
            data: {\"choices\":[{\"delta\":{\"content\":\"two\"}}]}\n\ndata: [DONE]\n\n";
        assert_eq!(Dialect::Chat.read(whole), Said { text: "one two".into(), id: Some("x".into()) });
        assert_eq!(Dialect::Chat.read(streamed), Said { text: "one two".into(), id: None });
        let streamed = b"event: a\r\ndata: {\"response\":{\"id\":\"r\"}}\r\n\r\ndata: {\"delta\":\"hi\"}\r\n\r\n";
        assert_eq!(Dialect::Responses.read(streamed), Said { text: "hi".into(), id: Some("r".into()) });
        assert_eq!(Dialect::Gemini.read(b"\x1f\x8b"), Said::default());
    }

    #[test]
    fn a_talk_sends_back_what_was_said() {
        let mut talk = Talk::about("one");
        talk.go_on(Said { text: "You said: one".into(), id: Some("r".into()) }, "two");
        let messages = Dialect::Chat.body(&talk, Form::Whole)["messages"].clone();
        let expected = json!([{"role": "user", "content": "one"}, {"role": "assistant", "content": "You said: one"},
            {"role": "user", "content": "two"}]);
        assert_eq!(messages, expected);
        let body = Dialect::Responses.body(&talk, Form::Whole);
        assert_eq!((&body["input"], &body["previous_response_id"]), (&json!("two"), &json!("r")));
    }
}
