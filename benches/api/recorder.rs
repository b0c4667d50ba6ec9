//! The shipped program over a data dir, and traffic that it records meanwhile.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A running recorder before a mock gateway; both end with it.
pub(crate) struct Recorder {
    children: [Child; 2],
    pub(crate) proxy: SocketAddr,
    pub(crate) api: SocketAddr,
    pub(crate) token: String,
}

/// The program with no settings but these.
pub(crate) fn command(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_api-log"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("APILOG_")) {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    command
}

impl Recorder {
    /// Starts one, and waits until it listens.
    pub(crate) fn start(data_dir: &Path, variables: &[(&str, &str)]) -> Recorder {
        let (gateway, said) = started(command(&[]).args(["mock", "--listen", "127.0.0.1:0"]));
        let upstream = said.split_whitespace().find_map(|it| it.strip_prefix("http://")).map(str::to_owned);
        let upstream = upstream.unwrap_or_else(|| panic!("the mock gateway says {said:?}"));
        let mut recorder = command(variables);
        recorder
            .env("APILOG_PROXY_LISTEN", "127.0.0.1:0")
            .env("APILOG_API_LISTEN", "127.0.0.1:0")
            .env("APILOG_VIEWER_ENABLED", "false")
            .env("APILOG_PROXY_UPSTREAM", format!("http://{}", upstream.trim_end_matches(['/', '.', ','])))
            .env("APILOG_STORAGE_SEAL", "off")
            .env("APILOG_STORAGE_DATA_DIR", data_dir);
        let (child, said) = started(&mut recorder);
        let said: Value = serde_json::from_str(&said).expect("a line of the log");
        let address = |name: &str| said[name].as_str().and_then(|it| it.parse().ok()).expect("an address");
        let token = std::fs::read_to_string(data_dir.join("admin_token")).expect("a token").trim().to_owned();
        Recorder { children: [child, gateway], proxy: address("proxy"), api: address("api"), token }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts a program, and gives what it says of where it listens.
fn started(command: &mut Command) -> (Child, String) {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a program");
    let (told, said) = std::sync::mpsc::channel();
    let streams: [Box<dyn std::io::Read + Send>; 2] =
        [Box::new(child.stdout.take().expect("a pipe")), Box::new(child.stderr.take().expect("a pipe"))];
    for stream in streams {
        let told = told.clone();
        // Reads on to the end: a full pipe would stop it.
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                let _ = told.send(line);
            }
        });
    }
    let line = loop {
        let line = said.recv_timeout(Duration::from_secs(60)).expect("it says where it listens");
        if line.contains("127.0.0.1:") {
            break line;
        }
    };
    (child, line)
}

/// Traffic at a steady pace, until it is dropped.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    began: Instant,
}

impl Traffic {
    /// So many requests a second through the recorder.
    pub(crate) fn begin(proxy: SocketAddr, per_second: u64) -> Traffic {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted) = (stop.clone(), sent.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let _ = rustls::crypto::ring::default_provider().install_default();
                let client = reqwest::Client::builder().no_proxy().build().expect("a client");
                let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / per_second));
                while !stopped.load(Ordering::Relaxed) {
                    ticks.tick().await;
                    let number = counted.fetch_add(1, Ordering::Relaxed);
                    let body =
                        json!({"model": "gpt-5", "messages": [{"role": "user", "content": format!("ask {number}")}]});
                    let asked = client
                        .post(format!("http://{proxy}/v1/chat/completions"))
                        .bearer_auth(format!("sk-{}", number % 10))
                        .header("content-type", "application/json")
                        .body(body.to_string())
                        .send();
                    if let Ok(answer) = asked.await {
                        let _ = answer.bytes().await;
                    }
                }
            });
        });
        Traffic { stop, sent, began: Instant::now() }
    }

    /// Requests a second so far.
    pub(crate) fn rate(&self) -> f64 {
        self.sent.load(Ordering::Relaxed) as f64 / self.began.elapsed().as_secs_f64()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
