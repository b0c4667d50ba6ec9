//! The limits of what is kept: read and set at run time.

use std::sync::Arc;

use api_log::store::overrides::Overrides;
use api_log::store::retention_change::{BadChange, RetentionChange};
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::State as Api;
use super::body::Sent;
use super::errors::{Answer, Problem};
use super::overrides;
use crate::retention::{Limits, Source};

/// The limits in force; 0 = no limit.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Retention")]
pub(crate) struct Shown {
    /// The most bytes that are kept.
    max_bytes: u64,
    /// For so many days they are kept.
    max_age_days: u64,
    /// From so much of `max_bytes` on there is a warning.
    warn_at_percent: u64,
    /// The most bytes of one key.
    per_key_max_bytes: u64,
    /// The most bytes of attachments.
    media_max_bytes: u64,
    /// Who set them.
    source: Source,
}

/// `GET /api/config/retention`.
pub(crate) async fn limits(State(api): State<Arc<Api>>) -> Answer<Shown> {
    Answer(shown(api.parts.retention.limits()))
}

/// `PUT /api/config/retention`: what is not named stays; persisted first, then in force.
pub(crate) async fn set_limits(
    State(api): State<Arc<Api>>,
    sent: Sent<RetentionChange>,
) -> Result<Answer<Shown>, Problem> {
    let change = wanted(&sent.bytes?)?;
    let set = move |overrides: &mut Overrides| overrides.set_retention(&change);
    let apply = |api: &Api, overrides: &Overrides| shown(api.parts.overridden.wrote_retention(overrides));
    overrides::change(api, set, apply).await.map(Answer)
}

fn shown(limits: Limits) -> Shown {
    let Limits { settings, source, .. } = limits;
    Shown {
        max_bytes: settings.max_bytes,
        max_age_days: settings.max_age_days(),
        warn_at_percent: settings.warn_at_percent,
        per_key_max_bytes: settings.per_key_max_bytes,
        media_max_bytes: settings.media_max_bytes,
        source,
    }
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
