//! A rebuild comes to what catching up comes to, however the files are cut.

use std::io::{Cursor, Write};
use std::ops::ControlFlow;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::ids::UnixMillis;
use crate::index::testing::{TEXT_BYTES, dump, id, life, line, lines_of, new_index, read_row};
use crate::index::tests::{segment, turns, whole, write};
use crate::index::{WriterState, catch_up, files, insert_batch, schema, texts};
use crate::jsonl::sealed::{Codec, write_sealed};
use crate::store::layout::{Form, Layout};

const FIRST: &str = "2026-05-27/01010101.jsonl";

/// Rebuilds with pieces of so many bytes, and puts the result in place.
fn rebuild(layout: &Layout, piece_bytes: u64) -> Report {
    let plan = Plan::with_pieces_of(layout, piece_bytes).unwrap();
    let mut loader = Loader::create(&layout.new_index(), Some(TEXT_BYTES)).unwrap();
    let mut bytes = 0;
    for piece in plan.pieces() {
        parse(layout, &piece, read_row, |parsed| {
            bytes += parsed.bytes();
            loader.load(parsed).unwrap();
            ControlFlow::Continue(())
        });
    }
    assert!(bytes <= plan.bytes());
    let report = loader.finish(|_| {}).unwrap();
    files::install(&layout.new_index(), &layout.index(), UnixMillis(1)).unwrap();
    let left: Vec<_> = std::fs::read_dir(layout.root()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with("index.sqlite.")), "{left:?}");
    report
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn it_comes_to_what_catching_up_comes_to(steps in life(), piece_bytes in 1..2000u64, rest in life()) {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        for (id, line) in lines_of(&steps) {
            write(&layout, id, &[line]);
        }
        let (mut index, mut state) = new_index(&layout);
        whole(&mut index, &mut state, &layout);
        drop(index);
        let report = rebuild(&layout, piece_bytes);
        prop_assert_eq!((report.rows, report.known, report.bad_lines), (steps.len() as u64, 0, 0));

        // And it goes on as the other would.
        let mut index = schema::open_writer(&layout.index()).unwrap();
        let mut state = WriterState::new();
        prop_assert_eq!(catch_up(&mut index, &mut state, &layout, read_row, crate::index::Budget::WHOLE).unwrap().bytes, 0);
        let more = lines_of(&rest).into_iter().enumerate().map(|(n, (segment, mut line))| {
            line["id"] = json!(id(1000 + n as u64).to_string());
            (segment, line)
        });
        for (segment, line) in more {
            let rows = write(&layout, segment, &[line]);
            prop_assert_eq!(insert_batch(&mut index, &mut state, &rows).unwrap().inserted, 1);
        }
        let live = dump(&index);
        let (mut fresh, mut state) = (schema::open_writer(&dir.path().join("fresh")).unwrap(), WriterState::new());
        texts::prepare(&mut fresh, Some(TEXT_BYTES)).unwrap();
        whole(&mut fresh, &mut state, &layout);
        same(&live, &dump(&fresh));
    }
}

/// Checks that two dumps are equal, and shows the first difference.
fn same(found: &[String], expected: &[String]) {
    let different = found.iter().zip(expected).find(|(found, expected)| found != expected);
    assert_eq!((different, found.len()), (None, expected.len()));
}

/// What both ways make of what stands there.
fn both_ways_agree(layout: &Layout, piece_bytes: u64) -> (Report, Vec<String>) {
    let (mut index, mut state) = new_index(layout);
    whole(&mut index, &mut state, layout);
    let expected = dump(&index);
    drop(index);
    let report = rebuild(layout, piece_bytes);
    let rebuilt = dump(&schema::open_writer(&layout.index()).unwrap());
    same(&rebuilt, &expected);
    (report, rebuilt)
}

