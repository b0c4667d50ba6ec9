//! One bucket: its lines against its rows, its attachments against its lines.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::Path;

use rusqlite::{Connection, Statement};

use super::{Beside, Finding, Kind, Report, Unplaced, Verification, VerifyError, told, tree};
use crate::ids::{BucketId, Place, SegmentId, TraceId};
use crate::index::query;
use crate::index::query::selection::indexed_to;
use crate::index::query::stored::{self, StoredRow, StoredRows};
use crate::jsonl::line::read_row;
use crate::jsonl::read;
use crate::jsonl::scan::{Content, Scanner, resume_points};
use crate::media;
use crate::store::layout::{Form, FoundSegment};
use crate::trace::Row;
use crate::work::Work;

/// Longer lines are no traces: no recorder writes them.
const MAX_LINE_BYTES: usize = 1024 * 1024 * 1024;

/// Work is told of in steps of about this many bytes.
const STEP: u64 = 1024 * 1024;

pub(super) fn check(of: &Verification, bucket: BucketId, work: &Work) -> Result<Report, VerifyError> {
    let mut report = Report::new(&of.layout);
    // Listed first: an attachment is written after its line, so a line read later must be there.
    let mut folders = media_folders(of, bucket, &mut report)?;
    let connection = of.open_index(&mut report)?;
    // One snapshot for all of it, taken before any file is read: a row is written after its line.
    let snapshot = connection.as_ref().map(Connection::unchecked_transaction).transpose()?;
    let index = snapshot.as_deref();
    let listed = |source| VerifyError::List { path: of.layout.day(bucket.date), source };
    let mut unplaced = Vec::new();
    for found in of.layout.segments_of(bucket).map_err(listed)? {
        work.check()?;
        if of.layout.deletion_mark(found.id).exists() {
            continue;
        }
        let mut checked = Segment { of, index, folders: &folders, report: &mut report, unplaced: &mut unplaced };
        checked.check(&found, work)?;
    }
    // What is left has no line that the index knows, nor one that it will know.
    unplaced.iter().for_each(|line: &Unplaced| {
        folders.remove(&line.id);
    });
    for &trace in &folders {
        let known = index.map(|index| query::place(index, trace)).transpose()?.flatten();
        if known.is_none_or(|place| place.segment.bucket != bucket) && !is_going(of, bucket, trace).map_err(listed)? {
            let folder = tree::relative(&of.layout, &of.layout.media(bucket, trace));
            let what = "attachments, and no line of this trace in the bucket".to_owned();
            report.find(Finding::new(Kind::OrphanMedia, folder, what).of(trace));
        }
    }
    of.note_unplaced(unplaced);
    Ok(report)
}

/// Whether a trace's attachments are deleted with their segment: just now, or already. The mark is looked for first, as
/// it goes last.
fn is_going(of: &Verification, bucket: BucketId, trace: TraceId) -> io::Result<bool> {
    let of_bucket = of.layout.named_segments_of(bucket)?;
    let is_marked = of_bucket.into_iter().any(|segment| of.layout.deletion_mark(segment).exists());
    Ok(is_marked || !of.layout.media(bucket, trace).exists())
}

/// The traces that have a folder of attachments.
fn media_folders(of: &Verification, bucket: BucketId, report: &mut Report) -> Result<BTreeSet<TraceId>, VerifyError> {
    let layout = &of.layout;
    let mut folders = BTreeSet::new();
    for entry in tree::list(&layout.attachments(bucket))? {
        let path = entry.path();
        let trace = entry.file_name().to_str().and_then(|it| it.parse().ok()).filter(|_| path.is_dir());
        let Some(trace) = trace else {
            // What is gone by now was a trace's folder, perhaps, which its deletion took.
            if std::fs::symlink_metadata(&path).is_err() {
                continue;
            }
            let told = "not api-log's".to_owned();
            report.find(Finding::new(Kind::ForeignFile, tree::relative(layout, &path), told));
            continue;
        };
        tree::check_mode(layout, &path, report);
        let names = tree::list(&path)?;
        if names.is_empty() {
            if of.beside == Beside::Nobody {
                let told = "an empty folder".to_owned();
                report.find(Finding::new(Kind::Empty, tree::relative(layout, &path), told));
            }
            continue;
        }
        for file in names {
            tree::check_mode(layout, &file.path(), report);
            if is_unfinished(&file.path()) && of.beside == Beside::Nobody {
                let told = "an attachment that was not finished".to_owned();
                report.find(Finding::new(Kind::UnfinishedFile, tree::relative(layout, &file.path()), told));
            }
        }
        report.totals.media += 1;
        folders.insert(trace);
    }
    Ok(folders)
}

/// Whether a file in a folder of attachments is half of one.
pub(super) fn is_unfinished(path: &Path) -> bool {
    path.file_name().and_then(|it| it.to_str()).is_some_and(media::is_unfinished)
}

