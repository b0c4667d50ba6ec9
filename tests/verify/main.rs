//! `api-log verify` from outside: data dirs that are in order, and one broken for each kind of finding.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure is the test's result")]

mod data_dir;
#[path = "../golden/fixture.rs"]
mod fixture;
mod recorder;

use std::fs::{self, Permissions};
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use api_log::capture::spool;
use api_log::ids::{SegmentId, TraceId};
use api_log::index::{WriterState, remove_segment, schema};
use api_log::jsonl::file::JsonlFile;
use api_log::jsonl::sealed::{Codec, Table, seal};
use api_log::store::layout::{Form, Layout};
use api_log::trace::{FinalizeSettings, finalize};

use data_dir::*;
use recorder::Recorder;

#[test]
fn a_data_dir_of_every_golden_line_and_of_old_ones_is_in_order() {
    let here = DataDir::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wire");
    let mut folders: Vec<PathBuf> = Vec::new();
    for family in fs::read_dir(root).unwrap().map(|it| it.unwrap().path()).filter(|it| it.is_dir()) {
        folders.extend(fs::read_dir(family).unwrap().map(|it| it.unwrap().path()));
    }
    let lines = folders.iter().enumerate().map(|(n, folder)| {
        let mut exchange = fixture::exchange(folder);
        exchange.id = TraceId::from_bytes((1_u128 << 100 | n as u128).to_be_bytes());
        finalize(&exchange, &FinalizeSettings::default()).line
    });
    let lines: Vec<Vec<u8>> = lines.collect();
    let slices: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    let segment = "2026-05-25/00000000.jsonl".parse().unwrap();
    JsonlFile::open(&here.layout, segment).unwrap().append(&slices).unwrap();
    here.index();
    let (code, report) = here.verify(&[]);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(report["findings"], serde_json::json!([]));
    let totals = &report["totals"];
    let count = lines.len() as u64 + 30;
    assert_eq!((totals["lines"].as_u64(), totals["rows"].as_u64()), (Some(count), Some(count)));
    assert_eq!((totals["segments"].as_u64(), totals["media"].as_u64()), (Some(3), Some(1)));
    let (code, stdout, stderr) = run(here.path(), &[]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with(&format!("{count} lines (")) && stdout.ends_with("nothing is wrong\n"), "{stdout}");
}

/// How a finding is mended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mended {
    /// It is gone afterwards.
    Yes,
    /// It stays, and is still told.
    No,
}

/// Breaks a data dir in one way.
type Break = fn(&DataDir);

