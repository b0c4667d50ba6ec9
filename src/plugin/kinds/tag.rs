//! `tag`: labels of the operator on traces, by their headers or paths.

use super::super::Flaw;
use super::super::members::Members;
use super::super::routes::Routes;
use super::{Field, FieldType};
use crate::headers::{Headers, value_text};

/// The longest label, in characters.
pub const LONGEST_LABEL: usize = 64;
/// The most labels of one trace.
pub const MOST_LABELS: usize = 16;

/// What an instance puts on what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// On which paths.
    pub routes: Routes,
    /// The request field that must be there; with a value if one is named.
    pub header: Option<Condition>,
    /// The labels.
    pub tags: Vec<String>,
    /// The request field whose value is a label, too.
    pub from_header: Option<String>,
}

/// A field, and what its value must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    name: String,
    value: Option<Wanted>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Whole(String),
    Prefix(String),
}

pub(super) const FIELDS: &[Field] = &[
    Field {
        name: "tags",
        label: "Labels",
        kind: FieldType::StringArray,
        default: "[]",
        description: "labels of up to 64 characters, without commas",
        ..Field::NONE
    },
    Field {
        name: "from_header",
        label: "Label from header",
        kind: FieldType::String,
        description: "the request header whose value is a label, too",
        ..Field::NONE
    },
    Field {
        name: "header",
        label: "Only with header",
        kind: FieldType::String,
        description: "the request header that must be there",
        ..Field::NONE
    },
    Field {
        name: "value",
        label: "Header's value",
        kind: FieldType::String,
        description: "what that header must say; a final * is a prefix",
        ..Field::NONE
    },
    Field::routes(),
];

impl Tag {
    pub(super) fn read(config: &Members<'_>) -> Result<Tag, Flaw> {
        config.only(&["tags", "from_header", "header", "value", "routes"])?;
        let mut tags = Vec::new();
        for (at, text) in config.texts("tags")?.into_iter().enumerate() {
            let reason =
                format!("must have 1 to {LONGEST_LABEL} characters, none of them a comma or a control character");
            tags.push(label(text).ok_or_else(|| config.flaw(&format!("tags[{at}]"), reason))?);
        }
        if tags.len() > MOST_LABELS {
            return Err(config.flaw("tags", format!("has more than {MOST_LABELS} labels")));
        }
        let from_header = header_name(config, "from_header")?;
        if tags.is_empty() && from_header.is_none() {
            return Err(config.flaw("tags", "is empty, and there is no from_header"));
        }
        let value = config.text("value")?.map(|text| match text.strip_suffix('*') {
            Some(prefix) => Wanted::Prefix(prefix.to_owned()),
            None => Wanted::Whole(text.to_owned()),
        });
        let header = match (header_name(config, "header")?, value) {
            (None, Some(_)) => return Err(config.flaw("value", "is there without header")),
            (name, value) => name.map(|name| Condition { name, value }),
        };
        Ok(Tag { routes: Routes::read(config)?, header, tags, from_header })
    }

    /// The labels of an exchange with this target and these request fields, in order.
    pub fn labels(&self, target: &str, headers: &Headers) -> Vec<String> {
        if !self.routes.matches(target) || self.header.as_ref().is_some_and(|it| !it.is_in(headers)) {
            return Vec::new();
        }
        let from_header = self.from_header.as_deref().and_then(|name| headers.get(name));
        let from_header = from_header.and_then(|value| label(&value_text(value)));
        self.tags.iter().cloned().chain(from_header).collect()
    }
}

impl Condition {
    fn is_in(&self, headers: &Headers) -> bool {
        headers.get_all(&self.name).any(|value| match &self.value {
            None => true,
            Some(Wanted::Whole(whole)) => value == whole.as_bytes(),
            Some(Wanted::Prefix(prefix)) => value.starts_with(prefix.as_bytes()),
        })
    }
}

/// A text as a label: `None` if it cannot be one.
fn label(text: &str) -> Option<String> {
    let text = text.trim();
    let is_label = !text.is_empty()
        && text.chars().count() <= LONGEST_LABEL
        && !text.chars().any(|it| it.is_control() || it == ',');
    is_label.then(|| text.to_owned())
}

/// A member that is the name of a header field.
pub(super) fn header_name(config: &Members<'_>, name: &str) -> Result<Option<String>, Flaw> {
    let Some(text) = config.text(name)? else { return Ok(None) };
    if is_header_name(text) { Ok(Some(text.to_owned())) } else { Err(config.flaw(name, "is no name of a header")) }
}

/// Whether a text can be a field's name (RFC 9110 §5.1).
pub(super) fn is_header_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tag(config: serde_json::Value) -> Result<Tag, String> {
        Tag::read(&Members::of(config.as_object().unwrap(), "config")).map_err(|flaw| flaw.to_string())
    }

    fn headers(fields: &[(&str, &str)]) -> Headers {
        fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect()
    }

    #[test]
    fn labels_come_from_the_list_and_from_a_header() {
        let some = tag(json!({"tags": ["a", " b "], "from_header": "X-Team", "routes": ["/v1/*"]})).unwrap();
        assert_eq!(some.labels("/v1/x", &headers(&[("x-team", " red ")])), ["a", "b", "red"]);
        assert_eq!(some.labels("/v1/x", &headers(&[("x-team", "a,b")])), ["a", "b"]);
        assert_eq!(some.labels("/v2/x", &headers(&[("x-team", "red")])), Vec::<String>::new());
    }

    #[test]
    fn a_header_and_its_value_can_be_the_condition() {
        let labels = |config, fields: &[(&str, &str)]| tag(config).unwrap().labels("/", &headers(fields)).len();
        let present = json!({"tags": ["a"], "header": "x-a"});
        assert_eq!((labels(present.clone(), &[("X-A", "")]), labels(present, &[("X-B", "")])), (1, 0));
        let whole = json!({"tags": ["a"], "header": "x-a", "value": "1"});
        assert_eq!((labels(whole.clone(), &[("x-a", "0"), ("x-a", "1")]), labels(whole, &[("x-a", "11")])), (1, 0));
        let prefix = json!({"tags": ["a"], "header": "x-a", "value": "1*"});
        assert_eq!((labels(prefix.clone(), &[("x-a", "11")]), labels(prefix, &[("x-a", "2")])), (1, 0));
    }

    #[test]
    fn what_cannot_be_a_label_is_named() {
        for (config, expected) in [
            (json!({}), "config.tags: is empty, and there is no from_header"),
            (
                json!({"tags": ["a", "b,c"]}),
                "config.tags[1]: must have 1 to 64 characters, none of them a comma or a control character",
            ),
            (json!({"tags": ["a"], "value": "x"}), "config.value: is there without header"),
            (json!({"tags": ["a"], "header": "x y"}), "config.header: is no name of a header"),
            (json!({"tag": "a"}), "config.tag: unknown; known are tags, from_header, header, value, routes"),
        ] {
            assert_eq!(tag(config).unwrap_err(), expected);
        }
    }
}
