//! Which index a list walks. The planner of SQLite knows nothing of our data (and after `ANALYZE` believes
//! too much), so the choice is made here: by counting, a little.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::ids::{KeyHash, ShortKey};
use crate::index::classes::class_of;
use crate::index::filter::{Cursor, Filter, KeyFilter, PathFilter, StatusFilter};

/// So many values of a column are merged, each from its own stretch of the index.
const MAX_ARMS: usize = 24;

/// Rows are counted up to here to tell which filter lets the fewest through; further, if all let as many through.
const PROBES: [i64; 3] = [4096, 16_384, 65_536];

/// Text that sorts behind every other with the same beginning.
const LAST: char = char::MAX;

/// What stands in place of an index for the labels, which have a table of their own.
const TAGS: &str = "tags";

/// A filter that is ready to be a condition, and perhaps the way in.
#[derive(Debug)]
struct Narrowing {
    /// `None` for one that lets nearly everything through: it is never the way in.
    index: Option<&'static str>,
    column: &'static str,
    values: Values,
    /// What must hold beside the column's value, for the same index.
    also: Option<(&'static str, Vec<Value>)>,
}

/// What a column may be.
#[derive(Debug)]
enum Values {
    /// One of these numbers.
    These(Vec<i64>),
    /// The number of any word between these two texts: too many to name.
    WordsBetween(String, String),
    /// The number of any key between these two hashes, both included: too many to name.
    KeysBetween(KeyHash, KeyHash),
    /// Nothing.
    Null,
}

/// SQL with what is bound to it.
#[derive(Debug, Default)]
pub(in crate::index) struct Sql {
    pub(in crate::index) text: String,
    pub(in crate::index) bound: Vec<Value>,
}

/// The numbers of the rows that pass, newest first.
pub(in crate::index) fn pick(
    index: &Connection,
    filter: &Filter,
    limit: usize,
    cursor: Option<Cursor>,
) -> rusqlite::Result<Vec<i64>> {
    let Some(sql) = plan(index, filter, limit, cursor)? else { return Ok(Vec::new()) };
    let mut statement = index.prepare_cached(&sql.text)?;
    statement.query_map(params_from_iter(sql.bound), |row| row.get(0))?.collect()
}

/// Start and id of the row with this rank among those that pass, the newest having rank 0.
pub(super) fn ranked(index: &Connection, filter: &Filter, rank: u64) -> rusqlite::Result<Option<(i64, String)>> {
    let Some(mut sql) = plan(index, filter, 1, None)? else { return Ok(None) };
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
    let Some(narrowings) = narrowings(index, filter)? else { return Ok(None) };
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
    let Some(narrowings) = narrowings(index, filter)? else { return Ok(Some(0)) };
    let counts = narrowings.iter().map(|it| count(index, filter, cursor, it, most));
    counts.collect::<rusqlite::Result<Vec<i64>>>().map(|counts| counts.into_iter().min())
}

/// `None` if nothing can pass.
fn plan(index: &Connection, filter: &Filter, limit: usize, cursor: Option<Cursor>) -> rusqlite::Result<Option<Sql>> {
    let Some(mut narrowings) = narrowings(index, filter)? else { return Ok(None) };
    let way_in = choose(index, filter, cursor, &narrowings)?.map(|at| narrowings.swap_remove(at));
    let mut sql = Sql::default();
    match &way_in {
        // The arms of one index are merged in order, each read only as far as needed.
        Some(Narrowing { index: Some(name), column, values: Values::These(values), also }) => {
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    sql.push(" UNION ALL ", []);
                }
                let from = walked(name);
                let text = format!("SELECT row, ts_start, id FROM {from} WHERE {column} = ?");
                sql.push(&text, [Value::Integer(*value)]);
                sql.push_also(also);
                sql.push_rest(filter, cursor, &narrowings);
            }
        }
        // Few rows, known by counting: gathered and sorted.
        Some(narrowing @ Narrowing { index: Some(name), .. }) => {
            sql.push(&format!("SELECT row, ts_start, id FROM {} WHERE ", walked(name)), []);
            sql.push_values(narrowing);
            sql.push_rest(filter, cursor, &narrowings);
        }
        _ => {
            sql.push("SELECT row, ts_start, id FROM rows INDEXED BY rows_by_time WHERE 1", []);
            sql.push_rest(filter, cursor, &narrowings);
        }
    }
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    sql.push(" ORDER BY ts_start DESC, id DESC LIMIT ?", [Value::Integer(limit)]);
    Ok(Some(sql))
}

