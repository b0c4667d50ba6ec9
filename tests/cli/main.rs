//! The shipped binary's command line from outside: output, exit codes, complaints.

#![allow(clippy::unwrap_used, reason = "a test fails by it, as it should")]

mod config;
mod manual;
mod validate;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output};

fn api_log(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_api-log"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("APILOG_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(variables.iter().copied()).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn in_folder(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn the_version_is_told_with_one_dash_or_two() {
    for flag in ["--version", "-version", "-V"] {
        let output = api_log(&[flag], &[]);
        assert_eq!(stdout(&output), concat!("api-log ", env!("CARGO_PKG_VERSION"), "\n"));
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn short_help_fits_a_screen_and_long_help_teaches() {
    for command in [
        &[][..],
        &["serve"],
        &["demo"],
        &["mock"],
        &["validate"],
        &["config", "explain"],
        &["package"],
        &["rebuild"],
        &["verify"],
        &["healthcheck"],
        &["token", "new"],
        &["completions"],
        &["man"],
        &["tail"],
        &["show"],
        &["replay"],
    ] {
        for flag in ["-h", "--help", "-help"] {
            let output = api_log(&[command, &[flag]].concat(), &[]);
            assert_eq!(output.status.code(), Some(0));
            let help = stdout(&output);
            if flag == "-h" {
                let most = if command.is_empty() { 28 } else { 24 };
                assert!(help.lines().count() <= most, "{help}");
                assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
            } else {
                let (_, examples) = help.split_once("\nExamples:\n").expect(help);
                assert!(examples.matches("  api-log").count() + examples.matches("(api-log").count() >= 1, "{help}");
            }
        }
    }
}

#[test]
fn a_wrong_configuration_ends_with_2_and_every_complaint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.yaml");
    let data_dir = folder.path().join("data");
    let text = format!("proxy:\n  listn: x\nstorage:\n  data_dir: {}\n  writer_chan_size: 0\n", data_dir.display());
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    for arguments in [
        &["validate", "-config", path][..],
        &["config", "validate", "-config", path],
        &["-config", path],
        &["serve", "--config", path],
    ] {
        let output = api_log(arguments, &[("APILOG_LOGGING_LEVEL", "loud")]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout(&output), "");
        let lines: Vec<_> = stderr(&output).lines().collect();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(lines[0], format!("api-log: {path}:2:3: proxy.listn: unknown key (did you mean proxy.listen?)"));
        assert!(
            lines[1].starts_with(&format!("api-log: {path}:5:21: storage.writer_chan_size: \"0\" is out of range"))
        );
        assert!(lines[2].starts_with("api-log: APILOG_LOGGING_LEVEL: \"loud\" is not a log level"));
    }
    assert!(!data_dir.exists(), "nothing may be started");
}

#[test]
fn a_missing_file_ends_with_2() {
    let output = api_log(&["-config=/nowhere/config.yaml"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("api-log: /nowhere/config.yaml: cannot read: "));
    assert!(stderr(&output).contains("; name another file with --config"), "{}", stderr(&output));
}

#[test]
fn a_folder_that_is_not_there_is_named_with_what_to_do() {
    let nowhere = "/nowhere/data";
    for (arguments, said) in [
        (["mock", "--from", nowhere], "cannot read /nowhere/data: No such file or directory"),
        (["tail", "--data-dir", nowhere], "there is no data dir at /nowhere/data; give another --data-dir"),
        (["rebuild", "--data-dir", nowhere], "there is no data dir at /nowhere/data; name it with --data-dir"),
    ] {
        let output = api_log(&arguments, &[]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""), "{arguments:?}");
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn wrong_usage_ends_with_2_in_the_same_style() {
    for arguments in [&["--bogus"][..], &["-bogus"], &["bogus"], &["--config"], &["mock", "--listen", "7860"]] {
        let output = api_log(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).starts_with("api-log: "), "{}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn a_healthcheck_asks_a_url_and_tells_what_came() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/models", listener.local_addr().unwrap());
    let answers = ["200 OK", "404 Not Found", "503 Service Unavailable"];
    let server = std::thread::spawn(move || {
        for answer in answers {
            let (mut client, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                client.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            assert!(head.starts_with(b"GET /v1/models "));
            write!(client, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        }
        // What it is asked from now on is never answered.
        listener
    });
    for answer in answers {
        let output = api_log(&["healthcheck", "--url", &url], &[("http_proxy", "http://127.0.0.1:1")]);
        if answer.starts_with("200") {
            assert_eq!((output.status.code(), stdout(&output)), (Some(0), "ok\n"), "{}", stderr(&output));
        } else {
            assert_eq!(output.status.code(), Some(1));
            let said = format!("api-log: not healthy: {url}: {answer}; what listens there says more in its log, ");
            assert!(stderr(&output).starts_with(&said), "{}", stderr(&output));
        }
    }
    let _silent = server.join().unwrap();
    let output = api_log(&["healthcheck", "--url", &url, "--timeout", "200ms"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("timed out"), "{}", stderr(&output));
    let advised = [
        ("https://127.0.0.1:1/", "; start the recorder, or name its address with --url\n"),
        ("nonsense", "api-log: not healthy: --url nonsense: relative URL without a base; give http://HOST:PORT/PATH"),
        ("readyz:7862", "; give http://HOST:PORT/PATH, as http://127.0.0.1:7862/readyz\n"),
    ];
    for (wrong, advice) in advised {
        let output = api_log(&["healthcheck", "--url", wrong], &[]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(1), ""));
        assert!(stderr(&output).starts_with("api-log: not healthy: "), "{}", stderr(&output));
        assert!(stderr(&output).contains(advice), "{}", stderr(&output));
    }
}

#[test]
fn an_unknown_variable_is_a_warning() {
    let output = api_log(&["config", "validate"], &[("APILOG_PROXY_UPSTREEM", "http://a")]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        stderr(&output),
        "api-log: warning: APILOG_PROXY_UPSTREEM: no such setting, ignored (did you mean APILOG_PROXY_UPSTREAM?)\n"
    );
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_named() {
    use std::os::unix::ffi::OsStrExt;

    let mut command = Command::new(env!("CARGO_BIN_EXE_api-log"));
    let value = std::ffi::OsStr::from_bytes(b"/d\xff");
    let output = command.arg("validate").env("APILOG_STORAGE_DATA_DIR", value).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stderr(&output), "api-log: APILOG_STORAGE_DATA_DIR: not UTF-8 text\n");
}

#[test]
fn the_example_file_is_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/api-log.example.yaml");
    let output = api_log(&["config", "validate", "--config", path.to_str().unwrap()], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}
