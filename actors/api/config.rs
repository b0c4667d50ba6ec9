//! What can be set at run time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use api_log::store::overrides::{Overrides, OverridesError};
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::State as Api;
use super::errors::{Answer, Problem};

/// `GET /api/config/media`.
pub(crate) async fn media(State(api): State<Arc<Api>>) -> impl IntoResponse {
    Answer(media_answer(&api))
}

/// `PUT /api/config/media`: persisted first, then live with the next trace.
pub(crate) async fn set_media(
    State(api): State<Arc<Api>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<impl IntoResponse, Problem> {
    let saves = wanted(&body?)?;
    // One writer at a time: each reads, changes and replaces the whole file.
    let _writing = api.overrides.lock().await;
    let path = api.parts.layout.overrides();
    let written = tokio::task::spawn_blocking(move || {
        let mut overrides = Overrides::read(&path)?;
        overrides.set_save_attachments(saves);
        overrides.write(&path)
    });
    written.await.map_err(|error| Problem::server_error(&error))?.map_err(|error| not_written(&error))?;
    api.parts.shared.saves_media.store(saves, Ordering::Relaxed);
    api.media_is_overridden.store(true, Ordering::Relaxed);
    tracing::info!(save_attachments = saves, "set at run time");
    Ok(Answer(media_answer(&api)))
}

fn media_answer(api: &Api) -> Value {
    let source = if api.media_is_overridden.load(Ordering::Relaxed) { "override" } else { "yaml" };
    json!({"save_attachments": api.parts.shared.saves_media.load(Ordering::Relaxed), "source": source})
}

/// The one member that the body may have.
fn wanted(body: &[u8]) -> Result<bool, Problem> {
    let bad = |detail: String| {
        Problem::new(StatusCode::BAD_REQUEST, "bad_body", format!("the body is not what this route takes: {detail}"))
            .with("detail", detail)
    };
    let body: serde_json::Map<String, Value> = serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
    if let Some(unknown) = body.keys().find(|it| *it != "save_attachments") {
        return Err(bad(format!("unknown member {unknown}")));
    }
    match body.get("save_attachments") {
        Some(Value::Bool(saves)) => Ok(*saves),
        None | Some(Value::Null) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "missing_field", "save_attachments is missing")
                .with("field", "save_attachments"))
        }
        Some(_) => Err(bad("save_attachments must be true or false".into())),
    }
}

fn not_written(error: &OverridesError) -> Problem {
    tracing::error!(%error, "the overrides could not be written");
    let detail = match error {
        OverridesError::Io { .. } => "runtime_overrides.json could not be written; nothing has changed",
        OverridesError::Malformed { .. } => {
            "runtime_overrides.json is malformed; mend or delete it; nothing has changed"
        }
    };
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "override_write_failed", detail).with("detail", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_boolean_is_taken() {
        assert!(wanted(br#"{"save_attachments": true}"#).unwrap());
        for body in
            ["{}", r#"{"save_attachments":null}"#, r#"{"save_attachments":1}"#, r#"{"x":true}"#, "[]", "", "{} {}"]
        {
            assert!(wanted(body.as_bytes()).is_err(), "{body}");
        }
    }
}
