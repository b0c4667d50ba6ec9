//! Looking at what configuration and overrides say, and putting that in force; the last good set stays on any error.
//!
//! All of it blocks on files, and holds the overrides' lock: it runs where that is allowed, one at a time.

use api_log::config::Config;
use api_log::ids::UnixMillis;
use api_log::plugin::instance::{BadInstance, Instance};
use api_log::plugin::kinds::Kind;
use api_log::plugin::set::{Set, Source};
use api_log::store::overrides::{self, Overrides, OverridesError};
use api_log::store::plugin_overrides::place_of_instance;
use api_log::store::token;

use super::{Configured, Plugins, Trouble};
use crate::overridden::Looked;

/// How surely what stands in the file is what is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// Nothing is in force yet: what can be taken is.
    Start,
    /// It may still be written at. What is missing, empty or broken is believed at a second look only; then nothing
    /// changes but what is told.
    Edited,
}

/// What stands in the file.
struct Found {
    text: Vec<u8>,
    wanted: Result<Wanted, Trouble>,
}

/// What it asks for.
struct Wanted {
    source: Source,
    list: Vec<Instance>,
    /// What is wrong with instances that are not in the list.
    bad: Option<Trouble>,
}

impl Plugins {
    /// At the start: what can be taken is in force, what cannot is told.
    pub(super) fn begin(&self) {
        let _writing = self.overrides.lock();
        self.take(When::Start);
    }

    /// A file may have changed.
    pub(super) fn look(&self) -> Looked {
        let _writing = self.overrides.lock();
        self.take(When::Edited)
    }

    /// The configuration was read again.
    pub(crate) fn take_over(&self, config: &Config) {
        let _writing = self.overrides.lock();
        let configured = Configured::of(config);
        if *self.configured.lock() == configured {
            return;
        }
        self.configured.lock().clone_from(&configured);
        let before = self.in_force.pin();
        let list = match before.source() {
            Source::Yaml => configured.list,
            Source::Override => before.list().to_vec(),
        };
        self.put(before.source(), list);
    }

    fn take(&self, when: When) -> Looked {
        let Found { text, wanted } = self.read();
        let is_override = self.in_force.pin().source() == Source::Override;
        let is_doubtful = match &wanted {
            // Who writes in place makes it empty first, and who replaces it may remove it first.
            Ok(wanted) => wanted.bad.is_some() || (is_override && text.trim_ascii().is_empty()),
            Err(_) => true,
        };
        let is_settled = self.standing.lock().doubt.is_settled(&text, is_doubtful);
        if !is_settled && when == When::Edited {
            return Looked::Doubtful;
        }
        match wanted {
            Ok(Wanted { source, list, bad }) => {
                if bad.is_none() || when == When::Start {
                    self.put(source, list);
                }
                match bad {
                    None => self.recover(),
                    Some(trouble) => self.fail(trouble),
                }
            }
            Err(trouble) => self.fail(trouble),
        }
        Looked::Settled
    }

    fn read(&self) -> Found {
        let path = self.overrides.path();
        let text = match overrides::text(path) {
            Ok(text) => text,
            Err(error) => return Found { text: error.to_string().into(), wanted: Err(trouble_of(&error)) },
        };
        let overrides = match Overrides::parse(path, &text) {
            Ok(overrides) => overrides,
            Err(error) => return Found { text, wanted: Err(trouble_of(&error)) },
        };
        let file = path.display().to_string();
        let plain = |message| Trouble { since: UnixMillis::now(), message, file, line: None, column: None };
        let wanted = match overrides.plugins() {
            Ok(Some(values)) => {
                let (list, bad) = Instance::read_list(values);
                let bad = bad.first().map(|first| {
                    let place = place_of_instance(&text, first.index);
                    let (line, column) = (place.map(|it| it.line), place.map(|it| it.column));
                    Trouble { line, column, ..plain(told(&bad)) }
                });
                Ok(Wanted { source: Source::Override, list, bad })
            }
            Ok(None) => Ok(Wanted { source: Source::Yaml, list: self.configured_list(), bad: None }),
            Err(error) => Err(plain(error.to_string())),
        };
        Found { text, wanted }
    }

    /// The list of the configuration.
    pub(super) fn configured_list(&self) -> Vec<Instance> {
        self.configured.lock().list.clone()
    }

    /// Puts a list in force, unless it is.
    pub(super) fn put(&self, source: Source, list: Vec<Instance>) {
        let before = self.in_force.pin();
        let always = self.configured.lock().always.clone();
        let is_same = self.standing.lock().since.is_some()
            && before.source() == source
            && before.list() == list
            && before.always().eq(&always);
        if is_same {
            return;
        }
        let wants_secret = list.iter().any(|it| matches!(it.kind, Kind::Redact(_)));
        let mut set = Set::after(&before, source, always, list);
        if wants_secret && set.secret().is_empty() {
            set = set.with_secret(&self.secret());
        }
        let (generation, instances) = (set.generation(), set.actives().len());
        self.in_force.swap(set);
        self.standing.lock().since = Some(UnixMillis::now());
        tracing::info!(generation, source = source.name(), instances, "plugins are in force");
    }

    /// What placeholders are made with. If it cannot be kept, it is drawn for this process alone.
    fn secret(&self) -> String {
        match token::read_or_create(&self.layout.redaction_secret()) {
            Ok(found) => found.secret,
            Err(error) => {
                tracing::warn!(%error, "placeholders of this run will not be those of others");
                format!("{:032x}", rand::random::<u128>())
            }
        }
    }

    /// All is in force as it was wanted.
    pub(super) fn recover(&self) {
        if self.standing.lock().trouble.take().is_some() {
            tracing::info!("the plugins' list can be read again");
        }
        self.malformed.clear();
    }

    fn fail(&self, trouble: Trouble) {
        let generation = self.in_force.pin().generation();
        let mut standing = self.standing.lock();
        // Without a set that was ever put there is the configuration's.
        if standing.since.is_none() {
            drop(standing);
            self.put(Source::Yaml, self.configured_list());
            standing = self.standing.lock();
        }
        let is_news = standing.trouble.as_ref().is_none_or(|it| !it.is_same(&trouble));
        if is_news {
            let Trouble { message, file, line, column, .. } = &trouble;
            tracing::error!(message, file, line, column, generation, "the plugins' list is not taken over");
            self.malformed.raise(format!("{message}; what was in force stays"));
            standing.trouble = Some(trouble);
        }
    }
}

impl Trouble {
    fn is_same(&self, other: &Trouble) -> bool {
        Trouble { since: other.since, ..self.clone() } == *other
    }
}

fn trouble_of(error: &OverridesError) -> Trouble {
    let since = UnixMillis::now();
    match error {
        OverridesError::Io { path, source } => {
            let message = format!("cannot be read: {source}");
            Trouble { since, message, file: path.display().to_string(), line: None, column: None }
        }
        OverridesError::Malformed { path, line, column, reason } => Trouble {
            since,
            message: reason.clone(),
            file: path.display().to_string(),
            line: Some(*line),
            column: Some(*column),
        },
    }
}

/// What is wrong with instances, in a sentence.
fn told(bad: &[BadInstance]) -> String {
    bad.iter().map(BadInstance::to_string).collect::<Vec<_>>().join("; ")
}
