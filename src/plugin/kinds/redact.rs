//! `redact`: values that are not stored; the wire is untouched.

use super::super::Flaw;
use super::super::members::Members;
use super::super::routes::Routes;
use super::tag::is_header_name;
use super::{Field, FieldType};
use crate::redact::Redaction;

/// What an instance replaces on the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redact {
    /// On which paths.
    pub routes: Routes,
    /// What.
    pub redaction: Redaction,
}

pub(super) const FIELDS: &[Field] = &[
    Field {
        name: "headers",
        label: "Headers",
        kind: FieldType::StringArray,
        default: "[]",
        description: "names of request and response headers whose values are replaced",
        ..Field::NONE
    },
    Field {
        name: "query",
        label: "Query parameters",
        kind: FieldType::StringArray,
        default: "[]",
        description: "names of query parameters whose values are replaced",
        ..Field::NONE
    },
    Field {
        name: "paths",
        label: "Places in JSON",
        kind: FieldType::StringArray,
        default: "[]",
        description: "places like $.messages[*].content or $..email; in request bodies, answers and each event of a stream. \
                      A body that cannot be read is left out",
        ..Field::NONE
    },
    Field::routes(),
];

impl Redact {
    pub(super) fn read(config: &Members<'_>) -> Result<Redact, Flaw> {
        config.only(&["headers", "query", "paths", "routes"])?;
        let mut redaction = Redaction::default();
        for (at, name) in config.texts("headers")?.into_iter().enumerate() {
            if !is_header_name(name) {
                return Err(config.flaw(&format!("headers[{at}]"), "is no name of a header"));
            }
            redaction.headers.push(name.to_owned());
        }
        redaction.query.extend(config.texts("query")?.into_iter().map(str::to_owned));
        for (at, text) in config.texts("paths")?.into_iter().enumerate() {
            let path = text.parse().map_err(|why| config.flaw(&format!("paths[{at}]"), format!("{why}")))?;
            redaction.paths.push(path);
        }
        if redaction == Redaction::default() {
            return Err(config.flaw("headers", "is empty, and so are query and paths"));
        }
        Ok(Redact { routes: Routes::read(config)?, redaction })
    }
}
