//! A data dir checked against itself: every line, every row, every file.
//!
//! [`Verification::begin`] looks at the folders and the index; [`Verification::check`] reads one bucket, on any thread;
//! [`Verification::finish`] tells what only all of them together show. Their reports are merged. [`repair_files`] mends
//! what can be mended without losing a byte, for who holds the data dir.
//!
//! Memory: a line, a row and the names in a bucket's media folder per thread; 32 bytes for each line that has no row of
//! its own; the first [`MOST_SHOWN`] findings of a kind. That no id stands twice follows from rows that are unique and
//! lines that each have one; only lines without a row are held against each other.
//!
//! # Beside a running recorder
//!
//! What is written meanwhile is no finding: lines behind the index's checkpoint are counted as not yet indexed, last
//! lines without an end are being written, two forms of a file are being sealed. Each bucket's rows are those of one
//! snapshot, taken before its files are read. What is deleted meanwhile (a mark, its rows, its files, the mark) is looked
//! at again before it is told of: a mark that stands excuses it, and so do rows or attachments that are gone by then.

mod bucket;
mod repair;
mod report;
mod rewrite;
mod tree;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Mutex;

use rusqlite::Connection;

use crate::ids::{BucketId, Place, SegmentId, TraceId, UnixMillis};
use crate::index::check::Checked;
use crate::index::query::stored;
use crate::index::{self, rebuild, schema};
use crate::store::layout::Layout;
use crate::work::{Cancelled, Work};

pub use repair::{IndexRepair, Repair, RepairError, repair_files, repair_index};
pub use report::{Finding, Kind, MOST_SHOWN, Report, Totals};

/// Who else uses the data dir.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Nobody: everything must be in order.
    Nobody,
    /// A recorder is at work.
    Recorder,
}

/// What is checked.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The data dir.
    pub layout: Layout,
    /// Who else uses it.
    pub beside: Beside,
    /// Where the memory of captures is configured to stand (`capture.arena_dir`).
    pub arena_dir: Option<PathBuf>,
}

