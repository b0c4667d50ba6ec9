//! The way back to the truth: lines that the index misses, read from the files.

use std::collections::{BTreeMap, HashMap};
use std::io;

use rusqlite::Connection;

use crate::ids::{Place, SegmentId};
use crate::index::IndexError;
use crate::index::insert::Insertion;
use crate::index::remove::remove_segment;
use crate::index::state::WriterState;
use crate::jsonl::line::BadLine;
use crate::jsonl::read;
use crate::jsonl::scan::{Content, Scanned, Scanner, resume_points};
use crate::media;
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
/// Call it before the first insert (a budget of nothing will do): it finds out what is behind, and until that
/// is read, newer rows of the same keys are refused.
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
    let rests = survey(connection, state, layout, &found, &mut progress)?;
    rests.iter().for_each(|(segment, _)| state.mark_behind(*segment));
    for (segment, rest) in rests {
        if progress.bytes >= budget.bytes {
            return Ok(progress);
        }
        match read_rest(connection, state, layout, (segment, rest), &read_row, budget, &mut progress) {
            Ok(()) => {}
            Err(SegmentError::Index(error)) => return Err(error),
            Err(SegmentError::Read(error)) => {
                // What can be had is in; what follows in its key does not wait for the impossible.
                state.mark_caught_up(segment);
                progress.unreadable.push((segment, error.to_string()));
            }
        }
    }
    progress.is_done = progress.bytes < budget.bytes;
    Ok(progress)
}

/// What is not indexed of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// What stands from here on.
    From(u64),
    /// Everything, for it is another file than the one that was indexed.
    Replaced,
    /// Nothing can be, for it has vanished.
    Vanished,
}

/// Why a segment was left.
enum SegmentError {
    Index(IndexError),
    Read(io::Error),
}

impl From<IndexError> for SegmentError {
    fn from(error: IndexError) -> SegmentError {
        SegmentError::Index(error)
    }
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

/// Compares the checkpoints with what is on disk: the segments that need work, in order.
fn survey(
    connection: &mut Connection,
    state: &mut WriterState,
    layout: &Layout,
    found: &[FoundSegment],
    progress: &mut Progress,
) -> Result<Vec<(SegmentId, Rest)>, IndexError> {
    let mut lengths: BTreeMap<SegmentId, Option<u64>> = BTreeMap::new();
    for segment in found {
        match std::fs::metadata(layout.segment(segment.id, Form::Plain)) {
            Ok(metadata) => {
                lengths.insert(segment.id, Some(metadata.len()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                lengths.insert(segment.id, None);
            }
            Err(error) => progress.unreadable.push((segment.id, error.to_string())),
        }
    }
    let found = |id: &SegmentId| found.binary_search_by_key(id, |segment| segment.id).is_ok();
    let (mut rests, whole) = state.transact(connection, |_, memory| -> Result<_, IndexError> {
        let vanished = memory.segments.keys().filter(|id| !found(id)).map(|id| (*id, Rest::Vanished));
        let mut rests: Vec<(SegmentId, Rest)> = vanished.collect();
        let mut whole = Vec::new();
        for (&id, &length) in &lengths {
            let (indexed_to, is_done) =
                memory.segments.get(&id).map_or((0, false), |known| (known.indexed_to, known.is_done));
            match length {
                Some(length) if length < indexed_to => rests.push((id, Rest::Replaced)),
                Some(length) if length == indexed_to => whole.push(id),
                None if is_done => whole.push(id),
                _ => rests.push((id, Rest::From(indexed_to))),
            }
        }
        Ok((rests, whole))
    })?;
    whole.into_iter().for_each(|segment| state.mark_caught_up(segment));
    rests.sort_unstable_by_key(|(segment, _)| *segment);
    Ok(rests)
}

fn read_rest(
    connection: &mut Connection,
    state: &mut WriterState,
    layout: &Layout,
    (segment, rest): (SegmentId, Rest),
    read_row: &impl Fn(&[u8]) -> Result<Row, BadLine>,
    budget: Budget,
    progress: &mut Progress,
) -> Result<(), SegmentError> {
    let mut start = match rest {
        Rest::From(start) => start,
        Rest::Replaced | Rest::Vanished => {
            progress.removed += remove_segment(connection, state, segment)?;
            0
        }
    };
    if rest == Rest::Vanished {
        return Ok(());
    }
    state.mark_behind(segment);
    let mut opened = read::open_at(layout, segment, start);
    if start > 0 && opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) {
        // A sealed file that is shorter than what was indexed of it is another one.
        progress.removed += remove_segment(connection, state, segment)?;
        start = 0;
        opened = read::open_at(layout, segment, start);
    }
    let (reader, form) = match opened {
        // Deleted since the listing: the next call removes its rows.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    read_on(connection, state, layout, (reader, form, start), segment, read_row, budget, progress)
}

#[expect(clippy::too_many_arguments, reason = "the second half of `read_rest`")]
fn read_on(
    connection: &mut Connection,
    state: &mut WriterState,
    layout: &Layout,
    (reader, form, start): (read::SegmentReader, Form, u64),
    segment: SegmentId,
    read_row: &impl Fn(&[u8]) -> Result<Row, BadLine>,
    budget: Budget,
    progress: &mut Progress,
) -> Result<(), SegmentError> {
    let mut lines = Scanner::new(reader, start, MAX_LINE_BYTES);
    loop {
        let mut batch = Batch::read(&mut lines, segment, read_row);
        batch.count_attachments(layout);
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

    /// How many attachments a trace has, no line tells: they are counted where they stand.
    fn count_attachments(&mut self, layout: &Layout) {
        let bucket_has_any = |place: &Place| layout.attachments(place.segment.bucket).is_dir();
        if !self.rows.first().is_some_and(|(_, place)| bucket_has_any(place)) {
            return;
        }
        for (row, place) in &mut self.rows {
            row.media_count = media::count(&layout.media(place.segment.bucket, row.id));
        }
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
