//! Lists whose rows are found in the indexes alone, and only then read.
//!
//! What several common filters let through is looked for window by window, back in time: a row is read only if all of
//! them have it there. Walking the index of one would read every row that the others refuse.

use std::collections::HashSet;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::gather::gather;
use super::look::Look;
use super::plan::{Narrowing, Values, entries_of};
use super::sql::Sql;
use crate::index::filter::{Cursor, Filter};

/// Row numbers are compared in a map of bits, if they lie no further apart than this.
const MOST_BITS: u64 = 1 << 28;

/// How much is looked at at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measures {
    /// A filter that lets fewer rows through is the way in: each of them is read.
    pub(super) few_rows: i64,
    /// Entries of the leading filter's value that has most of them: in the first window, and in any. Each window has
    /// four times as many as the one before.
    pub(super) entries: [usize; 2],
    /// A filter that has more entries in a window than this many for each row that is left of it is not read through:
    /// each of those rows is looked at in the index of time, or looked for in its own.
    pub(super) entries_per_look: usize,
    /// A row is rather read than looked for under more values than this.
    pub(super) looks_per_row: usize,
    /// A prefix of more paths than this is looked for among the newest rows before its entries are gathered …
    pub(super) few_words: usize,
    /// … among so many of them.
    pub(super) walked: usize,
    /// Entries that are gathered where they cannot be had in the order of time.
    pub(super) most_gathered: usize,
}

impl Measures {
    /// Measured on a million rows: to compare an entry takes 0.15 µs, to look for it 1, to look at a row 2, to read
    /// it 5 to 10, for most are in pages of their own that the connection's cache does not have.
    pub(super) const MEASURED: Measures = Measures {
        few_rows: 512,
        entries: [256, 65_536],
        entries_per_look: 5,
        looks_per_row: 10,
        few_words: 2048,
        walked: 4096,
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
    /// How many entries it has for each of the leader's, as the last window told in which they were counted.
    ratio: Option<f64>,
}

/// A row that may pass: its start and its number.
pub(super) type Entry = (i64, i64);

/// A stretch of time in milliseconds, both ends included.
#[derive(Clone, Copy)]
pub(super) struct Window {
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
        listed.iter().map(|at| Listed { narrowing: &narrowings[*at], ratio: None }).collect();
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
    pub(super) fn bounds(self) -> [Value; 2] {
        [self.first, self.last].map(Value::Integer)
    }

    /// Whether a time is in it.
    pub(super) fn holds(self, ts_start: i64) -> bool {
        (self.first..=self.last).contains(&ts_start)
    }

