//! Lists whose rows are found in the indexes alone, and only then read.
//!
//! What several common filters let through is looked for window by window, back in time: a row is read only if all of
//! them have it there. Walking the index of one would read every row that the others refuse.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::plan::{Narrowing, Values, entries_of};
use super::sql::Sql;
use crate::index::filter::{Cursor, Filter};

/// How much is looked at at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measures {
    /// A filter that lets fewer rows through is the way in: each of them is read.
    pub(super) few_rows: i64,
    /// Entries of the leading filter's value that has most of them: in the first window, and in any. Each window has
    /// four times as many as the one before.
    pub(super) entries: [usize; 2],
    /// A filter that has more entries in a window than this many for each row that is left of it is not read through:
    /// each of those rows is looked for in its index.
    pub(super) entries_per_look: usize,
    /// A row is rather read than looked for under more values than this.
    pub(super) looks_per_row: usize,
    /// Entries that are gathered where they cannot be had in the order of time.
    pub(super) most_gathered: usize,
}

impl Measures {
    /// Measured on a million rows: to compare an entry takes 0.2 µs, to look for it 1, to read a row 5 to
    /// 10, for most are in pages of their own that the connection's cache does not have.
    pub(super) const MEASURED: Measures = Measures {
        few_rows: 512,
        entries: [256, 65_536],
        entries_per_look: 5,
        looks_per_row: 10,
        most_gathered: 16_384,
    };
}

/// What a list is asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) index: &'a Connection,
    pub(super) filter: &'a Filter,
    pub(super) cursor: Option<Cursor>,
    /// At most so many rows.
    pub(super) limit: usize,
}

/// A narrowing whose entries are compared.
struct Listed<'a> {
    narrowing: &'a Narrowing,
    /// It had too many entries to be read through in a window, and will have so in others.
    is_dense: bool,
}

/// A row that may pass: its start and its number.
type Entry = (i64, i64);

/// A stretch of time in milliseconds, both ends included.
#[derive(Clone, Copy)]
struct Window {
    first: i64,
    last: i64,
}

/// The numbers of the rows that pass all narrowings, newest first. `listed` are the places of those whose entries are
/// compared, each in the order of time. The first leads in the first window, which is small.
pub(super) fn pick_by_windows(
    asked: Asked<'_>,
    narrowings: &[Narrowing],
    listed: &[usize],
    measures: Measures,
) -> rusqlite::Result<Vec<i64>> {
    let Some(mut rest) = Window::whole(asked)? else { return Ok(Vec::new()) };
    let mut picked = Picked::new(asked, narrowings);
    let mut listed: Vec<Listed<'_>> =
        listed.iter().map(|at| Listed { narrowing: &narrowings[*at], is_dense: false }).collect();
    if let [_, others @ ..] = &mut listed[..] {
        others.sort_by_key(|it| it.narrowing.values_named());
    }
    let [mut most, last_most] = measures.entries;
    loop {
        let (window, left) = next_window(asked.index, &mut listed, rest, most, measures)?;
        if picked.take(&left)? || window.first == rest.first {
            return Ok(picked.numbers());
        }
        rest.last = window.first - 1;
        most = most.saturating_mul(4).min(last_most);
    }
}

/// The same where the entries of one narrowing come in any order: all of them are gathered. `None` if they are too many.
pub(super) fn pick_by_gathering(
    asked: Asked<'_>,
    narrowings: &[Narrowing],
    gathered: usize,
    measures: Measures,
) -> rusqlite::Result<Option<Vec<i64>>> {
    let Some(whole) = Window::whole(asked)? else { return Ok(Some(Vec::new())) };
    let most = measures.most_gathered;
    let mut found = entries(asked.index, &narrowings[gathered], whole, most + 1)?;
    if found.len() > most {
        return Ok(None);
    }
    found.sort_unstable_by(|one, other| other.cmp(one));
    let mut picked = Picked::new(asked, narrowings);
    picked.take(&found)?;
    Ok(Some(picked.numbers()))
}

impl Window {
    fn bounds(self) -> [Value; 2] {
        [self.first, self.last].map(Value::Integer)
    }

    /// The time that is asked for, as far as there are rows; `None` if there are none.
    fn whole(Asked { index, filter, cursor, .. }: Asked<'_>) -> rusqlite::Result<Option<Window>> {
        let end = |sql| index.prepare_cached(sql)?.query_row([], |row| row.get::<_, Option<i64>>(0));
        let (oldest, newest) = (end("SELECT min(ts_start) FROM rows")?, end("SELECT max(ts_start) FROM rows")?);
        let (Some(oldest), Some(newest)) = (oldest, newest) else { return Ok(None) };
        let until = filter.until.map(|until| until.0.saturating_sub(1));
        let last = until.into_iter().chain(cursor.map(|it| it.ts_start.0)).fold(newest, i64::min);
        let first = filter.since.map_or(oldest, |since| since.0.max(oldest));
        Ok((first <= last).then_some(Window { first, last }))
    }
}

