//! Fresh rows: seen at once, linked when they are merged, and gone with their segments like any other.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::testing::{dump, id, line, new_index};
use super::tests::{FIRST, SECOND, merge_all, segment, turns, whole, write};
use super::*;
use crate::index::filter::{Filter, StatusFilter};
use crate::index::sessions::{SessionParams, sessions};
use crate::index::stats::{StatsParams, stats};
use crate::store::layout::{Form, Layout};

/// A conversation of three requests, the last of which fails.
fn conversation() -> [Value; 3] {
    let mut last = line(3, 1, 300, 10, &turns("u1 a1 u2 a2 u3"), "a3");
    last.as_object_mut().unwrap().insert("status".into(), json!(500));
    [line(1, 1, 100, 10, &turns("u1"), "a1"), line(2, 1, 200, 10, &turns("u1 a1 u2"), "a2"), last]
}

fn numbers(index: &Connection, filter: &Filter) -> Vec<String> {
    query::list(index, filter, 100, None).unwrap().rows.into_iter().map(|it| it.id).collect()
}

fn ids(of: &[u64]) -> Vec<String> {
    of.iter().map(|n| id(*n).to_string()).collect()
}

/// How many rows an index of lists has entries of.
fn in_lists(index: &Connection) -> i64 {
    let sql = "SELECT count(*) FROM rows INDEXED BY rows_by_status WHERE fresh IS NULL";
    index.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn fresh_rows_are_seen_at_once_and_linked_when_they_are_merged() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    let rows = write(&layout, segment(FIRST), &conversation());
    assert_eq!(insert_batch(&mut index, &mut state, &rows[..1]).unwrap().fresh, 0);
    assert_eq!(insert_fresh(&mut index, &mut state, &rows[1..2]).unwrap().fresh, 1);
    // What comes before all are merged is fresh too.
    let report = insert_batch(&mut index, &mut state, &rows[2..]).unwrap();
    assert_eq!((report.inserted, report.fresh, in_lists(&index)), (1, 2, 1));

    assert_eq!(numbers(&index, &Filter::default()), ids(&[3, 2, 1]));
    // No merged row has such a status.
    let failed = Filter { status: Some(StatusFilter::Class(5)), ..Filter::default() };
    assert_eq!(numbers(&index, &failed), ids(&[3]));
    let alone = Filter { session_root: Some(id(3).to_string()), ..Filter::default() };
    assert_eq!(numbers(&index, &alone), ids(&[3]));
    let of_session = Filter { session_root: Some(id(1).to_string()), ..Filter::default() };
    assert_eq!(numbers(&index, &of_session), ids(&[1]));
    assert_eq!(query::get(&index, id(3)).unwrap().unwrap().session_root_id, id(3).to_string());
    let count = |index: &Connection| sessions(index, SessionParams { limit: 10, since: None }).unwrap()[0].n_turns;
    assert_eq!(count(&index), 1);
    let params = StatsParams::parse([]).unwrap();
    assert_eq!(serde_json::to_value(stats(&index, &params).unwrap().unwrap()).unwrap()["total"]["traces"], 3);
    let view = "SELECT session_root_id FROM traces ORDER BY id";
    let mut view = index.prepare(view).unwrap();
    let roots: Vec<String> = view.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(roots, ids(&[1, 2, 3]));
    drop(view);

    // By a writer that knows nothing of them.
    let mut state = WriterState::new();
    assert_eq!(merge_fresh(&mut index, &mut state, 1).unwrap(), Merged { merged: 1, left: 1 });
    assert_eq!((numbers(&index, &of_session), in_lists(&index)), (ids(&[2, 1]), 2));
    assert_eq!(merge_fresh(&mut index, &mut state, 1).unwrap(), Merged { merged: 1, left: 0 });
    assert_eq!(fresh::Fresh::load(&index).unwrap(), None);
    assert_eq!(merge_fresh(&mut index, &mut state, 10).unwrap(), Merged::default());
    assert_eq!((numbers(&index, &of_session), in_lists(&index), count(&index)), (ids(&[3, 2, 1]), 3, 3));
    assert_eq!(numbers(&index, &failed), ids(&[3]));
    assert_eq!(numbers(&index, &alone), ids(&[]));
    assert_eq!(insert_batch(&mut index, &mut state, &rows).unwrap().known, 3);
    let other = tempfile::tempdir().unwrap();
    let (mut merged_at_once, mut state) = new_index(&Layout::new(other.path()));
    insert_batch(&mut merged_at_once, &mut state, &rows).unwrap();
    assert_eq!(dump(&index), dump(&merged_at_once));
}

#[test]
fn a_line_that_is_there_twice_counts_once_whether_fresh_or_merged() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    let [one, two, three] = conversation();
    let rows = write(&layout, segment(FIRST), &[one.clone(), two.clone(), one, two, three]);
    insert_batch(&mut index, &mut state, &rows[..1]).unwrap();
    let report = insert_fresh(&mut index, &mut state, &rows[1..]).unwrap();
    assert_eq!((report.inserted, report.known, report.fresh), (2, 2, 2));
    merge_all(&mut index, &mut state);
    assert_eq!(numbers(&index, &Filter::default()), ids(&[3, 2, 1]));
    assert_eq!(query::get(&index, id(2)).unwrap().unwrap().jsonl_offset, rows[1].1.offset);
}

#[test]
fn fresh_rows_go_with_their_segment_and_their_numbers_are_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    let [one, two, three] = conversation();
    let rows = write(&layout, segment(FIRST), &[one, two]);
    insert_fresh(&mut index, &mut state, &rows).unwrap();
    merge_fresh(&mut index, &mut state, 1).unwrap();
    std::fs::remove_file(layout.segment(segment(FIRST), Form::Plain)).unwrap();
    assert_eq!(remove_segment(&mut index, &mut state, segment(FIRST)).unwrap(), 2);
    let count = |sql: &str| index.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(
        ["rows", "sessions", "awaiting", "rollups", "tags"].map(|it| count(&format!("SELECT count(*) FROM {it}"))),
        [0; 5]
    );

    // By a writer that starts with what the database says.
    let mut state = WriterState::new();
    let rows = write(&layout, segment(SECOND), &[three]);
    insert_batch(&mut index, &mut state, &rows).unwrap();
    assert_eq!(numbers(&index, &Filter::default()), ids(&[3]));
    merge_all(&mut index, &mut state);
    assert_eq!((numbers(&index, &Filter::default()), in_lists(&index)), (ids(&[3]), 1));
    assert_eq!(whole(&mut index, &mut state, &layout).inserted, 0);
    assert_eq!(
        insert_batch(&mut index, &mut state, &[] as &[(crate::trace::Row, crate::ids::Place)]).unwrap().fresh,
        0
    );
}
