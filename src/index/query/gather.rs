//! Many numbers out of the database at once. Row by row, handing over takes longer than finding.

use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::{Connection, params_from_iter};

use super::sql::Sql;

/// `gathered(a, …)`: its integers, row by row, as the bytes of this machine; null for no rows.
struct Gathered;

impl Aggregate<Vec<u8>, Option<Vec<u8>>> for Gathered {
    fn init(&self, _: &mut Context<'_>) -> rusqlite::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn step(&self, row: &mut Context<'_>, bytes: &mut Vec<u8>) -> rusqlite::Result<()> {
        for at in 0..row.len() {
            bytes.extend_from_slice(&row.get::<i64>(at)?.to_ne_bytes());
        }
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, bytes: Option<Vec<u8>>) -> rusqlite::Result<Option<Vec<u8>>> {
        Ok(bytes)
    }
}

/// Lets a connection gather.
pub(in crate::index) fn register(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_aggregate_function("gathered", -1, flags, Gathered)
}

/// The integers of these columns, in the order of the question's rows.
pub(super) fn gather<const COLUMNS: usize>(
    index: &Connection,
    columns: &str,
    sql: &Sql,
) -> rusqlite::Result<Vec<[i64; COLUMNS]>> {
    let text = format!("SELECT gathered({columns}) FROM ({})", sql.text);
    let mut statement = index.prepare_cached(&text)?;
    statement.query_row(params_from_iter(&sql.bound), |row| {
        let bytes = row.get_ref(0)?.as_blob_or_null()?.unwrap_or_default();
        let (numbers, _) = bytes.as_chunks::<8>();
        let (rows, _) = numbers.as_chunks::<COLUMNS>();
        Ok(rows.iter().map(|row| row.map(i64::from_ne_bytes)).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gathered_comes_in_order() {
        let index = Connection::open_in_memory().unwrap();
        register(&index).unwrap();
        index
            .execute_batch("CREATE TABLE t (a INTEGER, b INTEGER); INSERT INTO t VALUES (3, -1), (1, 5), (2, 7)")
            .unwrap();
        let asked = |text: &str| Sql { text: text.into(), bound: Vec::new() };
        let newest = asked("SELECT a, b FROM t ORDER BY a DESC LIMIT 2");
        assert_eq!(gather::<2>(&index, "a, b", &newest).unwrap(), [[3, -1], [2, 7]]);
        assert_eq!(gather::<1>(&index, "b", &newest).unwrap(), [[-1], [7]]);
        let none = asked("SELECT a, b FROM t WHERE a > 3 LIMIT 1");
        assert_eq!(gather::<2>(&index, "a, b", &none).unwrap(), [] as [[i64; 2]; 0]);
        let broken = asked("SELECT 'x' AS a LIMIT 1");
        assert!(gather::<1>(&index, "a", &broken).is_err());
    }
}
