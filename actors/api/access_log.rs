//! Who read what: lines wait here, off the request's path, until the access log's writer has appended them.
//!
//! What waits is bounded in number and bytes. A line that finds no room is counted and left out; one that waits is lost
//! only if the recorder ends while the disk refuses, and is counted then.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api_log::access::entry::Entry;
use api_log::access::rotated::Rotated;
use api_log::config::{AccessLog as Place, Api};
use api_log::store::layout::Layout;
use parking_lot::Mutex;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use schemars::JsonSchema;
use serde::Serialize;

use crate::kit::{BoundReport, Budget, ChildHealth, Condition, Permit, Registry, Slot};
use crate::record::Queue;

/// What may wait, in lines and bytes.
const MOST_LINES: usize = 8192;
const MOST_BYTES: u64 = 4 << 20;
/// Bytes that are appended in one write, or so.
const BATCH: usize = 64 * 1024;
/// How often to look though nobody woke it, and how soon to try a disk again that refused.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How the access log fares.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AccessLogHealth")]
pub(super) struct Report {
    /// Whether there is one.
    enabled: bool,
    /// Lines that stand in the file.
    written: u64,
    /// Lines that do not, though they should.
    dropped: u64,
}

/// The lines that wait, and where they go.
pub(crate) struct AccessLog {
    is_on: bool,
    queue: Queue<Waiting>,
    room: Budget,
    /// Locked by whoever writes, who may wait for the disk.
    writing: Mutex<Writing>,
    written: AtomicU64,
    not_written: AtomicU64,
    failing: Condition,
}

/// A line, and its share of the room.
struct Waiting {
    line: Vec<u8>,
    _permit: Permit,
}

struct Writing {
    file: Rotated,
    /// What was taken from the queue and does not stand in the file yet. It outlives who took it.
    batch: VecDeque<Waiting>,
}

/// What came of a look at the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrote {
    /// Nothing waits.
    Nothing,
    /// Some lines; there may be more.
    Some,
    /// The disk refuses, or keeps somebody who writes.
    Refused,
}

impl AccessLog {
    /// As it is configured.
    pub(crate) fn new(config: &Api, layout: &Layout, slot: &Slot<Msg>, registry: &Registry) -> Arc<AccessLog> {
        let path = match &config.access_log {
            Place::Off | Place::InDataDir => layout.access_log(),
            Place::At(path) => path.clone(),
        };
        let log = Arc::new(AccessLog {
            is_on: config.access_log != Place::Off,
            queue: Queue::to(slot, || Msg::Look),
            room: Budget::new(MOST_BYTES, MOST_LINES),
            writing: Mutex::new(Writing {
                file: Rotated::new(path, config.access_log_bytes, config.access_log_files),
                batch: VecDeque::new(),
            }),
            written: AtomicU64::new(0),
            not_written: AtomicU64::new(0),
            failing: registry.condition("access_log"),
        });
        let seen = log.clone();
        registry.show_bound("access_log", move |name| {
            let room = seen.room.report();
            BoundReport::new(name)
                .count(room.used_count, room.high_water_count, Some(room.max_count))
                .bytes(room.used_bytes, room.high_water_bytes, Some(room.max_bytes))
                .dropped("queue_full", room.refused)
                .dropped("not_written", seen.not_written.load(Ordering::Relaxed))
        });
        log
    }

    /// Whether anything is written down.
    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Leaves a line to be written. Never waits.
    pub(super) fn note(&self, entry: &Entry<'_>) {
        let line = entry.line();
        // No room: counted by the budget.
        if let Some(permit) = self.room.try_take(line.len() as u64) {
            self.queue.push(Waiting { line, _permit: permit });
        }
    }

    /// Its part of the health document.
    pub(super) fn report(&self) -> Report {
        let dropped = self.room.report().refused + self.not_written.load(Ordering::Relaxed);
        Report { enabled: self.is_on, written: self.written(), dropped }
    }

    /// Lines that stand in the file.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn has_lines(&self) -> bool {
        self.room.report().used_count > 0
    }

    /// Appends some of what waits (blocking).
    fn write_some(&self) -> Wrote {
        // A thread of a predecessor that the disk keeps.
        let Some(mut writing) = self.writing.try_lock() else { return Wrote::Refused };
        let Writing { file, batch } = &mut *writing;
        // No more than fits into a file of its own, but a line at least.
        let most = BATCH.min(usize::try_from(file.most_bytes()).unwrap_or(BATCH));
        let (mut bytes, mut lines) = (Vec::new(), 0);
        loop {
            if lines == batch.len() {
                let Some(next) = self.queue.pop() else { break };
                batch.push_back(next);
            }
            let Waiting { line, .. } = &batch[lines];
            if lines > 0 && bytes.len() + line.len() > most {
                break;
            }
            bytes.extend_from_slice(line);
            lines += 1;
        }
        if lines == 0 {
            return Wrote::Nothing;
        }
        match fault!(io "access_log.write").and_then(|()| file.append(&bytes)) {
            Ok(()) => {
                self.written.fetch_add(lines as u64, Ordering::Relaxed);
                batch.drain(..lines);
                if self.failing.clear() {
                    tracing::info!("the access log is written again");
                }
                Wrote::Some
            }
            Err(error) => {
                let path = file.path().display();
                if self.failing.raise(format!("{path} cannot be written: {error}; lines wait, then are left out")) {
                    tracing::error!(%path, %error, "the access log cannot be written; requests are answered all the same");
                }
                Wrote::Refused
            }
        }
    }

    /// The recorder ends: what still waits is lost.
    fn give_up(&self) {
        let Some(mut writing) = self.writing.try_lock() else { return };
        let mut lost = std::mem::take(&mut writing.batch).len() as u64;
        while self.queue.pop().is_some() {
            lost += 1;
        }
        if lost > 0 {
            self.not_written.fetch_add(lost, Ordering::Relaxed);
            tracing::error!(lost, "lines of the access log are lost: the disk refuses them");
        }
    }
}

