//! Whether an index is whole, and what an error says about it.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::index::IndexError;
use crate::index::files::Look;
use crate::index::schema::{self, OpenError};

/// What is wrong with an index, by what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Its file is another one now, or none: what is there is to be opened.
    Gone,
    /// It is damaged: only a new one helps.
    Damaged,
    /// Somebody else has it locked: to be tried again.
    Locked,
    /// The disk is full, read-only, or fails: to be tried again.
    Unwritable,
    /// Anything else: to be opened again.
    Other,
}

impl IndexError {
    /// What helps against it.
    pub fn trouble(&self) -> Trouble {
        match self {
            IndexError::Sqlite(error) => trouble(error),
            IndexError::Gone => Trouble::Gone,
            IndexError::List(_) => Trouble::Unwritable,
        }
    }
}

impl OpenError {
    /// What helps against it.
    pub fn trouble(&self) -> Trouble {
        match self {
            OpenError::Sqlite { source, .. } => trouble(source),
            OpenError::Corrupt { .. } | OpenError::OtherVersion { .. } => Trouble::Damaged,
            OpenError::File { .. } => Trouble::Unwritable,
        }
    }
}

fn trouble(error: &rusqlite::Error) -> Trouble {
    let rusqlite::Error::SqliteFailure(failure, _) = error else { return Trouble::Other };
    match (failure.code, failure.extended_code) {
        (_, rusqlite::ffi::SQLITE_READONLY_DBMOVED) => Trouble::Gone,
        (_, rusqlite::ffi::SQLITE_IOERR_SHORT_READ) => Trouble::Damaged,
        (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => Trouble::Damaged,
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => Trouble::Locked,
        (
            ErrorCode::SystemIoFailure
            | ErrorCode::ReadOnly
            | ErrorCode::DiskFull
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied,
            _,
        ) => Trouble::Unwritable,
        _ => Trouble::Other,
    }
}

/// What looking through a whole index came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Nothing is wrong with it.
    Whole,
    /// It is damaged, and how.
    Damaged(String),
    /// It could not be looked through, or is another one by now: nothing is known.
    Unknown(String),
}

/// Looks through the whole index (`PRAGMA quick_check`), while others may write it. Reads the whole file.
pub fn check(path: &Path) -> Checked {
    let before = Look::at(path);
    let found = quick_check(path);
    match (before, Look::at(path)) {
        (Some(before), Some(now)) if before.is_same_file(&now) => found,
        _ => Checked::Unknown("the file was replaced meanwhile".into()),
    }
}

fn quick_check(path: &Path) -> Checked {
    let connection = match schema::open_reader(path) {
        Ok(connection) => connection,
        Err(error) if error.needs_rebuild() => return Checked::Damaged(error.to_string()),
        Err(error) => return Checked::Unknown(error.to_string()),
    };
    match connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)) {
        Ok(told) if told == "ok" => Checked::Whole,
        Ok(told) => Checked::Damaged(told),
        Err(error) if schema::is_corrupt(&error) => Checked::Damaged(error.to_string()),
        Err(error) => Checked::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::ids::UnixMillis;
    use crate::index::testing::row;
    use crate::index::{WriterState, insert_batch};

    #[test]
    fn garbage_in_a_page_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.sqlite");
        let mut writer = schema::open_writer(&path).unwrap();
        let rows: Vec<_> = (0..500_u64)
            .map(|n| {
                let segment = "2026-05-27/00000000.jsonl".parse().unwrap();
                (row(n, n as i64), crate::ids::Place { segment, offset: n * 11, bytes: 10 })
            })
            .collect();
        insert_batch(&mut writer, &mut WriterState::new(), &rows).unwrap();
        assert_eq!(check(&path), Checked::Whole);
        drop(writer);
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0x5a; 4096], 4096 * 9).unwrap();
        assert!(matches!(check(&path), Checked::Damaged(_)));
        file.set_len(4096 * 5).unwrap();
        assert!(matches!(check(&path), Checked::Damaged(_)));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(check(&path), Checked::Unknown(_)));
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE other (x)").unwrap();
        assert!(matches!(check(&path), Checked::Damaged(_)));
    }

    #[test]
    fn only_the_newest_of_those_set_aside_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.sqlite");
        for moment in [5, 100, 20, 7] {
            for suffix in ["", "-wal"] {
                std::fs::write(schema::with_suffix(&path, suffix), "x").unwrap();
            }
            crate::index::files::set_aside(&path, UnixMillis(moment)).unwrap();
        }
        std::fs::write(dir.path().join("index.sqlite.corrupt-mine"), "not ours").unwrap();
        let deleted = crate::index::files::prune_aside(&path).unwrap();
        assert_eq!(deleted.len(), 4);
        let mut left: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        let names = ["100", "100-wal", "20", "20-wal", "mine"].map(|it| format!("index.sqlite.corrupt-{it}"));
        assert_eq!(left, names);
    }

    #[test]
    fn what_helps_is_told_from_sqlites_codes() {
        let of =
            |code| IndexError::Sqlite(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)).trouble();
        assert_eq!(of(rusqlite::ffi::SQLITE_BUSY), Trouble::Locked);
        assert_eq!(of(rusqlite::ffi::SQLITE_FULL), Trouble::Unwritable);
        assert_eq!(of(rusqlite::ffi::SQLITE_READONLY), Trouble::Unwritable);
        assert_eq!(of(rusqlite::ffi::SQLITE_READONLY_DBMOVED), Trouble::Gone);
        assert_eq!(of(rusqlite::ffi::SQLITE_IOERR_WRITE), Trouble::Unwritable);
        assert_eq!(of(rusqlite::ffi::SQLITE_CORRUPT_INDEX), Trouble::Damaged);
        assert_eq!(of(rusqlite::ffi::SQLITE_NOTADB), Trouble::Damaged);
        assert_eq!(of(rusqlite::ffi::SQLITE_CONSTRAINT), Trouble::Other);
    }
}
