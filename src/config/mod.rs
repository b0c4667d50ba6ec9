//! Configuration: built-in defaults, then the YAML file, then `APILOG_*` variables; the later wins.
//!
//! Everything known about a key stands in one row of the table in `keys.rs`: from it come the typed [`Config`], the
//! reading and checking of file and environment, the variable names and the documented example file.

mod access_log;
mod address;
mod complaint;
mod cross_checks;
mod environment;
mod example;
mod explain;
mod file;
mod fsync;
mod keys;
mod kinds;
mod lists;
mod otlp;
mod quantities;
mod schema;
mod seal;
mod sources;
mod suggestion;
mod table;
mod texts;
mod yaml;

use std::path::Path;

pub use access_log::AccessLog;
pub use address::{ListenAddress, ListenHost, Upstream};
pub use complaint::{Complaint, Complaints, Origin, Warning};
pub use example::example;
pub use explain::{Explained, Explanation, named};
pub use fsync::Fsync;
pub use keys::{
    Api, Capture, Config, Diagnostics, Index, Logging, Media, Otlp, Plugins, Proxy, Retention, Shutdown, Storage,
    Timeouts, Viewer, keys,
};
pub use kinds::Level;
pub use otlp::{SecretField, SpanContent};
pub use schema::schema;
pub use seal::Seal;
pub use sources::Sources;
pub use table::{Change, Key, Rules};
pub use texts::Secret;

impl Config {
    /// Reads the defaults, the YAML file if there is one, and the `APILOG_*` ones of the variables given.
    ///
    /// # Errors
    /// Every complaint at once: unreadable or malformed file, unknown keys, wrong types, values out of range.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<(Config, Vec<Warning>), Complaints> {
        let mut sources = Sources::new();
        if let Some(file) = file {
            sources.add_file(file);
        }
        sources.add_environment(environment);
        sources.into_config()
    }
}

impl Index {
    /// How many bytes of a trace's texts the index keeps; `None` for none.
    pub fn text_bytes(&self) -> Option<usize> {
        self.full_text.then_some(self.full_text_bytes)
    }
}

/// What the program does when nothing is configured.
impl Default for Config {
    #[expect(
        clippy::expect_used,
        reason = "the defaults are literals; a test shows that they are read without complaint"
    )]
    fn default() -> Config {
        Sources::new().into_config().expect("the built-in defaults are valid").0
    }
}

#[cfg(test)]
mod tests;
