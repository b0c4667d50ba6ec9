//! Lists of traces, and single ones.

use std::sync::Arc;

use api_log::ids::TraceId;
use api_log::index::filter::ListParams;
use api_log::index::query::{self, TraceRow};
use api_log::index::texts::{self, Search};
use api_log::jsonl::read::{self, ReadError as LineError};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;

use super::State as Api;
use super::errors::{Answer, Problem};
use super::params::Params;
use super::readers::{Load, ReadError};

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
    let no_trace = || Problem::not_found("no trace has this id");
    // What is no text is no id either.
    let Path(id) = id.map_err(|_| no_trace())?;
    let id: TraceId = id.parse().map_err(|_| no_trace())?;
    let row = api.readers.read(Load::Light, move |index| query::get(index, id)).await?.ok_or_else(no_trace)?;
    let place = row.place().ok_or_else(|| Problem::server_error(&"a row names no segment"))?;
    let layout = api.parts.layout.clone();
    let lease = api.parts.leases.shared(place.segment).map_err(|_| deleted())?;
    let read = move || {
        let _lease = lease;
        read::line(&layout, place, id)
    };
    let line = tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| Problem::server_error(&error))?
        .map_err(|error| line_problem(&error))?;
    let trace = String::from_utf8(line)
        .ok()
        .and_then(|line| RawValue::from_string(line).ok())
        .ok_or_else(|| line_unreadable("the line is not JSON"))?;
    Ok(Answer(Detail { row, trace }).into_response())
}

/// Also while it is being deleted: nobody waits for that.
fn deleted() -> Problem {
    Problem::not_found("the trace's file has been deleted")
}

fn line_problem(error: &LineError) -> Problem {
    tracing::warn!(%error, "a line cannot be read");
    match error {
        LineError::Gone(_) => deleted(),
        LineError::NotThere { .. } => {
            line_unreadable("the file does not hold this trace where the index says; run a rebuild")
        }
        LineError::Read { .. } => line_unreadable("the file cannot be read; the recorder's log says why"),
    }
}

fn line_unreadable(detail: &str) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "jsonl_read_failed", detail).with("detail", detail)
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Problem {
        match error {
            ReadError::Busy => Problem::busy(),
            ReadError::Timeout(after) => Problem::query_timeout(after),
            error => Problem::server_error(&error),
        }
    }
}
