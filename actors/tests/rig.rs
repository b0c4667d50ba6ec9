//! A whole recorder on free ports with a data dir of its own, and what it must look like when it has settled.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api_log::config::Config;
use api_log::counters::{Counters, DropCause, LedgerSnapshot};
use api_log::ids::{Place, TraceId};
use api_log::index::{query, schema};
use api_log::jsonl::read;
use api_log::store::layout::Layout;
use serde_json::Value;
use tempfile::TempDir;

use super::traffic::{self, NUMBER};
use super::upstream::{Upstream, sha256};
use crate::faults::{self, Alone};
use crate::system::{Slots, System};

/// Far longer than anything takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(40);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) struct Rig {
    pub(super) upstream: Upstream,
    pub(super) layout: Layout,
    pub(super) counters: Arc<Counters>,
    pub(super) slots: Slots,
    pub(super) proxy: std::net::SocketAddr,
    pub(super) api: std::net::SocketAddr,
    http: reqwest::Client,
    system: Option<System>,
    settings: Vec<(String, String)>,
    /// Exchanges that were asked for, in all lives of the recorder and in this one.
    asked: u64,
    asked_before: u64,
    /// Whose answers are known beforehand.
    plain: Vec<std::ops::Range<u64>>,
    _dir: TempDir,
    _alone: Alone,
}

impl Rig {
    pub(super) async fn start() -> Rig {
        Rig::with(&[]).await
    }

