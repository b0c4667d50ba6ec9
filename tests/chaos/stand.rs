//! The recorder with faults on demand, the mock gateway behind it, and what can be seen of both from outside.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::collector::Collector;
use crate::recorder::{DataDir, Recorder};

/// Far longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What stands in place of the web viewer.
pub(crate) const VIEWER: &str = "<!doctype html><title>a viewer</title>";

/// The built-in mock gateway as a process of its own. Ends when dropped.
pub(crate) struct Mock {
    child: Child,
    address: SocketAddr,
}

impl Mock {
    fn start() -> Mock {
        let mut child = Command::new(env!("CARGO_BIN_EXE_api-log"))
            .args(["mock", "--listen", "127.0.0.1:0"])
            .env_remove("API_LOG_FAULTS")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let address = said.trim().rsplit('/').next().unwrap().parse().unwrap();
        Mock { child, address }
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A recorder in front of the mock, that does as its file of faults says.
pub(crate) struct Stand {
    pub(crate) recorder: Recorder,
    pub(crate) data_dir: DataDir,
    faults: PathBuf,
    /// Its configuration file, below the settings.
    pub(crate) config: PathBuf,
    settings: Vec<(String, String)>,
    watchdog: String,
    pub(crate) collector: Collector,
    _mock: Mock,
    _dir: tempfile::TempDir,
}

impl Stand {
    /// With these settings above the defaults, and a watchdog that looks, kills and gives up after these times. The
    /// faults are armed from the start.
    pub(crate) fn new(settings: &[(&str, &str)], watchdog: &str, faults: &str) -> Stand {
        Stand::on(DataDir::new(), settings, watchdog, faults)
    }

    /// The same on a data dir that is there already.
    pub(crate) fn on(data_dir: DataDir, settings: &[(&str, &str)], watchdog: &str, faults: &str) -> Stand {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("faults");
        std::fs::write(&path, faults).unwrap();
        let config = dir.path().join("api-log.yaml");
        std::fs::write(&config, "logging:\n  level: info\n").unwrap();
        let viewer = dir.path().join("viewer");
        std::fs::create_dir(&viewer).unwrap();
        std::fs::write(viewer.join("index.html"), VIEWER).unwrap();
        let (mock, collector) = (Mock::start(), Collector::start(&[]));
        let mut all = vec![("PROXY_UPSTREAM".to_owned(), format!("http://{}", mock.address))];
        all.push(("OTLP_ENDPOINT".to_owned(), collector.endpoint()));
        all.push(("PROXY_LANES".to_owned(), "2".to_owned()));
        all.push(("VIEWER_ENABLED".to_owned(), "true".to_owned()));
        all.push(("VIEWER_LOCAL_PATH".to_owned(), viewer.to_str().unwrap().to_owned()));
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let recorder = start(&data_dir, &all, watchdog, &path, &config);
        Stand {
            recorder,
            data_dir,
            faults: path,
            config,
            settings: all,
            watchdog: watchdog.to_owned(),
            collector,
            _mock: mock,
            _dir: dir,
        }
    }

    /// Starts it anew once it has ended, with other faults.
    pub(crate) fn start_again(&mut self, faults: &str) {
        let _ = std::fs::remove_file(self.faults.with_extension("seen"));
        std::fs::write(&self.faults, faults).unwrap();
        self.recorder = start(&self.data_dir, &self.settings, &self.watchdog, &self.faults, &self.config);
    }

    /// Ends it without a warning, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.recorder.signal(libc::SIGKILL);
        self.recorder.wait();
    }

    /// Arms these faults and no others, and waits until they are.
    pub(crate) fn arm(&self, faults: &str) {
        let before = self.loaded();
        let part = self.faults.with_extension("part");
        // Never the same text twice: what has not changed is not taken over.
        std::fs::write(&part, format!("# after {before}\n{faults}")).unwrap();
        std::fs::rename(&part, &self.faults).unwrap();
        until("the faults are armed", || (self.loaded() > before).then_some(()).ok_or_else(String::new));
    }

    fn loaded(&self) -> u64 {
        self.told().iter().find(|(name, _)| name == "loaded").map_or(0, |(_, numbers)| numbers[0])
    }

    fn told(&self) -> Vec<(String, Vec<u64>)> {
        let text = std::fs::read_to_string(self.faults.with_extension("seen")).unwrap_or_default();
        let line = |line: &str| {
            let (name, numbers) = line.split_once(' ')?;
            Some((name.to_owned(), numbers.split(' ').filter_map(|it| it.parse().ok()).collect()))
        };
        text.lines().filter_map(line).collect()
    }

    /// How often each point was passed, and how often it struck, since the recorder started.
    pub(crate) fn seen(&self) -> BTreeMap<String, (u64, u64)> {
        let points = self.told().into_iter().filter(|(_, numbers)| numbers.len() == 2);
        points.map(|(name, numbers)| (name, (numbers[0], numbers[1]))).collect()
    }

    /// How often a point struck.
    pub(crate) fn struck(&self, point: &str) -> u64 {
        self.seen().get(point).map_or(0, |(_, struck)| *struck)
    }

    /// Asks the read API once; `None` if there is no whole answer, as when its actor dies meanwhile.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        ask(self.recorder.api, self.data_dir.path(), method, path, body)
    }

    /// The health document, asked for until it comes.
    pub(crate) fn health(&self) -> Value {
        until("the health document", || match self.ask("GET", "/healthz", "") {
            Some((200, text)) => serde_json::from_str(&text).map_err(|it| it.to_string()),
            other => Err(format!("{other:?}")),
        })
    }

