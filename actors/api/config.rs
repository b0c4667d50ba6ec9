//! What can be set at run time.

use std::sync::Arc;

use api_log::store::overrides::Overrides;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::State as Api;
use super::body::Sent;
use super::errors::{Answer, Problem};
use super::overrides;
use crate::retention::Source;

/// Whether attachments are saved.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "MediaConfig")]
pub(crate) struct Media {
    /// Whether they are.
    save_attachments: bool,
    /// Who said so.
    source: Source,
}

/// Whether attachments should be saved.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "MediaChange")]
pub(crate) struct Change {
    /// Whether they should be.
    #[schemars(required)]
    save_attachments: Option<bool>,
}

/// `GET /api/config/media`.
pub(crate) async fn media(State(api): State<Arc<Api>>) -> Answer<Media> {
    Answer(media_answer(&api))
}

/// `PUT /api/config/media`: persisted first, then live with the next trace.
pub(crate) async fn set_media(State(api): State<Arc<Api>>, sent: Sent<Change>) -> Result<Answer<Media>, Problem> {
    let saves = wanted(&sent.bytes?)?;
    let set = move |overrides: &mut Overrides| overrides.set_save_attachments(saves);
    let applied = move |api: &Api, _: &Overrides| {
        api.parts.overridden.media.set(Some(saves));
        tracing::info!(save_attachments = saves, "set at run time");
        media_answer(api)
    };
    overrides::change(api, set, applied).await.map(Answer)
}

fn media_answer(api: &Api) -> Media {
    let media = &api.parts.overridden.media;
    Media { save_attachments: media.saves(), source: media.source() }
}

/// The one member that the body may have.
fn wanted(body: &[u8]) -> Result<bool, Problem> {
    let bad = |error: serde_json::Error| Problem::bad_body(error.to_string());
    // A list would pass for the members in their order.
    let members: Map<String, Value> = serde_json::from_slice(body).map_err(bad)?;
    let Change { save_attachments } = serde_json::from_value(Value::Object(members)).map_err(bad)?;
    save_attachments.ok_or_else(|| {
        Problem::new(StatusCode::BAD_REQUEST, "missing_field", "save_attachments is missing")
            .with("field", "save_attachments")
    })
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
