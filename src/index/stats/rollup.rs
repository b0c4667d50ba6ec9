//! The sums of an hour's traces by what they have in common, kept in the transactions that insert and remove rows, so
//! that statistics of a day read hundreds of them and not its million rows.

use std::collections::BTreeMap;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params, params_from_iter};

use super::distribution::Distribution;
use crate::trace::Row;

/// Milliseconds of a rollup.
pub(super) const HOUR: i64 = 3_600_000;
/// Groups that are gathered before they are stored, where rows come without end.
const MOST_GATHERED: usize = 4096;

/// What the traces of one rollup have in common: the words' and the key's numbers, 0 for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::index) struct Group {
    pub(super) hour: i64,
    pub(super) model: i64,
    pub(super) key: i64,
    pub(super) client_kind: i64,
    pub(super) project: i64,
}

/// What is summed of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::index) struct Facts {
    status: i32,
    disconnected: bool,
    /// Prompt, completion, total, cached, cache creation, reasoning.
    tokens: [Option<i64>; 6],
    duration_ms: i64,
    first_event_ms: Option<i64>,
}

/// How many numbers a [`Sums`] has beside its distributions.
const NUMBERS: usize = 14;

/// What some traces come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// In the order of the table's columns.
    pub(super) numbers: [i64; NUMBERS],
    pub(super) durations: Distribution,
    pub(super) first_events: Distribution,
}

impl Group {
    /// Of a row with these numbers.
    pub(in crate::index) fn of(
        ts_start: i64,
        model: Option<i64>,
        key: i64,
        kind: Option<i64>,
        project: Option<i64>,
    ) -> Group {
        Group {
            hour: ts_start.div_euclid(HOUR),
            model: model.unwrap_or(0),
            key,
            client_kind: kind.unwrap_or(0),
            project: project.unwrap_or(0),
        }
    }
}

impl Facts {
    /// Of a row that is inserted.
    pub(in crate::index) fn of(row: &Row) -> Facts {
        let usage = &row.usage;
        Facts {
            status: row.status,
            disconnected: row.disconnected,
            tokens: [usage.prompt, usage.completion, usage.total, usage.cached, usage.cache_creation, usage.reasoning],
            duration_ms: row.ts_end.0.saturating_sub(row.ts_start.0),
            first_event_ms: row.first_event_ms.map(u64::cast_signed),
        }
    }
}

/// The columns of `rows` that [`read`] reads.
pub(in crate::index) const COLUMNS: &str = "ts_start, model, key, client_kind, client_project, status, disconnected, \
    prompt_tokens, completion_tokens, total_tokens, cached_tokens, cache_creation_tokens, reasoning_tokens, \
    duration_ms, first_event_ms";

/// A stored row's group and facts, from [`COLUMNS`] that begin at this one.
pub(in crate::index) fn read(row: &SqlRow<'_>, at: usize) -> rusqlite::Result<(Group, Facts)> {
    let group = Group::of(row.get(at)?, row.get(at + 1)?, row.get(at + 2)?, row.get(at + 3)?, row.get(at + 4)?);
    let mut tokens = [None; 6];
    for (number, slot) in tokens.iter_mut().enumerate() {
        *slot = row.get(at + 7 + number)?;
    }
    let facts = Facts {
        status: row.get(at + 5)?,
        disconnected: row.get(at + 6)?,
        tokens,
        duration_ms: row.get(at + 13)?,
        first_event_ms: row.get(at + 14)?,
    };
    Ok((group, facts))
}

impl Sums {
    /// Counts a trace so many times; negative takes it away.
    pub(super) fn count(&mut self, facts: &Facts, times: i64) {
        let is = |it: bool| i64::from(it);
        let [prompt, completion, total, cached, cache_creation, reasoning] = facts.tokens.map(|it| it.unwrap_or(0));
        let added = [
            1,
            is((200..300).contains(&facts.status)),
            is((400..500).contains(&facts.status)),
            is(facts.status >= 500),
            is(facts.status < 0),
            is(facts.disconnected),
            prompt,
            completion,
            total,
            cached,
            cache_creation,
            reasoning,
            facts.duration_ms,
            facts.first_event_ms.unwrap_or(0),
        ];
        for (sum, added) in self.numbers.iter_mut().zip(added) {
            // What a gateway tells of tokens may be anything.
            *sum = sum.wrapping_add(added.wrapping_mul(times));
        }
        self.durations.count(facts.duration_ms, times);
        if let Some(first_event_ms) = facts.first_event_ms {
            self.first_events.count(first_event_ms, times);
        }
    }

    /// Adds others.
    pub(super) fn merge(&mut self, other: &Sums) {
        self.merge_numbers(other.numbers);
        self.durations.merge(&other.durations);
        self.first_events.merge(&other.first_events);
    }