    /// With these variables.
    pub(super) async fn with(more: &[(&str, &str)]) -> Rig {
        let alone = faults::alone().await;
        let upstream = Upstream::start().await;
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let mut settings: Vec<(String, String)> = [
            ("APILOG_PROXY_UPSTREAM", format!("http://{}", upstream.address)),
            ("APILOG_PROXY_LISTEN", "127.0.0.1:0".to_owned()),
            ("APILOG_API_LISTEN", "127.0.0.1:0".to_owned()),
            ("APILOG_STORAGE_DATA_DIR", data_dir.display().to_string()),
            // Goes with the test, however that ends.
            ("APILOG_CAPTURE_ARENA_DIR", dir.path().join("arenas").display().to_string()),
            ("APILOG_PROXY_LANES", "2".to_owned()),
            ("APILOG_VIEWER_ENABLED", "false".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        settings.retain(|(name, _)| more.iter().all(|(other, _)| name != other));
        settings.extend(more.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        let system = start(&settings).await;
        Rig {
            upstream,
            layout: Layout::new(data_dir),
            counters: system.counters.clone(),
            slots: system.slots.clone(),
            proxy: system.proxy_address,
            api: system.api_address,
            http: traffic::http_client(false),
            system: Some(system),
            settings,
            asked: 0,
            asked_before: 0,
            plain: Vec::new(),
            _dir: dir,
            _alone: alone,
        }
    }

    /// The plugins in force.
    pub(super) fn plugins(&self) -> Arc<api_log::plugin::set::Set> {
        self.system.as_ref().unwrap().plugins.in_force.pin()
    }

    /// Has clients ask so many things and get their answers.
    pub(super) async fn traffic(&mut self, exchanges: u64) {
        let numbers = self.expect_traffic(exchanges);
        traffic::run(self.proxy, numbers).await;
    }

    /// Says that the test itself will run so much traffic: of these numbers.
    pub(super) fn expect_traffic(&mut self, exchanges: u64) -> std::ops::Range<u64> {
        let first = self.expect(exchanges);
        self.plain.push(first..first + exchanges);
        first..first + exchanges
    }

    /// Says that so many exchanges will be made by the test itself; the first's number.
    pub(super) fn expect(&mut self, exchanges: u64) -> u64 {
        let first = self.asked;
        self.asked += exchanges;
        first
    }

    /// Has clients ask until the point has failed as often as it was armed for.
    pub(super) async fn traffic_until_struck(&mut self, point: &'static str) {
        for _ in 0..100 {
            if faults::left(point) == 0 {
                return;
            }
            self.traffic(40).await;
        }
        panic!("{point} was passed too rarely");
    }

    /// Ends the recorder in order; whether all was finished.
    pub(super) async fn drain(&mut self) -> bool {
        self.system.take().expect("it runs").drain().await
    }

    /// Sets a variable for the next start.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Starts it again over the same data dir.
    pub(super) async fn start_again(&mut self) {
        let system = start(&self.settings).await;
        (self.counters, self.slots) = (system.counters.clone(), system.slots.clone());
        (self.proxy, self.api) = (system.proxy_address, system.api_address);
        self.asked_before = self.asked;
        self.system = Some(system);
    }

    /// Takes the running recorder out of the rig, to be ended by the test.
    pub(super) fn take_system(&mut self) -> System {
        self.system.take().expect("it runs")
    }

    /// Waits until nothing is under way, and checks the books: every exchange accepted has one outcome, what is
    /// counted as recorded stands in the files, each exchange once and whole, and each line has its row.
    pub(super) async fn settled(&self) -> Ledger {
        let asked = self.asked - self.asked_before;
        until("every exchange to have its outcome", || {
            let seen = self.counters.ledger.snapshot();
            assert!(seen.balanced, "{seen:?}");
            if seen.accepted == asked && seen.in_flight == 0 { Ok(()) } else { Err(format!("{asked} asked, {seen:?}")) }
        })
        .await;
        let seen = self.check_files();
        self.rows_are_there().await;
        until("the folder of spooled bodies to be empty", || {
            let left = std::fs::read_dir(self.layout.tmp()).map_or(0, Iterator::count);
            if left == 0 { Ok(()) } else { Err(format!("{left} files")) }
        })
        .await;
        seen
    }

    /// Checks what the files hold against the books.
    pub(super) fn check_files(&self) -> Ledger {
        let seen = Ledger(self.counters.ledger.snapshot());
        assert!(seen.0.balanced && seen.0.in_flight == 0, "{seen:?}");
        assert_eq!(seen.0.accepted, seen.0.recorded + seen.0.filtered + seen.0.dropped.total(), "{seen:?}");
        assert_eq!(self.counters.appended.get(), seen.0.recorded);
        let lines = self.lines();
        let ids: BTreeSet<&str> = lines.iter().map(|line| line["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), lines.len(), "an id stands twice in the files");
        let numbers: BTreeSet<&str> = lines.iter().map(number_of).collect();
        assert_eq!(numbers.len(), lines.len(), "an exchange stands twice in the files");
        for line in &lines {
            if !line["bodies_dropped"].is_null() {
                assert!(line["resp"]["sha256"].is_null() && line["resp"]["body"].is_null(), "{line}");
                continue;
            }
            let number = number_of(line).parse().unwrap();
            if self.plain.iter().any(|it| it.contains(&number)) {
                let whole = sha256(traffic::expected(number).as_bytes());
                assert_eq!(line["resp"]["sha256"], whole, "what is recorded is what passed: {line}");
            }
        }
        if self.asked_before == 0 {
            assert_eq!(lines.len() as u64, seen.0.recorded);
            let marked = lines.iter().filter(|line| !line["bodies_dropped"].is_null()).count() as u64;
            assert_eq!(self.without_bodies(), marked, "each line without bodies is counted");
        }
        seen
    }

    /// How many traces were recorded without their bodies.
    pub(super) fn without_bodies(&self) -> u64 {
        let recording = self.counters.recording.snapshot();
        recording.bodies_dropped_disk_full + recording.bodies_dropped_disk_error + recording.over_budget
    }

    /// Waits until health tells of this condition, with a reason that holds `reason`; or, without one, of none.
    pub(super) async fn is_told(&self, condition: &str, reason: Option<&str>) {
        let mut seen = Value::Null;
        for _ in 0..DEADLINE.as_millis() / LOOK_EVERY.as_millis() {
            seen = self.health().await["degraded"].clone();
            let raised = seen.as_array().unwrap().iter().find(|it| it["condition"] == condition);
            let said = raised.map(|it| it["reason"].as_str().unwrap());
            match (said, reason) {
                (None, None) => return,
                (Some(said), Some(wanted)) if said.contains(wanted) => return,
                _ => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
        panic!("{condition} should be told with {reason:?}: {seen}");
    }

    /// Waits until nothing is under way, whatever became of it.
    pub(super) async fn is_quiet(&self) {
        let asked = self.asked - self.asked_before;
        until("every exchange to have its outcome", || {
            let seen = self.counters.ledger.snapshot();
            if seen.accepted == asked && seen.in_flight == 0 { Ok(()) } else { Err(format!("{asked} asked, {seen:?}")) }
        })
        .await;
    }

    /// Waits until the index has a row for each line.
    pub(super) async fn rows_are_there(&self) {
        let lines: BTreeSet<String> = self.lines().iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect();
        until("each line to have its row", || match self.rows() {
            Ok(rows) if rows == lines => Ok(()),
            Ok(rows) => Err(format!("{} lines, {} rows", lines.len(), rows.len())),
            Err(error) => Err(error),
        })
        .await;
    }

    /// Every line in the files.
    pub(super) fn lines(&self) -> Vec<Value> {
        let mut lines = Vec::new();
        for segment in self.layout.segments().unwrap() {
            let mut text = String::new();
            read::open_at(&self.layout, segment.id, 0).unwrap().0.read_to_string(&mut text).unwrap();
            assert!(text.is_empty() || text.ends_with('\n'), "{} is torn", segment.id);
            lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
        lines
    }

    /// The recorded line of each exchange.
    pub(super) fn by_number(&self) -> BTreeMap<u64, Value> {
        self.lines().into_iter().map(|line| (number_of(&line).parse().unwrap(), line)).collect()
    }

    /// The ids in the index.
    pub(super) fn rows(&self) -> Result<BTreeSet<String>, String> {
        read_ids(&self.layout.index())
    }

    /// Asks for a new index.
    pub(super) async fn rebuild_index(&self) {
        let token = std::fs::read_to_string(self.layout.token()).unwrap();
        let url = format!("http://{}/api/index/rebuild", self.api);
        let answer = self.http.post(&url).bearer_auth(token.trim()).send().await.unwrap();
        assert_eq!(answer.status(), 202);
    }

    /// Where the index says that each line is.
    pub(super) fn places(&self) -> Vec<(TraceId, Place)> {
        let index = schema::open_reader(&self.layout.index()).unwrap();
        let ids: Vec<TraceId> = self.rows().unwrap().iter().map(|id| id.parse().unwrap()).collect();
        ids.into_iter().map(|id| (id, query::place(&index, id).unwrap().unwrap())).collect()
    }

    /// Waits until the health document shows this condition no more.
    pub(super) async fn is_over(&self, condition: &str) {
        for _ in 0..DEADLINE.as_millis() / LOOK_EVERY.as_millis() {
            let health = self.health().await;
            if health["degraded"].as_array().unwrap().iter().all(|it| it["condition"] != condition) {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        panic!("{condition} is not over");
    }

    /// `GET /healthz`, asked again while nobody answers.
    pub(super) async fn health(&self) -> Value {
        let url = format!("http://{}/healthz", self.api);
        for _ in 0..DEADLINE.as_millis() / LOOK_EVERY.as_millis() {
            if let Ok(answer) = self.http.get(&url).send().await {
                assert_eq!(answer.status(), 200);
                return answer.json().await.unwrap();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        panic!("the API does not answer");
    }

    /// Waits until the health document shows so many restarts of a child that runs again, and checks the last error.
    pub(super) async fn shows_restarts(&self, child: &str, restarts: u64, error: &str) {
        for _ in 0..DEADLINE.as_millis() / LOOK_EVERY.as_millis() {
            let health = self.health().await;
            let seen = named(&health["supervision"]["children"], child);
            if seen["state"] == "running" && seen["restarts"].as_u64() >= Some(restarts) {
                assert_eq!(seen["restarts"], restarts, "{seen}");
                let last = seen["last_error"]["message"].as_str().unwrap_or_default();
                assert!(last.contains(error), "{seen}");
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        panic!("{child} was not restarted {restarts} times");
    }

    /// A bound in the health document.
    pub(super) async fn bound(&self, name: &str) -> Value {
        named(&self.health().await["bounds"], name)
    }

    /// A nursery in the health document.
    pub(super) async fn nursery(&self, name: &str) -> Value {
        named(&self.health().await["supervision"]["nurseries"], name)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // Its runtime cannot be ended where async code runs; a test that has not drained it is over.
        std::mem::forget(self.system.take());
    }
}

/// The books when nothing was under way.
#[derive(Debug)]
pub(super) struct Ledger(pub(super) LedgerSnapshot);

impl Ledger {
    /// Checks that everything was recorded.
    pub(super) fn lost_nothing(self) {
        assert_eq!(self.0.dropped.total(), 0, "{self:?}");
        assert_eq!(self.0.recorded, self.0.accepted, "{self:?}");
    }

    /// Checks that so many were dropped, all for this cause.
    pub(super) fn dropped_only(self, dropped: u64, cause: DropCause) {
        assert_eq!((self.0.dropped.total(), self.0.dropped.of(cause)), (dropped, dropped), "{self:?}");
    }
}

/// Waits until this is so.
pub(super) async fn until(what: &str, mut look: impl FnMut() -> Result<(), String>) {
    let began = std::time::Instant::now();
    loop {
        match look() {
            Ok(()) => return,
            Err(seen) => assert!(began.elapsed() < DEADLINE, "waited in vain for {what}: {seen}"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn start(settings: &[(String, String)]) -> System {
    let (config, warnings) = Config::load(None, settings.iter().cloned()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    System::start(&config).await.unwrap()
}

fn number_of(line: &Value) -> &str {
    line["req"]["headers"][NUMBER].as_str().unwrap_or_else(|| panic!("{line}"))
}

fn named(list: &Value, name: &str) -> Value {
    list.as_array().unwrap().iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
}

fn read_ids(index: &Path) -> Result<BTreeSet<String>, String> {
    let connection = schema::open_reader(index).map_err(|error| error.to_string())?;
    let read = || -> rusqlite::Result<BTreeSet<String>> {
        connection.prepare("SELECT id FROM rows")?.query_map([], |row| row.get(0))?.collect()
    };
    read().map_err(|error| error.to_string())
}
