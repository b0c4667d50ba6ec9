//! What kinds of instances there are, and what the configuration of each may say.

pub mod redact;
pub mod sample;
pub mod tag;
pub mod text_append;
pub mod text_replace;

mod filter;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Flaw;
use super::members::Members;
use super::path_patterns::PathPatterns;
use redact::Redact;
use sample::Sample;
use tag::Tag;
use text_append::TextAppend;
use text_replace::TextReplace;

/// An instance's kind with its configuration, checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Paths that are forwarded and not captured; no other instance sees them.
    CaptureFilter(PathPatterns),
    /// Paths that are captured and then discarded, counted as filtered.
    PathFilter(PathPatterns),
    /// Replaces texts on the wire.
    TextReplace(TextReplace),
    /// Appends a text on the wire.
    TextAppend(TextAppend),
    /// Replaces values on the record.
    Redact(Redact),
    /// Records a share of the traffic.
    Sample(Sample),
    /// Puts labels on traces.
    Tag(Tag),
}

/// A kind in the catalogue.
pub struct KindEntry {
    /// Its name, the `type` of an instance.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub description: &'static str,
    fields: &'static [Field],
    read: fn(&Members<'_>) -> Result<Kind, Flaw>,
}

/// A kind as the read API shows it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "PluginType")]
pub struct ShownKind {
    /// Its name, the `type` of an instance.
    #[serde(rename = "type")]
    pub name: &'static str,
    /// What it does, in a sentence.
    pub description: &'static str,
    /// What its configuration may say.
    pub config_schema: ShownFields,
}

/// The fields of a configuration.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ShownFields {
    /// Each of them.
    pub fields: Vec<ShownField>,
}

/// A field of a configuration, described for people and forms.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "PluginField")]
pub struct ShownField {
    /// Its name; a dot stands for an object within.
    pub name: &'static str,
    /// Its name for people.
    pub label: &'static str,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// What it is for.
    pub description: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What it is if it is not there; absent if that cannot be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Value")]
    pub default: Option<Value>,
    /// What it may be, if not anything.
    #[serde(skip_serializing_if = "Option::is_none", rename = "enum")]
    #[schemars(with = "Vec<String>")]
    pub choices: Option<&'static [&'static str]>,
}

/// Every kind, in the order in which they act on an exchange.
pub const CATALOGUE: &[KindEntry] = &[
    KindEntry {
        name: "capture-filter",
        description: "forwards requests to some paths without capturing them, and without any other plugin",
        fields: filter::FIELDS,
        read: |config| filter::read(config).map(Kind::CaptureFilter),
    },
    KindEntry {
        name: "text-replace",
        description: "replaces texts in requests and answers, streamed or not",
        fields: text_replace::FIELDS,
        read: |config| TextReplace::read(config).map(Kind::TextReplace),
    },
    KindEntry {
        name: "text-append",
        description: "appends a text to requests or answers",
        fields: text_append::FIELDS,
        read: |config| TextAppend::read(config).map(Kind::TextAppend),
    },
    KindEntry {
        name: "path-filter",
        description: "discards captured exchanges with some paths, counted as filtered",
        fields: filter::FIELDS,
        read: |config| filter::read(config).map(Kind::PathFilter),
    },
    KindEntry {
        name: "sample",
        description: "records a share of the traffic, decided by a hash; the rest is counted as filtered",
        fields: sample::FIELDS,
        read: |config| Sample::read(config).map(Kind::Sample),
    },
    KindEntry {
        name: "redact",
        description: "stores placeholders in place of named headers, query parameters and places in JSON; the wire is untouched",
        fields: redact::FIELDS,
        read: |config| Redact::read(config).map(Kind::Redact),
    },
    KindEntry {
        name: "tag",
        description: "puts labels on traces, by path or request header",
        fields: tag::FIELDS,
        read: |config| Tag::read(config).map(Kind::Tag),
    },
];

impl Kind {
    /// The kind of this name, with this configuration; `None` if there is no such kind.
    pub(super) fn read(name: &str, config: &Map<String, Value>) -> Option<Result<Kind, Flaw>> {
        let entry = CATALOGUE.iter().find(|it| it.name == name)?;
        Some((entry.read)(&Members::of(config, "config")))
    }

    /// Its name, the `type` of an instance.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::CaptureFilter(_) => "capture-filter",
            Kind::PathFilter(_) => "path-filter",
            Kind::TextReplace(_) => "text-replace",
            Kind::TextAppend(_) => "text-append",
            Kind::Redact(_) => "redact",
            Kind::Sample(_) => "sample",
            Kind::Tag(_) => "tag",
        }
    }
}

