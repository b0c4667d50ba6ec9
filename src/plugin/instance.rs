//! An instance: a kind, a name, a switch and a configuration, as it is given and as it is meant.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Flaw;
use super::kinds::{CATALOGUE, Kind};
use super::path_patterns::PathPatterns;

/// An instance, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Its name; no other of the list has it.
    pub id: String,
    /// Whether it acts.
    pub is_enabled: bool,
    /// What it does.
    pub kind: Kind,
    /// Its configuration as it was given.
    pub config: Map<String, Value>,
}

/// An [`Instance`] as it stands in a file and in answers.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Instance")]
pub struct ShownInstance {
    /// What it does, by the name of its kind.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its name.
    pub id: String,
    /// Whether it acts.
    pub enabled: bool,
    /// Its configuration as it was given.
    pub config: Map<String, Value>,
}

/// An instance that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("instances[{index}]{}: {fault}", shown_id(.id))]
pub struct BadInstance {
    /// Its place in the list, from 0.
    pub index: usize,
    /// Its id, if it has one.
    pub id: Option<String>,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with an instance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is no object.
    #[error("must be an object")]
    NoObject,
    /// It has no type.
    #[error("missing type")]
    MissingType,
    /// It has no id.
    #[error("missing id")]
    MissingId,
    /// Another one before it has its id.
    #[error("another instance has this id")]
    DuplicateId,
    /// There is no such type.
    #[error("unknown type {name:?}; known are {}", known_types())]
    UnknownType {
        /// The type.
        name: String,
    },
    /// A member has the wrong type, or a field of its configuration cannot be taken.
    #[error("bad config: {0}")]
    Field(Flaw),
}

impl Instance {
    /// The instance that stands at this place of a list. Members beside the four that are known are passed over.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(index: usize, value: &Value) -> Result<Instance, BadInstance> {
        let id = value.get("id").and_then(Value::as_str).filter(|id| !id.is_empty());
        let bad = |fault| BadInstance { index, id: id.map(str::to_owned), fault };
        let flaw = |field: &str, reason: &str| bad(Fault::Field(Flaw::new(field, reason)));
        let members = value.as_object().ok_or_else(|| bad(Fault::NoObject))?;
        let member = |name: &str| members.get(name).filter(|it| !it.is_null());
        let kind_name = match member("type") {
            None => return Err(bad(Fault::MissingType)),
            Some(Value::String(name)) if name.is_empty() => return Err(bad(Fault::MissingType)),
            Some(Value::String(name)) => name,
            Some(_) => return Err(flaw("type", "must be a text")),
        };
        if member("id").is_some_and(|id| !id.is_string()) {
            return Err(flaw("id", "must be a text"));
        }
        let id = id.ok_or_else(|| bad(Fault::MissingId))?;
        let is_enabled = match member("enabled") {
            None => false,
            Some(enabled) => enabled.as_bool().ok_or_else(|| flaw("enabled", "must be true or false"))?,
        };
        let config = match member("config") {
            None => Map::new(),
            Some(Value::Object(config)) => config.clone(),
            Some(_) => return Err(flaw("config", "must be an object")),
        };
        let kind = Kind::read(kind_name, &config).ok_or_else(|| bad(Fault::UnknownType { name: kind_name.clone() }))?;
        let kind = kind.map_err(|flaw| bad(Fault::Field(flaw)))?;
        Ok(Instance { id: id.to_owned(), is_enabled, kind, config })
    }

    /// One that no list names: the configuration's own filter of this kind.
    pub fn of_configuration(id: &str, kind: Kind, patterns: &PathPatterns) -> Instance {
        let patterns: Vec<Value> = patterns.iter().map(|it| it.to_string().into()).collect();
        let config = Map::from_iter([("patterns".to_owned(), patterns.into())]);
        Instance { id: id.to_owned(), is_enabled: true, kind, config }
    }

    /// Every instance of a list that can be taken, in order, and what is wrong with the others.
    pub fn read_list(values: &[Value]) -> (Vec<Instance>, Vec<BadInstance>) {
        let (mut instances, mut bad) = (Vec::new(), Vec::new());
        let mut ids = HashSet::new();
        for (index, value) in values.iter().enumerate() {
            match Instance::read(index, value) {
                Ok(instance) if ids.insert(instance.id.clone()) => instances.push(instance),
                Ok(Instance { id, .. }) => bad.push(BadInstance { index, id: Some(id), fault: Fault::DuplicateId }),
                Err(error) => bad.push(error),
            }
        }
        (instances, bad)
    }

    /// As it stands in a file and in answers.
    pub fn shown(&self) -> ShownInstance {
        let (kind, id) = (self.kind.name(), self.id.clone());
        ShownInstance { kind, id, enabled: self.is_enabled, config: self.config.clone() }
    }
}

fn shown_id(id: &Option<String>) -> String {
    id.as_ref().map(|id| format!(" ({id})")).unwrap_or_default()
}

fn known_types() -> String {
    CATALOGUE.iter().map(|it| it.name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_can_be_taken_is_and_the_rest_is_named_by_place_and_id() {
        let list = json!([
            {"type": "tag", "id": "a", "enabled": true, "config": {"tags": ["x"]}, "later": 1},
            {"type": "tag", "id": "a", "config": {"tags": ["x"]}},
            {"type": "teleport", "id": "b"},
            {"type": "text-append", "id": "c", "config": {"probability": 2}},
            {"type": "text-append", "id": ""},
            {"id": "d"},
            {"type": "text-append", "id": "e", "enabled": null, "config": null},
            7,
            {"type": "text-append", "id": "f", "enabled": "yes"},
        ]);
        let (instances, bad) = Instance::read_list(list.as_array().unwrap());
        let ids: Vec<(&str, bool)> = instances.iter().map(|it| (it.id.as_str(), it.is_enabled)).collect();
        assert_eq!(ids, [("a", true), ("e", false)]);
        let bad: Vec<String> = bad.iter().map(BadInstance::to_string).collect();
        assert_eq!(
            bad,
            [
                "instances[1] (a): another instance has this id".to_owned(),
                format!("instances[2] (b): unknown type \"teleport\"; known are {}", known_types()),
                "instances[3] (c): bad config: config.probability: must be from 0 to 1".to_owned(),
                "instances[4]: missing id".to_owned(),
                "instances[5] (d): missing type".to_owned(),
                "instances[7]: must be an object".to_owned(),
                "instances[8] (f): bad config: enabled: must be true or false".to_owned(),
            ]
        );
        assert_eq!(
            json!(instances[1].shown()),
            json!({"type": "text-append", "id": "e", "enabled": false, "config": {}})
        );
    }
}
