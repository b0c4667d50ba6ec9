//! Which index a list walks. The planner of SQLite knows nothing of our data (and after `ANALYZE` believes
//! too much), so the choice is made here: by counting, a little. Where none is narrow, [`windows`](super::windows) looks
//! at several.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::sql::{PATH_BETWEEN, Sql};
use super::windows::{Asked, Measures, pick_by_gathering, pick_by_windows};
use super::words::{ByWords, pick_by_words};
use crate::ids::{KeyHash, ShortKey};
use crate::index::classes::class_of;
use crate::index::filter::{Cursor, Filter, KeyFilter, PathFilter, StatusFilter};
use crate::index::fresh::Fresh;

/// So many values of a column are merged, each from its own stretch of the index.
const MAX_ARMS: usize = 32;

/// Rows are counted up to here to tell which filter lets the fewest through; further, if all let as many through.
const PROBES: [i64; 3] = [4096, 16_384, 65_536];

/// Text that sorts behind every other with the same beginning.
const LAST: char = char::MAX;

/// What stands in place of an index for the labels, which have a table of their own.
pub(super) const TAGS: &str = "tags";

/// A filter that is ready to be a condition, and perhaps the way in.
#[derive(Debug)]
pub(super) struct Narrowing {
    /// `None` for one that lets nearly everything through: it is never the way in.
    pub(super) index: Option<&'static str>,
    pub(super) column: &'static str,
    pub(super) values: Values,
    /// What must hold beside the column's value, for the same index.
    pub(super) also: Option<(&'static str, Vec<Value>)>,
    /// The same of any row, where the values are only those that merged rows have, and there are fresh rows.
    pub(super) holds: Option<(&'static str, Vec<Value>)>,
}

/// What a column may be.
#[derive(Debug)]
pub(super) enum Values {
    /// One of these numbers.
    These(Vec<i64>),
    /// The number of any word between these two texts: too many to name.
    WordsBetween(String, String),
    /// The number of any key between these two hashes, both included: too many to name.
    KeysBetween(KeyHash, KeyHash),
    /// Nothing.
    Null,
}

/// The numbers of the rows that pass, newest first.
pub(in crate::index) fn pick(
    index: &Connection,
    filter: &Filter,
    limit: usize,
    cursor: Option<Cursor>,
) -> rusqlite::Result<Vec<i64>> {
    pick_measured(Asked { index, filter, cursor, limit }, Measures::MEASURED)
}

fn pick_measured(asked: Asked<'_>, measures: Measures) -> rusqlite::Result<Vec<i64>> {
    let Asked { index, filter, limit, .. } = asked;
    let fresh = Fresh::load(index)?;
    let Some(narrowings) = narrowings(index, filter, fresh)? else { return Ok(Vec::new()) };
    let Some(fresh) = fresh else { return pick_merged(asked, narrowings, measures) };
    let fresh = pick_fresh(asked, &narrowings, fresh)?;
    let merged =
        if narrowings.iter().any(Narrowing::is_empty) { Vec::new() } else { pick_merged(asked, narrowings, measures)? };
    if fresh.is_empty() { Ok(merged) } else { newest_of(index, [merged, fresh].concat(), limit) }
}

/// The same of rows that are merged; of others too where time or labels lead.
fn pick_merged(asked: Asked<'_>, narrowings: Vec<Narrowing>, measures: Measures) -> rusqlite::Result<Vec<i64>> {
    let Asked { index, filter, cursor, limit } = asked;
    let ways: Vec<usize> = (0..narrowings.len()).filter(|at| narrowings[*at].index.is_some()).collect();
    let (in_order, in_any_order): (Vec<usize>, Vec<usize>) = ways.iter().partition(|at| narrowings[**at].is_in_order());
    // One alone is walked or gathered, however many it lets through.
    let few = match ways.len() {
        0 | 1 => None,
        _ => count_all(index, filter, cursor, &narrowings, &ways, measures.few_rows)?.few,
    };
    if few.is_none() {
        for at in in_any_order {
            match pick_by_words(asked, &narrowings, at, in_order.is_empty(), measures)? {
                ByWords::Rows(found) => return Ok(found),
                // Of that time they may be few, which is worth knowing only if nothing else narrows the list.
                ByWords::TooMany if !in_order.is_empty() => continue,
                ByWords::TooMany | ByWords::Unsuited => {}
            }
            if let Some(found) = pick_by_gathering(asked, &narrowings, at, measures)? {
                return Ok(found);
            }
        }
        if in_order.len() > 1 {
            return pick_by_windows(asked, &narrowings, &in_order, measures);
        }
    }
    let sql = plan(narrowings, few.or(in_order.first().copied()), filter, limit, cursor);
    let mut statement = index.prepare_cached(&sql.text)?;
    statement.query_map(params_from_iter(sql.bound), |row| row.get(0))?.collect()
}

/// The same of rows that are fresh. They are looked at one after the other, in the index of time.
fn pick_fresh(asked: Asked<'_>, narrowings: &[Narrowing], fresh: Fresh) -> rusqlite::Result<Vec<i64>> {
    let Asked { index, filter, cursor, limit } = asked;
    let mut sql = Sql::default();
    sql.push(
        "SELECT row FROM rows INDEXED BY rows_by_time WHERE ts_start >= ? AND row >= ? AND fresh = 1",
        [Value::Integer(fresh.since), Value::Integer(fresh.first_row)],
    );
    sql.push_rest(filter, cursor, narrowings);
    sql.push_newest(limit);
    let mut statement = index.prepare_cached(&sql.text)?;
    statement.query_map(params_from_iter(sql.bound), |row| row.get(0))?.collect()
}

/// So many of these rows, newest first and each once.
fn newest_of(index: &Connection, rows: Vec<i64>, limit: usize) -> rusqlite::Result<Vec<i64>> {
    let mut order = index.prepare_cached("SELECT ts_start, id, row FROM rows WHERE row = ?")?;
    let order = rows.iter().map(|number| order.query_row([number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))));
    let mut order: Vec<(i64, String, i64)> = order.collect::<rusqlite::Result<_>>()?;
    order.sort_unstable_by(|one, other| other.cmp(one));
    order.dedup();
    Ok(order.into_iter().take(limit).map(|it| it.2).collect())
}

/// Start and id of the row with this rank among those that pass, the newest having rank 0.
pub(super) fn ranked(index: &Connection, filter: &Filter, rank: u64) -> rusqlite::Result<Option<(i64, String)>> {
    let Some(mut sql) = walk(index, filter, 1, None)? else { return Ok(None) };
    sql.push(" OFFSET ?", [Value::Integer(i64::try_from(rank).unwrap_or(i64::MAX))]);
    let mut statement = index.prepare_cached(&sql.text)?;
    statement.query_row(params_from_iter(sql.bound), |row| Ok((row.get(1)?, row.get(2)?))).optional()
}

/// What a row must be to pass, to be appended to a `WHERE`; `None` if nothing can.
pub(in crate::index) fn conditions(index: &Connection, filter: &Filter) -> rusqlite::Result<Option<Sql>> {
    conditions_behind(index, filter, None)
}

/// As [`conditions`], of rows behind a cursor.
pub(in crate::index) fn conditions_behind(
    index: &Connection,
    filter: &Filter,
    cursor: Option<Cursor>,
) -> rusqlite::Result<Option<Sql>> {
    let Some(narrowings) = narrowings(index, filter, Fresh::load(index)?)? else { return Ok(None) };
    let mut sql = Sql::default();
    sql.push_rest(filter, cursor, &narrowings);
    Ok(Some(sql))
}

/// How many rows the narrowest filter lets through, as far as `most`; `None` if there is no filter but time.
pub(in crate::index) fn fewest(
    index: &Connection,
    filter: &Filter,
    cursor: Option<Cursor>,
    most: i64,
) -> rusqlite::Result<Option<i64>> {
    // Too many, if nobody has counted the fresh ones.
    if Fresh::load(index)?.is_some() {
        return Ok(Some(most));
    }
    let Some(narrowings) = narrowings(index, filter, None)? else { return Ok(Some(0)) };
    let counts = narrowings.iter().map(|it| count(index, filter, cursor, it, most));
    counts.collect::<rusqlite::Result<Vec<i64>>>().map(|counts| counts.into_iter().min())
}

/// The rows that pass, newest first, read along one index, which is that of time while there are fresh ones; `None` if
/// nothing can pass.
fn walk(index: &Connection, filter: &Filter, limit: usize, cursor: Option<Cursor>) -> rusqlite::Result<Option<Sql>> {
    let fresh = Fresh::load(index)?;
    let Some(narrowings) = narrowings(index, filter, fresh)? else { return Ok(None) };
    let way_in = if fresh.is_some() { None } else { choose(index, filter, cursor, &narrowings)? };
    Ok(Some(plan(narrowings, way_in, filter, limit, cursor)))
}

/// The same along the index of this narrowing, or of time.
fn plan(
    mut narrowings: Vec<Narrowing>,
    way_in: Option<usize>,
    filter: &Filter,
    limit: usize,
    cursor: Option<Cursor>,
) -> Sql {
    let way_in = way_in.map(|at| narrowings.swap_remove(at));
    let mut sql = Sql::default();
    match &way_in {
        // The arms of one index are merged in order, each read only as far as needed.
        Some(narrowing @ Narrowing { index: Some(name), values: Values::These(values), .. }) => {
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    sql.push(" UNION ALL ", []);
                }
                sql.push(&format!("SELECT row, ts_start, id FROM {} WHERE ", walked(name)), []);
                sql.push_entries_of(narrowing, *value);
                sql.push_rest(filter, cursor, &narrowings);
            }
        }
        // Few rows, known by counting: gathered and sorted.
        Some(narrowing @ Narrowing { index: Some(name), .. }) => {
            sql.push(&format!("SELECT row, ts_start, id FROM {} WHERE ", walked(name)), []);
            sql.push_entries(narrowing);
            sql.push_rest(filter, cursor, &narrowings);
        }
        _ => {
            sql.push("SELECT row, ts_start, id FROM rows INDEXED BY rows_by_time WHERE 1", []);
            sql.push_rest(filter, cursor, &narrowings);
        }
    }
    sql.push_newest(limit);
    sql
}

