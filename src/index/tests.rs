//! The promises of the index as a whole: once each, linked alike in any order, and mended from the files.

use proptest::prelude::*;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::testing::{dump, id, life, line, lines_of, new_index, read_row};
use super::*;
use crate::ids::{Place, SegmentId};
use crate::jsonl::file::JsonlFile;
use crate::store::layout::{Form, Layout};
use crate::trace::Row;

pub(super) const FIRST: &str = "2026-05-27/01010101.jsonl";
pub(super) const SECOND: &str = "2026-05-28/01010101.jsonl";

pub(super) fn segment(text: &str) -> SegmentId {
    text.parse().unwrap()
}

/// Appends lines to a segment and gives their rows and places.
pub(super) fn write(layout: &Layout, segment: SegmentId, lines: &[Value]) -> Vec<(Row, Place)> {
    let texts: Vec<String> = lines.iter().map(Value::to_string).collect();
    let bytes: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
    let places = JsonlFile::open(layout, segment).unwrap().append(&bytes).unwrap();
    texts.iter().map(|text| read_row(text.as_bytes()).unwrap()).zip(places).collect()
}

fn parent_and_root(index: &Connection, n: u64) -> (Option<String>, String) {
    let row = query::get(index, id(n)).unwrap().unwrap();
    (row.parent_id, row.session_root_id)
}

pub(super) fn turns(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

pub(super) fn merge_all(index: &mut Connection, state: &mut WriterState) {
    while merge_fresh(index, state, 7).unwrap().merged > 0 {}
}

pub(super) fn whole(index: &mut Connection, state: &mut WriterState, layout: &Layout) -> Progress {
    catch_up(index, state, layout, read_row, Budget::WHOLE).unwrap()
}

#[test]
fn attachments_are_counted_where_they_stand_and_a_late_row_tells_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    let first = segment(FIRST);
    let mut rows = write(&layout, first, &[line(1, 1, 100, 10, &[], ""), line(2, 1, 200, 10, &[], "")]);
    let folder = layout.media(first.bucket, id(1));
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["0.png", "1.wav", ".2.png.tmp"] {
        std::fs::write(folder.join(name), "x").unwrap();
    }
    whole(&mut index, &mut state, &layout);
    let count = |index: &Connection, n| query::get(index, id(n)).unwrap().unwrap().media_count;
    assert_eq!((count(&index, 1), count(&index, 2)), (2, 0));
    // Read back before its attachments were written: the row itself, when it comes, knows of them.
    rows[1].0.media_count = 3;
    assert_eq!(insert_batch(&mut index, &mut state, &rows).unwrap().known, 2);
    assert_eq!((count(&index, 1), count(&index, 2)), (2, 3));
}

#[test]
fn a_conversation_is_one_session() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    let rows = write(
        &layout,
        segment(FIRST),
        &[
            line(1, 1, 100, 10, &turns("u1"), "a1"),
            line(2, 1, 200, 10, &turns("u1 a1 u2"), "a2"),
            line(3, 1, 300, 10, &turns("u1 a1 u2 a2 u3"), "a3"),
            // The same words with another key, the same request again, and one that began too early.
            line(4, 2, 400, 10, &turns("u1 a1 u2"), "a2"),
            line(5, 1, 500, 10, &turns("u1 a1 u2"), "other"),
            line(6, 1, 105, 10, &turns("u1 a2"), "x"),
        ],
    );
    let report = insert_batch(&mut index, &mut state, &rows).unwrap();
    assert_eq!(report, BatchReport { inserted: 6, ..BatchReport::default() });
    let text = |n| id(n).to_string();
    assert_eq!(parent_and_root(&index, 1), (None, text(1)));
    assert_eq!(parent_and_root(&index, 2), (Some(text(1)), text(1)));
    assert_eq!(parent_and_root(&index, 3), (Some(text(2)), text(1)));
    assert_eq!(parent_and_root(&index, 4), (None, text(4)));
    assert_eq!(parent_and_root(&index, 5), (Some(text(1)), text(1)));
    assert_eq!(parent_and_root(&index, 6), (None, text(6)));
    let sessions = sessions::sessions(&index, sessions::SessionParams { limit: 10, since: None }).unwrap();
    let first = sessions.iter().find(|it| it.session_root_id == text(1)).unwrap();
    assert_eq!((first.n_turns, first.first_ts.0, first.last_ts.0, first.ok_count), (4, 100, 500, 4));
}

