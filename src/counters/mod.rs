//! Counters, histograms and the ledger.
//!
//! All are atomics that any thread may write and read; nothing here takes a lock. They count from the start of the
//! process. Names and bounds are those of `/healthz`, which users' dashboards read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use schemars::JsonSchema;
use serde::Serialize;

mod histogram;
mod ledger;

pub use self::histogram::{BOUNDS_MS, Histogram, HistogramSnapshot};
pub use self::ledger::{DropCause, Dropped, InFlight, Ledger, LedgerSnapshot};

/// A figure that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

/// The highest value seen.
#[derive(Debug, Default)]
pub struct HighWater(AtomicU64);

impl Count {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl HighWater {
    /// Notes a value.
    pub fn observe(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }

    /// The highest noted.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Declares the live counters and their snapshot from one list.
macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident: $kind:ty,)*) => {
        /// The process's counters. One for the whole program, shared.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $doc])* pub $name: $kind,)*
            /// How long the steps took.
            pub timings: Timings,
            /// What went on between wire and file beyond the documented counters.
            pub recording: Recording,
            /// The accounting of exchanges; three of the figures of `/healthz` are taken from it.
            pub ledger: Arc<Ledger>,
        }

        /// [`Counters`] as they stood, in the form of `/healthz`. The figures are read one by one.
        #[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
        #[schemars(rename = "Counters")]
        pub struct CountersSnapshot {
            $($(#[doc = $doc])* pub $name: u64,)*
            /// Exchanges discarded because the writer's queue was full.
            pub drop_writer_full: u64,
            /// Exchanges discarded because the file could not be written, a full disk included.
            pub drop_jsonl_fail: u64,
            /// How long the steps took.
            pub timings: TimingsSnapshot,
        }

        impl Counters {
            /// What each of them counts, by its name.
            pub const ABOUT: &'static [(&'static str, &'static str)] = &[
                $((stringify!($name), concat!($($doc),*)),)*
                ("drop_writer_full", "Exchanges discarded because the writer's queue was full."),
                ("drop_jsonl_fail", "Exchanges discarded because the file could not be written."),
            ];

            /// All of them as they stand.
            pub fn snapshot(&self) -> CountersSnapshot {
                CountersSnapshot {
                    $($name: self.$name.get(),)*
                    drop_writer_full: self.ledger.dropped(DropCause::WriterFull),
                    drop_jsonl_fail: self.ledger.dropped(DropCause::JsonlFail)
                        + self.ledger.dropped(DropCause::DiskFull),
                    timings: self.timings.snapshot(),
                }
            }
        }
    };
}

counters! {
    /// Lines written.
    appended: Count,
    /// Rows inserted.
    indexed: Count,
    /// Lines written whose status is 2xx.
    appended_2xx: Count,
    /// Lines written whose status is 4xx.
    appended_4xx: Count,
    /// Lines written whose status is 5xx.
    appended_5xx: Count,
    /// Bytes of lines written.
    total_bytes: Count,
    /// Media files written.
    total_media_files: Count,
    /// Prompt tokens of the recorded answers.
    total_prompt_tokens: Count,
    /// Completion tokens of the recorded answers.
    total_completion_tokens: Count,
    /// Prompt tokens that the provider read from its cache.
    total_cached_tokens: Count,
    /// Prompt tokens that the provider wrote to its cache.
    total_cache_creation_tokens: Count,
    /// Completion tokens spent on reasoning.
    total_reasoning_tokens: Count,
    /// Lines written whose row could not be inserted; they are caught up from the file.
    drop_sqlite_fail: Count,
    /// Recorded traces whose request body was cut at the cap.
    truncated_req_total: Count,
    /// Recorded traces whose response body was cut at the cap.
    truncated_resp_total: Count,
    /// The longest writer queue seen when something was put into it.
    writer_chan_high_water: HighWater,
    /// Transport errors on the gateway's side before its response head.
    upstream_dial_err: Count,
    /// Traces that took at least as long as the slow threshold.
    slow_traces: Count,
    /// Exchanges that the capture filter skipped.
    traces_dropped_capture_filter: Count,
    /// Traces that retention removed, with their files.
    evicted_traces: Count,
    /// Bytes of lines and media that retention removed.
    evicted_bytes: Count,
}

