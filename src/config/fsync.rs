//! `storage.fsync`: when what is recorded must be on the disk.

use std::fmt;

use serde_json::{Value as Schema, json};

use super::kinds::Scalar;
use super::table::Rules;

/// When appended lines are forced to the disk. Whatever it is, they survive the end of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// When their file is closed. A loss of power costs what the system had not written by itself: some 30 seconds.
    Never,
    /// Every `storage.fsync_interval` while there are new ones. A loss of power costs about so much.
    Interval,
    /// Before they count as recorded. A loss of power costs none that did.
    Always,
}

impl Fsync {
    const ALL: [Fsync; 3] = [Fsync::Never, Fsync::Interval, Fsync::Always];
}

impl fmt::Display for Fsync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fsync::Never => "never",
            Fsync::Interval => "interval",
            Fsync::Always => "always",
        })
    }
}

impl Scalar for Fsync {
    type Value = Fsync;
    const NAME: &'static str = "a time to force lines to the disk";

    fn parse(text: &str) -> Result<Fsync, String> {
        let wanted = text.trim().to_ascii_lowercase();
        Fsync::ALL.into_iter().find(|it| it.to_string() == wanted).ok_or_else(String::new)
    }

    fn choices(_: Rules) -> String {
        "never, interval, always".to_owned()
    }

    fn text(value: &Fsync) -> String {
        value.to_string()
    }

    fn schema(_: Rules) -> Schema {
        json!({"enum": Fsync::ALL.map(|it| it.to_string())})
    }
}
