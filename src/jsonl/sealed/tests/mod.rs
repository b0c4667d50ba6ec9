//! Sealing and reading back: exactly the plain bytes, from anywhere, whatever broke in between.

mod crashes;
mod damage;

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::ids::SegmentId;
use crate::jsonl::read;
use crate::store::layout::Layout;

const CODECS: [Codec; 2] = [Codec::Zstd, Codec::Gzip];

fn segment() -> SegmentId {
    "2026-05-27/a1b2c3d4.jsonl".parse().unwrap()
}

/// A data dir whose segment has this plain file.
fn with_plain(text: &[u8]) -> (tempfile::TempDir, Layout) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    std::fs::create_dir(layout.day(segment().bucket.date)).unwrap();
    std::fs::write(layout.segment(segment(), Form::Plain), text).unwrap();
    (dir, layout)
}

fn seal_now(layout: &Layout, codec: Codec) -> Result<Outcome, SealError> {
    seal(layout, segment(), codec, &mut |_| ControlFlow::Continue(()))
}

/// Some lines: a few that repeat, one longer than any block of gzip.
fn lines() -> Vec<u8> {
    let mut text = Vec::new();
    for n in 0..600 {
        text.extend(format!("{{\"id\":\"{n}\",\"text\":\"{}\"}}\n", "said before ".repeat(n % 90)).into_bytes());
    }
    text.extend((0..1_200_000u32).map(|n| b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26));
    text.extend(b"\n{}\n");
    text
}

fn packed(text: &[u8], codec: Codec, block_bytes: u64) -> (Vec<u8>, usize) {
    let mut out = Vec::new();
    let blocks = write_sealed(&mut Cursor::new(text), &mut Cursor::new(text), codec, block_bytes, &mut out).unwrap();
    (out, blocks)
}

/// The plain bytes of a file from an offset on.
fn from(path: &Path, codec: Codec, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_at(path, File::open(path).unwrap(), codec, offset)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn files(layout: &Layout) -> Vec<String> {
    let folder = std::fs::read_dir(layout.day(segment().bucket.date)).unwrap();
    let mut names: Vec<String> = folder.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(32))]
    #[test]
    fn any_offset_of_any_lines_gives_the_plain_bytes_from_there_on(
        text in "([a-c]{0,12}\n){0,40}[ab]{0,3}",
        block_bytes in 1..60u64,
    ) {
        let dir = tempfile::tempdir().unwrap();
        for codec in CODECS {
            let path = dir.path().join("sealed");
            let (bytes, blocks) = packed(text.as_bytes(), codec, block_bytes);
            std::fs::write(&path, bytes).unwrap();
            let table = Table::read(&mut File::open(&path).unwrap(), codec).unwrap().unwrap();
            assert_eq!((table.blocks().len(), table.plain_bytes()), (blocks, text.len() as u64));
            for block in table.blocks() {
                let content = &text.as_bytes()[block.offset as usize..][..block.plain as usize];
                let inner_lines = memchr::memchr_iter(b'\n', &content[..content.len() - 1]).count();
                assert!(content.len() as u64 <= block_bytes || inner_lines == 0, "{content:?}");
                assert!(content.ends_with(b"\n") || text.as_bytes().ends_with(content));
            }
            for offset in 0..=text.len() {
                assert_eq!(from(&path, codec, offset as u64).unwrap(), &text.as_bytes()[offset..]);
            }
            let beyond = from(&path, codec, text.len() as u64 + 1).unwrap_err();
            assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
            let verified = verify_sealed(&path, codec, |_| Ok(())).unwrap();
            assert_eq!(verified, Verified { blocks: blocks as u64, bytes: text.len() as u64, has_table: true });
        }
    }
}

