//! Folders and files: whose they are, and who may read them.

use std::fs::DirEntry;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Beside, Finding, Kind, Report, Subject, VerifyError};
use crate::access;
use crate::capture::place::{self, Folder};
use crate::capture::spool;
use crate::ids::{Date, SegmentId, ShortKey};
use crate::index::files;
use crate::store::layout::{Layout, NamedFile};
use crate::store::overrides;

/// What an entry of the data dir is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Something that belongs there, as it is.
    Ours,
    /// A folder that stays, whatever is in it.
    Fixed,
    KeptAside,
    IndexSetAside,
    /// Half of something that is made anew of what is still there.
    Unfinished,
    /// The prefix of a capture.
    Spool,
    /// The memory of captures.
    Arena,
    /// A capture that could not be read, or that an earlier version left.
    DeadCapture,
    HalfDeleted,
    Foreign,
}

/// Looks at every file and folder, the contents of media folders and the viewer's cache left out.
pub(super) fn check(of: &Subject, report: &mut Report) -> Result<(), VerifyError> {
    let (layout, beside) = (&of.layout, of.beside);
    if !layout.root().exists() {
        let source = io::ErrorKind::NotFound.into();
        return Err(VerifyError::List { path: layout.root().to_owned(), source });
    }
    check_mode(layout, layout.root(), report);
    walk(of, &mut |path, entry| {
        let name = || relative(layout, path);
        let find = |report: &mut Report, kind, what: String| report.find(Finding::new(kind, name(), what));
        if entry != Entry::Foreign {
            check_mode(layout, path, report);
        }
        let metadata = std::fs::symlink_metadata(path);
        let bytes = metadata.as_ref().map_or(0, std::fs::Metadata::len);
        match entry {
            Entry::Fixed => {}
            // Somebody is about to fill it.
            Entry::Ours if beside == Beside::Recorder => {}
            Entry::Ours => {
                if is_needless(layout, path) {
                    find(report, Kind::Empty, "an empty folder".into());
                } else if metadata.is_ok_and(|it| it.is_file() && it.len() == 0) && layout.parse_segment(path).is_some()
                {
                    find(report, Kind::Empty, "a file without a line".into());
                }
            }
            Entry::KeptAside => find(report, Kind::KeptAside, format!("{bytes} bytes of torn or bad lines")),
            Entry::IndexSetAside => find(report, Kind::IndexSetAside, format!("{bytes} bytes")),
            Entry::DeadCapture => {
                let what = format!("{bytes} bytes of a capture that no recorder can read");
                find(report, Kind::KeptAside, what);
            }
            // A running recorder is at work on it.
            Entry::Spool | Entry::Arena | Entry::Unfinished | Entry::HalfDeleted if beside == Beside::Recorder => {}
            Entry::Spool => find(report, Kind::SpoolLeft, told_of_spool(path)),
            Entry::Arena => find(report, Kind::SpoolLeft, TOLD_OF_ARENA.into()),
            Entry::Unfinished => find(report, Kind::UnfinishedFile, format!("{bytes} bytes")),
            Entry::HalfDeleted => find(report, Kind::HalfDeleted, "its deletion was begun".into()),
            // What is gone by now was a folder, perhaps, and is not known as one any more.
            Entry::Foreign if metadata.is_err() => {}
            Entry::Foreign => find(report, Kind::ForeignFile, "not api-log's".into()),
        }
    })?;
    if beside == Beside::Nobody {
        arenas_elsewhere(of, report);
    }
    Ok(())
}

/// Of an arena that no recorder holds.
const TOLD_OF_ARENA: &str = "memory of captures that a crash left";

/// Where the memory of captures stands is no part of the data dir, mostly.
fn arenas_elsewhere(of: &Subject, report: &mut Report) {
    for folder in Folder::all(&of.layout, of.arena_dir.as_deref()) {
        if real(folder.path()).starts_with(real(of.layout.root())) {
            continue;
        }
        // What cannot be looked at, the next recorder tells of.
        for arena in folder.arenas().unwrap_or_default() {
            let name = arena.display().to_string();
            report.find(Finding::new(Kind::SpoolLeft, name, TOLD_OF_ARENA.into()));
        }
    }
}

/// How much of a capture a spool gives.
fn told_of_spool(path: &Path) -> String {
    match std::fs::File::open(path).map_err(spool::NotASpool::from).and_then(|file| spool::scan(&file)) {
        Ok((_, frames)) => {
            let bytes: u64 = frames.iter().map(|it| u64::from(it.bytes)).sum();
            format!("{bytes} bytes of a capture")
        }
        Err(error) => format!("{error}: the next recorder sets it aside"),
    }
}

/// A path without links and dots, as far as there is one.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Gives every entry, folders before what is in them.
pub(super) fn walk(of: &Subject, each: &mut dyn FnMut(&Path, Entry)) -> Result<(), VerifyError> {
    let layout = &of.layout;
    let arenas = of.arena_dir.as_deref().map(real);
    for entry in list(layout.root())? {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let date = name.parse::<Date>().ok().filter(|date| date.to_string() == name);
        match date {
            Some(date) if path.is_dir() => {
                each(&path, Entry::Ours);
                walk_day(layout, date, each)?;
            }
            _ if path == layout.tmp() => {
                each(&path, Entry::Fixed);
                walk_captures(&path, each)?;
            }
            // Somewhere below, if it is in the data dir at all.
            _ if arenas.as_deref().is_some_and(|it| it.starts_with(real(&path)) && path.is_dir()) => {
                each(&path, Entry::Fixed);
                walk_captures(arenas.as_deref().unwrap_or(&path), each)?;
            }
            _ => each(&path, of_root(layout, &path, &name)),
        }
    }
    Ok(())
}

