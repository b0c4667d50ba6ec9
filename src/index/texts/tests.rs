//! What is searched for is found, all of it, in the order of lists, whatever else is asked.

use proptest::prelude::*;
use rusqlite::Connection;

use super::*;
use crate::ids::{Place, UnixMillis};
use crate::index::filter::{Cursor, Filter, StatusFilter};
use crate::index::query::{TraceRow, list};
use crate::index::testing::{TEXT_BYTES, dump, new_index, row};
use crate::index::{WriterState, insert_batch, remove_segment, schema};
use crate::store::layout::Layout;
use crate::trace::{Row, Texts};

const SEGMENTS: [&str; 2] = ["2026-05-27/01010101.jsonl", "2026-05-28/01010101.jsonl"];

fn index_of(rows: &[(Row, Place)], batch: usize) -> (tempfile::TempDir, Connection, WriterState) {
    let dir = tempfile::tempdir().unwrap();
    let (mut index, mut state) = new_index(&Layout::new(dir.path()));
    for batch in rows.chunks(batch) {
        assert_eq!(insert_batch(&mut index, &mut state, batch).unwrap().inserted, batch.len());
    }
    (dir, index, state)
}

/// Rows of these starts and texts, in two segments by turns.
fn rows_of(made: &[(i64, i32, String, String)]) -> Vec<(Row, Place)> {
    let mut ends = [0; 2];
    let one = |(n, (ts_start, status, request, answer)): (usize, &(i64, i32, String, String))| {
        let mut row = row(n as u64, *ts_start);
        row.status = *status;
        row.tags = ["even", "all"][n % 2..].iter().map(|&it| it.to_owned()).collect();
        row.texts = Some(Texts { request: request.clone(), answer: answer.clone() });
        let place = Place { segment: SEGMENTS[n % 2].parse().unwrap(), offset: ends[n % 2], bytes: 9 };
        ends[n % 2] += 10;
        (row, place)
    };
    made.iter().enumerate().map(one).collect()
}

fn found(index: &Connection, query: &str, filter: &Filter, limit: usize) -> Vec<TraceRow> {
    let query = TextQuery::parse("q", query).unwrap();
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let Search::Page(page) = search(index, &query, filter, limit, cursor).unwrap() else { panic!("no page") };
        assert!(page.rows.len() <= limit);
        all.extend(page.rows);
        cursor = page.next_cursor.map(|it| it.to_string().parse::<Cursor>().unwrap());
        if cursor.is_none() {
            return all;
        }
    }
}

fn ids(rows: &[TraceRow]) -> Vec<&str> {
    rows.iter().map(|row| row.id.as_str()).collect()
}

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("fn main() {"),
        Just("重命名函数"),
        Just("の関数"),
        Just("Größe"),
        Just("a\"b"),
        Just("AB"),
        Just("x%y_z*"),
    ];
    proptest::collection::vec((piece, prop_oneof![Just(""), Just(" "), Just("\n")]), 0..5)
        .prop_map(|pieces| pieces.into_iter().map(|(one, other)| format!("{one}{other}")).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_text_that_holds_it_is_found_in_order(
        made in proptest::collection::vec((0..30i64, prop_oneof![Just(200), Just(404)], text(), text()), 1..60),
        batch in 1..30usize,
        limit in 1..20usize,
        status in proptest::option::of(prop_oneof![Just(200), Just(404)]),
        since in proptest::option::of(0..30i64),
        until in proptest::option::of(0..30i64),
        tag in proptest::option::of(prop_oneof![Just("even"), Just("all"), Just("none")]),
    ) {
        let rows = rows_of(&made);
        let (_dir, mut index, mut state) = index_of(&rows, batch);
        let filter = Filter {
            since: since.map(UnixMillis),
            until: until.map(UnixMillis),
            status: status.map(StatusFilter::Exactly),
            tag: tag.map(str::to_owned),
            ..Filter::default()
        };
        let words = ["main", "MAIN()", "重命", "命名函", "関数", "größe", "ab", "%y_", "z*", "fn main", "nothing"];
        for round in 0..2 {
            let all = list(&index, &filter, 1000, None).unwrap().rows;
            for word in words {
                let quoted = format!("\"{word}\"");
                let holds = |row: &TraceRow| {
                    let n = number_of(&row.id);
                    let folded = |text: &str| text.to_lowercase();
                    let word = word.to_lowercase();
                    folded(&made[n].2).contains(&word) || folded(&made[n].3).contains(&word)
                };
                let expected: Vec<&str> = all.iter().filter(|row| holds(row)).map(|row| row.id.as_str()).collect();
                let rows = found(&index, &quoted, &filter, limit);
                prop_assert_eq!(ids(&rows), expected, "{} {:?}", word, filter);
                for row in rows {
                    let snippet = row.snippet.unwrap();
                    prop_assert_eq!(snippet.found.to_lowercase(), word.to_lowercase());
                }
            }
            if round == 0 {
                remove_segment(&mut index, &mut state, SEGMENTS[0].parse().unwrap()).unwrap();
                dump(&index);
            }
        }
    }
}

