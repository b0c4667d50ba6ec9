//! A writer that takes over while its predecessor is still at work: neither spoils what the other has written.

use proptest::prelude::*;

use super::testing::{dump, life, line, lines_of, new_index};
use super::tests::{segment, turns, whole, write};
use super::*;
use crate::ids::Place;
use crate::store::layout::Layout;
use crate::trace::Row;

const FIRST: &str = "2026-05-27/01010101.jsonl";
const SECOND: &str = "2026-05-27/02020202.jsonl";

#[test]
fn rows_of_a_predecessor_that_is_still_at_work_take_no_place_from_the_successors() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let first = write(
        &layout,
        segment(FIRST),
        &[line(1, 1, 100, 10, &turns("u1"), "a1"), line(2, 1, 200, 10, &turns("u2"), "a2")],
    );
    let second = write(
        &layout,
        segment(SECOND),
        &[line(3, 2, 100, 10, &turns("u3"), "a3"), line(4, 2, 200, 10, &turns("u4"), "a4")],
    );
    let (mut index, mut state) = new_index(&layout);
    let (mut index_of_next, mut next) = new_index(&layout);
    // The next one has looked, and remembers an empty index.
    insert_batch::<Row>(&mut index_of_next, &mut next, &[]).unwrap();
    assert_eq!(insert_batch(&mut index, &mut state, &first[..1]).unwrap().inserted, 1);
    assert_eq!(insert_batch(&mut index_of_next, &mut next, &second[..1]).unwrap().inserted, 1);
    // And the other way round, on segments that both know.
    assert_eq!(insert_batch(&mut index, &mut state, &second[1..]).unwrap().inserted, 1);
    assert_eq!(insert_batch(&mut index_of_next, &mut next, &first[1..]).unwrap().inserted, 1);
    let told = dump(&index);
    let other_dir = tempfile::tempdir().unwrap();
    let (mut alone, mut state) = new_index(&Layout::new(other_dir.path()));
    whole(&mut alone, &mut state, &layout);
    assert_eq!(told, dump(&alone));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Whoever of two writes next, with batches of any size, comes to the index that one of them makes alone.
    #[test]
    fn two_writers_in_any_order_make_the_index_of_one(steps in life(), whose in proptest::collection::vec(any::<bool>(), 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let rows: Vec<(Row, Place)> =
            lines_of(&steps).into_iter().flat_map(|(segment, line)| write(&layout, segment, &[line])).collect();
        let (one, other) = (new_index(&layout), new_index(&layout));
        let mut writers = [one, other];
        for (batch, is_other) in rows.chunks(3).zip(whose.iter().cycle()) {
            let (index, state) = &mut writers[usize::from(*is_other)];
            insert_batch(index, state, batch).unwrap();
        }
        let [(mut index, mut state), _] = writers;
        whole(&mut index, &mut state, &layout);
        let other_dir = tempfile::tempdir().unwrap();
        let mut alone = new_index(&Layout::new(other_dir.path()));
        whole(&mut alone.0, &mut alone.1, &layout);
        prop_assert_eq!(dump(&index), dump(&alone.0));
    }
}
