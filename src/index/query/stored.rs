//! Rows as they are stored, to be held against the lines that they were made of.

use rusqlite::{Connection, OptionalExtension, Row as SqlRow};

use super::{Names, SELECT, TraceRow};
use crate::ids::{SegmentId, UnixMillis};
use crate::index::parent::as_integer;
use crate::trace::Row;

/// A row with what links it to others.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRow {
    /// What readers see of it.
    pub trace: TraceRow,
    links: Links,
}

/// What the index stores of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Links {
    prefix_len: Option<i64>,
    prefix: Option<i64>,
    answer: Option<i64>,
    response: Option<i64>,
    conversation: Option<i64>,
}

/// The rows of a segment by offset, one at a time. Belongs to one snapshot, which its maker holds.
pub struct StoredRows<'s> {
    rows: rusqlite::Rows<'s>,
    names: Names<'s>,
}

/// The statement behind [`StoredRows`].
///
/// # Errors
/// The database fails.
pub fn prepare(connection: &Connection) -> rusqlite::Result<rusqlite::Statement<'_>> {
    let columns = SELECT.replacen(
        " FROM rows",
        ", prefix_len, prefix, answer, response, conversation FROM rows INDEXED BY rows_by_segment",
        1,
    );
    connection.prepare(&format!(
        "{columns} WHERE segment = (SELECT segments.segment FROM segments WHERE path = ?) ORDER BY jsonl_offset"
    ))
}

impl<'s> StoredRows<'s> {
    /// Those of a segment.
    ///
    /// # Errors
    /// The database fails.
    pub fn of(
        connection: &'s Connection,
        statement: &'s mut rusqlite::Statement<'_>,
        segment: SegmentId,
    ) -> rusqlite::Result<StoredRows<'s>> {
        Ok(StoredRows { rows: statement.query([segment.to_string()])?, names: Names::new(connection) })
    }

    /// The next one.
    ///
    /// # Errors
    /// The database fails.
    pub fn next_row(&mut self) -> rusqlite::Result<Option<StoredRow>> {
        let Some(row) = self.rows.next()? else { return Ok(None) };
        Ok(Some(StoredRow { trace: self.names.trace_row(row)?, links: Links::of(row)? }))
    }
}

impl Links {
    /// From the columns behind those of a [`TraceRow`].
    fn of(row: &SqlRow<'_>) -> rusqlite::Result<Links> {
        Ok(Links {
            prefix_len: row.get("prefix_len")?,
            prefix: row.get("prefix")?,
            answer: row.get("answer")?,
            response: row.get("response")?,
            conversation: row.get("conversation")?,
        })
    }
}