/// The access log's writer: owns nothing, for what waits and the open file outlive it. A crash costs a moment.
pub(crate) struct AccessWriter;

pub(crate) enum Msg {
    /// Something may wait.
    Look,
}

#[derive(Clone)]
pub(crate) struct Args {
    pub(crate) log: Arc<AccessLog>,
    pub(crate) health: Arc<ChildHealth>,
}

impl Actor for AccessWriter {
    type Msg = Msg;
    type State = Args;
    type Arguments = Args;

    async fn pre_start(&self, myself: ActorRef<Msg>, args: Args) -> Result<Args, ActorProcessingErr> {
        if args.log.is_on {
            myself.cast(Msg::Look)?;
            myself.send_interval(LOOK_EVERY, || Msg::Look);
        }
        Ok(args)
    }

    async fn handle(&self, _: ActorRef<Msg>, msg: Msg, state: &mut Args) -> Result<(), ActorProcessingErr> {
        match msg {
            Msg::Look if state.log.has_lines() => {
                let _under_way = state.health.begin();
                fault!(await "access_log");
                loop {
                    match state.write_some().await? {
                        Wrote::Some => state.health.progressed(),
                        Wrote::Nothing if state.log.queue.sleep() => break,
                        Wrote::Nothing => {}
                        // Until the next look.
                        Wrote::Refused => break,
                    }
                }
            }
            Msg::Look => drop(state.log.queue.sleep()),
        }
        Ok(())
    }

    /// Drained: the API, whose answers leave lines, has ended before.
    async fn post_stop(&self, _: ActorRef<Msg>, state: &mut Args) -> Result<(), ActorProcessingErr> {
        while state.write_some().await? == Wrote::Some {}
        state.log.give_up();
        Ok(())
    }
}

impl Args {
    async fn write_some(&self) -> Result<Wrote, tokio::task::JoinError> {
        let log = self.log.clone();
        tokio::task::spawn_blocking(move || log.write_some()).await
    }
}

#[cfg(test)]
mod tests {
    use api_log::config::Config;
    use api_log::ids::UnixMillis;

    use serde_json::{Value, json};

    use super::*;

    fn entry(query: &str) -> Entry<'_> {
        Entry {
            at: UnixMillis(0),
            token: "t",
            scope: "viewer",
            client: "c",
            method: "GET",
            route: "/api/traces",
            trace: None,
            query: Some(query),
            status: 200,
            bytes: 1,
            ms: 1,
            whole: true,
        }
    }

    #[test]
    fn a_refused_line_waits_and_one_without_room_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let config = Api { access_log: Place::InDataDir, ..Config::default().api };
        let registry = Registry::new();
        let log = AccessLog::new(&config, &layout, &Slot::default(), &registry);
        // Whatever is in the way.
        std::fs::create_dir(layout.access_log()).unwrap();
        for number in 0..MOST_LINES + 5 {
            log.note(&entry(&number.to_string()));
        }
        assert_eq!(log.write_some(), Wrote::Refused);
        let raised = registry.conditions().into_iter().find(|(name, _)| *name == "access_log");
        assert_eq!(raised, Some(("access_log", true)));
        assert_eq!(json!(log.report()), json!({"enabled": true, "written": 0, "dropped": 5}));
        std::fs::remove_dir(layout.access_log()).unwrap();
        while log.write_some() == Wrote::Some {}
        assert_eq!(json!(log.report()), json!({"enabled": true, "written": MOST_LINES, "dropped": 5}));
        let is_raised = |(name, raised)| name == "access_log" && raised;
        assert!(!registry.conditions().into_iter().any(is_raised));
        let text = std::fs::read_to_string(layout.access_log()).unwrap();
        let queries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["query"].clone());
        assert!(queries.eq((0..MOST_LINES).map(|it| Value::String(it.to_string()))), "in order, each once");
        log.note(&entry("late"));
        log.give_up();
        assert_eq!(log.report().dropped, 6);
    }
}
