//! `api-log package` from outside: what it writes, what it says, and that every recipe it packs works.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failure is the test's result")]

#[path = "golden/fixture.rs"]
mod fixture;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use api_log::ids::{Place, SegmentId, TraceId};
use api_log::index::{Budget, WriterState, catch_up, schema};
use api_log::jsonl::file::JsonlFile;
use api_log::jsonl::line::read_row;
use api_log::store::layout::{Form, Layout};
use api_log::trace::{FinalizeSettings, finalize};

fn command(data_dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_api-log"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("APILOG_")) {
        command.env_remove(name);
    }
    command.arg("package").args(arguments).env("APILOG_STORAGE_DATA_DIR", data_dir).stdin(Stdio::null());
    command
}

fn run(data_dir: &Path, arguments: &[&str]) -> Output {
    command(data_dir, arguments).output().unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Entries by name.
fn unzip(bytes: Vec<u8>) -> BTreeMap<String, Vec<u8>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut entries = BTreeMap::new();
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        assert!(entries.insert(entry.name().unwrap().to_string(), bytes).is_none());
    }
    entries
}

/// Every exchange among the fixtures, as a line with an id of its own.
fn golden_lines() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wire");
    let mut folders: Vec<PathBuf> = Vec::new();
    for family in std::fs::read_dir(root).unwrap() {
        let family = family.unwrap().path();
        if family.is_dir() {
            folders.extend(std::fs::read_dir(family).unwrap().map(|it| it.unwrap().path()));
        }
    }
    folders.sort();
    let numbered = folders.iter().enumerate().map(|(n, folder)| {
        let mut exchange = fixture::exchange(folder);
        exchange.id = TraceId::from_bytes((1_u128 << 100 | n as u128).to_be_bytes());
        finalize(&exchange, &FinalizeSettings::default()).line
    });
    let lines: Vec<Vec<u8>> = numbered.collect();
    assert!(lines.len() > 50, "{}", lines.len());
    lines
}

/// A data dir with these lines in one segment, indexed.
fn data_dir(lines: &[Vec<u8>]) -> (tempfile::TempDir, Layout, Vec<Place>) {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path());
    let segment: SegmentId = "2026-05-27/a1b2c3d4.jsonl".parse().unwrap();
    let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
    let places = JsonlFile::open(&layout, segment).unwrap().append(&lines).unwrap();
    let mut index = schema::open_writer(&layout.index()).unwrap();
    let done = catch_up(&mut index, &mut WriterState::new(), &layout, read_row, Budget::WHOLE).unwrap();
    assert_eq!((done.inserted as usize, done.bad_lines), (lines.len(), 0));
    (dir, layout, places)
}

