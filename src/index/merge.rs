//! Fresh rows into every index, and into their conversations.

use rusqlite::{Connection, params};

use crate::ids::{TraceId, UnixMillis};
use crate::index::IndexError;
use crate::index::awaiting;
use crate::index::insert::Insertion;
use crate::index::parent::{Child, Newcomer};
use crate::index::state::WriterState;

/// What a merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// How many rows were merged.
    pub merged: usize,
    /// How many are fresh still, at most.
    pub left: u64,
}

/// Merges the oldest fresh rows, up to `most`, in one transaction. What it makes of them is what would be there had they
/// never been fresh.
///
/// # Errors
/// The database fails: nothing was merged.
pub fn merge_fresh(connection: &mut Connection, state: &mut WriterState, most: usize) -> Result<Merged, IndexError> {
    state.transact(connection, |index, memory| -> Result<Merged, IndexError> {
        let Some(fresh) = memory.fresh else { return Ok(Merged::default()) };
        let rows = fresh_rows(index, fresh.first_row, most)?;
        let merged = rows.len();
        let mut insertion = Insertion::new(index, memory);
        for (number, newcomer, child) in rows {
            insertion.merge(number, &newcomer, child)?;
        }
        // Fewer are left than were counted where a segment was removed.
        if merged < most || insertion.memory.fresh_left() == 0 {
            insertion.memory.fresh = None;
        }
        insertion.finish()?;
        Ok(Merged { merged, left: memory.fresh_left() })
    })
}

fn fresh_rows(index: &Connection, first_row: i64, most: usize) -> rusqlite::Result<Vec<(i64, Newcomer, Child)>> {
    let mut statement = index.prepare_cached(
        "SELECT row, id, ts_start, duration_ms, status, prefix, answer, response, conversation, key, links \
         FROM rows LEFT JOIN awaiting USING (row) WHERE row >= ? ORDER BY row LIMIT ?",
    )?;
    let mut found = statement.query(params![first_row, most as i64])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        // Only rows of traces are ever written; the id of a damaged one is nobody's.
        let id = row.get_ref(1)?.as_str()?.parse().unwrap_or(TraceId::from_bytes([0; 16]));
        let (ts_start, duration_ms): (i64, i64) = (row.get(2)?, row.get(3)?);
        let ts_start = UnixMillis(ts_start);
        let newcomer = Newcomer {
            id,
            ts_start,
            ts_end: UnixMillis(ts_start.0.saturating_add(duration_ms)),
            status: row.get(4)?,
            prefix: row.get(5)?,
            answer: row.get(6)?,
            response: row.get(7)?,
            conversation: row.get(8)?,
        };
        let links = row.get_ref(10)?.as_blob_or_null()?.unwrap_or_default();
        rows.push((row.get(0)?, newcomer, awaiting::decode(links, id, ts_start, row.get(9)?)));
    }
    Ok(rows)
}
