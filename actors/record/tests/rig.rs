//! A recorder on free ports over a data dir of its own, and what must hold when it has settled.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api_log::config::Config;
use api_log::counters::Counters;
use api_log::index::query::{self, TraceRow};
use api_log::index::schema;
use api_log::jsonl::line::read_row;
use api_log::jsonl::read;
use api_log::store::layout::{Form, Layout};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

use super::peer::Peer;
use crate::faults::{self, Alone};
use crate::mock;
use crate::system::System;

/// Far longer than anything takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(40);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) struct Rig {
    pub(super) proxy: SocketAddr,
    pub(super) counters: Arc<Counters>,
    layout: Layout,
    system: Option<System>,
    upstream: TcpListener,
    /// Ends when it is dropped.
    _mock: Option<Box<dyn Any>>,
    _dir: TempDir,
    _alone: Alone,
}

/// A trace as recorded: its line and its row.
pub(super) struct Recorded {
    pub(super) line: Value,
    pub(super) row: TraceRow,
}

impl Rig {
    /// In front of an upstream that the test plays.
    pub(super) async fn start(settings: &[(&str, &str)]) -> Rig {
        let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = upstream.local_addr().unwrap();
        Rig::over(address, upstream, None, settings).await
    }

    /// In front of the mock gateway.
    pub(super) async fn with_mock() -> Rig {
        let mock = mock::start(&"127.0.0.1:0".parse().unwrap(), mock::Options::default()).await.unwrap();
        let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Rig::over(mock.address(), unused, Some(Box::new(mock)), &[]).await
    }

    async fn over(
        address: SocketAddr,
        upstream: TcpListener,
        mock: Option<Box<dyn Any>>,
        settings: &[(&str, &str)],
    ) -> Rig {
        let alone = faults::alone().await;
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let given = [
            ("APILOG_PROXY_UPSTREAM", format!("http://{address}")),
            ("APILOG_PROXY_LISTEN", "127.0.0.1:0".to_owned()),
            ("APILOG_API_LISTEN", "127.0.0.1:0".to_owned()),
            ("APILOG_STORAGE_DATA_DIR", data_dir.display().to_string()),
            // Goes with the test, however that ends.
            ("APILOG_CAPTURE_ARENA_DIR", dir.path().join("arenas").display().to_string()),
            ("APILOG_PROXY_LANES", "1".to_owned()),
        ];
        let given = given.into_iter().chain(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let (config, _) = Config::load(None, given.map(|(name, value)| (name.to_owned(), value))).unwrap();
        let system = System::start(&config).await.unwrap();
        Rig {
            proxy: system.proxy_address,
            counters: system.counters.clone(),
            layout: Layout::new(data_dir),
            system: Some(system),
            upstream,
            _mock: mock,
            _dir: dir,
            _alone: alone,
        }
    }

    /// Both ends of a socket through the recorder.
    pub(super) async fn open(&self, target: &str, extensions: &str) -> (Peer, Peer) {
        let server = async { Peer::accept(self.accept().await, extensions).await };
        tokio::join!(Peer::connect(self.proxy, target, extensions), server)
    }

    /// The next connection that the upstream gets.
    pub(super) async fn accept(&self) -> TcpStream {
        self.upstream.accept().await.unwrap().0
    }

    /// Waits until so many traces are recorded, and gives them in order. Checks for each that its line stands where
    /// its row says and gives the same row when read back, and that the books balance.
    pub(super) async fn recorded(&self, count: usize) -> Vec<Recorded> {
        let began = Instant::now();
        loop {
            let seen = self.counters.ledger.snapshot();
            assert!(seen.balanced, "{seen:?}");
            let lines = self.lines();
            assert!(lines.len() <= count, "too many traces: {lines:#?}");
            if lines.len() == count
                && let Some(rows) = lines.iter().map(|line| self.row(line)).collect::<Option<Vec<_>>>()
            {
                return lines.into_iter().zip(rows).map(|(line, row)| Recorded { line, row }).collect();
            }
            assert!(began.elapsed() < DEADLINE, "waited in vain for {count} traces: {seen:?}, {lines:#?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends the recorder in order and checks that everything accepted has been recorded.
    pub(super) async fn drain(&mut self) {
        let system = self.system.take().unwrap();
        assert!(system.drain().await);
        let seen = self.counters.ledger.snapshot();
        assert!(seen.balanced && seen.in_flight == 0, "{seen:?}");
        assert_eq!((seen.recorded, seen.dropped.total()), (seen.accepted, 0), "{seen:?}");
        assert_eq!(self.lines().len() as u64, seen.recorded);
    }

    fn row(&self, line: &Value) -> Option<TraceRow> {
        let id = line["id"].as_str().unwrap().parse().unwrap();
        let index = schema::open_reader(&self.layout.index()).ok()?;
        let row = query::get(&index, id).ok()??;
        let text = read::line(&self.layout, row.place().unwrap(), id).unwrap();
        let read_back = read_row(&text).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), *line);
        assert_eq!((&row.model, row.total_tokens), (&read_back.model, read_back.usage.total));
        assert_eq!((row.end.as_str(), row.resp_bytes), (read_back.end.name(), read_back.resp_bytes));
        Some(row)
    }

    fn lines(&self) -> Vec<Value> {
        let mut lines = Vec::new();
        for segment in self.layout.segments().unwrap_or_default() {
            let text = std::fs::read_to_string(self.layout.segment(segment.id, Form::Plain)).unwrap();
            // A line that is being written has no newline yet.
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            lines.extend(whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
        lines.sort_by_key(|line| line["id"].as_str().unwrap().to_owned());
        lines
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // Its runtime cannot be ended where async code runs; a test that has not drained it is over.
        std::mem::forget(self.system.take());
    }
}
