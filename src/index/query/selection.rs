//! Which traces an export takes, by segment and in the order of their lines: one snapshot, nothing held of it.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Transaction, params_from_iter};

use crate::ids::{Place, SegmentId, TraceId, UnixMillis};
use crate::index::filter::Filter;
use crate::index::query::plan;
use crate::index::query::sql::Sql;

/// The traces that pass a filter, as they were when it was made. While it lives the index's journal grows with
/// what is written meanwhile.
#[derive(Debug)]
pub struct Selection<'c> {
    snapshot: Transaction<'c>,
    /// `None` if nothing passes.
    passes: Option<Sql>,
    is_limited: bool,
}

/// A segment that holds selected lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectedSegment {
    /// Which.
    pub segment: SegmentId,
    /// Its number in the index.
    number: i64,
    /// How many of its lines are selected.
    pub traces: u64,
    /// Their bytes, newlines included.
    pub bytes: u64,
    /// The earliest start among them.
    pub first_ts: UnixMillis,
    /// The latest start among them.
    pub last_ts: UnixMillis,
}

/// How far a segment is indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexedTo {
    /// Every line before this offset has its row, or is a bad line.
    pub offset: u64,
    /// That is its end, and it never grows again.
    pub is_done: bool,
}

/// A selected trace with attachments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectedMedia {
    /// Which trace.
    pub id: TraceId,
    /// The segment of its line.
    pub segment: SegmentId,
    /// When it began.
    pub ts_start: UnixMillis,
    /// How many attachments it has.
    pub count: u32,
}