/// The narrowing whose index is walked; `None` for the one of time.
fn choose(
    index: &Connection,
    filter: &Filter,
    cursor: Option<Cursor>,
    narrowings: &[Narrowing],
) -> rusqlite::Result<Option<usize>> {
    let mut ways: Vec<usize> = (0..narrowings.len()).filter(|at| narrowings[*at].index.is_some()).collect();
    if let [only] = ways[..]
        && narrowings[only].is_in_order()
    {
        return Ok(Some(only));
    }
    for most in PROBES {
        let counted = count_all(index, filter, cursor, narrowings, &ways, most)?;
        // Those that let more through are worth counting further only if there is a choice.
        match (counted.few, &counted.common[..]) {
            (Some(at), _) => return Ok(Some(at)),
            (None, []) => return Ok(None),
            (None, [only]) => return Ok(Some(*only)),
            (None, _) => ways = counted.common,
        }
    }
    Ok(ways.first().copied())
}

/// What counting up to a bound tells of narrowings.
struct Counted {
    /// Which lets the fewest rows through, if that is less than the bound.
    few: Option<usize>,
    /// Which let more through and can be walked in the order of time.
    common: Vec<usize>,
}

fn count_all(
    index: &Connection,
    filter: &Filter,
    cursor: Option<Cursor>,
    narrowings: &[Narrowing],
    ways: &[usize],
    most: i64,
) -> rusqlite::Result<Counted> {
    let mut best: Option<(i64, usize)> = None;
    let mut common = Vec::new();
    for at in ways {
        let count = count(index, filter, cursor, &narrowings[*at], most)?;
        if count < most && best.is_none_or(|(least, _)| count < least) {
            best = Some((count, *at));
        } else if count == most && narrowings[*at].is_in_order() {
            common.push(*at);
        }
    }
    Ok(Counted { few: best.map(|(_, at)| at), common })
}

