//! An index that begins at the present, for as long as a whole one is made beside it.

use rusqlite::Connection;

use crate::index::IndexError;
use crate::index::state::WriterState;
use crate::store::layout::{Form, Layout};

/// `PRAGMA application_id` of an index in which older traces are missing, and will stay so.
const INTERIM: i32 = 0x4150_4C49;

/// Makes an index that has no rows yet take new ones at once: what stands in the files already counts as indexed, for
/// a rebuild does that. The index says so of itself ([`is_interim`]), so that a restart does not take it for whole.
///
/// # Errors
/// The database fails, or the data dir cannot be listed; then nothing has changed.
pub fn make_interim(connection: &mut Connection, state: &mut WriterState, layout: &Layout) -> Result<(), IndexError> {
    let found = layout.segments().map_err(IndexError::List)?;
    state.transact(connection, |index, memory| -> rusqlite::Result<()> {
        index.pragma_update(None, "application_id", INTERIM)?;
        for segment in &found {
            let plain = std::fs::metadata(layout.segment(segment.id, Form::Plain));
            let (end, is_done) = plain.map_or((0, true), |it| (it.len(), false));
            memory.advance(index, segment.id, end, 0, is_done)?;
        }
        Ok(())
    })?;
    found.iter().for_each(|segment| state.mark_caught_up(segment.id));
    Ok(())
}

/// Whether older traces are missing in this index, and a rebuild has to bring them.
///
/// # Errors
/// The database fails.
pub fn is_interim(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA application_id", [], |row| row.get(0)).map(|id: i32| id == INTERIM)
}

/// Whether an index has no rows at all.
///
/// # Errors
/// The database fails.
pub fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM rows)", [], |row| row.get(0))
}
