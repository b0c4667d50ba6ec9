//! What stands in the files, held against what clients had.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io::BufRead;
use std::path::Path;
use std::time::Instant;

use api_log::ids::{BucketId, Date, SegmentId, ShortKey, UnixMillis};
use api_log::index::schema;
use api_log::jsonl::read;
use api_log::store::layout::{Form, Layout};
use serde_json::{Value, json};

use crate::traffic::{Kind, Sent};

/// What is kept of a line to check it.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) id: String,
    /// Which exchange it is of; `None` for those that were there before.
    pub(crate) number: Option<u64>,
    end: String,
    status: i64,
    request: Option<String>,
    answer: Option<String>,
    /// Without bodies, or with some that end early.
    is_cut: bool,
    /// Of a piece of a socket.
    turn: Option<u64>,
    is_piece: bool,
    /// Its bytes were not read, or some were missed.
    is_unread: bool,
}

/// Every line in the files, sealed or not.
pub(crate) fn lines(data_dir: &Path) -> Vec<Line> {
    let layout = Layout::new(data_dir);
    let mut lines = Vec::new();
    for segment in layout.segments().unwrap() {
        let (reader, _) = read::open_at(&layout, segment.id, 0).unwrap();
        let mut reader = std::io::BufReader::new(reader);
        let mut text = String::new();
        while reader.read_line(&mut text).unwrap() > 0 {
            // A torn last line is nobody's; it is cut when its segment is next opened.
            if text.ends_with('\n') {
                lines.push(Line::of(&serde_json::from_str(&text).unwrap()));
            }
            text.clear();
        }
    }
    lines
}

impl Line {
    fn of(line: &Value) -> Line {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let ws = &line["ws"];
        Line {
            id: text(&line["id"]).unwrap(),
            number: line["req"]["headers"]["x-number"].as_str().and_then(|it| it.parse().ok()),
            end: text(&line["end"]).unwrap(),
            status: line["status"].as_i64().unwrap(),
            request: text(&line["req"]["sha256"]),
            answer: text(&line["resp"]["sha256"]),
            is_cut: line["truncated_req"] == true
                || line["truncated_resp"] == true
                || !line["bodies_dropped"].is_null(),
            turn: ws["turn"].as_u64(),
            is_piece: ws.is_object(),
            is_unread: !ws["unread"].is_null() || has_missed(ws),
        }
    }
}

/// Whether the memory of captures had no room for something that passed.
fn has_missed(ws: &Value) -> bool {
    let missed = |side: &str| ws[side]["missed_bytes"].as_u64().is_some_and(|it| it > 0);
    ["client_total", "server_total"].iter().any(|it| missed(it))
}

/// The ids in the index.
pub(crate) fn rows(data_dir: &Path) -> BTreeSet<String> {
    let index = schema::open_reader(&Layout::new(data_dir).index()).unwrap();
    let mut query = index.prepare("SELECT id FROM rows").unwrap();
    query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// How the files compare with what was sent.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Exchanges recorded, sockets left out.
    pub(crate) recorded: u64,
    /// Exchanges that were delivered or at least begun, and have no line.
    pub(crate) missing: u64,
    /// Of them, delivered.
    pub(crate) missing_delivered: u64,
    /// Recorded with less than all of their bodies.
    pub(crate) cut: u64,
    /// Recorded with all that the client had, but not how it ended: a kill came before the recorder noted that.
    pub(crate) unended: u64,
    /// Pieces of sockets recorded.
    pub(crate) pieces: u64,
    /// Turns that clients had, of sockets that were read whole, and that have no line.
    pub(crate) missing_turns: u64,
    /// How many sockets they are of.
    pub(crate) lacking_sockets: u64,
    /// Sockets whose reader failed at some point, or that were not copied whole.
    pub(crate) failed_sockets: u64,
}

