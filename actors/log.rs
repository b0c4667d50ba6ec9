//! The program's own log: JSON lines on standard error with `time`, `level`, `msg` and fields.

use std::fmt;
use std::io::Write;

use api_log::ids::UnixMillis;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Logs from `level` on. Only the first call in a process has an effect.
pub(crate) fn start(level: Level) {
    // An error means that a log has been started before.
    let _ = tracing_subscriber::registry().with(Lines.with_filter(LevelFilter::from_level(level))).try_init();
}

/// Writes each event as one line.
struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        fields.0.insert("time".into(), UnixMillis::now().to_string().into());
        fields.0.insert("level".into(), event.metadata().level().as_str().into());
        fields.0.insert("msg".into(), Value::Null);
        event.record(&mut fields);
        let line = format!("{}\n", Value::Object(fields.0));
        // There is nowhere to tell that the log cannot be written.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
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
