//! The trace that a request continues, found in the files: for who has no index.

use std::io;

use crate::ids::{Date, TraceId};
use crate::index::{query, schema};
use crate::jsonl::follow::MAX_LINE_BYTES;
use crate::jsonl::line::{BadLine, read_row};
use crate::jsonl::read::open_at;
use crate::jsonl::scan::{Content, Scanned, Scanner};
use crate::store::layout::Layout;
use crate::trace::Row;

/// Why nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum ParentError {
    /// The line is no trace.
    #[error(transparent)]
    Line(#[from] BadLine),
    /// A file cannot be read.
    #[error("cannot read the files: {0}")]
    Files(#[from] io::Error),
}

/// The trace that the one of this line continues: as the index says, if there is one that knows it; else the one among
/// the same key's lines of that day and the day before that ended before and has the longest beginning in common.
///
/// # Errors
/// [`ParentError`].
pub fn parent_of(layout: &Layout, line: &[u8]) -> Result<Option<TraceId>, ParentError> {
    let child = read_row(line)?;
    let indexed = schema::open_reader(&layout.index()).ok().and_then(|index| query::get(&index, child.id).ok()?);
    if let Some(row) = indexed {
        return Ok(row.parent_id.and_then(|id| id.parse().ok()));
    }
    let Date(day) = child.ts_start.date();
    let mut best: Option<(bool, usize, i64, TraceId)> = None;
    for segment in layout.segments()? {
        let bucket = segment.id.bucket;
        if bucket.key != child.key.short() || !(day - 1..=day).contains(&bucket.date.0) {
            continue;
        }
        let reader = match open_at(layout, segment.id, 0) {
            Ok((reader, _)) => reader,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        let mut lines = Scanner::new(reader, 0, MAX_LINE_BYTES);
        while let Some(Scanned { content, .. }) = lines.next_line()? {
            let Content::Line(line) = content else { continue };
            let Ok(row) = read_row(line) else { continue };
            if let Some((is_named, turns)) = precedes(&row, &child) {
                best = best.max(Some((is_named, turns, row.ts_start.0, row.id)));
            }
        }
    }
    Ok(best.map(|(.., id)| id))
}

/// Whether a trace may be the parent: by the id that the child names, or by so many turns.
fn precedes(row: &Row, child: &Row) -> Option<(bool, usize)> {
    if row.id == child.id || row.key != child.key || row.ts_end > child.ts_start {
        return None;
    }
    let (conversation, continued) = (&row.conversation, &child.conversation);
    if continued.previous_response_id.is_some() && continued.previous_response_id == conversation.response_id {
        return Some((true, conversation.prefixes.len()));
    }
    let turns = conversation.prefixes.len();
    let is_beginning = turns > 0 && continued.prefixes.get(turns - 1) == conversation.prefixes.last();
    // The same list again is another try, not a continuation.
    (is_beginning && turns < continued.prefixes.len()).then_some((false, turns))
}