/// The narrowing whose index is walked; `None` for the one of time.
fn choose(
    index: &Connection,
    filter: &Filter,
    cursor: Option<Cursor>,
    narrowings: &[Narrowing],
) -> rusqlite::Result<Option<usize>> {
    let can_merge =
        |it: &Narrowing| matches!(&it.values, Values::These(values) if values.len() <= MAX_ARMS) && !is_range(it);
    let mut ways: Vec<usize> = (0..narrowings.len()).filter(|at| narrowings[*at].index.is_some()).collect();
    if let [only] = ways[..]
        && can_merge(&narrowings[only])
    {
        return Ok(Some(only));
    }
    for most in PROBES {
        let mut best: Option<(i64, usize)> = None;
        let mut full = Vec::new();
        for at in ways {
            let narrowing = &narrowings[at];
            let count = count(index, filter, cursor, narrowing, most)?;
            if count < most && best.is_none_or(|(least, _)| count < least) {
                best = Some((count, at));
            } else if count == most && can_merge(narrowing) {
                full.push(at);
            }
        }
        // Those that let more through are worth counting further only if there is a choice.
        match (best, &full[..]) {
            (Some((_, at)), _) => return Ok(Some(at)),
            (None, []) => return Ok(None),
            (None, [only]) => return Ok(Some(*only)),
            (None, _) => ways = full,
        }
    }
    Ok(ways.first().copied())
}

