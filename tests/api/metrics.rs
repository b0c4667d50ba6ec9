//! `/metrics`: true to the format, and whole: whatever `/healthz` counts is there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::stack::{Recorder, call, until};

/// The text of OpenMetrics, read strictly: families with their types, and samples by name and labels.
#[derive(Debug, Default)]
struct Metrics {
    types: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Metrics {
    fn read(text: &str) -> Metrics {
        let body = text.strip_suffix("# EOF\n").expect("the end is marked");
        let mut metrics = Metrics::default();
        let mut family = String::new();
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# ") {
                let mut words = rest.splitn(3, ' ');
                let (keyword, name, text) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or(""));
                assert!(is_name(name), "{line}");
                match keyword {
                    "HELP" => assert!(text.len() > 3, "{line}"),
                    "TYPE" => {
                        let is_new = metrics.types.insert(name.to_owned(), text.to_owned()).is_none();
                        assert!(is_new && ["counter", "gauge", "histogram"].contains(&text), "{line}");
                    }
                    _ => panic!("{line}"),
                }
                family = name.to_owned();
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let suffix = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} stands under {family}"));
            let allowed: &[&str] = match metrics.types[&family].as_str() {
                "counter" => &["_total"],
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(allowed.contains(&suffix), "{line}");
            if let Some(labels) = series.strip_prefix(name).filter(|it| !it.is_empty()) {
                let labels = labels.strip_prefix('{').and_then(|it| it.strip_suffix('}')).expect(line);
                for label in labels.split(',') {
                    let (name, value) = label.split_once('=').expect(line);
                    assert!(is_name(name) && value.starts_with('"') && value.ends_with('"'), "{line}");
                }
            }
            let is_new = metrics.samples.insert(series.to_owned(), value.parse().unwrap()).is_none();
            assert!(is_new, "twice: {series}");
        }
        metrics.check_histograms();
        metrics
    }

    fn check_histograms(&self) {
        for (name, _) in self.types.iter().filter(|(_, kind)| *kind == "histogram") {
            let start = format!("{name}_bucket{{le=\"");
            let buckets = self.samples.iter().filter_map(|(series, count)| {
                let bound = series.strip_prefix(&start)?.strip_suffix("\"}").unwrap();
                Some((bound.parse::<f64>().unwrap(), *count))
            });
            let mut buckets: Vec<_> = buckets.collect();
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{name}: {buckets:?}");
            let last = buckets.last().unwrap();
            assert_eq!(*last, (f64::INFINITY, self.samples[&format!("{name}_count")]));
        }
    }
}

fn is_name(text: &str) -> bool {
    text.chars().enumerate().all(|(at, it)| it == '_' || it.is_ascii_alphabetic() || (at > 0 && it.is_ascii_digit()))
}

fn scrape(recorder: &Recorder) -> Metrics {
    let reply = call(recorder.api, "GET", "/metrics", &[], b"");
    assert_eq!(reply.status, 200);
    assert!(reply.field("content-type").unwrap().starts_with("application/openmetrics-text; version=1.0.0"));
    Metrics::read(reply.text())
}

/// Both as they stand while nothing is counted: a row is listed before its transaction is.
fn at_rest(recorder: &Recorder) -> (Value, Metrics) {
    let mut seen = None;
    until("nothing is counted any more", || {
        let (before, metrics, after) = (recorder.get("/healthz"), scrape(recorder), recorder.get("/healthz"));
        let is_at_rest = ["counters", "ledger", "recording"].iter().all(|it| before[it] == after[it]);
        seen = Some((after, metrics));
        is_at_rest
    });
    seen.unwrap()
}

