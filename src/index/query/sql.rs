//! Questions in SQL, put together of what narrows a list.

use rusqlite::types::Value;

use super::plan::{Narrowing, TAGS, Values};
use crate::index::filter::{Cursor, Filter};

/// Of a row, whether its path lies between two texts.
pub(super) const PATH_BETWEEN: &str = "EXISTS (SELECT 1 FROM words WHERE word = rows.path AND text >= ? AND text < ?)";

/// SQL with what is bound to it.
#[derive(Debug, Default)]
pub(in crate::index) struct Sql {
    pub(in crate::index) text: String,
    pub(in crate::index) bound: Vec<Value>,
}

impl Sql {
    pub(super) fn push(&mut self, text: &str, bound: impl IntoIterator<Item = Value>) {
        self.text.push_str(text);
        self.bound.extend(bound);
    }

    /// A narrowing as a condition on a row. What stands elsewhere is looked up for that row: it may be read for a few
    /// rows only, and gathering thousands of words takes milliseconds.
    pub(super) fn push_narrowing(&mut self, narrowing: &Narrowing) {
        if let Some((condition, values)) = &narrowing.holds {
            return self.push(condition, values.iter().cloned());
        }
        match &narrowing.values {
            _ if narrowing.index == Some(TAGS) => {
                self.push("EXISTS (SELECT 1 FROM tags WHERE ", []);
                self.push_values(narrowing);
                self.push(" AND tags.ts_start = rows.ts_start AND tags.row = rows.row)", []);
            }
            Values::WordsBetween(first, last) => {
                self.push(PATH_BETWEEN, [first, last].map(|text| Value::Text(text.clone())));
                self.push_also(&narrowing.also);
            }
            Values::KeysBetween(first, last) => {
                let sql = "EXISTS (SELECT 1 FROM keys WHERE keys.key = rows.key AND hash BETWEEN ? AND ?)";
                self.push(sql, [first, last].map(|hash| Value::Blob(hash.0.to_vec())));
                self.push_also(&narrowing.also);
            }
            Values::These(_) | Values::Null => self.push_values(narrowing),
        }
    }

    /// The same by the values that are known.
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

    /// The same, of one of its values, as that of an index.
    pub(super) fn push_entries_of(&mut self, narrowing: &Narrowing, value: i64) {
        self.push(&format!("{} = ?", narrowing.column), [Value::Integer(value)]);
        self.push_also(&narrowing.also);
        self.push_merged(narrowing);
    }

    /// A narrowing as the condition on an entry of its index.
    pub(super) fn push_entries(&mut self, narrowing: &Narrowing) {
        self.push_values(narrowing);
        self.push_merged(narrowing);
    }

    /// Fresh rows have labels, but stand in no index of a list.
    fn push_merged(&mut self, narrowing: &Narrowing) {
        if narrowing.index != Some(TAGS) {
            self.push(" AND fresh IS NULL", []);
        }
    }

    pub(super) fn push_also(&mut self, also: &Option<(&'static str, Vec<Value>)>) {
        if let Some((condition, values)) = also {
            self.push(&format!(" AND {condition}"), values.iter().cloned());
        }
    }

    /// Every condition but the one that led in.
    pub(super) fn push_rest(&mut self, filter: &Filter, cursor: Option<Cursor>, narrowings: &[Narrowing]) {
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

    /// So many, newest first.
    pub(super) fn push_newest(&mut self, limit: usize) {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.push(" ORDER BY ts_start DESC, id DESC LIMIT ?", [Value::Integer(limit)]);
    }

    /// The bounds in time, which every index has as its second part.
    pub(super) fn push_times(&mut self, filter: &Filter, cursor: Option<Cursor>) {
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
