//! The list of sessions.

use std::sync::Arc;

use api_log::index::sessions::{self, SessionParams, SessionRow};
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::State as Api;
use super::errors::{Answer, Problem};
use super::params::Query;
use super::readers::Load;

/// The latest sessions.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Sessions")]
pub(crate) struct Listed {
    /// By latest activity, newest first.
    sessions: Vec<SessionRow>,
}

/// `GET /api/sessions`.
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    Query(params): Query<SessionParams>,
) -> Result<Answer<Listed>, Problem> {
    let sessions = api.readers.read(Load::Light, move |index| sessions::sessions(index, params)).await?;
    Ok(Answer(Listed { sessions }))
}
