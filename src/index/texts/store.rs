//! Texts in and out.

use rusqlite::{Connection, OptionalExtension, params};

use crate::trace::{Row, Texts};

/// Numbers of one millisecond.
pub(super) const OF_A_MILLISECOND: i64 = 1 << 20;
/// Longer texts are none of ours.
const MOST_UNPACKED: usize = 16 << 20;
/// Fast, and a third of the room; more is not worth the time.
const LEVEL: i32 = 1;

/// Whether an index has the texts that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// It has, or has none and none are wanted.
    Ready,
    /// It has rows without texts, or with longer or shorter ones: only a rebuild brings what is wanted.
    WantsRebuild,
}

/// How many bytes of each trace an index keeps; `None` if it keeps no texts.
///
/// # Errors
/// The database fails.
pub fn bytes_kept(index: &Connection) -> rusqlite::Result<Option<usize>> {
    let is_there = "SELECT 1 FROM sqlite_schema WHERE name = 'full_text' AND type = 'table'";
    if index.prepare_cached(is_there)?.query_row([], |_| Ok(())).optional()?.is_none() {
        return Ok(None);
    }
    let bytes = index.prepare_cached("SELECT bytes FROM full_text")?.query_row([], |row| row.get(0)).optional()?;
    Ok(bytes.map(|bytes: i64| usize::try_from(bytes).unwrap_or(0)))
}

/// Makes an index keep so many bytes of each trace, or none. Texts that are not wanted any more are deleted at once;
/// those of rows that are there already only a rebuild can bring. Call it before the first insert of a connection.
///
/// # Errors
/// The database fails; then nothing has changed.
pub fn prepare(index: &mut Connection, wanted: Option<usize>) -> rusqlite::Result<Prepared> {
    let kept = bytes_kept(index)?;
    if kept == wanted {
        return Ok(Prepared::Ready);
    }
    let is_empty: bool = index.query_row("SELECT NOT EXISTS (SELECT 1 FROM rows)", [], |row| row.get(0))?;
    if wanted.is_some() && !is_empty {
        return Ok(Prepared::WantsRebuild);
    }
    let transaction = index.transaction()?;
    if kept.is_some() {
        transaction.execute_batch(
            "DROP TABLE texts_trigrams; DROP TABLE texts_found; DROP TABLE texts; DROP TABLE full_text;",
        )?;
    }
    if let Some(bytes) = wanted {
        create(&transaction, bytes)?;
    }
    transaction.commit()?;
    Ok(Prepared::Ready)
}

/// Makes the tables of a database that has none of them.
pub(in crate::index) fn create(index: &Connection, bytes: usize) -> rusqlite::Result<()> {
    index.execute_batch(include_str!("../schema_texts.sql"))?;
    index.execute("INSERT INTO full_text (bytes) VALUES (?)", [bytes as i64])?;
    Ok(())
}

/// Texts of a transaction, stored at its end: in the order of time, for FTS5 begins a new part whenever a number does
/// not rise.
#[derive(Debug, Default)]
pub(in crate::index) struct Pending(Vec<(i64, i64, Texts)>);

impl Pending {
    /// Takes a row's, if there are any.
    pub(in crate::index) fn add(&mut self, number: i64, row: &Row) {
        if let Some(texts) = row.texts.as_ref().filter(|it| !it.is_empty()) {
            self.0.push((row.ts_start.0, number, texts.clone()));
        }
    }

    /// Stores what was gathered.
    pub(in crate::index) fn flush(&mut self, index: &Connection) -> rusqlite::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.0);
        pending.sort_by_key(|&(ts_start, number, _)| (ts_start, number));
        let mut latest = index.prepare_cached("SELECT max(doc) FROM texts WHERE doc >= ? AND doc < ?")?;
        let mut keep = index.prepare_cached("INSERT INTO texts (doc, row, text) VALUES (?, ?, ?)")?;
        let mut find = index.prepare_cached("INSERT INTO texts_found (rowid, request, answer) VALUES (?, ?, ?)")?;
        let mut compressor = zstd::bulk::Compressor::new(LEVEL).map_err(told)?;
        for (ts_start, number, Texts { mut request, mut answer }) in pending {
            let (first, end) = docs_of(ts_start);
            let before: Option<i64> = latest.query_row([first, end], |row| row.get(0))?;
            let doc = before.map_or(first, |it| it + 1);
            if doc >= end {
                continue;
            }
            let packed = compressor.compress(format!("{request}\0{answer}").as_bytes()).map_err(told)?;
            keep.execute(params![doc, number, packed])?;
            // So that the last two characters begin a trigram too.
            request.push_str("\n\n");
            answer.push_str("\n\n");
            find.execute(params![doc, request, answer])?;
        }
        Ok(())
    }
}

/// The numbers that texts of this start may have: from the first up to the second.
pub(super) fn docs_of(ts_start: i64) -> (i64, i64) {
    let first = ts_start.clamp(0, i64::MAX / OF_A_MILLISECOND - 2) * OF_A_MILLISECOND;
    (first, first + OF_A_MILLISECOND)
}

/// Removes a row's texts, if it has any. Only of an index that keeps them.
pub(in crate::index) fn remove(index: &Connection, row: i64) -> rusqlite::Result<()> {
    let doc: Option<i64> = index
        .prepare_cached("DELETE FROM texts WHERE row = ? RETURNING doc")?
        .query_row([row], |row| row.get(0))
        .optional()?;
    if let Some(doc) = doc {
        index.prepare_cached("DELETE FROM texts_found WHERE rowid = ?")?.execute([doc])?;
    }
    Ok(())
}

/// A row's texts; nothing if there are none.
pub(in crate::index) fn texts_of(index: &Connection, row: i64) -> rusqlite::Result<Option<Texts>> {
    let packed: Option<Vec<u8>> =
        index.prepare_cached("SELECT text FROM texts WHERE row = ?")?.query_row([row], |row| row.get(0)).optional()?;
    let unpacked = packed.and_then(|it| zstd::bulk::decompress(&it, MOST_UNPACKED).ok());
    let both = unpacked.and_then(|it| String::from_utf8(it).ok());
    Ok(both.and_then(|both| {
        let (request, answer) = both.split_once('\0')?;
        Some(Texts { request: request.to_owned(), answer: answer.to_owned() })
    }))
}

fn told(error: std::io::Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(error.into())
}