/// A segment being checked.
struct Segment<'v> {
    of: &'v Verification,
    index: Option<&'v Connection>,
    folders: &'v BTreeSet<TraceId>,
    report: &'v mut Report,
    unplaced: &'v mut Vec<Unplaced>,
}

/// What a line, or the whole trace in one, must have as its row.
struct Expected {
    row: Row,
    place: Place,
}

impl Segment<'_> {
    fn check(&mut self, found: &FoundSegment, work: &Work) -> Result<(), VerifyError> {
        let segment = found.id;
        let is_alone = self.of.beside == Beside::Nobody;
        if found.forms.len() > 1 && is_alone {
            let told = "the plain file and a sealed one".to_owned();
            self.report.find(Finding::new(Kind::BothForms, segment.to_string(), told));
            self.report.mend.both_forms.insert(segment);
        }
        let (reader, form) = match read::open_checked(&self.of.layout, segment) {
            Ok(opened) => opened,
            // Deleted since it was listed: its rows go too.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return self.damaged(segment, 0, &error),
        };
        self.report.totals.segments += 1;
        let checkpoint = self.index.map(|index| indexed_to(index, segment)).transpose()?.flatten();
        let indexed_to = checkpoint.map_or(0, |it| it.offset);
        let mut statement = self.index.map(stored::prepare).transpose()?;
        let mut rows = Merging::of(self.index, &mut statement, segment)?;
        let mut bytes = Counting { reader, count: 0 };
        let mut lines = Scanner::new(&mut bytes, 0, MAX_LINE_BYTES);
        let mut pending = 0;
        let mut told_to = 0;
        let damage = loop {
            let scanned = match lines.next_line() {
                Ok(Some(scanned)) => scanned,
                Ok(None) => break None,
                Err(error) => break Some(error),
            };
            self.report.totals.lines += 1;
            if scanned.next_offset - told_to >= STEP {
                work.check()?;
                // Sealed bytes are fewer; what they come to is put right at the end.
                if form == Form::Plain {
                    work.advance(scanned.next_offset - told_to);
                }
                told_to = scanned.next_offset;
            }
            while let Some(row) = rows.before(scanned.offset)? {
                self.row_without_line(segment, &row, "no line begins there");
            }
            let Some(expected) = self.read(segment, scanned.offset, scanned.content) else { continue };
            // Behind the torn half of another line.
            while let Some(row) = rows.before(expected.place.offset)? {
                self.row_without_line(segment, &row, "no line begins there");
            }
            match rows.at(expected.place.offset)? {
                Some(row) if row.trace.id == expected.row.id.to_string() => self.compare(&expected, &row),
                other => {
                    if let Some(row) = other {
                        self.row_without_line(segment, &row, "another trace's line stands there");
                    }
                    pending += u64::from(self.without_row(&expected, indexed_to)?);
                }
            }
        };
        let end = lines.offset();
        drop(lines);
        while let Some(row) = rows.next()? {
            // Behind damage there may be anything.
            if damage.is_none() {
                self.row_without_line(segment, &row, "the file ends before it");
            }
        }
        self.report.totals.bytes += bytes.count;
        work.advance(match form {
            Form::Plain => bytes.count.saturating_sub(told_to),
            sealed => std::fs::metadata(self.of.layout.segment(segment, sealed)).map_or(0, |it| it.len()),
        });
        if pending > 0 && self.index.is_some() {
            if is_alone {
                let told = format!("{pending} lines from here on");
                self.report.find(Finding::at(Kind::NotIndexed, segment, indexed_to, told));
            } else {
                self.report.totals.not_yet_indexed += pending;
            }
        }
        if let Some(error) = damage {
            return self.damaged(segment, end, &error);
        }
        // Beside a recorder it is a line that is being written.
        if bytes.count > end && (is_alone || form != Form::Plain) {
            let told = format!("{} bytes without an end", bytes.count - end);
            self.report.find(Finding::at(Kind::TornTail, segment, end, told));
            match form {
                Form::Plain => self.report.mend.torn.insert(segment),
                _ => self.report.mend.rewrite.insert(segment),
            };
        }
        Ok(())
    }

    /// The trace that a line holds.
    fn read(&mut self, segment: SegmentId, offset: u64, content: Content<'_>) -> Option<Expected> {
        let Content::Line(line) = content else {
            let told = format!("longer than {MAX_LINE_BYTES} bytes");
            self.report.find(Finding::at(Kind::BadLine, segment, offset, told));
            return None;
        };
        let place = |at: usize| {
            // A line is shorter than 4 GiB, as it is shorter than what is kept of one.
            let bytes = u32::try_from(line.len() - at).unwrap_or(u32::MAX);
            Place { segment, offset: offset + at as u64, bytes }
        };
        let error = match read_row(line) {
            Ok(row) => return Some(self.counted(Expected { row, place: place(0) })),
            Err(error) => error,
        };
        self.report.mend.rewrite.insert(segment);
        let whole = resume_points(line).find_map(|at| Some((at, read_row(&line[at..]).ok()?)));
        match whole {
            Some((at, row)) => {
                let told = format!("{at} bytes of a torn line, then a trace");
                self.report.find(Finding::at(Kind::GluedLine, segment, offset, told).of(row.id));
                Some(self.counted(Expected { row, place: place(at) }))
            }
            None => {
                self.report.find(Finding::at(Kind::BadLine, segment, offset, error.to_string()));
                None
            }
        }
    }

    /// How many attachments a trace has, no line tells.
    fn counted(&self, mut expected: Expected) -> Expected {
        let id = expected.row.id;
        if self.folders.contains(&id) {
            expected.row.media_count = media::count(&self.of.layout.media(expected.place.segment.bucket, id));
        }
        expected
    }

    fn compare(&mut self, expected: &Expected, row: &StoredRow) {
        let mut differences = row.differences(&expected.row);
        if row.trace.jsonl_bytes != expected.place.bytes {
            differences.push("jsonl_bytes");
        }
        if self.of.beside == Beside::Recorder {
            // Attachments are written, and counted, after their row.
            differences.retain(|column| *column != "media_count");
        }
        if !differences.is_empty() {
            let Place { segment, offset, .. } = expected.place;
            let told = format!("the row has another {}", differences.join(", "));
            self.report.find(Finding::at(Kind::RowDiffers, segment, offset, told).of(expected.row.id));
        }
    }

    /// A line that has no row at its place. `true` if it is one that is still to be indexed.
    fn without_row(&mut self, expected: &Expected, indexed_to: u64) -> Result<bool, VerifyError> {
        let Expected { row, place } = expected;
        let elsewhere = self.index.map(|index| query::place(index, row.id)).transpose()?.flatten();
        // A row that points to the wrong place makes no repeat of a good line.
        let first = elsewhere.filter(|first| read::line(&self.of.layout, *first, row.id).is_ok());
        if let Some(first) = first {
            self.report.find_repeated(place.segment, place.offset, row.id, &told(first));
            return Ok(false);
        }
        self.unplaced.push(Unplaced { id: row.id, segment: place.segment, offset: place.offset });
        let is_behind = place.offset >= indexed_to;
        if !is_behind {
            let told = "the index was past it".to_owned();
            let finding = Finding::at(Kind::LineWithoutRow, place.segment, place.offset, told);
            self.report.find(finding.of(row.id));
        }
        Ok(is_behind)
    }

    fn row_without_line(&mut self, segment: SegmentId, row: &StoredRow, what: &str) {
        let finding = Finding::at(Kind::RowWithoutLine, segment, row.trace.jsonl_offset, what.to_owned());
        self.report.find(Finding { id: Some(row.trace.id.clone()), ..finding });
    }

    fn damaged(&mut self, segment: SegmentId, offset: u64, error: &io::Error) -> Result<(), VerifyError> {
        self.report.find(Finding::at(Kind::DamagedFile, segment, offset, error.to_string()));
        Ok(())
    }
}

