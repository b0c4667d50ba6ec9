//! A look at a row that does not read it: at its entry in the index of time, which holds what filters ask for.

use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, OptionalExtension};

use super::plan::{Narrowing, Values};
use super::sql::Sql;

/// What is looked at.
pub(super) struct Look {
    columns: Vec<&'static str>,
    /// What must hold of each.
    checks: Vec<Check>,
}

/// What must hold of a number, which may be absent.
enum Check {
    Among(Vec<i64>),
    AtLeast(i64),
    Absent,
}

impl Look {
    /// At all that can be looked at of these narrowings.
    pub(super) fn at(narrowings: &[Narrowing]) -> Look {
        let (columns, checks) = narrowings.iter().filter_map(Check::of).unzip();
        Look { columns, checks }
    }

    /// Whether a narrowing can be looked at.
    pub(super) fn can(narrowing: &Narrowing) -> bool {
        Check::of(narrowing).is_some()
    }

    /// The statement for [`Look::passes`]; `None` if there is nothing to look at.
    pub(super) fn prepare<'c>(&self, index: &'c Connection) -> rusqlite::Result<Option<CachedStatement<'c>>> {
        if self.columns.is_empty() {
            return Ok(None);
        }
        let columns = self.columns.join(", ");
        let mut sql = Sql::default();
        sql.push(
            &format!("SELECT {columns} FROM rows INDEXED BY rows_by_time WHERE ts_start = ? AND row = ?"),
            [Value::Integer(0), Value::Integer(0)],
        );
        #[cfg(test)]
        super::windows::tests::look_at(index, &sql);
        index.prepare_cached(&sql.text).map(Some)
    }

    /// Whether a row may pass, as far as can be seen.
    pub(super) fn passes(
        &self,
        statement: &mut Option<CachedStatement<'_>>,
        ts_start: i64,
        number: i64,
    ) -> rusqlite::Result<bool> {
        let Some(statement) = statement else { return Ok(true) };
        let seen = statement.query_row([ts_start, number], |row| {
            for (at, check) in self.checks.iter().enumerate() {
                if !check.holds(row.get(at)?) {
                    return Ok(false);
                }
            }
            Ok(true)
        });
        seen.optional().map(|it| it.unwrap_or(false))
    }
}

impl Check {
    fn of(narrowing: &Narrowing) -> Option<(&'static str, Check)> {
        let least = || match narrowing.also.as_ref().map(|(_, values)| &values[..]) {
            Some([Value::Integer(least)]) => Some(Check::AtLeast(*least)),
            _ => None,
        };
        match (narrowing.column, &narrowing.values) {
            ("duration_class", _) => Some(("duration_ms", least()?)),
            ("tokens_class", _) => Some(("total_tokens", least()?)),
            ("tag" | "session", _) => None,
            (column, Values::These(values)) if narrowing.also.is_none() => Some((column, Check::Among(values.clone()))),
            (column, Values::Null) => Some((column, Check::Absent)),
            _ => None,
        }
    }

    fn holds(&self, value: Option<i64>) -> bool {
        match (self, value) {
            (Check::Among(values), Some(value)) => values.contains(&value),
            (Check::AtLeast(least), Some(value)) => value >= *least,
            (Check::Absent, value) => value.is_none(),
            (_, None) => false,
        }
    }
}
