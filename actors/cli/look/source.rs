//! Where traces come from: a running recorder, or the files of a data dir.

use api_log::config::Config;
use api_log::diff::parent;
use api_log::ids::{Place, TraceId, UnixMillis};
use api_log::index::query::TraceRow;
use api_log::store::layout::Layout;
use api_log::{jsonl::find, jsonl::find::IdPrefix};
use serde_json::value::RawValue;

use super::args::From;
use super::error::LookError;
use super::recorder::{PAGE, Recorder};

/// Pages of a list that are read to find an id by its beginning.
const MOST_PAGES: usize = 40;
/// The beginning of the year 9999: ids know later times, RFC 3339 hardly.
const LATEST_MS: i64 = 253_370_764_800_000;
/// An id's time and its trace's start are that close.
const AROUND_MS: i64 = 10_000;

/// Where traces come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Recorder(Recorder),
    Files(Layout),
}

/// A trace as it was found.
pub(super) struct Found {
    pub(super) id: TraceId,
    /// Its line, without the newline.
    pub(super) line: Vec<u8>,
    /// Where attachments of it are, if there are any.
    pub(super) attachments: Option<String>,
    /// What it continues, if the source said so by itself.
    parent: Option<String>,
}

impl Source {
    pub(super) fn of(from: &From, config: &Config) -> Result<Source, LookError> {
        match &from.data_dir {
            Some(path) if path.is_dir() => Ok(Source::Files(Layout::new(path))),
            Some(path) => Err(LookError::NoDataDir(path.clone())),
            None => Recorder::new(from, config).map(Source::Recorder),
        }
    }

    /// The one trace whose id begins so.
    pub(super) async fn find(&self, id: &IdPrefix) -> Result<Found, LookError> {
        match self {
            Source::Recorder(recorder) => {
                let id = match id.whole() {
                    Some(whole) => whole,
                    None => of_recorder(recorder, id).await?,
                };
                fetched(recorder, id).await
            }
            Source::Files(layout) => {
                let (theirs, wanted) = (layout.clone(), id.clone());
                let found = blocking(move || find::find(&theirs, &wanted)).await?;
                let mut found = found.map_err(|source| files(layout, source))?;
                match &*found {
                    [one, other] => Err(ambiguous(id, &one.id, &other.id)),
                    _ => found
                        .pop()
                        .map_or_else(|| Err(no_trace(&layout.root().display(), id)), |it| Ok(in_files(layout, it))),
                }
            }
        }
    }

    /// The trace that one continues.
    pub(super) async fn parent(&self, of: &Found) -> Result<Found, LookError> {
        let id = match self {
            Source::Recorder(_) => of.parent.as_deref().and_then(|it| it.parse().ok()),
            Source::Files(layout) => {
                let (layout, line) = (layout.clone(), of.line.clone());
                let found = blocking(move || parent::parent_of(&layout, &line)).await??;
                found.and_then(|it| it.to_string().parse().ok())
            }
        };
        let id: IdPrefix = id.ok_or(LookError::NoParent(of.id))?;
        self.find(&id).await
    }
}

fn in_files(layout: &Layout, found: find::Found) -> Found {
    let find::Found { id, place: Place { segment, .. }, line } = found;
    let folder = layout.media(segment.bucket, id);
    let attachments = folder.is_dir().then(|| format!("{}/", folder.display()));
    Found { id, line, attachments, parent: None }
}

async fn of_recorder(recorder: &Recorder, id: &IdPrefix) -> Result<TraceId, LookError> {
    let (UnixMillis(first), UnixMillis(last)) = id.moments();
    let time = |at: i64| UnixMillis(at.clamp(0, LATEST_MS)).to_string();
    let filters = [("since", time(first - AROUND_MS)), ("until", time(last.saturating_add(AROUND_MS)))];
    let mut cursor: Option<String> = None;
    let mut found: Option<String> = None;
    for _ in 0..MOST_PAGES {
        let page = recorder.list(&filters, PAGE, cursor.as_deref()).await?;
        for row in page.traces.into_iter().filter(|row| id.begins(&row.id)) {
            match &found {
                Some(first) => return Err(ambiguous(id, first, &row.id)),
                None => found = Some(row.id),
            }
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            let whole = found.and_then(|it| it.parse().ok());
            return whole.ok_or_else(|| no_trace(&recorder.url, id));
        }
    }
    Err(LookError::TooShort(id.clone()))
}

pub(super) async fn fetched(recorder: &Recorder, id: TraceId) -> Result<Found, LookError> {
    #[derive(serde::Deserialize)]
    struct Detail {
        row: TraceRow,
        /// The line, byte for byte.
        trace: Box<RawValue>,
    }
    let Detail { row, trace } = match recorder.json(&format!("/api/traces/{id}")).await {
        Err(LookError::Refused { status: 404, .. }) => return Err(no_trace(&recorder.url, id)),
        other => other?,
    };
    let attachments = (row.media_count > 0).then(|| format!("{}/api/media/{id}/", recorder.url));
    Ok(Found { id, line: trace.get().as_bytes().to_vec(), attachments, parent: row.parent_id })
}

fn no_trace(place: &dyn std::fmt::Display, id: impl std::fmt::Display) -> LookError {
    LookError::NoTrace { id: id.to_string(), place: place.to_string() }
}

fn ambiguous(id: &IdPrefix, first: &dyn std::fmt::Display, second: &dyn std::fmt::Display) -> LookError {
    LookError::Ambiguous { id: id.clone(), first: first.to_string(), second: second.to_string() }
}

pub(super) fn files(layout: &Layout, source: std::io::Error) -> LookError {
    LookError::Files { path: layout.root().to_owned(), source }
}

/// Work on files, beside the signals that may end it.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, LookError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| LookError::Panicked)
}
