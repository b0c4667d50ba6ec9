//! Each row of the supervision table dies under traffic, and is held to what the table says that costs.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::books::{self, Line};
use crate::collector::attribute;
use crate::readers::plugins;
use crate::recorder::DataDir;
use crate::stand::{Stand, VIEWER, until};
use crate::traffic::{Kind, Outcome, Sent, Traffic};
use crate::variable;

const SETTINGS: &[(&str, &str)] =
    &[("CAPTURE_SPILL_BYTES", "32KiB"), ("STORAGE_SEGMENT_BYTES", "1MiB"), ("API_ACCESS_LOG", "true")];
/// It looks often, so that it is told to die often, and kills nobody who is only slow.
const WATCHDOG: &str = "100ms 60s 1h";
/// How often each dies.
const TIMES: u64 = 3;
/// The disk is full for two writes.
const FULL: &str = "writer.refused io error=enospc times=2";
/// Lines of a day that is older than what is kept.
const OLD: i32 = 500;
const OLD_LINES: usize = 20;

/// A row of the table, and what it is held to.
struct Row {
    /// Its name in the table, which for many children is that of their nursery.
    name: &'static str,
    is_nursery: bool,
    /// Where it dies, and how.
    point: &'static str,
    how: &'static str,
    /// Another fault meanwhile.
    beside: &'static str,
    /// What makes it pass the point.
    nudge: fn(&Stand, &mut Traffic),
    /// What its crashes cost, beside that no client notices, nothing is lost and nothing stands twice.
    costs: fn(&Stand),
}

const ROWS: &[Row] = &[
    Row { name: "index", point: "index", costs: nothing_is_raw, ..ROW },
    Row { name: "disk", point: "disk", beside: FULL, nudge: connect_anew, costs: the_trouble_is_over, ..ROW },
    Row { name: "writers", point: "writers", costs: nothing_is_raw, ..ROW },
    Row { name: "writers", is_nursery: true, point: "writer", costs: nothing_is_raw, ..ROW },
    Row { name: "writers", is_nursery: true, point: "writer.appended", costs: nothing_is_raw, ..ROW },
    Row { name: "otlp", point: "otlp", costs: each_line_is_a_span, ..ROW },
    Row { name: "otlp", point: "otlp.send", costs: each_line_is_a_span, ..ROW },
    Row { name: "sweeper", point: "sweeper", nudge: set_retention, costs: the_old_day_is_gone, ..ROW },
    Row { name: "sealer", point: "sealer", nudge: fill_a_segment, costs: segments_are_sealed, ..ROW },
    Row { name: "sealer", point: "sealer.written", nudge: fill_a_segment, costs: segments_are_sealed, ..ROW },
    Row { name: "arena", point: "arena", costs: nothing_is_raw, ..ROW },
    Row { name: "spool", point: "spool", nudge: send_a_large_body, costs: nothing_is_raw, ..ROW },
    Row { name: "sockets", point: "sockets", costs: nothing_is_raw, ..ROW },
    Row { name: "sockets", is_nursery: true, point: "socket", costs: sockets_are_cut, ..ROW },
    Row { name: "finalizers", point: "finalizers", costs: nothing_is_raw, ..ROW },
    Row { name: "finalizers", point: "finalizers.took", costs: nothing_is_raw, ..ROW },
    Row { name: "finalizers", is_nursery: true, point: "finalizer", costs: as_many_are_raw, ..ROW },
    Row { name: "plugins", point: "plugins", nudge: set_plugins, costs: plugins_can_be_set, ..ROW },
    Row { name: "plugins", point: "plugins.persisted", nudge: set_plugins, costs: plugins_can_be_set, ..ROW },
    Row { name: "access_log", point: "access_log", nudge: ask_the_api, costs: what_was_read_is_written_down, ..ROW },
    Row {
        name: "access_log",
        point: "access_log.write",
        nudge: ask_the_api,
        costs: what_was_read_is_written_down,
        ..ROW
    },
    Row { name: "viewer", point: "viewer", costs: the_viewer_is_served, ..ROW },
    Row { name: "api", point: "api.accept", nudge: ask_the_api, costs: nothing_is_raw, ..ROW },
    Row { name: "listener", point: "listener", costs: nothing_is_raw, ..ROW },
    Row { name: "listener", point: "listener.accept", costs: nothing_is_raw, ..ROW },
    Row { name: "connections", is_nursery: true, point: "connection", how: "fail", costs: nothing_is_raw, ..ROW },
    Row { name: "watchdog", point: "watchdog", costs: it_looks_on, ..ROW },
];

