//! What the writer keeps in memory beside its connection: all of it can be read from the database again.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use crate::ids::{KeyHash, SegmentId, TraceId};
use crate::index::awaiting::Awaiting;
use crate::index::fresh::Fresh;
use crate::index::texts;
use crate::store::lease::Leases;

/// How many words are remembered before all are forgotten; targets may be without number.
const MAX_WORDS: usize = 50_000;

/// What the index's one writer remembers between batches. Belongs to one connection.
///
/// A transaction that fails takes what it changed here with it: everything is read anew next time. So it is if somebody
/// else has written meanwhile, as a writer does that was given up and whose thread is still at its last work.
#[derive(Debug, Default)]
pub struct WriterState {
    /// With the version of the data that it is of.
    memory: Option<(i64, Memory)>,
    behind: BTreeSet<SegmentId>,
    /// Every plain segment's first line was compared with what is indexed of it.
    pub(super) has_compared: bool,
    /// Files are read under them.
    pub(super) leases: Leases,
}

/// *Invariant:* says what the database says, the transaction under way included.
#[derive(Debug)]
pub(super) struct Memory {
    words: HashMap<Box<str>, i64>,
    keys: HashMap<KeyHash, i64>,
    pub(super) segments: HashMap<SegmentId, Checkpoint>,
    pub(super) next_row: i64,
    pub(super) next_session: i64,
    /// While rows are to be merged; new ones are fresh too then.
    pub(super) fresh: Option<Fresh>,
    /// Rows' texts go in too.
    pub(super) keeps_texts: bool,
    pub(super) awaiting: Awaiting,
}

/// How far a segment is indexed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checkpoint {
    pub(super) segment: i64,
    pub(super) indexed_to: u64,
    pub(super) is_done: bool,
    /// Whose line stands at offset 0; a file that begins otherwise is another one.
    pub(super) first_trace: Option<TraceId>,
}

impl WriterState {
    /// Nothing remembered yet.
    pub fn new() -> WriterState {
        WriterState::default()
    }

    /// Nothing remembered yet; files are read under these leases.
    pub fn with_leases(leases: Leases) -> WriterState {
        WriterState { leases, ..WriterState::default() }
    }

    /// Segments that hold lines which the index knows to have missed: [`super::catch_up()`] reads them.
    pub fn behind(&self) -> impl Iterator<Item = SegmentId> {
        self.behind.iter().copied()
    }

    /// Notes that rows of a segment were or will be missed, for example because a queue was full.
    /// Its next rows are refused until it is caught up.
    pub fn mark_behind(&mut self, segment: SegmentId) {
        self.behind.insert(segment);
    }

    pub(super) fn mark_caught_up(&mut self, segment: SegmentId) {
        self.behind.remove(&segment);
    }

    /// Whether rows of this segment must wait: it, or an earlier segment of the same key, is behind.
    /// Parents are found among what is there, so a key's lines go in in their order.
    pub(super) fn must_wait(&self, segment: SegmentId) -> bool {
        !self.behind.is_empty() && self.behind.range(..=segment).any(|behind| behind.bucket.key == segment.bucket.key)
    }

    /// Runs `work` in one transaction that holds the write lock from its start. If it fails, the database
    /// and the memory are as before.
    pub(super) fn transact<T, E: From<rusqlite::Error>>(
        &mut self,
        connection: &mut Connection,
        work: impl FnOnce(&Connection, &mut Memory) -> Result<T, E>,
    ) -> Result<T, E> {
        // Taken out, so that no way out, unwinding included, leaves a memory of what was rolled back.
        let remembered = self.memory.take();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another one if any other connection has committed since this one last looked.
        let version = transaction.pragma_query_value(None, "data_version", |row| row.get(0))?;
        let mut memory = match remembered {
            Some((seen, memory)) if seen == version => memory,
            _ => Memory::load(&transaction)?,
        };
        let outcome = work(&transaction, &mut memory)?;
        transaction.commit()?;
        self.memory = Some((version, memory));
        Ok(outcome)
    }
}

impl Memory {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Memory> {
        let one = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let mut segments = HashMap::new();
        let mut statement =
            connection.prepare("SELECT path, segment, indexed_to, is_done, first_trace FROM segments")?;
        let mut found = statement.query([])?;
        while let Some(row) = found.next()? {
            let path: String = row.get(0)?;
            // Only canonical paths are ever written; any other is nobody's.
            if let Ok(id) = path.parse() {
                let indexed_to = row.get::<_, i64>(2)?.cast_unsigned();
                let first_trace = row.get::<_, Option<String>>(4)?.and_then(|id| id.parse().ok());
                segments.insert(id, Checkpoint { segment: row.get(1)?, indexed_to, is_done: row.get(3)?, first_trace });
            }
        }
        let next_row = one("SELECT coalesce(max(row), 0) + 1 FROM rows")?;
        Ok(Memory {
            words: HashMap::new(),
            keys: HashMap::new(),
            segments,
            next_row,
            // Those that are gone may have been the last ones, whose numbers are given again.
            fresh: Fresh::load(connection)?.map(|it| Fresh { first_row: it.first_row.min(next_row), ..it }),
            next_session: one("SELECT coalesce(max(session), 0) + 1 FROM sessions")?,
            keeps_texts: texts::bytes_kept(connection)?.is_some(),
            awaiting: Awaiting::load(connection)?,
        })
    }

