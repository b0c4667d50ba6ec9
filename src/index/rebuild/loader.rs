//! The database that is made: loaded in bulk, linked, and indexed last.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use crate::ids::SegmentId;
use crate::index::awaiting;
use crate::index::files::{remove, staging};
use crate::index::insert::{Insertion, Linked};
use crate::index::parent::{Child, Parent};
use crate::index::rebuild::link;
use crate::index::rebuild::plan::Parsed;
use crate::index::schema::{LINK_INDEXES, LIST_INDEXES, OpenError, TABLES, VERSION, keep_private, told};
use crate::index::state::Memory;
use crate::index::stats::rollup;
use crate::index::texts;
use crate::session::Method;

/// What a rebuild found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows there are.
    pub rows: u64,
    /// Lines of traces that stand in an earlier line already.
    pub known: u64,
    /// Lines that are no trace, passed over.
    pub bad_lines: u64,
    /// Segments that could not be read to their end, and why. Catching up tries them again.
    pub unreadable: Vec<(SegmentId, String)>,
}

/// What comes after the lines are loaded, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Traces are made once each, and parents' indexes.
    Sort,
    /// Parents and sessions are found.
    Link,
    /// What lists need is indexed.
    Index,
    /// It is forced to the disk.
    Sync,
}

/// Makes a database of what was parsed. Nobody else may use it until it is finished; dropped before, it is good for
/// nothing.
pub struct Loader {
    index: Connection,
    memory: Memory,
    path: PathBuf,
    damaged: BTreeSet<SegmentId>,
    report: Report,
}

/// What stands in a row's place for its parent until it is known: as long as a parent, so that rows keep their size.
const UNKNOWN_PARENT: &str = "00000000000000000000000000";