/// What most of them have in common.
const ROW: Row = Row {
    name: "",
    is_nursery: false,
    point: "",
    how: "panic",
    beside: "",
    nudge: connect_anew,
    costs: nothing_is_raw,
};

#[test]
fn each_row_dies_under_traffic_and_costs_what_the_table_says() {
    let only: Option<String> = variable("CHAOS_ROW");
    let rows: Vec<&Row> = ROWS.iter().filter(|it| only.as_ref().is_none_or(|only| it.name == only)).collect();
    assert!(!rows.is_empty(), "no row is called {only:?}");
    // Some at once: most of their time is waiting.
    for some in rows.chunks(4) {
        std::thread::scope(|scope| {
            let dying = some.iter().map(|row| scope.spawn(|| row.dies())).collect::<Vec<_>>();
            for (row, died) in some.iter().zip(dying) {
                assert!(died.join().is_ok(), "{} at {}", row.name, row.point);
            }
        });
    }
}

/// Every row of the document is killed here, or in [`recovery_dies_and_recovers_all_the_same`].
#[test]
fn the_table_in_the_document_is_the_one_that_is_tried() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/ARCHITECTURE.md")).unwrap();
    let (_, table) = text.split_once("| Row | Owns |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    for row in rows {
        let name = row.trim_start_matches(['|', ' ', '·']).split([' ', ',', '|']).next().unwrap();
        let is_tried = ROWS.iter().any(|it| match it.is_nursery {
            true => it.point.split('.').next() == Some(name),
            false => it.name == name,
        });
        assert!(is_tried || name == "recovery", "nobody kills {name}");
    }
}

impl Row {
    fn dies(&self) {
        let data_dir = DataDir::new();
        books::plant(data_dir.path(), OLD, OLD_LINES);
        let mut stand = Stand::on(data_dir, SETTINGS, WATCHDOG, "");
        let mut traffic = Traffic::start(stand.recorder.proxy, 7, 0, 4, 1, Duration::from_millis(20));
        begun(&traffic, 20);
        stand.arm(&format!("{} {} times={TIMES}\n{}", self.point, self.how, self.beside));
        until(self.point, || {
            (self.nudge)(&stand, &mut traffic);
            let struck = stand.struck(self.point);
            if struck == TIMES { Ok(()) } else { Err(format!("struck {struck} times")) }
        });
        let more = traffic.begun() + 20;
        begun(&traffic, more);
        let outcome = traffic.stop();
        stand.settled();
        self.is_told(&stand);
        (self.costs)(&stand);
        stand.indexed();
        stand.end();
        nothing_is_lost(&stand, &outcome, if self.point == "socket" { TIMES } else { 0 });
    }

    /// Health tells how often it died, and that it runs again.
    fn is_told(&self, stand: &Stand) {
        if self.is_nursery {
            return assert!(stand.nursery(self.name)["failed"].as_u64() >= Some(TIMES), "{}", self.point);
        }
        let row = until("it runs again", || {
            let row = stand.row(self.name);
            let is_back = row["state"] == "running" && row["restarts"].as_u64() >= Some(TIMES);
            if is_back { Ok(row) } else { Err(row.to_string()) }
        });
        // The sealer's thread is no actor, and its panic is told in other words.
        let said = row["last_error"]["message"].as_str().unwrap();
        assert!(said.contains(self.point) || said.contains("the thread that seals panicked"), "{row}");
    }
}

/// Captures of a life that was cut short are recorded once each, however often recovery dies.
#[test]
fn recovery_dies_and_recovers_all_the_same() {
    let mut stand = Stand::new(SETTINGS, WATCHDOG, "finalizers hang for=1h");
    let mut traffic = Traffic::start(stand.recorder.proxy, 7, 0, 0, 0, Duration::ZERO);
    for kind in [Kind::Chat, Kind::Stream, Kind::Upload, Kind::Large] {
        traffic.send(kind, 6);
    }
    let first = traffic.stop();
    // A client has its answer a moment before the recorder has noted how the exchange ended.
    until("every exchange has ended", || {
        let ended = stand.bound("ended_exchanges") + stand.bound("held_traces");
        if ended == first.sent.len() as u64 { Ok(()) } else { Err(ended.to_string()) }
    });
    stand.kill();
    stand.start_again(&format!("recovery panic times={TIMES}\n"));
    let mut traffic = Traffic::start(stand.recorder.proxy, 7, first.sent.len() as u64, 2, 0, Duration::ZERO);
    // Not until nothing is under way: with clients that never pause there may be no such moment.
    let health = stand.recovered();
    assert_eq!(health["recording"]["recovered"], first.sent.len(), "{health}");
    traffic.send(Kind::Chat, 1);
    let second = traffic.stop();
    assert!(stand.row("recovery")["restarts"].as_u64() >= Some(TIMES), "{}", stand.row("recovery"));
    stand.settled();
    stand.indexed();
    stand.end();
    let complaints = [first.complaints, second.complaints].concat();
    nothing_is_lost(&stand, &Outcome { sent: [first.sent, second.sent].concat(), complaints }, 0);
}

