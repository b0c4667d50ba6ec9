//! Whether everything that was sent was recorded and indexed, and how far the index was behind meanwhile.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api_log::index::schema;
use api_log::jsonl::read;
use api_log::store::layout::Layout;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::client::Measured;
use crate::process::{Memory, Trouble};
use crate::recorder::Recorder;

/// Between two looks at a recorder under load.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What was sent, and what became of it. Counts are of all runs of a scenario, those for warming up among them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Books {
    /// Traces that there must be: whole answers, as the load generator counts.
    pub(crate) sent: u64,
    /// Exchanges beyond these that it may have broken off.
    pub(crate) broken_off_at_most: u64,
    pub(crate) accepted: u64,
    pub(crate) recorded: u64,
    pub(crate) filtered: u64,
    pub(crate) dropped: u64,
    /// Traces without their bodies, for want of room or because the disk failed.
    pub(crate) without_bodies: u64,
    /// Bodies that were cut for want of memory.
    pub(crate) cut: u64,
    /// Bytes of sockets that passed unrecorded for want of memory; turns around them cannot be told.
    #[serde(default)]
    pub(crate) socket_bytes_missed: u64,
    /// Lines that stand in the files, counted there.
    pub(crate) lines: u64,
    /// Rows that stand in the index, counted there.
    pub(crate) rows: u64,
    /// How long after each run everything was indexed, in seconds.
    pub(crate) indexed_after_s: Vec<f64>,
    /// How long the newest row's line had been in its file, at most, in seconds; to a quarter of a second.
    pub(crate) lag_s: f64,
    /// During the last run: seconds since its first look, and exchanges accepted by then.
    pub(crate) pace: Vec<(f64, u64)>,
    pub(crate) captured_bytes: u64,
    pub(crate) disk_bytes: u64,
    /// What does not add up.
    pub(crate) complaints: Vec<String>,
}

/// What a data dir held before.
pub(crate) struct Before {
    segments: BTreeSet<String>,
    rows: u64,
    bytes: u64,
}

impl Before {
    pub(crate) fn of(data_dir: &Path) -> Result<Before, Trouble> {
        let layout = Layout::new(data_dir.to_owned());
        let found = if data_dir.is_dir() { segments(&layout)? } else { Vec::new() };
        let rows = if layout.index().exists() { rows(&layout)? } else { 0 };
        Ok(Before { segments: found.iter().map(|it| it.to_string()).collect(), rows, bytes: bytes_in(data_dir) })
    }
}

/// What was seen while a load ran.
#[derive(Default)]
pub(crate) struct Watched {
    /// When, how many were accepted, in the files, in the index.
    looks: Vec<(Instant, [u64; 3])>,
    pub(crate) most: Memory,
}

