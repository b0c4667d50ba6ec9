//! Rows out of the index: those of a segment that is gone.

use std::collections::HashMap;

use rusqlite::Connection;

use crate::ids::SegmentId;
use crate::index::awaiting::Awaiting;
use crate::index::sessions::{Removed, subtract};
use crate::index::state::WriterState;
use crate::index::stats::rollup::{self, Facts, Group, Rollups};
use crate::index::{IndexError, texts};

/// Rows per transaction, so that other work waits for a full day's removal only as long as for a batch.
const CHUNK_ROWS: i64 = 4096;

/// Removes a segment's rows, then its checkpoint, and says how many rows there were. Traces that continue
/// one of them keep naming it as their parent or root.
///
/// # Errors
/// The database fails. What is left is removed by the next call.
pub fn remove_segment(
    connection: &mut Connection,
    state: &mut WriterState,
    segment: SegmentId,
) -> Result<u64, IndexError> {
    let mut total = 0;
    loop {
        let removed = state.transact(connection, |index, memory| -> rusqlite::Result<u64> {
            let Some(checkpoint) = memory.segments.get(&segment).copied() else { return Ok(0) };
            let removed = remove_rows(index, checkpoint.segment, memory.keeps_texts)?;
            if removed == 0 {
                memory.segments.remove(&segment);
                index.prepare_cached("DELETE FROM segments WHERE segment = ?")?.execute([checkpoint.segment])?;
                // Those that awaited better parents are forgotten with their rows.
                let gone = "DELETE FROM awaiting WHERE NOT EXISTS (SELECT 1 FROM rows WHERE rows.row = awaiting.row)";
                index.prepare_cached(gone)?.execute([])?;
                memory.awaiting = Awaiting::load(index)?;
            }
            Ok(removed)
        })?;
        total += removed;
        if removed == 0 {
            state.mark_caught_up(segment);
            return Ok(total);
        }
    }
}

fn remove_rows(index: &Connection, segment: i64, has_texts: bool) -> rusqlite::Result<u64> {
    let mut rows = index.prepare_cached(&format!(
        "SELECT row, session, status, {} FROM rows WHERE segment = ? LIMIT ?",
        rollup::COLUMNS
    ))?;
    let rows: Vec<(i64, i64, i32, (Group, Facts))> = rows
        .query_map([segment, CHUNK_ROWS], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, rollup::read(row, 3)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut sums: HashMap<i64, Removed> = HashMap::new();
    let mut rollups = Rollups::default();
    let mut delete = index.prepare_cached("DELETE FROM rows WHERE row = ?")?;
    for (row, session, status, (group, facts)) in &rows {
        delete.execute([row])?;
        if has_texts {
            texts::remove(index, *row)?;
        }
        sums.entry(*session).or_default().count(*status);
        rollups.subtract(*group, facts);
    }
    rollups.flush(index)?;
    for (session, removed) in sums {
        subtract(index, session, removed)?;
    }
    Ok(rows.len() as u64)
}