/// The commands of a Markdown text.
fn recipes(text: &str) -> Vec<&str> {
    let blocks = text.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

#[test]
fn the_archive_holds_the_files_byte_for_byte_and_python_reads_it() {
    let (_dir, layout, _) = data_dir(&golden_lines());
    let there = tempfile::tempdir().unwrap();
    let out = there.path().join("a.zip");
    std::fs::write(&out, "something that was there before, open to all").unwrap();
    std::fs::set_permissions(&out, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = run(layout.root(), &["-out", out.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let told = format!("api-log: package: {}: {} traces, 0 attachments\n", out.display(), golden_lines().len());
    assert_eq!(stderr(&output), told);
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    let entries = unzip(std::fs::read(&out).unwrap());
    let source = layout.segment("2026-05-27/a1b2c3d4.jsonl".parse().unwrap(), Form::Plain);
    assert_eq!(entries["data/2026-05-27/a1b2c3d4.jsonl"], std::fs::read(source).unwrap());
    let checked = Command::new("python3").args(["-m", "zipfile", "-t"]).arg(&out).output();
    // Where there is no Python, the reader above has to do.
    if let Ok(checked) = checked {
        assert!(checked.status.success(), "{}", stderr(&checked));
    }
}

#[test]
fn every_recipe_in_the_archive_works_on_its_lines() {
    if Command::new("jq").arg("--version").output().is_err() {
        eprintln!("without jq no recipe was tried; .ci/run installs it where it may");
        return;
    }
    let (_dir, layout, _) = data_dir(&golden_lines());
    let output = run(layout.root(), &["-out", "-"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("api-log: package: standard output: "), "{}", stderr(&output));
    let there = tempfile::tempdir().unwrap();
    let entries = unzip(output.stdout);
    for (name, bytes) in &entries {
        let path = there.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let mut tried = 0;
    let mut failed = String::new();
    for guide in ["README.md", "agent/jq-cheatsheet.md", "agent/CLAUDE.md"] {
        for recipe in recipes(std::str::from_utf8(&entries[guide]).unwrap()) {
            let script = format!("set -euo pipefail\n{recipe}");
            let said = Command::new("bash").args(["-c", &script]).current_dir(there.path()).output().unwrap();
            // In lines that have it all, each finds something.
            if !said.status.success() || !said.stderr.is_empty() || said.stdout.is_empty() {
                failed += &format!("{recipe}{}\n", stderr(&said));
            }
            tried += 1;
        }
    }
    assert!(failed.is_empty(), "{failed}");
    assert!(tried > 15, "{tried}");
}

#[test]
fn every_member_that_the_guide_names_stands_in_some_line() {
    let lines: Vec<String> = golden_lines().into_iter().map(|line| String::from_utf8(line).unwrap()).collect();
    let (_dir, layout, _) = data_dir(&golden_lines()[..1]);
    let entries = unzip(run(layout.root(), &["-out", "-"]).stdout);
    let guide = std::str::from_utf8(&entries["agent/CLAUDE.md"]).unwrap();
    let rows = guide.lines().filter(|line| line.starts_with("| `"));
    let mut named = 0;
    for row in rows {
        for member in row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2) {
            // Sockets and earlier lines are not among the fixtures, nor is every way to go wrong.
            if !["ws", "error", "headers_list"].contains(&member) {
                assert!(lines.iter().any(|line| line.contains(&format!("\"{member}\":"))), "{member}");
                named += 1;
            }
        }
    }
    assert!(named > 20, "{named}");
}

#[test]
fn filters_and_the_limit_choose_lines() {
    let lines = golden_lines();
    let (_dir, layout, places) = data_dir(&lines);
    let packed = |arguments: &[&str]| {
        let output = run(layout.root(), &[&["-out", "-"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?} {}", stderr(&output));
        let entries = unzip(output.stdout);
        let data = entries.iter().filter(|(name, _)| name.starts_with("data/"));
        let count = data.map(|(_, bytes)| bytes.iter().filter(|it| **it == b'\n').count()).sum::<usize>();
        (count, entries)
    };
    let with = |what: &str| lines.iter().filter(|line| String::from_utf8_lossy(line).contains(what)).count();
    assert_eq!(packed(&[]).0, lines.len());
    assert_eq!(packed(&["-limit", "0"]).0, lines.len());
    assert_eq!(packed(&["--path", "/v1/messages"]).0, with("\"path\":\"/v1/messages"));
    assert_eq!(packed(&["-path-prefix=/v1/"]).0, with("\"path\":\"/v1/"));
    assert_eq!(packed(&["-status", "200"]).0, with("\"status\":200,"));
    assert_eq!(packed(&["-from", "2026-05-28"]).0, 0);
    assert_eq!(packed(&["-from", "2026-05-27", "-to", "2026-05-28"]).0, lines.len());
    assert_eq!(packed(&["-to", "2026-05-27T00:00:00Z"]).0, 0);
    assert_eq!(packed(&["-key-prefix", "zz"]).0, 0);
    // All began in the same millisecond, so ids decide which are the newest.
    let (count, entries) = packed(&["-limit", "3"]);
    let start = places[lines.len() - 3].offset as usize;
    let source = std::fs::read(layout.segment(places[0].segment, Form::Plain)).unwrap();
    assert_eq!((count, &entries["data/2026-05-27/a1b2c3d4.partial.jsonl"][..]), (3, &source[start..]));
    assert!(std::str::from_utf8(&entries["README.md"]).unwrap().contains("- `limit`: the newest 3\n"));
}

#[test]
fn without_a_name_the_file_is_named_for_the_moment() {
    let (_dir, layout, _) = data_dir(&golden_lines()[..2]);
    let here = tempfile::tempdir().unwrap();
    let output = command(layout.root(), &[]).current_dir(here.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let names: Vec<_> = std::fs::read_dir(here.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    let [name] = &names[..] else { panic!("{names:?}") };
    let name = name.to_str().unwrap();
    assert!(name.starts_with("api-log-package-20") && name.ends_with("Z.zip") && !name.contains(':'), "{name}");
}

#[test]
fn nothing_is_left_of_an_archive_that_could_not_be_finished() {
    let (_dir, layout, _) = data_dir(&noise());
    let there = tempfile::tempdir().unwrap();
    let out = there.path().join("a.zip");
    let mut inner = command(layout.root(), &["-out", out.to_str().unwrap()]);
    // A file may not grow beyond 512 KiB here: the same to the program as a disk that is full.
    let program = inner.get_program().to_owned();
    let arguments: Vec<_> = inner.get_args().map(ToOwned::to_owned).collect();
    inner = Command::new("bash");
    inner.args(["-c", "trap '' XFSZ; ulimit -f 512; exec \"$@\"", "sh"]).arg(program).args(arguments);
    let output = inner.env("APILOG_STORAGE_DATA_DIR", layout.root()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("api-log: package: cannot write the archive: "), "{}", stderr(&output));
    assert!(!out.exists());
}

#[test]
fn a_signal_stops_it_and_what_was_written_is_no_archive() {
    let (_dir, layout, _) = data_dir(&noise());
    let mut child =
        command(layout.root(), &["-out", "-"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut written = vec![0];
    // It is at work now, and cannot come to its end before more is read than a pipe holds.
    stdout.read_exact(&mut written).unwrap();
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let mut told = String::new();
    stderr.read_line(&mut told).unwrap();
    assert_eq!(told, "api-log: stopping; a second signal ends at once\n");
    stdout.read_to_end(&mut written).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    stderr.read_line(&mut told).unwrap();
    assert!(told.ends_with("api-log: package: cancelled\n"), "{told}");
    assert!(zip::ZipArchive::new(Cursor::new(written)).is_err());
}

/// Some megabytes of lines that do not compress much.
fn noise() -> Vec<Vec<u8>> {
    let mut state = 1_u64;
    let mut text = || {
        let digits = (0..20_000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{:016x}", state ^ (state >> 29))
        });
        digits.collect::<String>()
    };
    let line = |n: usize| {
        format!(
            r#"{{"id":"01J{n:023}","ts_start":"2026-05-27T10:00:00Z","ts_end":"2026-05-27T10:00:01Z","method":"POST","path":"/","status":200,"req":{{"headers":{{}},"body":"{}"}},"resp":{{"headers":{{}},"body":null}}}}"#,
            text()
        )
        .into_bytes()
    };
    (0..20).map(line).collect()
}

#[test]
fn every_error_is_a_1_and_says_what_to_do() {
    let there = tempfile::tempdir().unwrap();
    let out = there.path().join("a.zip");
    let out = out.to_str().unwrap();
    let empty = run(&there.path().join("none"), &["-out", out]);
    assert_eq!(empty.status.code(), Some(1));
    assert!(stderr(&empty).starts_with("api-log: package: no index at "), "{}", stderr(&empty));
    assert!(stderr(&empty).contains("api-log rebuild"));
    assert!(!Path::new(out).exists(), "nothing is made for nothing");
    for arguments in [&["-bogus"][..], &["-from", "yesterday"], &["-path", "/a", "-path-prefix", "/b"]] {
        let output = run(there.path(), arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).starts_with("api-log: package: "), "{}", stderr(&output));
    }
    let (_dir, layout, _) = data_dir(&golden_lines()[..1]);
    let nowhere = run(layout.root(), &["-out", "/nonexistent/a.zip"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(stderr(&nowhere).contains("cannot write /nonexistent/a.zip"), "{}", stderr(&nowhere));
}
