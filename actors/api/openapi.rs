//! `/api/openapi.json`: the API's document, OpenAPI 3.1, made of the list of routes and of the types that they take
//! and give. Nothing in it is said twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_log::access::Scope;
use api_log::described::Param;
use api_log::ids::TraceId;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use schemars::{JsonSchema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::State as Api;
use super::endpoint::{Endpoint, Fault, Operation, Output, Reply, Schemas, Sketch, Verb};
use super::errors;
use super::params::{Nothing, Query};
use super::routes;
use super::scopes::{self, Needs};

const TYPE: &str = "application/json";

const ABOUT: &str = "What the recorder has recorded, what it is forwarding now, and how it fares. \
    GET is answered for HEAD too, without the body. An empty query parameter counts as absent, of repeated ones the \
    first counts, and an unknown one is a 400 that names it. A wrong method is 405 with `Allow`, before the token is \
    asked for; an unknown path is 404; both are plain text. Every other failure is a `Problem`. \
    Members may be added to any answer. A viewer for people is served beside the API, where `viewer.public_path` says.";

/// The document as it is sent.
pub(crate) struct Document(Bytes);

impl IntoResponse for Document {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, TYPE)], self.0).into_response()
    }
}

impl Output for Document {
    fn replies(_: &mut Schemas) -> Vec<Reply> {
        let schema = json_schema!({
            "type": "object",
            "description": "See the OpenAPI specification, version 3.1.",
            "required": ["openapi", "info", "paths"],
            "additionalProperties": true,
        });
        vec![Reply::new(200, "This document.").of(TYPE, schema)]
    }
}

/// `GET /api/openapi.json`.
pub(crate) async fn openapi(State(api): State<Arc<Api>>, _: Query<Nothing>) -> Document {
    let text = api.document.get_or_init(|| {
        let mut text = document(&routes::endpoints()).to_string();
        text.push('\n');
        text.into()
    });
    Document(text.clone())
}

/// The document of these routes.
fn document(endpoints: &[Endpoint]) -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for endpoint in endpoints.iter().filter(|it| it.is_listed) {
        let mut item = Map::new();
        for operation in &endpoint.operations {
            let method = operation.verb.name().to_ascii_lowercase();
            item.insert(method, shown(endpoint, operation, &mut schemas));
        }
        paths.insert(endpoint.path.to_owned(), item.into());
    }
    let mut components = schemas.given.take_definitions(true);
    components.append(&mut schemas.taken.take_definitions(true));
    components.insert("Problem".to_owned(), errors::schema().to_value());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "The read API of api-log",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT", "identifier": "MIT"},
            "description": ABOUT,
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {
                "type": "http",
                "scheme": "bearer",
                "description": "The one in `admin_token` in the data dir, or one of `api.token_file`. Roles are scopes; \
                    `admin` covers `viewer`.",
            }},
        },
    })
}

fn shown(endpoint: &Endpoint, operation: &Operation, schemas: &mut Schemas) -> Value {
    let sketch = (operation.sketch)(schemas);
    let security = match needs(endpoint, operation) {
        Needs::Nothing => json!([]),
        Needs::TokenIfConfigured => json!([{}, {"token": []}]),
        Needs::Scope(scope) => json!([{"token": [scope.name()]}]),
    };
    let mut shown = json!({
        "operationId": operation.id,
        "summary": operation.about,
        "tags": [tag(endpoint.path)],
        "security": security,
        "parameters": parameters(endpoint.path, &sketch),
        "responses": responses(endpoint, operation, &sketch),
    });
    if let Some(body) = &sketch.body {
        shown["requestBody"] = json!({"required": true, "content": {TYPE: {"schema": body}}});
    }
    shown
}

/// What asking for an operation needs.
fn needs(endpoint: &Endpoint, operation: &Operation) -> Needs {
    scopes::row(operation.verb.name(), endpoint.path).map_or(endpoint.needs(), |it| it.needs)
}

