//! Lists of traces, and single ones.

use std::sync::Arc;

use api_log::index::filter::ListParams;
use api_log::index::query::{self, TraceRow};
use api_log::index::texts::{self, Search};
use api_log::trace::Line;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::State as Api;
use super::errors::{Answer, Problem};
use super::lines;
use super::params::{Nothing, Query};
use super::readers::Load;

const NO_TEXTS: &str = "the index keeps no texts: set index.full_text, and wait until it is made anew (/api/index)";

/// A part of a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Traces")]
pub(crate) struct Listed {
    /// Newest first, by start and then id.
    traces: Vec<TraceRow>,
    /// The next page's `cursor`; null if there is no more.
    next_cursor: Option<String>,
}

/// A trace as it was recorded.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TraceDetail")]
pub(crate) struct Detail {
    /// Its row.
    row: TraceRow,
    /// Its line.
    #[schemars(with = "Line")]
    trace: Box<RawValue>,
}

/// `GET /api/traces`.
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    Query(params): Query<ListParams>,
) -> Result<Answer<Listed>, Problem> {
    let ListParams { filter, limit, cursor, text } = params;
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
    _: Query<Nothing>,
) -> Result<Answer<Detail>, Problem> {
    let id = lines::id(id)?;
    let row = lines::row(&api, id).await?;
    let trace = String::from_utf8(lines::line(&api, id, &row).await?)
        .ok()
        .and_then(|line| RawValue::from_string(line).ok())
        .ok_or_else(|| lines::unreadable("the line is not JSON"))?;
    Ok(Answer(Detail { row, trace }))
}
