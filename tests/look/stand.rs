//! The program as a child process: a mock gateway, a recorder before it, and commands that look at it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::stack::Recorder;

/// How long anything may take that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// The program, with no setting of the environment.
pub(crate) fn api_log(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_api-log"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("APILOG_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    api_log(arguments).output().unwrap()
}

/// What it writes, which must end with 0 and no complaint.
pub(crate) fn said(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A command under way, whose lines are heard as they come. Killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    complaints: Receiver<String>,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Running {
        let mut child = api_log(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = heard(child.stdout.take().unwrap());
        let complaints = heard(child.stderr.take().unwrap());
        Running { child, lines, complaints }
    }

    /// The next line on standard output.
    pub(crate) fn line(&mut self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line on standard output")
    }

    /// The next line on standard error.
    pub(crate) fn complaint(&mut self) -> String {
        self.complaints.recv_timeout(PATIENCE).expect("a line on standard error")
    }

    /// Whether nothing more was written up to now.
    pub(crate) fn is_silent(&self) -> bool {
        self.lines.try_recv().is_err()
    }

    /// Sends SIGINT and waits for the end.
    pub(crate) fn interrupt(mut self) -> ExitStatus {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn heard(from: impl Read + Send + 'static) -> Receiver<String> {
    let (told, hears) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if told.send(line).is_err() {
                break;
            }
        }
    });
    hears
}

/// A mock gateway with these further arguments, and where it listens.
pub(crate) fn mock(arguments: &[&str]) -> (Running, SocketAddr) {
    let mut running = Running::start(&[&["mock", "--listen", "127.0.0.1:0"], arguments].concat());
    let line = running.line();
    let address = line.strip_prefix("mock gateway listening on http://").unwrap().parse().unwrap();
    (running, address)
}

/// A recorder before a mock gateway.
pub(crate) struct Stand {
    pub(crate) recorder: Recorder,
    _gateway: Running,
}

impl Stand {
    pub(crate) fn new(data_dir: &Path) -> Stand {
        let (gateway, address) = mock(&[]);
        let recorder = Recorder::with(data_dir, &[("APILOG_PROXY_UPSTREAM", &format!("http://{address}"))]);
        Stand { recorder, _gateway: gateway }
    }

    /// Where it is asked, as arguments.
    pub(crate) fn api(&self) -> [String; 4] {
        let Recorder { api, token, .. } = &self.recorder;
        ["--url".to_owned(), format!("http://{api}"), "--token".to_owned(), token.clone()]
    }

    /// Arguments that ask it.
    pub(crate) fn arguments<'a>(&self, api: &'a [String; 4], arguments: &[&'a str]) -> Vec<&'a str> {
        arguments.iter().copied().chain(api.iter().map(String::as_str)).collect()
    }
}