/// How many rows a narrowing lets through in the time that is asked for, up to `most`.
fn count(
    index: &Connection,
    filter: &Filter,
    cursor: Option<Cursor>,
    narrowing: &Narrowing,
    most: i64,
) -> rusqlite::Result<i64> {
    if narrowing.index.is_none() {
        return Ok(most);
    }
    let mut sql = Sql::default();
    sql.push(&format!("SELECT count(*) FROM (SELECT 1 FROM {} WHERE ", entries_of(narrowing)), []);
    sql.push_entries(narrowing);
    sql.push_times(filter, cursor);
    sql.push(" LIMIT ?)", [Value::Integer(most)]);
    index.prepare_cached(&sql.text)?.query_row(params_from_iter(sql.bound), |row| row.get(0))
}

/// What a list reads that walks this index.
fn walked(index: &str) -> String {
    match index {
        // Labels in the order of time, each with its row. Both tables have these columns, and they are equal.
        TAGS => "tags CROSS JOIN rows USING (row, ts_start)".to_owned(),
        name => format!("rows INDEXED BY {name}"),
    }
}

/// Where the entries of a narrowing's index stand, each with its time and its row.
pub(super) fn entries_of(narrowing: &Narrowing) -> String {
    match narrowing.index {
        Some(TAGS) => TAGS.to_owned(),
        name => walked(name.unwrap_or("rows_by_time")),
    }
}

