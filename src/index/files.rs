//! The index's files as files: which one it is, put aside, put in place.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::ids::UnixMillis;
use crate::index::schema::{self, KEPT_ASIDE, with_suffix};

/// What a database and its journal end with.
const PARTS: [&str; 3] = ["-wal", "-shm", ""];
/// What stands between the index's name and the moment when it was set aside.
const ASIDE: &str = ".corrupt-";
/// The same of one that was replaced, for an instant.
const OLD: &str = ".old-";
/// What a database that is being made adds to the index's name, and the one beside it that goes once it is made.
const NEW: &str = ".new";
const NEW_STAGING: &str = ".new-staging";

/// What a file named like the index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The index, or its journal.
    Index,
    /// One that was set aside, or its journal.
    Aside,
    /// One that is being made, or is replaced just now: another is there, or can be made anew.
    Unfinished,
}

/// What the file is whose name continues the index's with `rest`; `None` if it is none of these.
pub fn named(rest: &str) -> Option<Named> {
    // A database that is being made keeps a rollback journal until it has been told of the other kind.
    let rest = ["-wal", "-shm", "-journal"].iter().find_map(|part| rest.strip_suffix(part)).unwrap_or(rest);
    let is_moment = |text: &str| text.parse::<u64>().is_ok();
    match rest {
        "" => Some(Named::Index),
        NEW | NEW_STAGING => Some(Named::Unfinished),
        _ if rest.strip_prefix(ASIDE).is_some_and(is_moment) => Some(Named::Aside),
        _ if rest.strip_prefix(OLD).is_some_and(is_moment) => Some(Named::Unfinished),
        _ => None,
    }
}

/// A file as it stands now: whether it is still the same, and whether it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Look {
    /// Looks at a file; `None` if it is not there, or cannot be looked at.
    pub fn at(path: &Path) -> Option<Look> {
        let it = std::fs::metadata(path).ok()?;
        let modified = (it.mtime(), it.mtime_nsec());
        Some(Look { device: it.dev(), inode: it.ino(), bytes: it.len(), modified })
    }

    /// Whether both are of one file, whatever was written to it between.
    pub fn is_same_file(&self, other: &Look) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// Whether the index was not closed in order: what its last writer did stands in the journal.
pub fn was_left_open(path: &Path) -> bool {
    std::fs::metadata(with_suffix(path, "-wal")).is_ok_and(|it| it.len() > 0)
}

/// The journal of the index at `path`, if it has one.
pub fn journal(path: &Path) -> Option<Look> {
    Look::at(&with_suffix(path, "-wal"))
}

/// Removes a journal that an index left behind, unless another one stands there by now.
///
/// # Errors
/// It cannot be removed.
pub fn remove_journal(path: &Path, journal: &Look) -> io::Result<()> {
    if !Look::at(&with_suffix(path, "-wal")).is_some_and(|now| now.is_same_file(journal)) {
        return Ok(());
    }
    for part in ["-wal", "-shm"] {
        match std::fs::remove_file(with_suffix(path, part)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Makes a connection whose file is gone end without a trace: its journal's name may be another database's by now.
///
/// # Errors
/// The connection refuses.
pub fn forsake(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
}

/// Moves a database and its journal out of the way (`.corrupt-<Unix ms>`), and says where they are. Its writer must be
/// closed; who reads it may go on.
///
/// # Errors
/// A file cannot be renamed.
pub fn set_aside(path: &Path, now: UnixMillis) -> io::Result<PathBuf> {
    let aside = with_suffix(path, &format!("{ASIDE}{}", now.0));
    for part in PARTS {
        match std::fs::rename(with_suffix(path, part), with_suffix(&aside, part)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

/// Deletes what was set aside, but for the newest few ([`KEPT_ASIDE`]), and says what was deleted.
///
/// # Errors
/// The folder cannot be read, or a file not be deleted.
pub fn prune_aside(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|it| it.to_str())) else {
        return Ok(Vec::new());
    };
    let mut aside: Vec<(u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let moment = entry.file_name().to_str().and_then(|it| {
            let rest = it.strip_prefix(name)?.strip_prefix(ASIDE)?;
            PARTS.iter().find_map(|part| rest.strip_suffix(part)?.parse::<u64>().ok())
        });
        aside.extend(moment.map(|moment| (moment, entry.path())));
    }
    let mut moments: Vec<u64> = aside.iter().map(|(moment, _)| *moment).collect();
    moments.sort_unstable();
    moments.dedup();
    moments.truncate(moments.len().saturating_sub(KEPT_ASIDE));
    let mut deleted = Vec::new();
    for (_, path) in aside.into_iter().filter(|(moment, _)| moments.contains(moment)) {
        std::fs::remove_file(&path)?;
        deleted.push(path);
    }
    Ok(deleted)
}

/// Removes what a rebuild that was interrupted left: the new database at `new`, and an old one on its way out. None
/// may be under way.
///
/// # Errors
/// The folder cannot be read, or a file not be removed.
pub fn remove_leftovers(path: &Path, new: &Path) -> io::Result<()> {
    remove(new)?;
    remove(&staging(new))?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|it| it.to_str())) else {
        return Ok(());
    };
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let is_old = |it: &str| it.strip_prefix(name).is_some_and(|rest| rest.starts_with(OLD));
        if entry.file_name().to_str().is_some_and(is_old) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Where what a rebuild needs only meanwhile stands.
pub(super) fn staging(new: &Path) -> PathBuf {
    with_suffix(new, "-staging")
}

/// Removes a database and its journal, where they are there.
///
/// # Errors
/// A file cannot be removed.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    for part in PARTS.into_iter().chain(["-journal"]) {
        match std::fs::remove_file(with_suffix(path, part)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Puts a finished database in the place of the one at `path`, whose writer must be closed; who reads that one may go
/// on. Whenever this is interrupted, a whole index or none stands there.
///
/// # Errors
/// A file cannot be renamed or removed.
pub fn install(new: &Path, path: &Path, now: UnixMillis) -> io::Result<()> {
    let folder = File::open(path.parent().unwrap_or(Path::new(".")))?;
    // A journal that stays behind would be taken for the new one's. It goes with a clean end of the old one, if nobody
    // reads it.
    if let Ok(connection) = schema::open_writer(path) {
        let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        drop(connection);
    }
    if ["-wal", "-shm"].iter().any(|part| with_suffix(path, part).exists()) {
        let old = with_suffix(path, &format!("{OLD}{}", now.0));
        for part in ["", "-wal", "-shm"] {
            match std::fs::rename(with_suffix(path, part), with_suffix(&old, part)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        std::fs::rename(new, path)?;
        remove(&old)?;
    } else {
        std::fs::rename(new, path)?;
    }
    folder.sync_all()
}