impl Counters {
    /// All at zero.
    pub fn new() -> Counters {
        Counters::default()
    }

    /// A line of so many bytes was written for an exchange of this status (`None` or 0: there was no response head).
    /// 1xx and 3xx have no class of their own.
    pub fn count_appended(&self, status: Option<u16>, bytes: u64) {
        self.appended.increment();
        self.total_bytes.add(bytes);
        match status.unwrap_or(0) / 100 {
            2 => self.appended_2xx.increment(),
            4 => self.appended_4xx.increment(),
            5 => self.appended_5xx.increment(),
            _ => {}
        }
    }
}

/// Incidents between wire and file, each a thing to look into.
#[derive(Debug, Default)]
pub struct Recording {
    /// Bodies cut because the memory of all captures was used up.
    pub capture_memory_cut: Count,
    /// Blocks of captures moved to `tmp/`.
    pub spilled_blocks: Count,
    /// Blocks that could not be moved and stayed in memory.
    pub spill_errors: Count,
    /// Traces recorded raw because reading them failed.
    pub finalized_raw: Count,
    /// Torn last lines cut off when a segment was opened.
    pub torn_lines: Count,
    /// Writes that the disk refused.
    pub append_errors: Count,
    /// Times that lines could not be forced to the disk; their segment took nothing more.
    pub sync_errors: Count,
    /// Traces recorded without their bodies because the disk was full.
    pub bodies_dropped_disk_full: Count,
    /// Traces recorded without their bodies because the disk failed.
    pub bodies_dropped_disk_error: Count,
    /// Traces recorded without their bodies because their key had used up its share of the day.
    pub over_budget: Count,
    /// Bytes of sockets that were not copied because the memory of all captures was used up.
    pub socket_bytes_missed: Count,
    /// Readers of sockets that failed; what they had read was recorded as cut.
    pub socket_readers_failed: Count,
    /// Captures that had no outcome when the recorder ended, and were left to be recovered.
    pub left_to_recover: Count,
    /// Captures of an earlier run that were taken in.
    pub recovered: Count,
    /// Captures of an earlier run that could not be read, and were kept aside.
    pub unreadable_logs: Count,
    /// Segments sealed.
    pub sealed_segments: Count,
    /// Plain bytes of the segments sealed.
    pub sealed_bytes_in: Count,
    /// Bytes that they take sealed.
    pub sealed_bytes_out: Count,
    /// Segments that could not be sealed for now, each try.
    pub seal_errors: Count,
}

/// [`Recording`] as it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Recording")]
#[expect(missing_docs, reason = "the members of `Recording`")]
pub struct RecordingSnapshot {
    pub capture_memory_cut: u64,
    pub spilled_blocks: u64,
    pub spill_errors: u64,
    pub finalized_raw: u64,
    pub torn_lines: u64,
    pub append_errors: u64,
    pub sync_errors: u64,
    pub bodies_dropped_disk_full: u64,
    pub bodies_dropped_disk_error: u64,
    pub over_budget: u64,
    pub socket_bytes_missed: u64,
    pub socket_readers_failed: u64,
    pub left_to_recover: u64,
    pub recovered: u64,
    pub unreadable_logs: u64,
    pub sealed_segments: u64,
    pub sealed_bytes_in: u64,
    pub sealed_bytes_out: u64,
    pub seal_errors: u64,
}