    /// Adds a stored rollup: its columns from [`STORED`] on begin at this one.
    pub(super) fn merge_stored(&mut self, row: &SqlRow<'_>, at: usize) -> rusqlite::Result<()> {
        let mut numbers = [0; NUMBERS];
        for (number, slot) in numbers.iter_mut().enumerate() {
            *slot = row.get(at + number)?;
        }
        self.merge_numbers(numbers);
        self.durations.merge_encoded(row.get_ref(at + NUMBERS)?.as_blob()?);
        self.first_events.merge_encoded(row.get_ref(at + NUMBERS + 1)?.as_blob()?);
        Ok(())
    }

    fn merge_numbers(&mut self, numbers: [i64; NUMBERS]) {
        for (sum, added) in self.numbers.iter_mut().zip(numbers) {
            *sum = sum.wrapping_add(added);
        }
    }

    /// How many traces.
    pub(super) fn traces(&self) -> i64 {
        self.numbers[0]
    }
}

/// The columns of `rollups` that [`Sums::merge_stored`] reads.
pub(super) const STORED: &str = "traces, ok_count, client_errors, server_errors, unanswered, disconnected, prompt_tokens, \
    completion_tokens, total_tokens, cached_tokens, cache_creation_tokens, reasoning_tokens, duration_ms, \
    first_event_ms, durations, first_events";

/// What a transaction changes of the rollups, stored once for each.
#[derive(Debug, Default)]
pub(in crate::index) struct Rollups {
    pending: BTreeMap<Group, Sums>,
}

impl Rollups {
    /// Counts a row that was inserted.
    pub(in crate::index) fn add(&mut self, group: Group, facts: &Facts) {
        self.pending.entry(group).or_default().count(facts, 1);
    }

    /// Takes off a row that was removed.
    pub(in crate::index) fn subtract(&mut self, group: Group, facts: &Facts) {
        self.pending.entry(group).or_default().count(facts, -1);
    }

    /// Stores what was gathered.
    pub(in crate::index) fn flush(&mut self, index: &Connection) -> rusqlite::Result<()> {
        std::mem::take(&mut self.pending).into_iter().try_for_each(|(group, sums)| store(index, group, sums))
    }
}

fn store(index: &Connection, group: Group, mut sums: Sums) -> rusqlite::Result<()> {
    const OF_GROUP: &str = "hour = ? AND model = ? AND key = ? AND client_kind = ? AND client_project = ?";
    let Group { hour, model, key, client_kind, project } = group;
    let number = params![hour, model, key, client_kind, project];
    let known = index
        .prepare_cached(&format!("SELECT {STORED} FROM rollups WHERE {OF_GROUP}"))?
        .query_row(number, |row| sums.merge_stored(row, 0))
        .optional()?;
    if sums.traces() == 0 {
        index.prepare_cached(&format!("DELETE FROM rollups WHERE {OF_GROUP}"))?.execute(number)?;
        return Ok(());
    }
    let sql = match known {
        Some(()) => {
            let columns = STORED.replace(", ", " = ?, ");
            format!("UPDATE rollups SET {columns} = ? WHERE {OF_GROUP}")
        }
        None => format!(
            "INSERT INTO rollups ({STORED}, hour, model, key, client_kind, client_project) VALUES (?{})",
            ", ?".repeat(NUMBERS + 6)
        ),
    };
    let bound = sums.numbers.into_iter().map(Value::Integer);
    let bound = bound.chain([sums.durations.encode(), sums.first_events.encode()].map(Value::Blob));
    let bound = bound.chain([hour, model, key, client_kind, project].map(Value::Integer));
    index.prepare_cached(&sql)?.execute(params_from_iter(bound))?;
    Ok(())
}

/// Sums all rows there are: of an index that had no rollups.
pub(in crate::index) fn fill(index: &Connection) -> rusqlite::Result<()> {
    for_each(index, "1", Rollups::add)
}

/// Takes off the rows for which this condition holds, before they are removed.
pub(in crate::index) fn subtract_where(index: &Connection, condition: &str) -> rusqlite::Result<()> {
    for_each(index, condition, Rollups::subtract)
}

fn for_each(index: &Connection, condition: &str, change: impl Fn(&mut Rollups, Group, &Facts)) -> rusqlite::Result<()> {
    let mut statement = index.prepare(&format!("SELECT {COLUMNS} FROM rows WHERE {condition}"))?;
    let mut rows = statement.query([])?;
    let mut rollups = Rollups::default();
    while let Some(row) = rows.next()? {
        let (group, facts) = read(row, 0)?;
        change(&mut rollups, group, &facts);
        if rollups.pending.len() >= MOST_GATHERED {
            rollups.flush(index)?;
        }
    }
    rollups.flush(index)
}
