//! What is searched for, and where it is found.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::snippet::{Snippet, fold};
use super::store::{OF_A_MILLISECOND, bytes_kept, docs_of, texts_of};
use crate::ids::UnixMillis;
use crate::index::filter::{BadParam, Cursor, Filter};
use crate::index::query::{Page, fewest, pick, rows_of};

/// Words of a query, and characters of it.
const MOST_WORDS: usize = 16;
const MOST_CHARS: usize = 1000;
/// Trigrams that two characters may begin.
const MOST_TRIGRAMS: i64 = 2000;
/// When the other filters let no more rows through, each is looked at; else what is found is walked.
const FEW_ROWS: usize = 500;

/// What to search for: all of these words, in any order, whatever their case, each as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextQuery {
    words: Vec<String>,
}

/// What a search comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Search {
    /// A page of rows, each with a snippet.
    Page(Page),
    /// The index keeps no texts.
    NoTexts,
    /// These two characters are in too much to be searched for.
    TooCommon(String),
}

impl TextQuery {
    /// Reads words between spaces; those in double quotes are one. Each has at least two characters.
    ///
    /// # Errors
    /// There is none, one is too short, or they are too many.
    pub fn parse(param: &str, text: &str) -> Result<TextQuery, BadParam> {
        let mut words = Vec::new();
        for (at, part) in text.split('"').enumerate() {
            if at % 2 == 1 {
                words.push(part.to_owned());
            } else {
                words.extend(part.split_whitespace().map(str::to_owned));
            }
        }
        words.retain(|it| !it.is_empty());
        if words.is_empty() {
            return Err(BadParam::new(param, "must have a word"));
        }
        if words.iter().any(|it| it.chars().count() < 2) {
            return Err(BadParam::new(param, "each word must have at least two characters"));
        }
        if words.len() > MOST_WORDS || text.chars().count() > MOST_CHARS || text.contains('\0') {
            return Err(BadParam::new(param, "must be at most 16 words and 1000 characters"));
        }
        Ok(TextQuery { words })
    }

    /// The words, in their order.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// As FTS5 wants it; `None` if nothing can be found, or the word that is too common.
    fn expression(&self, index: &Connection) -> rusqlite::Result<Result<Option<String>, String>> {
        let mut parts = Vec::new();
        for word in &self.words {
            if word.chars().count() > 2 {
                parts.push(quoted(word));
                continue;
            }
            // Two characters: every trigram that they begin.
            let begin: String = word.chars().map(fold).collect();
            let mut known = index
                .prepare_cached("SELECT term FROM texts_trigrams WHERE term >= ?1 AND term < ?1 || ?2 LIMIT ?3")?;
            let found =
                known.query_map((&begin, char::MAX.to_string(), MOST_TRIGRAMS), |row| row.get::<_, String>(0))?;
            let found: Vec<String> = found.map(|it| it.map(|it| quoted(&it))).collect::<rusqlite::Result<_>>()?;
            if found.len() as i64 >= MOST_TRIGRAMS {
                return Ok(Err(word.clone()));
            }
            if found.is_empty() {
                return Ok(Ok(None));
            }
            parts.push(format!("({})", found.join(" OR ")));
        }
        Ok(Ok(Some(parts.join(" AND "))))
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// At most `limit` traces that pass the filter and hold what is searched for, newest first, behind the cursor.
///
/// # Errors
/// The database fails, or the query was interrupted.
pub fn search(
    connection: &Connection,
    query: &TextQuery,
    filter: &Filter,
    limit: usize,
    cursor: Option<Cursor>,
) -> rusqlite::Result<Search> {
    let snapshot = connection.unchecked_transaction()?;
    if bytes_kept(&snapshot)?.is_none() {
        return Ok(Search::NoTexts);
    }
    let expression = match query.expression(&snapshot)? {
        Err(word) => return Ok(Search::TooCommon(word)),
        Ok(None) => return Ok(Search::Page(Page { rows: Vec::new(), next_cursor: None })),
        Ok(Some(expression)) => expression,
    };
    let wanted = limit.saturating_add(1);
    let picked = match fewest(&snapshot, filter, cursor, FEW_ROWS as i64)? {
        Some(few) if few < FEW_ROWS as i64 => among_few(&snapshot, &expression, filter, wanted, cursor)?,
        _ => walk(&snapshot, &expression, filter, wanted, cursor)?,
    };
    let mut page = rows_of(&snapshot, &picked, limit)?;
    for (row, number) in page.rows.iter_mut().zip(picked) {
        row.snippet = texts_of(&snapshot, number)?.and_then(|texts| Snippet::of(&texts, query.words()));
    }
    Ok(Search::Page(page))
}

/// Looks at each of few rows.
fn among_few(
    index: &Connection,
    expression: &str,
    filter: &Filter,
    wanted: usize,
    cursor: Option<Cursor>,
) -> rusqlite::Result<Vec<i64>> {
    let mut holds = index.prepare_cached(
        "SELECT 1 FROM texts CROSS JOIN texts_found ON texts_found.rowid = texts.doc \
         WHERE texts.row = ?1 AND texts_found MATCH ?2",
    )?;
    let mut picked = Vec::new();
    for row in pick(index, filter, FEW_ROWS, cursor)? {
        if holds.exists((row, expression))? {
            picked.push(row);
            if picked.len() >= wanted {
                break;
            }
        }
    }
    Ok(picked)
}

/// Walks what is found from its newest back, until enough of it passes the filter.
fn walk(
    index: &Connection,
    expression: &str,
    filter: &Filter,
    wanted: usize,
    cursor: Option<Cursor>,
) -> rusqlite::Result<Vec<i64>> {
    let Some(passes) = crate::index::query::conditions_behind(index, filter, cursor)? else { return Ok(Vec::new()) };
    let first = filter.since.map_or(0, |since| docs_of(since.0).0);
    let ends = filter.until.map(|until| UnixMillis(until.0.saturating_sub(1))).into_iter();
    let end = ends.chain(cursor.map(|it| it.ts_start)).min().map_or(i64::MAX, |it| docs_of(it.0).1);
    let sql = format!(
        "SELECT texts_found.rowid, rows.row, rows.id FROM texts_found \
         CROSS JOIN texts ON texts.doc = texts_found.rowid CROSS JOIN rows ON rows.row = texts.row \
         WHERE texts_found MATCH ? AND texts_found.rowid >= ? AND texts_found.rowid < ?{} \
         ORDER BY texts_found.rowid DESC",
        passes.text
    );
    let bound = [Value::Text(expression.to_owned()), Value::Integer(first), Value::Integer(end)];
    let mut statement = index.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(bound.into_iter().chain(passes.bound)))?;
    // Those of one millisecond come in any order: all of them are gathered, and ordered by id.
    let mut picked: Vec<(i64, String, i64)> = Vec::new();
    while let Some(row) = rows.next()? {
        let at = row.get::<_, i64>(0)? / OF_A_MILLISECOND;
        if picked.len() >= wanted && picked.last().is_some_and(|it| it.0 != at) {
            break;
        }
        picked.push((at, row.get(2)?, row.get(1)?));
    }
    picked.sort_by(|one, other| other.cmp(one));
    picked.truncate(wanted);
    Ok(picked.into_iter().map(|it| it.2).collect())
}