/// The latest part of a time in which no value of the first narrowing has more than so many entries, and what all that are
/// worth asking leave of it, newest first. Whichever is known to have the fewest entries comes first afterwards.
fn next_window(
    index: &Connection,
    listed: &mut [Listed<'_>],
    rest: Window,
    most: usize,
    measures: Measures,
) -> rusqlite::Result<(Window, Vec<Entry>)> {
    let Some(leader) = listed.first() else { return Ok((rest, Vec::new())) };
    let (window, mut left) = latest_entries(index, leader.narrowing, rest, most)?;
    let mut fewest = (left.len(), 0);
    // Of each value they come in the order of time, which is nearly that of numbers: runs, which a stable sort merges.
    left.sort_by_key(|it| it.1);
    for (at, Listed { narrowing, is_dense }) in listed.iter_mut().enumerate().skip(1) {
        if left.is_empty() {
            break;
        }
        let values = narrowing.values_named();
        let looks = left.len().saturating_mul(values.min(measures.looks_per_row));
        let worth = looks.saturating_mul(measures.entries_per_look);
        if !*is_dense {
            let mut found = numbers(index, narrowing, window, worth.saturating_add(1))?;
            *is_dense = found.len() > worth;
            if !*is_dense {
                fewest = fewest.min((found.len(), at));
                found.sort();
                left = in_both(left, &found);
            }
        }
        if *is_dense && values <= measures.looks_per_row {
            left = looked_for(index, narrowing, left)?;
        }
    }
    listed.swap(0, fewest.1);
    left.sort_unstable_by(|one, other| other.cmp(one));
    Ok((window, left))
}

/// The latest part of a time in which no value of a narrowing has more than so many entries, and all entries there.
/// There are more only if they are of one millisecond.
fn latest_entries(
    index: &Connection,
    narrowing: &Narrowing,
    rest: Window,
    most: usize,
) -> rusqlite::Result<(Window, Vec<Entry>)> {
    let mut window = rest;
    let Values::These(values) = &narrowing.values else {
        return Ok((rest, entries(index, narrowing, rest, usize::MAX)?));
    };
    let mut all = Vec::new();
    for value in values {
        let mut sql = Sql::default();
        let text = format!("SELECT ts_start, row FROM {} WHERE {} = ?", entries_of(narrowing), narrowing.column);
        sql.push(&text, [Value::Integer(*value)]);
        sql.push_also(&narrowing.also);
        sql.push(" AND ts_start >= ? AND ts_start <= ? ORDER BY ts_start DESC", window.bounds());
        let found = read_entries(index, sql, most)?;
        // More may stand at the time of the last one.
        if found.len() == most
            && let Some((ts_start, _)) = found.last()
        {
            window.first = window.last.min(ts_start + 1);
        }
        all.extend(found);
    }
    if window.first == window.last {
        return Ok((window, entries(index, narrowing, window, usize::MAX)?));
    }
    all.retain(|it| it.0 >= window.first);
    Ok((window, all))
}

/// The entries whose numbers are among the others; both are in the order of their numbers.
fn in_both(mut one: Vec<Entry>, other: &[i64]) -> Vec<Entry> {
    let mut at = 0;
    one.retain(|entry| {
        at += other[at..].iter().take_while(|it| **it < entry.1).count();
        other.get(at) == Some(&entry.1)
    });
    one
}

/// Those entries that a narrowing's index has too, each looked for.
fn looked_for(index: &Connection, narrowing: &Narrowing, entries: Vec<Entry>) -> rusqlite::Result<Vec<Entry>> {
    let mut sql = Sql::default();
    sql.push(&format!("SELECT 1 FROM {} WHERE ", entries_of(narrowing)), []);
    sql.push_values(narrowing);
    let at = sql.bound.len();
    sql.push(" AND ts_start = ? AND row = ?", [Value::Null, Value::Null]);
    let mut statement = index.prepare_cached(&sql.text)?;
    #[cfg(test)]
    tests::look_at(index, &sql);
    let mut found = Vec::new();
    for entry in entries {
        (sql.bound[at], sql.bound[at + 1]) = (Value::Integer(entry.0), Value::Integer(entry.1));
        if statement.exists(params_from_iter(&sql.bound))? {
            found.push(entry);
        }
    }
    Ok(found)
}

/// The entries of a narrowing's index in a window, up to `most`, in any order.
fn entries(index: &Connection, narrowing: &Narrowing, window: Window, most: usize) -> rusqlite::Result<Vec<Entry>> {
    read_entries(index, all_in(window, narrowing, "ts_start, row"), most)
}

/// The same, but only the numbers of the rows.
fn numbers(index: &Connection, narrowing: &Narrowing, window: Window, most: usize) -> rusqlite::Result<Vec<i64>> {
    read(index, all_in(window, narrowing, "row"), most, |row| row.get(0))
}

fn all_in(window: Window, narrowing: &Narrowing, columns: &str) -> Sql {
    let mut sql = Sql::default();
    sql.push(&format!("SELECT {columns} FROM {} WHERE ", entries_of(narrowing)), []);
    sql.push_values(narrowing);
    sql.push(" AND ts_start >= ? AND ts_start <= ?", window.bounds());
    sql
}

fn read_entries(index: &Connection, sql: Sql, most: usize) -> rusqlite::Result<Vec<Entry>> {
    read(index, sql, most, |row| Ok((row.get(0)?, row.get(1)?)))
}

fn read<T>(
    index: &Connection,
    mut sql: Sql,
    most: usize,
    as_read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    sql.push(" LIMIT ?", [Value::Integer(i64::try_from(most).unwrap_or(i64::MAX))]);
    let mut statement = index.prepare_cached(&sql.text)?;
    // Each of these statements is held to reading an index alone.
    #[cfg(test)]
    tests::look_at(index, &sql);
    statement.query_map(params_from_iter(sql.bound), as_read)?.collect()
}

/// The rows that were read and pass.
struct Picked<'a> {
    asked: Asked<'a>,
    /// All that is asked of a row, behind its number.
    check: Sql,
    /// Start, id and number; newest first, but for the ids of a millisecond.
    rows: Vec<(i64, String, i64)>,
}

