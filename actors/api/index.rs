//! How the index is: `GET /api/index`, the header on lists that may be incomplete, and a rebuild on command.

use std::sync::Arc;

use api_log::ids::UnixMillis;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::State as Api;
use super::endpoint::{Output, Reply, Schemas};
use super::errors::Answer;
use super::params::{Nothing, Query};
use crate::record::index::Door;
use crate::record::index_status::{Shown, ShownRebuild, Standing};

/// How the index is: part of the health document too.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "IndexHealth")]
pub(crate) struct Health {
    /// Whether lists are whole, and why not.
    #[schemars(extend("enum" = Standing::ALL.map(Standing::name)))]
    state: &'static str,
    /// Rows that wait to go in.
    rows_waiting: u64,
    /// Rows that are in, but not yet in their conversations: they are merged when there is time.
    fresh_rows: u64,
    /// Rows that were, since the start.
    merged_rows: u64,
    /// Segments with lines that are not in.
    behind_segments: usize,
    /// The bytes of these lines.
    behind_bytes: u64,
    /// What went wrong last.
    last_error: Option<LastError>,
}

/// Something that went wrong.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "IndexError")]
pub(super) struct LastError {
    /// What.
    pub(super) message: String,
    /// When.
    #[schemars(with = "UnixMillis")]
    pub(super) at: String,
}

/// How the index is, and what becomes of it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Index")]
pub(crate) struct Told {
    #[serde(flatten)]
    health: Health,
    /// Bytes of all lines that are or will be in.
    total_bytes: u64,
    /// The latest time that it was made anew in this run.
    rebuild: Option<Rebuild>,
}

/// An index that is or was made anew.
#[derive(Serialize, JsonSchema)]
struct Rebuild {
    /// Which one, from 1.
    number: u64,
    /// How far it is.
    #[schemars(extend("enum" = ["running", "done", "failed"]))]
    state: &'static str,
    /// What is being done.
    step: &'static str,
    /// How much of that is done: bytes of files while they are read.
    done_bytes: u64,
    /// How much there is of it; 0 if nobody knows.
    total_bytes: u64,
    /// Why it failed.
    error: Option<String>,
    /// What it holds, once it is made.
    #[serde(flatten)]
    made: Option<Made>,
}

/// What a new index holds.
#[derive(Serialize, JsonSchema)]
struct Made {
    /// Rows.
    rows: u64,
    /// Lines whose trace stands in an earlier line already.
    repeated: u64,
    /// Lines that are no trace.
    bad_lines: u64,
    /// Segments that could not be read to their end.
    unreadable: Vec<Unreadable>,
}

/// A segment that could not be read to its end.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UnreadableSegment")]
pub(super) struct Unreadable {
    /// The file, relative to the data dir.
    pub(super) segment: String,
    /// Why.
    pub(super) error: String,
}

/// It will be done.
pub(crate) struct Accepted<T>(T);

impl<T: Serialize> IntoResponse for Accepted<T> {
    fn into_response(self) -> Response {
        (StatusCode::ACCEPTED, Answer(self.0)).into_response()
    }
}

impl<T: JsonSchema> Output for Accepted<T> {
    fn replies(schemas: &mut Schemas) -> Vec<Reply> {
        vec![Reply::new(202, "It is being done.").of("application/json", schemas.of::<T>())]
    }
}

/// `GET /api/index`.
pub(crate) async fn index(State(api): State<Arc<Api>>, _: Query<Nothing>) -> Answer<Told> {
    Answer(told(&api.parts.shared.index))
}

/// `POST /api/index/rebuild`: begins one, or tells the one that is under way.
pub(crate) async fn rebuild(State(api): State<Arc<Api>>, _: Query<Nothing>) -> Accepted<Told> {
    let number = api.parts.shared.index.rebuild();
    tracing::info!(number, "asked for a new index");
    Accepted(told(&api.parts.shared.index))
}

/// The index's part of the health document; `/api/index` says the same, and adds the rebuild.
pub(super) fn health(door: &Door) -> Health {
    let Shown { standing, fresh_rows, merged_rows, behind_segments, behind_bytes, last_error, .. } =
        door.status().shown();
    Health {
        state: standing.name(),
        rows_waiting: door.waiting(),
        fresh_rows,
        merged_rows,
        behind_segments,
        behind_bytes,
        last_error: last_error.map(|(message, at)| LastError { message, at: at.to_string() }),
    }
}

fn told(door: &Door) -> Told {
    let health = health(door);
    let Shown { total_bytes, rebuild, .. } = door.status().shown();
    Told { health, total_bytes, rebuild: rebuild.map(rebuild_told) }
}

fn rebuild_told(rebuild: ShownRebuild) -> Rebuild {
    let ShownRebuild { number, state, seen, report, error } = rebuild;
    let made = report.map(|report| {
        let unreadable = report.unreadable.into_iter();
        Made {
            rows: report.rows,
            repeated: report.known,
            bad_lines: report.bad_lines,
            unreadable: unreadable.map(|(segment, error)| Unreadable { segment: segment.to_string(), error }).collect(),
        }
    });
    Rebuild { number, state, step: seen.step, done_bytes: seen.done, total_bytes: seen.total, error, made }
}

/// Says on every answer from the index that it may be incomplete, for as long as it may be: as it stood before the
/// question was asked.
pub(super) async fn tell_standing(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let header = standing_header(&api.parts.shared.index.status().shown());
    let mut answer = next.run(request).await;
    if let Some(header) = header {
        answer.headers_mut().insert(HeaderName::from_static("x-api-log-index"), header);
    }
    answer
}

/// `rebuilding; indexed=123; total=456`, in bytes of the files; none for an index that is up to date.
fn standing_header(shown: &Shown) -> Option<HeaderValue> {
    if shown.standing == Standing::Current {
        return None;
    }
    let indexed = shown.total_bytes.saturating_sub(shown.behind_bytes);
    HeaderValue::from_str(&format!("{}; indexed={indexed}; total={}", shown.standing.name(), shown.total_bytes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_how_much_is_there() {
        let shown = |standing| Shown {
            standing,
            behind_segments: 1,
            behind_bytes: 30,
            total_bytes: 100,
            fresh_rows: 0,
            merged_rows: 0,
            last_error: None,
            rebuild: None,
        };
        assert_eq!(standing_header(&shown(Standing::Current)), None);
        assert_eq!(standing_header(&shown(Standing::Rebuilding)).unwrap(), "rebuilding; indexed=70; total=100");
        assert_eq!(standing_header(&shown(Standing::CatchingUp)).unwrap(), "catching_up; indexed=70; total=100");
    }
}
