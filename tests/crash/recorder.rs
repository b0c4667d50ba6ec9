//! The recorder as a child process that is killed.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Far longer than anything takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Recorder {
    child: Child,
    pub(crate) proxy: SocketAddr,
    api: SocketAddr,
    data_dir: PathBuf,
    log: Arc<Mutex<String>>,
}

impl Recorder {
    pub(crate) fn start(data_dir: &Path, upstream: SocketAddr) -> Recorder {
        let mut command = Command::new(env!("CARGO_BIN_EXE_api-log"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("APILOG_")) {
            command.env_remove(name);
        }
        command
            .env("APILOG_PROXY_UPSTREAM", format!("http://{upstream}"))
            .env("APILOG_PROXY_LISTEN", "127.0.0.1:0")
            .env("APILOG_API_LISTEN", "127.0.0.1:0")
            .env("APILOG_STORAGE_DATA_DIR", data_dir)
            .env("APILOG_CAPTURE_ARENA_DIR", data_dir.join("arenas"))
            .env("APILOG_CAPTURE_SPILL_BYTES", "64KiB")
            .env("APILOG_VIEWER_ENABLED", "false")
            .env("APILOG_PROXY_LANES", "2")
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
                kept.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let Ok((proxy, api)) = started.recv_timeout(DEADLINE) else {
            let _ = child.kill();
            panic!("the recorder does not start:\n{}", log.lock().unwrap());
        };
        Recorder { child, proxy, api, data_dir: data_dir.to_owned(), log }
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        if std::env::var_os("CRASH_LOG").is_some() {
            eprintln!("{}", self.log.lock().unwrap());
        }
    }

    /// Waits until everything that was left is recovered and recorded; how many that were.
    pub(crate) fn settle(&self) -> u64 {
        let began = Instant::now();
        loop {
            let health = self.health();
            let (ledger, recording) = (&health["ledger"], &health["recording"]);
            assert_eq!(ledger["balanced"], true, "{ledger}");
            if health["captures"]["recovery"] == "done" && ledger["in_flight"] == 0 {
                assert_eq!(recording["unreadable_logs"], 0, "{}", self.log.lock().unwrap());
                assert_eq!(ledger["recorded"], ledger["accepted"], "{ledger}");
                return recording["recovered"].as_u64().unwrap();
            }
            assert!(began.elapsed() < DEADLINE, "waited in vain: {health:#}\n{}", self.log.lock().unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it in order, and gives every line.
    pub(crate) fn finish(mut self) -> Vec<Value> {
        let rows = |health: &Value| (health["counters"]["appended"].clone(), health["counters"]["indexed"].clone());
        let _ = rows(&self.health());
        // SAFETY: a signal to a child that was not waited for.
        assert_eq!(unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) }, 0);
        assert!(self.child.wait().unwrap().success(), "{}", self.log.lock().unwrap());
        let mut lines = Vec::new();
        for day in std::fs::read_dir(&self.data_dir).unwrap().map(|it| it.unwrap().path()).filter(|it| it.is_dir()) {
            for segment in std::fs::read_dir(day).unwrap().map(|it| it.unwrap().path()) {
                if segment.extension().is_some_and(|it| it == "jsonl") {
                    let text = std::fs::read_to_string(segment).unwrap();
                    assert!(text.is_empty() || text.ends_with('\n'), "a segment ends with a whole line");
                    lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
                }
            }
        }
        lines
    }

    fn health(&self) -> Value {
        let mut socket = TcpStream::connect(self.api).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

/// The ids in the index.
pub(crate) fn rows(data_dir: &Path) -> BTreeSet<String> {
    let index = rusqlite::Connection::open(data_dir.join("index.sqlite")).unwrap();
    let mut query = index.prepare("SELECT id FROM traces").unwrap();
    let ids = query.query_map([], |row| row.get(0)).unwrap();
    ids.map(Result::unwrap).collect()
}
