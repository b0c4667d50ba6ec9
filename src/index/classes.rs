//! Numbers in classes, so that "at least so many" is found in the order of time: the classes that lie above are walked
//! side by side, each by its own stretch of an index, and only of the one that the bound lies in rows are passed over.

/// Where each class but the first begins. Half octaves where durations (ms) and tokens of most traces lie, else whole
/// ones. The generated columns `duration_class` and `tokens_class` of the schema say the same in SQL.
pub(super) const BEGINS: [i64; 25] = [
    16, 32, 64, 128, 256, 512, 1024, 1448, 2048, 2896, 4096, 5793, 8192, 11_585, 16_384, 23_170, 32_768, 46_341,
    65_536, 92_682, 131_072, 185_364, 262_144, 524_288, 1_048_576,
];

/// The class of a number.
pub(super) fn class_of(number: i64) -> i64 {
    BEGINS.partition_point(|begin| *begin <= number) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::testing::new_index;
    use crate::store::layout::Layout;

    #[test]
    fn the_schema_has_the_same_classes() {
        let dir = tempfile::tempdir().unwrap();
        let (index, _) = new_index(&Layout::new(dir.path()));
        let columns: Vec<&str> = "id ts_start client method path upstream status \"end\" disconnected truncated_req \
            truncated_resp protocol key session media_count segment jsonl_offset jsonl_bytes"
            .split_whitespace()
            .collect();
        let insert = format!(
            "INSERT INTO rows (duration_ms, total_tokens, {}) VALUES (?1, ?1{})",
            columns.join(","),
            ",?1".repeat(columns.len())
        );
        for begin in BEGINS {
            for number in [begin - 1, begin] {
                index.execute(&insert, [number]).unwrap();
            }
        }
        index.execute(&insert.replacen("(?1, ?1", "(?1, NULL", 1), [-1]).unwrap();
        let mut found = index.prepare("SELECT duration_ms, duration_class, tokens_class FROM rows").unwrap();
        let found = found.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        let found: Vec<(i64, i64, Option<i64>)> = found.collect::<rusqlite::Result<_>>().unwrap();
        assert_eq!(found.len(), 2 * BEGINS.len() + 1);
        for (number, duration_class, tokens_class) in found {
            assert_eq!(duration_class, class_of(number), "{number}");
            assert_eq!(tokens_class, (number >= 0).then(|| class_of(number)), "{number}");
        }
    }
}
