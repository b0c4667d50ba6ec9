//! The repository's own rules, held by reading its files.
//!
//! A rule that fails names the file and the line. Exceptions stand in the tables below, each with its reason.

#![expect(clippy::unwrap_used, reason = "a file that cannot be read fails the test, as it should")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The library starts nothing and awaits nothing.
const RUNTIME_WORDS: &[&str] = &[
    "async",
    "await",
    "axum",
    "crossbeam_queue",
    "futures_util",
    "hyper",
    "hyper_util",
    "mpsc",
    "notify",
    "oneshot",
    "ractor",
    "tokio",
    "tokio_rusqlite",
    "tower",
];

/// Crates that read or write a format, and words that only who knows one writes. The program leaves them to the library.
const FORMAT_WORDS: &[&str] = &[
    "base64",
    "brotli",
    "brotli_decompressor",
    "flate2",
    "httparse",
    "jiff",
    "memchr",
    "prost",
    "rusqlite",
    "saphyr_parser",
    "serde_json",
    "sha2",
    "zstd",
    "INSERT",
    "PRAGMA",
    "SELECT",
    "jsonl",
    "sqlite",
];

/// Where the program may all the same: the beginning of a path, the words, why.
const FORMATS_ALLOWED: &[(&str, &[&str], &str)] = &[
    ("actors/mock/", FORMAT_WORDS, "plays the gateway, so it speaks what is recorded"),
    ("actors/cli/demo", FORMAT_WORDS, "plays the clients, and shows how to look at the files"),
    ("actors/api/", &["serde_json"], "the API's own answers are JSON"),
    ("actors/api/readers.rs", &["rusqlite"], "carries connections, asks nothing by itself"),
    ("actors/api/lines.rs", &["jsonl"], "names the library's module, and an error code of the API"),
    ("actors/cli/config.rs", &["serde_json"], "what is in force, as JSON"),
    ("actors/cli/validate/", &["serde_json"], "the command's own report is JSON"),
    ("actors/cli/serve.rs", &["serde_json"], "logs the counters as one field"),
    ("actors/log.rs", &["serde_json"], "the program's own log is JSON lines"),
    ("actors/proxy/answers.rs", &["serde_json"], "the recorder's own answers are JSON"),
    ("actors/proxy/heads.rs", &["memchr"], "looks for the empty line that ends a head"),
    ("actors/otlp/delivery.rs", &["jsonl"], "names the library's module"),
    ("actors/record/day_bytes.rs", &["jsonl"], "names the library's module"),
    ("actors/cli/look/screen/", &["base64"], "a terminal takes what it shall copy in base64 (OSC 52)"),
    ("actors/cli/look/", &["serde_json", "jsonl"], "the API's answers are JSON, and so is `--json`"),
    ("actors/cli/rebuild.rs", &["serde_json"], "the API's answers, and the command's own, are JSON"),
    ("actors/record/index", &["rusqlite", "jsonl"], "carries the connection, and names the library's module"),
    ("actors/record/rebuild.rs", &["jsonl"], "names the library's module"),
    ("actors/record/sealer.rs", &["jsonl"], "names the library's module"),
    ("actors/record/writer", &["jsonl"], "names the library's module"),
];

/// A file is read in one go. Those that are longer, and why.
const MOST_LINES: usize = 500;
const LONGER: &[(&str, &str)] = &[];

/// What is never part of a check-out.
const NOT_OURS: &[&str] = &[
    ".git",
    ".pytest_cache",
    ".schemathesis",
    ".venv",
    "__pycache__",
    "artifacts",
    "corpus",
    "data",
    "node_modules",
    "target",
];

/// Files of the repository that name paths: each path in backticks must exist.
const GUIDES: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"];

#[test]
fn the_library_names_no_runtime() {
    let mut found = Findings::default();
    for file in library() {
        for (number, line) in file.code() {
            for word in words(line).filter(|it| RUNTIME_WORDS.contains(it)) {
                found.add(&file, number, word);
            }
            if line.contains("std::thread") {
                found.add(&file, number, "std::thread");
            }
        }
    }
    found.none("src/ starts nothing and awaits nothing; what runs belongs to actors/");
}

#[test]
fn the_program_names_no_format() {
    let mut found = Findings::default();
    for file in program() {
        for (number, line) in file.code() {
            for word in words(line).filter(|it| FORMAT_WORDS.contains(it)) {
                if !may_name(&file.path, word) {
                    found.add(&file, number, word);
                }
            }
        }
    }
    found.none("actors/ knows no format; put it into src/, or allow it in tests/tidy.rs with a reason");
}

#[test]
fn every_allowance_is_for_something_that_exists() {
    let sources = sources();
    for (start, words, why) in FORMATS_ALLOWED {
        assert!(
            sources.iter().any(|it| it.path.starts_with(start)),
            "{start} is allowed {words:?} ({why}) and is gone"
        );
    }
    for (path, why) in LONGER {
        assert!(sources.iter().any(|it| it.path == *path), "{path} may be long ({why}) and is gone");
    }
}

