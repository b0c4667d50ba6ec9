//! The program as a child process, and what it recorded.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Instant;

use serde_json::Value;

use crate::wire::{DEADLINE, Gateway, Wire};

/// Gives a new data dir mutators that mean none of the paths that tests ask for: all that is shown of untouched bytes is
/// shown beside them.
fn mutate_elsewhere(data_dir: &DataDir) {
    let rules = serde_json::json!([{"match": "e", "replace": "never"}]);
    let elsewhere = serde_json::json!(["/elsewhere/*"]);
    let instances = serde_json::json!([
        {"type": "text-replace", "id": "elsewhere", "enabled": true, "config": {"routes": elsewhere, "up": rules, "down": rules}},
        {"type": "text-append", "id": "off", "enabled": false, "config": {"down": {"suffix": "never"}}},
    ]);
    let file = data_dir.path().join("runtime_overrides.json");
    if !file.exists() {
        std::fs::write(&file, serde_json::json!({"plugins": {"instances": instances}}).to_string()).unwrap();
        std::fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
}

/// A running recorder. Killed when dropped; its log is shown if the test fails.
pub(crate) struct Recorder {
    child: Child,
    pub(crate) proxy: SocketAddr,
    pub(crate) api: SocketAddr,
    data_dir: DataDir,
    log: Arc<Mutex<String>>,
}

/// A data dir that may outlive recorders.
#[derive(Clone)]
pub(crate) struct DataDir(Arc<tempfile::TempDir>);

impl DataDir {
    pub(crate) fn new() -> DataDir {
        DataDir(Arc::new(tempfile::tempdir().unwrap()))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// All segments, by name.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for day in std::fs::read_dir(self.path()).unwrap().map(|it| it.unwrap().path()).filter(|it| it.is_dir()) {
            let names = std::fs::read_dir(day).unwrap().map(|it| it.unwrap().path());
            found.extend(names.filter(|it| it.extension().is_some_and(|it| it == "jsonl")));
        }
        found.sort();
        found
    }

    /// Every line of every segment, in the order of their ids, which is that of time.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let mut lines = Vec::new();
        for segment in self.segments() {
            let text = std::fs::read_to_string(segment).unwrap();
            assert!(text.ends_with('\n'), "a segment ends with a whole line");
            lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
        lines.sort_by_key(|line| line["id"].as_str().unwrap().to_owned());
        lines
    }

    /// The ids in the index, in order.
    fn indexed(&self) -> Vec<String> {
        let index = rusqlite::Connection::open(self.path().join("index.sqlite")).unwrap();
        let mut query = index.prepare("SELECT id FROM traces ORDER BY id").unwrap();
        let ids = query.query_map([], |row| row.get(0)).unwrap();
        ids.map(Result::unwrap).collect()
    }
}

impl Recorder {
    /// Starts one in front of `gateway`.
    pub(crate) fn start(gateway: &Gateway) -> Recorder {
        Recorder::with(gateway, &[])
    }

    /// The same, with more settings: `("TIMEOUTS_IDLE", "1s")`.
    pub(crate) fn with(gateway: &Gateway, settings: &[(&str, &str)]) -> Recorder {
        let upstream = format!("http://{}", gateway.address());
        let mut all = vec![("PROXY_UPSTREAM", upstream.as_str())];
        all.extend(settings);
        Recorder::on(DataDir::new(), &all, &[])
    }

    /// Starts one on a data dir. Later settings stand above earlier ones.
    pub(crate) fn on(data_dir: DataDir, settings: &[(&str, &str)], variables: &[(&str, &str)]) -> Recorder {
        Recorder::called(data_dir, settings, variables, &[])
    }

    /// The same with arguments.
    pub(crate) fn called(
        data_dir: DataDir,
        settings: &[(&str, &str)],
        variables: &[(&str, &str)],
        arguments: &[&str],
    ) -> Recorder {
        mutate_elsewhere(&data_dir);
        let mut command = Command::new(env!("CARGO_BIN_EXE_api-log"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("APILOG_")) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .env("APILOG_PROXY_LISTEN", "127.0.0.1:0")
            .env("APILOG_API_LISTEN", "127.0.0.1:0")
            .env("APILOG_STORAGE_DATA_DIR", data_dir.path())
            // Goes with the test, however that ends.
            .env("APILOG_CAPTURE_ARENA_DIR", data_dir.path().join("arenas"))
            .env("APILOG_VIEWER_ENABLED", "false")
            // One lane, so that which connections can be reused is certain.
            .env("APILOG_PROXY_LANES", "1")
            .envs(settings.iter().map(|(name, value)| (format!("APILOG_{name}"), value)))
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (ready, started) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let kept = log.clone();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Ok(said) = serde_json::from_str::<Value>(&line)
                    && said["msg"] == "recording"
                {
                    let address = |name: &str| said[name].as_str().unwrap().parse::<SocketAddr>().unwrap();
                    let _ = ready.send((address("proxy"), address("api")));
                }
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        let Ok((proxy, api)) = started.recv_timeout(DEADLINE) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the recorder does not start:\n{}", log.lock().unwrap());
        };
        Recorder { child, proxy, api, data_dir, log }
    }

    /// Where it records.
    pub(crate) fn data_dir(&self) -> &DataDir {
        &self.data_dir
    }

    /// A client's connection.
    pub(crate) fn client(&self) -> Wire {
        Wire::connect(self.proxy)
    }

    /// A client that has sent `bytes`.
    pub(crate) fn ask(&self, bytes: impl AsRef<[u8]>) -> Wire {
        let mut client = self.client();
        client.send(bytes);
        client
    }

    /// Ends it in order, and gives what it recorded: each trace once in a file and once in the index.
    pub(crate) fn finish(mut self) -> Vec<Value> {
        self.signal(libc::SIGTERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "the recorder ends in order");
        self.recorded()
    }

    /// The same, for one trace.
    pub(crate) fn finish_with_one(self) -> Value {
        let mut lines = self.finish();
        assert_eq!(lines.len(), 1, "exactly one trace: {lines:#?}");
        lines.remove(0)
    }

    /// What an ended recorder left: the lines, each of which is in the index too.
    pub(crate) fn recorded(&self) -> Vec<Value> {
        let lines = self.data_dir.lines();
        let ids: Vec<_> = lines.iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(self.data_dir.indexed(), ids, "the index holds what the files hold");
        lines
    }

    pub(crate) fn signal(&self, signal: libc::c_int) {
        // SAFETY: a signal to our own child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(self.child.id() as libc::pid_t, signal) }, 0);
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        until("the recorder ends", || self.child.try_wait().unwrap())
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Its largest resident size so far, in bytes.
    pub(crate) fn most_memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// The read API's answer to a GET: its status and its JSON.
    pub(crate) fn api(&self, path: &str) -> (u16, Value) {
        let token = std::fs::read_to_string(self.data_dir.path().join("admin_token")).unwrap();
        let mut stream = TcpStream::connect(self.api).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let token = token.trim();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: api\r\nAuthorization: Bearer {token}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap())
    }

    /// Waits until the read API lists this many traces, and gives them, newest first.
    pub(crate) fn listed(&self, count: usize) -> Vec<Value> {
        until("the traces are listed", || {
            let (_, listed) = self.api("/api/traces?limit=500");
            listed["traces"].as_array().filter(|rows| rows.len() == count).cloned()
        })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the recorder's log:\n{}", self.log());
        }
    }
}

/// Asks again until there is an answer.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "not in time: {what}");
        // Between two looks; nothing is taken from how long it is.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Hexadecimal SHA-256.
pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
