//! `api-log tail --inflight` in a terminal, driven from outside by tmux: keys are typed, what is seen is read.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::stack::{Recorder, until};
use crate::stand::{PATIENCE, Running, mock, run, text};

/// A terminal of its own, on a server of its own. It ends with the test.
struct Tmux {
    socket: String,
}

impl Tmux {
    /// `None`, and told, where there is no tmux.
    fn start(folder: &Path, recorder: &Recorder) -> Option<Tmux> {
        Tmux::towards(folder, recorder, recorder.api)
    }

    /// The same, with the recorder's API at another address.
    fn towards(folder: &Path, recorder: &Recorder, api: SocketAddr) -> Option<Tmux> {
        if Command::new("tmux").arg("-V").output().is_err() {
            // Not by a macro: the harness keeps what those print of a test that passes.
            let _ = writeln!(std::io::stderr(), "skipped: there is no tmux to type into");
            return None;
        }
        let tmux = Tmux { socket: folder.join("tmux").to_str().unwrap().to_owned() };
        let url = format!("http://{api}");
        let size = ["-x", "120", "-y", "30"];
        let shell = format!("env PS1='ready> ' TMPDIR='{}' sh", folder.display());
        tmux.said(&[&["-f", "/dev/null", "new-session", "-d"][..], &size[..], &[&shell]].concat());
        let token = recorder.data_dir.join("admin_token");
        let command = format!(
            "look() {{ '{}' tail --inflight --url {url} --token-file '{}' \"$@\"; echo ended with $?; }}; stty -a >'{}'",
            env!("CARGO_BIN_EXE_api-log"),
            token.display(),
            folder.join("before").display(),
        );
        tmux.sees("ready>");
        tmux.enter(&command);
        Some(tmux)
    }

    fn tmux(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("tmux");
        command.args(["-S", &self.socket]).args(arguments).stdin(Stdio::null()).env_remove("TMUX");
        command.env("LC_ALL", "C.UTF-8").output().unwrap()
    }

