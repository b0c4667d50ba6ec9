//! The plugins' list: read, replaced, changed and given back to the configuration.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use api_log::plugin::instance::{BadInstance, Fault, Instance, ShownInstance};
use api_log::plugin::kinds::{CATALOGUE, KindEntry, ShownKind};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::State as Api;
use super::body::Sent;
use super::errors::{Answer, Problem};
use crate::plugins::registry::Msg;
use crate::plugins::{Change, ChangeError, Changed};

/// How long to wait for a registry that is just being started again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often to ask meanwhile.
const AGAIN: Duration = Duration::from_millis(20);
/// The members of an instance.
const MEMBERS: [&str; 4] = ["type", "id", "enabled", "config"];

/// What plugins there are.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PluginTypes")]
pub(crate) struct Types {
    /// In the order in which they act.
    types: Vec<ShownKind>,
}

/// The plugins in force.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PluginList")]
pub(crate) struct Listed {
    /// In their order, the disabled ones too.
    instances: Vec<ShownInstance>,
    /// Where they come from: `yaml` or `override`.
    source: &'static str,
}

/// The list was replaced.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PluginsReplaced")]
pub(crate) struct Replaced {
    /// It was.
    #[schemars(extend("const" = true))]
    ok: bool,
    /// What is in force now.
    instances: Vec<ShownInstance>,
    /// Always empty: with an error nothing is replaced.
    #[schemars(extend("maxItems" = 0))]
    errors: Vec<String>,
}

/// One of them was changed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PluginChanged")]
pub(crate) struct Patched {
    /// It was.
    #[schemars(extend("const" = true))]
    ok: bool,
    /// As it is now.
    instance: ShownInstance,
}

/// The configuration's list is in force again.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PluginsReset")]
pub(crate) struct Removed {
    /// It is.
    #[schemars(extend("const" = true))]
    ok: bool,
    /// Where the list comes from now.
    #[schemars(extend("const" = "yaml"))]
    source: &'static str,
}

/// A list as a caller sends it, read by [`wanted`].
pub(crate) struct List;

/// A change as a caller sends it, read by [`changes`].
pub(crate) struct Changes;

/// The members of an instance that can be changed.
fn changeable() -> Value {
    let types: Vec<&str> = CATALOGUE.iter().map(|it| it.name).collect();
    json!({
        "type": {"description": "What it does.", "type": "string", "enum": types},
        "enabled": {"description": "Whether it acts; no if nothing is said.", "type": ["boolean", "null"]},
        "config": {"description": "Its configuration; see the types.", "type": ["object", "null"]},
    })
}

impl JsonSchema for List {
    fn schema_name() -> Cow<'static, str> {
        "PluginsGiven".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut members = changeable();
        members["id"] = json!({"description": "Its name; no other has it.", "type": "string", "minLength": 1});
        let instance = json!({
            "type": "object",
            "required": ["type", "id"],
            "properties": members,
            "additionalProperties": false,
        });
        let instances = json!({"description": "In the order in which they act.", "type": "array", "items": instance});
        json_schema!({
            "type": "object",
            "description": "A list of plugins.",
            "required": ["instances"],
            "properties": {"instances": instances},
            "additionalProperties": false,
        })
    }
}

impl JsonSchema for Changes {
    fn schema_name() -> Cow<'static, str> {
        "PluginChange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "What is to be another; what is not named stays.",
            "properties": changeable(),
            "additionalProperties": false,
        })
    }
}

/// `GET /api/plugins/types`.
pub(crate) async fn types() -> Answer<Types> {
    Answer(Types { types: CATALOGUE.iter().map(KindEntry::shown).collect() })
}

/// `GET /api/config/plugins`: the list in force.
pub(crate) async fn list(State(api): State<Arc<Api>>) -> Answer<Listed> {
    let set = api.parts.plugins.in_force.pin();
    Answer(Listed { instances: shown(set.list()), source: set.source().name() })
}

/// `PUT /api/config/plugins`: this list in place of whatever was there.
pub(crate) async fn replace(State(api): State<Arc<Api>>, sent: Sent<List>) -> Result<Answer<Replaced>, Problem> {
    let list = wanted(&sent.bytes?)?;
    match asked(&api, Change::Replace(list)).await? {
        Changed::List(list) => Ok(Answer(Replaced { ok: true, instances: shown(&list), errors: Vec::new() })),
        Changed::One(_) | Changed::Removed => Err(Problem::server_error(&"an answer to another question")),
    }
}

