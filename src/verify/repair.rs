//! What a check found, mended where no byte is lost by it.

use std::fmt::Display;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::bucket::is_unfinished;
use super::tree::{self, Entry};
use super::{Kind, Report, Subject, VerifyError, rewrite};
use crate::ids::SegmentId;
use crate::index::schema::{OpenError, open_writer};
use crate::index::{Budget, IndexError, WriterState, catch_up, texts};
use crate::jsonl::file::JsonlFile;
use crate::jsonl::line::read_row_with;
use crate::jsonl::sealed::{Codec, is_contained};
use crate::store::layout::Layout;
use crate::work::{Cancelled, Work};

/// One thing that was done, or could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// For which kind of finding.
    pub kind: Kind,
    /// Which file, relative to the data dir.
    pub path: String,
    /// What was done.
    pub what: String,
    /// Why it could not be.
    pub error: Option<String>,
}

/// The repair ended before its end. What was done before stays done.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// A folder cannot be listed.
    #[error("{0}")]
    List(#[from] VerifyError),
    /// The index cannot be opened.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// The index cannot be written.
    #[error("{0}")]
    Index(#[from] IndexError),
    /// It was called off.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Mends the files that the report tells of, and says what was done and what the index needs now. Only for who holds the
/// data dir's lock: nobody else may write.
///
/// Nothing is deleted but what is being made of something else that is still
/// there, and empty folders. Done again, it finds nothing to do.
///
/// # Errors
/// See [`RepairError`]. A file that cannot be mended is told among the repairs.
pub fn repair_files(of: &Subject, report: &Report, work: &Work) -> Result<(Vec<Repair>, IndexRepair), RepairError> {
    work.begin("repairing files", 0);
    let layout = &of.layout;
    let mut done = Done { layout, repairs: Vec::new() };
    tidy(of, &mut done)?;
    let mend = &report.mend;
    for &segment in &mend.both_forms {
        done.note(Kind::BothForms, segment, undo_seal(layout, segment));
    }
    for &segment in &mend.torn {
        let cut = JsonlFile::open(layout, segment).map(|file| match file.cut_bytes() {
            0 => None,
            bytes => Some(format!("moved {bytes} torn bytes into the .torn file beside")),
        });
        done.note(Kind::TornTail, segment, cut);
    }
    for &segment in &mend.rewrite {
        work.check()?;
        let repeated = mend.repeated.get(&segment).map(Vec::as_slice).unwrap_or_default();
        let kind = if repeated.is_empty() { Kind::BadLine } else { Kind::RepeatedId };
        let rewritten = rewrite::rewrite(layout, segment, repeated).map(|it| {
            let cut_out =
                if it.cut_out > 0 { format!(", and {} traces out of them", it.cut_out) } else { String::new() };
            Some(format!("moved {} lines into the .torn file beside{cut_out}", it.aside))
        });
        done.note(kind, segment, rewritten);
    }
    let moved_lines = |it: &Repair| it.error.is_none() && matches!(it.kind, Kind::BadLine | Kind::RepeatedId);
    let moved = done.repairs.iter().find(|it| moved_lines(it)).map(|it| it.kind);
    let first_of = |kinds: &[Kind]| kinds.iter().copied().find(|kind| report.count(*kind) > 0);
    let index = match first_of(ANEW).or(moved) {
        Some(kind) => IndexRepair::Anew { kind, is_unusable: report.count(Kind::IndexUnusable) > 0 },
        None => first_of(BEHIND).map_or(IndexRepair::None, |kind| IndexRepair::CatchUp { kind }),
    };
    Ok((done.repairs, index))
}

/// Findings after which only a new index is surely right.
const ANEW: &[Kind] = &[
    Kind::IndexMissing,
    Kind::IndexUnusable,
    Kind::RowWithoutLine,
    Kind::LineWithoutRow,
    Kind::RowDiffers,
    Kind::SessionSums,
    Kind::Rollups,
];

/// Findings that a recorder mends when it starts.
const BEHIND: &[Kind] = &[Kind::NotIndexed, Kind::RowsWithoutFile];

/// What the index needs once the files are mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexRepair {
    /// Nothing.
    None,
    /// To be caught up: [`repair_index`].
    CatchUp {
        /// Because of this.
        kind: Kind,
    },
    /// To be made anew from all the files.
    Anew {
        /// Because of this.
        kind: Kind,
        /// What is there cannot be read, and is to be set aside.
        is_unusable: bool,
    },
}

/// Indexes what is not indexed, and removes rows whose file is gone.
///
/// # Errors
/// The index cannot be written.
pub fn repair_index(layout: &Layout, kind: Kind, work: &Work) -> Result<Repair, RepairError> {
    let mut connection = open_writer(&layout.index())?;
    work.begin("indexing", 0);
    let kept = texts::bytes_kept(&connection).map_err(IndexError::from)?;
    let read_row = |line: &[u8]| read_row_with(line, kept);
    let caught = catch_up(&mut connection, &mut WriterState::new(), layout, read_row, Budget::WHOLE)?;
    let what = format!("indexed {} lines, removed {} rows whose file is gone", caught.inserted, caught.removed);
    Ok(Repair::of_index(layout, kind, what))
}

impl Repair {
    /// Something done to the index.
    pub fn of_index(layout: &Layout, kind: Kind, what: String) -> Repair {
        Repair { kind, path: tree::relative(layout, &layout.index()), what, error: None }
    }
}

/// What was done so far.
struct Done<'l> {
    layout: &'l Layout,
    repairs: Vec<Repair>,
}