/// The number that `testing::id` made an id of.
fn number_of(id: &str) -> usize {
    u128::from_be_bytes(id.parse::<crate::ids::TraceId>().unwrap().to_bytes()) as u64 as usize
}

#[test]
fn common_words_are_walked_and_few_rows_looked_at() {
    let made: Vec<(i64, i32, String, String)> = (0..3000)
        .map(|n| (n / 7, if n % 1000 == 0 { 404 } else { 200 }, "rename it".into(), format!("done {n}")))
        .collect();
    let (_dir, index, _) = index_of(&rows_of(&made), 1000);
    assert_eq!(found(&index, "rename", &Filter::default(), 500).len(), 3000);
    let rare = Filter { status: Some(StatusFilter::Exactly(404)), ..Filter::default() };
    assert_eq!(found(&index, "rename", &rare, 2).len(), 3);
    let common = Filter { status: Some(StatusFilter::Exactly(200)), ..Filter::default() };
    assert_eq!(found(&index, "rename", &common, 499).len(), 2997);
    let one = found(&index, "RENAME 2718", &Filter::default(), 10);
    let snippet = one[0].snippet.clone().unwrap();
    assert_eq!((one.len(), snippet.place, &*snippet.found), (1, "answer", "2718"));
    assert_eq!((&*snippet.before, &*snippet.after), ("done ", ""));
}

#[test]
fn what_is_found_is_not_read_as_a_language() {
    let texts = ["say \"NEAR(a b)\" OR this", "col:value -x ^y {z}"];
    let made: Vec<(i64, i32, String, String)> =
        texts.iter().map(|text| (0, 200, (*text).to_owned(), String::new())).collect();
    let (_dir, index, _) = index_of(&rows_of(&made), 10);
    for (query, count) in
        [("NEAR(a", 1), ("OR", 1), ("col:value -x", 1), ("^y", 1), ("{z}", 1), ("NOT", 0), ("this {z}", 0)]
    {
        assert_eq!(found(&index, query, &Filter::default(), 10).len(), count, "{query}");
    }
    for bad in ["", " ", "x", "long x", "\"\"", &"ab ".repeat(17), "a\0b"] {
        assert!(TextQuery::parse("q", bad).is_err(), "{bad:?}");
    }
    assert_eq!(TextQuery::parse("q", " one \"two  three\" ").unwrap().words(), ["one", "two  three"]);
}

#[test]
fn an_index_gets_texts_when_it_is_empty_and_loses_them_when_they_are_not_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = schema::open_writer(&dir.path().join("index.sqlite")).unwrap();
    let query = TextQuery::parse("q", "word").unwrap();
    let ask = |index: &Connection| search(index, &query, &Filter::default(), 10, None).unwrap();
    assert_eq!(prepare(&mut index, None).unwrap(), Prepared::Ready);
    assert_eq!(ask(&index), Search::NoTexts);
    let rows = rows_of(&[(1, 200, "a word".into(), String::new())]);
    insert_batch(&mut index, &mut WriterState::new(), &rows).unwrap();
    assert_eq!(prepare(&mut index, Some(TEXT_BYTES)).unwrap(), Prepared::WantsRebuild);
    assert_eq!(ask(&index), Search::NoTexts);

    let (dir, mut index, _) = index_of(&rows, 1);
    assert!(matches!(ask(&index), Search::Page(page) if page.rows.len() == 1));
    assert_eq!(prepare(&mut index, Some(TEXT_BYTES)).unwrap(), Prepared::Ready);
    assert_eq!(prepare(&mut index, Some(TEXT_BYTES * 2)).unwrap(), Prepared::WantsRebuild);
    assert_eq!(prepare(&mut index, None).unwrap(), Prepared::Ready);
    assert_eq!((ask(&index), bytes_kept(&index).unwrap()), (Search::NoTexts, None));
    let left: i64 =
        index.query_row("SELECT count(*) FROM sqlite_schema WHERE name LIKE '%text%'", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
    remove_segment(&mut index, &mut WriterState::new(), SEGMENTS[0].parse().unwrap()).unwrap();
    assert_eq!(prepare(&mut index, Some(TEXT_BYTES * 2)).unwrap(), Prepared::Ready);
    drop(dir);
}
