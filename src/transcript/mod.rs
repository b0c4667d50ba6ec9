//! What was said in a trace, read for people: who spoke, texts, thoughts, calls of tools, attachments by their names.
//!
//! Every protocol comes to the same [`Message`]s of [`Part`]s. [`layout`] lays them out as lines, each with an
//! [`Ink`], for whatever shows them; nothing here knows of terminals but this: what it gives holds no control
//! characters, so that a recorded text cannot steer the terminal that shows it.

mod answer;
mod blocks;
pub mod layout;
mod request;
mod stream;
pub mod timing;

use std::ops::Range;

use crate::json::Json;
use crate::jsonl::line::{BadLine, with_view};
use crate::media;
use crate::protocol::Protocol;
use crate::session;
use crate::trace::asked::Asked;
use crate::trace::view::{Answer, TraceView};
use blocks::Names;

pub use layout::{Ink, Shown};

/// What was said in one exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// What was asked, in the order in which the model reads it: the system's text first.
    pub request: Vec<Message>,
    /// The names of the tools that were offered.
    pub tools: Vec<String>,
    /// Members of the request that are neither said nor tools, each with its JSON text.
    pub settings: Vec<(String, String)>,
    /// What was answered: a message for each choice.
    pub answer: Vec<Message>,
}

/// What one side said in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Who, in the protocol's own word.
    pub role: String,
    /// What else is to be told of it: why it ended, whose answer it is.
    pub note: Option<String>,
    /// What.
    pub parts: Vec<Part>,
    /// Where it stands in the request's body, in bytes; `None` if it is of the answer.
    pub place: Option<Range<usize>>,
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text.
    Text(String),
    /// Thoughts, or a summary of them.
    Reasoning(String),
    /// A tool is called.
    Call {
        /// Its name.
        name: String,
        /// What the result will name it by, if anything.
        id: String,
        /// As they were written: mostly JSON.
        arguments: String,
    },
    /// What a tool gave back.
    Result {
        /// The call's id, or the tool's name where calls have no ids.
        of: String,
        /// It failed.
        is_error: bool,
        /// What it gave.
        parts: Vec<Part>,
    },
    /// An image, a sound, a document.
    Media(Media),
    /// Anything else, under its kind.
    Other {
        /// The protocol's word for it.
        kind: String,
        /// Its text.
        text: String,
    },
}

/// Something that is no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// The name that it is saved under beside the line if attachments are saved, or where it is to be had.
    pub name: String,
    /// Its media type, `""` if nobody says.
    pub mime: String,
    /// Its size, if it stands in the body.
    pub bytes: Option<usize>,
}

impl Transcript {
    /// What a line says.
    ///
    /// # Errors
    /// It is no trace's line.
    pub fn of(line: &[u8]) -> Result<Transcript, BadLine> {
        with_view(line, Transcript::of_view)
    }

    /// What a trace says.
    pub fn of_view(protocol: Protocol, trace: &TraceView<'_>) -> Transcript {
        let names = Names::of(media::placed(protocol, trace));
        let mut transcript = Transcript::default();
        if let Some(text) = trace.request_json {
            transcript.ask(protocol, text, &names);
        }
        transcript.answer = match trace.answer {
            Answer::None => Vec::new(),
            Answer::Json(text) => answer::messages(protocol, Json::new(text), &names),
            Answer::Events(events) => stream::messages(protocol, events, &names),
        };
        transcript
    }

    fn ask(&mut self, protocol: Protocol, text: &str, names: &Names) {
        let whole = Json::new(text);
        let request = session::unwrapped_request(protocol, whole);
        let asked = Asked::of(request);
        self.request = request::messages(protocol, whole, &asked, names);
        for (name, value) in request.members() {
            match &*name {
                "tools" | "functions" => self.tools.extend(request::tool_names(value)),
                name if request::is_said(protocol, name) => {}
                name => self.settings.push((name.to_owned(), value.text().to_owned())),
            }
        }
    }
}

#[cfg(test)]
mod tests;
