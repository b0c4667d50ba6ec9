//! `tail` of a running recorder: its list, then its stream, connected anew for as long as it takes.

use std::time::Duration;

use api_log::index::query::TraceRow;
use api_log::wire::sse::Splitter;
use futures_util::StreamExt;
use reqwest::Response;
use reqwest::header::{HeaderMap, HeaderValue};

use super::error::LookError;
use super::recorder::{PAGE, Recorder, query};
use super::tail::{Followed, MOST_LINES};
use crate::cli::complain;

/// Between two attempts to connect: at first, and at most.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(250);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(super) async fn follow(recorder: &Recorder, mut followed: Followed) -> Result<(), LookError> {
    // Connected before the list is asked for, so that nothing is missed between the two.
    let mut stream = if followed.follows { Some(connect(recorder, &followed.filters, None).await?) } else { None };
    let rows = last(recorder, &followed, followed.lines).await?;
    let mut newest = rows.first().map(|row| row.ts_start);
    for row in rows.iter().rev() {
        followed.show_earlier(row)?;
    }
    drop(rows);
    let mut position: Option<String> = None;
    let mut pause = FIRST_PAUSE;
    while followed.follows {
        let lost = match stream.take() {
            Some(open) => {
                pause = FIRST_PAUSE;
                listen(recorder, open, &mut followed, &mut position, &mut newest).await?
            }
            None => None,
        };
        if let Some(lost) = lost {
            complain(format_args!("{lost}; connecting again"));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        match connect(recorder, &followed.filters, position.as_deref()).await {
            Ok(open) => {
                complain("connected again");
                if position.is_none() {
                    missed(recorder, &mut followed, newest).await?;
                }
                stream = Some(open);
            }
            // It may start again; what it says then counts.
            Err(LookError::Unreachable { .. } | LookError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The stream of traces that pass these filters, from a place on if there is one.
pub(super) async fn connect(
    recorder: &Recorder,
    filters: &[(&str, String)],
    position: Option<&str>,
) -> Result<Response, LookError> {
    let target = format!("/api/tail?{}", query(filters).finish());
    let mut fields = HeaderMap::new();
    if let Some(position) = position.and_then(|it| HeaderValue::try_from(it).ok()) {
        fields.insert("last-event-id", position);
    }
    recorder.open(&target, fields).await
}

/// The newest traces that are there, newest first.
async fn last(recorder: &Recorder, followed: &Followed, most: usize) -> Result<Vec<TraceRow>, LookError> {
    let mut rows = Vec::new();
    let mut cursor: Option<String> = None;
    while rows.len() < most {
        let page = recorder.list(&followed.filters, (most - rows.len()).min(PAGE), cursor.as_deref()).await?;
        rows.extend(page.traces);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if cursor.is_some() && followed.wants_all {
        complain(format_args!("only the newest {MOST_LINES} traces are shown; -n takes more"));
    }
    Ok(rows)
}

/// Shows what began since the newest trace that was seen, for a connection that was lost before it gave a place to go
/// on from.
async fn missed(
    recorder: &Recorder,
    followed: &mut Followed,
    newest: Option<api_log::ids::UnixMillis>,
) -> Result<(), LookError> {
    let Some(newest) = newest else { return Ok(()) };
    let filters = followed.filters.iter().filter(|(name, _)| *name != "since").cloned();
    let filters: Vec<_> = filters.chain([("since", newest.to_string())]).collect();
    let page = recorder.list(&filters, PAGE, None).await?;
    for row in page.traces.iter().rev() {
        followed.show_once(row)?;
    }
    Ok(())
}

/// Shows what comes until the connection ends; then with the reason.
async fn listen(
    recorder: &Recorder,
    open: Response,
    followed: &mut Followed,
    position: &mut Option<String>,
    newest: &mut Option<api_log::ids::UnixMillis>,
) -> Result<Option<LookError>, LookError> {
    let mut pieces = open.bytes_stream();
    let mut splitter = Splitter::new();
    let mut events = Vec::new();
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => splitter.push(&piece, &mut events),
            Err(error) => return Ok(Some(recorder.unreachable(&error))),
        }
        for event in events.drain(..) {
            let data = event.data.as_deref().unwrap_or("null");
            match &*event.name {
                "trace" => {
                    let row: TraceRow = serde_json::from_str(data).map_err(|error| recorder.unreadable(&error))?;
                    followed.show(&row)?;
                    *newest = (*newest).max(Some(row.ts_start));
                    *position = event.field("id").map(str::to_owned).or(position.take());
                }
                "skipped" => complain(format_args!("too far behind: {}", skipped(data))),
                "lost" => complain(
                    "the place to go on from is lost: the index was made anew; some traces may be missing here",
                ),
                _ => {}
            }
        }
    }
    let ended = LookError::Unreachable { url: recorder.url.clone(), reason: "it ended the connection".to_owned() };
    Ok(Some(ended))
}

/// `12 traces were skipped`.
pub(super) fn skipped(data: &str) -> String {
    let told: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
    let at_least = if told["at_least"] == true { "at least " } else { "" };
    format!("{at_least}{} traces were skipped", told["skipped"])
}
