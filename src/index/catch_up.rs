//! The way back to the truth: lines that the index misses, read from the files.

use std::collections::{BTreeMap, HashMap};
use std::io;

use rusqlite::Connection;

use crate::ids::SegmentId;
use crate::index::IndexError;
use crate::index::batch::{Batch, MAX_LINE_BYTES, Size};
use crate::index::insert::Insertion;
use crate::index::remove::remove_segment;
use crate::index::state::{Checkpoint, WriterState};
use crate::jsonl::line::BadLine;
use crate::jsonl::read;
use crate::jsonl::scan::Scanner;
use crate::store::layout::{Form, FoundSegment, Layout};
use crate::trace::Row;

/// One transaction's lines: other work waits for long lines no longer than for many.
const BATCH: Size = Size { rows: 4096, bytes: 64 * 1024 * 1024 };

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
    /// The bytes of all files, in the form that would be read.
    pub total_bytes: u64,
    /// Segments of which something is left to read.
    pub behind_segments: usize,
    /// About how many bytes are left to read: of lines, in sealed forms of the file.
    pub behind_bytes: u64,
    /// Segments that could not be read further now, and why. They are tried again by the next call.
    pub unreadable: Vec<(SegmentId, String)>,
}

/// Reads every line that is not indexed yet, oldest segment first, and indexes it in transactions of its own.
/// Into a new database that is the rebuild. Every call goes on where the index stands.
///
/// Call it before the first insert (a budget of nothing will do): it finds out what is behind, and until that
/// is read, newer rows of the same keys are refused.
///
/// Files are read under a shared lease: a segment that is being deleted is passed over, and one that vanished loses
/// its rows only if nobody uses it. So does one that is another file than the one that was indexed (it is shorter, or
/// begins with another trace), which is then read anew. A segment that cannot be read is passed over; a bad line never
/// blocks.
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
    rests.iter().for_each(|(segment, ..)| state.mark_behind(*segment));
    progress.behind_segments = rests.len();
    progress.behind_bytes = rests.iter().map(|(.., bytes)| bytes).sum();
    for (segment, rest, bytes) in rests {
        if progress.bytes >= budget.bytes {
            return Ok(progress);
        }
        let read_before = progress.bytes;
        let outcome = read_rest(connection, state, layout, (segment, rest), &read_row, budget, &mut progress);
        let is_through = state.behind().all(|it| it != segment);
        progress.behind_segments -= usize::from(is_through);
        progress.behind_bytes -= if is_through { bytes } else { bytes.min(progress.bytes - read_before) };
        match outcome {
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

/// Compares the checkpoints with what is on disk: the segments that need work, in order, and about how much.
///
/// The first time in a connection's life every plain file's first line is looked at too: one that was replaced, and
/// has grown beyond what was indexed of the old one, shows by nothing else. Later only files that are read are.
fn survey(
    connection: &mut Connection,
    state: &mut WriterState,
    layout: &Layout,
    found: &[FoundSegment],
    progress: &mut Progress,
) -> Result<Vec<(SegmentId, Rest, u64)>, IndexError> {
    let mut lengths: BTreeMap<SegmentId, Length> = BTreeMap::new();
    for segment in found {
        match length_of(layout, segment) {
            Ok(length) => {
                lengths.insert(segment.id, length);
            }
            Err(error) => progress.unreadable.push((segment.id, error.to_string())),
        }
    }
    progress.total_bytes = lengths.values().map(|(Length::Plain(bytes) | Length::Sealed(bytes))| bytes).sum();
    let compares = !state.has_compared;
    // A listing may miss a segment whose file is just being replaced by its sealed one.
    let is_listed = |id: &SegmentId| found.binary_search_by_key(id, |segment| segment.id).is_ok();
    let found = |id: &SegmentId| is_listed(id) || layout.has_segment(*id).unwrap_or(true);
    let (mut rests, whole) = state.transact(connection, |_, memory| -> Result<_, IndexError> {
        let vanished = memory.segments.keys().filter(|id| !found(id)).map(|id| (*id, Rest::Vanished, 0));
        let mut rests: Vec<(SegmentId, Rest, u64)> = vanished.collect();
        let mut whole = Vec::new();
        for (&id, &length) in &lengths {
            let known = memory.segments.get(&id).copied();
            let (indexed_to, is_done) = known.map_or((0, false), |known| (known.indexed_to, known.is_done));
            let is_another = || known.is_some_and(|known| compares && begins_otherwise(layout, id, known));
            match length {
                Length::Plain(length) if length < indexed_to || is_another() => {
                    rests.push((id, Rest::Replaced, length))
                }
                Length::Plain(length) if length == indexed_to => whole.push(id),
                Length::Plain(length) => rests.push((id, Rest::From(indexed_to), length - indexed_to)),
                Length::Sealed(_) if is_done => whole.push(id),
                Length::Sealed(length) => rests.push((id, Rest::From(indexed_to), length)),
            }
        }
        Ok((rests, whole))
    })?;
    // One that is another shows only here, until its rows are gone.
    state.has_compared |= !rests.iter().any(|(_, rest, _)| *rest == Rest::Replaced);
    whole.into_iter().for_each(|segment| state.mark_caught_up(segment));
    rests.sort_unstable_by_key(|(segment, ..)| *segment);
    Ok(rests)
}

/// A segment's bytes on disk.
#[derive(Clone, Copy)]
enum Length {
    Plain(u64),
    /// Of its compressed form.
    Sealed(u64),
}

fn length_of(layout: &Layout, segment: &FoundSegment) -> io::Result<Length> {
    let bytes = |form| match std::fs::metadata(layout.segment(segment.id, form)) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    if let Some(length) = bytes(Form::Plain)? {
        return Ok(Length::Plain(length));
    }
    let sealed = segment.forms.iter().find(|form| **form != Form::Plain);
    Ok(Length::Sealed(sealed.map_or(Ok(None), |form| bytes(*form))?.unwrap_or(0)))
}

/// Whether a segment's file surely is not the one of which lines are indexed. One that cannot be read is not judged.
fn begins_otherwise(layout: &Layout, segment: SegmentId, known: Checkpoint) -> bool {
    known.indexed_to > 0
        && known.first_trace.is_some()
        && read::first_trace(layout, segment).is_ok_and(|first| first != known.first_trace)
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
    if rest == Rest::Vanished {
        return forget_vanished(connection, state, segment, progress);
    }
    let Ok(lease) = state.leases.shared(segment) else {
        // Who deletes it removes its rows; what follows in its key does not wait.
        state.mark_caught_up(segment);
        return Ok(());
    };
    let mut start = match rest {
        Rest::From(start) => start,
        Rest::Replaced | Rest::Vanished => {
            progress.removed += remove_segment(connection, state, segment)?;
            0
        }
    };
    state.mark_behind(segment);
    let mut opened = read::open_at(layout, segment, start);
    let is_short = opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::UnexpectedEof);
    let known = state
        .transact(connection, |_, memory| -> rusqlite::Result<_> { Ok(memory.segments.get(&segment).copied()) })?;
    if start > 0 && (is_short || known.is_some_and(|known| begins_otherwise(layout, segment, known))) {
        // A sealed file that is shorter than what was indexed of it is another one, and so is one that begins otherwise.
        progress.removed += remove_segment(connection, state, segment)?;
        start = 0;
        opened = read::open_at(layout, segment, start);
    }
    let (reader, form) = match opened {
        // Deleted since the listing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            drop(lease);
            return match layout.has_segment(segment)? {
                true => Ok(()),
                false => forget_vanished(connection, state, segment, progress),
            };
        }
        other => other?,
    };
    read_on(connection, state, layout, (reader, form, start), segment, read_row, budget, progress)
}

/// Removes the rows of a segment whose file is gone. Who uses it all the same, a writer say, goes on in a file without a
/// name; who deletes it removes its rows.
fn forget_vanished(
    connection: &mut Connection,
    state: &mut WriterState,
    segment: SegmentId,
    progress: &mut Progress,
) -> Result<(), SegmentError> {
    match state.leases.exclusive(segment) {
        Ok(_lease) => progress.removed += remove_segment(connection, state, segment)?,
        Err(_) => state.mark_caught_up(segment),
    }
    Ok(())
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
        let mut batch = Batch::read(&mut lines, segment, u64::MAX, BATCH, read_row);
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