#[test]
fn the_answer_that_was_sent_back_tells_which_of_equal_parents_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    let rows = write(
        &layout,
        segment(FIRST),
        &[
            line(1, 1, 100, 10, &turns("u1"), "a1"),
            line(2, 1, 120, 10, &turns("u1"), "a2"),
            line(3, 1, 200, 10, &turns("u1 a1 u2"), ""),
            line(4, 1, 210, 10, &turns("u1 a9 u2"), ""),
        ],
    );
    insert_batch(&mut index, &mut state, &rows).unwrap();
    assert_eq!(parent_and_root(&index, 3).0, Some(id(1).to_string()));
    assert_eq!(parent_and_root(&index, 4).0, Some(id(2).to_string()));
    let method = |n| query::get(&index, id(n)).unwrap().unwrap().session_method;
    assert_eq!(method(1), None);
    assert_eq!(method(3).as_deref(), Some("prefix_answer"));
    assert_eq!(method(4).as_deref(), Some("prefix"));
}

#[test]
fn a_named_answer_and_a_conversation_link_traces_without_common_turns() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    let with = |mut line: Value, more: Value| {
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    };
    let rows = write(
        &layout,
        segment(FIRST),
        &[
            with(line(1, 1, 100, 10, &turns("u1"), ""), json!({"response": "r1"})),
            with(line(2, 1, 200, 10, &turns("u2"), ""), json!({"previous": "r1", "conversation": "c"})),
            with(line(3, 1, 300, 10, &turns("u3"), ""), json!({"conversation": "c"})),
            with(line(4, 2, 400, 10, &turns("u4"), ""), json!({"previous": "r1", "conversation": "c"})),
        ],
    );
    insert_batch(&mut index, &mut state, &rows).unwrap();
    assert_eq!(parent_and_root(&index, 2), (Some(id(1).to_string()), id(1).to_string()));
    assert_eq!(parent_and_root(&index, 3), (Some(id(2).to_string()), id(1).to_string()));
    assert_eq!(parent_and_root(&index, 4).0, None);
}

#[test]
fn a_long_conversation_begun_elsewhere_finds_its_far_parent() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    let all: Vec<String> = (0..200).map(|n| format!("u{n}")).collect();
    let lines =
        [line(1, 1, 100, 10, &all[..3], ""), line(2, 1, 200, 10, &all[..140], ""), line(3, 1, 300, 10, &all, "")];
    insert_batch(&mut index, &mut state, &write(&layout, segment(FIRST), &lines)).unwrap();
    assert_eq!(parent_and_root(&index, 2).0, Some(id(1).to_string()));
    assert_eq!(parent_and_root(&index, 3), (Some(id(2).to_string()), id(1).to_string()));
}

#[test]
fn a_row_sent_twice_is_there_once_and_a_gap_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    let lines: Vec<Value> = (0..4).map(|n| line(n, 1, 100, 1, &[], "")).collect();
    let first = write(&layout, segment(FIRST), &lines);
    let second = write(&layout, segment(SECOND), &[line(9, 1, 100, 1, &[], "")]);
    insert_batch(&mut index, &mut state, &first[..1]).unwrap();
    let again = insert_batch(&mut index, &mut state, &first[..2]).unwrap();
    assert_eq!((again.inserted, again.known), (1, 1));
    let gap = insert_batch(&mut index, &mut state, &[first[3].clone(), second[0].clone()]).unwrap();
    assert_eq!((gap.inserted, gap.refused), (0, 2));
    // The next row of the first segment would fit, but once behind only the file tells what is missing;
    // and a later day of the same key waits for its parents.
    let behind: Vec<SegmentId> = state.behind().collect();
    assert_eq!(behind, [segment(FIRST), segment(SECOND)]);
    let waits = insert_batch(&mut index, &mut state, &second).unwrap();
    assert_eq!(waits.refused, 1);
    let progress = whole(&mut index, &mut state, &layout);
    assert_eq!((progress.inserted, progress.is_done), (3, true));
    assert_eq!(state.behind().count(), 0);
    let late = insert_batch(&mut index, &mut state, &first).unwrap();
    assert_eq!((late.inserted, late.known, late.refused), (0, 4, 0));
}

#[test]
fn a_line_written_twice_counts_once_and_its_first_place_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    let twice = line(1, 1, 100, 1, &[], "");
    let second = write(&layout, segment(SECOND), std::slice::from_ref(&twice));
    let first = write(&layout, segment(FIRST), &[twice]);
    insert_batch(&mut index, &mut state, &second).unwrap();
    let report = insert_batch(&mut index, &mut state, &first).unwrap();
    assert_eq!((report.inserted, report.known), (0, 1));
    assert_eq!(query::place(&index, id(1)).unwrap(), Some(first[0].1));
}

