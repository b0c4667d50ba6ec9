//! The shipped binary with a gateway in front of it that answers as it is told.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(180);

/// A running recorder. It is killed when it is dropped; its data dir is its owner's.
pub(crate) struct Recorder {
    child: Child,
    pub(crate) proxy: SocketAddr,
    pub(crate) api: SocketAddr,
    pub(crate) token: String,
    pub(crate) data_dir: PathBuf,
}

impl Recorder {
    /// Starts one over `data_dir`, before a gateway of its own.
    pub(crate) fn start(data_dir: &Path) -> Recorder {
        Recorder::with(data_dir, &[])
    }

    /// The same with further variables.
    pub(crate) fn with(data_dir: &Path, variables: &[(&str, &str)]) -> Recorder {
        let mut command = Command::new(env!("CARGO_BIN_EXE_api-log"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("APILOG_")) {
            command.env_remove(name);
        }
        let mut child = command
            .env("APILOG_PROXY_LISTEN", "127.0.0.1:0")
            .env("APILOG_API_LISTEN", "127.0.0.1:0")
            .env("APILOG_PROXY_UPSTREAM", format!("http://{}", gateway()))
            .env("APILOG_PROXY_LANES", "1")
            // Asks nobody for releases, unless a test is about that.
            .env("APILOG_VIEWER_ENABLED", "false")
            // Tests put files of past days there, and look at them again.
            .env("APILOG_STORAGE_SEAL", "off")
            .env("APILOG_STORAGE_DATA_DIR", data_dir)
            // Goes with the test, however that ends.
            .env("APILOG_CAPTURE_ARENA_DIR", data_dir.join("arenas"))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (told, started) = mpsc::channel();
        // Reads on to the end: a full pipe would stop the recorder.
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| Value::String(line.clone()));
                if said["msg"] == "recording" {
                    let address = |name: &str| said[name].as_str().unwrap().parse::<SocketAddr>().unwrap();
                    let _ = told.send((address("proxy"), address("api")));
                }
            }
        });
        let (proxy, api) = started.recv_timeout(PATIENCE).expect("the recorder starts");
        let token = std::fs::read_to_string(data_dir.join("admin_token")).unwrap().trim().to_owned();
        Recorder { child, proxy, api, token, data_dir: data_dir.to_owned() }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success());
        assert!(self.child.wait().unwrap().success());
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Calls the read API with the token.
    pub(crate) fn api(&self, method: &str, target: &str, body: &str) -> Reply {
        self.api_with(method, target, &[("Authorization", &format!("Bearer {}", self.token))], body)
    }

    /// Calls the read API with just these fields.
    pub(crate) fn api_with(&self, method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> Reply {
        call(self.api, method, target, fields, body.as_bytes())
    }

    /// What a route answers, which must be 200.
    pub(crate) fn get(&self, target: &str) -> Value {
        let reply = self.api("GET", target, "");
        assert_eq!(reply.status, 200, "{target}: {}", reply.text());
        reply.json()
    }

    /// The refusal of a route: status and body.
    pub(crate) fn refusal(&self, target: &str) -> (u16, Value) {
        let reply = self.api("GET", target, "");
        assert_ne!(reply.status, 200, "{target}");
        (reply.status, reply.json())
    }

    /// The rows of a list.
    pub(crate) fn rows(&self, query: &str) -> Vec<Value> {
        self.get(&format!("/api/traces?{query}"))["traces"].as_array().unwrap().clone()
    }

    /// Waits until the list has so many rows.
    pub(crate) fn await_rows(&self, query: &str, count: usize) -> Vec<Value> {
        let mut rows = Vec::new();
        until(&format!("{count} rows of {query:?}"), || {
            rows = self.rows(query);
            rows.len() >= count
        });
        assert_eq!(rows.len(), count, "{query}");
        rows
    }

    /// Sends a request through the recorder.
    pub(crate) fn send(&self, target: &str, fields: &[(&str, &str)], body: &str) -> Reply {
        let json = [("Content-Type", "application/json")];
        let fields: Vec<(&str, &str)> = json.iter().chain(fields).copied().collect();
        let method = if body.is_empty() { "GET" } else { "POST" };
        call(self.proxy, method, target, &fields, body.as_bytes())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Deletes the index, which can be made anew from the files.
pub(crate) fn remove_index(data_dir: &Path) {
    let files = std::fs::read_dir(data_dir).unwrap().map(|it| it.unwrap().path());
    let of_index: Vec<PathBuf> =
        files.filter(|it| it.file_name().unwrap().to_string_lossy().starts_with("index.sqlite")).collect();
    assert!(!of_index.is_empty());
    of_index.iter().for_each(|file| std::fs::remove_file(file).unwrap());
}

/// A reply as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// By lower-case name.
    pub(crate) fields: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body of a chunked answer, which must have ended in order.
    pub(crate) fn whole(&self) -> Vec<u8> {
        assert_eq!(self.field("transfer-encoding"), Some("chunked"));
        unchunk(&self.body).expect("the answer is whole")
    }

    /// The same as text.
    pub(crate) fn unchunked(&self) -> String {
        String::from_utf8(self.whole()).unwrap()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

/// The bytes of a chunked body; `None` if its last chunk is missing.
pub(crate) fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let end = rest.windows(2).position(|it| it == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        rest = &rest[end + 2..];
        if length == 0 {
            return Some(bytes);
        }
        bytes.extend_from_slice(rest.get(..length)?);
        rest = rest.get(length + 2..)?;
    }
}

/// Asks a route with the token and leaves the answer to be read.
pub(crate) fn open(recorder: &Recorder, target: &str) -> TcpStream {
    open_with(recorder, target, "")
}

/// The same with further header lines.
pub(crate) fn open_with(recorder: &Recorder, target: &str, fields: &str) -> TcpStream {
    let mut stream = TcpStream::connect(recorder.api).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (api, token) = (recorder.api, &recorder.token);
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{fields}\r\n"
    )
    .unwrap();
    stream
}

/// One request on a connection of its own, spelt just so.
pub(crate) fn call(to: SocketAddr, method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = format!("{method} {target} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n").into_bytes();
    for (name, value) in fields {
        write!(request, "{name}: {value}\r\n").unwrap();
    }
    write!(request, "Content-Length: {}\r\n\r\n", body.len()).unwrap();
    request.extend_from_slice(body);
    // A server that refuses early may not read all of it.
    let _ = stream.write_all(&request);
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert!(!bytes.is_empty(), "{method} {target}: {error}");
    }
    let head_ends = bytes.windows(4).position(|it| it == b"\r\n\r\n").expect("a head");
    let head = std::str::from_utf8(&bytes[..head_ends]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap()[9..12].parse().unwrap();
    let fields = lines.map(|line| line.split_once(": ").unwrap());
    let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    Reply { status, fields, body: bytes[head_ends + 4..].to_vec() }
}

/// Starts a gateway. It answers with the status in the request's `x-answer-status` and the body in its `x-answer`,
/// else with 200 and `{}`.
fn gateway() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(stream: TcpStream) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let (mut status, mut body, mut length) = ("200".to_owned(), "{}".to_owned(), 0);
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                if line == "\r\n" {
                    break;
                }
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "x-answer-status" => status = value.to_owned(),
                "x-answer" => body = value.to_owned(),
                "content-length" => length = value.parse().unwrap(),
                _ => {}
            }
        }
        if std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).is_err() {
            return;
        }
        let head = format!(
            "HTTP/1.1 {status} Told\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if writer.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}