/// What an operation belongs to.
fn tag(path: &str) -> &'static str {
    let part = path.strip_prefix("/api/").and_then(|it| it.split('/').next());
    match part.unwrap_or_default() {
        "traces" | "sessions" | "stats" | "export" | "media" => "traces",
        "tail" | "inflight" => "live",
        "index" => "index",
        "config" | "plugins" => "configuration",
        _ => "recorder",
    }
}

fn parameters(path: &str, sketch: &Sketch) -> Vec<Value> {
    let shown = |place: &str, it: &Param| {
        let mut shown = json!({
            "name": it.name,
            "in": place,
            "required": place == "path",
            "description": it.about,
            "schema": (it.schema)(),
        });
        if place == "query" {
            shown["allowEmptyValue"] = true.into();
        }
        shown
    };
    let in_path = in_path(path);
    let in_path = in_path.iter().map(|it| shown("path", it));
    let in_query = sketch.params.iter().map(|it| shown("query", it));
    in_path.chain(in_query).chain(sketch.headers.iter().map(|it| shown("header", it))).collect()
}

/// What stands between braces in a path.
fn in_path(path: &str) -> Vec<Param> {
    let trace = || TraceId::json_schema(&mut SchemaGenerator::default());
    let names = path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'));
    let param = |name| match (name, path.starts_with("/api/config/plugins/")) {
        ("id", true) => Param::new("id", || json_schema!({"type": "string", "minLength": 1}), "The instance's name."),
        ("idx", _) => Param::new("idx", api_log::described::count, "The attachment's number, from 0."),
        ("trace_id", _) => Param::new("trace_id", trace, "The trace's id."),
        _ => Param::new("id", trace, "The trace's id."),
    };
    names.map(param).collect()
}

fn responses(endpoint: &Endpoint, operation: &Operation, sketch: &Sketch) -> Map<String, Value> {
    let mut responses = Map::new();
    for reply in &sketch.replies {
        responses.insert(reply.status.to_string(), replied(reply, endpoint.is_from_index));
    }
    let mut codes: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    const EVERYWHERE: &[Fault] =
        &[(414, "target_too_long"), (431, "header_too_large"), (500, "server_panic"), (503, "too_many_connections")];
    const WITH_BODY: &[Fault] = &[(400, "bad_body"), (408, "body_timeout"), (413, "body_too_large")];
    let of_token: &[Fault] = match needs(endpoint, operation) {
        Needs::Nothing => &[],
        Needs::TokenIfConfigured | Needs::Scope(Scope::Viewer) => &[(401, "unauthorized")],
        Needs::Scope(Scope::Admin) => &[(401, "unauthorized"), (403, "forbidden")],
    };
    // Whatever changes something has its body taken first, if only to be thrown away.
    let of_body = if operation.verb == Verb::Get { &[][..] } else { WITH_BODY };
    let faults = sketch.faults.iter().chain(&operation.faults).chain(of_body).chain(of_token).chain(EVERYWHERE);
    for (status, code) in faults {
        let codes = codes.entry(*status).or_default();
        if !codes.contains(code) {
            codes.push(code);
        }
    }
    // Where an answer of its own has the status, that is the usual one.
    codes.retain(|status, _| !responses.contains_key(&status.to_string()));
    for (status, codes) in codes {
        responses.insert(status.to_string(), failed(status, &codes));
    }
    responses
}

