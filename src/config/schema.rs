//! The configuration file as a JSON Schema, for editors: made from the table of keys that the file is read by.
//!
//! What it accepts is read, as far as a schema can tell: that an address is one, or that two keys go together, only the
//! program knows. What it does not propose may be read all the same: `INFO` for `info`, `1_000` for 1000.

use serde_json::{Map, Value, json};

use super::example::example;
use super::keys::{SECTIONS, keys};
use super::table::{Key, variable_of};
use super::yaml;

/// The dialect that editors' YAML support knows best.
const DIALECT: &str = "http://json-schema.org/draft-07/schema#";
/// `5GiB`, `1.5 MiB`, `500`.
const SIZE: &str = "^[+-]?[0-9][0-9_]*(\\.[0-9]+)? *(([kKmMgGtT][iI]?)?[bB])?$";
/// `10m`, `1h 30m`, `90`.
const DURATION: &str = "^[0-9]+$|^([0-9]+ *[a-zA-Z]+ *)+$";

/// The schema of the whole file.
pub fn schema() -> Value {
    let defaults = defaults();
    let mut root = section("The configuration of api-log. Every key may be left out; unknown ones are refused.");
    root["$schema"] = DIALECT.into();
    root["title"] = "api-log".into();
    // The file itself cannot be null, but it can be empty.
    for (name, doc) in SECTIONS {
        root["properties"][name] = section(&doc.iter().map(|it| it.trim()).collect::<Vec<_>>().join(" "));
    }
    for key in keys() {
        let default = key.path.split('.').try_fold(&defaults, |value, name| value.get(name));
        for spelling in key.spellings() {
            place(&mut root, &spelling, leaf(key, &spelling, default));
        }
    }
    root
}

/// The defaults as the example file states them.
fn defaults() -> Value {
    let tree = yaml::parse(&example()).ok().flatten().and_then(|root| root.into_json().ok());
    debug_assert!(tree.is_some(), "the example is read back");
    tree.unwrap_or_default()
}

/// Puts a key's schema where its path leads; sections between that have no words of their own are made.
fn place(root: &mut Value, path: &str, leaf: Value) {
    let mut names: Vec<&str> = path.split('.').collect();
    let last = names.pop().unwrap_or_default();
    let mut at = root;
    for name in names {
        let below = &mut at["properties"][name];
        if below.is_null() {
            *below = section("");
        }
        at = below;
    }
    at["properties"][last] = leaf;
}

fn section(doc: &str) -> Value {
    let mut section = json!({"type": ["object", "null"], "additionalProperties": false, "properties": {}});
    if !doc.is_empty() {
        section["description"] = doc.into();
    }
    section
}

fn leaf(key: &Key, spelling: &str, default: Option<&Value>) -> Value {
    let mut leaf = or_null((key.schema)(key.rules));
    let also = if spelling == key.path { String::new() } else { format!(" Another spelling of {}.", key.path) };
    let variable = variable_of(spelling);
    let when = if key.rules.reloadable { "SIGHUP takes a change over." } else { "A change wants a restart." };
    let (doc, allowed) = (key.documentation(), key.allowed());
    leaf["description"] = format!("{doc}{also} Allowed: {allowed}. Variable: {variable}. {when}").into();
    if let Some(default) = default {
        leaf["default"] = default.clone();
    }
    if key.rules.secret {
        leaf["writeOnly"] = true.into();
    }
    leaf
}

/// A key without a value is as one that is left out.
fn or_null(mut schema: Value) -> Value {
    if let Some(Value::Array(alternatives)) = schema.get_mut("anyOf") {
        alternatives.push(json!({"type": "null"}));
    } else if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
    } else {
        match schema.get_mut("type") {
            Some(Value::Array(types)) => types.push("null".into()),
            Some(one) => *one = json!([one, "null"]),
            None => {}
        }
    }
    schema
}

/// Any plain text; what reads as a number or a switch is text too.
pub(super) fn text() -> Value {
    json!({"type": ["string", "number", "boolean"]})
}

/// The same, and not an empty one.
pub(super) fn filled_text() -> Value {
    json!({"type": ["string", "number", "boolean"], "minLength": 1})
}

