//! The way back to the truth: lines that the index misses, read from the files.

use std::collections::HashMap;
use std::io;

use rusqlite::Connection;

use crate::ids::{Place, SegmentId};
use crate::index::IndexError;
use crate::index::insert::Insertion;
use crate::index::remove::remove;
use crate::index::state::WriterState;
use crate::jsonl::line::BadLine;
use crate::jsonl::read;
use crate::jsonl::scan::{Content, Scanned, Scanner, resume_points};
use crate::store::layout::{Form, FoundSegment, Layout};
use crate::trace::Row;

/// Rows per transaction.
const BATCH_ROWS: usize = 4096;

/// Line bytes per transaction, so that other work waits for long lines no longer than for many.
const BATCH_BYTES: u64 = 64 * 1024 * 1024;

/// Longer lines are passed over: no recorder writes them.
const MAX_LINE_BYTES: usize = 1024 * 1024 * 1024;

/// When to stop for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Stop after about so many bytes of lines; the batch under way is finished.
    pub bytes: u64,
}

impl Budget {
    /// Go on to the end.
    pub const WHOLE: Budget = Budget { bytes: u64::MAX };
}

/// What one call did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every segment was read to the end that it had then. If not, call again.
    pub is_done: bool,
    /// Rows inserted.
    pub inserted: u64,
    /// Lines whose id was in the index already.
    pub known: u64,
    /// Lines that are no trace, passed over.
    pub bad_lines: u64,
    /// Bytes read, uncompressed.
    pub bytes: u64,
    /// Rows removed because their file is gone or was replaced.
    pub removed: u64,
    /// Segments that could not be read further now, and why. They are tried again by the next call.
    pub unreadable: Vec<(SegmentId, String)>,
}

/// Reads every line that is not indexed yet, oldest segment first, and indexes it in transactions of its own.
/// Into a new database that is the rebuild. Every call goes on where the index stands.
///
/// A segment that vanished loses its rows; so does one that is shorter than what is indexed of it, which is
/// then read anew. A segment that cannot be read is passed over; a bad line never blocks.
///
/// # Errors
/// The database fails, or the data dir cannot be listed. What was committed before stays.
pub fn catch_up(
    connection: &mut Connection,
    state: &mut WriterState,
    layout: &Layout,
    read_row: impl Fn(&[u8]) -> Result<Row, BadLine>,
    budget: Budget,
) -> Result<Progress, IndexError> {
    let mut progress = Progress::default();
    let found = layout.segments().map_err(IndexError::List)?;
    remove_vanished(connection, state, &found, &mut progress)?;
    for segment in &found {
        if progress.bytes >= budget.bytes {
            return Ok(progress);
        }
        let outcome = catch_up_segment(connection, state, layout, segment, &read_row, budget, &mut progress);
        match outcome {
            Ok(()) => {}
            Err(SegmentError::Index(error)) => return Err(error),
            Err(SegmentError::Read(error)) => progress.unreadable.push((segment.id, error.to_string())),
        }
    }
    progress.is_done = progress.bytes < budget.bytes;
    Ok(progress)
}

/// Why a segment was left.
enum SegmentError {
    Index(IndexError),
    Read(io::Error),
}

impl From<rusqlite::Error> for SegmentError {
    fn from(error: rusqlite::Error) -> SegmentError {
        SegmentError::Index(error.into())
    }
}

impl From<io::Error> for SegmentError {
    fn from(error: io::Error) -> SegmentError {
        SegmentError::Read(error)
    }
}

fn remove_vanished(
    connection: &mut Connection,
    state: &mut WriterState,
    found: &[FoundSegment],
    progress: &mut Progress,
) -> Result<(), IndexError> {
    let vanished: Vec<SegmentId> = state.transact(connection, |_, memory| -> Result<_, IndexError> {
        let is_there = |id: &SegmentId| found.binary_search_by_key(id, |segment| segment.id).is_ok();
        Ok(memory.segments.keys().filter(|id| !is_there(id)).copied().collect())
    })?;
    for segment in vanished {
        progress.removed += super::remove_segment(connection, state, segment)?;
    }
    Ok(())
}

fn catch_up_segment(
    connection: &mut Connection,
    state: &mut WriterState,
    layout: &Layout,
    found: &FoundSegment,
    read_row: &impl Fn(&[u8]) -> Result<Row, BadLine>,
    budget: Budget,
    progress: &mut Progress,
) -> Result<(), SegmentError> {
    let Some(start) = start_of_rest(connection, state, layout, found, progress)? else {
        state.mark_caught_up(found.id);
        return Ok(());
    };
    let (reader, form) = match read::open_at(layout, found.id, start) {
        Ok(opened) => opened,
        // Deleted since the listing: the next call removes its rows.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // A sealed file that is shorter than what was indexed of it is another one.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && start > 0 => {
            progress.removed += state.transact(connection, |index, memory| remove(index, memory, found.id))?;
            let (reader, form) = read::open_at(layout, found.id, 0)?;
            return read_on(connection, state, (reader, form, 0), found.id, read_row, budget, progress);
        }
        Err(error) => return Err(error.into()),
    };
    read_on(connection, state, (reader, form, start), found.id, read_row, budget, progress)
}