#[test]
fn a_sealed_segment_gives_every_line_and_keeps_its_time() {
    let text = lines();
    for codec in CODECS {
        let (_dir, layout) = with_plain(&text);
        let plain = layout.segment(segment(), Form::Plain);
        let written = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_780_000_000);
        File::options().write(true).open(&plain).unwrap().set_modified(written).unwrap();
        let Outcome::Sealed(sealed) = seal_now(&layout, codec).unwrap() else { panic!("not sealed") };
        assert_eq!((sealed.plain_bytes, sealed.cut_bytes), (text.len() as u64, 0));
        let path = layout.segment(segment(), codec.form());
        let metadata = std::fs::metadata(&path).unwrap();
        assert_eq!((metadata.len(), metadata.modified().unwrap()), (sealed.packed_bytes, written));
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777, 0o600);
        assert_eq!(files(&layout).len(), 1, "{:?}", files(&layout));
        for offset in memchr::memchr_iter(b'\n', &text).map(|at| at + 1).step_by(151) {
            let (mut reader, form) = read::open_at(&layout, segment(), offset as u64).unwrap();
            let mut found = Vec::new();
            reader.read_to_end(&mut found).unwrap();
            assert!(found == text[offset..], "from {offset}");
            assert_eq!(form, codec.form());
        }
        assert_eq!(seal_now(&layout, codec).unwrap(), Outcome::NotPlain);
    }
}

#[test]
fn ordinary_tools_give_the_plain_bytes() {
    let text = lines();
    for (codec, tool, check) in [(Codec::Zstd, "zstdcat", "zstd"), (Codec::Gzip, "zcat", "gzip")] {
        let (_dir, layout) = with_plain(&text);
        seal_now(&layout, codec).unwrap();
        let path = layout.segment(segment(), codec.form());
        let Ok(output) = Command::new(tool).arg(&path).output() else {
            // Not installed: the libraries' own stream decoders read it as a tool would.
            let file = File::open(&path).unwrap();
            let mut found = Vec::new();
            match codec {
                Codec::Zstd => zstd::stream::read::Decoder::new(file).unwrap().read_to_end(&mut found).unwrap(),
                Codec::Gzip => flate2::read::MultiGzDecoder::new(file).read_to_end(&mut found).unwrap(),
            };
            assert!(found == text);
            continue;
        };
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert!(output.stdout == text, "{tool} gives something else");
        let tested = Command::new(check).arg("-t").arg(&path).output().unwrap();
        assert!(tested.status.success(), "{tested:?}");
    }
}

#[test]
fn an_empty_segment_and_a_torn_one_are_sealed_too() {
    for codec in CODECS {
        for (found, whole) in [("", ""), ("{}\n{\"torn", "{}\n"), ("{\"torn", "")] {
            let (_dir, layout) = with_plain(found.as_bytes());
            let written = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_780_000_000);
            let plain = File::options().write(true).open(layout.segment(segment(), Form::Plain)).unwrap();
            plain.set_modified(written).unwrap();
            let Outcome::Sealed(sealed) = seal_now(&layout, codec).unwrap() else { panic!("not sealed") };
            assert_eq!(sealed.cut_bytes, (found.len() - whole.len()) as u64);
            let path = layout.segment(segment(), codec.form());
            assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), written);
            assert_eq!(from(&path, codec, 0).unwrap(), whole.as_bytes());
            if whole.len() < found.len() {
                let kept = std::fs::read_to_string(layout.torn_line(segment())).unwrap();
                assert_eq!(kept, format!("{}\n", &found[whole.len()..]));
            }
        }
    }
}