    fn said(&self, arguments: &[&str]) -> String {
        let output = self.tmux(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn seen(&self) -> String {
        self.said(&["capture-pane", "-p"])
    }

    /// Whether anything has a foreground of its own: SGR 31 to 38 (ECMA-48 8.3.117).
    fn is_coloured(&self) -> bool {
        let seen = self.said(&["capture-pane", "-p", "-e"]);
        seen.split("\u{1b}[3").skip(1).any(|it| it.starts_with(|first| matches!(first, '1'..='8')))
    }

    fn sees(&self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.seen();
            if seen.contains(what) {
                return;
            }
            assert!(Instant::now() < deadline, "in vain: {what:?} on\n{seen}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn sees_no(&self, what: &str) {
        until(&format!("{what:?} is gone"), || !self.seen().contains(what));
    }

    /// Keys by tmux's names.
    fn keys(&self, keys: &[&str]) {
        self.said(&[&["send-keys"], keys].concat());
    }

    fn enter(&self, line: &str) {
        self.said(&["send-keys", "-l", line]);
        self.keys(&["Enter"]);
    }

    fn is(&self, format: &str) -> String {
        self.said(&["display-message", "-p", format]).trim().to_owned()
    }

    fn opens(&self) {
        self.enter("clear; look");
        self.sees("connected");
        assert_eq!(self.is("#{alternate_on} #{cursor_flag}"), "1 0");
    }

    /// The terminal is as it was, and its shell can be used.
    fn is_clean(&self, folder: &Path, code: &str) {
        self.sees(&format!("ended with {code}"));
        assert_eq!(self.is("#{alternate_on} #{cursor_flag}"), "0 1");
        let after = folder.join("after");
        let _ = std::fs::remove_file(&after);
        self.enter(&format!("stty -a >'{0}.new' && mv '{0}.new' '{0}'", after.display()));
        until("the shell answers", || after.exists());
        // What the shell sets for its own line is the same both times.
        let [before, after] = [folder.join("before"), after].map(|it| std::fs::read_to_string(it).unwrap());
        let modes = |it: &str| it.split_once(';').map(|(_, rest)| rest[rest.find("intr").unwrap()..].to_owned());
        assert_eq!(modes(&after), modes(&before));
    }

    /// The process that draws.
    fn child(&self) -> String {
        let shell = self.is("#{pane_pid}");
        let mut found = String::new();
        until("it runs", || {
            let children = Command::new("pgrep").args(["-P", &shell, "-f", "inflight"]).output().unwrap();
            found = text(&children.stdout).trim().to_owned();
            !found.is_empty()
        });
        found
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

const BODY: &str =
    r#"{"model":"gpt-slow","stream":true,"messages":[{"role":"user","content":"tell me\u001b[2J something"}]}"#;

/// A recorder before a mock gateway, and the folder of both.
fn recorder() -> (tempfile::TempDir, Running, Recorder) {
    let dir = tempfile::tempdir().unwrap();
    let (gateway, address) = mock(&[]);
    let data_dir = dir.path().join("data");
    std::fs::create_dir(&data_dir).unwrap();
    let recorder = Recorder::with(&data_dir, &[("APILOG_PROXY_UPSTREAM", &format!("http://{address}"))]);
    (dir, gateway, recorder)
}

#[test]
fn requests_are_followed_found_and_read_on_a_screen_that_is_left_clean() {
    let (dir, _gateway, recorder) = recorder();
    let Some(tmux) = Tmux::start(dir.path(), &recorder) else { return };
    recorder.send("/v1/chat/completions", &[("Authorization", "Bearer sk-secret")], &BODY.replace("slow", "quick"));
    recorder.await_rows("", 1);
    tmux.opens();
    tmux.sees("gpt-quick");
    tmux.sees("1 recorded");
    tmux.sees("running");

    // A stream whose events come slowly.
    let proxy = recorder.proxy;
    let slow = std::thread::spawn(move || {
        let fields = [("x-mock-delay-ms", "700"), ("x-mock-size", "200")];
        crate::stack::call(proxy, "POST", "/v1/chat/completions", &fields, BODY.as_bytes()).status
    });
    tmux.sees("under way: 1");
    tmux.sees("POST /v1/chat/completions");
    tmux.keys(&["f"]);
    tmux.sees("following POST /v1/chat/completions");
    tmux.sees("assistant");
    tmux.keys(&["e"]);
    tmux.sees("\"delta\"");
    tmux.said(&["resize-window", "-x", "60", "-y", "12"]);
    until("it is drawn anew", || tmux.seen().lines().count() == 12 && tmux.seen().contains("q back"));
    tmux.said(&["resize-window", "-x", "140", "-y", "40"]);
    assert_eq!(slow.join().unwrap(), 200);
    tmux.sees("ended: complete");
    tmux.keys(&["q"]);
    tmux.sees("gpt-slow");

    tmux.keys(&["/"]);
    tmux.enter("model=gpt-quick");
    tmux.sees_no("gpt-slow");
    tmux.sees("filter model=gpt-quick");
    tmux.keys(&["Tab", "Enter"]);
    tmux.sees("tell me␛[2J something");
    tmux.keys(&["c"]);
    tmux.sees("curl -sS");
    tmux.sees("given to the terminal's clipboard");
    let files = std::fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().path());
    let file = files.into_iter().find(|it| it.to_str().unwrap().ends_with(".curl.sh")).expect("a command's file");
    let command = std::fs::read_to_string(file).unwrap();
    assert!(command.contains("$API_KEY") && !command.contains("sk-secret"), "{command}");
    // Esc goes back once, and takes the filter away; then out.
    tmux.keys(&["q"]);
    tmux.sees("under way: 0");
    tmux.keys(&["q"]);
    tmux.is_clean(dir.path(), "0");

    // The same after Ctrl-C and SIGTERM.
    tmux.opens();
    tmux.keys(&["C-c"]);
    tmux.is_clean(dir.path(), "0");
    tmux.opens();
    assert!(Command::new("kill").arg(tmux.child()).status().unwrap().success());
    tmux.is_clean(dir.path(), "0");

    // What the command line says of colours goes over what the environment does.
    tmux.enter("clear; NO_COLOR=1; export NO_COLOR; look");
    tmux.sees("gpt-slow");
    assert!(!tmux.is_coloured());
    tmux.keys(&["q"]);
    tmux.is_clean(dir.path(), "0");
    tmux.enter("clear; look --color always");
    until("it is coloured", || tmux.is_coloured());
    tmux.keys(&["q"]);
    tmux.is_clean(dir.path(), "0");

    // A recorder that is gone freezes no key.
    tmux.opens();
    assert!(Command::new("kill").args(["-KILL", &recorder.pid().to_string()]).status().unwrap().success());
    tmux.sees("NOT CONNECTED, trying again");
    tmux.keys(&["?"]);
    tmux.sees("other pane");
    tmux.keys(&["q", "q"]);
    tmux.is_clean(dir.path(), "0");
    // And one that was never there is told before the screen is taken.
    tmux.enter("clear; look");
    tmux.sees("cannot reach a recorder at");
    tmux.is_clean(dir.path(), "1");
}

/// A way to the recorder that can be cut.
struct Way {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Way {
    fn to(target: SocketAddr) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(Mutex::new(Vec::new()));
        let known: Arc<Mutex<Vec<TcpStream>>> = open.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(target) else { continue };
                for (mut from, mut to) in [(near.try_clone(), far.try_clone()), (far.try_clone(), near.try_clone())]
                    .into_iter()
                    .map(|(from, to)| (from.unwrap(), to.unwrap()))
                {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                known.lock().unwrap().extend([near, far]);
            }
        });
        Way { address, open }
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

#[test]
fn a_stream_is_followed_again_from_where_it_was() {
    let (dir, _gateway, recorder) = recorder();
    let way = Way::to(recorder.api);
    let Some(tmux) = Tmux::towards(dir.path(), &recorder, way.address) else { return };
    tmux.opens();
    let proxy = recorder.proxy;
    let slow = std::thread::spawn(move || {
        let fields = [("x-mock-delay-ms", "400"), ("x-mock-size", "100")];
        crate::stack::call(proxy, "POST", "/v1/chat/completions", &fields, BODY.as_bytes())
    });
    tmux.sees("under way: 1");
    tmux.keys(&["f"]);
    tmux.sees("following POST /v1/chat/completions: 2 events");
    way.cut();
    assert_eq!(slow.join().unwrap().status, 200);
    tmux.sees("ended: complete");
    let id = recorder.await_rows("", 1)[0]["id"].as_str().unwrap().to_owned();
    let events = recorder.get(&format!("/api/traces/{id}"))["trace"]["resp"]["events"].as_array().unwrap().len();
    assert!(events > 4, "{events}");
    // Each event once: the screen counts what it has heard.
    let told = format!("ended POST /v1/chat/completions: {events} events");
    assert!(tmux.seen().contains(&told), "{told}\n{}", tmux.seen());
}

#[test]
fn a_terminal_that_reads_no_more_keeps_nobody() {
    let (dir, _gateway, recorder) = recorder();
    let Some(tmux) = Tmux::start(dir.path(), &recorder) else { return };
    tmux.opens();
    let child = tmux.child();
    let proxy = recorder.proxy;
    std::thread::spawn(move || {
        let fields = [("x-mock-delay-ms", "20"), ("x-mock-size", "4000")];
        crate::stack::call(proxy, "POST", "/v1/chat/completions", &fields, BODY.as_bytes())
    });
    tmux.sees("under way: 1");
    tmux.keys(&["f", "e"]);
    tmux.sees("\"delta\"");
    let server = tmux.is("#{pid}");
    let signal =
        |name: &str, process: &str| assert!(Command::new("kill").args([name, process]).status().unwrap().success());
    signal("-STOP", &server);
    // One of its threads is in `write` (1) to the terminal (1), and stays there.
    let is_held = || {
        let threads = std::fs::read_dir(format!("/proc/{child}/task")).unwrap().map(|it| it.unwrap().path());
        let calls = threads.map(|it| std::fs::read_to_string(it.join("syscall")).unwrap_or_default());
        calls.into_iter().any(|it| it.starts_with("1 0x1 "))
    };
    let mut looks = 0;
    until("the terminal holds it", || {
        looks = if is_held() { looks + 1 } else { 0 };
        looks > 20
    });
    signal("-TERM", &child);
    until("it has ended", || {
        let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    });
    signal("-CONT", &server);
    tmux.is_clean(dir.path(), "0");
}

#[test]
fn without_a_terminal_nothing_is_drawn() {
    let output = run(&["tail", "--inflight"]);
    assert_eq!(output.status.code(), Some(2));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("--inflight draws on a terminal, and standard input is none"), "{complaint}");
    assert!(output.stdout.is_empty());
}
