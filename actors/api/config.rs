//! What can be set at run time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use api_log::store::overrides::Overrides;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::State as Api;
use super::errors::{Answer, Problem};
use super::overrides;

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
    let set = move |overrides: &mut Overrides| overrides.set_save_attachments(saves);
    let applied = move |api: &Api, _: &Overrides| {
        api.parts.shared.saves_media.store(saves, Ordering::Relaxed);
        api.media_is_overridden.store(true, Ordering::Relaxed);
        tracing::info!(save_attachments = saves, "set at run time");
        media_answer(api)
    };
    overrides::change(api, set, applied).await.map(Answer)
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