#[test]
fn every_kind_of_damage_is_found_and_mended_where_no_byte_is_lost() {
    let cases: &[(&[&str], Mended, Break)] = &[
        (&["damaged_file"], Mended::No, |it| {
            let path = it.file(SEALED, Form::Zstd);
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 8]).unwrap();
        }),
        (&["damaged_file"], Mended::No, |it| {
            // One byte in the midst of a block, as only its checksum tells.
            let segment: SegmentId = SEALED.parse().unwrap();
            let packed = fs::read(it.file(SEALED, Form::Zstd)).unwrap();
            it.write(&it.file(SEALED, Form::Plain), zstd::decode_all(&packed[..]).unwrap());
            fs::remove_file(it.file(SEALED, Form::Zstd)).unwrap();
            seal(&it.layout, segment, Codec::Zstd, &mut |_| ControlFlow::Continue(())).unwrap();
            let path = it.file(SEALED, Form::Zstd);
            let mut bytes = fs::read(&path).unwrap();
            let table = Table::read(&mut fs::File::open(&path).unwrap(), Codec::Zstd).unwrap().unwrap();
            bytes[table.packed_bytes() as usize - 1] ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        (&["bad_line"], Mended::Yes, |it| {
            it.append_raw("this is no trace\n");
            it.append(PLAIN, 40..42);
            it.index();
        }),
        (&["glued_line"], Mended::Yes, |it| {
            it.append_raw(&format!("{}{}\n", &old_line(41)[..70], old_line(42)));
            it.append(PLAIN, 43..44);
            it.index();
        }),
        (&["repeated_id"], Mended::Yes, |it| {
            it.append(PLAIN, 5..6);
            it.append(SEALED.replace(".1.", ".2.").as_str(), 7..9);
            it.index();
        }),
        (&["torn_tail"], Mended::Yes, |it| it.append_raw("{\"id\":\"01J0")),
        (&["index_missing"], Mended::Yes, |it| fs::remove_file(it.layout.index()).unwrap()),
        (&["index_unusable"], Mended::Yes, |it| fs::write(it.layout.index(), "no database").unwrap()),
        // As a recorder leaves it that ended while it rebuilt.
        (&["index_unusable"], Mended::Yes, |it| it.sql("PRAGMA application_id = 0x41504C49")),
        (&["row_without_line"], Mended::Yes, |it| {
            let path = it.file(PLAIN, Form::Plain);
            let text = fs::read_to_string(&path).unwrap();
            let last = text.trim_end().rfind('\n').unwrap() + 1;
            fs::write(path, &text[..last]).unwrap();
        }),
        (&["line_without_row", "row_without_line"], Mended::Yes, |it| {
            it.sql("UPDATE rows SET jsonl_offset = jsonl_offset + 1 WHERE row = 4");
        }),
        (&["rows_without_file"], Mended::Yes, |it| {
            fs::remove_dir_all(it.file(SEALED, Form::Zstd).parent().unwrap()).unwrap();
        }),
        (&["line_without_row", "rollups", "session_sums"], Mended::Yes, |it| it.sql("DELETE FROM rows WHERE row = 4")),
        (&["row_differs"], Mended::Yes, |it| {
            it.sql("UPDATE rows SET prefix = prefix + 1, total_tokens = 9 WHERE row = 4")
        }),
        (&["row_differs"], Mended::Yes, |it| fs::remove_file(it.media(3).join("1.txt")).unwrap()),
        (&["session_sums"], Mended::Yes, |it| it.sql("UPDATE sessions SET turns = turns + 1 WHERE session = 2")),
        (&["not_indexed"], Mended::Yes, |it| it.append(PLAIN, 50..53)),
        (&["both_forms"], Mended::Yes, |it| {
            let plain = fs::read(it.file(PLAIN, Form::Plain)).unwrap();
            it.write(&it.file(PLAIN, Form::Zstd), zstd::encode_all(&plain[..], 1).unwrap());
        }),
        (&["both_forms"], Mended::Yes, |it| {
            let plain = fs::read(it.file(PLAIN, Form::Plain)).unwrap();
            let sealed = zstd::encode_all(&plain[..], 1).unwrap();
            it.write(&it.file(PLAIN, Form::Zstd), &sealed[..sealed.len() / 2]);
        }),
        // Its sealed form must survive that its plain one is to be rewritten.
        (&["bad_line", "both_forms"], Mended::No, |it| {
            let other = format!("{}\n", old_line(60));
            it.write(&it.file(PLAIN, Form::Zstd), zstd::encode_all(other.as_bytes(), 1).unwrap());
            it.append_raw("this is no trace\n");
            it.append(PLAIN, 40..42);
            it.index();
        }),
        // Damaged behind the beginning that they share, and longer than the plain one.
        (&["both_forms"], Mended::No, |it| {
            let (plain, segment) = (it.file(PLAIN, Form::Plain), PLAIN.parse().unwrap());
            let text = fs::read(&plain).unwrap();
            let longer = [&text[..], old_line(60).as_bytes(), b"\n"].concat();
            fs::write(&plain, longer).unwrap();
            seal(&it.layout, segment, Codec::Zstd, &mut |_| ControlFlow::Continue(())).unwrap();
            let mut sealed = fs::read(it.file(PLAIN, Form::Zstd)).unwrap();
            sealed[20] ^= 0x55;
            fs::write(it.file(PLAIN, Form::Zstd), sealed).unwrap();
            it.write(&plain, text);
        }),
        (&["both_forms"], Mended::No, |it| {
            let other = format!("{}\n", old_line(60));
            it.write(&it.file(PLAIN, Form::Zstd), zstd::encode_all(other.as_bytes(), 1).unwrap());
        }),
        (&["unfinished_file"], Mended::Yes, |it| {
            it.write(&it.path().join("2026-05-27/a1b2c3d4.jsonl.zst.new"), "half");
            it.write(&it.path().join("index.sqlite.new"), "half");
            it.write(&it.media(3).join(".2.txt.tmp"), "half");
        }),
        (&["unfinished_file"], Mended::Yes, |it| {
            it.write(&it.path().join("runtime_overrides.json.new"), "{");
            it.write(&it.path().join("index.sqlite.new-staging"), "half");
            it.write(&it.path().join("index.sqlite.old-12-wal"), "half");
        }),
        // Nobody knows what it was made of.
        (&["unfinished_file"], Mended::No, |it| {
            it.write(&it.path().join("2026-05-27/ffffffff.3.jsonl.zst.new"), "all that is left");
        }),
        (&["orphan_media"], Mended::No, |it| {
            it.make_folder(&it.media(70));
            it.write(&it.media(70).join("0.txt"), "whose?");
        }),
        (&["open_mode"], Mended::Yes, |it| {
            fs::set_permissions(it.path(), Permissions::from_mode(0o755)).unwrap();
            fs::set_permissions(it.file(PLAIN, Form::Plain), Permissions::from_mode(0o644)).unwrap();
            fs::set_permissions(it.media(3).join("0.txt"), Permissions::from_mode(0o604)).unwrap();
        }),
    ];
    for (at, (expected, mended, damage)) in cases.iter().enumerate() {
        let here = DataDir::new();
        damage(&here);
        let told: Vec<String> = expected.iter().map(|&it| it.to_owned()).collect();
        let before = here.lines_anywhere();
        let (code, kinds, report) = here.found(&[]);
        assert_eq!((code, kinds), (1, told.clone()), "case {at}: {report:#}");
        let first = &report["findings"][0];
        assert!(first["path"].is_string() && first["what"].is_string() && first["advice"].is_string(), "{report:#}");
        // Looking changes nothing.
        assert_eq!(here.found(&[]).2["findings"], report["findings"], "case {at} {expected:?}");

        let (code, kinds, report) = here.found(&["--repair"]);
        match mended {
            Mended::Yes => {
                assert_eq!(code, 0, "case {at} {expected:?}: {report:#}");
                assert_ne!(report["repairs"], serde_json::json!([]), "case {at} {expected:?}");
                assert!(!kinds.iter().any(|kind| told.contains(kind)), "case {at} {expected:?}: {report:#}");
            }
            Mended::No => assert_eq!((code, kinds), (1, told.clone()), "case {at}: {report:#}"),
        }
        let after = here.lines_anywhere();
        for line in before.lines() {
            assert!(after.contains(line), "case {at} {expected:?}: lost {line}");
        }
        let (again_code, _, again) = here.found(&["--repair"]);
        assert_eq!(again_code, code);
        let done = again["repairs"].as_array().unwrap().iter().filter(|it| it["error"].is_null()).count();
        assert_eq!(done, 0, "case {at} {expected:?} is mended twice: {again:#}");
        // What it made is what a recorder would have: everything is indexed.
        if *mended == Mended::Yes {
            assert_eq!(here.found(&[]).0, 0, "case {at} {expected:?}");
        }
    }
}

