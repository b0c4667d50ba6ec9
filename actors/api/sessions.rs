//! The list of sessions.

use std::sync::Arc;

use api_log::index::sessions::{self, SessionParams, SessionRow};
use axum::extract::{RawQuery, State};
use axum::response::IntoResponse;
use serde::Serialize;

use super::State as Api;
use super::errors::{Answer, Problem};
use super::params::Params;
use super::readers::Load;

/// `GET /api/sessions`.
pub(crate) async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<impl IntoResponse, Problem> {
    #[derive(Serialize)]
    struct Listed {
        sessions: Vec<SessionRow>,
    }
    let params = Params::of(query.as_deref());
    let params = SessionParams::parse(params.pairs())?;
    let sessions = api.readers.read(Load::Light, move |index| sessions::sessions(index, params)).await?;
    Ok(Answer(Listed { sessions }))
}
