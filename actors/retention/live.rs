//! The limits in force and what was seen last: read and set by anyone, without asking the sweeper.

use api_log::ids::UnixMillis;
use api_log::store::disk::DiskSpace;
use api_log::store::retention::{Settings, State};
use api_log::store::retention_change::RetentionChange;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;

use super::Gauge;

/// One for the process, shared.
pub(crate) struct Live {
    /// How those who write tell it.
    pub(crate) gauge: Gauge,
    configured: Settings,
    limits: Mutex<Limits>,
    seen: Mutex<Seen>,
}

/// The limits in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// What they are.
    pub(crate) settings: Settings,
    /// Who set them.
    pub(crate) source: Source,
    /// What was set at run time cannot be read, so that nothing is deleted.
    pub(crate) is_doubtful: bool,
    /// Another number after each change.
    pub(super) change: u64,
}

/// Who set the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Source")]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// File, environment or default.
    Yaml,
    /// Somebody at run time.
    Override,
}

/// What the sweeper saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Bytes of lines and attachments, and of the latter alone, when the gauge stood at `written`.
    pub(super) stored: Option<(u64, u64)>,
    pub(super) written: u64,
    pub(super) disk: Option<DiskSpace>,
    pub(super) is_cut_short: bool,
    pub(super) sweeps: u64,
    pub(super) evicted_segments: u64,
    pub(super) last_eviction: Option<(UnixMillis, u64)>,
}

/// What `/healthz` shows as `storage`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Storage")]
pub(crate) struct Report {
    pub(crate) data_dir_bytes: u64,
    pub(crate) max_bytes: u64,
    max_age_days: u64,
    usage_pct: u64,
    state: State,
    pub(crate) engine_running: bool,
    eviction_cap_hit: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_eviction_ts: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_evicted_bytes: Option<u64>,
    sweeps: u64,
    evicted_segments: u64,
    pub(crate) media_bytes: u64,
    warn_at_percent: u64,
    per_key_max_bytes: u64,
    media_max_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disk_free_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_free_pct: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disk_total_bytes: Option<u64>,
}

impl Live {
    /// With what is configured, and what an earlier run was told above it; `Err` if that cannot be read.
    pub(crate) fn new<E>(configured: Settings, overridden: &Result<Option<RetentionChange>, E>, gauge: Gauge) -> Live {
        let (settings, source, is_doubtful) = match overridden {
            Ok(None) => (configured, Source::Yaml, false),
            Ok(Some(change)) => (change.applied_to(configured), Source::Override, false),
            Err(_) => (configured, Source::Yaml, true),
        };
        let limits = Limits { settings, source, is_doubtful, change: 0 };
        Live { gauge, configured, limits: Mutex::new(limits), seen: Mutex::default() }
    }

    /// The limits in force.
    pub(crate) fn limits(&self) -> Limits {
        *self.limits.lock()
    }

    /// What is overridden now, all of it: in force from here on. `None`: what is configured is.
    pub(crate) fn set(&self, overridden: Option<&RetentionChange>) -> Limits {
        let limits = {
            let mut limits = self.limits.lock();
            let change = limits.change.wrapping_add(1);
            *limits = Limits { change, ..self.limits_of(overridden) };
            *limits
        };
        self.gauge.look();
        limits
    }

    /// The same, unless it is in force already. Whether it was not.
    pub(crate) fn take(&self, overridden: Option<&RetentionChange>) -> bool {
        let now = self.limits();
        let is_new = Limits { change: now.change, ..self.limits_of(overridden) } != now;
        if is_new {
            self.set(overridden);
        }
        is_new
    }

    fn limits_of(&self, overridden: Option<&RetentionChange>) -> Limits {
        let (settings, source) = match overridden {
            Some(change) => (change.applied_to(self.configured), Source::Override),
            None => (self.configured, Source::Yaml),
        };
        Limits { settings, source, is_doubtful: false, change: 0 }
    }

    /// Notes what was seen.
    pub(super) fn saw(&self, note: impl FnOnce(&mut Seen)) {
        note(&mut self.seen.lock());
    }

    /// What the gauge showed when everything was counted last.
    pub(super) fn written_at_count(&self) -> u64 {
        self.seen.lock().written
    }

    /// How it stands: what was seen, what was written since, by the limits of this moment.
    pub(crate) fn report(&self) -> Report {
        let Limits { settings, .. } = self.limits();
        let seen = self.seen.lock().clone();
        let since = self.gauge.written().saturating_sub(seen.written);
        let stored = seen.stored.map(|(all, _)| all + since);
        Report {
            data_dir_bytes: stored.unwrap_or(0),
            max_bytes: settings.max_bytes,
            max_age_days: settings.max_age_days(),
            usage_pct: settings.usage_percent(stored.unwrap_or(0)),
            state: settings.state(stored),
            engine_running: stored.is_some(),
            eviction_cap_hit: seen.is_cut_short,
            last_eviction_ts: seen.last_eviction.map(|(at, _)| in_seconds(at)),
            last_evicted_bytes: seen.last_eviction.map(|(_, bytes)| bytes),
            sweeps: seen.sweeps,
            evicted_segments: seen.evicted_segments,
            media_bytes: seen.stored.map_or(0, |(_, media)| media),
            warn_at_percent: settings.warn_at_percent,
            per_key_max_bytes: settings.per_key_max_bytes,
            media_max_bytes: settings.media_max_bytes,
            disk_free_bytes: seen.disk.map(|it| it.free),
            disk_free_pct: seen.disk.map(DiskSpace::free_percent),
            disk_total_bytes: seen.disk.map(|it| it.total),
        }
    }
}

/// The one time of the API without a fraction.
fn in_seconds(at: UnixMillis) -> String {
    let text = at.to_string();
    text.split_once('.').map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"))
}
