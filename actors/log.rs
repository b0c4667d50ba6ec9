//! The program's own log: JSON lines on standard error with `time`, `level`, `msg` and fields.

use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering};

use api_log::config;
use api_log::ids::UnixMillis;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Logs from `level` on. Only the first call in a process has an effect.
pub(crate) fn start(level: config::Level) {
    set_level(level);
    // An error means that a log has been started before.
    let _ = tracing::subscriber::set_global_default(Lines);
}

/// Logs from `level` on from now on.
pub(crate) fn set_level(level: config::Level) {
    LEVEL.store(rank(level_of(level)), Ordering::Relaxed);
    tracing::callsite::rebuild_interest_cache();
}

static LEVEL: AtomicU8 = AtomicU8::new(2);

fn level_of(level: config::Level) -> Level {
    match level {
        config::Level::Debug => Level::DEBUG,
        config::Level::Info => Level::INFO,
        config::Level::Warn => Level::WARN,
        config::Level::Error => Level::ERROR,
    }
}

/// Errors first.
fn rank(level: Level) -> u8 {
    match level {
        Level::ERROR => 0,
        Level::WARN => 1,
        Level::INFO => 2,
        Level::DEBUG => 3,
        Level::TRACE => 4,
    }
}

/// Writes each event as one line. Spans, which libraries open for each message and task, are switched off where they
/// would begin: nobody reads them, and keeping them costs on every trace.
struct Lines;

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && rank(*metadata.level()) <= LEVEL.load(Ordering::Relaxed)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        let level = levels.get(usize::from(LEVEL.load(Ordering::Relaxed))).copied();
        Some(level.map_or(LevelFilter::INFO, LevelFilter::from_level))
    }

    /// Never called: spans are not enabled.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields(Map::new());
        fields.0.insert("time".into(), UnixMillis::now().to_string().into());
        fields.0.insert("level".into(), event.metadata().level().as_str().into());
        fields.0.insert("msg".into(), Value::Null);
        event.record(&mut fields);
        let line = format!("{}\n", Value::Object(fields.0));
        // There is nowhere to tell that the log cannot be written.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = if field.name() == "message" { "msg" } else { field.name() };
        self.0.insert(name.into(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}
