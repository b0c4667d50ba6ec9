//! `api.access_log`: whether it is written down who read what, and where.

use std::path::PathBuf;

use super::kinds::{Scalar, Switch};
use super::table::Rules;
use super::texts::FilePath;

/// Where it is written down who read what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// In the data folder.
    InDataDir,
    /// In this file.
    At(PathBuf),
}

impl Scalar for AccessLog {
    type Value = AccessLog;
    const NAME: &'static str = "a place for the access log";

    fn parse(text: &str) -> Result<AccessLog, String> {
        match Switch::parse(text) {
            Ok(true) => Ok(AccessLog::InDataDir),
            Ok(false) => Ok(AccessLog::Off),
            Err(_) if text.is_empty() => Ok(AccessLog::Off),
            Err(_) => FilePath::parse(text).map(AccessLog::At),
        }
    }

    fn choices(_: Rules) -> String {
        "true, false, or the path of a file".to_owned()
    }

    fn text(value: &AccessLog) -> String {
        match value {
            AccessLog::Off => "false".to_owned(),
            AccessLog::InDataDir => "true".to_owned(),
            AccessLog::At(path) => path.to_string_lossy().into_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_switch_or_a_path() {
        for (text, place) in [
            ("true", AccessLog::InDataDir),
            ("off", AccessLog::Off),
            ("", AccessLog::Off),
            ("/var/log/a.jsonl", AccessLog::At("/var/log/a.jsonl".into())),
        ] {
            assert_eq!(AccessLog::parse(text).unwrap(), place, "{text}");
            assert_eq!(AccessLog::parse(&AccessLog::text(&place)).unwrap(), place);
        }
        assert!(AccessLog::parse("a\0b").is_err());
    }
}
