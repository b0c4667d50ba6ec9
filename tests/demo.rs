//! `api-log demo` from outside: what it says, what it leaves behind, and that the lines it prints can be pasted.

#![allow(clippy::unwrap_used, reason = "a test fails by it, as it should")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn api_log(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_api-log"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("APILOG_")) {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn shell(line: &str) -> Output {
    Command::new("sh").args(["-c", line]).output().unwrap()
}

fn is_installed(program: &str) -> bool {
    let is_there = shell(&format!("command -v {program}")).status.success();
    if !is_there {
        eprintln!("SKIPPED: the lines that need {program}, which is not installed");
    }
    is_there
}

/// The lines to paste: indented by two columns, continued by four.
fn lines_to_paste(said: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in said.lines().skip_while(|line| !line.starts_with("To look further")) {
        match (line.strip_prefix("    "), line.strip_prefix("  ")) {
            (Some(continued), _) => {
                let last = lines.last_mut().unwrap();
                last.push('\n');
                last.push_str(continued);
            }
            (None, Some(line)) => lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    lines
}

/// Runs those of the lines that begin with `program`, each with the assignments before it.
fn paste(lines: &[String], program: &str) -> Vec<String> {
    let setting = |line: &&String| line.starts_with("D=") || line.starts_with("T=");
    let settings: Vec<&str> = lines.iter().filter(setting).map(String::as_str).collect();
    let outputs = lines.iter().filter(|line| line.starts_with(&format!("{program} "))).map(|line| {
        let output = shell(&format!("{}\n{line}", settings.join("\n")));
        assert!(output.status.success() && output.stderr.is_empty(), "{line}\n{}", text(&output.stderr));
        text(&output.stdout).to_owned()
    });
    outputs.collect()
}

#[test]
fn the_demo_shows_every_protocol_and_leaves_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("it's data");
    let output = api_log(&["demo", "--seconds", "1", "--data-dir", data_dir.to_str().unwrap()]).output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}\n{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");

    for protocol in ["chat", "responses", "messages", "gemini"] {
        assert!(said.lines().any(|line| line.starts_with(&format!("{protocol}, key "))), "{protocol} in\n{said}");
    }
    for end in ["complete", "upstream_gone", "client_gone"] {
        assert!(said.contains(end), "{end} in\n{said}");
    }
    for turn in [" A1\n", " A2\n", " B2\n", " C2\n", " D2\n"] {
        assert!(said.contains(turn), "{turn:?} in\n{said}");
    }
    assert!(said.contains(" + 0 filtered + 0 dropped + 0 in flight\n"), "{said}");
    let shown = said.split("To look further").next().unwrap();
    let may_be_wide = |line: &str| line.contains(data_dir.to_str().unwrap());
    for line in shown.lines().filter(|line| !may_be_wide(line)) {
        assert!(line.chars().count() <= 80, "{line}");
    }

    assert!(data_dir.join("index.sqlite").is_file());
    assert!(data_dir.join("admin_token").is_file());
    assert!(files_below(&data_dir, "jsonl").len() >= 4, "one for each key and day");
    assert!(!files_below(&data_dir, "png").is_empty(), "the picture is a file of its own");

    let lines = lines_to_paste(said);
    if is_installed("jq") {
        let outputs = paste(&lines, "jq");
        assert_eq!(outputs.len(), 2, "{lines:?}");
        let exchanges = outputs[0].lines().count();
        assert!(said.contains(&format!("Ledger: {exchanges} accepted = {exchanges} recorded")), "{said}");
        assert!(outputs[1].contains("t_delta_ms"), "{}", outputs[1]);
    }
    if is_installed("sqlite3") {
        let outputs = paste(&lines, "sqlite3");
        assert_eq!(outputs.len(), 2, "{lines:?}");
        assert!(outputs[0].contains("gemini") && outputs[0].contains("messages"), "{}", outputs[0]);
        assert!(outputs[1].lines().count() > 4, "{}", outputs[1]);
    }
}

fn files_below(folder: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found
}

/// Ends the program with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_demo_that_is_kept_answers_until_it_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().to_str().unwrap();
    let mut command = api_log(&["demo", "--keep", "--seconds", "1", "--data-dir", data_dir]);
    let mut demo = Running(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut said = String::new();
    for line in BufReader::new(demo.0.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        said.push_str(&line);
        said.push('\n');
        if line.contains("until Ctrl-C") {
            break;
        }
    }
    if is_installed("curl") && is_installed("jq") {
        let outputs = paste(&lines_to_paste(&said), "curl");
        assert_eq!(outputs.len(), 3, "{said}");
        assert!(outputs[0].contains("\"status\": 429"), "{}", outputs[0]);
        assert!(outputs[1].contains("\"balanced\": true"), "{}", outputs[1]);
        assert!(outputs[2].contains("You said: hi"), "{}", outputs[2]);
    }
    assert!(shell(&format!("kill -INT {}", demo.0.id())).status.success());
    assert_eq!(demo.0.wait().unwrap().code(), Some(0), "{said}");
}

#[test]
fn a_data_dir_that_cannot_be_had_ends_the_demo_with_1() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = api_log(&["demo", "--data-dir", file.path().to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("api-log: demo: cannot make or open "), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
}
