//! Sessions: a sum per root, kept with every insert so that a list of them reads only what it shows.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};
use schemars::JsonSchema;
use serde::Serialize;

use crate::described::{Param, time};
use crate::ids::{TraceId, UnixMillis};
use crate::index::filter::BadParam;
use crate::index::parent::Newcomer;
use crate::index::query::as_text;

/// One session as the read API shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Session")]
pub struct SessionRow {
    /// The id of its first trace.
    pub session_root_id: String,
    /// How many traces it has.
    pub n_turns: i64,
    /// The earliest start.
    #[serde(serialize_with = "as_text")]
    pub first_ts: UnixMillis,
    /// The latest start.
    #[serde(serialize_with = "as_text")]
    pub last_ts: UnixMillis,
    /// The target of the newest trace.
    pub last_path: String,
    /// The status of the newest trace.
    pub last_status: i32,
    /// The model of the newest trace, `""` if unknown.
    pub last_model: String,
    /// How many keys its traces have. A session never spans keys.
    pub distinct_key_count: i64,
    /// Traces with a status of 200 to 299.
    pub ok_count: i64,
    /// Traces with a status of 400 and above.
    pub err_count: i64,
}

/// What `/api/sessions` was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionParams {
    /// At most so many.
    pub limit: usize,
    /// Only those whose latest start is at or after this.
    pub since: Option<UnixMillis>,
}

impl SessionParams {
    /// The parameters that are read; no other.
    pub const PARAMS: &[Param] = &[
        Param::new(
            "limit",
            || schemars::json_schema!({"type": "integer", "minimum": 1, "maximum": u64::MAX}),
            "At most so many; 100 if nothing is said, and never more than 500.",
        ),
        Param::new("since", time, "Of which a trace began at or after."),
    ];

    /// Reads query parameters: `limit` (default 100, capped at 500) and `since`.
    ///
    /// # Errors
    /// An unknown name, or a value that is not one.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<SessionParams, BadParam> {
        let mut params = SessionParams { limit: 100, since: None };
        for (name, value) in crate::index::filter::first_of_each(pairs) {
            if !Param::is_among(SessionParams::PARAMS, name) {
                return Err(BadParam::unknown(name));
            }
            match name {
                "limit" => {
                    let limit = value.parse::<u64>().ok().filter(|limit| *limit > 0);
                    let limit = limit.ok_or_else(|| BadParam::new(name, "must be a positive integer"))?;
                    params.limit = limit.min(500) as usize;
                }
                "since" => params.since = Some(crate::index::filter::parse_time(name, value)?),
                unknown => return Err(BadParam::unknown(unknown)),
            }
        }
        Ok(params)
    }
}

/// Sessions by latest activity, newest first.
///
/// # Errors
/// The database fails.
pub fn sessions(connection: &Connection, params: SessionParams) -> rusqlite::Result<Vec<SessionRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT root, turns, first_ts, last_ts, ok_count, err_count, path.text, rows.query, rows.status, model.text \
         FROM sessions LEFT JOIN rows ON rows.id = sessions.last_id \
         LEFT JOIN words AS path ON path.word = rows.path LEFT JOIN words AS model ON model.word = rows.model \
         WHERE last_ts >= ?1 ORDER BY last_ts DESC, last_id DESC LIMIT ?2",
    )?;
    let since = params.since.map_or(i64::MIN, |since| since.0);
    let found = statement.query_map(params![since, params.limit as i64], |row| {
        let path: Option<String> = row.get(6)?;
        let query: Option<String> = row.get(7)?;
        Ok(SessionRow {
            session_root_id: row.get(0)?,
            n_turns: row.get(1)?,
            first_ts: UnixMillis(row.get(2)?),
            last_ts: UnixMillis(row.get(3)?),
            last_path: crate::index::query::target(path.unwrap_or_default(), query.as_deref()),
            last_status: row.get::<_, Option<i32>>(8)?.unwrap_or(-1),
            last_model: row.get::<_, Option<String>>(9)?.unwrap_or_default(),
            distinct_key_count: 1,
            ok_count: row.get(4)?,
            err_count: row.get(5)?,
        })
    })?;
    found.collect()
}

/// What a batch adds to the sums of sessions, stored once per session and batch.
#[derive(Debug, Default)]
pub(super) struct SessionSums {
    pending: HashMap<i64, Sum>,
}

/// What some rows of a session come to.
#[derive(Clone, Debug)]
pub(super) struct Sum {
    /// Set if the session is new.
    root: Option<TraceId>,
    turns: i64,
    first_ts: UnixMillis,
    last: (UnixMillis, TraceId),
    ok_count: i64,
    err_count: i64,
}

impl Sum {
    /// Of no rows yet; the first will begin so.
    fn of_none(ts_start: UnixMillis, id: TraceId) -> Sum {
        Sum { root: None, turns: 0, first_ts: ts_start, last: (ts_start, id), ok_count: 0, err_count: 0 }
    }

    /// Of a new session that begins with this trace, not counted yet.
    pub(super) fn beginning_with(ts_start: UnixMillis, root: TraceId) -> Sum {
        Sum { root: Some(root), ..Sum::of_none(ts_start, root) }
    }

