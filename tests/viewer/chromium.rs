//! A headless Chromium, told what to do over its debugging protocol. Gone when dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

/// What it is called where.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one page.
pub(crate) struct Chromium {
    child: Child,
    socket: WebSocket<TcpStream>,
    /// The page, for the protocol.
    session: String,
    asked: u64,
    /// What the page said on its console, and what the browser said of it.
    pub(crate) said: Vec<String>,
    _profile: tempfile::TempDir,
}

/// Starts one; `None`, and a word on standard error, where none is installed.
pub(crate) fn start(test: &str) -> Option<Chromium> {
    let name = NAMES
        .iter()
        .find(|name| Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok());
    if name.is_none() {
        // Past the test harness, which keeps to itself what tests that pass print.
        let _ = writeln!(std::io::stderr(), "{test}: skipped, no browser is installed (one of {NAMES:?})");
    }
    name.map(|name| Chromium::start(name))
}

impl Chromium {
    fn start(name: &str) -> Chromium {
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new(name)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--no-proxy-server", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| Some(line.strip_prefix("DevTools listening on ws://")?.to_owned()));
        // Reads on to the end: a full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.expect("the browser listens");
        let (host, path) = address.split_once('/').unwrap();
        let socket = connect(host, path);
        let mut chromium =
            Chromium { child, socket, session: String::new(), asked: 0, said: Vec::new(), _profile: profile };
        let target = chromium.tell("Target.createTarget", json!({"url": "about:blank"}))["targetId"].clone();
        let attached = chromium.tell("Target.attachToTarget", json!({"targetId": target, "flatten": true}));
        chromium.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log"] {
            chromium.tell(&format!("{domain}.enable"), json!({}));
        }
        chromium
    }

    /// Has every page begin with this script.
    pub(crate) fn begin_with(&mut self, script: &str) {
        self.tell("Page.addScriptToEvaluateOnNewDocument", json!({"source": script}));
    }

    /// Loads a page, and waits until it says that it is loaded.
    pub(crate) fn load(&mut self, url: &str) {
        self.said.clear();
        self.asked += 1;
        let number = self.asked;
        self.send(number, "Page.navigate", &json!({"url": url}));
        let (mut is_answered, mut is_loaded) = (false, false);
        while !(is_answered && is_loaded) {
            let heard = self.hear();
            if heard["id"] == number {
                assert!(heard["result"].get("errorText").is_none(), "{url}: {heard}");
                is_answered = true;
            }
            is_loaded |= is_answered && heard["method"] == "Page.loadEventFired";
        }
    }

    /// What an expression comes to in the page; a promise is waited for.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let told = self.tell("Runtime.evaluate", asked);
        assert!(told.get("exceptionDetails").is_none(), "{expression}: {told}");
        told["result"]["value"].clone()
    }

    /// Does one thing, and gives what came of it.
    fn tell(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let number = self.asked;
        self.send(number, method, &params);
        loop {
            let heard = self.hear();
            if heard["id"] == number {
                assert!(heard.get("error").is_none(), "{method}: {heard}");
                return heard["result"].clone();
            }
        }
    }

    fn send(&mut self, number: u64, method: &str, params: &Value) {
        let mut message = json!({"id": number, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        self.socket.send(Message::text(message.to_string())).unwrap();
    }

    fn hear(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.socket.read().expect("the browser answers") {
                let heard: Value = serde_json::from_str(&text).unwrap();
                match heard["method"].as_str() {
                    Some("Log.entryAdded") => self.said.push(heard["params"]["entry"]["text"].to_string()),
                    Some("Runtime.consoleAPICalled" | "Runtime.exceptionThrown") => {
                        self.said.push(heard["params"].to_string());
                    }
                    _ => {}
                }
                return heard;
            }
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(host: &str, path: &str) -> WebSocket<TcpStream> {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    WebSocket::from_raw_socket(stream, Role::Client, None)
}
