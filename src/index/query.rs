//! Lists and single rows, for readers.

use std::collections::HashMap;
use std::fmt::Display;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::exchange::End;
use crate::ids::{KeyHash, Place, TraceId, UnixMillis};
use crate::index::filter::{Cursor, Filter};
use crate::index::texts::Snippet;
use crate::protocol::Protocol;

mod fresh;
mod gather;
mod look;
mod plan;
pub mod selection;
mod sql;
pub mod stored;
pub mod tail;
mod windows;
mod words;

pub(super) use gather::register;
pub(super) use plan::{conditions, conditions_behind, fewest, pick};

/// A trace as the read API shows it. Its members are the contract's, in its order, then those added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Row")]
pub struct TraceRow {
    /// Its id.
    pub id: String,
    /// When its request head had been received.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub ts_start: UnixMillis,
    /// When it had ended.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub ts_end: UnixMillis,
    /// The client's address.
    pub client: String,
    /// The method as received.
    pub method: String,
    /// The target with its query, credentials in it replaced.
    pub path: String,
    /// The configured upstream URL.
    pub upstream: String,
    /// The status the client got; -1 for none.
    pub status: i32,
    /// The model.
    pub model: Option<String>,
    /// Whether a stream was asked for.
    pub stream: Option<bool>,
    /// Tokens of the request.
    pub prompt_tokens: Option<i64>,
    /// Tokens of the answer.
    pub completion_tokens: Option<i64>,
    /// All tokens.
    pub total_tokens: Option<i64>,
    /// Prompt tokens read from a cache.
    pub cached_tokens: Option<i64>,
    /// Prompt tokens written to a cache.
    pub cache_creation_tokens: Option<i64>,
    /// Tokens of reasoning.
    pub reasoning_tokens: Option<i64>,
    /// Why generation ended.
    pub finish_reason: Option<String>,
    /// The kind of client.
    pub client_kind: Option<String>,
    /// Its version.
    pub client_version: Option<String>,
    /// The project it worked on.
    pub client_project: Option<String>,
    /// Whose it is: 16 hex digits.
    pub key_hash: String,
    /// The trace that it continues.
    pub parent_id: Option<String>,
    /// The first trace of its session: itself if it continues none.
    pub session_root_id: String,
    /// Either side of the transport ended before its orderly end.
    pub disconnected: bool,
    /// Request bytes passed unrecorded.
    pub truncated_req: bool,
    /// Response bytes passed unrecorded.
    pub truncated_resp: bool,
    /// How many attachments there are.
    pub media_count: u32,
    /// The plain form of its segment, relative to the data dir.
    pub jsonl_path: String,
    /// Offset of its line in the uncompressed segment.
    pub jsonl_offset: u64,
    /// Length of its line without the newline.
    pub jsonl_bytes: u32,
    /// How it ended.
    #[schemars(extend("enum" = End::ALL.map(End::name)))]
    pub end: String,
    /// What it speaks.
    #[schemars(extend("enum" = Protocol::ALL.map(Protocol::name)))]
    pub protocol: String,
    /// From start to end.
    pub duration_ms: i64,
    /// From start to the response head.
    pub ttfb_ms: Option<u64>,
    /// From start to the first event.
    pub first_event_ms: Option<u64>,
    /// Request body bytes on the wire.
    pub req_bytes: Option<u64>,
    /// Response body bytes on the wire.
    pub resp_bytes: Option<u64>,
    /// By what its parent was found.
    pub session_method: Option<String>,
    /// Operator labels.
    pub tags: Vec<String>,
    /// The provider's error type or code.
    pub error_type: Option<String>,
    /// Where what was searched for stands in its texts; absent where nothing was searched for.
    #[serde(skip_serializing_if = "Option::is_none", skip_deserializing)]
    pub snippet: Option<Snippet>,
}