/// What one of these accepts.
pub(super) fn either<const N: usize>(schemas: [Value; N]) -> Value {
    let mut alternatives = Vec::new();
    for mut schema in schemas {
        match schema.get_mut("anyOf") {
            Some(Value::Array(inner)) => alternatives.append(inner),
            _ => alternatives.push(schema),
        }
    }
    json!({"anyOf": alternatives})
}

/// An integer within the range.
pub(super) fn whole_number((least, most): (i64, i64)) -> Value {
    let mut schema = Map::from_iter([("type".to_owned(), "integer".into())]);
    if least != i64::MIN {
        schema.insert("minimum".into(), least.into());
    }
    if most != i64::MAX {
        schema.insert("maximum".into(), most.into());
    }
    schema.into()
}

/// Bytes, or a text with a unit; the range holds for both, and a schema can tell of the first alone.
pub(super) fn size(range: (i64, i64)) -> Value {
    let mut bytes = whole_number(range);
    bytes["title"] = "bytes".into();
    either([bytes, json!({"type": "string", "title": "a size such as 500MB or 5GiB", "pattern": SIZE})])
}

/// Seconds, or a text with units; the range is of milliseconds.
pub(super) fn duration((least, most): (i64, i64)) -> Value {
    let up = |millis: i64| if millis == i64::MIN { millis } else { millis / 1000 + i64::from(millis % 1000 > 0) };
    let down = |millis: i64| if millis == i64::MAX { millis } else { millis / 1000 };
    let mut seconds = whole_number((up(least), down(most)));
    seconds["title"] = "seconds".into();
    either([seconds, json!({"type": "string", "title": "a duration such as 10m or 1h 30m", "pattern": DURATION})])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::Sources;
    use super::*;

    fn validator() -> jsonschema::Validator {
        jsonschema::draft7::new(&schema()).unwrap()
    }

    /// A YAML text as editors hold it against the schema.
    fn as_json(text: &str) -> Value {
        yaml::parse(text).unwrap().map_or(json!({}), |root| root.into_json().unwrap())
    }

    fn is_read(text: &str) -> bool {
        let mut sources = Sources::new();
        sources.add_text("config.yaml", text);
        sources.into_config().is_ok()
    }

    /// Every path that has no properties of its own.
    fn leaves(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
        match schema.get("properties").and_then(Value::as_object) {
            None => {
                found.insert(path.to_owned());
            }
            Some(properties) => {
                assert_eq!(schema["additionalProperties"], false, "{path}");
                for (name, below) in properties {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    leaves(below, &path, found);
                }
            }
        }
    }

    #[test]
    fn it_is_a_schema_of_its_dialect() {
        let schema = schema();
        assert!(jsonschema::meta::is_valid(&schema));
        assert_eq!(schema["$schema"], DIALECT);
    }

    #[test]
    fn it_has_the_keys_that_are_read_and_no_others() {
        let mut found = BTreeSet::new();
        leaves(&schema(), "", &mut found);
        let known: BTreeSet<String> = keys().iter().flat_map(Key::spellings).collect();
        assert_eq!(found, known);
        // The reader of the file knows the same: none of them is an unknown key, and one that is not there is.
        for path in &found {
            let names: Vec<&str> = path.split('.').collect();
            let mut text = String::new();
            for (depth, name) in names.iter().enumerate() {
                text.push_str(&format!("{}{name}:\n", "  ".repeat(depth)));
            }
            assert!(is_read(&text), "{path}");
            assert!(validator().is_valid(&as_json(&text)), "{path}");
            let text = text.replace(&format!("{}:", names[names.len() - 1]), "no_such_key:");
            assert!(!is_read(&text), "{path}");
            assert!(!validator().is_valid(&as_json(&text)), "{path}");
        }
    }

    #[test]
    fn every_key_is_described_with_its_default() {
        let schema = schema();
        let at = |path: &str| path.split('.').fold(&schema, |it, name| &it["properties"][name]);
        for key in keys() {
            for spelling in key.spellings() {
                let leaf = at(&spelling);
                let description = leaf["description"].as_str().unwrap();
                assert!(description.contains(&key.documentation()), "{spelling}");
                assert!(description.contains(&key.allowed()), "{spelling}");
                assert!(!leaf["default"].is_null(), "{spelling}: {leaf}");
                assert_eq!(leaf.get("writeOnly").is_some(), key.rules.secret, "{spelling}");
            }
        }
        assert_eq!(at("proxy.listen")["default"], ":7861");
        assert_eq!(at("api.max_connections")["default"], 1024);
        assert_eq!(at("capture.enabled")["default"], true);
        assert_eq!(at("logging.level")["enum"], json!(["debug", "info", "warn", "error", null]));
        assert_eq!(at("otlp.content")["enum"], json!(["none", "text", null]));
        assert_eq!(at("timeouts.idle")["anyOf"][0]["title"], "seconds");
        assert_eq!(at("storage.max_body_bytes")["anyOf"][0]["title"], "bytes");
    }

    #[test]
    fn the_shipped_example_and_nothing_at_all_hold_to_it() {
        let validator = validator();
        let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config/api-log.example.yaml");
        for text in [std::fs::read_to_string(shipped).unwrap(), example(), String::new(), "proxy:\n".to_owned()] {
            let errors: Vec<String> =
                validator.iter_errors(&as_json(&text)).map(|it| format!("{}: {it}", it.instance_path())).collect();
            assert!(errors.is_empty(), "{errors:#?}");
            assert!(is_read(&text));
        }
    }

    #[test]
    fn it_accepts_and_refuses_what_the_reader_does() {
        let validator = validator();
        for (text, is_right) in [
            ("proxy: {listen: ':1', upstream: 'https://a.example/v1', max_connections: 10}", true),
            ("proxy: {upstream: 'gateway:7860'}", false),
            ("proxy: {upstream: 'http://a/?x'}", false),
            ("proxy: {listen: 7861}", false),
            ("proxy: {listen: [':1']}", false),
            ("proxy: {max_connections: many}", false),
            ("proxy: {max_connections: -1}", false),
            ("proxy: {max_connections: 1.5}", false),
            ("proxy: {preserve_host: on}", true),
            ("proxy: {preserve_host: maybe}", false),
            ("proxy: {upstream_idle: 4}", true),
            ("proxy: {upstream_idle: 1m 500ms}", true),
            ("proxy: {upstream_idle: soon}", false),
            ("proxy: {trusted_proxies: [10.0.0.0/8, '::1']}", true),
            ("proxy: {trusted_proxies: 10.0.0.0/8}", false),
            ("proxy: 1", false),
            ("proxies: {}", false),
            ("api: {access_log: true}", true),
            ("api: {access_log: /var/log/a.jsonl}", true),
            ("api: {access_log: [a]}", false),
            ("api: {query_timeout: 0}", false),
            ("storage: {data_dir: ''}", false),
            ("storage: {data_dir: 2026}", true),
            ("storage: {seal: gzip, fsync: always, max_body_bytes: 1.5MiB}", true),
            ("storage: {max_body_bytes: 0}", false),
            ("storage: {max_body_bytes: 5 apples}", false),
            ("storage: {seal: bzip2}", false),
            ("timeouts: {stream_idle: off, idle_seconds: 9}", true),
            ("timeouts: {stream_idle: 0}", true),
            ("timeouts: {idle: off}", false),
            ("logging: {level: loud}", false),
            ("viewer: {sha256: abc}", false),
            ("viewer: {sha256: ''}", true),
            ("viewer: {public_path: viewer}", false),
            ("viewer: {version: 1.2}", true),
            ("plugins: {path_filter: {patterns: [/a, /b/*]}}", true),
            ("plugins: {path_filter: [/a]}", false),
            ("plugins: {instances: [{type: tag, id: a, config: {tags: [x]}}]}", true),
            ("plugins: {instances: [{type: teleport, id: a}]}", false),
            ("plugins: {instances: [{type: tag}]}", false),
            ("plugins: {instances: [tag]}", false),
        ] {
            assert_eq!(validator.is_valid(&as_json(text)), is_right, "by the schema: {text}");
            assert_eq!(is_read(text), is_right, "by the reader: {text}");
        }
    }
}
