//! Parents and sessions of rows that are all there already.

use rusqlite::{Connection, params};

use crate::ids::{TraceId, UnixMillis};
use crate::index::awaiting::{self, WINDOW_ROWS};
use crate::index::sessions::Sum;
use crate::index::state::Memory;

/// Finds the parents of those rows that may have one. A row's session still is the row itself, so that a parent's
/// session says which row it is.
pub(super) fn find_parents(index: &Connection, memory: &mut Memory) -> rusqlite::Result<()> {
    let horizon = memory.next_row - WINDOW_ROWS;
    let mut links = index.prepare("SELECT row, id, ts_start, key, links FROM staging.links ORDER BY row")?;
    let mut none = index.prepare("UPDATE rows SET parent = NULL, session_method = NULL WHERE row = ?")?;
    let mut found = index.prepare("INSERT INTO staging.found VALUES (?, ?, ?, ?, ?, ?)")?;
    let mut rows = links.query([])?;
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let text = row.get_ref(1)?.as_str()?;
        let Ok(id) = text.parse::<TraceId>() else { continue };
        let child = awaiting::decode(row.get_ref(4)?.as_blob()?, id, UnixMillis(row.get(2)?), row.get(3)?);
        let parent = child.find_parent(index)?;
        match &parent {
            None => none.execute([number])?,
            Some(parent) => {
                let method = memory.word(index, parent.method.name())?;
                found.execute(params![number, child.ts_start.0, text, parent.session, parent.id, method])?
            }
        };
        if number >= horizon {
            memory.awaiting.push(index, number, child, parent.as_ref())?;
        }
    }
    Ok(())
}

/// Puts each row that has a parent into its parent's session. A parent stands before its children in the order of start
/// and id, so one pass does.
pub(super) fn join_sessions(index: &Connection) -> rusqlite::Result<()> {
    let mut found = index.prepare("SELECT row, parent, parent_id, method FROM staging.found ORDER BY ts_start, id")?;
    let mut update = index.prepare(
        "UPDATE rows SET parent = ?3, session_method = ?4, session = (SELECT session FROM rows WHERE row = ?2) \
         WHERE row = ?1",
    )?;
    let mut rows = found.query([])?;
    while let Some(row) = rows.next()? {
        let (number, parent, method): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(3)?);
        update.execute(params![number, parent, row.get_ref(2)?.as_str()?, method])?;
    }
    Ok(())
}

/// Sums each session from its rows, which its index gives one session after the other.
pub(super) fn sum_sessions(index: &Connection) -> rusqlite::Result<()> {
    let mut statement = index
        .prepare("SELECT session, ts_start, id, status FROM rows WHERE fresh IS NULL ORDER BY session, ts_start, id")?;
    let mut rows = statement.query([])?;
    let mut current: Option<(i64, Sum)> = None;
    while let Some(row) = rows.next()? {
        let (session, ts_start, status): (i64, i64, i32) = (row.get(0)?, row.get(1)?, row.get(3)?);
        let Ok(id) = row.get_ref(2)?.as_str()?.parse::<TraceId>() else { continue };
        if let Some((known, sum)) = &current
            && *known != session
        {
            sum.insert(index, *known)?;
            current = None;
        }
        let (_, sum) = current.get_or_insert_with(|| (session, Sum::beginning_with(UnixMillis(ts_start), id)));
        // Its first row is its root: it has none before it.
        sum.count(UnixMillis(ts_start), id, status);
    }
    if let Some((session, sum)) = current {
        sum.insert(index, session)?;
    }
    Ok(())
}
