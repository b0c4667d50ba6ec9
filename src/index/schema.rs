//! The database: how it is opened, what it is made of, and when it is not ours.

use std::ffi::OsString;
use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::ids::UnixMillis;
use crate::index::files::set_aside;
use crate::index::migrate::{self, migrations_from};
use crate::index::query;

/// `PRAGMA user_version`: the version of the conversations' hashes, and in its last three digits that of the schema
/// below, raised with every change to it. An index of an earlier schema is migrated where it stands; one of other
/// hashes, of a later schema or of another make is set aside and built anew from the files.
pub const VERSION: i32 = 1000 * crate::session::HASH_VERSION as i32 + migrate::LATEST;

/// Tables and view.
pub(super) const TABLES: &str = concat!(
    include_str!("schema.sql"),
    include_str!("schema_classes.sql"),
    include_str!("schema_rollups.sql"),
    include_str!("schema_fresh.sql"),
    include_str!("schema_view.sql")
);
/// The indexes by which traces are once each, and found as parents.
pub(super) const LINK_INDEXES: &str = include_str!("schema_links.sql");
/// The other indexes.
pub(super) const LIST_INDEXES: &str = concat!(include_str!("schema_lists.sql"), include_str!("schema_filters.sql"));

/// How many databases that were set aside are kept.
pub const KEPT_ASIDE: usize = 2;

/// An index that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database cannot be used now; it may be later.
    #[error("cannot open index {path}: {source}")]
    Sqlite {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file is no database, or a damaged one.
    #[error("index {path} is damaged: {source}")]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A database of another version, or one that something else made.
    #[error("index {path} has schema version {found}, not {VERSION}")]
    OtherVersion {
        /// Which file.
        path: PathBuf,
        /// What it says; 0 if it says nothing.
        found: i32,
    },
    /// The file cannot be made, or not be kept from others.
    #[error("cannot make index {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl OpenError {
    /// Whether setting the file aside and building a new one helps.
    pub fn needs_rebuild(&self) -> bool {
        matches!(self, OpenError::Corrupt { .. } | OpenError::OtherVersion { .. })
    }
}

/// Opens the index for writing, making it (0600) if there is none.
///
/// # Errors
/// See [`OpenError`].
pub fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    keep_private(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(|it| told(path, it))?;
    prepare_writer(&connection).map_err(|it| told(path, it))?;
    let found: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(|it| told(path, it))?;
    let is_empty = connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0));
    if found == 0 && is_empty.map_err(|it| told(path, it))? {
        create(&connection).map_err(|it| told(path, it))?;
    } else if found != VERSION {
        let migrations = migrations_from(found).ok_or(OpenError::OtherVersion { path: path.to_owned(), found })?;
        migrate::run(&mut connection, migrations).map_err(|it| told(path, it))?;
    }
    Ok(connection)
}

/// Opens the index for writing; one that is damaged or of another version is set aside first
/// (`index.sqlite.corrupt-<Unix ms>`, with what belongs to it), and a new one is made. Says where it is then.
///
/// # Errors
/// See [`OpenError`].
pub fn open_or_replace(path: &Path, now: UnixMillis) -> Result<(Connection, Option<PathBuf>), OpenError> {
    match open_writer(path) {
        Err(error) if error.needs_rebuild() => {
            let aside = set_aside(path, now).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
            Ok((open_writer(path)?, Some(aside)))
        }
        other => other.map(|connection| (connection, None)),
    }
}

/// Opens the index for reading only.
///
/// # Errors
/// See [`OpenError`]; a missing file is one of [`OpenError::Sqlite`].
pub fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|it| told(path, it))?;
    prepare_reader(&connection).map_err(|it| told(path, it))?;
    let found: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(|it| told(path, it))?;
    if found != VERSION {
        return Err(OpenError::OtherVersion { path: path.to_owned(), found });
    }
    Ok(connection)
}

/// Whether SQLite says that the file is damaged or no database.
pub fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// What every connection is told.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_millis(5000))?;
    connection.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = ON; PRAGMA synchronous = NORMAL;")?;
    // Without it, SQLite plans a statement anew for every value bound beside a partial index: half of an insert.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(128);
    query::register(connection)
}

fn prepare_writer(connection: &Connection) -> rusqlite::Result<()> {
    prepare(connection)?;
    // Upper bounds, not reservations: the cache grows with the pages in use. A large one and rare checkpoints
    // let a page that many batches touch be written once.
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 6000; PRAGMA cache_size = -262144;")
}

/// Gives back the memory of pages that are not in use, which come back from the file when they are wanted.
///
/// # Errors
/// The connection refuses.
pub fn release_memory(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("PRAGMA shrink_memory")
}

fn prepare_reader(connection: &Connection) -> rusqlite::Result<()> {
    prepare(connection)?;
    connection.execute_batch("PRAGMA query_only = ON; PRAGMA cache_size = -16384;")
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN IMMEDIATE; {TABLES}; {LINK_INDEXES}; {LIST_INDEXES}; PRAGMA user_version = {VERSION}; COMMIT;"
    ))
}

/// Makes the file if need be, and keeps it from others; SQLite gives its journal the same mode.
pub(super) fn keep_private(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(())
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

pub(super) fn told(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    if is_corrupt(&source) { OpenError::Corrupt { path, source } } else { OpenError::Sqlite { path, source } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_index_is_private_and_opens_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.sqlite");
        let writer = open_writer(&path).unwrap();
        writer.execute("INSERT INTO words (text) VALUES ('x')", []).unwrap();
        for suffix in ["", "-wal", "-shm"] {
            let mode = std::fs::metadata(with_suffix(&path, suffix)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{suffix}");
        }
        let reader = open_reader(&path).unwrap();
        assert_eq!(reader.query_row("SELECT text FROM words", [], |row| row.get::<_, String>(0)).unwrap(), "x");
        assert!(reader.execute("DELETE FROM words", []).is_err());
        for connection in [&reader, &writer] {
            assert!(connection.db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG).unwrap());
        }
        drop((writer, reader));
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        open_writer(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_not_our_index_is_set_aside_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.sqlite");
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE traces (id TEXT)").unwrap();
        drop(other);
        assert!(matches!(open_writer(&path), Err(OpenError::OtherVersion { found: 0, .. })));
        let (_, aside) = open_or_replace(&path, UnixMillis(7)).unwrap();
        assert_eq!(aside.unwrap(), dir.path().join("index.sqlite.corrupt-7"));
        assert!(open_or_replace(&path, UnixMillis(8)).unwrap().1.is_none());
        std::fs::write(&path, "no database at all, whatever its name says").unwrap();
        for suffix in ["-wal", "-shm"] {
            std::fs::remove_file(with_suffix(&path, suffix)).ok();
        }
        assert!(matches!(open_writer(&path), Err(OpenError::Corrupt { .. })));
        assert!(open_or_replace(&path, UnixMillis(9)).unwrap().1.is_some());
        assert!(dir.path().join("index.sqlite.corrupt-9").exists());
    }

    #[test]
    fn a_reader_does_not_make_an_index() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.sqlite");
        assert!(open_reader(&path).is_err());
        assert!(!path.exists());
    }
}