#[test]
fn what_fails_leaves_nothing_behind_and_can_be_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    let rows =
        write(&layout, segment(FIRST), &[line(1, 1, 1, 1, &turns("u"), ""), line(2, 1, 9, 1, &turns("u v"), "")]);
    index
        .execute_batch("CREATE TRIGGER full BEFORE INSERT ON sessions BEGIN SELECT raise(ABORT, 'full'); END")
        .unwrap();
    assert!(insert_batch(&mut index, &mut state, &rows).is_err());
    assert_eq!(index.query_row("SELECT count(*) FROM rows", [], |row| row.get::<_, i64>(0)).unwrap(), 0);
    index.execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(insert_batch(&mut index, &mut state, &rows).unwrap().inserted, 2);
    assert_eq!(parent_and_root(&index, 2).1, id(1).to_string());
}

#[test]
fn bad_lines_are_counted_and_never_block() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    let text = |n| line(n, 1, 100, 1, &[], "").to_string();
    let glued = format!("{{\"id\":\"{}\",\"torn{}", id(7), json_with_id_first(3));
    let content = format!("{}\nnonsense\n\n{glued}\n{}\n{{\"half", text(1), text(2));
    drop(JsonlFile::open(&layout, segment(FIRST)).unwrap());
    std::fs::write(layout.segment(segment(FIRST), Form::Plain), &content).unwrap();
    let progress = whole(&mut index, &mut state, &layout);
    assert_eq!((progress.inserted, progress.bad_lines, progress.is_done), (3, 2, true));
    let place = query::place(&index, id(3)).unwrap().unwrap();
    assert_eq!(crate::jsonl::read::line(&layout, place, id(3)).unwrap(), json_with_id_first(3).as_bytes());
    assert_eq!(bad_lines(&index).unwrap()[&segment(FIRST)], 2);
    // The half line is finished: only it is read.
    std::fs::write(layout.segment(segment(FIRST), Form::Plain), format!("{content}\"}}\n")).unwrap();
    let progress = whole(&mut index, &mut state, &layout);
    assert_eq!((progress.inserted, progress.bad_lines, progress.bytes), (0, 1, 9));
}

fn json_with_id_first(n: u64) -> String {
    format!("{{\"id\":\"{}\",\"answer\":\"\",\"key\":1,\"took\":1,\"ts\":1,\"turns\":[]}}", id(n))
}

#[test]
fn a_segment_that_vanished_or_was_replaced_is_indexed_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    let lines: Vec<Value> =
        (0..5).map(|n| line(n, 1, 100 + n as i64 * 50, 1, &turns("u1 a1 u2")[..1 + n as usize % 3], "")).collect();
    write(&layout, segment(FIRST), &lines);
    write(&layout, segment(SECOND), &[line(9, 1, 900, 1, &turns("u1 a1 u2 a2"), "")]);
    whole(&mut index, &mut state, &layout);
    // Replaced by a shorter one.
    std::fs::remove_file(layout.segment(segment(FIRST), Form::Plain)).unwrap();
    write(&layout, segment(FIRST), &lines[..1]);
    let progress = whole(&mut index, &mut state, &layout);
    assert_eq!((progress.removed, progress.inserted), (5, 1));
    std::fs::remove_file(layout.segment(segment(FIRST), Form::Plain)).unwrap();
    let progress = whole(&mut index, &mut state, &layout);
    assert_eq!((progress.removed, progress.inserted), (1, 0));
    let left = query::list(&index, &filter::Filter::default(), 10, None).unwrap();
    assert_eq!(left.rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), [id(9).to_string()]);
    let sessions = sessions::sessions(&index, sessions::SessionParams { limit: 10, since: None }).unwrap();
    assert_eq!(sessions.iter().map(|it| it.n_turns).sum::<i64>(), 1);
}

#[test]
fn a_segment_that_was_replaced_and_outgrew_what_was_indexed_is_another_one() {
    for replacement in [2, 3, 5] {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let (mut index, mut state) = new_index(&layout);
        let line_of = |n: u64| line(n, 1, 100 + n as i64, 1, &[], "");
        let old = write(&layout, segment(FIRST), &[line_of(1), line_of(2), line_of(3)]);
        insert_batch(&mut index, &mut state, &old).unwrap();
        std::fs::remove_file(layout.segment(segment(FIRST), Form::Plain)).unwrap();
        let new: Vec<Value> = (0..replacement).map(|n| line_of(11 + n)).collect();
        write(&layout, segment(FIRST), &new);
        // Noticed when it is read on, and after a restart even if there is nothing to read; not forgotten meanwhile.
        if replacement <= 3 {
            state = WriterState::new();
        }
        catch_up(&mut index, &mut state, &layout, read_row, Budget { bytes: 0 }).unwrap();
        let progress = whole(&mut index, &mut state, &layout);
        assert_eq!((progress.removed, progress.inserted), (3, replacement));
        let (mut fresh, mut state) = (schema::open_writer(&dir.path().join("fresh")).unwrap(), WriterState::new());
        whole(&mut fresh, &mut state, &layout);
        assert_eq!(dump(&index), dump(&fresh));
    }
}