/// Holds lines against exchanges. Of those that clients had after `doubtful`, if that is given, nobody is asked to be
/// complete.
///
/// # Panics
/// An exchange stands twice, a line is of none, or it says something else than its client saw.
pub(crate) fn compare(lines: &[&Line], sent: &[Sent], doubtful: Option<Instant>) -> Compared {
    let ids: BTreeSet<&str> = lines.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids.len(), lines.len(), "an id stands twice");
    let mut by_number: BTreeMap<u64, Vec<&Line>> = BTreeMap::new();
    for line in lines {
        by_number.entry(line.number.unwrap()).or_default().push(line);
    }
    let mut it = Compared::default();
    for sent in sent {
        let found = by_number.remove(&sent.number).unwrap_or_default();
        let is_delivered = sent.delivered.is_some_and(|at| doubtful.is_none_or(|doubtful| at < doubtful));
        if sent.kind == Kind::Socket {
            it.socket(sent, &found, is_delivered);
            continue;
        }
        assert!(found.len() < 2, "{sent:?} stands twice: {found:?}");
        match found.first() {
            Some(line) => it.exchange(sent, line, is_delivered, doubtful.is_some()),
            None => {
                it.missing += 1;
                it.missing_delivered += u64::from(is_delivered);
            }
        }
    }
    assert!(by_number.is_empty(), "nobody asked for these: {by_number:?}");
    it
}

impl Compared {
    fn exchange(&mut self, sent: &Sent, line: &Line, is_delivered: bool, is_killed: bool) {
        self.recorded += 1;
        self.cut += u64::from(line.is_cut);
        assert!(!line.is_piece, "{sent:?}: {line:?}");
        if !is_delivered {
            return;
        }
        let is_unended = is_killed && line.end == "interrupted";
        self.unended += u64::from(is_unended);
        assert_eq!(line.status, sent.status, "{sent:?}: {line:?}");
        assert!(is_unended || line.end == sent.end(), "{sent:?}: {line:?}");
        // Bytes that were cut have no digest. Of what is there, each is the client's.
        if let Some(request) = line.request.as_ref().filter(|_| sent.kind != Kind::List) {
            assert_eq!(*request, sent.request, "{sent:?}: {line:?}");
        }
        if let (Some(recorded), Some(got)) = (&line.answer, &sent.answer) {
            assert_eq!(recorded, got, "{sent:?}: {line:?}");
        }
        let has_digests = line.request.is_some() || sent.kind == Kind::List;
        assert!(line.is_cut || has_digests && (line.answer.is_some() || sent.answer.is_none()), "{sent:?}: {line:?}");
    }

    fn socket(&mut self, sent: &Sent, found: &[&Line], is_delivered: bool) {
        self.pieces += found.len() as u64;
        let turns: Vec<u64> = found.iter().filter_map(|it| it.turn).collect();
        let distinct: BTreeSet<u64> = turns.iter().copied().collect();
        assert_eq!(distinct.len(), turns.len(), "{sent:?}: a turn stands twice: {found:?}");
        if found.iter().any(|it| it.is_unread || it.end == "interrupted") {
            self.failed_sockets += 1;
        } else if is_delivered {
            let missing = (0..sent.turns).filter(|turn| !distinct.contains(turn)).count() as u64;
            self.missing_turns += missing;
            self.lacking_sockets += u64::from(missing > 0);
        }
    }
}

/// Puts a day's bucket of so many lines into the data dir, as an earlier run would have left it; how old it is in days.
pub(crate) fn plant(data_dir: &Path, days_ago: i32, lines: usize) {
    let layout = Layout::new(data_dir);
    let date = Date(UnixMillis::now().date().0 - days_ago);
    let bucket = BucketId { date, key: ShortKey([0xcd; 4]) };
    let mut text = String::new();
    for line in 0..lines {
        let id = ulid::Ulid::from_parts(u64::from(date.0.unsigned_abs()) * 86_400_000, rand::random()).to_string();
        let at = format!("{date}T00:00:{:02}.000Z", line % 60);
        let side = json!({"headers": {"host": "gw"}, "headers_list": null, "bytes": 0, "body": null});
        let line = json!({"id": id, "v": 1, "ts_start": at, "ts_end": at, "client": "127.0.0.1", "method": "GET",
            "path": "/v1/models", "upstream": "http://gw", "status": 200, "end": "complete", "disconnected": false,
            "protocol": "other", "req": side, "resp": side});
        writeln!(text, "{line}").unwrap();
    }
    let path = layout.segment(SegmentId { bucket, number: 0 }, Form::Plain);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}