impl Loader {
    /// Begins a new database at `path`, with so many bytes of each trace's texts, if any; what an interrupted rebuild left there is removed.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn create(path: &Path, text_bytes: Option<usize>) -> Result<Loader, OpenError> {
        let file = |source| OpenError::File { path: path.to_owned(), source };
        let staging = staging(path);
        remove(path).and_then(|()| remove(&staging)).map_err(file)?;
        keep_private(path).and_then(|()| keep_private(&staging)).map_err(file)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let begin = || -> rusqlite::Result<(Connection, Memory)> {
            let index = Connection::open_with_flags(path, flags)?;
            index.set_prepared_statement_cache_capacity(128);
            index.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
            index.execute("ATTACH ? AS staging", [staging.to_string_lossy()])?;
            // It is made again if it is interrupted, so nothing is forced to the disk before the end. A journal in memory
            // costs nothing, for all pages are new, and takes back an index that finds a trace twice. Sorters spill into files.
            index.execute_batch(&format!(
                "PRAGMA journal_mode = MEMORY; PRAGMA staging.journal_mode = MEMORY; PRAGMA synchronous = OFF;
                 PRAGMA staging.synchronous = OFF; PRAGMA temp_store = FILE; PRAGMA threads = 1;
                 PRAGMA cache_size = {CACHE}; PRAGMA staging.cache_size = -4096;
                 BEGIN; {TABLES};
                 CREATE TABLE staging.links (row INTEGER PRIMARY KEY, id TEXT, ts_start INTEGER, key INTEGER, links BLOB);
                 CREATE TABLE staging.found (row INTEGER PRIMARY KEY, ts_start INTEGER, id TEXT, parent INTEGER,
                     parent_id TEXT, method INTEGER);"
            ))?;
            if let Some(bytes) = text_bytes {
                texts::create(&index, bytes)?;
            }
            let memory = Memory::load(&index)?;
            Ok((index, memory))
        };
        let (index, memory) = begin().map_err(|error| told(path, error))?;
        Ok(Loader { index, memory, path: path.to_owned(), damaged: BTreeSet::new(), report: Report::default() })
    }

    /// Stops what another thread has it do: that fails.
    pub fn stopper(&self) -> rusqlite::InterruptHandle {
        self.index.get_interrupt_handle()
    }

    /// Takes what was parsed. Of each segment everything must come in its order, of all segments in the plan's.
    ///
    /// # Errors
    /// The database cannot be written: it is good for nothing then.
    pub fn load(&mut self, parsed: Parsed) -> rusqlite::Result<()> {
        let Parsed { segment, batch, is_done, .. } = parsed;
        // Behind what cannot be read nothing is indexed, so that the checkpoint says what is.
        if self.damaged.contains(&segment) {
            return Ok(());
        }
        let index = &self.index;
        let mut links =
            index.prepare_cached("INSERT INTO staging.links (row, id, ts_start, key, links) VALUES (?, ?, ?, ?, ?)")?;
        let mut insertion = Insertion::new(index, &mut self.memory);
        for (row, place) in &batch.rows {
            let key = insertion.memory.key(index, row.key)?;
            let number = insertion.memory.next_row;
            if place.offset == 0 {
                insertion.memory.begin_with(index, segment, row.id)?;
            }
            let child = Child::of(row, key);
            let has_links = child.has_links();
            // Every trace is its own session at first.
            let unknown = Parent { id: UNKNOWN_PARENT.into(), session: number, method: Method::Prefix, length: 0 };
            let linked = Linked::To { session: number, parent: has_links.then_some(&unknown) };
            insertion.store(row, *place, key, linked)?;
            insertion.memory.next_row += 1;
            if has_links {
                let id = child.id.to_string();
                links.execute(params![number, id, child.ts_start.0, key, awaiting::encode(&child)])?;
            }
        }
        // A piece that a line goes through tells no end.
        let end = insertion.memory.segments.get(&segment).map_or(batch.end, |it| it.indexed_to.max(batch.end));
        insertion.advance(segment, end, batch.bad_lines, is_done)?;
        insertion.finish()?;
        self.report.bad_lines += batch.bad_lines;
        if let Some(error) = batch.damage {
            self.damaged.insert(segment);
            self.report.unreadable.push((segment, error.to_string()));
        }
        Ok(())
    }

    /// Makes the rest, forces it to the disk, and closes it. `tell` hears of each step before it begins.
    ///
    /// # Errors
    /// The database cannot be written, or was stopped: it is good for nothing then.
    pub fn finish(mut self, mut tell: impl FnMut(Step)) -> Result<Report, FinishError> {
        tell(Step::Sort);
        self.index_links()?;
        tell(Step::Link);
        link::find_parents(&self.index, &mut self.memory)?;
        link::join_sessions(&self.index)?;
        tell(Step::Index);
        self.index.execute_batch(LIST_INDEXES)?;
        link::sum_sessions(&self.index)?;
        let rows: i64 = self.index.query_row("SELECT count(*) FROM rows", [], |row| row.get(0))?;
        self.report.rows = rows.cast_unsigned();
        self.index.execute_batch(&format!("PRAGMA user_version = {VERSION}; COMMIT; DETACH staging;"))?;
        tell(Step::Sync);
        let Loader { index, path, report, .. } = self;
        index.close().map_err(|(_, error)| error)?;
        let sync = || {
            remove(&staging(&path))?;
            File::open(&path)?.sync_all()
        };
        sync().map_err(|source| FinishError::Sync { path: path.clone(), source })?;
        Ok(report)
    }

    /// Of a trace written twice its first line counts, as ever.
    fn index_links(&mut self) -> rusqlite::Result<()> {
        match self.index.execute_batch(LINK_INDEXES) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                self.report.known = self.remove_repeated()?;
                self.index.execute_batch(LINK_INDEXES)
            }
            other => other,
        }
    }

    fn remove_repeated(&self) -> rusqlite::Result<u64> {
        const REPEATED: &str = "EXISTS (SELECT 1 FROM rows AS first WHERE first.id = rows.id AND first.row < rows.row)";
        self.index.execute_batch("CREATE INDEX repeated ON rows (id)")?;
        rollup::subtract_where(&self.index, REPEATED)?;
        if self.memory.keeps_texts {
            let mut repeated = self.index.prepare(&format!("SELECT row FROM rows WHERE {REPEATED}"))?;
            let repeated: Vec<i64> = repeated.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            repeated.iter().try_for_each(|row| texts::remove(&self.index, *row))?;
        }
        let removed = self.index.execute(&format!("DELETE FROM rows WHERE {REPEATED}"), [])?;
        self.index.execute_batch(
            "DROP INDEX repeated;
             DELETE FROM staging.links WHERE NOT EXISTS (SELECT 1 FROM rows WHERE rows.row = links.row);",
        )?;
        Ok(removed as u64)
    }
}

/// Kibibytes, negative as SQLite wants them: of pages, and again of what a sorter gathers before it spills.
const CACHE: i64 = -65_536;

/// Why a loaded database could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// The database failed, or was stopped.
    #[error("index: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// It could not be forced to the disk.
    #[error("cannot sync {path}: {source}")]
    Sync {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