    /// The time that is asked for, as far as there are rows; `None` if there are none.
    pub(super) fn whole(Asked { index, filter, cursor, .. }: Asked<'_>) -> rusqlite::Result<Option<Window>> {
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
    let [leader, others @ ..] = listed else { return Ok((rest, Vec::new())) };
    let (window, mut left) = latest_entries(index, leader.narrowing, rest, most)?;
    let led = left.len();
    for Listed { narrowing, ratio } in others {
        if left.is_empty() {
            break;
        }
        let can_look = Look::can(narrowing);
        let values = if can_look { 1 } else { narrowing.values_named() };
        let worth = |rows: usize| {
            rows.saturating_mul(values.min(measures.looks_per_row)).saturating_mul(measures.entries_per_look)
        };
        // In the first window it is learnt who has how many.
        let bound = match ratio {
            None => worth(led),
            Some(ratio) if *ratio * led as f64 > worth(left.len()) as f64 => 0,
            Some(_) => worth(left.len()),
        };
        let mut is_read = false;
        if bound > 0 {
            let found = numbers(index, narrowing, window, bound.saturating_add(1))?;
            is_read = found.len() <= bound;
            *ratio = Some(if is_read { found.len() as f64 / led as f64 } else { f64::INFINITY });
            if is_read {
                left = in_both(left, &found);
            }
        }
        if !is_read && !can_look && values <= measures.looks_per_row {
            left = looked_for(index, narrowing, left)?;
        }
    }
    lead_with_the_rarest(listed);
    left.sort_unstable_by(|one, other| other.cmp(one));
    Ok((window, left))
}

/// Puts the rarest first, then the others as they are known to be rare.
fn lead_with_the_rarest(listed: &mut [Listed<'_>]) {
    let of_leader = |it: &Listed<'_>| it.ratio.unwrap_or(f64::INFINITY);
    if let Some(leader) = listed.first_mut() {
        leader.ratio = Some(1.0);
    }
    listed.sort_by(|one, other| of_leader(one).total_cmp(&of_leader(other)));
    let rarest = listed.first().map_or(1.0, of_leader);
    // One without any entry says nothing of how many the others have for each of its own.
    let is_none = rarest == 0.0;
    listed.iter_mut().for_each(|it| it.ratio = it.ratio.map(|ratio| ratio / rarest).filter(|_| !is_none));
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
        sql.push(&format!("SELECT ts_start, row FROM {} WHERE ", entries_of(narrowing)), []);
        sql.push_entries_of(narrowing, *value);
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

/// The entries whose numbers are among the others.
fn in_both(mut one: Vec<Entry>, other: &[i64]) -> Vec<Entry> {
    let numbers = || one.iter().map(|it| it.1);
    let (Some(first), Some(last)) = (numbers().min(), numbers().max()) else { return one };
    let span = last.abs_diff(first);
    if span >= MOST_BITS {
        let other: HashSet<i64> = other.iter().copied().collect();
        one.retain(|it| other.contains(&it.1));
        return one;
    }
    let mut bits = vec![0_u64; (span / 64 + 1) as usize];
    let place = |number: i64| (number.abs_diff(first) / 64, number.abs_diff(first) % 64);
    for number in other.iter().filter(|it| (first..=last).contains(it)) {
        let (word, bit) = place(*number);
        bits[word as usize] |= 1 << bit;
    }
    one.retain(|it| {
        let (word, bit) = place(it.1);
        bits[word as usize] >> bit & 1 == 1
    });
    one
}

/// Those entries that a narrowing's index has too, each looked for.
fn looked_for(index: &Connection, narrowing: &Narrowing, entries: Vec<Entry>) -> rusqlite::Result<Vec<Entry>> {
    let mut sql = Sql::default();
    sql.push(&format!("SELECT 1 FROM {} WHERE ", entries_of(narrowing)), []);
    sql.push_entries(narrowing);
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
    let found = gather::<1>(index, "row", &up_to(index, all_in(window, narrowing, "row"), most))?;
    Ok(found.into_iter().map(|[row]| row).collect())
}

fn all_in(window: Window, narrowing: &Narrowing, columns: &str) -> Sql {
    let mut sql = Sql::default();
    sql.push(&format!("SELECT {columns} FROM {} WHERE ", entries_of(narrowing)), []);
    sql.push_entries(narrowing);
    sql.push(" AND ts_start >= ? AND ts_start <= ?", window.bounds());
    sql
}

fn read_entries(index: &Connection, sql: Sql, most: usize) -> rusqlite::Result<Vec<Entry>> {
    let found = gather::<2>(index, "ts_start, row", &up_to(index, sql, most))?;
    Ok(found.into_iter().map(|[ts_start, row]| (ts_start, row)).collect())
}

pub(super) fn up_to(_index: &Connection, mut sql: Sql, most: usize) -> Sql {
    sql.push(" LIMIT ?", [Value::Integer(i64::try_from(most).unwrap_or(i64::MAX))]);
    // Each of these statements is held to reading an index alone.
    #[cfg(test)]
    tests::look_at(_index, &sql);
    sql
}

/// The rows that were read and pass.
pub(super) struct Picked<'a> {
    asked: Asked<'a>,
    /// What can be asked without reading the row.
    look: Look,
    /// All that is asked of a row, behind its number.
    check: Sql,
    /// Start, id and number; newest first, but for the ids of a millisecond.
    rows: Vec<(i64, String, i64)>,
}

impl<'a> Picked<'a> {
    pub(super) fn new(asked: Asked<'a>, narrowings: &[Narrowing]) -> Picked<'a> {
        let mut check = Sql::default();
        check.push("SELECT id FROM rows WHERE row = ?", [Value::Null]);
        check.push_rest(asked.filter, asked.cursor, narrowings);
        Picked { asked, look: Look::at(narrowings), check, rows: Vec::new() }
    }

    /// Reads what may pass, newest first and older than all before; whether there are enough.
    pub(super) fn take(&mut self, entries: &[Entry]) -> rusqlite::Result<bool> {
        let mut statement = self.asked.index.prepare_cached(&self.check.text)?;
        let mut look = self.look.prepare(self.asked.index)?;
        for (ts_start, number) in entries {
            // Those of one millisecond are in the order of their ids, so all of them are needed.
            let is_full = self.rows.len() >= self.asked.limit;
            if is_full && self.rows.last().is_some_and(|it| it.0 != *ts_start) {
                break;
            }
            if !self.look.passes(&mut look, *ts_start, *number)? {
                continue;
            }
            self.check.bound[0] = Value::Integer(*number);
            let id = statement.query_row(params_from_iter(&self.check.bound), |row| row.get(0)).optional()?;
            self.rows.extend(id.map(|id| (*ts_start, id, *number)));
        }
        Ok(self.rows.len() >= self.asked.limit)
    }

    pub(super) fn numbers(mut self) -> Vec<i64> {
        self.rows.sort_unstable_by(|one, other| other.cmp(one));
        self.rows.into_iter().take(self.asked.limit).map(|it| it.2).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Every statement for entries is looked at in every test: it searches, and takes no column from the table. (Of
    /// indexes on computed columns SQLite says that it would read the row too. It puts that off, and never does.)
    pub(in crate::index::query) fn look_at(index: &Connection, sql: &Sql) {
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
    fn the_rarest_leads_and_the_others_are_told_by_it() {
        let of = |values: &[i64]| {
            let values = Values::These(values.to_vec());
            Narrowing { index: Some("rows_by_model"), column: "model", values, also: None, holds: None }
        };
        let (leader, rare, common, unknown) = (of(&[1]), of(&[2]), of(&[3]), of(&[4]));
        let ratios = |listed: &[Listed<'_>]| -> Vec<(i64, Option<f64>)> {
            let value = |it: &Listed<'_>| if let Values::These(values) = &it.narrowing.values { values[0] } else { 0 };
            listed.iter().map(|it| (value(it), it.ratio)).collect()
        };
        let listed = |narrowing, ratio| Listed { narrowing, ratio };
        let mut all = [
            listed(&leader, None),
            listed(&unknown, None),
            listed(&common, Some(f64::INFINITY)),
            listed(&rare, Some(0.25)),
        ];
        lead_with_the_rarest(&mut all);
        let expected = [(2, Some(1.0)), (1, Some(4.0)), (4, None), (3, Some(f64::INFINITY))];
        assert_eq!(ratios(&all), expected);
        let mut none = [listed(&leader, Some(1.0)), listed(&rare, Some(0.0))];
        lead_with_the_rarest(&mut none);
        assert_eq!(ratios(&none), [(2, None), (1, None)]);
    }

    #[test]
    fn what_two_have_is_told_by_number() {
        for far in [0, MOST_BITS.cast_signed()] {
            let one = vec![(4, 3), (5, 1), (9, 64 + far), (2, 8)];
            assert_eq!(in_both(one.clone(), &[9, 8, 64 + far, i64::MAX, i64::MIN]), [(9, 64 + far), (2, 8)]);
            assert_eq!(in_both(one.clone(), &[1]), [(5, 1)]);
            assert_eq!(in_both(one, &[]), []);
        }
        assert_eq!(in_both(Vec::new(), &[1]), []);
    }
}