/// `PUT /api/config/plugins/{id}`: what is not named stays.
pub(crate) async fn patch(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    sent: Sent<Changes>,
) -> Result<Answer<Patched>, Problem> {
    let Path(id) = id.map_err(|error| Problem::bad_body(error.body_text()))?;
    let changes = changes(&sent.bytes?)?;
    let patch = Box::new(move |index, instance: &Instance| {
        let mut value = json!(instance.shown());
        for (name, change) in changes {
            value[name] = change;
        }
        Instance::read(index, &value)
    });
    match asked(&api, Change::Patch { id, patch }).await? {
        Changed::One(instance) => Ok(Answer(Patched { ok: true, instance: instance.shown() })),
        Changed::List(_) | Changed::Removed => Err(Problem::server_error(&"an answer to another question")),
    }
}

/// The same without an id.
pub(crate) async fn patch_nothing() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "missing_param", "the id is missing").with("param", "id")
}

/// `DELETE /api/config/plugins`: the configuration's list is in force again.
pub(crate) async fn remove(State(api): State<Arc<Api>>) -> Result<Answer<Removed>, Problem> {
    asked(&api, Change::Remove).await?;
    Ok(Answer(Removed { ok: true, source: "yaml" }))
}

fn shown(list: &[Instance]) -> Vec<ShownInstance> {
    list.iter().map(Instance::shown).collect()
}

/// Has the registry change something. The change goes on if the caller leaves.
async fn asked(api: &Api, change: Change) -> Result<Changed, Problem> {
    let (slot, health) = (&api.parts.plugins_slot, api.parts.registry.child("plugins"));
    let (port, answer) = tokio::sync::oneshot::channel();
    let mut message = Msg::Change { change, reply: port.into(), pending: health.begin() };
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while let Err(nobody) = slot.cast(message) {
        if tokio::time::Instant::now() >= deadline {
            return Err(Problem::busy());
        }
        message = nobody.0;
        tokio::time::sleep(AGAIN).await;
    }
    match answer.await {
        Ok(changed) => changed.map_err(problem),
        Err(_) => Err(Problem::server_error(&"the plugins' registry failed; GET tells what is in force")),
    }
}

fn problem(error: ChangeError) -> Problem {
    let detail = error.to_string();
    let refused = |status, code| Problem::new(status, code, format!("nothing has changed: {detail}"));
    let outside = |code| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, code, "nothing has changed; the log says why");
    match &error {
        ChangeError::Bad(bad) => bad_instance(bad),
        ChangeError::NotFound(_) => refused(StatusCode::NOT_FOUND, "not_found").with("detail", detail.clone()),
        ChangeError::Read(_) | ChangeError::Malformed(_) => {
            tracing::error!(error = detail, "the overrides cannot be read");
            outside("override_read_failed").with("detail", "runtime_overrides.json cannot be read; mend or delete it")
        }
        ChangeError::Write(_) => {
            tracing::error!(error = detail, "the overrides cannot be written");
            outside("override_write_failed").with("detail", "runtime_overrides.json could not be written")
        }
    }
}

/// An instance that cannot be taken. What the list's form shows has codes of its own.
fn bad_instance(bad: &BadInstance) -> Problem {
    let refused = |code| Problem::new(StatusCode::BAD_REQUEST, code, format!("nothing has changed: {bad}"));
    let problem = match &bad.fault {
        Fault::MissingType | Fault::MissingId => refused("bad_instance").with("detail", bad.fault.to_string()),
        Fault::DuplicateId => refused("duplicate_id"),
        Fault::NoObject => refused("bad_body").with("detail", bad.to_string()),
        Fault::Field(flaw) if !flaw.field.starts_with("config.") => refused("bad_body").with("detail", bad.to_string()),
        Fault::Field(flaw) => {
            refused("reload_failed").with("detail", bad.to_string()).with("field", flaw.field.clone())
        }
        Fault::UnknownType { .. } => refused("reload_failed").with("detail", bad.to_string()).with("field", "type"),
    };
    let problem = problem.with("index", bad.index.to_string());
    match &bad.id {
        Some(id) => problem.with("id", id.clone()),
        None => problem,
    }
}