impl Narrowing {
    /// Whether no merged row can have any of its values.
    fn is_empty(&self) -> bool {
        matches!(&self.values, Values::These(values) if values.is_empty())
    }

    /// How many values of its column are named, at least 1.
    pub(super) fn values_named(&self) -> usize {
        if let Values::These(values) = &self.values { values.len().max(1) } else { 1 }
    }

    /// Whether the rows of each value come in the order of time, and the values are few enough to merge them.
    fn is_in_order(&self) -> bool {
        let is_range = self.also.as_ref().is_some_and(|(condition, _)| condition.contains('<'));
        matches!(&self.values, Values::These(values) if values.len() <= MAX_ARMS) && !is_range
    }
}

/// The filters beside time, most selective kinds first; `None` if one can match nothing. One that can match nothing that
/// is merged is empty.
fn narrowings(index: &Connection, filter: &Filter, fresh: Option<Fresh>) -> rusqlite::Result<Option<Vec<Narrowing>>> {
    let mut found = Vec::new();
    let of = |index, column, values| Narrowing { index: Some(index), column, values, also: None, holds: None };
    let plain = |index, column, values| of(index, column, Values::These(values));
    let if_fresh = |condition, values: &[i64]| {
        fresh.map(|_| (condition, values.iter().copied().map(Value::Integer).collect::<Vec<_>>()))
    };
    if let Some(root) = &filter.session_root {
        let session = number(index, "SELECT session FROM sessions WHERE root = ?", root)?;
        // A fresh row seems to be a session of its own.
        let condition = "(session = ? OR (fresh = 1 AND rows.id = ?))";
        let known = Value::Integer(session.first().copied().unwrap_or(-1));
        let holds = fresh.map(|_| (condition, vec![known, Value::Text(root.clone())]));
        found.push(Narrowing { holds, ..plain("rows_by_session", "session", session) });
    }
    if let Some(tag) = &filter.tag {
        found.push(plain(TAGS, "tag", word(index, tag)?));
    }
    if let Some(project) = &filter.project {
        found.push(plain("rows_by_project", "client_project", word(index, project)?));
    }
    if let Some(path) = &filter.path {
        found.push(path_narrowing(index, path, fresh)?);
    }
    if let Some(key) = filter.key {
        let values = keys(index, key)?;
        found.push(of("rows_by_key", "key", values));
    }
    if let Some(min_ms) = filter.min_ms.filter(|it| *it > 0) {
        let classes = occurring(index, "rows_by_duration", "duration_class", class_of(min_ms), i64::MAX)?;
        let also = Some(("duration_ms >= ?", vec![Value::Integer(min_ms)]));
        let holds = if_fresh("duration_ms >= ?", &[min_ms]);
        found.push(Narrowing { also, holds, ..plain("rows_by_duration", "duration_class", classes) });
    }
    if let Some(min_tokens) = filter.min_tokens {
        let classes = occurring(index, "rows_by_tokens", "tokens_class", class_of(min_tokens), i64::MAX)?;
        let also = Some(("total_tokens >= ?", vec![Value::Integer(min_tokens)]));
        let holds = if_fresh("total_tokens >= ?", &[min_tokens]);
        found.push(Narrowing { also, holds, ..plain("rows_by_tokens", "tokens_class", classes) });
    }
    match filter.has_media {
        Some(true) => found.push(plain("rows_by_media", "has_media", vec![1])),
        Some(false) => {
            found.push(Narrowing { index: None, ..of("rows_by_media", "has_media", Values::Null) });
        }
        None => {}
    }
    if let Some(end) = filter.end {
        found.push(plain("rows_by_end", "\"end\"", word(index, end.name())?));
    }
    if let Some(kind) = &filter.client_kind {
        found.push(plain("rows_by_client_kind", "client_kind", word(index, kind)?));
    }
    if let Some(stream) = filter.stream {
        found.push(plain("rows_by_stream", "stream", vec![i64::from(stream)]));
    }
    if let Some(model) = &filter.model {
        found.push(plain("rows_by_model", "model", word(index, model)?));
    }
    if let Some(status) = filter.status {
        let (holds, statuses) = match status {
            StatusFilter::Exactly(status) => (None, vec![i64::from(status)]),
            StatusFilter::Class(class) => {
                let (first, end) = (i64::from(class) * 100, (i64::from(class) + 1) * 100);
                (
                    if_fresh("status >= ? AND status < ?", &[first, end]),
                    occurring(index, "rows_by_status", "status", first, end)?,
                )
            }
        };
        found.push(Narrowing { holds, ..plain("rows_by_status", "status", statuses) });
    }
    let is_nothing = |it: &Narrowing| it.is_empty() && it.holds.is_none();
    if found.iter().any(is_nothing) { Ok(None) } else { Ok(Some(found)) }
}

