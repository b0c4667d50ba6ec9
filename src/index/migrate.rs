//! An index of an earlier schema, brought to the present one where it stands.

use rusqlite::{Connection, TransactionBehavior};

use crate::index::schema::VERSION;
use crate::index::stats::rollup;

/// One step from a schema version to the next.
pub(super) struct Migration {
    sql: &'static str,
    /// What SQL cannot say of rows that are there already.
    fill: fn(&Connection) -> rusqlite::Result<()>,
}

/// Every step there is: the first leads from version 1 to 2, and so on. What is older is rebuilt from the files. Indexes of
/// lists are made by the last step alone, for they name columns that only it adds.
const MIGRATIONS: &[Migration] = &[
    // Segments learn whose line stands first, by which a file that replaced another one is told.
    Migration {
        sql: "ALTER TABLE segments ADD COLUMN first_trace TEXT;
              UPDATE segments SET first_trace = rows.id FROM rows
              WHERE rows.segment = segments.segment AND rows.jsonl_offset = 0;",
        fill: |_| Ok(()),
    },
    // Rows can be found by their labels.
    Migration {
        sql: "CREATE TABLE tags (
                  tag      INTEGER NOT NULL,
                  ts_start INTEGER NOT NULL,
                  row      INTEGER NOT NULL,
                  PRIMARY KEY (tag, ts_start, row)
              ) WITHOUT ROWID;
              CREATE TRIGGER rows_untagged AFTER DELETE ON rows WHEN old.tags IS NOT NULL BEGIN
                  DELETE FROM tags WHERE ts_start = old.ts_start AND row = old.row
                      AND tag IN (SELECT word FROM words JOIN json_each(old.tags) ON text = value);
              END;
              INSERT OR IGNORE INTO words (text) SELECT value FROM rows, json_each(rows.tags) WHERE rows.tags IS NOT NULL;
              INSERT OR IGNORE INTO tags (tag, ts_start, row) SELECT word, ts_start, row
              FROM rows, json_each(rows.tags) JOIN words ON text = value WHERE rows.tags IS NOT NULL;",
        fill: |_| Ok(()),
    },
    // Filters by client, duration, tokens, attachments and end; statistics.
    Migration {
        sql: concat!(include_str!("schema_classes.sql"), include_str!("schema_rollups.sql")),
        fill: rollup::fill,
    },
    // Finer classes, where the requests of agents lie.
    Migration {
        sql: concat!(
            "DROP INDEX IF EXISTS rows_by_client_kind; DROP INDEX IF EXISTS rows_by_stream;
             DROP INDEX IF EXISTS rows_by_end; DROP INDEX IF EXISTS rows_by_media;
             DROP INDEX IF EXISTS rows_by_duration; DROP INDEX IF EXISTS rows_by_tokens;
             ALTER TABLE rows DROP COLUMN duration_class; ALTER TABLE rows DROP COLUMN tokens_class;
             ALTER TABLE rows DROP COLUMN has_media;",
            include_str!("schema_classes.sql"),
        ),
        fill: |_| Ok(()),
    },
    // Rows may be fresh, and stand in few indexes then; that of time holds what filters ask for.
    Migration {
        sql: concat!(
            include_str!("schema_fresh.sql"),
            "DROP INDEX IF EXISTS rows_by_client_kind; DROP INDEX IF EXISTS rows_by_stream;
             DROP INDEX IF EXISTS rows_by_end; DROP INDEX IF EXISTS rows_by_media;
             DROP INDEX IF EXISTS rows_by_duration; DROP INDEX IF EXISTS rows_by_tokens;
             DROP INDEX sessions_by_last; DROP INDEX rows_by_time; DROP INDEX rows_by_status; DROP INDEX rows_by_path;
             DROP INDEX rows_by_target; DROP INDEX rows_by_model; DROP INDEX rows_by_key; DROP INDEX rows_by_session;
             DROP INDEX rows_by_project; DROP INDEX rows_by_segment; DROP INDEX rows_by_id; DROP INDEX rows_by_prefix;
             DROP INDEX rows_by_response; DROP INDEX rows_by_conversation; DROP VIEW traces;",
            include_str!("schema_view.sql"),
            include_str!("schema_links.sql"),
            include_str!("schema_lists.sql"),
            include_str!("schema_filters.sql"),
        ),
        fill: |_| Ok(()),
    },
];

