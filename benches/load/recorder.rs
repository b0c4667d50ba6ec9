//! Our program as it is shipped, and what it says of itself.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{Memory, Running, Trouble};

pub(crate) struct Recorder {
    running: Running,
    pub(crate) proxy: SocketAddr,
    pub(crate) api: Api,
    pub(crate) data_dir: PathBuf,
    /// Dropped last: the program tidies up by itself if it can.
    _arenas: Arenas,
}

/// The read API of a recorder, for who is allowed all.
#[derive(Clone)]
pub(crate) struct Api {
    address: SocketAddr,
    data_dir: PathBuf,
}

/// Where folders of arenas are, and how their names begin, before the number of this process.
pub(crate) const ARENAS: &str = "/dev/shm";
pub(crate) const ARENAS_NAME: &str = "api-log-load-";

/// A folder of arenas, removed with all that is left there.
pub(crate) struct Arenas(pub(crate) PathBuf);

impl Arenas {
    /// Where the program would have them, but told from those of others and sure to be removed.
    pub(crate) fn named(name: &str) -> Arenas {
        Arenas(Path::new(ARENAS).join(format!("{ARENAS_NAME}{}-{name}", std::process::id())))
    }
}

impl Drop for Arenas {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Api {
    /// Asks for JSON.
    pub(crate) fn get(&self, method: &str, target: &str) -> Result<Value, Trouble> {
        let mut body = Vec::new();
        let status = self.ask(method, target, |piece| {
            body.extend_from_slice(piece);
            true
        })?;
        if !(200..300).contains(&status) {
            return Err(Trouble::said(format!("{method} {target} is answered with {status}")));
        }
        serde_json::from_slice(&body).map_err(|error| Trouble::at(target, error))
    }

    /// Asks, and hands the body over as it comes, until that says `false`; the status.
    pub(crate) fn ask(&self, method: &str, target: &str, mut each: impl FnMut(&[u8]) -> bool) -> Result<u16, Trouble> {
        let mut asked = || -> std::io::Result<u16> {
            let token = std::fs::read_to_string(self.data_dir.join("admin_token")).unwrap_or_default();
            let mut stream = TcpStream::connect(self.address)?;
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            let token = token.trim();
            let head = format!(
                "{method} {target} HTTP/1.0\r\nHost: api\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
            );
            stream.write_all(head.as_bytes())?;
            let mut bytes = Vec::new();
            let mut buffer = vec![0; 64 << 10];
            let mut status = None;
            loop {
                let more = stream.read(&mut buffer)?;
                if more == 0 {
                    return Ok(status.unwrap_or(0));
                }
                if status.is_some() {
                    if !each(&buffer[..more]) {
                        return Ok(status.unwrap_or(0));
                    }
                    continue;
                }
                bytes.extend_from_slice(&buffer[..more]);
                let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") else { continue };
                status = String::from_utf8_lossy(&bytes).split(' ').nth(1).and_then(|it| it.parse().ok());
                if bytes.len() > end + 4 && !each(&bytes[end + 4..]) {
                    return Ok(status.unwrap_or(0));
                }
            }
        };
        asked().map_err(|error| Trouble::at(&format!("{method} {target}"), error))
    }
}

/// What is set otherwise than by default, beside addresses and folders.
pub(crate) type Settings<'a> = &'a [(&'a str, &'a str)];

/// The program with no settings but these.
pub(crate) fn command(binary: &Path, settings: Settings<'_>) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("APILOG_")) {
        command.env_remove(name);
    }
    command.envs(settings.iter().copied());
    command
}

impl Recorder {
    /// Starts it, and waits until it listens.
    pub(crate) fn start(
        binary: &Path,
        name: &str,
        folder: &Path,
        data_dir: &Path,
        upstream: SocketAddr,
        settings: Settings<'_>,
    ) -> Result<Recorder, Trouble> {
        let arenas = Arenas::named(name);
        let mut command = command(binary, settings);
        command
            .env("APILOG_PROXY_UPSTREAM", format!("http://{upstream}"))
            .env("APILOG_PROXY_LISTEN", "127.0.0.1:0")
            .env("APILOG_API_LISTEN", "127.0.0.1:0")
            .env("APILOG_CAPTURE_ARENA_DIR", &arenas.0)
            .env("APILOG_STORAGE_DATA_DIR", data_dir);
        let mut running = Running::start(name, folder, &mut command)?;
        let (proxy, address) = running.until("say where it listens", |it| {
            let said = it.said();
            let told = said.lines().filter_map(|it| serde_json::from_str::<Value>(it).ok());
            let address = |told: &Value, name: &str| told[name].as_str()?.parse().ok();
            told.into_iter().find_map(|it| Some((address(&it, "proxy")?, address(&it, "api")?)))
        })?;
        let api = Api { address, data_dir: data_dir.to_owned() };
        Ok(Recorder { running, proxy, api, data_dir: data_dir.to_owned(), _arenas: arenas })
    }

    pub(crate) fn cpu(&self) -> Duration {
        self.running.cpu()
    }

    pub(crate) fn memory(&self) -> Memory {
        self.running.memory()
    }

    pub(crate) fn health(&self) -> Result<Value, Trouble> {
        self.api.get("GET", "/healthz")
    }

    /// Waits until each exchange has its outcome and each line its row; how long that took.
    pub(crate) fn settled(&self, limit: Duration) -> Result<Duration, Trouble> {
        let began = Instant::now();
        loop {
            let health = self.health()?;
            let (ledger, counters) = (&health["ledger"], &health["counters"]);
            let is_indexed = counters["indexed"].as_u64() >= counters["appended"].as_u64();
            let is_current = health["index"]["state"] == "current" && health["index"]["rows_waiting"] == 0;
            if ledger["in_flight"] == 0 && is_indexed && is_current {
                return Ok(began.elapsed());
            }
            if began.elapsed() > limit {
                return Err(Trouble::said(format!(
                    "not everything is indexed {} s after the load: ledger {ledger}, appended {}, indexed {}, index {}",
                    limit.as_secs(),
                    counters["appended"],
                    counters["indexed"],
                    health["index"]
                )));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it in order.
    pub(crate) fn end(self) {
        self.running.end();
    }
}
