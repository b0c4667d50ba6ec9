//! A trace's row and line, for whoever shows or replays it. Lines are read a few at a time, under their lease.

use api_log::ids::TraceId;
use api_log::index::query::{self, TraceRow};
use api_log::jsonl::read::{self, ReadError as LineError};
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::StatusCode;
use tokio::sync::Semaphore;

use super::State as Api;
use super::errors::Problem;
use super::readers::{Load, ReadError};

/// Lines read at once: of a sealed file each may take some 32 MiB meanwhile.
const AT_ONCE: usize = 4;

/// The places for those who read.
pub(crate) struct Places(Semaphore);

impl Default for Places {
    fn default() -> Places {
        Places(Semaphore::new(AT_ONCE))
    }
}

/// The id in a path. What is no text is no id either.
pub(super) fn id(path: Result<Path<String>, PathRejection>) -> Result<TraceId, Problem> {
    path.ok().and_then(|Path(id)| id.parse().ok()).ok_or_else(no_trace)
}

/// A trace's row.
pub(super) async fn row(api: &Api, id: TraceId) -> Result<TraceRow, Problem> {
    api.readers.read(Load::Light, move |index| query::get(index, id)).await?.ok_or_else(no_trace)
}

/// The line of a row.
pub(super) async fn line(api: &Api, id: TraceId, row: &TraceRow) -> Result<Vec<u8>, Problem> {
    let place = row.place().ok_or_else(|| Problem::server_error(&"a row names no segment"))?;
    let _place = api.lines.0.acquire().await;
    let layout = api.parts.layout.clone();
    let lease = api.parts.leases.shared(place.segment).map_err(|_| deleted())?;
    let read = move || {
        let _lease = lease;
        read::line(&layout, place, id)
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| Problem::server_error(&error))?
        .map_err(|error| line_problem(&error))
}

fn no_trace() -> Problem {
    Problem::not_found("no trace has this id")
}

/// Also while it is being deleted: nobody waits for that.
pub(super) fn deleted() -> Problem {
    Problem::not_found("the trace's file has been deleted")
}

fn line_problem(error: &LineError) -> Problem {
    tracing::warn!(%error, "a line cannot be read");
    match error {
        LineError::Gone(_) => deleted(),
        LineError::NotThere { .. } => {
            unreadable("the file does not hold this trace where the index says; run a rebuild")
        }
        LineError::Read { .. } => unreadable("the file cannot be read; the recorder's log says why"),
    }
}

/// The line is not what it should be.
pub(super) fn unreadable(detail: &str) -> Problem {
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
