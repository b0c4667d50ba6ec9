//! What is shown of plugins: where the list comes from, how each instance fares, what is wrong.

use api_log::plugin::counts::Counted;
use schemars::JsonSchema;
use serde::Serialize;

use super::Plugins;

/// How plugins stand.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Plugins")]
pub(crate) struct Report {
    /// Where the list comes from.
    pub(crate) source: &'static str,
    /// The set's number.
    pub(crate) generation: u64,
    /// Since when it is in force.
    pub(crate) since: Option<String>,
    /// What is wrong, if something is: what was in force before stays.
    pub(crate) last_error: Option<Error>,
    /// Why edits of the files are not heard of, if they are not.
    pub(crate) unwatched: Option<String>,
    /// Each instance that acts.
    pub(crate) instances: Vec<Of>,
}

/// Why what was wanted is not in force.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "PluginsError")]
pub(crate) struct Error {
    pub(crate) message: String,
    pub(crate) file: String,
    pub(crate) line: Option<usize>,
    pub(crate) column: Option<usize>,
    pub(crate) since: String,
}

/// How an instance fares.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "PluginFigures")]
pub(crate) struct Of {
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) calls: u64,
    pub(crate) mutations: u64,
    pub(crate) errors: u64,
    pub(crate) time_us: u64,
    /// Why it does not run any more.
    pub(crate) switched_off: Option<String>,
}

impl Plugins {
    /// How it stands now. Touches no file.
    pub(crate) fn report(&self) -> Report {
        let set = self.in_force.pin();
        let standing = self.standing.lock().clone();
        let of = |active: &api_log::plugin::set::Active| {
            let Counted { calls, mutations, errors, time_us } = active.counts().get();
            let switched_off = active.switched_off().map(str::to_owned);
            let (id, kind) = (active.instance().id.clone(), active.kind().name());
            Of { id, kind, calls, mutations, errors, time_us, switched_off }
        };
        Report {
            source: set.source().name(),
            generation: set.generation(),
            since: standing.since.map(|it| it.to_string()),
            last_error: standing.trouble.map(|it| Error {
                message: it.message,
                file: it.file,
                line: it.line,
                column: it.column,
                since: it.since.to_string(),
            }),
            unwatched: standing.unwatched,
            instances: set.actives().iter().map(of).collect(),
        }
    }
}
