//! README's line that reads every file alike does so.

use std::ops::ControlFlow;
use std::process::Command;

use api_log::ids::SegmentId;
use api_log::jsonl::sealed::{Codec, Outcome, seal};
use api_log::store::layout::{Form, Layout};

#[test]
fn one_shell_line_reads_plain_gzip_and_zstd_alike() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let function = readme.lines().find(|it| it.starts_with("traces() {")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path().join("data"));
    let mut expected = Vec::new();
    let has_zstdcat = Command::new("zstdcat").arg("--version").output().is_ok();
    for (name, codec) in [
        ("2026-05-25/a1b2c3d4.jsonl", Some(Codec::Gzip)),
        ("2026-05-26/a1b2c3d4.jsonl", if has_zstdcat { Some(Codec::Zstd) } else { None }),
        ("2026-05-27/a1b2c3d4.jsonl", None),
    ] {
        let segment: SegmentId = name.parse().unwrap();
        std::fs::create_dir_all(layout.day(segment.bucket.date)).unwrap();
        let line = format!("{{\"id\":\"{name}\"}}\n");
        std::fs::write(layout.segment(segment, Form::Plain), &line).unwrap();
        std::fs::write(layout.torn_line(segment), "torn\n").unwrap();
        expected.extend(line.into_bytes());
        if let Some(codec) = codec {
            let outcome = seal(&layout, segment, codec, &mut |_| ControlFlow::Continue(()));
            assert!(matches!(outcome, Ok(Outcome::Sealed(_))), "{outcome:?}");
        }
    }
    let output =
        Command::new("sh").arg("-c").arg(format!("{function}\ntraces")).current_dir(dir.path()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout), String::from_utf8(expected));
}