impl Recording {
    /// The figures as they stand.
    pub fn snapshot(&self) -> RecordingSnapshot {
        RecordingSnapshot {
            capture_memory_cut: self.capture_memory_cut.get(),
            spilled_blocks: self.spilled_blocks.get(),
            spill_errors: self.spill_errors.get(),
            finalized_raw: self.finalized_raw.get(),
            torn_lines: self.torn_lines.get(),
            append_errors: self.append_errors.get(),
            sync_errors: self.sync_errors.get(),
            bodies_dropped_disk_full: self.bodies_dropped_disk_full.get(),
            bodies_dropped_disk_error: self.bodies_dropped_disk_error.get(),
            over_budget: self.over_budget.get(),
            socket_bytes_missed: self.socket_bytes_missed.get(),
            socket_readers_failed: self.socket_readers_failed.get(),
            left_to_recover: self.left_to_recover.get(),
            recovered: self.recovered.get(),
            unreadable_logs: self.unreadable_logs.get(),
            sealed_segments: self.sealed_segments.get(),
            sealed_bytes_in: self.sealed_bytes_in.get(),
            sealed_bytes_out: self.sealed_bytes_out.get(),
            seal_errors: self.seal_errors.get(),
        }
    }
}

/// How long the steps of recording took.
#[derive(Debug, Default)]
pub struct Timings {
    /// From the capture's end until the recording's side has all of it.
    pub drain_ms: Histogram,
    /// Building the line.
    pub parse_ms: Histogram,
    /// The insert transaction, session lookup included.
    pub sqlite_ms: Histogram,
}

/// [`Timings`] as they stood.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Timings")]
pub struct TimingsSnapshot {
    /// See [`Timings::drain_ms`].
    pub drain_ms: HistogramSnapshot,
    /// See [`Timings::parse_ms`].
    pub parse_ms: HistogramSnapshot,
    /// See [`Timings::sqlite_ms`].
    pub sqlite_ms: HistogramSnapshot,
}

impl Timings {
    fn snapshot(&self) -> TimingsSnapshot {
        TimingsSnapshot {
            drain_ms: self.drain_ms.snapshot(),
            parse_ms: self.parse_ms.snapshot(),
            sqlite_ms: self.sqlite_ms.snapshot(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snapshot_has_exactly_the_names_of_the_health_document() {
        let json = serde_json::to_value(Counters::new().snapshot()).unwrap();
        let mut names: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        let mut contract = [
            "appended",
            "indexed",
            "appended_2xx",
            "appended_4xx",
            "appended_5xx",
            "total_bytes",
            "total_media_files",
            "total_prompt_tokens",
            "total_completion_tokens",
            "total_cached_tokens",
            "total_cache_creation_tokens",
            "total_reasoning_tokens",
            "drop_writer_full",
            "drop_jsonl_fail",
            "drop_sqlite_fail",
            "truncated_req_total",
            "truncated_resp_total",
            "writer_chan_high_water",
            "upstream_dial_err",
            "slow_traces",
            "traces_dropped_capture_filter",
            "evicted_traces",
            "evicted_bytes",
            "timings",
        ];
        contract.sort_unstable();
        assert_eq!(names, contract);
        let empty = serde_json::json!({"count": 0, "mean_ms": 0.0, "p50_ms": 0, "p95_ms": 0, "p99_ms": 0});
        assert_eq!(json["timings"], serde_json::json!({"drain_ms": empty, "parse_ms": empty, "sqlite_ms": empty}));
    }

    #[test]
    fn a_line_counts_in_the_class_of_its_status_and_other_classes_nowhere() {
        let counters = Counters::new();
        for status in [Some(200), Some(299), Some(404), Some(529), Some(301), Some(101), None] {
            counters.count_appended(status, 10);
        }
        let seen = counters.snapshot();
        assert_eq!((seen.appended, seen.total_bytes), (7, 70));
        assert_eq!((seen.appended_2xx, seen.appended_4xx, seen.appended_5xx), (2, 1, 1));
    }

    #[test]
    fn the_health_document_takes_drops_from_the_ledger() {
        let counters = Counters::new();
        counters.ledger.count_dropped(DropCause::JsonlFail);
        let seen = counters.snapshot();
        assert_eq!((seen.drop_jsonl_fail, seen.drop_writer_full), (1, 0));
    }
}
