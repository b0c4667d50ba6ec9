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

/// Of more words each row's is looked up instead.
const MOST_WORDS: usize = 65_536;

/// What becomes of a list by the words of a prefix.
pub(super) enum ByWords {
    /// The numbers of the rows that pass, newest first.
    Rows(Vec<i64>),
    /// More rows have it than are gathered, of any time.
    TooMany,
    /// It is of few paths, or of very many, or its paths stand apart.
    Unsuited,
}

/// The rows that pass all narrowings, where one is by the words of a prefix: gathered. If it is `alone` they are looked for
/// among the newest rows before, for it is often that of many.
pub(super) fn pick_by_words(
    asked: Asked<'_>,
    narrowings: &[Narrowing],
    words: usize,
    alone: bool,
    measures: Measures,
) -> rusqlite::Result<ByWords> {
    let Values::WordsBetween(first, last) = &narrowings[words].values else { return Ok(ByWords::Unsuited) };
    let Some(whole) = Window::whole(asked)? else { return Ok(ByWords::Rows(Vec::new())) };
    let mut sql = Sql::default();
    let texts = [first, last].map(|text| Value::Text(text.clone()));
    sql.push("SELECT word FROM words WHERE text >= ? AND text < ?", texts);
    sql.push(" LIMIT ?", [Value::Integer(MOST_WORDS as i64 + 1)]);
    let words: HashSet<i64> = gather::<1>(asked.index, "word", &sql)?.into_iter().map(|[word]| word).collect();
    if words.len() <= measures.few_words || words.len() > MOST_WORDS {
        return Ok(ByWords::Unsuited);
    }
    if alone {
        let mut picked = Picked::new(asked, narrowings);
        let (newest, is_all) = among_newest(asked.index, &words, whole, measures.walked)?;
        if picked.take(&newest)? || is_all {
            return Ok(ByWords::Rows(picked.numbers()));
        }
    }
    let mut sorted: Vec<i64> = words.iter().copied().collect();
    sorted.sort_unstable();
    let stretches: Vec<&[i64]> = sorted.chunk_by(|one, next| next - one <= GAP).collect();
    if stretches.len() > sorted.len() / 8 {
        return Ok(ByWords::Unsuited);
    }
    let Some(mut found) = gathered(asked.index, &words, &stretches, whole, measures.most_gathered)? else {
        return Ok(ByWords::TooMany);
    };
    found.sort_unstable_by(|one, other| other.cmp(one));
    let mut picked = Picked::new(asked, narrowings);
    picked.take(&found)?;
    Ok(ByWords::Rows(picked.numbers()))
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

/// All entries of these words, which stand in these stretches; `None` if they are too many.
fn gathered(
    index: &Connection,
    words: &HashSet<i64>,
    stretches: &[&[i64]],
    whole: Window,
    most: usize,
) -> rusqlite::Result<Option<Vec<Entry>>> {
    let mut entries = Vec::new();
    let mut left = most;
    for stretch in stretches {
        let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else { continue };
        let mut sql = Sql::default();
        sql.push(
            "SELECT path, ts_start, row FROM rows INDEXED BY rows_by_path WHERE path >= ? AND path <= ?",
            [*first, *last].map(Value::Integer),
        );
        sql.push(" AND fresh IS NULL", []);
        let found = gather::<3>(index, "path, ts_start, row", &up_to(index, sql, left + 1))?;
        if found.len() > left {
            return Ok(None);
        }
        left -= found.len();
        // The index cannot be searched for a time behind a range of paths: what lies outside counts as well.
        let found = found.into_iter().filter(|[path, ts_start, _]| words.contains(path) && whole.holds(*ts_start));
        entries.extend(found.map(|[_, ts_start, row]| (ts_start, row)));
    }
    Ok(Some(entries))
}
