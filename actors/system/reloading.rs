//! What a running recorder takes over from a configuration that was read again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use api_log::config::{Change, Config};
use api_log::ids::UnixMillis;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Serialize;

use super::System;
use crate::plugins::registry;
use crate::proxy;
use crate::record::finalizer;

/// What came of the last time.
#[derive(Clone, Default)]
pub(crate) struct LastReload(Arc<Mutex<Option<Reload>>>);

/// What came of reading the configuration again.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct Reload {
    /// When.
    pub(crate) at: String,
    /// Whether it was taken over. If not, nothing has changed.
    pub(crate) applied: bool,
    /// What has changed, as `key: old → new`.
    pub(crate) changed: Vec<String>,
    /// What is different and wants a restart.
    pub(crate) needs_restart: Vec<String>,
    /// Why it was not taken over, or what is odd.
    pub(crate) complaints: Vec<String>,
}

impl LastReload {
    /// It, if there was one.
    pub(crate) fn get(&self) -> Option<Reload> {
        self.0.lock().clone()
    }
}

impl System {
    /// Takes over what can be changed while it runs; `current` is what it ran with and will run with. Says so in the
    /// log and in health.
    pub(crate) fn reload(&self, current: &mut Config, read: Result<Config, Vec<String>>) {
        let at = UnixMillis::now().to_string();
        let mut reload = Reload { at, applied: true, changed: vec![], needs_restart: vec![], complaints: vec![] };
        match read {
            Ok(new) => {
                for Change { key, from, to, reloadable } in current.changes(&new) {
                    let told = format!("{key}: {from} → {to}");
                    if reloadable {
                        tracing::info!(key, from, to, "changed");
                        reload.changed.push(told);
                    } else {
                        tracing::warn!(key, from, to, "not changed: this wants a restart");
                        reload.needs_restart.push(told);
                    }
                }
                current.adopt(&new);
                self.take_over(current);
                let tokens = self.api.tokens.read_again();
                reload.changed.extend(tokens.changed.into_iter().map(str::to_owned));
                reload.complaints.extend(tokens.complaints);
                tracing::info!(changed = reload.changed.len(), needs_restart = reload.needs_restart.len(), "reloaded");
            }
            Err(complaints) => {
                for complaint in &complaints {
                    tracing::error!(complaint, "the configuration is not taken over");
                }
                (reload.applied, reload.complaints) = (false, complaints);
            }
        }
        *self.last_reload.0.lock() = Some(reload);
    }

    /// A line for whatever a key marked as reloadable in `src/config/keys.rs` is for, but for what the command line's
    /// side of the program keeps: the intervals at which it tells.
    fn take_over(&self, config: &Config) {
        crate::log::set_level(config.logging.level);
        self.lanes_live.store(Arc::new(proxy::Live::of(config)));
        self.plugins.take_over(config);
        // Also what nobody may have heard of.
        let _ = self.plugins_slot.cast(registry::Msg::Heard);
        self.shared.live.store(Arc::new(finalizer::Live::of(config)));
        self.max_body_bytes.store(config.storage.max_body_bytes, Ordering::Relaxed);
        self.api.take_over(config);
    }
}