/// A start on threads that are blocked does not end; the other rows are looked after meanwhile.
#[test]
fn the_listener_is_started_again_while_recording_is_blocked() {
    let stand = Stand::new(SETTINGS, WATCHDOG, "sockets panic");
    let mut traffic = Traffic::start(stand.recorder.proxy, 7, 0, 0, 1, Duration::from_millis(20));
    // By now it rests a second between two starts, so that threads are blocked while it does.
    until(
        "sockets die",
        || if stand.struck("sockets") > 8 { Ok(()) } else { Err(stand.struck("sockets").to_string()) },
    );
    stand.arm("sockets panic\nwriter block for=1h\n");
    let sockets = until("a start on a blocked thread", || {
        traffic.send(Kind::Chat, 1);
        let (row, blocked) = (stand.row("sockets"), stand.struck("writer"));
        if row["state"] == "starting" && blocked > 0 { Ok(row) } else { Err(format!("{row} {blocked}")) }
    });
    stand.arm("sockets panic\nwriter block for=1h\nlistener.accept panic times=1\n");
    until("the listener is there again", || {
        traffic.send(Kind::Chat, 1);
        let row = stand.row("listener");
        if row["state"] == "running" && row["restarts"] == 1 { Ok(()) } else { Err(row.to_string()) }
    });
    assert_eq!(stand.row("sockets")["restarts"], sockets["restarts"], "it is the same start");
    let complaints = traffic.stop().complaints;
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// Every exchange stands once in the files, and in the index; at most so many sockets were not read whole.
pub(crate) fn nothing_is_lost(stand: &Stand, outcome: &Outcome, failed_sockets: u64) {
    let Outcome { sent, complaints } = outcome;
    assert!(complaints.is_empty(), "clients noticed: {complaints:#?}");
    let lines = books::lines(stand.data_dir.path());
    let ours: Vec<&Line> = lines.iter().filter(|it| it.number.is_some()).collect();
    let compared = books::compare(&ours, sent, None);
    assert_eq!((compared.missing, compared.missing_turns), (0, 0), "{compared:?}");
    assert!(compared.failed_sockets <= failed_sockets, "{compared:?}");
    let sockets: Vec<&Sent> = sent.iter().filter(|it| it.kind == Kind::Socket).collect();
    for socket in sockets {
        assert!(ours.iter().any(|it| it.number == Some(socket.number)), "nothing of {socket:?}");
    }
    let ids = lines.iter().map(|it| it.id.clone()).collect();
    assert_eq!(books::rows(stand.data_dir.path()), ids, "the index holds what the files hold");
}

/// Waits until so many exchanges were begun.
fn begun(traffic: &Traffic, wanted: u64) {
    until("some exchanges", || if traffic.begun() >= wanted { Ok(()) } else { Err(traffic.begun().to_string()) });
}

fn incidents(stand: &Stand) -> Value {
    stand.health()["recording"].clone()
}

/// Most clients keep their connections.
fn connect_anew(_: &Stand, traffic: &mut Traffic) {
    traffic.send(Kind::Chat, 1);
}

fn set_retention(stand: &Stand, _: &mut Traffic) {
    let (status, text) = stand.ask("PUT", "/api/config/retention", "{\"max_age_days\": 100}").unwrap();
    assert_eq!(status, 200, "{text}");
}

/// Who asked for a change that was under way has no answer, or a refusal.
fn set_plugins(stand: &Stand, _: &mut Traffic) {
    let _ = stand.ask("PUT", "/api/config/plugins", &plugins(1));
}

/// The registry that was started again takes a change, and says so.
fn plugins_can_be_set(stand: &Stand) {
    nothing_is_raw(stand);
    let (status, text) = stand.ask("PUT", "/api/config/plugins", &plugins(2)).unwrap();
    assert_eq!(status, 200, "{text}");
    let (_, list) = stand.ask("GET", "/api/config/plugins", "").unwrap();
    assert!(list.contains("\"l2\""), "{list}");
}

fn fill_a_segment(_: &Stand, traffic: &mut Traffic) {
    traffic.send(Kind::Upload, 8);
}

fn send_a_large_body(_: &Stand, traffic: &mut Traffic) {
    traffic.send(Kind::Upload, 1);
}

/// Whose reply was under way when its actor died gets none.
fn ask_the_api(stand: &Stand, _: &mut Traffic) {
    let _ = stand.ask("GET", "/api/traces", "");
}

/// Each answer has one line, whoever died before it was written.
fn what_was_read_is_written_down(stand: &Stand) {
    nothing_is_raw(stand);
    let (status, text) = stand.ask("GET", "/api/traces?limit=7", "").unwrap();
    assert_eq!(status, 200, "{text}");
    let log = stand.data_dir.path().join("access.jsonl");
    let written = until("the last answer's line", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        if text.ends_with('\n') && text.contains("\"limit=7\"") { Ok(text) } else { Err(text) }
    });
    let lines = written.lines().map(serde_json::from_str::<Value>).collect::<Result<Vec<_>, _>>().unwrap().len();
    until("the count of lines", || match &stand.health()["api"]["access_log"] {
        told if told["written"] == lines && told["dropped"] == 0 => Ok(()),
        told => Err(format!("{told}, and {lines} lines")),
    });
}