#[test]
fn what_is_only_worth_knowing_is_told_and_nothing_is_wrong() {
    let cases: &[(&str, bool, Break)] = &[
        ("kept_aside", false, |it| it.write(&it.path().join("2026-05-27/a1b2c3d4.jsonl.torn"), "{\"id\n")),
        ("index_set_aside", false, |it| it.write(&it.path().join("index.sqlite.corrupt-12"), "old")),
        ("spool_left", false, |it| {
            it.make_folder(&it.layout.tmp());
            let header = spool::Header { trace: id(9).parse().unwrap(), arena: None };
            it.write(&it.layout.spool(header.trace), header.encode());
            it.write(&it.layout.tmp().join(format!("{}.arena", id(8))), "memory");
        }),
        ("kept_aside", false, |it| {
            it.make_folder(&it.layout.tmp());
            it.write(&it.layout.tmp().join(format!("{}.spool.unreadable", id(9))), "?");
            it.write(&it.layout.tmp().join(format!("{}.req.bin", id(9))), "an earlier version's");
        }),
        ("foreign_file", false, |it| {
            it.make_folder(&it.layout.tmp());
            it.write(&it.layout.tmp().join("notes.txt"), "mine");
        }),
        ("foreign_file", false, |it| it.write(&it.media(3).parent().unwrap().join("notes.txt"), "mine")),
        ("foreign_file", false, |it| it.write(&it.path().join("index.sqlite.new-notes"), "mine")),
        // Its rows are gone already, its attachments not yet.
        ("half_deleted", false, |it| {
            it.write(&it.layout.deletion_mark(PLAIN.parse().unwrap()), "");
            let mut index = schema::open_writer(&it.layout.index()).unwrap();
            remove_segment(&mut index, &mut WriterState::new(), PLAIN.parse().unwrap()).unwrap();
        }),
        ("half_deleted", false, |it| {
            it.write(&it.layout.deletion_mark(SEALED.parse().unwrap()), "");
        }),
        ("empty", true, |it| it.make_folder(&it.path().join("2026-05-20/a1b2c3d4/media"))),
        ("foreign_file", false, |it| it.write(&it.path().join("2026-05-27/notes.txt"), "mine")),
        ("foreign_file", false, |it| it.write(&it.path().join("notes.txt"), "mine")),
    ];
    for (kind, is_mended, make) in cases {
        let here = DataDir::new();
        make(&here);
        let (code, kinds, report) = here.found(&[]);
        assert_eq!((code, kinds), (0, vec![(*kind).to_owned()]), "{report:#}");
        assert_eq!((&report["is_clean"], &report["findings"][0]["is_note"]), (&true.into(), &true.into()));
        let files = here.files();
        let (code, kinds, report) = here.found(&["--repair"]);
        assert_eq!((code, kinds.is_empty()), (0, *is_mended), "{kind} {report:#}");
        assert!(*is_mended || here.files() == files, "{kind} {report:#}");
    }
}