impl StoredRow {
    /// The columns that do not say what this row, made of the line, says. Parents and sessions are not looked at:
    /// they follow from other lines.
    pub fn differences(&self, row: &Row) -> Vec<&'static str> {
        let stored = &self.trace;
        let links = &row.conversation;
        let number = |value: Option<i64>, hash: Option<[u8; 8]>| value == hash.map(as_integer);
        let turns = (!links.prefixes.is_empty()).then_some(links.prefixes.len() as i64);
        let UnixMillis(start) = row.ts_start;
        let checks = [
            ("id", stored.id == row.id.to_string()),
            ("ts_start", stored.ts_start == row.ts_start),
            ("duration_ms", stored.duration_ms == row.ts_end.0.saturating_sub(start)),
            ("client", stored.client == row.client),
            ("method", stored.method == row.method),
            ("path", stored.path == row.path),
            ("upstream", stored.upstream == row.upstream),
            ("status", stored.status == row.status),
            ("end", stored.end == row.end.name()),
            ("disconnected", stored.disconnected == row.disconnected),
            ("truncated_req", stored.truncated_req == row.truncated_req),
            ("truncated_resp", stored.truncated_resp == row.truncated_resp),
            ("protocol", stored.protocol == row.protocol.name()),
            ("model", stored.model == row.model),
            ("stream", stored.stream == row.stream),
            ("prompt_tokens", stored.prompt_tokens == row.usage.prompt),
            ("completion_tokens", stored.completion_tokens == row.usage.completion),
            ("total_tokens", stored.total_tokens == row.usage.total),
            ("cached_tokens", stored.cached_tokens == row.usage.cached),
            ("cache_creation_tokens", stored.cache_creation_tokens == row.usage.cache_creation),
            ("reasoning_tokens", stored.reasoning_tokens == row.usage.reasoning),
            ("finish_reason", stored.finish_reason == row.finish_reason),
            ("error_type", stored.error_type == row.error_type),
            ("key_hash", stored.key_hash == row.key.to_string()),
            ("prefix_len", self.links.prefix_len == turns),
            ("prefix_canonical_hash", number(self.links.prefix, links.prefixes.last().copied())),
            ("answer", number(self.links.answer, links.answer)),
            ("response", number(self.links.response, links.response_id)),
            ("conversation", number(self.links.conversation, links.conversation_id)),
            ("client_kind", stored.client_kind == row.client_kind),
            ("client_version", stored.client_version == row.client_version),
            ("client_project", stored.client_project == row.client_project),
            ("media_count", stored.media_count == row.media_count),
            ("ttfb_ms", stored.ttfb_ms == row.ttfb_ms),
            ("first_event_ms", stored.first_event_ms == row.first_event_ms),
            ("req_bytes", stored.req_bytes == row.req_bytes),
            ("resp_bytes", stored.resp_bytes == row.resp_bytes),
            ("tags", stored.tags == row.tags),
        ];
        checks.into_iter().filter(|(_, is_equal)| !is_equal).map(|(column, _)| column).collect()
    }
}

/// The segments that the index knows, with how many rows each has.
///
/// # Errors
/// The database fails.
pub fn segments(connection: &Connection) -> rusqlite::Result<Vec<(SegmentId, u64)>> {
    let mut statement = connection.prepare(
        "SELECT path, (SELECT count(*) FROM rows WHERE rows.segment = segments.segment) FROM segments ORDER BY path",
    )?;
    let found = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    let mut segments = Vec::new();
    for entry in found {
        let (path, rows) = entry?;
        segments.extend(path.parse().ok().map(|segment: SegmentId| (segment, rows.cast_unsigned())));
    }
    Ok(segments)
}

/// The first hour, since 1970, whose rollups do not count the rows that began in it.
///
/// # Errors
/// The database fails.
pub fn odd_hour(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare(
            // Rounded down, before 1970 too.
            "WITH counted AS (SELECT (ts_start - (ts_start % 3600000 + 3600000) % 3600000) / 3600000 AS hour,
                 count(*) AS traces FROM rows GROUP BY 1),
                 summed AS (SELECT hour, sum(traces) AS traces FROM rollups GROUP BY 1)
             SELECT coalesce(counted.hour, summed.hour) FROM counted FULL JOIN summed ON summed.hour = counted.hour
             WHERE counted.traces IS NOT summed.traces LIMIT 1",
        )?
        .query_row([], |row| row.get(0))
        .optional()
}

/// The first trace of a session whose sums are not those of its rows, or whose rows know no session.
///
/// # Errors
/// The database fails.
pub fn odd_session(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection
        .prepare(
            "WITH counted AS (SELECT session, count(*) AS turns, total(status BETWEEN 200 AND 299) AS ok,
                 total(status >= 400) AS err FROM rows WHERE fresh IS NULL GROUP BY session)
             SELECT coalesce(root, counted.session) FROM sessions FULL JOIN counted ON counted.session = sessions.session
             WHERE sessions.turns IS NOT counted.turns OR ok_count IS NOT ok OR err_count IS NOT err LIMIT 1",
        )?
        .query_row([], |row| {
            Ok(match row.get_ref(0)? {
                rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                other => format!("{other:?}"),
            })
        })
        .optional()
}
