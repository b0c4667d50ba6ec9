//! Catching up beside those who write and delete: files are read under leases.

use super::testing::{line, new_index, read_row};
use super::tests::{segment, whole, write};
use super::*;
use crate::store::layout::{Form, Layout};
use crate::store::lease::Leases;

const FIRST: &str = "2026-05-27/01010101.jsonl";
const SECOND: &str = "2026-05-28/01010101.jsonl";

#[test]
fn what_is_being_deleted_is_passed_over_and_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let leases = Leases::new();
    let (mut index, mut state) = (new_index(&layout).0, WriterState::with_leases(leases.clone()));
    write(&layout, segment(FIRST), &[line(1, 1, 100, 10, &[], "")]);
    let rows = write(&layout, segment(SECOND), &[line(2, 1, 200, 10, &[], "")]);
    let deleting = leases.exclusive(segment(FIRST)).unwrap();
    assert_eq!(whole(&mut index, &mut state, &layout).inserted, 1);
    assert_eq!(state.behind().count(), 0, "a later segment of its key does not wait");
    assert_eq!(insert_batch(&mut index, &mut state, &rows).unwrap().known, 1);
    drop(deleting);
    // Its deletion was given up.
    assert_eq!(whole(&mut index, &mut state, &layout).inserted, 1);
    assert!(leases.is_empty());
}

#[test]
fn rows_of_a_vanished_file_stay_for_as_long_as_somebody_uses_it() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let leases = Leases::new();
    let (mut index, mut state) = (new_index(&layout).0, WriterState::with_leases(leases.clone()));
    write(&layout, segment(FIRST), &[line(1, 1, 100, 10, &[], "")]);
    catch_up(&mut index, &mut state, &layout, read_row, Budget::WHOLE).unwrap();
    std::fs::remove_file(layout.segment(segment(FIRST), Form::Plain)).unwrap();
    let writing = leases.shared(segment(FIRST)).unwrap();
    assert_eq!(whole(&mut index, &mut state, &layout).removed, 0);
    drop(writing);
    assert_eq!(whole(&mut index, &mut state, &layout).removed, 1);
    assert!(leases.is_empty());
}

/// A name without a file stands for one that is deleted between the listing and its opening.
#[test]
fn what_is_deleted_after_it_was_listed_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    write(&layout, segment(FIRST), &[line(1, 1, 100, 10, &[], "")]);
    whole(&mut index, &mut state, &layout);
    let path = layout.segment(segment(FIRST), Form::Plain);
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("nowhere", path).unwrap();
    let progress = whole(&mut index, &mut state, &layout);
    assert_eq!((progress.removed, progress.behind_segments, state.behind().count()), (1, 0, 0));
}