/// A segment's rows, taken as its lines come by.
struct Merging<'s> {
    rows: Option<StoredRows<'s>>,
    next: Option<StoredRow>,
}

impl<'s> Merging<'s> {
    fn of(
        index: Option<&'s Connection>,
        statement: &'s mut Option<Statement<'_>>,
        segment: SegmentId,
    ) -> rusqlite::Result<Merging<'s>> {
        let rows = match (index, statement) {
            (Some(index), Some(statement)) => Some(StoredRows::of(index, statement, segment)?),
            _ => None,
        };
        let mut merging = Merging { rows, next: None };
        merging.fetch()?;
        Ok(merging)
    }

    fn fetch(&mut self) -> rusqlite::Result<()> {
        self.next = match &mut self.rows {
            Some(rows) => rows.next_row()?,
            None => None,
        };
        Ok(())
    }

    fn next(&mut self) -> rusqlite::Result<Option<StoredRow>> {
        let row = self.next.take();
        if row.is_some() {
            self.fetch()?;
        }
        Ok(row)
    }

    /// The next row, if it stands before this offset.
    fn before(&mut self, offset: u64) -> rusqlite::Result<Option<StoredRow>> {
        if self.next.as_ref().is_some_and(|row| row.trace.jsonl_offset < offset) { self.next() } else { Ok(None) }
    }

    /// The next row, if it stands at this offset.
    fn at(&mut self, offset: u64) -> rusqlite::Result<Option<StoredRow>> {
        if self.next.as_ref().is_some_and(|row| row.trace.jsonl_offset == offset) { self.next() } else { Ok(None) }
    }
}

/// Counts what was read.
struct Counting<R> {
    reader: R,
    count: u64,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}