#[test]
fn bad_torn_empty_long_and_repeated_lines_are_treated_alike() {
    for piece_bytes in [1, 7, 100, 1000, 1 << 20] {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let text = |n| line(n, 1, 100, 1, &turns("u a u"), "").to_string();
        let glued = format!(
            "{{\"id\":\"{}\",\"torn{{\"id\":\"{}\",\"answer\":\"\",\"key\":1,\"took\":1,\"ts\":1,\"turns\":[]}}",
            id(7),
            id(8)
        );
        let long = "x".repeat(5000);
        let content = format!("{}\nnonsense\n\n\n{glued}\n{long}\n{}\n{}\n\n{{\"half", text(1), text(2), text(1));
        std::fs::create_dir_all(layout.day(segment(FIRST).bucket.date)).unwrap();
        std::fs::write(layout.segment(segment(FIRST), Form::Plain), &content).unwrap();
        write(&layout, segment("2026-05-28/01010101.jsonl"), &[line(2, 1, 100, 1, &turns("u a u"), "")]);
        let (report, rows) = both_ways_agree(&layout, piece_bytes);
        assert_eq!((report.rows, report.known, report.bad_lines), (3, 2, 3), "{piece_bytes}");
        assert_eq!(rows.iter().filter(|it| it.contains("\"2026-05-27/01010101.jsonl\"")).count(), 0);
    }
}

#[test]
fn sealed_damaged_and_empty_segments_and_attachments_are_treated_alike() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let second = segment("2026-05-28/01010101.jsonl");
    let lines: Vec<_> = (0..3000).map(|n| line(n, 1, 100 + n as i64, 1, &[], &format!("a{n}"))).collect();
    for (segment, form) in
        [(segment(FIRST), Form::Gzip), (second, Form::Gzip), (segment("2026-05-29/01010101.jsonl"), Form::Zstd)]
    {
        let part = if segment == second { &lines[..1000] } else { &lines[1000..] };
        write(&layout, segment, part);
        let plain = layout.segment(segment, Form::Plain);
        let bytes = std::fs::read(&plain).unwrap();
        let sealed = if form == Form::Zstd {
            zstd::stream::encode_all(&bytes[..], 3).unwrap()
        } else {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&bytes).unwrap();
            encoder.finish().unwrap()
        };
        std::fs::remove_file(plain).unwrap();
        let cut = if segment == second { sealed.len() / 2 } else { sealed.len() };
        std::fs::write(layout.segment(segment, form), &sealed[..cut]).unwrap();
    }
    std::fs::write(layout.segment(segment("2026-05-28/02020202.jsonl"), Form::Plain), "").unwrap();
    let folder = layout.media(segment(FIRST).bucket, id(1500));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("0.png"), "x").unwrap();
    let (report, _) = both_ways_agree(&layout, 1000);
    assert_eq!(report.unreadable.len(), 1);
    assert!(report.rows > 2000 && report.rows < 3000 && report.known == 2000, "{report:?}");
}

/// A seekable file whose blocks are cut anywhere, without checksums: as other programs make them.
fn cut_anywhere(text: &[u8], every: usize) -> Vec<u8> {
    let (mut file, mut entries) = (Vec::new(), Vec::new());
    for block in text.chunks(every) {
        let packed = zstd::stream::encode_all(block, 1).unwrap();
        entries.extend([packed.len() as u32, block.len() as u32].map(u32::to_le_bytes).concat());
        file.extend(packed);
    }
    file.extend([0x184D_2A5E, entries.len() as u32 + 9].map(u32::to_le_bytes).concat());
    file.extend(&entries);
    file.extend((entries.len() as u32 / 8).to_le_bytes());
    file.push(0);
    file.extend(0x8F92_EAB1_u32.to_le_bytes());
    file
}