#[test]
fn whatever_health_counts_stands_in_the_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    for status in ["200", "404", "500"] {
        recorder.send("/v1/chat/completions", &[("x-answer-status", status)], "{}");
    }
    recorder.await_rows("", 3);
    let (health, metrics) = at_rest(&recorder);
    let sample = |name: &str| *metrics.samples.get(name).unwrap_or_else(|| panic!("no {name}: {metrics:#?}"));

    let mut seen = 0;
    for (prefix, object) in [("", &health["counters"]), ("recording_", &health["recording"])] {
        for (name, value) in object.as_object().unwrap().iter().filter(|(_, value)| value.is_u64()) {
            let name = name.strip_suffix("_total").unwrap_or(name);
            let suffix = if name == "writer_chan_high_water" { "" } else { "_total" };
            assert_eq!(sample(&format!("api_log_{prefix}{name}{suffix}")), value.as_f64().unwrap(), "{name}");
            seen += 1;
        }
    }
    assert!(seen > 25, "{seen}");
    for (name, value) in health["counters"]["timings"].as_object().unwrap() {
        let name = name.strip_suffix("_ms").unwrap();
        assert_eq!(sample(&format!("api_log_{name}_seconds_count")), value["count"].as_f64().unwrap());
    }
    let ledger = &health["ledger"];
    for name in ["accepted", "recorded", "filtered"] {
        assert_eq!(sample(&format!("api_log_exchanges_{name}_total")), ledger[name].as_f64().unwrap());
    }
    for (cause, value) in ledger["dropped"].as_object().unwrap() {
        let name = format!("api_log_exchanges_dropped_total{{cause=\"{cause}\"}}");
        assert_eq!(sample(&name), value.as_f64().unwrap());
    }
    assert_eq!((sample("api_log_exchanges_in_flight"), sample("api_log_ledger_balanced")), (0.0, 1.0));
    for child in health["supervision"]["children"].as_array().unwrap() {
        let child = child["name"].as_str().unwrap();
        assert_eq!(sample(&format!("api_log_child_running{{child=\"{child}\"}}")), 1.0);
        assert_eq!(sample(&format!("api_log_child_restarts_total{{child=\"{child}\"}}")), 0.0);
    }
    for nursery in health["supervision"]["nurseries"].as_array().unwrap() {
        sample(&format!("api_log_nursery_failed_total{{nursery=\"{}\"}}", nursery["name"].as_str().unwrap()));
    }
    for bound in health["bounds"].as_array().unwrap() {
        let name = bound["name"].as_str().unwrap();
        for unit in ["count", "bytes"].into_iter().filter(|unit| bound[*unit].is_object()) {
            let labels = format!("{{bound=\"{name}\",unit=\"{unit}\"}}");
            sample(&format!("api_log_bound_depth{labels}"));
            let high_water = bound[unit]["high_water"].as_f64().unwrap();
            assert!(sample(&format!("api_log_bound_high_water{labels}")) >= high_water);
            if let Some(limit) = bound[unit]["limit"].as_f64() {
                assert_eq!(sample(&format!("api_log_bound_limit{labels}")), limit);
            }
        }
    }
    assert_eq!(sample(&format!("api_log_build_info{{version=\"{}\"}}", health["version"].as_str().unwrap())), 1.0);
    let (storage, index) = (&health["storage"], &health["index"]);
    for (name, told) in [
        ("data_dir_bytes", &storage["data_dir_bytes"]),
        ("media_bytes", &storage["media_bytes"]),
        ("retention_max_bytes", &storage["max_bytes"]),
        ("disk_total_bytes", &storage["disk_total_bytes"]),
        ("index_rows_waiting", &index["rows_waiting"]),
        ("index_fresh_rows", &index["fresh_rows"]),
        ("index_behind_segments", &index["behind_segments"]),
        ("index_behind_bytes", &index["behind_bytes"]),
    ] {
        assert_eq!(sample(&format!("api_log_{name}")), told.as_f64().unwrap(), "{name}");
    }
    assert!(sample("api_log_data_dir_bytes") > 0.0 && sample("api_log_disk_total_bytes") > 0.0);
    assert!(sample("api_log_disk_free_bytes") <= sample("api_log_disk_total_bytes"));
    assert_eq!(f64::from(u8::from(index["state"] == "current")), sample("api_log_index_current"));
    assert_eq!(sample("api_log_ready"), 1.0);
    assert_eq!(sample("api_log_threads_blocked{threads=\"lane-0\"}"), 0.0);
    assert_eq!(sample("api_log_condition{condition=\"disk_stalled\"}"), 0.0);
}

#[test]
fn every_bound_is_in_one_list_in_one_form() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    recorder.send("/v1/chat/completions", &[], "{}");
    recorder.await_rows("", 1);
    let health = recorder.get("/healthz");
    let bounds = health["bounds"].as_array().unwrap();
    let names: BTreeSet<&str> = bounds.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), bounds.len());
    for name in [
        "captures",
        "ended_exchanges",
        "spill_orders",
        "upgraded_connections",
        "socket_news",
        "held_traces",
        "finished_lines",
        "index_rows",
        "connections",
        "connection_orders",
        "api_queries",
        "api_callers",
        "nursery_writers",
        "nursery_finalizers",
    ] {
        assert!(names.contains(name), "{name}: {names:?}");
    }
    for bound in bounds {
        let has_limit = |unit: &str| bound[unit]["limit"].is_u64();
        let is_bounded = has_limit("count") || has_limit("bytes") || bound["within"].is_string();
        // As many as the system lets there be, unless proxy.max_connections says less.
        let by_connections = ["connections", "nursery_connections", "nursery_sockets"];
        assert!(is_bounded || by_connections.contains(&bound["name"].as_str().unwrap()), "{bound}");
        for unit in ["count", "bytes"].into_iter().filter(|unit| bound[*unit].is_object()) {
            let level = |name: &str| bound[unit][name].as_u64().unwrap();
            assert!(level("depth") <= level("high_water"), "{bound}");
        }
    }
}

#[test]
fn the_metrics_ask_for_the_token_only_if_they_shall() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::with(dir.path(), &[("APILOG_API_METRICS_AUTH", "true")]);
    assert_eq!(call(recorder.api, "GET", "/metrics", &[], b"").status, 401);
    assert_eq!(recorder.api("GET", "/metrics", "").status, 200);
    assert_eq!(call(recorder.api, "GET", "/healthz", &[], b"").status, 200);
}
