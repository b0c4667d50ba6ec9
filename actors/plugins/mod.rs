//! Plugins while they run: the set in force, and who changes it.

use std::sync::Arc;

use api_log::config::Config;
use api_log::plugin::instance::Instance;
use api_log::plugin::kinds::Kind;
use api_log::plugin::set::{Set, Source};
use arc_swap::ArcSwap;

/// The set in force. Whoever begins an exchange takes it once, and keeps it to the exchange's end.
#[derive(Default)]
pub(crate) struct InForce(ArcSwap<Set>);

impl InForce {
    /// Begins with what the configuration says.
    pub(crate) fn of(config: &Config) -> InForce {
        let in_force = InForce::default();
        in_force.take_over(config);
        in_force
    }

    /// The configuration was read again.
    pub(crate) fn take_over(&self, config: &Config) {
        let before = self.pin();
        self.swap(Arc::new(Set::after(&before, Source::Yaml, of_configuration(config), before.list().to_vec())));
    }

    /// The set of an exchange that begins now.
    pub(crate) fn pin(&self) -> Arc<Set> {
        self.0.load_full()
    }

    /// Puts another one in its place.
    pub(crate) fn swap(&self, set: Arc<Set>) {
        self.0.store(set);
    }
}

/// The configuration's own filters: they act before the list, whatever that is.
fn of_configuration(config: &Config) -> Vec<Instance> {
    let (capture, path) = (&config.plugins.capture_filter, &config.plugins.path_filter);
    let filters = [
        ("plugins.capture_filter", Kind::CaptureFilter(capture.clone()), capture),
        ("plugins.path_filter", Kind::PathFilter(path.clone()), path),
    ];
    let wanted = filters.into_iter().filter(|(_, _, patterns)| !patterns.is_empty());
    wanted.map(|(id, kind, patterns)| Instance::of_configuration(id, kind, patterns)).collect()
}
