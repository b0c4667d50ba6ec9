//! `text-replace`: texts of requests and answers with every match of a rule replaced.

use super::super::Flaw;
use super::super::members::Members;
use super::super::routes::Routes;
use super::{Field, FieldType};

/// What an instance replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextReplace {
    /// On which paths.
    pub routes: Routes,
    /// In texts of the request's turns: in this order, each sees what the one before left.
    pub up: Vec<Rule>,
    /// In the assistant's texts.
    pub down: Vec<Rule>,
}

/// A literal match, compared case-sensitively, and what is put in place of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Never empty.
    pub matched: String,
    /// May be empty.
    pub replace: String,
}

pub(super) const FIELDS: &[Field] = &[
    Field::routes(),
    Field {
        name: "up",
        label: "Rules for requests",
        kind: FieldType::RuleArray,
        description: "literal replacements in texts of the turns: objects with match and replace",
        ..Field::NONE
    },
    Field {
        name: "down",
        label: "Rules for answers",
        kind: FieldType::RuleArray,
        description: "literal replacements in the assistant's texts, also across deltas of a stream",
        ..Field::NONE
    },
];

impl TextReplace {
    pub(super) fn read(config: &Members<'_>) -> Result<TextReplace, Flaw> {
        Ok(TextReplace { routes: Routes::read(config)?, up: rules(config, "up")?, down: rules(config, "down")? })
    }
}

fn rules(config: &Members<'_>, name: &str) -> Result<Vec<Rule>, Flaw> {
    let rule = |rule: Members<'_>| {
        let matched = rule.text("match")?.unwrap_or_default();
        if matched.is_empty() {
            return Err(rule.flaw("match", "is empty"));
        }
        Ok(Rule { matched: matched.to_owned(), replace: rule.text("replace")?.unwrap_or_default().to_owned() })
    };
    config.objects(name)?.into_iter().map(rule).collect()
}