fn replied(reply: &Reply, is_from_index: bool) -> Value {
    let mut shown = json!({"description": reply.about});
    let mut headers: Map<String, Value> = reply
        .headers
        .iter()
        .map(|it| (it.name.to_owned(), json!({"description": it.about, "schema": (it.schema)()})))
        .collect();
    if is_from_index {
        let about = "While the index may lack traces: why, and how many bytes of the files it holds of how many, as \
            `rebuilding; indexed=123; total=456`. Absent otherwise.";
        let schema = json!({"type": "string", "pattern": "^[a-z_]+; indexed=[0-9]+; total=[0-9]+$"});
        headers.insert("x-api-log-index".to_owned(), json!({"description": about, "schema": schema}));
    }
    if !headers.is_empty() {
        shown["headers"] = headers.into();
    }
    if !reply.content.is_empty() {
        let content: Map<String, Value> =
            reply.content.iter().map(|(kind, schema)| ((*kind).to_owned(), json!({"schema": schema}))).collect();
        shown["content"] = content.into();
    }
    if !reply.events.is_empty() {
        // Before version 3.2 there is no word for it.
        let events: Map<String, Value> =
            reply.events.iter().map(|(name, schema)| ((*name).to_owned(), json!({"data": schema}))).collect();
        shown["x-api-log-events"] = events.into();
    }
    shown
}

fn failed(status: u16, codes: &[&str]) -> Value {
    let schema = json!({"allOf": [
        {"$ref": "#/components/schemas/Problem"},
        {"type": "object", "properties": {"error": {"enum": codes}}},
    ]});
    let mut shown = json!({
        "description": format!("Refused or failed: `{}`.", codes.join("`, `")),
        "content": {TYPE: {"schema": schema}},
    });
    if status == 503 {
        let schema = json!({"type": "integer", "minimum": 0});
        shown["headers"] = json!({"retry-after": {"description": "In so many seconds.", "schema": schema}});
    }
    shown
}

#[cfg(test)]
#[path = "../../tests/api/schema.rs"]
mod schema;

#[cfg(test)]
mod tests {
    use api_log::ids::UnixMillis;

    use super::*;
    use crate::api::{health, index, ready};
    use crate::kit::{ChildReport, ChildState, LastError, NurseryReport, PulseReport, Trouble};

    #[test]
    fn only_the_path_that_lacks_its_id_is_told_nobody() {
        let endpoints = routes::endpoints();
        let untold: Vec<&str> = endpoints.iter().filter(|it| !it.is_listed).map(|it| it.path).collect();
        assert_eq!(untold, ["/api/config/plugins/"]);
    }

    #[test]
    fn what_only_a_failure_shows_fits_its_schema() {
        let document = document(&routes::endpoints());
        let mut schemas = schema::Schemas::new(document["components"]["schemas"].as_object().unwrap());
        let (at, name) = (UnixMillis(1_779_877_425_007), "x".to_owned());
        let last_error = LastError { message: "x".into(), at };
        let child = ChildReport {
            name: name.clone(),
            state: ChildState::Failed,
            since: at,
            restarts: 1,
            last_error: Some(last_error.clone()),
            hung_since: Some(at),
            queue_depth: 1,
            queue_high_water: 1,
            progress: 1,
        };
        let nursery = NurseryReport {
            name: name.clone(),
            limit: 1,
            running: 1,
            high_water: 1,
            ended: 1,
            failed: 1,
            refused: 1,
            last_error: Some(last_error),
        };
        let pulse = PulseReport { name: name.clone(), beats: 1, stopped_since: Some(at) };
        let trouble = Trouble { name: name.clone(), reason: "failed", since: at };
        let degraded = health::DegradedChild { child: name.clone(), reason: "failed", since: at.to_string() };
        let reason = ready::Reason { reason: "failed", detail: name.clone() };
        let index_error = index::LastError { message: name.clone(), at: at.to_string() };
        let unreadable = index::Unreadable { segment: name.clone(), error: name };
        let shown = [
            ("Child", json!(child)),
            ("Nursery", json!(nursery)),
            ("Pulse", json!(pulse)),
            ("Trouble", json!(trouble)),
            ("DegradedChild", json!(degraded)),
            ("Reason", json!(reason)),
            ("IndexError", json!(index_error)),
            ("UnreadableSegment", json!(unreadable)),
        ];
        let named = shown.map(|(name, value)| {
            let named = json!({"$ref": format!("#/components/schemas/{name}")});
            schemas.check(&named, &value, name);
            named
        });
        assert_eq!(schemas.unseen(&named), Default::default());
    }
}
