//! Completions and manual pages, as shells and readers of manuals take them; exit codes, told everywhere alike.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{api_log, stderr, stdout};

const COMMANDS: [&str; 12] = [
    "serve",
    "demo",
    "validate",
    "config",
    "rebuild",
    "mock",
    "package",
    "verify",
    "token",
    "healthcheck",
    "completions",
    "man",
];

fn completions(shell: &str) -> String {
    let output = api_log(&["completions", shell], &[]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""), "{shell}");
    stdout(&output).to_owned()
}

fn is_installed(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\"", program]).stdout(Stdio::null()).status();
    found.is_ok_and(|it| it.success())
}

/// What a program says to this on its standard input, standard error included; it must end well.
fn fed(program: &str, arguments: &[&str], text: &str) -> String {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program}: {}", stderr(&output));
    format!("{}{}", stdout(&output), stderr(&output))
}

#[test]
fn every_shell_is_told_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = completions(shell);
        for command in COMMANDS {
            assert!(text.contains(command), "{shell} does not complete {command}");
        }
        for check in [("zsh", "-n"), ("fish", "-n")].iter().filter(|(it, _)| *it == shell && is_installed(it)) {
            assert_eq!(fed(check.0, &[check.1], &text), "");
        }
    }
    let output = api_log(&["completions", "tcsh"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("bash"), "{}", stderr(&output));
}

#[test]
fn bash_completes_commands_and_flags() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("api-log.bash");
    std::fs::write(&file, completions("bash")).unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(fed("bash", &["-n", file], ""), "");
    for (typed, expected) in [
        (&["api-log", "val"][..], "validate"),
        (&["api-log", "config", "exp"], "explain"),
        (&["api-log", "validate", "--off"], "--offline"),
        (&["api-log", "completions", "fi"], "fish"),
    ] {
        let (last, at) = (typed[typed.len() - 1], typed.len() - 1);
        let script = format!(
            "source {file}\n\
             function=$(complete -p api-log | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n\
             COMP_WORDS=({}) COMP_CWORD={at}\n\
             \"$function\" api-log '{last}' '{}'\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
            typed.join(" "),
            typed[at - 1],
        );
        assert_eq!(fed("bash", &["--norc"], &script).trim(), expected, "{typed:?}");
    }
}

#[test]
fn there_is_a_clean_page_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man1");
    let output = api_log(&["man", "--out", out.to_str().unwrap()], &[]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), ""));
    let mut pages: Vec<_> = std::fs::read_dir(&out).unwrap().map(|it| it.unwrap().path()).collect();
    pages.sort();
    let names: Vec<&str> = pages.iter().map(|it| it.file_stem().unwrap().to_str().unwrap()).collect();
    let commands = COMMANDS.map(|it| format!("api-log-{it}"));
    let more = ["api-log", "api-log-config-explain", "api-log-config-schema", "api-log-token-new"];
    for name in commands.iter().map(String::as_str).chain(more) {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "\"EXIT STATUS\""] {
            assert!(text.contains(&format!(".SH {section}\n")), "{} has no {section}", page.display());
        }
        lint(page);
    }
    let output = api_log(&["man", "config", "explain"], &[]);
    assert_eq!(output.stdout, std::fs::read(out.join("api-log-config-explain.1")).unwrap());
    assert!(stdout(&output).contains(".SH EXAMPLES\n"));
    assert_eq!(api_log(&["man", "teleport"], &[]).status.code(), Some(2));
}

/// What typesetters of manuals complain of: nothing.
fn lint(page: &Path) {
    let page = page.to_str().unwrap();
    if is_installed("groff") {
        assert_eq!(fed("groff", &["-man", "-ww", "-z", "-Tutf8", page], ""), "", "{page}");
    }
    if is_installed("mandoc") {
        assert_eq!(fed("mandoc", &["-T", "lint", "-W", "warning", page], ""), "", "{page}");
    }
}

#[test]
fn the_exit_codes_are_told_alike_in_help_manual_and_documents() {
    let output = api_log(&["--help"], &[]);
    let help = stdout(&output);
    let (_, table) = help.split_once("\nExit codes:\n").unwrap();
    let documents = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md")).unwrap();
    let manual = api_log(&["man"], &[]);
    let rows: Vec<(&str, &str)> = table.lines().map_while(|line| line.strip_prefix("  ")?.split_once("  ")).collect();
    assert_eq!(rows.iter().map(|it| it.0).collect::<Vec<_>>(), ["0", "1", "2"]);
    for (code, meaning) in rows {
        assert!(documents.contains(&format!("| {code} | {meaning} |")), "docs/cli.md: {code}: {meaning}");
        assert!(stdout(&manual).contains(&format!(".TP\n\\fB{code}\\fR\n{meaning}\n")), "{}", stdout(&manual));
    }
}