#[test]
fn a_sealed_file_is_parsed_in_pieces_to_the_same_end() {
    let mut text = String::new();
    for n in 0..200 {
        let mut rest = line(n, 1, 100 + n as i64, 1, &turns("u a u"), &format!("a{n}"));
        rest.as_object_mut().unwrap().remove("id");
        let rest = &rest.to_string()[1..];
        // As lines of this program begin, and as others may.
        text += &match n % 3 {
            0 => format!("{{ \"id\":\"{}\",{rest}\n", id(n)),
            _ => format!("{{\"id\":\"{}\",{rest}\n", id(n)),
        };
    }
    text += &format!("{}\n\n{{\"half", "long ".repeat(1000));
    let ours = |codec, block_bytes| {
        let mut bytes = Vec::new();
        let (mut plain, mut ahead) = (Cursor::new(&text), Cursor::new(&text));
        write_sealed(&mut plain, &mut ahead, codec, block_bytes, &mut bytes).unwrap();
        bytes
    };
    let files = [
        (Codec::Zstd, ours(Codec::Zstd, 500)),
        (Codec::Gzip, ours(Codec::Gzip, 1300)),
        (Codec::Zstd, cut_anywhere(text.as_bytes(), 333)),
        (Codec::Zstd, cut_anywhere(text.as_bytes(), 40)),
    ];
    for (codec, bytes) in files {
        for piece_bytes in [1, 2000, 1 << 20] {
            let dir = tempfile::tempdir().unwrap();
            let layout = Layout::new(dir.path());
            std::fs::create_dir(layout.day(segment(FIRST).bucket.date)).unwrap();
            let path = layout.segment(segment(FIRST), codec.form());
            std::fs::write(&path, &bytes).unwrap();
            let pieces = Plan::with_pieces_of(&layout, piece_bytes).unwrap().pieces().count();
            assert!(if piece_bytes == 1 << 20 { pieces == 1 } else { pieces > 5 }, "{pieces} of {piece_bytes}");
            let (report, _) = both_ways_agree(&layout, piece_bytes);
            assert_eq!((report.rows, report.known, report.bad_lines), (200, 0, 1), "{codec:?} {piece_bytes}");

            // And when a block in the midst is damaged.
            std::fs::remove_file(layout.index()).unwrap();
            let mut damaged = bytes.clone();
            damaged[bytes.len() / 2..bytes.len() / 2 + 20].fill(0x55);
            std::fs::write(&path, damaged).unwrap();
            let (report, _) = both_ways_agree(&layout, piece_bytes);
            assert_eq!(report.unreadable.len(), 1);
            assert!(report.rows > 0 && report.rows < 200, "{report:?}");
        }
    }
}

#[test]
fn what_an_interrupted_rebuild_left_is_in_nobodys_way() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    write(&layout, segment(FIRST), &[line(1, 1, 100, 1, &turns("u a u"), "")]);
    let (mut index, mut state) = new_index(&layout);
    whole(&mut index, &mut state, &layout);
    let before = dump(&index);
    let mut loader = Loader::create(&layout.new_index(), Some(TEXT_BYTES)).unwrap();
    let plan = Plan::of(&layout).unwrap();
    parse(&layout, &plan.pieces().next().unwrap(), read_row, |parsed| {
        loader.load(parsed).unwrap();
        ControlFlow::Break(())
    });
    drop(loader);
    assert!(schema::open_reader(&layout.new_index()).is_err(), "nobody takes it for an index");
    assert_eq!(dump(&index), before);
    for old in ["index.sqlite.old-7", "index.sqlite.old-7-wal"] {
        std::fs::write(dir.path().join(old), "x").unwrap();
    }
    assert!(std::fs::read_dir(dir.path()).unwrap().count() > 4);
    files::remove_leftovers(&layout.index(), &layout.new_index()).unwrap();
    let mut left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["2026-05-27", "index.sqlite", "index.sqlite-shm", "index.sqlite-wal"]);
    drop(index);
    assert_eq!(rebuild(&layout, 10).rows, 1);
}

#[test]
fn who_reads_the_old_index_may_go_on_when_a_new_one_is_put_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    let rows = write(&layout, segment(FIRST), &[line(1, 1, 100, 1, &[], "")]);
    insert_batch(&mut index, &mut state, &rows).unwrap();
    let reader = schema::open_reader(&layout.index()).unwrap();
    let count = || reader.query_row("SELECT count(*) FROM rows", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count(), 1);
    drop(index);
    write(&layout, segment(FIRST), &[line(2, 1, 200, 1, &[], "")]);
    assert_eq!(rebuild(&layout, 100).rows, 2);
    let mut index = schema::open_writer(&layout.index()).unwrap();
    let rows = write(&layout, segment(FIRST), &[line(3, 1, 300, 1, &[], "")]);
    let mut state = WriterState::new();
    insert_batch(&mut index, &mut state, &rows).unwrap();
    assert_eq!(count(), 1);
    drop(reader);
    assert_eq!(dump(&index).len(), 3 + 3 + 1 + 1);
    assert_eq!(dump(&schema::open_reader(&layout.index()).unwrap()).len(), 8);
}