/// Nothing can be said about the data dir.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The data dir or one of its folders cannot be listed.
    #[error("cannot list {path}: {source}")]
    List {
        /// Which folder.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The index cannot be asked any more.
    #[error("index: {0}")]
    Index(#[from] rusqlite::Error),
    /// The index, which could be opened before, cannot be.
    #[error("{0}")]
    Open(#[from] schema::OpenError),
    /// It was called off.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// A check under way.
#[derive(Debug)]
pub struct Verification {
    layout: Layout,
    beside: Beside,
    /// There is an index that can be asked.
    has_index: bool,
    buckets: Vec<BucketId>,
    /// Lines that have no row of their own, to be held against each other.
    unplaced: Mutex<Vec<Unplaced>>,
}

/// A line that has no row of its own: none, or it is not indexed yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Unplaced {
    id: TraceId,
    segment: SegmentId,
    offset: u64,
}

impl Verification {
    /// Looks at folders, files and the index, and says what is wrong with them.
    ///
    /// # Errors
    /// A folder cannot be listed.
    pub fn begin(of: &Subject, work: &Work) -> Result<(Verification, Report), VerifyError> {
        let Subject { layout, beside, .. } = of;
        let beside = *beside;
        work.begin("looking at the folders", 0);
        let mut report = Report::new(layout);
        tree::check(of, &mut report)?;
        let listed = |source| VerifyError::List { path: layout.root().to_owned(), source };
        let buckets = layout.buckets().map_err(listed)?;
        work.begin("checking the index", 0);
        let has_index = check_index(layout, beside, !buckets.is_empty(), &mut report);
        work.begin("reading the files", bytes_of(layout).map_err(listed)?);
        let layout = layout.clone();
        Ok((Verification { layout, beside, has_index, buckets, unplaced: Mutex::default() }, report))
    }

    /// The buckets to be checked, each once, in any order and on any thread.
    pub fn buckets(&self) -> &[BucketId] {
        &self.buckets
    }

    /// Reads a bucket's files and holds them against the index. `work` counts bytes on disk.
    ///
    /// # Errors
    /// The index cannot be asked, or it was called off.
    pub fn check(&self, bucket: BucketId, work: &Work) -> Result<Report, VerifyError> {
        bucket::check(self, bucket, work)
    }

    /// What all buckets together show: call it when all are checked, with their reports merged into one.
    ///
    /// # Errors
    /// The index cannot be asked.
    pub fn finish(self, report: &mut Report, work: &Work) -> Result<(), VerifyError> {
        work.begin("comparing", 0);
        self.find_repeated_ids(report);
        if !self.has_index {
            return Ok(());
        }
        let Some(index) = self.open_index(report)? else { return Ok(()) };
        let mut gone = BTreeMap::new();
        for (segment, rows) in stored::segments(&index)? {
            report.totals.rows += rows;
            let is_gone = !self.layout.has_segment(segment).unwrap_or(true);
            if is_gone && !self.layout.deletion_mark(segment).exists() {
                gone.insert(segment, rows);
            }
        }
        if self.beside == Beside::Recorder {
            // What the index read while they were being deleted goes when it looks at its files again.
            report.totals.not_yet_removed = gone.values().sum();
            gone.clear();
        }
        for (segment, rows) in gone {
            let told = format!("{rows} rows, and their file is gone");
            report.find(Finding::new(Kind::RowsWithoutFile, segment.to_string(), told));
        }
        if self.beside == Beside::Nobody
            && let Some(root) = stored::odd_session(&index)?
        {
            let told = format!("the sums of session {root} are not those of its rows");
            report.find(Finding::new(Kind::SessionSums, tree::relative(&self.layout, &self.layout.index()), told));
        }
        if self.beside == Beside::Nobody
            && let Some(hour) = stored::odd_hour(&index)?
        {
            let begin = UnixMillis(hour.saturating_mul(3_600_000));
            let told = format!("the rollups of the hour from {begin} do not count its rows");
            report.find(Finding::new(Kind::Rollups, tree::relative(&self.layout, &self.layout.index()), told));
        }
        Ok(())
    }

    /// The index, if there is one that lines can be held against. A running recorder may have put another in its place
    /// since, and be about to make that one whole.
    fn open_index(&self, report: &mut Report) -> Result<Option<Connection>, VerifyError> {
        if !self.has_index {
            return Ok(None);
        }
        let is_interim = |index: Connection| Ok((rebuild::is_interim(&index)?, index));
        let told = match schema::open_reader(&self.layout.index()).map_err(VerifyError::from).and_then(is_interim) {
            Ok((false, index)) => return Ok(Some(index)),
            Ok((true, _)) => "it is being rebuilt".to_owned(),
            Err(error) if self.beside == Beside::Recorder => error.to_string(),
            Err(error) => return Err(error),
        };
        let name = tree::relative(&self.layout, &self.layout.index());
        report.find(Finding::new(Kind::IndexInterim, name, told));
        Ok(None)
    }

    fn find_repeated_ids(&self, report: &mut Report) {
        // A lock that a panic left behind holds what was there before it.
        let mut unplaced = std::mem::take(&mut *self.unplaced.lock().unwrap_or_else(|it| it.into_inner()));
        unplaced.sort_unstable();
        for pair in unplaced.windows(2) {
            if pair[0].id == pair[1].id {
                let first = format!("{} at {}", pair[0].segment, pair[0].offset);
                report.find_repeated(pair[1].segment, pair[1].offset, pair[1].id, &first);
            }
        }
    }

    fn note_unplaced(&self, mut lines: Vec<Unplaced>) {
        self.unplaced.lock().unwrap_or_else(|it| it.into_inner()).append(&mut lines);
    }
}

/// Whether there is an index that lines can be held against.
fn check_index(layout: &Layout, beside: Beside, has_traces: bool, report: &mut Report) -> bool {
    let path = layout.index();
    let name = tree::relative(layout, &path);
    let mut found = |kind, told: String| report.find(Finding::new(kind, name.clone(), told));
    if !path.exists() {
        match beside {
            Beside::Recorder => found(Kind::IndexInterim, "the running recorder is about to make it".into()),
            Beside::Nobody if has_traces => found(Kind::IndexMissing, "there are traces and no index".into()),
            Beside::Nobody => {}
        }
        return false;
    }
    // Damage shows at this question already, or at the next.
    let is_interim = schema::open_reader(&path).map(|index| rebuild::is_interim(&index).unwrap_or(false));
    let (kind, told) = match (is_interim, beside) {
        (Ok(true), Beside::Recorder) => {
            (Kind::IndexInterim, "it is being rebuilt: nothing was held against it".to_owned())
        }
        (Ok(true), Beside::Nobody) => {
            (Kind::IndexUnusable, "it holds only what was recorded since its rebuild began".to_owned())
        }
        (Ok(false), _) => match index::check::check(&path) {
            Checked::Whole => return true,
            // It puts another one in its place.
            Checked::Unknown(told) if beside == Beside::Recorder => (Kind::IndexInterim, told),
            Checked::Damaged(told) | Checked::Unknown(told) => (Kind::IndexUnusable, told),
        },
        // Only damage lasts: it makes it, migrates it, or puts another one in its place.
        (Err(error), Beside::Recorder) if !matches!(error, schema::OpenError::Corrupt { .. }) => {
            (Kind::IndexInterim, error.to_string())
        }
        (Err(error), _) => (Kind::IndexUnusable, error.to_string()),
    };
    found(kind, told);
    false
}

/// The bytes of all segments, in the form that is read.
fn bytes_of(layout: &Layout) -> std::io::Result<u64> {
    let segments = layout.segments()?;
    let length = |id, forms: &[_]| forms.first().and_then(|form| std::fs::metadata(layout.segment(id, *form)).ok());
    Ok(segments.iter().filter_map(|it| length(it.id, &it.forms)).map(|it| it.len()).sum())
}

/// Lines to be moved aside, by segment: offsets of those that repeat an earlier one.
type Repeated = HashMap<SegmentId, Vec<u64>>;

/// As it is told of: `2026-05-27/a1b2c3d4.jsonl at 12`.
fn told(place: Place) -> String {
    format!("{} at {}", place.segment, place.offset)
}

#[cfg(test)]
mod tests;