    /// Counts a row.
    pub(super) fn count(&mut self, ts_start: UnixMillis, id: TraceId, status: i32) {
        self.turns += 1;
        self.first_ts = self.first_ts.min(ts_start);
        self.last = self.last.max((ts_start, id));
        self.ok_count += i64::from(is_ok(status));
        self.err_count += i64::from(is_err(status));
    }

    /// Stores it: as a new session, or beside what the session comes to already.
    pub(super) fn insert(&self, index: &Connection, session: i64) -> rusqlite::Result<()> {
        let (last_ts, last_id) = (self.last.0.0, self.last.1.to_string());
        let Sum { turns, first_ts: UnixMillis(first_ts), ok_count, err_count, .. } = *self;
        match self.root {
            Some(root) => index
                .prepare_cached(
                    "INSERT INTO sessions (session, root, turns, first_ts, last_ts, last_id, ok_count, err_count) \
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                )?
                .execute(params![session, root.to_string(), turns, first_ts, last_ts, last_id, ok_count, err_count])?,
            None => index
                .prepare_cached(
                    "UPDATE sessions SET turns = turns + ?2, first_ts = min(first_ts, ?3), \
                     last_id = iif((?4, ?5) > (last_ts, last_id), ?5, last_id), last_ts = max(last_ts, ?4), \
                     ok_count = ok_count + ?6, err_count = err_count + ?7 WHERE session = ?1",
                )?
                .execute(params![session, turns, first_ts, last_ts, last_id, ok_count, err_count])?,
        };
        Ok(())
    }
}

impl SessionSums {
    /// Counts a row that was linked. `root` is given when it begins the session.
    pub(super) fn add(&mut self, session: i64, root: Option<TraceId>, row: &Newcomer) {
        let sum = self.pending.entry(session).or_insert_with(|| Sum::of_none(row.ts_start, row.id));
        sum.root = sum.root.or(root);
        sum.count(row.ts_start, row.id, row.status);
    }

    /// Stores what was counted.
    pub(super) fn flush(&mut self, index: &Connection) -> rusqlite::Result<()> {
        self.pending.drain().try_for_each(|(session, sum)| sum.insert(index, session))
    }
}

/// The session that a trace without parent begins, if it is known already: its rows may have outlived it.
pub(super) fn session_of_root(index: &Connection, root: TraceId) -> rusqlite::Result<Option<i64>> {
    index
        .prepare_cached("SELECT session FROM sessions WHERE root = ?")?
        .query_row([root.to_string()], |row| row.get(0))
        .optional()
}

/// What was removed from a session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Removed {
    turns: i64,
    ok_count: i64,
    err_count: i64,
}

impl Removed {
    /// Counts a row of this status.
    pub(super) fn count(&mut self, status: i32) {
        self.turns += 1;
        self.ok_count += i64::from(is_ok(status));
        self.err_count += i64::from(is_err(status));
    }
}

/// Takes removed rows off a session's sums; one without rows ends. However long the session, this reads
/// only its first and its last row.
pub(super) fn subtract(index: &Connection, session: i64, removed: Removed) -> rusqlite::Result<()> {
    index
        .prepare_cached(
            "UPDATE sessions SET turns = turns - ?2, ok_count = ok_count - ?3, err_count = err_count - ?4 \
             WHERE session = ?1",
        )?
        .execute([session, removed.turns, removed.ok_count, removed.err_count])?;
    bound_anew(index, session)
}

/// Sums a session anew from its rows; one without rows ends.
pub(super) fn sum_anew(index: &Connection, session: i64) -> rusqlite::Result<()> {
    index
        .prepare_cached(
            "UPDATE sessions SET (turns, ok_count, err_count) = (SELECT count(*), \
             coalesce(sum(status BETWEEN 200 AND 299), 0), coalesce(sum(status >= 400), 0) \
             FROM rows WHERE session = ?1 AND fresh IS NULL) WHERE session = ?1",
        )?
        .execute([session])?;
    bound_anew(index, session)
}

/// Finds a session's first start and newest row again.
fn bound_anew(index: &Connection, session: i64) -> rusqlite::Result<()> {
    let newest: Option<(String, i64)> = index
        .prepare_cached(
            "SELECT id, ts_start FROM rows WHERE session = ? AND fresh IS NULL ORDER BY ts_start DESC, id DESC LIMIT 1",
        )?
        .query_row([session], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((last_id, last_ts)) = newest else {
        index.prepare_cached("DELETE FROM sessions WHERE session = ?")?.execute([session])?;
        return Ok(());
    };
    index
        .prepare_cached(
            "UPDATE sessions SET first_ts = (SELECT min(ts_start) FROM rows WHERE session = ?1 AND fresh IS NULL), \
             last_ts = ?2, last_id = ?3 WHERE session = ?1",
        )?
        .execute(params![session, last_ts, last_id])?;
    Ok(())
}

fn is_ok(status: i32) -> bool {
    (200..300).contains(&status)
}

fn is_err(status: i32) -> bool {
    status >= 400
}