/// How many rows a narrowing lets through in the time that is asked for, up to `most`.
fn count(
    index: &Connection,
    filter: &Filter,
    cursor: Option<Cursor>,
    narrowing: &Narrowing,
    most: i64,
) -> rusqlite::Result<i64> {
    let Some(name) = narrowing.index else { return Ok(most) };
    let mut sql = Sql::default();
    // The entries of its index alone: labels have their times beside them.
    let from = if name == TAGS { TAGS.to_owned() } else { walked(name) };
    sql.push(&format!("SELECT count(*) FROM (SELECT 1 FROM {from} WHERE "), []);
    sql.push_values(narrowing);
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

/// Whether its rows come in the order of something else than time.
fn is_range(narrowing: &Narrowing) -> bool {
    narrowing.also.as_ref().is_some_and(|(condition, _)| condition.contains('<'))
}

/// The filters beside time, most selective kinds first; `None` if one can match nothing.
fn narrowings(index: &Connection, filter: &Filter) -> rusqlite::Result<Option<Vec<Narrowing>>> {
    let mut found = Vec::new();
    let plain =
        |index, column, values| Narrowing { index: Some(index), column, values: Values::These(values), also: None };
    if let Some(root) = &filter.session_root {
        let session = number(index, "SELECT session FROM sessions WHERE root = ?", root)?;
        found.push(plain("rows_by_session", "session", session));
    }
    if let Some(tag) = &filter.tag {
        found.push(plain(TAGS, "tag", word(index, tag)?));
    }
    if let Some(project) = &filter.project {
        found.push(plain("rows_by_project", "client_project", word(index, project)?));
    }
    if let Some(path) = &filter.path {
        found.push(path_narrowing(index, path)?);
    }
    if let Some(key) = filter.key {
        let values = keys(index, key)?;
        found.push(Narrowing { index: Some("rows_by_key"), column: "key", values, also: None });
    }
    if let Some(min_ms) = filter.min_ms.filter(|it| *it > 0) {
        let classes = classes(index, "duration_class", min_ms)?;
        let also = Some(("duration_ms >= ?", vec![Value::Integer(min_ms)]));
        found.push(Narrowing { also, ..plain("rows_by_duration", "duration_class", classes) });
    }
    if let Some(min_tokens) = filter.min_tokens {
        let classes = classes(index, "tokens_class", min_tokens)?;
        let also = Some(("total_tokens >= ?", vec![Value::Integer(min_tokens)]));
        found.push(Narrowing { also, ..plain("rows_by_tokens", "tokens_class", classes) });
    }
    match filter.has_media {
        Some(true) => found.push(plain("rows_by_media", "has_media", vec![1])),
        Some(false) => {
            found.push(Narrowing { index: None, column: "has_media", values: Values::Null, also: None });
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
        found.push(plain("rows_by_status", "status", statuses(index, status)?));
    }
    let is_empty = |it: &Narrowing| matches!(&it.values, Values::These(values) if values.is_empty());
    if found.iter().any(is_empty) { Ok(None) } else { Ok(Some(found)) }
}

fn path_narrowing(index: &Connection, filter: &PathFilter) -> rusqlite::Result<Narrowing> {
    let text = |text: &str| Value::Text(text.to_owned());
    let by_path = |values, also| Narrowing { index: Some("rows_by_path"), column: "path", values, also };
    let by_target =
        |values, also| Narrowing { index: Some("rows_by_target"), column: "path", values, also: Some(also) };
    Ok(match filter {
        PathFilter::AnyQuery(path) => by_path(Values::These(word(index, path)?), None),
        PathFilter::Target { path, query } => {
            by_target(Values::These(word(index, path)?), ("query = ?", vec![text(query)]))
        }
        PathFilter::Prefix(prefix) => match prefix.split_once('?') {
            Some((path, query)) => by_target(
                Values::These(word(index, path)?),
                ("query >= ? AND query < ?", vec![text(query), text(&format!("{query}{LAST}"))]),
            ),
            None => by_path(paths_between(index, prefix, &format!("{prefix}{LAST}"))?, None),
        },
    })
}

fn paths_between(index: &Connection, first: &str, last: &str) -> rusqlite::Result<Values> {
    let mut statement = index.prepare_cached(
        "SELECT word FROM words WHERE text >= ? AND text < ? \
         AND EXISTS (SELECT 1 FROM rows WHERE rows.path = word) LIMIT ?",
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

/// The statuses that occur.
fn statuses(index: &Connection, filter: StatusFilter) -> rusqlite::Result<Vec<i64>> {
    match filter {
        StatusFilter::Exactly(status) => Ok(vec![i64::from(status)]),
        StatusFilter::Class(class) => occurring(index, "status", i64::from(class) * 100, (i64::from(class) + 1) * 100),
    }
}

/// The classes that occur and may hold so large a number.
fn classes(index: &Connection, column: &str, least: i64) -> rusqlite::Result<Vec<i64>> {
    occurring(index, column, class_of(least), i64::MAX)
}

/// The values of a column that occur from `from` on and before `end`, each found by one step into its index.
fn occurring(index: &Connection, column: &str, mut from: i64, end: i64) -> rusqlite::Result<Vec<i64>> {
    let sql = format!("SELECT min({column}) FROM rows WHERE {column} >= ? AND {column} < ?");
    let mut next = index.prepare_cached(&sql)?;
    let mut found = Vec::new();
    while let Some(value) = next.query_row((from, end), |row| row.get::<_, Option<i64>>(0))? {
        found.push(value);
        from = value + 1;
    }
    Ok(found)
}

impl Sql {
    fn push(&mut self, text: &str, bound: impl IntoIterator<Item = Value>) {
        self.text.push_str(text);
        self.bound.extend(bound);
    }

    /// A narrowing as a condition on a row.
    fn push_narrowing(&mut self, narrowing: &Narrowing) {
        if narrowing.index != Some(TAGS) {
            return self.push_values(narrowing);
        }
        self.push("EXISTS (SELECT 1 FROM tags WHERE ", []);
        self.push_values(narrowing);
        self.push(" AND tags.ts_start = rows.ts_start AND tags.row = rows.row)", []);
    }

    /// The same on an entry of its index.
    fn push_values(&mut self, narrowing: &Narrowing) {
        let column = narrowing.column;
        match &narrowing.values {
            Values::These(values) => {
                let marks = vec!["?"; values.len()].join(",");
                self.push(&format!("{column} IN ({marks})"), values.iter().map(|value| Value::Integer(*value)));
            }
            Values::WordsBetween(first, last) => {
                let sql = format!("{column} IN (SELECT word FROM words WHERE text >= ? AND text < ?)");
                self.push(&sql, [Value::Text(first.clone()), Value::Text(last.clone())]);
            }
            Values::Null => self.push(&format!("{column} IS NULL"), []),
            Values::KeysBetween(first, last) => {
                let sql = format!("{column} IN (SELECT key FROM keys WHERE hash BETWEEN ? AND ?)");
                self.push(&sql, [first, last].map(|hash| Value::Blob(hash.0.to_vec())));
            }
        }
        self.push_also(&narrowing.also);
    }

    fn push_also(&mut self, also: &Option<(&'static str, Vec<Value>)>) {
        if let Some((condition, values)) = also {
            self.push(&format!(" AND {condition}"), values.iter().cloned());
        }
    }

    /// Every condition but the one that led in.
    fn push_rest(&mut self, filter: &Filter, cursor: Option<Cursor>, narrowings: &[Narrowing]) {
        self.push_times(filter, cursor);
        if let Some(cursor) = cursor {
            let id = Value::Text(cursor.id.to_string());
            self.push(" AND (ts_start < ? OR id < ?)", [Value::Integer(cursor.ts_start.0), id]);
        }
        for narrowing in narrowings {
            self.push(" AND ", []);
            self.push_narrowing(narrowing);
        }
    }

    /// The bounds in time, which every index has as its second part.
    fn push_times(&mut self, filter: &Filter, cursor: Option<Cursor>) {
        if let Some(since) = filter.since {
            self.push(" AND ts_start >= ?", [Value::Integer(since.0)]);
        }
        let until = filter.until.map(|until| until.0.saturating_sub(1));
        let last = until.into_iter().chain(cursor.map(|cursor| cursor.ts_start.0)).min();
        if let Some(last) = last {
            self.push(" AND ts_start <= ?", [Value::Integer(last)]);
        }
    }
}

#[cfg(test)]
mod tests;