#[test]
fn newer_rows_of_a_key_wait_until_its_older_lines_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    write(&layout, segment(FIRST), &[line(1, 1, 100, 1, &turns("u1"), "a1")]);
    let progress = catch_up(&mut index, &mut state, &layout, read_row, Budget { bytes: 0 }).unwrap();
    assert_eq!((progress.is_done, progress.inserted), (false, 0));
    let newer = write(&layout, segment(SECOND), &[line(2, 1, 200, 1, &turns("u1 a1 u2"), "a2")]);
    let other_key = write(&layout, segment("2026-05-28/02020202.jsonl"), &[line(3, 2, 200, 1, &turns("u1"), "a2")]);
    assert_eq!(insert_batch(&mut index, &mut state, &newer).unwrap().refused, 1);
    assert_eq!(insert_batch(&mut index, &mut state, &other_key).unwrap().inserted, 1);
    let progress = whole(&mut index, &mut state, &layout);
    assert_eq!((progress.is_done, progress.inserted), (true, 2));
    assert_eq!(parent_and_root(&index, 2).0, Some(id(1).to_string()));
}

#[test]
fn removing_a_segment_leaves_the_sums_of_what_remains() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    let mut failed = line(2, 1, 200, 1, &turns("u1 a1 u2"), "a2");
    failed["status"] = json!(500);
    let first = write(&layout, segment(FIRST), &[line(1, 1, 100, 1, &turns("u1"), "a1"), failed]);
    let second = write(&layout, segment(SECOND), &[line(3, 1, 300, 1, &turns("u1 a1 u2 a2 u3"), "a3")]);
    insert_batch(&mut index, &mut state, &[first, second].concat()).unwrap();
    let sums = |index: &Connection| {
        let all = sessions::sessions(index, sessions::SessionParams { limit: 10, since: None }).unwrap();
        all.into_iter()
            .map(|it| (it.session_root_id, it.n_turns, it.first_ts.0, it.last_ts.0, it.ok_count, it.err_count))
            .collect::<Vec<_>>()
    };
    let root = id(1).to_string();
    assert_eq!(sums(&index), [(root.clone(), 3, 100, 300, 2, 1)]);
    assert_eq!(remove_segment(&mut index, &mut state, segment(FIRST)).unwrap(), 2);
    assert_eq!(sums(&index), [(root.clone(), 1, 300, 300, 1, 0)]);
    assert_eq!(parent_and_root(&index, 3), (Some(id(2).to_string()), root));
    assert_eq!(remove_segment(&mut index, &mut state, segment(SECOND)).unwrap(), 1);
    assert_eq!(sums(&index), []);
    assert_eq!(remove_segment(&mut index, &mut state, segment(SECOND)).unwrap(), 0);
}

#[test]
fn a_sealed_segment_is_indexed_once_and_a_damaged_one_up_to_its_damage() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    let lines: Vec<Value> = (0..2000).map(|n| line(n, 1, 100, 1, &[], &format!("a{n}"))).collect();
    write(&layout, segment(FIRST), &lines);
    let plain = layout.segment(segment(FIRST), Form::Plain);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, &std::fs::read(&plain).unwrap()).unwrap();
    let sealed = encoder.finish().unwrap();
    std::fs::remove_file(plain).unwrap();
    let path = layout.segment(segment(FIRST), Form::Gzip);
    std::fs::write(&path, &sealed[..sealed.len() / 2]).unwrap();
    let progress = whole(&mut index, &mut state, &layout);
    assert!(progress.inserted > 0 && progress.inserted < 2000, "{progress:?}");
    assert_eq!(progress.unreadable.len(), 1);
    std::fs::write(&path, &sealed).unwrap();
    let rest = whole(&mut index, &mut state, &layout);
    assert_eq!((progress.inserted + rest.inserted, rest.unreadable.len()), (2000, 0));
    assert_eq!(whole(&mut index, &mut state, &layout).bytes, 0);
}