#[test]
fn an_earlier_data_dir_rebuilds_and_verifies() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/earlier-data-dir");
    for command_of in [&["rebuild"][..], &["verify", "--repair"]] {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        copy(&fixture, dir.path());
        let here = DataDir { layout: Layout::new(dir.path()), dir };
        let (code, kinds, report) = here.found(&[]);
        assert_eq!((code, kinds), (1, vec!["index_missing".to_owned()]), "{report:#}");
        assert!(command(here.path()).args(command_of).output().unwrap().status.success());
        let (code, kinds, report) = here.found(&[]);
        assert_eq!((code, kinds), (0, vec![]), "{report:#}");
        let totals = &report["totals"];
        assert_eq!((&totals["lines"], &totals["rows"], &totals["media"]), (&5.into(), &5.into(), &1.into()));
    }
}

#[test]
fn an_index_that_is_missing_hides_no_repeated_id() {
    let here = DataDir::new();
    here.append("2026-05-28/ffffffff.jsonl", 5..7);
    fs::remove_file(here.layout.index()).unwrap();
    let (code, report) = here.verify(&[]);
    assert_eq!((code, &report["counts"]["repeated_id"]), (1, &2.into()), "{report:#}");
    let found: Vec<_> =
        report["findings"].as_array().unwrap().iter().filter(|it| it["kind"] == "repeated_id").collect();
    assert_eq!(found[0]["path"], "2026-05-28/ffffffff.jsonl");
    assert_eq!(here.verify(&["--repair"]).0, 0);
}

#[test]
fn there_is_nothing_to_say_about_what_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none");
    for arguments in [&[][..], &["--repair"]] {
        let (code, stdout, stderr) = run(&none, arguments);
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert!(stderr.starts_with("api-log: verify: cannot list "), "{stderr}");
        assert!(!none.exists());
    }
    let (code, _, stderr) = run(&none, &["--bogus"]);
    assert_eq!(code, 2, "{stderr}");
}

#[test]
fn a_running_recorder_is_no_finding_and_nothing_is_repaired_beside_it() {
    let here = DataDir::new();
    let recorder = Recorder::start(here.path());
    std::thread::scope(|threads| {
        let sending = threads.spawn(|| (0..200).for_each(|n| recorder.send(n)));
        while !sending.is_finished() {
            let (code, report) = here.verify(&[]);
            assert_eq!(code, 0, "{report:#}");
            assert!(report["recorder"].as_str().is_some_and(|it| it.contains("pid")), "{report:#}");
        }
    });
    let (code, stdout, stderr) = run(here.path(), &["--repair"]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("is in use by another recorder") && stderr.contains("stopped"), "{stderr}");
    drop(recorder);
    // It was killed: what it had not indexed is, at most, to be indexed, and what it was sealing to be sealed.
    let (_, kinds, report) = here.found(&[]);
    let expected = ["not_indexed", "torn_tail", "spool_left", "unfinished_file", "both_forms"];
    assert!(kinds.iter().all(|it| expected.contains(&it.as_str())), "{report:#}");
    assert_eq!(here.verify(&["--repair"]).0, 0);
}