fn path_narrowing(index: &Connection, filter: &PathFilter, fresh: Option<Fresh>) -> rusqlite::Result<Narrowing> {
    let text = |text: &str| Value::Text(text.to_owned());
    let by = |name, values, also| Narrowing { index: Some(name), column: "path", values, also, holds: None };
    let by_path = |values| by("rows_by_path", values, None);
    let by_target = |values, also| by("rows_by_target", values, Some(also));
    Ok(match filter {
        PathFilter::AnyQuery(path) => by_path(Values::These(word(index, path)?)),
        PathFilter::Target { path, query } => {
            by_target(Values::These(word(index, path)?), ("query = ?", vec![text(query)]))
        }
        PathFilter::Prefix(prefix) => match prefix.split_once('?') {
            Some((path, query)) => by_target(
                Values::These(word(index, path)?),
                ("query >= ? AND query < ?", vec![text(query), text(&format!("{query}{LAST}"))]),
            ),
            None => {
                let last = format!("{prefix}{LAST}");
                let holds = fresh.map(|_| (PATH_BETWEEN, vec![text(prefix), text(&last)]));
                Narrowing { holds, ..by_path(paths_between(index, prefix, &last)?) }
            }
        },
    })
}

fn paths_between(index: &Connection, first: &str, last: &str) -> rusqlite::Result<Values> {
    let mut statement = index.prepare_cached(
        "SELECT word FROM words WHERE text >= ? AND text < ? \
         AND EXISTS (SELECT 1 FROM rows WHERE rows.path = word AND fresh IS NULL) LIMIT ?",
    )?;
    let words: Vec<i64> =
        statement.query_map((first, last, MAX_ARMS as i64 + 1), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    if words.len() <= MAX_ARMS {
        return Ok(Values::These(words));
    }
    Ok(Values::WordsBetween(first.to_owned(), last.to_owned()))
}

fn word(index: &Connection, text: &str) -> rusqlite::Result<Vec<i64>> {
    number(index, "SELECT word FROM words WHERE text = ?", text)
}

fn number(index: &Connection, sql: &str, text: &str) -> rusqlite::Result<Vec<i64>> {
    let found: Option<i64> = index.prepare_cached(sql)?.query_row([text], |row| row.get(0)).optional()?;
    Ok(found.into_iter().collect())
}

fn keys(index: &Connection, filter: KeyFilter) -> rusqlite::Result<Values> {
    let (first, last) = match filter {
        KeyFilter::Whole(hash) => (hash, hash),
        KeyFilter::Short(ShortKey([a, b, c, d])) => {
            (KeyHash([a, b, c, d, 0, 0, 0, 0]), KeyHash([a, b, c, d, 0xff, 0xff, 0xff, 0xff]))
        }
        KeyFilter::Between(first, last) => (first, last),
        KeyFilter::Nobody => return Ok(Values::These(Vec::new())),
    };
    let mut statement = index.prepare_cached("SELECT key FROM keys WHERE hash BETWEEN ? AND ? LIMIT ?")?;
    let keys: Vec<i64> = statement
        .query_map((first.0, last.0, MAX_ARMS as i64 + 1), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(if keys.len() <= MAX_ARMS { Values::These(keys) } else { Values::KeysBetween(first, last) })
}

/// The values of a column that merged rows have from `from` on and before `end`, each found by one step into its index.
fn occurring(index: &Connection, name: &str, column: &str, mut from: i64, end: i64) -> rusqlite::Result<Vec<i64>> {
    let sql = format!(
        "SELECT min({column}) FROM rows INDEXED BY {name} WHERE {column} >= ? AND {column} < ? AND fresh IS NULL"
    );
    let mut next = index.prepare_cached(&sql)?;
    let mut found = Vec::new();
    while let Some(value) = next.query_row((from, end), |row| row.get::<_, Option<i64>>(0))? {
        found.push(value);
        from = value + 1;
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
