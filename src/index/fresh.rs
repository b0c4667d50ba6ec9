//! Fresh rows: where they begin.
//!
//! Rows that come faster than they can be put into every index are stored *fresh*: they are found by id, by time and by
//! segment, and in no session. [`merge_fresh`](super::merge_fresh) merges them later, in the order of their numbers, so
//! that all rows before the first fresh one are merged, and all others are not.

use rusqlite::{Connection, OptionalExtension};

/// Which rows are fresh. There may be none any more, where their segment was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fresh {
    /// They begin with this row.
    pub(super) first_row: i64,
    /// None of them began before, in Unix milliseconds.
    pub(super) since: i64,
}

impl Fresh {
    /// What the database says; `None` if every row is merged.
    pub(super) fn load(index: &Connection) -> rusqlite::Result<Option<Fresh>> {
        index
            .prepare_cached("SELECT first_row, since FROM fresh_rows")?
            .query_row([], |row| Ok(Fresh { first_row: row.get(0)?, since: row.get(1)? }))
            .optional()
    }

    /// Says so in the database.
    pub(super) fn store(index: &Connection, fresh: Option<Fresh>) -> rusqlite::Result<()> {
        index.prepare_cached("DELETE FROM fresh_rows")?.execute([])?;
        if let Some(Fresh { first_row, since }) = fresh {
            index
                .prepare_cached("INSERT INTO fresh_rows (first_row, since) VALUES (?, ?)")?
                .execute([first_row, since])?;
        }
        Ok(())
    }
}