#[test]
fn the_view_has_the_documented_columns() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    let mut rows = write(&layout, segment("2026-05-27/01010101.3.jsonl"), &[line(1, 1, 100, 7, &turns("u1 a1"), "a")]);
    rows[0].0.path = "/v1/models?key=***&x=".into();
    rows[0].0.tags = vec!["a".into(), "b\"".into()];
    rows[0].0.stream = Some(true);
    insert_batch(&mut index, &mut state, &rows).unwrap();
    let mut statement = index.prepare("SELECT * FROM traces").unwrap();
    let names: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut found = statement.query([]).unwrap();
    let found = found.next().unwrap().unwrap();
    let shown: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            use rusqlite::types::ValueRef;
            match found.get_ref(at).unwrap() {
                ValueRef::Null => format!("{name}: null"),
                ValueRef::Text(text) => format!("{name}: {:?}", String::from_utf8_lossy(text)),
                other => format!("{name}: {other:?}"),
            }
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
    let row = query::get(&index, id(1)).unwrap().unwrap();
    assert_eq!(row.place(), Some(rows[0].1));
    insta::assert_snapshot!(serde_json::to_string_pretty(&row).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn the_same_lines_give_the_same_rows_in_any_batching(
        steps in life(),
        cuts in proptest::collection::vec((1..12usize, 0..8u8), 1..12),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let rows: Vec<(Row, Place)> =
            lines_of(&steps).into_iter().map(|(id, line)| write(&layout, id, &[line]).remove(0)).collect();

        // A rebuild from the files.
        let (mut rebuilt, mut state) = new_index(&layout);
        whole(&mut rebuilt, &mut state, &layout);
        let expected = dump(&rebuilt);

        // Live in random batches: some lost on the way, some sent twice, with restarts and catching up between.
        let live_dir = tempfile::tempdir().unwrap();
        let live_layout = Layout::new(live_dir.path());
        let (mut live, mut state) = new_index(&live_layout);
        let mut sent = 0;
        for (size, event) in cuts.iter().cycle() {
            let batch = &rows[sent..rows.len().min(sent + size)];
            sent += batch.len();
            match event {
                0 => {}
                1 => {
                    insert_batch(&mut live, &mut state, batch).unwrap();
                    insert_batch(&mut live, &mut state, batch).unwrap();
                }
                2 => {
                    insert_batch(&mut live, &mut state, batch).unwrap();
                    state = WriterState::new();
                }
                3 | 4 => {
                    insert_fresh(&mut live, &mut state, batch).unwrap();
                }
                5 => {
                    insert_fresh(&mut live, &mut state, batch).unwrap();
                    merge_fresh(&mut live, &mut state, *size).unwrap();
                }
                6 => {
                    insert_fresh(&mut live, &mut state, batch).unwrap();
                    state = WriterState::new();
                }
                _ => {
                    insert_batch(&mut live, &mut state, batch).unwrap();
                    catch_up(&mut live, &mut state, &layout, read_row, Budget { bytes: 1000 }).unwrap();
                }
            }
            if sent == rows.len() {
                break;
            }
        }
        whole(&mut live, &mut state, &layout);
        merge_all(&mut live, &mut state);
        prop_assert_eq!(&dump(&live), &expected);

        // One by one, without a file ever being read.
        let one_dir = tempfile::tempdir().unwrap();
        let (mut one, mut state) = new_index(&Layout::new(one_dir.path()));
        for row in &rows {
            let report = insert_batch(&mut one, &mut state, std::slice::from_ref(row)).unwrap();
            prop_assert_eq!(report.inserted, 1);
        }
        prop_assert_eq!(&dump(&one), &expected);
    }
}

#[test]
fn a_request_that_sends_the_answer_back_follows_even_a_stream_that_ended_later() {
    let parent = line(1, 1, 100, 50, &turns("u1"), "a1");
    let child = line(2, 1, 120, 10, &turns("u1 a1 u2"), "a2");
    let stranger = line(3, 1, 130, 5, &turns("u1 a9 u2"), "a3");
    // A short exchange ends, and is indexed, before the one it follows: both orders give the same links.
    for order in [[&parent, &child, &stranger], [&stranger, &child, &parent]] {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let (mut index, mut state) = new_index(&layout);
        let rows = write(&layout, segment(FIRST), &order.map(Value::clone));
        insert_batch(&mut index, &mut state, &rows).unwrap();
        assert_eq!(parent_and_root(&index, 2), (Some(id(1).to_string()), id(1).to_string()));
        assert_eq!(parent_and_root(&index, 3), (None, id(3).to_string()));
    }
}
