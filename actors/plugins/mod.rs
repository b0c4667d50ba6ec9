//! Plugins while they run: the set in force, and who changes it.
//!
//! [`InForce`] is what forwarding and recording read; [`registry`] is the actor that owns the list: it hears of edited
//! files from the [`watch`], and takes changes from the API. What it knows stands in [`Plugins`], and outlives it.

mod change;
mod in_force;
mod look;
pub(crate) mod registry;
mod report;
mod watch;

use std::sync::Arc;

use api_log::config::Config;
use api_log::ids::UnixMillis;
use api_log::plugin::instance::Instance;
use api_log::plugin::kinds::Kind;
use api_log::store::layout::Layout;
use parking_lot::Mutex;

pub(crate) use change::{Change, ChangeError, Changed};
pub(crate) use in_force::InForce;
pub(crate) use report::{Of as OfInstance, Report};

use crate::kit::{Condition, Registry};
use crate::overridden::{Doubt, OverridesFile};

/// All that is known of plugins.
pub(crate) struct Plugins {
    /// The set in force.
    pub(crate) in_force: Arc<InForce>,
    overrides: Arc<OverridesFile>,
    layout: Layout,
    /// What the configuration says.
    configured: Mutex<Configured>,
    standing: Mutex<Standing>,
    /// Raised while the file, or an instance in it, is not in force.
    malformed: Condition,
    /// Raised while an instance is switched off.
    switched_off: Condition,
}

/// What the configuration says.
#[derive(Clone, Default, PartialEq)]
struct Configured {
    /// Its own filters: they act before the list, whatever that is.
    always: Vec<Instance>,
    /// The list, unless it is overridden.
    list: Vec<Instance>,
}

/// How it stands.
#[derive(Clone, Default)]
struct Standing {
    /// Since when the set is in force.
    since: Option<UnixMillis>,
    trouble: Option<Trouble>,
    doubt: Doubt,
    /// Whether edits of files are heard of; why not.
    unwatched: Option<String>,
}

/// Why what was wanted is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trouble {
    since: UnixMillis,
    message: String,
    file: String,
    line: Option<usize>,
    column: Option<usize>,
}

impl Plugins {
    /// What the configuration says is in force at once; the overrides are looked at by [`Plugins::begin`].
    pub(crate) fn new(
        config: &Config,
        layout: &Layout,
        overrides: Arc<OverridesFile>,
        registry: &Registry,
    ) -> Arc<Plugins> {
        let plugins = Plugins {
            in_force: Arc::default(),
            overrides,
            layout: layout.clone(),
            configured: Mutex::new(Configured::of(config)),
            standing: Mutex::default(),
            malformed: registry.condition("plugins_malformed"),
            switched_off: registry.condition("plugins_switched_off"),
        };
        plugins.begin();
        Arc::new(plugins)
    }
}

impl Plugins {
    /// Says so if an instance has failed too often to go on. It is tried again once its configuration changes.
    fn tell_switched_off(&self) {
        let set = self.in_force.pin();
        let off = set.actives().iter().filter_map(|it| Some(format!("{} {}", it.instance().id, it.switched_off()?)));
        let off: Vec<String> = off.collect();
        if off.is_empty() {
            self.switched_off.clear();
        } else if self.switched_off.raise(off.join("; ")) {
            tracing::error!(instances = off.join("; "), "plugins are switched off");
        }
    }
}

impl Configured {
    fn of(config: &Config) -> Configured {
        let (capture, path) = (&config.plugins.capture_filter, &config.plugins.path_filter);
        let filters = [
            ("plugins.capture_filter", Kind::CaptureFilter(capture.clone()), capture),
            ("plugins.path_filter", Kind::PathFilter(path.clone()), path),
        ];
        let wanted = filters.into_iter().filter(|(_, _, patterns)| !patterns.is_empty());
        let always = wanted.map(|(id, kind, patterns)| Instance::of_configuration(id, kind, patterns));
        Configured { always: always.collect(), list: config.plugins.instances.clone() }
    }
}