/// Where the unindexed rest of a segment begins; `None` if there is none.
fn start_of_rest(
    connection: &mut Connection,
    state: &mut WriterState,
    layout: &Layout,
    found: &FoundSegment,
    progress: &mut Progress,
) -> Result<Option<u64>, SegmentError> {
    let length = match std::fs::metadata(layout.segment(found.id, Form::Plain)) {
        Ok(metadata) => Some(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let (start, removed) = state.transact(connection, |index, memory| -> rusqlite::Result<_> {
        let checkpoint = memory.checkpoint(index, found.id)?;
        let indexed_to = checkpoint.indexed_to;
        Ok(match length {
            Some(length) if length < indexed_to => (Some(0), remove(index, memory, found.id)?),
            Some(length) if length == indexed_to => (None, 0),
            None if checkpoint.is_done => (None, 0),
            _ => (Some(indexed_to), 0),
        })
    })?;
    progress.removed += removed;
    Ok(start)
}

fn read_on(
    connection: &mut Connection,
    state: &mut WriterState,
    (reader, form, start): (read::SegmentReader, Form, u64),
    segment: SegmentId,
    read_row: &impl Fn(&[u8]) -> Result<Row, BadLine>,
    budget: Budget,
    progress: &mut Progress,
) -> Result<(), SegmentError> {
    let mut lines = Scanner::new(reader, start, MAX_LINE_BYTES);
    loop {
        let batch = Batch::read(&mut lines, segment, read_row);
        // Only a sealed form never grows again.
        let is_done = batch.is_last && form != Form::Plain;
        let inserted = state.transact(connection, |index, memory| -> rusqlite::Result<u64> {
            let mut insertion = Insertion::new(index, memory);
            let mut inserted = 0;
            for (row, place) in &batch.rows {
                inserted += u64::from(insertion.insert(row, *place)?);
            }
            insertion.advance(segment, batch.end, batch.bad_lines, is_done)?;
            insertion.finish()?;
            Ok(inserted)
        })?;
        progress.inserted += inserted;
        progress.known += batch.rows.len() as u64 - inserted;
        progress.bad_lines += batch.bad_lines;
        progress.bytes += batch.bytes;
        if let Some(error) = batch.damage {
            return Err(error.into());
        }
        if batch.is_last {
            state.mark_caught_up(segment);
            return Ok(());
        }
        if progress.bytes >= budget.bytes {
            return Ok(());
        }
    }
}

/// The lines of one transaction.
struct Batch {
    rows: Vec<(Row, Place)>,
    bad_lines: u64,
    bytes: u64,
    /// Where the next batch begins.
    end: u64,
    is_last: bool,
    /// What stopped the reading; all lines before are whole.
    damage: Option<io::Error>,
}

impl Batch {
    fn read(
        lines: &mut Scanner<read::SegmentReader>,
        segment: SegmentId,
        read_row: &impl Fn(&[u8]) -> Result<Row, BadLine>,
    ) -> Batch {
        let begin = lines.offset();
        let mut batch = Batch { rows: Vec::new(), bad_lines: 0, bytes: 0, end: begin, is_last: false, damage: None };
        while batch.rows.len() < BATCH_ROWS && lines.offset() - begin < BATCH_BYTES {
            match lines.next_line() {
                Ok(Some(scanned)) => batch.take(scanned, segment, read_row),
                Ok(None) => {
                    batch.is_last = true;
                    break;
                }
                Err(error) => {
                    batch.damage = Some(error);
                    break;
                }
            }
        }
        batch.end = lines.offset();
        batch.bytes = batch.end - begin;
        batch
    }

    fn take(&mut self, scanned: Scanned<'_>, segment: SegmentId, read_row: &impl Fn(&[u8]) -> Result<Row, BadLine>) {
        let Content::Line(line) = scanned.content else {
            self.bad_lines += 1;
            return;
        };
        let mut push = |at: usize, row: Row| {
            let Ok(bytes) = u32::try_from(line.len() - at) else { return };
            self.rows.push((row, Place { segment, offset: scanned.offset + at as u64, bytes }));
        };
        match read_row(line) {
            Ok(row) => push(0, row),
            Err(BadLine(_)) => {
                let whole = resume_points(line).find_map(|at| Some((at, read_row(&line[at..]).ok()?)));
                whole.into_iter().for_each(|(at, row)| push(at, row));
                self.bad_lines += 1;
            }
        }
    }
}

/// Bad lines by segment, for those who look after the files.
///
/// # Errors
/// The database fails.
pub fn bad_lines(connection: &Connection) -> rusqlite::Result<HashMap<SegmentId, u64>> {
    let mut statement = connection.prepare("SELECT path, bad_lines FROM segments WHERE bad_lines > 0")?;
    let found = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let mut by_segment = HashMap::new();
    for entry in found {
        let (path, count) = entry?;
        by_segment.extend(path.parse().ok().map(|segment: SegmentId| (segment, count.cast_unsigned())));
    }
    Ok(by_segment)
}