fn walk_captures(folder: &Path, each: &mut dyn FnMut(&Path, Entry)) -> Result<(), VerifyError> {
    for entry in list(folder)? {
        let found = match place::named(&entry.file_name().to_string_lossy()) {
            Some(place::Named::Spool) => Entry::Spool,
            Some(place::Named::Arena) => Entry::Arena,
            Some(place::Named::Unreadable | place::Named::Earlier) => Entry::DeadCapture,
            None => Entry::Foreign,
        };
        each(&entry.path(), found);
    }
    Ok(())
}

fn walk_day(layout: &Layout, date: Date, each: &mut dyn FnMut(&Path, Entry)) -> Result<(), VerifyError> {
    for entry in list(&layout.day(date))? {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Ok(key) = name.parse::<ShortKey>()
            && path.is_dir()
        {
            each(&path, Entry::Ours);
            let media = layout.attachments(crate::ids::BucketId { date, key });
            for inner in list(&path)? {
                each(&inner.path(), if inner.path() == media { Entry::Ours } else { Entry::Foreign });
            }
            continue;
        }
        let entry = match layout.parse_name(date, &name) {
            Some((_, NamedFile::Form(_))) => Entry::Ours,
            Some((_, NamedFile::Torn)) => Entry::KeptAside,
            Some((_, NamedFile::Deleting)) => Entry::HalfDeleted,
            None if unfinished_name(layout, date, &name).is_some() => Entry::Unfinished,
            None => Entry::Foreign,
        };
        each(&path, entry);
    }
    Ok(())
}

/// The segment that a file is being made of: `<segment>.new` is being sealed, `.<segment>.repairing` rewritten.
pub(super) fn unfinished_of(layout: &Layout, path: &Path) -> Option<SegmentId> {
    let date = path.parent()?.file_name()?.to_str()?.parse().ok()?;
    unfinished_name(layout, date, path.file_name()?.to_str()?)
}

fn unfinished_name(layout: &Layout, date: Date, name: &str) -> Option<SegmentId> {
    let of_segment = |name: &str| match layout.parse_name(date, name)? {
        (segment, NamedFile::Form(_)) => Some(segment),
        _ => None,
    };
    let rewritten = name.strip_prefix('.').and_then(|it| it.strip_suffix(super::rewrite::SUFFIX));
    name.strip_suffix(".new").or(rewritten).and_then(of_segment)
}

fn of_root(layout: &Layout, path: &Path, name: &str) -> Entry {
    match name.strip_prefix(&relative(layout, &layout.index())).and_then(files::named) {
        Some(files::Named::Index) => return Entry::Ours,
        Some(files::Named::Aside) => return Entry::IndexSetAside,
        Some(files::Named::Unfinished) => return Entry::Unfinished,
        None => {}
    }
    let is = |other: PathBuf| path == other;
    if is(layout.viewer_cache()) {
        Entry::Fixed
    } else if is(overrides::unfinished(&layout.overrides())) || is(access::unfinished(&layout.tokens())) {
        Entry::Unfinished
    } else if is(layout.token())
        || is(layout.tokens())
        || is_access_log(layout, path)
        || is(layout.overrides())
        || is(layout.lock())
        || is(layout.identity())
        || is(layout.redaction_secret())
    {
        Entry::Ours
    } else {
        Entry::Foreign
    }
}

/// Whether it is the access log, or one that was set aside.
fn is_access_log(layout: &Layout, path: &Path) -> bool {
    let log = layout.access_log();
    let number = path.to_str().zip(log.to_str()).and_then(|(path, log)| path.strip_prefix(log));
    number.is_some_and(|it| it.is_empty() || it.strip_prefix('.').is_some_and(|it| it.parse::<u32>().is_ok()))
}

/// Whether it is a day's or a bucket's folder with nothing in it.
pub(super) fn is_needless(layout: &Layout, path: &Path) -> bool {
    path != layout.root() && path.is_dir() && std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// Whether others than its owner can get at it. What the viewer shows is public anyway.
pub(super) fn is_open(layout: &Layout, path: &Path) -> bool {
    path != layout.viewer_cache() && mode(path).is_some_and(|mode| mode & 0o077 != 0)
}

fn mode(path: &Path) -> Option<u32> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    (metadata.is_file() || metadata.is_dir()).then(|| metadata.permissions().mode() & 0o777)
}

pub(super) fn check_mode(layout: &Layout, path: &Path, report: &mut Report) {
    if is_open(layout, path) {
        let mode = mode(path).unwrap_or_default();
        let told = format!("mode {mode:03o}: other users can reach it");
        report.find(Finding::new(Kind::OpenMode, relative(layout, path), told));
    }
}

/// A path as it is told: relative to the data dir, `.` for itself.
pub(super) fn relative(layout: &Layout, path: &Path) -> String {
    let relative = path.strip_prefix(layout.root()).unwrap_or(path);
    if relative.as_os_str().is_empty() { ".".to_owned() } else { relative.display().to_string() }
}

/// What is in a folder, by name; nothing if it is gone, or none.
pub(super) fn list(folder: &Path) -> Result<Vec<DirEntry>, VerifyError> {
    let failed = |source| VerifyError::List { path: PathBuf::from(folder), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut listed = entries.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    listed.sort_by_key(DirEntry::file_name);
    Ok(listed)
}
