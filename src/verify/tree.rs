//! Folders and files: whose they are, and who may read them.

use std::fs::DirEntry;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Beside, Finding, Kind, Report, VerifyError};
use crate::ids::{Date, ShortKey};
use crate::store::layout::{Layout, NamedFile};

/// What an entry of the data dir is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Something that belongs there, as it is.
    Ours,
    /// A folder that may hold anything.
    Cache,
    KeptAside,
    IndexSetAside,
    /// Half of something that is made anew of what is still there.
    Unfinished,
    Spool,
    HalfDeleted,
    Foreign,
}

/// Looks at every file and folder, the contents of media folders and the viewer's cache left out.
pub(super) fn check(layout: &Layout, beside: Beside, report: &mut Report) -> Result<(), VerifyError> {
    if !layout.root().exists() {
        let source = io::ErrorKind::NotFound.into();
        return Err(VerifyError::List { path: layout.root().to_owned(), source });
    }
    check_mode(layout, layout.root(), report);
    walk(layout, &mut |path, entry| {
        let name = || relative(layout, path);
        let find = |report: &mut Report, kind, what: String| report.find(Finding::new(kind, name(), what));
        if entry != Entry::Foreign {
            check_mode(layout, path, report);
        }
        let metadata = std::fs::symlink_metadata(path);
        let bytes = metadata.as_ref().map_or(0, std::fs::Metadata::len);
        match entry {
            Entry::Ours | Entry::Cache => {
                if beside == Beside::Nobody && is_needless(layout, path) {
                    find(report, Kind::Empty, "an empty folder".into());
                } else if metadata.is_ok_and(|it| it.is_file() && it.len() == 0) && layout.parse_segment(path).is_some()
                {
                    find(report, Kind::Empty, "a file without a line".into());
                }
            }
            Entry::KeptAside => find(report, Kind::KeptAside, format!("{bytes} bytes of torn or bad lines")),
            Entry::IndexSetAside => find(report, Kind::IndexSetAside, format!("{bytes} bytes")),
            Entry::Spool => {
                if beside == Beside::Nobody {
                    find(report, Kind::SpoolLeft, format!("{bytes} bytes"));
                }
            }
            // A running recorder is at work on it.
            Entry::Unfinished | Entry::HalfDeleted if beside == Beside::Recorder => {}
            Entry::Unfinished => find(report, Kind::UnfinishedFile, format!("{bytes} bytes")),
            Entry::HalfDeleted => find(report, Kind::HalfDeleted, "its deletion was begun".into()),
            Entry::Foreign => find(report, Kind::ForeignFile, "not api-log's".into()),
        }
    })
}

/// Gives every entry, folders before what is in them.
pub(super) fn walk(layout: &Layout, each: &mut dyn FnMut(&Path, Entry)) -> Result<(), VerifyError> {
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
                each(&path, Entry::Ours);
                list(&path)?.iter().for_each(|spool| each(&spool.path(), Entry::Spool));
            }
            _ => each(&path, of_root(layout, &path, &name)),
        }
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
            None if is_unfinished(layout, date, &name) => Entry::Unfinished,
            None => Entry::Foreign,
        };
        each(&path, entry);
    }
    Ok(())
}

/// `<segment>.new` is being sealed, `.<segment>.repairing` is being rewritten.
fn is_unfinished(layout: &Layout, date: Date, name: &str) -> bool {
    let of_segment = |name: &str| matches!(layout.parse_name(date, name), Some((_, NamedFile::Form(_))));
    let rewritten = name.strip_prefix('.').and_then(|it| it.strip_suffix(super::rewrite::SUFFIX));
    name.strip_suffix(".new").is_some_and(of_segment) || rewritten.is_some_and(of_segment)
}

fn of_root(layout: &Layout, path: &Path, name: &str) -> Entry {
    let index = relative(layout, &layout.index());
    let is_part = |suffix: &str| ["", "-wal", "-shm", "-journal"].contains(&suffix);
    match name.strip_prefix(&index) {
        Some(suffix) if is_part(suffix) => return Entry::Ours,
        Some(suffix) if suffix.starts_with(".corrupt-") => return Entry::IndexSetAside,
        Some(suffix) if suffix.starts_with(".new") || suffix.starts_with(".old-") => return Entry::Unfinished,
        _ => {}
    }
    if path == layout.viewer_cache() {
        return Entry::Cache;
    }
    let ours = [layout.token(), layout.overrides(), layout.lock()];
    // Of the running program's other files only their names are known here.
    if ours.iter().any(|it| it == path) || name == "identity" { Entry::Ours } else { Entry::Foreign }
}

/// Whether it is a day's or a bucket's folder with nothing in it.
pub(super) fn is_needless(layout: &Layout, path: &Path) -> bool {
    let is_fixed = path == layout.root() || path == layout.tmp() || path == layout.viewer_cache();
    !is_fixed && path.is_dir() && std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
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

/// What is in a folder, by name; nothing if it is gone.
pub(super) fn list(folder: &Path) -> Result<Vec<DirEntry>, VerifyError> {
    let failed = |source| VerifyError::List { path: PathBuf::from(folder), source };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut listed = entries.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    listed.sort_by_key(DirEntry::file_name);
    Ok(listed)
}