impl Watched {
    /// Looks until it is told to stop.
    pub(crate) fn until(stop: &AtomicBool, recorder: Option<&Recorder>, memory: impl Fn() -> Memory) -> Watched {
        let mut watched = Watched::default();
        while !stop.load(Ordering::Relaxed) {
            let seen = memory();
            if seen.rss_kib > watched.most.rss_kib {
                watched.most = seen;
            }
            // A recorder that does not answer now is told by the checks behind.
            if let Some(health) = recorder.and_then(|it| it.health().ok()) {
                let figures =
                    [&health["ledger"]["accepted"], &health["counters"]["appended"], &health["counters"]["indexed"]];
                watched.looks.push((Instant::now(), figures.map(|it| it.as_u64().unwrap_or(0))));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        watched
    }

    /// How long ago the files held no more than the index holds now, at most.
    fn lag_s(&self) -> f64 {
        let lag = |(at, (now, [_, _, indexed])): (usize, &(Instant, [u64; 3]))| {
            let then = self.looks[..=at].iter().rev().find(|(_, [_, appended, _])| appended <= indexed);
            then.or(self.looks.first()).map_or(0.0, |(then, _)| (*now - *then).as_secs_f64())
        };
        self.looks.iter().enumerate().map(lag).fold(0.0, f64::max)
    }
}

impl Books {
    /// A load has ended, and everything was indexed so long after.
    pub(crate) fn ran(&mut self, measured: &Measured, watched: &Watched, indexed_after: Duration) {
        self.sent += measured.requests;
        self.broken_off_at_most += measured.broken_off_at_most + measured.failed;
        self.captured_bytes += measured.sent_bytes + measured.received_bytes;
        self.lag_s = self.lag_s.max(watched.lag_s());
        let first = watched.looks.first().map(|(at, _)| *at);
        let look = |(at, [accepted, ..]): &(Instant, [u64; 3])| {
            (first.map_or(0.0, |first| (*at - first).as_secs_f64()), *accepted)
        };
        self.pace = watched.looks.iter().map(look).collect();
        self.indexed_after_s.push(indexed_after.as_secs_f64());
    }

    /// Closes the books of a recorder that has settled.
    pub(crate) fn close(&mut self, recorder: &Recorder, before: &Before) -> Result<(), Trouble> {
        let health = recorder.health()?;
        let (ledger, counters, recording) = (&health["ledger"], &health["counters"], &health["recording"]);
        let count = |value: &Value| value.as_u64().unwrap_or(0);
        self.accepted = count(&ledger["accepted"]);
        self.recorded = count(&ledger["recorded"]);
        self.filtered = count(&ledger["filtered"]);
        self.dropped = ledger["dropped"].as_object().into_iter().flatten().map(|(_, it)| count(it)).sum();
        self.without_bodies = ["bodies_dropped_disk_full", "bodies_dropped_disk_error", "over_budget"]
            .map(|name| count(&recording[name]))
            .iter()
            .sum();
        self.cut = count(&recording["capture_memory_cut"]);
        self.socket_bytes_missed = count(&recording["socket_bytes_missed"]);
        let layout = Layout::new(recorder.data_dir.clone());
        self.rows = rows(&layout)?.saturating_sub(before.rows);
        self.lines = 0;
        for segment in segments(&layout)?.into_iter().filter(|it| !before.segments.contains(&it.to_string())) {
            let at = |error| Trouble::at(&segment.to_string(), error);
            let (mut reader, _) = read::open_at(&layout, segment, 0).map_err(at)?;
            let mut buffer = vec![0; 1 << 20];
            loop {
                match reader.read(&mut buffer).map_err(at)? {
                    0 => break,
                    more => self.lines += memchr::memchr_iter(b'\n', &buffer[..more]).count() as u64,
                }
            }
        }
        self.disk_bytes = bytes_in(&recorder.data_dir).saturating_sub(before.bytes);
        self.check(ledger, count(&counters["indexed"]));
        Ok(())
    }

    fn check(&mut self, ledger: &Value, indexed: u64) {
        let mut complain = |holds: bool, text: String| {
            if !holds {
                self.complaints.push(text);
            }
        };
        let Books { sent, broken_off_at_most, recorded, filtered, dropped, lines, rows, .. } = *self;
        complain(
            ledger["balanced"] == true && ledger["in_flight"] == 0,
            format!("the ledger does not balance: {ledger}"),
        );
        complain(dropped == 0, format!("{dropped} dropped: {ledger}"));
        complain(filtered == 0, format!("{filtered} filtered"));
        let most = sent + broken_off_at_most;
        complain(
            (sent..=most).contains(&recorded),
            format!("{recorded} recorded of {sent} sent and at most {broken_off_at_most} broken off"),
        );
        complain(lines == recorded, format!("{lines} lines in the files for {recorded} recorded"));
        complain(rows == recorded, format!("{rows} rows in the index for {recorded} recorded"));
        complain(indexed >= recorded, format!("{indexed} counted as indexed of {recorded}"));
        complain(self.without_bodies == 0, format!("{} without their bodies", self.without_bodies));
        complain(self.cut == 0, format!("{} cut for want of memory", self.cut));
        let missed = self.socket_bytes_missed;
        complain(missed == 0, format!("{missed} bytes of sockets missed for want of memory"));
    }

    /// The rate of the last third of the last run over that of its first; less than 1 is a downward trend.
    pub(crate) fn trend(&self) -> Option<f64> {
        let (end, _) = *self.pace.last()?;
        let look = |part: f64| self.pace.iter().find(|(at, _)| *at >= end * part);
        let rate = |from: f64, to: f64| {
            let ((begin, before), (end, after)) = (look(from)?, look(to)?);
            (end > begin).then(|| (after - before) as f64 / (end - begin))
        };
        Some(rate(2.0 / 3.0, 1.0)? / rate(0.0, 1.0 / 3.0)?)
    }
}

fn segments(layout: &Layout) -> Result<Vec<api_log::ids::SegmentId>, Trouble> {
    let found = layout.segments().map_err(|error| Trouble::at("the data dir", error))?;
    Ok(found.into_iter().map(|it| it.id).collect())
}

fn rows(layout: &Layout) -> Result<u64, Trouble> {
    let at = |error: &dyn std::fmt::Display| Trouble::at(&layout.index().display().to_string(), error);
    let index = schema::open_reader(&layout.index()).map_err(|error| at(&error))?;
    let rows: i64 = index.query_row("SELECT count(*) FROM rows", [], |row| row.get(0)).map_err(|error| at(&error))?;
    Ok(rows.unsigned_abs())
}

/// Bytes that all files below take.
pub(crate) fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_in(&entry.path()),
        _ => entry.metadata().map_or(0, |it| it.len()),
    };
    entries.map(bytes).sum()
}
