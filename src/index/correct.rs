//! Corrections of single rows.

use rusqlite::{Connection, params};

use crate::ids::TraceId;
use crate::index::IndexError;
use crate::trace::Row;

/// Sets how many attachments of a trace there are. An unknown id changes nothing.
///
/// # Errors
/// The database fails.
pub fn set_media_count(connection: &mut Connection, id: TraceId, count: u32) -> Result<(), IndexError> {
    connection
        .prepare_cached("UPDATE rows SET media_count = ?2 WHERE id = ?1")?
        .execute(params![id.to_string(), count])?;
    Ok(())
}

/// Makes a row tell of at least as many attachments as this one does.
pub(super) fn raise_media_count(connection: &Connection, row: &Row) -> rusqlite::Result<()> {
    if row.media_count > 0 {
        connection
            .prepare_cached("UPDATE rows SET media_count = ?2 WHERE id = ?1 AND media_count < ?2")?
            .execute(params![row.id.to_string(), row.media_count])?;
    }
    Ok(())
}