/// The version that the last step leads to.
pub(super) const LATEST: i32 = MIGRATIONS.len() as i32 + 1;

/// The steps that bring an index of this `user_version` to the present one; `None` if none do.
pub(super) fn migrations_from(found: i32) -> Option<&'static [Migration]> {
    let schema = found.checked_sub(VERSION - LATEST)?;
    let done = usize::try_from(schema.checked_sub(1)?).ok()?;
    MIGRATIONS.get(done..).filter(|it| !it.is_empty())
}

/// Runs these steps in one transaction. Another process that looks at the same time sees all of them or none.
pub(super) fn run(connection: &mut Connection, migrations: &[Migration]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for migration in migrations {
        transaction.execute_batch(migration.sql)?;
        (migration.fill)(&transaction)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UnixMillis;
    use crate::index::schema;

    #[test]
    fn the_steps_lead_from_each_version_to_the_present_one() {
        let base = VERSION - LATEST;
        for schema in 1..LATEST {
            let steps = migrations_from(base + schema).map(<[Migration]>::len);
            assert_eq!(steps, Some((LATEST - schema) as usize), "{schema}");
        }
        for other in [0, base, VERSION, VERSION + 1, base + 1001, base - 999, -1, i32::MIN] {
            assert!(migrations_from(other).is_none(), "{other}");
        }
    }

    #[test]
    fn an_index_of_the_first_schema_opens_migrated_and_whole() {
        let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/index-v1.sql");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.sqlite");
        let first = Connection::open(&path).unwrap();
        first.execute_batch(&std::fs::read_to_string(fixture).unwrap()).unwrap();
        first.execute("UPDATE rows SET tags = '[\"a\", \"chat\", \"a\"]' WHERE jsonl_offset = 0", []).unwrap();
        drop(first);
        let (index, aside) = schema::open_or_replace(&path, UnixMillis(1)).unwrap();
        assert_eq!(aside, None);
        let firsts: Vec<(String, Option<String>)> = index
            .prepare("SELECT path, first_trace FROM segments ORDER BY path")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        assert_eq!(
            firsts,
            [
                ("2026-05-27/01010101.jsonl".to_owned(), Some("00000100000000000000000001".to_owned())),
                ("2026-05-28/01010101.jsonl".to_owned(), None),
            ]
        );
        let shape = |index: &Connection| -> Vec<(String, String)> {
            let mut columns = index
                .prepare("SELECT m.name, group_concat(c.name) FROM sqlite_schema m JOIN pragma_table_xinfo(m.name) c GROUP BY m.name UNION ALL SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
                .unwrap();
            let columns = columns.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
            columns.collect::<rusqlite::Result<_>>().unwrap()
        };
        let sorted = |mut shape: Vec<(String, String)>| {
            shape.sort();
            shape
        };
        let labels = "SELECT group_concat(text, ' ' ORDER BY text) FROM tags JOIN words ON word = tag
            JOIN rows USING (row, ts_start) GROUP BY row";
        assert_eq!(index.query_row(labels, [], |row| row.get::<_, String>(0)).unwrap(), "a chat");
        index.execute("DELETE FROM rows", []).unwrap();
        assert_eq!(index.query_row("SELECT count(*) FROM tags", [], |row| row.get::<_, i64>(0)).unwrap(), 0);
        let fresh = schema::open_writer(&dir.path().join("fresh")).unwrap();
        assert_eq!(sorted(shape(&index)), sorted(shape(&fresh)));
        assert!(schema::open_reader(&path).is_ok());
    }
}