impl KindEntry {
    /// As `GET /api/plugins/types` shows it.
    pub fn shown(&self) -> ShownKind {
        let fields = self.fields.iter().map(Field::shown).collect();
        ShownKind { name: self.name, description: self.description, config_schema: ShownFields { fields } }
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum FieldType {
    /// A text.
    String,
    /// A number.
    Number,
    /// A list of texts.
    StringArray,
    /// One of some words.
    Enum,
    /// A list of rules.
    RuleArray,
}

/// A field of a kind's configuration, described for people and forms. A dot stands for an object within.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    name: &'static str,
    label: &'static str,
    kind: FieldType,
    /// As JSON.
    default: &'static str,
    choices: &'static [&'static str],
    description: &'static str,
    required: bool,
}

impl Field {
    const NONE: Field = Field {
        name: "",
        label: "",
        kind: FieldType::String,
        default: "null",
        choices: &[],
        description: "",
        required: false,
    };

    const fn routes() -> Field {
        Field {
            name: "routes",
            label: "Paths",
            kind: FieldType::StringArray,
            default: "[]",
            description: "only these paths: /a/b, or /a/* for everything below; compared without the query; empty: all",
            ..Field::NONE
        }
    }

    fn shown(&self) -> ShownField {
        let default = serde_json::from_str(self.default).ok();
        ShownField {
            name: self.name,
            label: self.label,
            kind: self.kind,
            description: self.description,
            required: self.required,
            default: default.filter(|it: &Value| it.is_string() || it.is_array()),
            choices: (!self.choices.is_empty()).then_some(self.choices),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(name: &str, config: Value) -> Result<Kind, String> {
        Kind::read(name, config.as_object().unwrap()).unwrap().map_err(|flaw| flaw.to_string())
    }

    #[test]
    fn every_kind_in_the_catalogue_has_its_name_and_describes_every_field() {
        let least = |name: &str| match name {
            "capture-filter" | "path-filter" => json!({"patterns": ["/a"]}),
            "sample" => json!({"rate": 0.5}),
            "redact" => json!({"headers": ["Authorization"]}),
            "tag" => json!({"tags": ["a"]}),
            _ => json!({}),
        };
        for entry in CATALOGUE {
            assert_eq!(read(entry.name, least(entry.name)).unwrap().name(), entry.name);
            let shown = json!(entry.shown());
            let fields = shown["config_schema"]["fields"].as_array().unwrap().clone();
            assert!(!fields.is_empty());
            for field in fields {
                assert!(!field["description"].as_str().unwrap().is_empty(), "{}: {field}", entry.name);
                assert_eq!(field["type"] == "enum", field["enum"].is_array(), "{}: {field}", entry.name);
            }
        }
        assert!(Kind::read("text_replace", &Map::new()).is_none());
    }

    #[test]
    fn the_mutators_take_what_the_contract_says() {
        let rules =
            json!({"routes": ["/v1/*"], "down": [{"match": "codename", "replace": "[x]"}, {"match": "y"}], "later": 1});
        let Kind::TextReplace(replace) = read("text-replace", rules).unwrap() else { panic!("another kind") };
        assert_eq!((replace.up.len(), replace.down.len()), (0, 2));
        assert_eq!((replace.down[1].wanted(), replace.down[1].replacement()), ("y", ""));
        let some = json!({"down": {"suffix": ".", "target": "reasoning"}, "probability": 0});
        let Kind::TextAppend(append) = read("text-append", some).unwrap() else { panic!("another kind") };
        assert_eq!(append.down.target, text_append::DownTarget::Reasoning);
        assert_eq!((append.up.target, append.probability), (text_append::UpTarget::LastUserMessage, Some(0.0)));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_field() {
        for (name, config, expected) in [
            ("text-replace", json!({"up": [{"match": "a"}, {"match": ""}]}), "config.up[1].match: is empty"),
            ("text-replace", json!({"down": [{"replace": "a"}]}), "config.down[0].match: is empty"),
            ("text-replace", json!({"down": ["a"]}), "config.down[0]: must be an object"),
            ("text-append", json!({"probability": 1.5}), "config.probability: must be from 0 to 1"),
            ("text-append", json!({"probability": "1"}), "config.probability: must be a number"),
            (
                "text-append",
                json!({"up": {"target": "x"}}),
                "config.up.target: must be one of last_user_message, system_prompt",
            ),
            ("text-append", json!({"down": {"suffix": 1}}), "config.down.suffix: must be a text"),
            ("path-filter", json!({"patterns": []}), "config.patterns: is empty"),
            ("path-filter", json!({"patterns": ["*"]}), "config.patterns[0]: the pattern would match every path"),
            (
                "redact",
                json!({"paths": ["$.a", "$."]}),
                "config.paths[1]: is no path like $.messages[*].content or $..email: a name is missing",
            ),
            ("redact", json!({"headers": ["a b"]}), "config.headers[0]: is no name of a header"),
            ("redact", json!({"routes": ["/a"]}), "config.headers: is empty, and so are query and paths"),
            ("capture-filter", json!({"paths": ["/a"]}), "config.paths: unknown; known are patterns"),
        ] {
            assert_eq!(read(name, config).unwrap_err(), expected);
        }
    }
}
