//! Faults on demand: each point stands in the list and in the code, and a program built as it ships has none.

#![expect(clippy::unwrap_used, reason = "a file that cannot be read fails the test, as it should")]

use std::collections::BTreeSet;
use std::path::Path;

/// The names in the list of points.
fn listed() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("actors/faults.rs")).unwrap();
    let (_, list) = text.split_once("const POINTS").unwrap();
    let (list, _) = list.split_once("];").unwrap();
    list.lines().filter_map(|line| Some(line.trim().strip_prefix("(\"")?.split('"').next()?.to_owned())).collect()
}

/// The names of the points that code passes.
fn passed() -> BTreeSet<String> {
    let mut sources = Vec::new();
    collect(&root().join("actors"), &mut sources);
    let calls = ["fault!(", "faults::strike(", "faults::is_due("];
    let mut found = BTreeSet::new();
    for source in sources {
        for line in source.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for call in calls {
                let Some((_, rest)) = line.split_once(call) else { continue };
                let rest = ["await ", "io ", "is "].iter().find_map(|form| rest.strip_prefix(form)).unwrap_or(rest);
                found.extend(rest.strip_prefix('"').and_then(|it| it.split('"').next()).map(str::to_owned));
            }
        }
    }
    found
}

#[test]
fn every_point_stands_in_the_list_and_in_the_code() {
    let (listed, passed) = (listed(), passed());
    assert!(listed.len() > 10, "{listed:?}");
    let unlisted: Vec<_> = passed.difference(&listed).collect();
    assert!(unlisted.is_empty(), "put into POINTS of actors/faults.rs: {unlisted:?}");
    let gone: Vec<_> = listed.difference(&passed).collect();
    assert!(gone.is_empty(), "in POINTS of actors/faults.rs, and nowhere passed: {gone:?}");
}

/// Their texts would be there if anything of them were.
#[test]
fn the_program_as_it_ships_knows_no_faults() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_api-log")).unwrap();
    for text in ["API_LOG_FAULTS", "finalizers.took", "writer.refused"] {
        let is_there = memchr::memmem::find(&program, text.as_bytes()).is_some();
        assert_eq!(is_there, cfg!(feature = "faults"), "{text}");
    }
}

fn collect(folder: &Path, into: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|it| it == "rs") {
            into.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