impl TraceRow {
    /// Where its line stands; `None` if the index is damaged.
    pub fn place(&self) -> Option<Place> {
        let segment = self.jsonl_path.parse().ok()?;
        Some(Place { segment, offset: self.jsonl_offset, bytes: self.jsonl_bytes })
    }
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Newest first, by start and then id.
    pub rows: Vec<TraceRow>,
    /// Where the next page begins, if there is more.
    pub next_cursor: Option<Cursor>,
}

/// At most `limit` traces that pass the filter, newest first, behind the cursor.
///
/// # Errors
/// The database fails, or the query was interrupted.
pub fn list(connection: &Connection, filter: &Filter, limit: usize, cursor: Option<Cursor>) -> rusqlite::Result<Page> {
    // One snapshot for all the small questions.
    let snapshot = connection.unchecked_transaction()?;
    let picked = plan::pick(&snapshot, filter, limit.saturating_add(1), cursor)?;
    rows_of(&snapshot, &picked, limit)
}

/// The first `limit` of rows that were picked; there is more if more were.
pub(super) fn rows_of(snapshot: &Connection, picked: &[i64], limit: usize) -> rusqlite::Result<Page> {
    let has_more = picked.len() > limit;
    let mut names = Names::new(snapshot);
    let mut rows = Vec::with_capacity(picked.len());
    let mut statement = snapshot.prepare_cached(&format!("{SELECT} WHERE rows.row = ?"))?;
    for row in picked.iter().take(limit) {
        rows.extend(statement.query_row([row], |found| names.trace_row(found)).optional()?);
    }
    let last = rows.last().filter(|_| has_more);
    let next_cursor = last.and_then(|it| Some(Cursor { ts_start: it.ts_start, id: it.id.parse().ok()? }));
    Ok(Page { rows, next_cursor })
}

/// One trace.
///
/// # Errors
/// The database fails.
pub fn get(connection: &Connection, id: TraceId) -> rusqlite::Result<Option<TraceRow>> {
    let mut names = Names::new(connection);
    connection
        .prepare_cached(&format!("{SELECT} WHERE rows.id = ?"))?
        .query_row([id.to_string()], |found| names.trace_row(found))
        .optional()
}

/// Where a trace's line stands.
///
/// # Errors
/// The database fails.
pub fn place(connection: &Connection, id: TraceId) -> rusqlite::Result<Option<Place>> {
    let found: Option<(String, i64, u32)> = connection
        .prepare_cached(
            "SELECT segments.path, jsonl_offset, jsonl_bytes FROM rows JOIN segments USING (segment) WHERE id = ?",
        )?
        .query_row(params![id.to_string()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    Ok(found.and_then(|(path, offset, bytes)| {
        Some(Place { segment: path.parse().ok()?, offset: offset.cast_unsigned(), bytes })
    }))
}

/// The columns in the order of [`Names::trace_row`], everything repeated as its number.
const SELECT: &str = "SELECT id, ts_start, duration_ms, client, method, path, query, upstream, status, model, stream, \
    prompt_tokens, completion_tokens, total_tokens, cached_tokens, cache_creation_tokens, reasoning_tokens, \
    finish_reason, client_kind, client_version, client_project, key, parent, sessions.root, disconnected, \
    truncated_req, truncated_resp, media_count, segment, jsonl_offset, jsonl_bytes, \"end\", protocol, ttfb_ms, \
    first_event_ms, req_bytes, resp_bytes, session_method, tags, error_type \
    FROM rows LEFT JOIN sessions USING (session)";

/// How many texts are remembered before all are forgotten; targets may be without number.
const MAX_NAMES: usize = 50_000;

/// The texts behind numbers, each looked up once per page.
pub(super) struct Names<'a> {
    connection: &'a Connection,
    known: HashMap<(Kind, i64), String>,
}

/// What a number stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Word,
    Key,
    Segment,
}

