//! `otlp.content` and `otlp.headers`: what spans hold of what was said, and with which fields they are sent.

use std::fmt;

use serde_json::{Value as Schema, json};

use super::kinds::{Kind, Scalar};
use super::sources::{Flaw, Raw};
use super::table::Rules;
use super::texts::Secret;

/// What spans hold of what was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanContent {
    /// Nothing.
    None,
    /// Texts of requests and answers, and what tools are called with.
    Text,
}

impl fmt::Display for SpanContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SpanContent::None => "none",
            SpanContent::Text => "text",
        })
    }
}

impl SpanContent {
    const ALL: [SpanContent; 2] = [SpanContent::None, SpanContent::Text];
}

impl Scalar for SpanContent {
    type Value = SpanContent;
    const NAME: &'static str = "what spans may hold";

    fn parse(text: &str) -> Result<SpanContent, String> {
        let wanted = text.trim().to_ascii_lowercase();
        SpanContent::ALL.into_iter().find(|it| it.to_string() == wanted).ok_or_else(String::new)
    }

    fn choices(_: Rules) -> String {
        "none, text".to_owned()
    }

    fn text(value: &SpanContent) -> String {
        value.to_string()
    }

    fn schema(_: Rules) -> Schema {
        json!({"enum": SpanContent::ALL.map(|it| it.to_string())})
    }
}

/// A header field that is sent; its value is never shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretField {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Secret,
}

/// Header fields, `NAME=VALUE` each.
pub(super) struct SecretFields;

impl Kind for SecretFields {
    type Value = Vec<SecretField>;
    const NAME: &'static str = "a list of header fields";
    const IS_LIST: bool = true;

    /// No complaint repeats what was written: it may be a secret.
    fn read(raw: &Raw, rules: Rules) -> Result<Vec<SecretField>, Vec<Flaw>> {
        let flaw = |at, what: String| Flaw { at, text: format!("{what}; allowed: {}", SecretFields::allowed(rules)) };
        let Raw::Many(items) = raw else { return Err(vec![flaw(None, "the value (hidden) is not a list".to_owned())]) };
        let (mut fields, mut flaws) = (Vec::new(), Vec::new());
        for (number, (text, at)) in items.iter().enumerate() {
            match field(text) {
                Ok(field) => fields.push(field),
                Err(why) => flaws.push(flaw(*at, format!("item {} (hidden) {why}", number + 1))),
            }
        }
        if flaws.is_empty() { Ok(fields) } else { Err(flaws) }
    }

    fn allowed(_: Rules) -> String {
        "a list of fields like \"x-api-key=SECRET\"".to_owned()
    }

    fn show(value: &Vec<SecretField>) -> String {
        value.iter().map(|it| format!("{}=***", it.name)).collect::<Vec<_>>().join(",")
    }
}

/// RFC 9110: names are tokens (5.6.2), values visible characters with spaces between them (5.5).
fn field(text: &str) -> Result<SecretField, &'static str> {
    let (name, value) = text.split_once('=').ok_or("has no '='")?;
    let (name, value) = (name.trim(), value.trim());
    let is_token = |it: u8| it.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&it);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err("does not begin with the name of a field");
    }
    if !value.bytes().all(|it| it == b' ' || it.is_ascii_graphic()) {
        return Err("has a value that no field can have");
    }
    let value = Secret::parse(value).map_err(|_| "has a value that no field can have")?;
    Ok(SecretField { name: name.to_ascii_lowercase(), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_and_their_values_never_shown() {
        let read = |items: &[&str]| {
            let items = items.iter().map(|it| ((*it).to_owned(), None)).collect();
            SecretFields::read(&Raw::Many(items), super::super::table::ANY)
        };
        let fields = read(&["Authorization=Basic geheim==", "x-a = b"]).unwrap();
        assert_eq!((fields[0].name.as_str(), fields[0].value.reveal()), ("authorization", "Basic geheim=="));
        assert_eq!((fields[1].name.as_str(), fields[1].value.reveal()), ("x-a", "b"));
        assert_eq!(SecretFields::show(&fields), "authorization=***,x-a=***");
        assert!(!format!("{fields:?}").contains("geheim"));
        let flaws = read(&["geheim", "a b=geheim", "=geheim", "a=geheim\u{e9}", "ok=1"]).unwrap_err();
        assert_eq!(flaws.len(), 4);
        assert!(flaws.iter().all(|it| !it.text.contains("geheim")), "{flaws:?}");
    }
}