impl<'c> Selection<'c> {
    /// Of all traces that pass the filter, the newest `limit`, by start and then id; `None` for all of them.
    ///
    /// # Errors
    /// The database fails.
    pub fn new(connection: &'c Connection, filter: &Filter, limit: Option<u64>) -> rusqlite::Result<Selection<'c>> {
        // Sorting the lines of one segment may take more than the cache; then it shall be on disk.
        connection.execute_batch("PRAGMA temp_store = FILE")?;
        let snapshot = connection.unchecked_transaction()?;
        let mut passes = plan::conditions(&snapshot, filter)?;
        let mut is_limited = false;
        if let (Some(limit), Some(sql)) = (limit, &mut passes)
            && plan::ranked(&snapshot, filter, limit)?.is_some()
        {
            is_limited = true;
            let last = limit.checked_sub(1).map_or(Ok(None), |rank| plan::ranked(&snapshot, filter, rank))?;
            match last {
                Some((ts_start, id)) => {
                    sql.text.push_str(" AND (ts_start > ? OR (ts_start = ? AND id >= ?))");
                    sql.bound.extend([Value::Integer(ts_start), Value::Integer(ts_start), Value::Text(id)]);
                }
                None => passes = None,
            }
        }
        Ok(Selection { snapshot, passes, is_limited })
    }

    /// Whether more traces pass the filter than the limit let through.
    pub fn is_limited(&self) -> bool {
        self.is_limited
    }

    /// The segments with selected lines, by date, key and number.
    ///
    /// # Errors
    /// The database fails.
    pub fn segments(&self) -> rusqlite::Result<Vec<SelectedSegment>> {
        let Some(passes) = &self.passes else { return Ok(Vec::new()) };
        let sql = format!(
            "SELECT segments.path, chosen.* FROM (SELECT segment, count(*), sum(jsonl_bytes + 1), min(ts_start), \
             max(ts_start) FROM rows WHERE 1{} GROUP BY segment) AS chosen JOIN segments USING (segment)",
            passes.text
        );
        let mut statement = self.snapshot.prepare(&sql)?;
        let mut rows = statement.query(params_from_iter(&passes.bound))?;
        let mut segments = Vec::new();
        while let Some(row) = rows.next()? {
            // Only canonical paths are ever written; any other is nobody's.
            let Ok(segment) = row.get::<_, String>(0)?.parse() else { continue };
            segments.push(SelectedSegment {
                segment,
                number: row.get(1)?,
                traces: row.get::<_, i64>(2)?.cast_unsigned(),
                bytes: row.get::<_, i64>(3)?.cast_unsigned(),
                first_ts: UnixMillis(row.get(4)?),
                last_ts: UnixMillis(row.get(5)?),
            });
        }
        segments.sort_unstable_by_key(|it| it.segment);
        Ok(segments)
    }

    /// Gives every selected line of a segment, by offset, until `each` fails.
    ///
    /// # Errors
    /// Those of `each`, and of the database.
    pub fn lines<E: From<rusqlite::Error>>(
        &self,
        of: &SelectedSegment,
        mut each: impl FnMut(TraceId, Place) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(passes) = &self.passes else { return Ok(()) };
        let sql = format!(
            "SELECT id, jsonl_offset, jsonl_bytes FROM rows INDEXED BY rows_by_segment WHERE segment = ?{} \
             ORDER BY jsonl_offset",
            passes.text
        );
        let mut statement = self.snapshot.prepare_cached(&sql)?;
        let bound = std::iter::once(Value::Integer(of.number)).chain(passes.bound.iter().cloned());
        let mut rows = statement.query(params_from_iter(bound))?;
        while let Some(row) = rows.next()? {
            let Ok(id) = row.get::<_, String>(0)?.parse() else { continue };
            let offset = row.get::<_, i64>(1)?.cast_unsigned();
            each(id, Place { segment: of.segment, offset, bytes: row.get(2)? })?;
        }
        Ok(())
    }

    /// Gives every selected trace that has attachments, by id, until `each` fails.
    ///
    /// # Errors
    /// Those of `each`, and of the database.
    pub fn media<E: From<rusqlite::Error>>(
        &self,
        mut each: impl FnMut(SelectedMedia) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(passes) = &self.passes else { return Ok(()) };
        let sql = format!(
            "SELECT id, (SELECT segments.path FROM segments WHERE segments.segment = rows.segment), ts_start, \
             media_count FROM rows WHERE media_count > 0{} ORDER BY id",
            passes.text
        );
        let mut statement = self.snapshot.prepare(&sql)?;
        let mut rows = statement.query(params_from_iter(&passes.bound))?;
        while let Some(row) = rows.next()? {
            let (id, path): (String, String) = (row.get(0)?, row.get(1)?);
            let (Ok(id), Ok(segment)) = (id.parse(), path.parse()) else { continue };
            each(SelectedMedia { id, segment, ts_start: UnixMillis(row.get(2)?), count: row.get(3)? })?;
        }
        Ok(())
    }

    /// How far a segment is indexed; `None` if the index does not know it.
    ///
    /// # Errors
    /// The database fails.
    pub fn indexed_to(&self, segment: SegmentId) -> rusqlite::Result<Option<IndexedTo>> {
        indexed_to(&self.snapshot, segment)
    }
}

/// How far a segment is indexed; `None` if the index does not know it.
///
/// # Errors
/// The database fails.
pub fn indexed_to(connection: &Connection, segment: SegmentId) -> rusqlite::Result<Option<IndexedTo>> {
    connection
        .prepare_cached("SELECT indexed_to, is_done FROM segments WHERE path = ?")?
        .query_row([segment.to_string()], |row| {
            Ok(IndexedTo { offset: row.get::<_, i64>(0)?.cast_unsigned(), is_done: row.get(1)? })
        })
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{BucketId, Date, ShortKey};
    use crate::index::filter::{KeyFilter, PathFilter, StatusFilter};
    use crate::index::testing::{new_index, row};
    use crate::index::{WriterState, insert_batch};
    use crate::store::layout::Layout;
    use crate::trace::Row;

    /// Rows of 9-byte lines into numbered segments of one bucket, each segment's first at its beginning.
    fn index_of(rows: &[(u32, Row)]) -> (tempfile::TempDir, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let (mut index, mut state): (Connection, WriterState) = new_index(&Layout::new(dir.path()));
        let bucket = BucketId { date: Date(20_000), key: ShortKey([1; 4]) };
        let mut ends = [0; 16];
        let placed: Vec<(Row, Place)> = rows
            .iter()
            .map(|(number, row)| {
                let place =
                    Place { segment: SegmentId { bucket, number: *number }, offset: ends[*number as usize], bytes: 9 };
                ends[*number as usize] += 10;
                (row.clone(), place)
            })
            .collect();
        assert_eq!(insert_batch(&mut index, &mut state, &placed).unwrap().inserted, rows.len());
        (dir, index)
    }

    fn chosen(index: &Connection, filter: &Filter, limit: Option<u64>) -> (Vec<String>, bool) {
        let selection = Selection::new(index, filter, limit).unwrap();
        let mut lines = Vec::new();
        for segment in selection.segments().unwrap() {
            let before = lines.len();
            let each = |id: TraceId, place: Place| {
                let number = u128::from_be_bytes(id.to_bytes()) as u32;
                lines.push(format!("{number}@{}:{}", place.segment.number, place.offset));
                Ok::<(), rusqlite::Error>(())
            };
            selection.lines(&segment, each).unwrap();
            assert_eq!((lines.len() - before) as u64, segment.traces);
            assert_eq!(segment.bytes, 10 * segment.traces);
        }
        (lines, selection.is_limited())
    }

    #[test]
    fn lines_come_by_segment_and_offset_and_the_newest_pass_a_limit() {
        // Segment 10 sorts behind segment 2, whatever their names look like as text.
        let rows: Vec<(u32, Row)> =
            [(0, 5), (0, 1), (2, 9), (10, 3), (10, 7)].iter().map(|&(at, ts)| (at, row(ts as u64, ts))).collect();
        let (_dir, index) = index_of(&rows);
        let all = ["5@0:0", "1@0:10", "9@2:0", "3@10:0", "7@10:10"].map(str::to_owned).to_vec();
        assert_eq!(chosen(&index, &Filter::default(), None), (all.clone(), false));
        assert_eq!(chosen(&index, &Filter::default(), Some(5)), (all, false));
        let three = ["5@0:0", "9@2:0", "7@10:10"].map(str::to_owned).to_vec();
        assert_eq!(chosen(&index, &Filter::default(), Some(3)), (three, true));
        assert_eq!(chosen(&index, &Filter::default(), Some(0)), (vec![], true));
        let since = Filter { since: Some(UnixMillis(7)), until: Some(UnixMillis(9)), ..Filter::default() };
        assert_eq!(chosen(&index, &since, Some(3)), (vec!["7@10:10".to_owned()], false));
        let none = Filter { status: Some(StatusFilter::Class(5)), ..Filter::default() };
        assert_eq!(chosen(&index, &none, None), (vec![], false));
    }

    #[test]
    fn any_number_of_keys_may_share_a_beginning() {
        let rows: Vec<(u32, Row)> = (0..60_u8)
            .map(|n| {
                let mut row = row(u64::from(n), i64::from(n));
                row.key.0[0] = if n < 40 { 0xa0 } else { 0xb0 };
                row.key.0[1] = n;
                (0, row)
            })
            .collect();
        let (_dir, index) = index_of(&rows);
        let of = |digits: &str| {
            let filter = Filter { key: KeyFilter::beginning_with(digits), ..Filter::default() };
            chosen(&index, &filter, Some(1000)).0.len()
        };
        assert_eq!([of(""), of("a"), of("A0"), of("b03"), of("b032"), of("c"), of("x")], [60, 40, 40, 12, 1, 0, 0]);
    }

    #[test]
    fn attachments_come_by_id() {
        let mut rows: Vec<(u32, Row)> = [3, 1, 2].iter().map(|&n| (0, row(n, 5))).collect();
        rows[0].1.media_count = 2;
        rows[1].1.media_count = 1;
        let (_dir, index) = index_of(&rows);
        // With a filter whose columns have namesakes elsewhere.
        let filter = Filter { path: Some(PathFilter::Prefix("/v1".into())), ..Filter::default() };
        let selection = Selection::new(&index, &filter, None).unwrap();
        let mut found = Vec::new();
        let each = |it: SelectedMedia| {
            found.push((u128::from_be_bytes(it.id.to_bytes()) as u32, it.count));
            Ok::<(), rusqlite::Error>(())
        };
        selection.media(each).unwrap();
        assert_eq!(found, [(1, 1), (3, 2)]);
    }
}