/// The list that a body asks for: its form is looked at first, then each instance.
fn wanted(body: &[u8]) -> Result<Vec<Instance>, Problem> {
    let mut members = object(body)?;
    only(&members, &["instances"], "")?;
    let instances = match members.remove("instances") {
        Some(Value::Array(instances)) => instances,
        None | Some(Value::Null) => {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "missing_field", "instances is missing")
                .with("field", "instances"));
        }
        Some(_) => return Err(Problem::bad_body("instances must be a list")),
    };
    for (index, instance) in instances.iter().enumerate() {
        if let Some(members) = instance.as_object() {
            only(members, &MEMBERS, &format!("instances[{index}]."))?;
        }
    }
    let (list, bad) = Instance::read_list(&instances);
    // What is wrong with the form counts before what is wrong with a configuration.
    let worst = bad.iter().min_by_key(|it| matches!(it.fault, Fault::UnknownType { .. } | Fault::Field(_)));
    worst.map_or(Ok(list), |bad| Err(bad_instance(bad)))
}

/// The changes that a body asks for.
fn changes(body: &[u8]) -> Result<Vec<(&'static str, Value)>, Problem> {
    let mut members = object(body)?;
    only(&members, &["type", "enabled", "config"], "")?;
    let mut changes = Vec::new();
    for (name, is_wanted) in [
        ("type", (|it| it.as_str().is_some_and(|it| !it.is_empty())) as fn(&Value) -> bool),
        ("enabled", Value::is_boolean),
        ("config", Value::is_object),
    ] {
        match members.remove(name) {
            None | Some(Value::Null) => {}
            Some(value) if is_wanted(&value) => changes.push((name, value)),
            Some(_) => return Err(Problem::bad_body(format!("{name} is not what it must be"))),
        }
    }
    Ok(changes)
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    serde_json::from_slice(body).map_err(|error| Problem::bad_body(error.to_string()))
}

fn only(members: &Map<String, Value>, known: &[&str], at: &str) -> Result<(), Problem> {
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(Problem::bad_body(format!("unknown member {at}{unknown}"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(outcome: Result<Vec<Instance>, Problem>) -> String {
        format!("{:?}", outcome.unwrap_err())
    }

    #[test]
    fn what_is_wrong_with_a_body_has_the_code_of_the_contract() {
        for (body, expected) in [
            ("", "bad_body"),
            ("[]", "bad_body"),
            ("{} {}", "bad_body"),
            (r#"{"instances":[],"x":1}"#, "bad_body"),
            (r#"{"instances":{}}"#, "bad_body"),
            (r#"{"instances":[1]}"#, "bad_body"),
            (r#"{"instances":[{"type":"text-append","id":"a","x":1}]}"#, "bad_body"),
            (r#"{"instances":[{"type":"text-append","id":"a","enabled":1}]}"#, "bad_body"),
            (r#"{"instances":[{"type":"text-append","id":"a","config":[]}]}"#, "bad_body"),
            ("{}", "missing_field"),
            (r#"{"instances":null}"#, "missing_field"),
            (r#"{"instances":[{"id":"a"}]}"#, "bad_instance"),
            (r#"{"instances":[{"type":"text-append"}]}"#, "bad_instance"),
            (r#"{"instances":[{"type":"text-append","id":"a"},{"type":"text-append","id":"a"}]}"#, "duplicate_id"),
            (r#"{"instances":[{"type":"x","id":"a"}]}"#, "reload_failed"),
            (r#"{"instances":[{"type":"text-append","id":"a","config":{"probability":2}}]}"#, "reload_failed"),
            (r#"{"instances":[{"type":"x","id":"a"},{"type":"x"}]}"#, "bad_instance"),
        ] {
            let code = code(wanted(body.as_bytes()));
            assert!(code.contains(&format!("{expected:?}")), "{body}: {code}");
        }
        assert_eq!(
            wanted(br#"{"instances":[{"type":"text-append","id":"a","config":{"later":1}}]}"#).unwrap().len(),
            1
        );
    }

    #[test]
    fn a_patch_names_what_it_changes() {
        let names =
            |body: &str| changes(body.as_bytes()).unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(r#"{"enabled":false,"config":null}"#), ["enabled"]);
        for body in [r#"{"type":""}"#, r#"{"id":"b"}"#, r#"{"enabled":1}"#, r#"{"config":[]}"#, "[]"] {
            assert!(changes(body.as_bytes()).is_err(), "{body}");
        }
    }
}
