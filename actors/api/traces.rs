//! Lists of traces, and single ones.

use std::sync::Arc;

use api_log::index::filter::ListParams;
use api_log::index::query::{self, TraceRow};
use api_log::index::texts::{self, Search};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use super::State as Api;
use super::errors::{Answer, Problem};
use super::lines;
use super::params::Params;
use super::readers::Load;

const NO_TEXTS: &str = "the index keeps no texts: set index.full_text, and wait until it is made anew (/api/index)";

/// `GET /api/traces`.
pub(crate) async fn list(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Result<impl IntoResponse, Problem> {
    #[derive(Serialize)]
    struct Listed {
        traces: Vec<TraceRow>,
        next_cursor: Option<String>,
    }
    let params = Params::of(query.as_deref());
    let ListParams { filter, limit, cursor, text } = ListParams::parse(params.pairs())?;
    let page = match text {
        None => api.readers.read(Load::Light, move |index| query::list(index, &filter, limit, cursor)).await?,
        Some(text) => {
            let found = api.readers.read(Load::Heavy, move |index| texts::search(index, &text, &filter, limit, cursor));
            match found.await? {
                Search::Page(page) => page,
                Search::NoTexts => return Err(Problem::bad_param("q", NO_TEXTS)),
                Search::TooCommon(word) => return Err(Problem::bad_param("q", &format!("{word} is in too much"))),
            }
        }
    };
    Ok(Answer(Listed { traces: page.rows, next_cursor: page.next_cursor.map(|it| it.to_string()) }))
}

/// `GET /api/traces/{id}`.
pub(crate) async fn detail(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Detail {
        row: TraceRow,
        trace: Box<RawValue>,
    }
    Params::of(query.as_deref()).expect_none()?;
    let id = lines::id(id)?;
    let row = lines::row(&api, id).await?;
    let trace = String::from_utf8(lines::line(&api, id, &row).await?)
        .ok()
        .and_then(|line| RawValue::from_string(line).ok())
        .ok_or_else(|| lines::unreadable("the line is not JSON"))?;
    Ok(Answer(Detail { row, trace }).into_response())
}
