//! How the index is: `GET /api/index`, the header on lists that may be incomplete, and a rebuild on command.

use std::sync::Arc;

use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::State as Api;
use super::errors::{Answer, Problem};
use super::params::Params;
use crate::record::index::Door;
use crate::record::index_status::{Shown, ShownRebuild, Standing};

/// `GET /api/index`.
pub(crate) async fn index(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, Problem> {
    Params::of(query.as_deref()).expect_none()?;
    Ok(Answer(told(&api.parts.shared.index)))
}

/// `POST /api/index/rebuild`: begins one, or tells the one that is under way.
pub(crate) async fn rebuild(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<impl IntoResponse, Problem> {
    Params::of(query.as_deref()).expect_none()?;
    let number = api.parts.shared.index.rebuild();
    tracing::info!(number, "asked for a new index");
    Ok((StatusCode::ACCEPTED, Answer(told(&api.parts.shared.index))))
}

/// The index's part of the health document; `/api/index` says the same, and adds the rebuild.
pub(super) fn health(door: &Door) -> Value {
    let Shown { standing, behind_segments, behind_bytes, last_error, .. } = door.status().shown();
    json!({
        "state": standing.name(),
        "rows_waiting": door.waiting(),
        "behind_segments": behind_segments,
        "behind_bytes": behind_bytes,
        "last_error": last_error.map(|(message, at)| json!({"message": message, "at": at.to_string()})),
    })
}

fn told(door: &Door) -> Value {
    let mut told = health(door);
    let Shown { total_bytes, rebuild, .. } = door.status().shown();
    told["total_bytes"] = total_bytes.into();
    told["rebuild"] = rebuild.map_or(Value::Null, rebuild_told);
    told
}

fn rebuild_told(rebuild: ShownRebuild) -> Value {
    let ShownRebuild { number, state, seen, report, error } = rebuild;
    let mut told = json!({
        "number": number,
        "state": state,
        "step": seen.step,
        "done_bytes": seen.done,
        "total_bytes": seen.total,
        "error": error,
    });
    if let Some(report) = report {
        let unreadable = report.unreadable.iter();
        told["rows"] = report.rows.into();
        told["repeated"] = report.known.into();
        told["bad_lines"] = report.bad_lines.into();
        told["unreadable"] =
            unreadable.map(|(segment, error)| json!({"segment": segment.to_string(), "error": error})).collect();
    }
    told
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
            last_error: None,
            rebuild: None,
        };
        assert_eq!(standing_header(&shown(Standing::Current)), None);
        assert_eq!(standing_header(&shown(Standing::Rebuilding)).unwrap(), "rebuilding; indexed=70; total=100");
        assert_eq!(standing_header(&shown(Standing::CatchingUp)).unwrap(), "catching_up; indexed=70; total=100");
    }
}
