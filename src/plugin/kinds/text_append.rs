//! `text-append`: a text appended to what is asked or answered.

use super::super::Flaw;
use super::super::members::Members;
use super::super::routes::Routes;
use super::{Field, FieldType};

/// What an instance appends.
#[derive(Clone, Debug, PartialEq)]
pub struct TextAppend {
    /// On which paths.
    pub routes: Routes,
    /// To requests; an empty suffix is off.
    pub up: Up,
    /// To answers; an empty suffix is off.
    pub down: Down,
    /// With which probability, drawn for each direction of each exchange; `None`: always.
    pub probability: Option<f64>,
}

/// What is appended to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Up {
    /// The text.
    pub suffix: String,
    /// Where.
    pub target: UpTarget,
}

/// What is appended to an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Down {
    /// The text.
    pub suffix: String,
    /// Where.
    pub target: DownTarget,
}

/// Where in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpTarget {
    /// The last text part of the last user turn that has one.
    #[default]
    LastUserMessage,
    /// The system prompt, which is made if there is none.
    SystemPrompt,
}

/// Where in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DownTarget {
    /// The content.
    #[default]
    Content,
    /// The reasoning; not on streams.
    Reasoning,
}

const UP_TARGETS: &[(&str, UpTarget)] =
    &[("last_user_message", UpTarget::LastUserMessage), ("system_prompt", UpTarget::SystemPrompt)];
const DOWN_TARGETS: &[(&str, DownTarget)] = &[("content", DownTarget::Content), ("reasoning", DownTarget::Reasoning)];

pub(super) const FIELDS: &[Field] = &[
    Field::routes(),
    Field {
        name: "up.suffix",
        label: "Suffix for requests",
        kind: FieldType::String,
        default: "\"\"",
        description: "appended to the request; empty is off",
        ..Field::NONE
    },
    Field {
        name: "up.target",
        label: "Where in the request",
        kind: FieldType::Enum,
        default: "\"last_user_message\"",
        choices: &["last_user_message", "system_prompt"],
        description: "the last user message that has a text, or the system prompt",
        ..Field::NONE
    },
    Field {
        name: "down.suffix",
        label: "Suffix for answers",
        kind: FieldType::String,
        default: "\"\"",
        description: "appended to the answer; empty is off",
        ..Field::NONE
    },
    Field {
        name: "down.target",
        label: "Where in the answer",
        kind: FieldType::Enum,
        default: "\"content\"",
        choices: &["content", "reasoning"],
        description: "the content, or the reasoning (not on streams)",
        ..Field::NONE
    },
    Field {
        name: "probability",
        label: "Probability",
        kind: FieldType::Number,
        description: "from 0 to 1, drawn for each direction of each exchange; absent: always",
        ..Field::NONE
    },
];

impl TextAppend {
    pub(super) fn read(config: &Members<'_>) -> Result<TextAppend, Flaw> {
        let suffix = |side: &Members<'_>| side.text("suffix").map(|it| it.unwrap_or_default().to_owned());
        let up = match config.object("up")? {
            Some(up) => Up { suffix: suffix(&up)?, target: up.choice("target", UP_TARGETS)?.unwrap_or_default() },
            None => Up::default(),
        };
        let down = match config.object("down")? {
            Some(down) => {
                Down { suffix: suffix(&down)?, target: down.choice("target", DOWN_TARGETS)?.unwrap_or_default() }
            }
            None => Down::default(),
        };
        Ok(TextAppend { routes: Routes::read(config)?, up, down, probability: config.share("probability")? })
    }
}
