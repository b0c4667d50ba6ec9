//! What the documents of interfaces say of the library's own texts: query parameters, and times and ids in JSON.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::ids::{TraceId, UnixMillis};

/// A query parameter, for those who write it: what it is called, what it is for, which values it may have.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it is for, in a sentence.
    pub about: &'static str,
    /// Its values.
    pub schema: fn() -> Schema,
}

impl Param {
    /// One of this name.
    pub const fn new(name: &'static str, schema: fn() -> Schema, about: &'static str) -> Param {
        Param { name, about, schema }
    }

    /// Whether one of these has the name.
    pub fn is_among(params: &[Param], name: &str) -> bool {
        params.iter().any(|it| it.name == name)
    }
}

/// Any text.
pub fn text() -> Schema {
    json_schema!({"type": "string"})
}

/// A time with its offset.
pub fn time() -> Schema {
    json_schema!({"type": "string", "format": "date-time"})
}

/// `true` or `false`.
pub fn truth() -> Schema {
    json_schema!({"type": "boolean"})
}

/// `1` (or `true`) or `0` (or `false`).
pub fn switch() -> Schema {
    one_of(["1", "0", "true", "false"])
}

/// A whole number from 0.
pub fn count() -> Schema {
    json_schema!({"type": "integer", "minimum": 0, "maximum": i64::MAX})
}

/// A whole number from 1 to this.
pub fn up_to(most: usize) -> Schema {
    json_schema!({"type": "integer", "minimum": 1, "maximum": most})
}

/// One of these words.
pub fn one_of(words: impl IntoIterator<Item = &'static str>) -> Schema {
    let words: Vec<&str> = words.into_iter().collect();
    json_schema!({"type": "string", "enum": words})
}

impl JsonSchema for UnixMillis {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        time()
    }
}

impl JsonSchema for TraceId {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TraceId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"})
    }
}
