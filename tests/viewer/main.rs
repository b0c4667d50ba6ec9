//! The hosted viewer from outside: fetched from a release service of the test's own, served, and shown by a browser.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by it, as it should")]
#![allow(dead_code, reason = "the helpers are those of the read API's tests, and not all are needed here")]

#[path = "../api/stack.rs"]
mod stack;

mod page_set;
mod releases;

mod browser;
mod chromium;
mod fetching;
mod serving;

use std::path::Path;

use serde_json::Value;
use stack::{Recorder, until};

/// Starts a recorder with these settings of the viewer.
fn start(data_dir: &Path, settings: &[(&str, &str)]) -> Recorder {
    let settings: Vec<(String, &str)> =
        settings.iter().map(|(name, value)| (format!("APILOG_VIEWER_{name}"), *value)).collect();
    let mut variables = vec![("APILOG_VIEWER_ENABLED", "true"), ("NO_PROXY", "*"), ("no_proxy", "*")];
    variables.extend(settings.iter().map(|(name, value)| (name.as_str(), *value)));
    Recorder::with(data_dir, &variables)
}

/// What health says of the viewer.
fn standing(recorder: &Recorder) -> Value {
    recorder.get("/healthz")["viewer"].clone()
}

/// Waits until it comes from there, and gives what health says of it.
fn comes_from(recorder: &Recorder, source: &str) -> Value {
    let mut seen = Value::Null;
    until(&format!("the viewer to be {source}"), || {
        seen = standing(recorder);
        seen["source"] == source
    });
    seen
}

/// Waits until there is no viewer for a reason that holds this text.
fn fails_with(recorder: &Recorder, text: &str) -> Value {
    let mut seen = Value::Null;
    until(&format!("the viewer to fail with {text:?}"), || {
        seen = standing(recorder);
        seen["source"] == "error" && seen["error"].as_str().is_some_and(|it| it.contains(text))
    });
    seen
}
