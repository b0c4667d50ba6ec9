//! A data dir for `verify`, and the command over it.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use api_log::ids::SegmentId;
use api_log::index::{Budget, WriterState, catch_up, schema};
use api_log::jsonl::file::JsonlFile;
use api_log::jsonl::line::read_row;
use api_log::media::{Attachment, write};
use api_log::store::layout::{Form, Layout};
use serde_json::Value;

pub(crate) const PLAIN: &str = "2026-05-27/a1b2c3d4.jsonl";
pub(crate) const SEALED: &str = "2026-05-26/a1b2c3d4.1.jsonl";

/// A data dir with some lines of each format, plain and sealed, attachments, and an index of it all.
pub(crate) struct DataDir {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) layout: Layout,
}

pub(crate) fn id(n: usize) -> String {
    format!("01J{n:023}")
}

/// A line of the earlier format, without `v`.
pub(crate) fn old_line(n: usize) -> String {
    format!(
        r#"{{"id":"{}","ts_start":"2026-05-27T10:00:{:02}.5Z","ts_end":"2026-05-27T10:01:00.123456Z","client":"192.0.2.1:5000","method":"POST","path":"/v1/messages?beta=true","upstream":"http://gw:1","status":200,"req":{{"headers":{{"X-Api-Key":["k{}"]}},"body":{{"model":"m","messages":[{{"role":"user","content":"{n}"}}]}}}},"resp":{{"headers":{{}},"body":{{"usage":{{"input_tokens":{n}}}}}}},"disconnected":false,"truncated_req":false,"truncated_resp":false}}"#,
        id(n),
        n % 60,
        n % 3,
    )
}

impl DataDir {
    pub(crate) fn new() -> DataDir {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        let here = DataDir { layout: Layout::new(dir.path()), dir };
        here.append(PLAIN, 0..20);
        here.append(SEALED, 20..30);
        here.seal(SEALED);
        let attachment = Attachment { mime: "text/plain".into(), extension: "txt", bytes: b"hello".to_vec() };
        assert_eq!(write(&here.media(3), &[attachment.clone(), attachment]).count, 2);
        here.index();
        here
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&self, segment: &str, form: Form) -> PathBuf {
        self.layout.segment(segment.parse().unwrap(), form)
    }

    pub(crate) fn media(&self, n: usize) -> PathBuf {
        let segment: SegmentId = PLAIN.parse().unwrap();
        self.layout.media(segment.bucket, id(n).parse().unwrap())
    }

    pub(crate) fn append(&self, segment: &str, numbers: std::ops::Range<usize>) {
        let lines: Vec<String> = numbers.map(old_line).collect();
        let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
        JsonlFile::open(&self.layout, segment.parse().unwrap()).unwrap().append(&lines).unwrap();
    }

    pub(crate) fn append_raw(&self, text: &str) {
        let mut file = OpenOptions::new().append(true).open(self.file(PLAIN, Form::Plain)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn seal(&self, segment: &str) {
        let plain = self.file(segment, Form::Plain);
        self.write(&self.file(segment, Form::Zstd), zstd::encode_all(&fs::read(&plain).unwrap()[..], 1).unwrap());
        fs::remove_file(plain).unwrap();
    }

    /// A file for its owner alone.
    pub(crate) fn write(&self, path: &Path, bytes: impl AsRef<[u8]>) {
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }

    pub(crate) fn make_folder(&self, path: &Path) {
        std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700).recursive(true).create(path).unwrap();
    }

    pub(crate) fn index(&self) {
        let mut index = schema::open_writer(&self.layout.index()).unwrap();
        let done = catch_up(&mut index, &mut WriterState::new(), &self.layout, read_row, Budget::WHOLE).unwrap();
        assert!(done.is_done);
    }

    pub(crate) fn sql(&self, sql: &str) {
        let index = rusqlite::Connection::open(self.layout.index()).unwrap();
        index.execute_batch(sql).unwrap();
    }

    /// Every byte of lines, wherever it stands; not what is only being made of them.
    pub(crate) fn lines_anywhere(&self) -> String {
        let mut all = String::new();
        for day in fs::read_dir(self.path()).unwrap().map(|it| it.unwrap().path()).filter(|it| it.is_dir()) {
            for file in fs::read_dir(day).unwrap().map(|it| it.unwrap().path()).filter(|it| it.is_file()) {
                let bytes = fs::read(&file).unwrap();
                if file.extension().is_some_and(|it| it == "new") {
                    continue;
                }
                let is_sealed = file.extension().is_some_and(|it| it == "zst");
                let bytes = if is_sealed { zstd::decode_all(&bytes[..]).unwrap_or_default() } else { bytes };
                all += &String::from_utf8_lossy(&bytes);
            }
        }
        all
    }

    /// Every file, the index left out.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        fn below(folder: &Path, found: &mut Vec<PathBuf>) {
            for path in fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
                if path.is_dir() { below(&path, found) } else { found.push(path) }
            }
        }
        let mut found = Vec::new();
        below(self.path(), &mut found);
        // The lock is made by whoever repairs; a journal comes and goes.
        found.retain(|it| it.parent() != Some(self.path()) || it.ends_with("index.sqlite.new-notes"));
        found.sort();
        found
    }

    pub(crate) fn verify(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, stdout, stderr) = run(self.path(), &[arguments, &["--json"]].concat());
        let json = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout} {stderr}"));
        (code, json)
    }

    /// What it finds, by kind, and its exit code.
    pub(crate) fn found(&self, arguments: &[&str]) -> (i32, Vec<String>, Value) {
        let (code, report) = self.verify(arguments);
        let kinds = report["counts"].as_object().unwrap().keys().cloned().collect();
        (code, kinds, report)
    }
}

pub(crate) fn command(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_api-log"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("APILOG_")) {
        command.env_remove(name);
    }
    command.env("APILOG_STORAGE_DATA_DIR", data_dir).stdin(Stdio::null());
    command
}

pub(crate) fn run(data_dir: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = command(data_dir).arg("verify").args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Copies a data dir, for its owner alone, as every version kept it.
pub(crate) fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            std::os::unix::fs::DirBuilderExt::mode(&mut fs::DirBuilder::new(), 0o700).create(&copied).unwrap();
            copy(&path, &copied);
        } else {
            fs::copy(path, &copied).unwrap();
            fs::set_permissions(&copied, Permissions::from_mode(0o600)).unwrap();
        }
    }
}