#[test]
fn every_file_opens_with_a_sentence() {
    let mut found = Findings::default();
    for file in sources() {
        let first = file.text.lines().next().unwrap_or_default();
        let said: Vec<&str> = file.text.lines().map_while(|line| line.strip_prefix("//!")).collect();
        let said = said.join(" ");
        if !first.starts_with("//! ") || !said.contains(['.', ':']) {
            found.add(&file, 1, first);
        }
    }
    found.none("the first line says in a sentence what the file is: //! …");
}

#[test]
fn files_are_short_enough_to_be_read() {
    let mut found = Findings::default();
    for file in sources() {
        let lines = file.text.lines().count();
        if lines > MOST_LINES && !LONGER.iter().any(|(path, _)| *path == file.path) {
            found.add(&file, lines, "too long");
        }
    }
    found.none("split it by meaning");
}

#[test]
fn nothing_is_left_undone() {
    // In pieces, or this file would be found.
    let left = ["todo", "unimplemented", "dbg"].map(|it| format!("{it}!"));
    let ignored = format!("#[{}", "ignore");
    let mut found = Findings::default();
    for file in sources() {
        for (number, line) in file.lines() {
            for mark in left.iter().chain([&ignored]).filter(|it| line.contains(it.as_str())) {
                found.add(&file, number, mark);
            }
        }
    }
    found.none("finish it, or leave it out");
}

#[test]
fn nothing_is_left_unmerged() {
    let marks = ["<", ">"].map(|it| format!("{} ", it.repeat(7)));
    let mut found = Findings::default();
    for file in texts() {
        for (number, line) in file.lines() {
            if marks.iter().any(|mark| line.starts_with(mark)) {
                found.add(&file, number, line);
            }
        }
    }
    found.none("a merge was not finished");
}

#[test]
fn no_snapshot_waits_for_review() {
    let pending: Vec<String> = texts().into_iter().map(|it| it.path).filter(|it| it.ends_with(".snap.new")).collect();
    assert!(pending.is_empty(), "accept or delete: {pending:?}");
}

#[test]
fn no_file_tells_where_it_was_made() {
    let here = format!("{}/", env!("CARGO_MANIFEST_DIR"));
    let home = std::env::var("HOME").map(|home| format!("{}/", home.trim_end_matches('/'))).unwrap_or_default();
    // A check-out in `/src` is too common a word to look for.
    let places: Vec<&str> =
        [here.as_str(), home.as_str()].into_iter().filter(|it| it.matches('/').count() > 2).collect();
    let mut found = Findings::default();
    for file in texts() {
        for (number, line) in file.lines() {
            for place in places.iter().filter(|it| line.contains(**it)) {
                found.add(&file, number, place);
            }
        }
    }
    found.none("a path of somebody's machine");
}

#[test]
fn packages_come_from_one_registry_of_their_kind() {
    let mut found = Findings::default();
    for file in texts() {
        let mut sources = file.lines().filter_map(|(_, line)| line.strip_prefix("source = "));
        let first = sources.next().filter(|it| it.starts_with("\"registry+")).unwrap_or_default().to_owned();
        for (number, line) in file.lines() {
            let is_allowed = match file.name() {
                "Cargo.lock" => line.strip_prefix("source = ").is_none_or(|it| it == first),
                // The lock holds digests; where packages come from is the machine's affair.
                "package-lock.json" => !line.trim_start().starts_with("\"resolved\":"),
                "requirements.txt" | ".npmrc" | "config.toml" => {
                    !["index-url", "registry", "find-links"].iter().any(|it| line.contains(it))
                }
                _ => true,
            };
            if !is_allowed {
                found.add(&file, number, line.trim());
            }
        }
    }
    found.none("a package from somewhere else");
}

#[test]
fn every_folder_stands_in_the_code_map() {
    let map = read("ARCHITECTURE.md");
    let folders: BTreeSet<&str> = ["src/", "actors/"].into_iter().chain(OWN_FOLDERS.iter().copied()).collect();
    let mut missing = BTreeSet::new();
    for file in library().chain(program()) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !map.contains(&format!("`{folder}/`")) {
            missing.insert(folder.to_owned());
        }
    }
    missing.extend(folders.iter().filter(|it| !map.contains(&format!("`{it}`"))).map(|it| (*it).to_owned()));
    assert!(missing.is_empty(), "ARCHITECTURE.md does not say what these folders are for: {missing:?}");
}

/// Folders beside the two halves that the map explains.
const OWN_FOLDERS: &[&str] = &["benches/", "config/", "fuzz/", "tests/"];

#[test]
fn every_path_that_is_named_exists() {
    let mut found = String::new();
    for guide in GUIDES {
        let text = read(guide);
        let mut in_block = false;
        for (number, line) in text.lines().enumerate() {
            in_block ^= line.starts_with("```");
            if in_block {
                continue;
            }
            for quoted in line.split('`').skip(1).step_by(2).filter(|it| is_path(it)) {
                if !root().join(quoted).exists() {
                    let _ = writeln!(found, "{guide}:{}: {quoted}", number + 1);
                }
            }
        }
    }
    assert!(found.is_empty(), "named and not there:\n{found}");
}