    /// A row of the supervision table.
    pub(crate) fn row(&self, name: &str) -> Value {
        named(&self.health()["supervision"]["children"], name)
    }

    /// A nursery.
    pub(crate) fn nursery(&self, name: &str) -> Value {
        named(&self.health()["supervision"]["nurseries"], name)
    }

    /// How much a bound holds now.
    pub(crate) fn bound(&self, name: &str) -> u64 {
        named(&self.health()["bounds"], name)["count"]["depth"].as_u64().unwrap()
    }

    /// Waits until every exchange has its outcome, and gives the health document of that moment: the ledger balances.
    pub(crate) fn settled(&self) -> Value {
        until("every exchange has its outcome", || {
            let health = self.health();
            let (ledger, captures) = (&health["ledger"], &health["captures"]);
            assert_eq!(ledger["balanced"], true, "{ledger}");
            match ledger["in_flight"] == 0 && captures["recovery"] == "done" {
                true => Ok(health),
                false => Err(format!("{ledger} {captures}")),
            }
        })
    }

    /// Waits until recovery is done, whatever else goes on, and gives the health document of that moment.
    pub(crate) fn recovered(&self) -> Value {
        until("recovery is done", || {
            let health = self.health();
            let captures = &health["captures"];
            if captures["recovery"] == "done" { Ok(health) } else { Err(captures.to_string()) }
        })
    }

    /// Waits until the index holds what the files hold: an end in order does not wait for that longer than it may.
    pub(crate) fn indexed(&self) {
        until("the index has caught up", || {
            let index = &self.health()["index"];
            if is_current(index) { Ok(()) } else { Err(index.to_string()) }
        });
    }

    /// What the process takes now.
    pub(crate) fn takes(&self) -> Takes {
        let process = PathBuf::from(format!("/proc/{}", self.recorder.pid()));
        let status = std::fs::read_to_string(process.join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
        };
        Takes {
            memory: field("VmRSS:") << 10,
            descriptors: std::fs::read_dir(process.join("fd")).unwrap().count() as u64,
            threads: field("Threads:"),
        }
    }

    /// Restarts of each row.
    pub(crate) fn restarts(&self) -> BTreeMap<String, u64> {
        let health = self.health();
        let rows = health["supervision"]["children"].as_array().unwrap();
        rows.iter().map(|it| (it["name"].as_str().unwrap().to_owned(), it["restarts"].as_u64().unwrap())).collect()
    }

    /// Waits for its end, with more patience than others have.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let stat = format!("/proc/{}/stat", self.recorder.pid());
        until("its end", || match std::fs::read_to_string(&stat) {
            // Its state stands behind its name, and is that of the dead whom nobody has waited for.
            Ok(stat) if !stat.contains(") Z ") => Err(stat),
            _ => Ok(()),
        });
        self.recorder.wait()
    }

    /// Ends it in order.
    pub(crate) fn end(&mut self) {
        self.recorder.signal(libc::SIGTERM);
        assert_eq!(self.ended().code(), Some(0), "it ends in order");
    }
}

/// What a process takes of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Takes {
    /// Resident bytes.
    pub(crate) memory: u64,
    pub(crate) descriptors: u64,
    pub(crate) threads: u64,
}

impl Takes {
    pub(crate) fn mib(&self) -> u64 {
        self.memory >> 20
    }
}

impl std::fmt::Display for Takes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} MiB, {} descriptors, {} threads", self.mib(), self.descriptors, self.threads)
    }
}

/// The most that was seen of each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peak(pub(crate) Takes);

impl Peak {
    pub(crate) fn look(&mut self, stand: &Stand) {
        let now = stand.takes();
        self.0 = Takes {
            memory: self.0.memory.max(now.memory),
            descriptors: self.0.descriptors.max(now.descriptors),
            threads: self.0.threads.max(now.threads),
        };
    }
}

fn start(data_dir: &DataDir, settings: &[(String, String)], watchdog: &str, faults: &Path, config: &Path) -> Recorder {
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let variables = [
        ("API_LOG_FAULTS", faults.to_str().unwrap()),
        ("API_LOG_WATCHDOG", watchdog),
        // More die here in a minute than is borne elsewhere.
        ("API_LOG_PATIENCE", "1000"),
    ];
    Recorder::called(data_dir.clone(), &settings, &variables, &["--config", config.to_str().unwrap()])
}

/// One question to the read API at `api`.
pub(crate) fn ask(api: SocketAddr, data_dir: &Path, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    let token = std::fs::read_to_string(data_dir.join("admin_token")).ok()?;
    let mut socket = TcpStream::connect_timeout(&api, Duration::from_secs(5)).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let (token, length) = (token.trim(), body.len());
    write!(
        socket,
        "{method} {path} HTTP/1.0\r\nHost: api\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Whether the index has all that the files have.
pub(crate) fn is_current(index: &Value) -> bool {
    index["state"] == "current"
        && index["rows_waiting"] == 0
        && index["fresh_rows"] == 0
        && index["behind_segments"] == 0
}

fn named(list: &Value, name: &str) -> Value {
    list.as_array().unwrap().iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
}

/// Asks again until there is an answer.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => assert!(begun.elapsed() < PATIENCE, "not in time: {what}: {seen}"),
        }
        // Between two looks; nothing is taken from how long it is.
        std::thread::sleep(Duration::from_millis(20));
    }
}