    /// How many rows are fresh, at most.
    pub(super) fn fresh_left(&self) -> u64 {
        self.fresh.map_or(0, |fresh| (self.next_row - fresh.first_row).max(0).cast_unsigned())
    }

    /// The number of a word, given now if it is new.
    pub(super) fn word(&mut self, connection: &Connection, text: &str) -> rusqlite::Result<i64> {
        if let Some(&word) = self.words.get(text) {
            return Ok(word);
        }
        let known = connection
            .prepare_cached("SELECT word FROM words WHERE text = ?")?
            .query_row([text], |row| row.get(0))
            .optional()?;
        let word = match known {
            Some(word) => word,
            None => connection.prepare_cached("INSERT INTO words (text) VALUES (?)")?.insert([text])?,
        };
        if self.words.len() >= MAX_WORDS {
            self.words.clear();
        }
        self.words.insert(text.into(), word);
        Ok(word)
    }

    /// The number of a word that may be absent.
    pub(super) fn word_of(&mut self, connection: &Connection, text: Option<&str>) -> rusqlite::Result<Option<i64>> {
        text.map(|text| self.word(connection, text)).transpose()
    }

    /// The number of a key, given now if it is new.
    pub(super) fn key(&mut self, connection: &Connection, hash: KeyHash) -> rusqlite::Result<i64> {
        if let Some(&key) = self.keys.get(&hash) {
            return Ok(key);
        }
        let known = connection
            .prepare_cached("SELECT key FROM keys WHERE hash = ?")?
            .query_row([hash.0], |row| row.get(0))
            .optional()?;
        let key = match known {
            Some(key) => key,
            None => connection.prepare_cached("INSERT INTO keys (hash) VALUES (?)")?.insert([hash.0])?,
        };
        if self.keys.len() >= MAX_WORDS {
            self.keys.clear();
        }
        self.keys.insert(hash, key);
        Ok(key)
    }

    /// A segment's checkpoint, made now (nothing indexed) if it is new.
    pub(super) fn checkpoint(&mut self, connection: &Connection, id: SegmentId) -> rusqlite::Result<Checkpoint> {
        if let Some(&checkpoint) = self.segments.get(&id) {
            return Ok(checkpoint);
        }
        let segment = connection
            .prepare_cached("INSERT INTO segments (path, indexed_to, bad_lines, is_done) VALUES (?, 0, 0, 0)")?
            .insert([id.to_string()])?;
        let checkpoint = Checkpoint { segment, indexed_to: 0, is_done: false, first_trace: None };
        self.segments.insert(id, checkpoint);
        Ok(checkpoint)
    }

    /// Stores how far a segment is indexed now.
    pub(super) fn advance(
        &mut self,
        connection: &Connection,
        id: SegmentId,
        indexed_to: u64,
        bad_lines: u64,
        is_done: bool,
    ) -> rusqlite::Result<()> {
        let Checkpoint { segment, first_trace, .. } = self.checkpoint(connection, id)?;
        connection
            .prepare_cached(
                "UPDATE segments SET indexed_to = ?, bad_lines = bad_lines + ?, is_done = ? WHERE segment = ?",
            )?
            .execute((indexed_to.cast_signed(), bad_lines.cast_signed(), is_done, segment))?;
        self.segments.insert(id, Checkpoint { segment, indexed_to, is_done, first_trace });
        Ok(())
    }

    /// Stores whose line stands at a segment's offset 0.
    pub(super) fn begin_with(
        &mut self,
        connection: &Connection,
        id: SegmentId,
        first: TraceId,
    ) -> rusqlite::Result<()> {
        let checkpoint = self.checkpoint(connection, id)?;
        connection
            .prepare_cached("UPDATE segments SET first_trace = ? WHERE segment = ?")?
            .execute((first.to_string(), checkpoint.segment))?;
        self.segments.insert(id, Checkpoint { first_trace: Some(first), ..checkpoint });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_segments_of_a_key_wait_for_earlier_ones_by_number() {
        let segment = |text: &str| text.parse::<SegmentId>().unwrap();
        let mut state = WriterState::new();
        state.mark_behind(segment("2026-05-27/01010101.2.jsonl"));
        for (text, waits) in [
            ("2026-05-27/01010101.jsonl", false),
            ("2026-05-27/01010101.1.jsonl", false),
            ("2026-05-27/01010101.2.jsonl", true),
            ("2026-05-27/01010101.10.jsonl", true),
            ("2026-05-28/01010101.jsonl", true),
            ("2026-05-27/02020202.10.jsonl", false),
        ] {
            assert_eq!(state.must_wait(segment(text)), waits, "{text}");
        }
    }
}