impl<'a> Names<'a> {
    pub(super) fn new(connection: &'a Connection) -> Names<'a> {
        Names { connection, known: HashMap::new() }
    }

    pub(super) fn text(&mut self, kind: Kind, number: i64) -> rusqlite::Result<String> {
        if let Some(text) = self.known.get(&(kind, number)) {
            return Ok(text.clone());
        }
        let sql = match kind {
            Kind::Word => "SELECT text FROM words WHERE word = ?",
            Kind::Key => "SELECT hash FROM keys WHERE key = ?",
            Kind::Segment => "SELECT path FROM segments WHERE segment = ?",
        };
        let text = self.connection.prepare_cached(sql)?.query_row([number], |row| match kind {
            Kind::Key => row.get(0).map(|hash| KeyHash(hash).to_string()),
            Kind::Word | Kind::Segment => row.get(0),
        })?;
        if self.known.len() >= MAX_NAMES {
            self.known.clear();
        }
        self.known.insert((kind, number), text);
        Ok(self.known[&(kind, number)].clone())
    }

    fn word(&mut self, row: &SqlRow<'_>, column: usize) -> rusqlite::Result<String> {
        self.text(Kind::Word, row.get(column)?)
    }

    fn word_or_null(&mut self, row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Option<String>> {
        row.get::<_, Option<i64>>(column)?.map(|word| self.text(Kind::Word, word)).transpose()
    }

    fn trace_row(&mut self, row: &SqlRow<'_>) -> rusqlite::Result<TraceRow> {
        let id: String = row.get(0)?;
        let (ts_start, duration_ms): (i64, i64) = (row.get(1)?, row.get(2)?);
        let path = self.word(row, 5)?;
        let query: Option<String> = row.get(6)?;
        let root: Option<String> = row.get(23)?;
        let tags: Option<String> = row.get(38)?;
        let number = |column: usize| row.get::<_, Option<i64>>(column).map(|it| it.map(i64::cast_unsigned));
        Ok(TraceRow {
            session_root_id: root.unwrap_or_else(|| id.clone()),
            id,
            ts_start: UnixMillis(ts_start),
            ts_end: UnixMillis(ts_start.saturating_add(duration_ms)),
            client: row.get(3)?,
            method: self.word(row, 4)?,
            path: target(path, query.as_deref()),
            upstream: self.word(row, 7)?,
            status: row.get(8)?,
            model: self.word_or_null(row, 9)?,
            stream: row.get(10)?,
            prompt_tokens: row.get(11)?,
            completion_tokens: row.get(12)?,
            total_tokens: row.get(13)?,
            cached_tokens: row.get(14)?,
            cache_creation_tokens: row.get(15)?,
            reasoning_tokens: row.get(16)?,
            finish_reason: self.word_or_null(row, 17)?,
            client_kind: self.word_or_null(row, 18)?,
            client_version: self.word_or_null(row, 19)?,
            client_project: self.word_or_null(row, 20)?,
            key_hash: self.text(Kind::Key, row.get(21)?)?,
            parent_id: row.get(22)?,
            disconnected: row.get(24)?,
            truncated_req: row.get(25)?,
            truncated_resp: row.get(26)?,
            media_count: row.get(27)?,
            jsonl_path: self.text(Kind::Segment, row.get(28)?)?,
            jsonl_offset: row.get::<_, i64>(29)?.cast_unsigned(),
            jsonl_bytes: row.get(30)?,
            end: self.word(row, 31)?,
            protocol: self.word(row, 32)?,
            duration_ms,
            ttfb_ms: number(33)?,
            first_event_ms: number(34)?,
            req_bytes: number(35)?,
            resp_bytes: number(36)?,
            session_method: self.word_or_null(row, 37)?,
            tags: tags.and_then(|tags| serde_json::from_str(&tags).ok()).unwrap_or_default(),
            error_type: self.word_or_null(row, 39)?,
            snippet: None,
        })
    }
}

/// A target put together again.
pub(super) fn target(mut path: String, query: Option<&str>) -> String {
    if let Some(query) = query {
        path.push('?');
        path.push_str(query);
    }
    path
}

/// Serializes a value as its text.
pub(super) fn as_text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Reads a value from its text.
fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnixMillis, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}
