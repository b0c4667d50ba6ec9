//! Rows out of the index: those of a segment that is gone.

use rusqlite::Connection;

use crate::ids::SegmentId;
use crate::index::IndexError;
use crate::index::sessions::sum_anew;
use crate::index::state::{Memory, WriterState};

/// Removes a segment's rows and its checkpoint, and says how many rows there were. Traces that continue
/// one of them keep naming it as their parent or root.
///
/// # Errors
/// The database fails: nothing was removed.
pub fn remove_segment(
    connection: &mut Connection,
    state: &mut WriterState,
    segment: SegmentId,
) -> Result<u64, IndexError> {
    let removed =
        state.transact(connection, |index, memory| remove(index, memory, segment).map_err(IndexError::from))?;
    state.mark_caught_up(segment);
    Ok(removed)
}

pub(super) fn remove(index: &Connection, memory: &mut Memory, id: SegmentId) -> rusqlite::Result<u64> {
    let Some(checkpoint) = memory.segments.remove(&id) else { return Ok(0) };
    let touched: Vec<i64> = index
        .prepare_cached("SELECT DISTINCT session FROM rows WHERE segment = ?")?
        .query_map([checkpoint.segment], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let removed = index.prepare_cached("DELETE FROM rows WHERE segment = ?")?.execute([checkpoint.segment])?;
    index.prepare_cached("DELETE FROM segments WHERE segment = ?")?.execute([checkpoint.segment])?;
    for session in touched {
        sum_anew(index, session)?;
    }
    // Children among them are forgotten too; the table holds the others.
    index
        .prepare_cached("DELETE FROM awaiting WHERE NOT EXISTS (SELECT 1 FROM rows WHERE rows.row = awaiting.row)")?
        .execute([])?;
    memory.awaiting = super::awaiting::Awaiting::load(index)?;
    Ok(removed as u64)
}