impl<'a> Picked<'a> {
    fn new(asked: Asked<'a>, narrowings: &[Narrowing]) -> Picked<'a> {
        let mut check = Sql::default();
        check.push("SELECT id FROM rows WHERE row = ?", [Value::Null]);
        check.push_rest(asked.filter, asked.cursor, narrowings);
        Picked { asked, check, rows: Vec::new() }
    }

    /// Reads what may pass, newest first and older than all before; whether there are enough.
    fn take(&mut self, entries: &[Entry]) -> rusqlite::Result<bool> {
        let mut statement = self.asked.index.prepare_cached(&self.check.text)?;
        for (ts_start, number) in entries {
            // Those of one millisecond are in the order of their ids, so all of them are needed.
            let is_full = self.rows.len() >= self.asked.limit;
            if is_full && self.rows.last().is_some_and(|it| it.0 != *ts_start) {
                break;
            }
            self.check.bound[0] = Value::Integer(*number);
            let id = statement.query_row(params_from_iter(&self.check.bound), |row| row.get(0)).optional()?;
            self.rows.extend(id.map(|id| (*ts_start, id, *number)));
        }
        Ok(self.rows.len() >= self.asked.limit)
    }

    fn numbers(mut self) -> Vec<i64> {
        self.rows.sort_unstable_by(|one, other| other.cmp(one));
        self.rows.into_iter().take(self.asked.limit).map(|it| it.2).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every statement for entries is looked at in every test: it searches, and takes no column from the table. (Of
    /// indexes on computed columns SQLite says that it would read the row too. It puts that off, and never does.)
    pub(super) fn look_at(index: &Connection, sql: &Sql) {
        let told = |explain: &str, column: usize| -> Vec<String> {
            let mut statement = index.prepare_cached(&format!("{explain} {}", sql.text)).unwrap();
            let told = statement
                .query_map(params_from_iter(&sql.bound), |row| row.get_ref(column).map(|it| format!("{it:?}")));
            told.unwrap().map(Result::unwrap).collect()
        };
        let steps = told("EXPLAIN QUERY PLAN", 3);
        assert!(steps.iter().all(|step| !step.contains("SCAN") && !step.contains("TEMP")), "{}: {steps:#?}", sql.text);
        let (names, firsts, thirds) = (told("EXPLAIN", 1), told("EXPLAIN", 2), told("EXPLAIN", 4));
        let is = |at: &usize, name: &str| names[*at].contains(name);
        let tables: Vec<&String> = (0..names.len()).filter(|at| is(at, "DeferredSeek")).map(|at| &thirds[at]).collect();
        let is_read = |at: usize| is(&at, "FinishSeek") || is(&at, "Column") && tables.contains(&&firsts[at]);
        assert!(!(0..names.len()).any(is_read), "{}: {names:#?}", sql.text);
    }

    #[test]
    fn what_two_have_is_told_by_number() {
        let one = vec![(5, 1), (4, 3), (9, 4), (2, 8)];
        assert_eq!(in_both(one.clone(), &[4, 8, 9]), [(9, 4), (2, 8)]);
        assert_eq!(in_both(one.clone(), &[1]), [(5, 1)]);
        assert_eq!(in_both(one, &[]), []);
    }
}
