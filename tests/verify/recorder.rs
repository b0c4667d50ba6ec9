//! The recorder beside which a data dir is checked.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::data_dir::command;

/// A running recorder; killed when dropped.
pub(crate) struct Recorder(Child, String);

impl Recorder {
    pub(crate) fn start(data_dir: &Path) -> Recorder {
        let mut child = command(data_dir)
            .env("APILOG_PROXY_LISTEN", "127.0.0.1:0")
            .env("APILOG_API_LISTEN", "127.0.0.1:0")
            .env("APILOG_VIEWER_ENABLED", "false")
            .env("APILOG_PROXY_UPSTREAM", "http://127.0.0.1:1")
            .env("APILOG_PROXY_LANES", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let proxy = loop {
            line.clear();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "the recorder starts");
            let said: Value = serde_json::from_str(&line).unwrap_or_default();
            if said["msg"] == "recording" {
                break said["proxy"].as_str().unwrap().to_owned();
            }
        };
        // A full pipe would stop it.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Recorder(child, proxy)
    }

    /// An exchange that leaves a trace, though there is no gateway.
    pub(crate) fn send(&self, n: usize) {
        let mut stream = std::net::TcpStream::connect(&self.1).unwrap();
        let head = format!("GET /v1/models?n={n} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