/// What was under way is sent by the next one; a span may come twice, as the same.
fn each_line_is_a_span(stand: &Stand) {
    nothing_is_raw(stand);
    let recorded = until("all spans are sent", || match &stand.health() {
        told if told["otlp"]["exported"] == told["ledger"]["recorded"] => Ok(told["ledger"]["recorded"].clone()),
        told => Err(told["otlp"].to_string()),
    });
    let ids: BTreeSet<String> =
        stand.collector.spans().iter().map(|it| attribute(it, "api_log.trace.id").unwrap()).collect();
    assert_eq!(ids.len() as u64, recorded);
}

fn nothing_is_raw(stand: &Stand) {
    let incidents = incidents(stand);
    for name in ["finalized_raw", "torn_lines", "append_errors", "sync_errors", "socket_readers_failed", "seal_errors"]
    {
        assert_eq!(incidents[name], 0, "{name}: {incidents}");
    }
}

fn as_many_are_raw(stand: &Stand) {
    let incidents = incidents(stand);
    assert_eq!((&incidents["finalized_raw"], &incidents["torn_lines"]), (&TIMES.into(), &0.into()), "{incidents}");
}

fn sockets_are_cut(stand: &Stand) {
    let incidents = incidents(stand);
    assert_eq!((&incidents["socket_readers_failed"], &incidents["finalized_raw"]), (&TIMES.into(), &0.into()));
}

/// The disk had refused a few lines; that this is over was seen by one that was started again.
fn the_trouble_is_over(stand: &Stand) {
    assert_eq!(stand.struck("writer.refused"), 2);
    until("the disk is trusted again", || match &stand.health()["degraded"] {
        degraded if degraded.as_array().unwrap().is_empty() => Ok(()),
        degraded => Err(degraded.to_string()),
    });
}

fn the_old_day_is_gone(stand: &Stand) {
    until("the old day is deleted", || match &stand.health()["counters"]["evicted_traces"] {
        evicted if *evicted == OLD_LINES => Ok(()),
        evicted => Err(evicted.to_string()),
    });
}

/// The planted day is one of them.
fn segments_are_sealed(stand: &Stand) {
    until("segments are sealed", || match &stand.health()["recording"]["sealed_segments"] {
        sealed if sealed.as_u64() > Some(1) => Ok(()),
        sealed => Err(sealed.to_string()),
    });
}

/// What was served is served on.
fn the_viewer_is_served(stand: &Stand) {
    nothing_is_raw(stand);
    assert_eq!(stand.health()["viewer"]["source"], "local");
    assert_eq!(stand.ask("GET", "/viewer/", ""), Some((200, VIEWER.to_owned())));
}

/// The one that was started again looks on.
fn it_looks_on(stand: &Stand) {
    nothing_is_raw(stand);
    let before = stand.seen()["watchdog"].0;
    until("looks", || match stand.seen()["watchdog"].0 {
        passed if passed > before + 2 => Ok(()),
        passed => Err(format!("{before} then {passed}")),
    });
}