#[test]
fn a_file_of_other_tools_is_read_from_its_beginning() {
    let text = lines();
    let (_dir, layout) = with_plain(&text);
    let whole = [
        (Codec::Zstd, zstd::stream::encode_all(&text[..], 3).unwrap()),
        (Codec::Gzip, {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            io::Write::write_all(&mut encoder, &text).unwrap();
            encoder.finish().unwrap()
        }),
    ];
    for (codec, bytes) in whole {
        let path = layout.segment(segment(), codec.form());
        std::fs::write(&path, &bytes).unwrap();
        for offset in [0, 1, 70_000, text.len()] {
            assert!(from(&path, codec, offset as u64).unwrap() == text[offset..]);
        }
        assert_eq!(from(&path, codec, text.len() as u64 + 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let expected = Verified { blocks: 0, bytes: text.len() as u64, has_table: false };
        assert_eq!(verify_sealed(&path, codec, |_| Ok(())).unwrap(), expected);
        // Cut short it is damaged, not merely short: no row may be given up for it.
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let error = from(&path, codec, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("a1b2c3d4"), "{error}");
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn lines_are_there_all_the_while_that_they_are_sealed() {
    const LINES: usize = 400;
    let id = |n: usize| crate::ids::TraceId::from_bytes((n as u128 + 1).to_be_bytes());
    let mut text = String::new();
    let mut places = Vec::new();
    for n in 0..LINES {
        let line = format!("{{\"id\":\"{}\",\"text\":\"{}\"}}", id(n), "again ".repeat(200));
        let (offset, bytes) = (text.len() as u64, line.len() as u32);
        places.push(crate::ids::Place { segment: segment(), offset, bytes });
        text += &line;
        text.push('\n');
    }
    let (_dir, layout) = with_plain(text.as_bytes());
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        let readers: Vec<_> = (0..3)
            .map(|reader| {
                let (layout, places, is_over) = (&layout, &places, &is_over);
                threads.spawn(move || {
                    let mut reads = 0;
                    let mut n = reader;
                    while !is_over.load(std::sync::atomic::Ordering::Relaxed) || reads == 0 {
                        n = (n + 977) % LINES;
                        read::line(layout, places[n], id(n)).unwrap();
                        assert!(layout.has_segment(segment()).unwrap());
                        assert_eq!(layout.segments().unwrap().len(), 1);
                        reads += 1;
                    }
                })
            })
            .collect();
        for round in 0..8 {
            let codec = CODECS[round % 2];
            assert!(matches!(seal_now(&layout, codec).unwrap(), Outcome::Sealed(_)));
            // Back to plain, put into place in one step, for the next round.
            let beside = layout.root().join("plain");
            std::fs::write(&beside, &text).unwrap();
            std::fs::rename(&beside, layout.segment(segment(), Form::Plain)).unwrap();
            std::fs::remove_file(layout.segment(segment(), codec.form())).unwrap();
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        readers.into_iter().for_each(|it| it.join().unwrap());
    });
}

#[test]
fn the_index_misses_and_forgets_nothing_while_segments_are_sealed_under_it() {
    use crate::index::testing::{id, line, new_index, read_row};
    const SEGMENTS: u64 = 12;
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let (mut index, mut state) = new_index(&layout);
    let segments: Vec<SegmentId> =
        (0..SEGMENTS).map(|n| format!("2026-05-{:02}/a1b2c3d4.jsonl", n + 1).parse().unwrap()).collect();
    for (n, segment) in (0..).zip(&segments) {
        std::fs::create_dir(layout.day(segment.bucket.date)).unwrap();
        let lines: Vec<String> =
            (n * 20..(n + 1) * 20).map(|n| format!("{}\n", line(n, 1, 100, 1, &[], &format!("a{n}")))).collect();
        std::fs::write(layout.segment(*segment, Form::Plain), lines.concat()).unwrap();
    }
    let mut catch_up = |bytes| {
        crate::index::catch_up(&mut index, &mut state, &layout, read_row, crate::index::Budget { bytes }).unwrap()
    };
    let (mut inserted, mut known) = (0, 0);
    std::thread::scope(|threads| {
        let sealing = threads.spawn(|| {
            for (n, segment) in segments.iter().enumerate() {
                seal(&layout, *segment, CODECS[n % 2], &mut |_| ControlFlow::Continue(())).unwrap();
            }
        });
        loop {
            // Asked before: what is done then has seen every segment sealed.
            let is_sealed = sealing.is_finished();
            let progress = catch_up(2000);
            assert_eq!((progress.removed, progress.bad_lines), (0, 0), "{progress:?}");
            assert_eq!(progress.unreadable, [], "{progress:?}");
            inserted += progress.inserted;
            known += progress.known;
            if is_sealed && progress.is_done {
                break;
            }
        }
        sealing.join().unwrap();
    });
    assert_eq!((inserted, known), (SEGMENTS * 20, 0));
    assert_eq!(catch_up(u64::MAX).bytes, 0, "sealed and done");
    for n in 0..SEGMENTS * 20 {
        let place = crate::index::query::place(&index, id(n)).unwrap().unwrap();
        read::line(&layout, place, id(n)).unwrap();
    }
}