impl Done<'_> {
    /// Notes what became of one thing; `None` if there was nothing to do.
    fn note(&mut self, kind: Kind, path: impl Display, outcome: io::Result<Option<String>>) {
        let path = path.to_string();
        match outcome {
            Ok(None) => {}
            Ok(Some(what)) => self.repairs.push(Repair { kind, path, what, error: None }),
            Err(error) => {
                let what = "not repaired".to_owned();
                self.repairs.push(Repair { kind, path, what, error: Some(error.to_string()) });
            }
        }
    }

    fn remove_file(&mut self, path: &Path) {
        // It may be all that is left of what it was being made of.
        let is_alone = tree::unfinished_of(self.layout, path).map(|it| self.layout.has_segment(it).map(|has| !has));
        let removed = match is_alone.transpose() {
            Ok(Some(true)) => Err(io::Error::other("what it was being made of is gone: look what is in it")),
            Ok(_) => std::fs::remove_file(path).map(|()| Some("removed it".to_owned())),
            Err(error) => Err(error),
        };
        self.note(Kind::UnfinishedFile, tree::relative(self.layout, path), removed);
    }

    fn make_private(&mut self, path: &Path) {
        let private = Permissions::from_mode(if path.is_dir() { 0o700 } else { 0o600 });
        let made = std::fs::set_permissions(path, private).map(|()| Some("keeps it to its owner now".to_owned()));
        self.note(Kind::OpenMode, tree::relative(self.layout, path), made);
    }
}

/// Modes, halves of files, and empty folders.
fn tidy(of: &Subject, done: &mut Done<'_>) -> Result<(), RepairError> {
    let layout = &of.layout;
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut found: Vec<(PathBuf, Entry)> = vec![(layout.root().to_owned(), Entry::Ours)];
    tree::walk(of, &mut |path, entry| found.push((path.to_owned(), entry)))?;
    for bucket in layout.buckets().map_err(|source| VerifyError::List { path: layout.root().to_owned(), source })? {
        for trace in tree::list(&layout.attachments(bucket))? {
            found.push((trace.path(), Entry::Ours));
            for file in tree::list(&trace.path())? {
                let path = file.path();
                let entry = if is_unfinished(&path) { Entry::Unfinished } else { Entry::Ours };
                found.push((path, entry));
            }
        }
    }
    for (path, entry) in found {
        if entry == Entry::Unfinished {
            done.remove_file(&path);
            continue;
        }
        if entry != Entry::Foreign && tree::is_open(layout, &path) {
            done.make_private(&path);
        }
        folders.extend(Some(path).filter(|it| it.is_dir() && entry == Entry::Ours));
    }
    // From the inside out: a folder may be empty once what was in it is gone.
    for path in folders.iter().rev().filter(|it| tree::is_needless(layout, it)) {
        let removed = std::fs::remove_dir(path).map(|()| Some("removed the empty folder".to_owned()));
        done.note(Kind::Empty, tree::relative(layout, path), removed);
    }
    Ok(())
}

/// Removes sealed forms that hold nothing but the beginning of the plain one, or all of it. Sealing is done again.
fn undo_seal(layout: &Layout, segment: SegmentId) -> io::Result<Option<String>> {
    let mut removed = false;
    for codec in [Codec::Zstd, Codec::Gzip] {
        let sealed = layout.segment(segment, codec.form());
        if !sealed.exists() {
            continue;
        }
        if !is_contained(layout, segment, codec).map_err(io::Error::other)? {
            let told = format!("{} holds what the plain file does not", tree::relative(layout, &sealed));
            return Err(io::Error::other(told));
        }
        std::fs::remove_file(&sealed)?;
        removed = true;
    }
    Ok(removed.then(|| "removed the sealed form; the plain file holds all of it".to_owned()))
}
