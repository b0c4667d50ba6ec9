//! The limits of what is kept: read and set at run time.

use std::sync::Arc;

use api_log::store::overrides::Overrides;
use api_log::store::retention_change::{BadChange, RetentionChange};
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::State as Api;
use super::errors::{Answer, Problem};
use super::overrides;
use crate::retention::Limits;

/// `GET /api/config/retention`.
pub(crate) async fn limits(State(api): State<Arc<Api>>) -> impl IntoResponse {
    Answer(shown(api.parts.retention.limits()))
}

/// `PUT /api/config/retention`: what is not named stays; persisted first, then in force.
pub(crate) async fn set_limits(
    State(api): State<Arc<Api>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<impl IntoResponse, Problem> {
    let change = wanted(&body?)?;
    let set = move |overrides: &mut Overrides| overrides.set_retention(&change);
    let apply = |api: &Api, overrides: &Overrides| {
        // What was just written is in form.
        let overridden = overrides.retention().ok().flatten().unwrap_or_default();
        let limits = api.parts.retention.set(&overridden);
        api.parts.overrides_malformed.clear();
        tracing::info!(?overridden, "retention was set at run time");
        shown(limits)
    };
    overrides::change(api, set, apply).await.map(Answer)
}

fn shown(limits: Limits) -> Value {
    let Limits { settings, source, .. } = limits;
    json!({
        "max_bytes": settings.max_bytes,
        "max_age_days": settings.max_age_days(),
        "warn_at_percent": settings.warn_at_percent,
        "per_key_max_bytes": settings.per_key_max_bytes,
        "media_max_bytes": settings.media_max_bytes,
        "source": source,
    })
}

fn wanted(body: &[u8]) -> Result<RetentionChange, Problem> {
    let bad = |code: &str, detail: String| {
        Problem::new(StatusCode::BAD_REQUEST, code, format!("the limits cannot be set: {detail}"))
            .with("detail", detail)
    };
    let members = serde_json::from_slice(body).map_err(|error| bad("bad_body", error.to_string()))?;
    RetentionChange::of(&members).map_err(|error| match error {
        BadChange::Form(detail) => bad("bad_body", detail),
        BadChange::Range(detail) => bad("invalid_retention", detail),
    })
}
