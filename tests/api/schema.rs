//! Values held against the schemas that describe them, both ways: a value has nothing that is not described, and what
//! is described has been seen in some value.

use std::collections::{BTreeSet, HashMap};

use jsonschema::Validator;
use serde_json::{Map, Value};

/// Where one schema names another.
const COMPONENTS: &str = "#/components/schemas/";

/// Schemas by name, all of them closed, and what was seen of them.
pub(crate) struct Schemas {
    components: Value,
    validators: HashMap<String, Validator>,
    seen: BTreeSet<String>,
}

impl Schemas {
    /// These components. They are open to members to come; here nothing is to come.
    pub(crate) fn new(components: &Map<String, Value>) -> Schemas {
        let mut components = Value::Object(components.clone());
        close(&mut components);
        Schemas { components, validators: HashMap::new(), seen: BTreeSet::new() }
    }

    /// Holds a value against a schema, and notes which members it has.
    pub(crate) fn check(&mut self, schema: &Value, found: &Value, what: &str) {
        let mut schema = schema.clone();
        close(&mut schema);
        let faults: Vec<String> = self.validator(&schema).iter_errors(found).map(|it| format!("{it:?}")).collect();
        assert!(faults.is_empty(), "{what}: {faults:#?}\n{found}");
        self.note(&schema, found, "");
    }

    /// The members that these schemas describe and no value has had.
    pub(crate) fn unseen<'s>(&self, schemas: impl IntoIterator<Item = &'s Value>) -> BTreeSet<String> {
        let (mut told, mut known) = (BTreeSet::new(), BTreeSet::new());
        for schema in schemas {
            self.members(schema, "", &mut told, &mut known);
        }
        told.difference(&self.seen).cloned().collect()
    }

    fn validator(&mut self, schema: &Value) -> &Validator {
        let components = &self.components;
        self.validators.entry(schema.to_string()).or_insert_with(|| {
            let mut root = schema.clone();
            root["components"] = serde_json::json!({"schemas": components});
            jsonschema::draft202012::options().should_validate_formats(true).build(&root).expect("a schema")
        })
    }

    /// The schema that is named, and how its members are called.
    fn resolved(&self, schema: &Value, at: &str) -> (Value, String) {
        match schema["$ref"].as_str().and_then(|it| it.strip_prefix(COMPONENTS)) {
            Some(name) => (self.components[name].clone(), name.to_owned()),
            None => (schema.clone(), at.to_owned()),
        }
    }

    fn note(&mut self, schema: &Value, found: &Value, at: &str) {
        let (schema, at) = self.resolved(schema, at);
        for (name, value) in found.as_object().into_iter().flatten() {
            if let Some(member) = schema["properties"].get(name) {
                let at = format!("{at}.{name}");
                self.note(member, value, &at);
                self.seen.insert(at);
            }
        }
        for item in found.as_array().into_iter().flatten() {
            self.note(&schema["items"], item, &at);
        }
        for way in ["anyOf", "oneOf", "allOf"] {
            for branch in schema[way].as_array().into_iter().flatten() {
                if way == "allOf" || self.validator(branch).is_valid(found) {
                    self.note(branch, found, &at);
                }
            }
        }
    }

    fn members(&self, schema: &Value, at: &str, told: &mut BTreeSet<String>, known: &mut BTreeSet<String>) {
        if let Some(name) = schema["$ref"].as_str()
            && !known.insert(name.to_owned())
        {
            return;
        }
        let (schema, at) = self.resolved(schema, at);
        for (name, member) in schema["properties"].as_object().into_iter().flatten() {
            let at = format!("{at}.{name}");
            self.members(member, &at, told, known);
            told.insert(at);
        }
        let branches =
            ["anyOf", "oneOf", "allOf"].into_iter().flat_map(|it| schema[it].as_array().into_iter().flatten());
        branches.chain(schema.get("items")).for_each(|it| self.members(it, &at, told, known));
    }
}

/// Takes nothing more than what is described. What stands beside another description of the same value stays open.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for (name, member) in members.iter_mut().filter(|(name, _)| *name != "allOf") {
                // What a schema is like is not a schema.
                if !["enum", "const", "default", "required"].contains(&name.as_str()) {
                    close(member);
                }
            }
            if members.get("properties").is_some_and(Value::is_object) && !members.contains_key("additionalProperties")
            {
                members.insert("unevaluatedProperties".to_owned(), false.into());
            }
        }
        Value::Array(schemas) => schemas.iter_mut().for_each(close),
        _ => {}
    }
}
