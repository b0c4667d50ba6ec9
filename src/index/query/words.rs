//! Lists of a prefix that thousands of paths have.

use std::collections::HashSet;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::gather::gather;
use super::plan::{Narrowing, Values};
use super::sql::Sql;
use super::windows::{Asked, Entry, Measures, Picked, Window, up_to};

/// Words whose numbers are no further apart are read in one stretch of the index. Numbers are given in the order of
/// coming, so that paths of one kind stand close together.
const GAP: i64 = 16;

/// The numbers of the rows that pass all narrowings, newest first, where one is by the words of a prefix: found among the
/// newest rows, for it is often that of many; else gathered. `None` if it is of few paths, or of too many rows.
pub(super) fn pick_by_words(
    asked: Asked<'_>,
    narrowings: &[Narrowing],
    words: usize,
    measures: Measures,
) -> rusqlite::Result<Option<Vec<i64>>> {
    let Values::WordsBetween(first, last) = &narrowings[words].values else { return Ok(None) };
    let Some(whole) = Window::whole(asked)? else { return Ok(Some(Vec::new())) };
    let mut sql = Sql::default();
    let texts = [first, last].map(|text| Value::Text(text.clone()));
    sql.push("SELECT word FROM words WHERE text >= ? AND text < ?", texts);
    let words: HashSet<i64> = gather::<1>(asked.index, "word", &sql)?.into_iter().map(|[word]| word).collect();
    if words.len() <= measures.few_words {
        return Ok(None);
    }
    let mut picked = Picked::new(asked, narrowings);
    let (newest, is_all) = among_newest(asked.index, &words, whole, measures.walked)?;
    if picked.take(&newest)? || is_all {
        return Ok(Some(picked.numbers()));
    }
    let Some(mut found) = gathered(asked.index, &words, whole, measures.most_gathered)? else { return Ok(None) };
    found.sort_unstable_by(|one, other| other.cmp(one));
    let mut picked = Picked::new(asked, narrowings);
    picked.take(&found)?;
    Ok(Some(picked.numbers()))
}

/// Those of so many of the newest rows that have one of these paths, newest first, and whether that is every row.
fn among_newest(
    index: &Connection,
    words: &HashSet<i64>,
    whole: Window,
    most: usize,
) -> rusqlite::Result<(Vec<Entry>, bool)> {
    let mut sql = Sql::default();
    sql.push(
        "SELECT ts_start, row, path FROM rows INDEXED BY rows_by_time WHERE ts_start >= ? AND ts_start <= ?",
        whole.bounds(),
    );
    sql.push(" ORDER BY ts_start DESC", []);
    let mut found = gather::<3>(index, "ts_start, row, path", &up_to(index, sql, most))?;
    let is_all = found.len() < most;
    // More may stand at the time of the last one.
    if let Some([last, ..]) = found.last().copied().filter(|_| !is_all) {
        found.retain(|it| it[0] > last);
    }
    found.retain(|it| words.contains(&it[2]));
    Ok((found.into_iter().map(|[ts_start, row, _]| (ts_start, row)).collect(), is_all))
}

/// All entries of these words; `None` if they are too many, or stand in too many places.
fn gathered(
    index: &Connection,
    words: &HashSet<i64>,
    whole: Window,
    most: usize,
) -> rusqlite::Result<Option<Vec<Entry>>> {
    let mut sorted: Vec<i64> = words.iter().copied().collect();
    sorted.sort_unstable();
    let stretches: Vec<&[i64]> = sorted.chunk_by(|one, next| next - one <= GAP).collect();
    if stretches.len() > sorted.len() / 8 {
        return Ok(None);
    }
    let mut entries = Vec::new();
    let mut left = most;
    for stretch in stretches {
        let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else { continue };
        let mut sql = Sql::default();
        sql.push(
            "SELECT path, ts_start, row FROM rows INDEXED BY rows_by_path WHERE path >= ? AND path <= ?",
            [*first, *last].map(Value::Integer),
        );
        sql.push(" AND fresh IS NULL AND ts_start >= ? AND ts_start <= ?", whole.bounds());
        let found = gather::<3>(index, "path, ts_start, row", &up_to(index, sql, left + 1))?;
        if found.len() > left {
            return Ok(None);
        }
        left -= found.len();
        entries.extend(found.into_iter().filter(|it| words.contains(&it[0])).map(|[_, ts_start, row]| (ts_start, row)));
    }
    Ok(Some(entries))
}
