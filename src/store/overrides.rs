//! `runtime_overrides.json`: what was set at run time, above YAML and environment.
//!
//! The file is replaced whole: written beside, synced, renamed over. What this version does not know in it is kept.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::store::retention_change::{BadChange, RetentionChange};

/// Larger than any that is meant.
const LARGEST_BYTES: u64 = 8 << 20;

/// The overrides could not be read or written. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OverridesError {
    /// The disk refused.
    #[error("cannot read or write {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no JSON object.
    #[error("{path}:{line}:{column}: {reason}; mend or delete the file")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1; 0 where the whole file is meant.
        column: usize,
        /// What is wrong.
        reason: String,
    },
}

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides(pub(super) Map<String, Value>);

/// Where the file at `path` is written until it is whole.
pub fn unfinished(path: &Path) -> std::path::PathBuf {
    path.with_extension("json.new")
}

/// The file's text; empty if it does not exist.
///
/// # Errors
/// [`OverridesError::Io`]; one that is too large is not read.
pub fn text(path: &Path) -> Result<Vec<u8>, OverridesError> {
    let failed = |source| OverridesError::Io { path: path.into(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut text = Vec::new();
    file.take(LARGEST_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > LARGEST_BYTES {
        return Err(failed(io::Error::other(format!("it is larger than {LARGEST_BYTES} bytes"))));
    }
    Ok(text)
}

impl Overrides {
    /// Reads the file; one that does not exist or is empty overrides nothing.
    ///
    /// # Errors
    /// [`OverridesError`].
    pub fn read(path: &Path) -> Result<Overrides, OverridesError> {
        Overrides::parse(path, &text(path)?)
    }

    /// What this text says, which stands in the file.
    ///
    /// # Errors
    /// [`OverridesError::Malformed`].
    pub fn parse(path: &Path, text: &[u8]) -> Result<Overrides, OverridesError> {
        if text.trim_ascii().is_empty() {
            return Ok(Overrides::default());
        }
        serde_json::from_slice(text).map(Overrides).map_err(|error| OverridesError::Malformed {
            path: path.into(),
            line: error.line(),
            column: error.column(),
            reason: error.to_string(),
        })
    }

    /// Replaces the file, mode 0600. Where a link stands, what it leads to is replaced.
    ///
    /// # Errors
    /// [`OverridesError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), OverridesError> {
        let failed = |source| OverridesError::Io { path: path.into(), source };
        let found = fs::canonicalize(path);
        let path = found.as_deref().unwrap_or(path);
        let beside = unfinished(path);
        let text = format!("{:#}\n", Value::Object(self.0.clone()));
        let written = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&beside, path))
            .and_then(|()| File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all());
        written.map_err(failed)
    }

    /// `media.save_attachments`, if it is overridden. A value that is no boolean is not one.
    pub fn save_attachments(&self) -> Option<bool> {
        self.0.get("media")?.get("save_attachments")?.as_bool()
    }

    /// Overrides `media.save_attachments`.
    pub fn set_save_attachments(&mut self, saves: bool) {
        let media = self.0.entry("media").or_insert_with(|| Value::Object(Map::new()));
        if !media.is_object() {
            *media = Value::Object(Map::new());
        }
        media["save_attachments"] = saves.into();
    }

    /// What is overridden of `retention`; `None` if nothing is.
    ///
    /// # Errors
    /// A member that we know is out of form, or the whole is.
    pub fn retention(&self) -> Result<Option<RetentionChange>, BadChange> {
        match self.0.get("retention") {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(members)) => RetentionChange::of_known(members).map(Some),
            Some(_) => Err(BadChange::Form("retention is no object".to_owned())),
        }
    }

    /// Overrides what the change names of `retention`. What stands there and is out of form is dropped.
    pub fn set_retention(&mut self, change: &RetentionChange) {
        let block = self.0.entry("retention").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(members) = block {
            RetentionChange::drop_malformed(members);
            change.write_to(members);
        } else {
            let mut members = Map::new();
            change.write_to(&mut members);
            *block = Value::Object(members);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read_back_and_the_rest_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runtime_overrides.json");
        assert_eq!(Overrides::read(&path).unwrap().save_attachments(), None);
        fs::write(&path, r#"{"retention":{"max_bytes":5},"media":{"later":1},"new":[1]}"#).unwrap();
        let mut overrides = Overrides::read(&path).unwrap();
        overrides.set_save_attachments(false);
        overrides.write(&path).unwrap();
        let found: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let expected =
            serde_json::json!({"retention":{"max_bytes":5},"media":{"later":1,"save_attachments":false},"new":[1]});
        assert_eq!(found, expected);
        assert_eq!(Overrides::read(&path).unwrap().save_attachments(), Some(false));
    }

    #[test]
    fn a_broken_file_is_told_with_its_place_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runtime_overrides.json");
        for (text, place) in [("{\n \"media\": tru }", ":2:"), ("[]", ":1:"), ("{} x", ":1:4")] {
            fs::write(&path, text).unwrap();
            let error = Overrides::read(&path).unwrap_err().to_string();
            assert!(error.contains(place), "{text}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn retention_is_merged_and_a_malformed_member_is_told_until_it_is_set() {
        let overrides = |text: &str| Overrides(serde_json::from_str(text).unwrap());
        assert_eq!(overrides("{}").retention().unwrap(), None);
        assert!(overrides(r#"{"retention":[]}"#).retention().is_err());
        let mut found = overrides(r#"{"retention":{"max_bytes":"5","max_age_days":3,"later":1}}"#);
        assert!(found.retention().is_err());
        found.set_retention(&RetentionChange { warn_at_percent: Some(70), ..RetentionChange::default() });
        let expected = serde_json::json!({"retention":{"max_age_days":3,"later":1,"warn_at_percent":70}});
        assert_eq!(Value::Object(found.0.clone()), expected);
        let change = found.retention().unwrap().unwrap();
        assert_eq!((change.max_bytes, change.max_age_days, change.warn_at_percent), (None, Some(3), Some(70)));
    }

    #[test]
    fn an_empty_file_overrides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runtime_overrides.json");
        fs::write(&path, "\n").unwrap();
        assert_eq!(Overrides::read(&path).unwrap(), Overrides::default());
    }
}