#[test]
fn test_code_is_told_from_the_rest() {
    let file = SourceFile {
        path: "src/a.rs".into(),
        text: "use a;\n#[cfg(test)]\nuse b;\n    #[cfg(test)]\n    fn c() {\n        d\n    }\ne // f\n//! g\n#[cfg(test)]\nmod tests;\n"
            .into(),
    };
    let code: Vec<_> = file.code().collect();
    assert_eq!(code, [(1, "use a;"), (8, "e ")]);
    assert_eq!(file.test_modules(), ["src/a/tests.rs", "src/a/tests/"]);
    assert_eq!(words("tokio::x(not_tokio) \"a.tokio\"").filter(|it| *it == "tokio").count(), 2);
}

/// A text file and its path from the repository's root, with `/` between.
struct SourceFile {
    path: String,
    text: String,
}

impl SourceFile {
    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// Lines with their numbers, from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    /// The same without comments and without what is compiled for tests only.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut test_ends: Option<String> = None;
        self.lines().filter_map(move |(number, line)| {
            if let Some(end) = &test_ends {
                // An item on one line has ended with it; a longer one ends where rustfmt puts its brace.
                if line == end || (line.ends_with(';') && indent(line) + 1 == end.len()) {
                    test_ends = None;
                }
                return None;
            }
            if line.trim_start() == "#[cfg(test)]" {
                test_ends = Some(format!("{}}}", " ".repeat(indent(line))));
                return None;
            }
            let code = if line.trim_start().starts_with("//") { "" } else { line };
            let code = code.split_once(" // ").map_or(code, |(code, _)| code);
            let code = if code.len() < line.len() && !code.is_empty() { &line[..code.len() + 1] } else { code };
            (!code.is_empty()).then_some((number, code))
        })
    }

    /// Where the modules stand that this file declares for tests only.
    fn test_modules(&self) -> Vec<String> {
        let folder = match self.path.strip_suffix("/mod.rs").or(self.path.strip_suffix("/lib.rs")) {
            Some(folder) => folder,
            None => self.path.strip_suffix("/main.rs").or(self.path.strip_suffix(".rs")).unwrap_or(&self.path),
        };
        let lines: Vec<&str> = self.text.lines().collect();
        let declared = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
        let names = declared.filter_map(|pair| pair[1].strip_suffix(';')?.split("mod ").nth(1));
        names.flat_map(|name| [format!("{folder}/{name}.rs"), format!("{folder}/{name}/")]).collect()
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The identifiers in a line.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|it: char| !(it.is_alphanumeric() || it == '_'))
}

fn may_name(path: &str, word: &str) -> bool {
    FORMATS_ALLOWED.iter().any(|(start, allowed, _)| path.starts_with(start) && allowed.contains(&word))
}

fn is_path(quoted: &str) -> bool {
    let starts = ["src/", "actors/", "tests/", "benches/", "fuzz/", "config/", "docs/", "deploy/", ".ci/", ".config/"];
    starts.iter().any(|it| quoted.starts_with(it)) && !quoted.contains(['<', '*', ' ', '…'])
}

/// The library's files, less those for tests only.
fn library() -> impl Iterator<Item = SourceFile> {
    shipped("src/")
}

/// The program's.
fn program() -> impl Iterator<Item = SourceFile> {
    shipped("actors/")
}

fn shipped(half: &'static str) -> impl Iterator<Item = SourceFile> {
    let sources = sources();
    let for_tests: Vec<String> = sources.iter().flat_map(SourceFile::test_modules).collect();
    let shipped = sources.into_iter().filter(move |it| {
        it.path.starts_with(half) && !for_tests.iter().any(|tests| it.path.starts_with(tests.as_str()))
    });
    let shipped: Vec<SourceFile> = shipped.collect();
    assert!(shipped.len() > 20, "only {} files found in {half}", shipped.len());
    shipped.into_iter()
}

/// Every Rust file.
fn sources() -> Vec<SourceFile> {
    texts().into_iter().filter(|it| it.path.ends_with(".rs")).collect()
}

/// Every file that is text.
fn texts() -> Vec<SourceFile> {
    let mut paths = Vec::new();
    collect(&root(), &mut paths);
    let text = |path: PathBuf| {
        let text = String::from_utf8(std::fs::read(&path).unwrap()).ok()?;
        Some(SourceFile { path: path.strip_prefix(root()).unwrap().to_str()?.replace('\\', "/"), text })
    };
    paths.into_iter().filter_map(text).collect()
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if NOT_OURS.iter().any(|it| entry.file_name() == *it) {
            continue;
        }
        if kind.is_dir() {
            collect(&entry.path(), into);
        } else if kind.is_file() {
            into.push(entry.path());
        }
    }
    into.sort();
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

/// What breaks a rule, one line each.
#[derive(Default)]
struct Findings(String);

impl Findings {
    fn add(&mut self, file: &SourceFile, line: usize, what: &str) {
        let _ = writeln!(self.0, "{}:{line}: {what}", file.path);
    }

    #[track_caller]
    fn none(self, rule: &str) {
        assert!(self.0.is_empty(), "{rule}\n{}", self.0);
    }
}
