//! The data dir: whether it is there or can be made, for whom, with how much room, and who holds it.

use std::io;
use std::path::{Path, PathBuf};

use api_log::access;
use api_log::config::Config;
use api_log::store::data_dir::{self, DataDirWarning};
use api_log::store::disk::{DiskSpace, Room};
use api_log::store::layout::Layout;
use api_log::store::lock::{Holder, LockError};

use super::{Check, Finding, Severity};

/// Looks at it, and changes nothing.
pub(super) fn check(
    config: &Config,
    layout: &Layout,
    holder: &Result<Option<Holder>, LockError>,
    findings: &mut Vec<Finding>,
) {
    let root = layout.root();
    let mut found = |severity, place: &Path, what: String, advice: &str| {
        let place = place.display().to_string();
        findings.push(Finding { check: Check::DataDir, severity, place, what, advice: advice.to_owned() });
    };
    let there = match nearest_that_is_there(root) {
        Ok(there) => there,
        Err((path, error)) => {
            let advice =
                "let the recorder's user in, or set storage.data_dir; if it is another user's, check as that one";
            return found(Severity::Error, &path, format!("cannot be looked at: {error}"), advice);
        }
    };
    let is_made = there == root;
    if !there.is_dir() {
        let advice = "move it away, or set storage.data_dir to a folder";
        // Nothing else can be told of it.
        return found(Severity::Error, &there, "it stands where a folder is wanted, and is none".to_owned(), advice);
    }
    if let Err(error) = data_dir::may_write(&there) {
        let what = if is_made { "this user cannot write to it" } else { "this user cannot make the data dir in it" };
        let advice = "give the recorder's user a folder of its own (mode 700), or set storage.data_dir to one; if it \
                      is another user's, check as that one";
        found(Severity::Error, &there, format!("{what}: {error}"), advice);
    } else if !is_made {
        found(Severity::Note, root, "it is not there yet, and will be made".to_owned(), "");
    }
    for path in [layout.index(), layout.overrides(), layout.token(), layout.lock()] {
        if is_made && path.exists() && data_dir::may_write_file(&path).is_err() {
            let what = "this user cannot write to it".to_owned();
            found(Severity::Error, &path, what, "give it to the recorder's user, as all in the data dir");
        }
    }
    if is_made {
        for warning in data_dir::warnings(layout).unwrap_or_default() {
            let DataDirWarning::OpenToOthers { path, mode } = warning;
            let what = format!("mode {mode:03o} lets other users in, and it holds credentials in clear");
            found(Severity::Warning, &path, what, "chmod 700");
        }
    }
    match holder {
        Ok(None) => {}
        Ok(Some(holder)) => {
            let what = format!("a recorder has it ({holder})");
            found(Severity::Note, root, what, "that one can be reloaded; another wants a data dir of its own");
        }
        Err(error @ LockError::Io { .. }) => {
            found(Severity::Warning, &layout.lock(), error.to_string(), "who holds the data dir is not known");
        }
        Err(error) => found(Severity::Error, &layout.lock(), error.to_string(), ""),
    }
    check_room(config, root, &there, &mut found);
    if let Some(path) = &config.api.token_file
        && let Err(error) = access::read(path)
    {
        found(Severity::Error, path, error.to_string(), "its tokens are refused until then (api.token_file)");
    }
}

fn check_room(config: &Config, root: &Path, there: &Path, found: &mut impl FnMut(Severity, &Path, String, &str)) {
    let space = match DiskSpace::of(there) {
        Ok(space) => space,
        Err(error) => {
            let what = format!("how much room its disk has is not known: {error}");
            return found(Severity::Warning, root, what, "look at it with df");
        }
    };
    let advice = "make room, move storage.data_dir, or set a limit: retention.max_bytes, retention.max_age";
    let least = config.storage.min_free_bytes;
    let what = format!("{} MiB are free on its disk ({} %)", space.free >> 20, space.free_percent());
    if space.free < least {
        let what = format!("{what}, less than storage.min_free_bytes: bodies would not be recorded");
        found(Severity::Error, root, what, advice);
    } else if space.room(Room::Ample) != Room::Ample {
        found(Severity::Warning, root, what, advice);
    }
}

/// The path, or the nearest of those above it that exists; or the one that cannot be looked at, and why.
fn nearest_that_is_there(path: &Path) -> Result<PathBuf, (PathBuf, io::Error)> {
    for above in path.ancestors().filter(|it| !it.as_os_str().is_empty()) {
        match above.symlink_metadata() {
            Ok(_) => return Ok(above.to_owned()),
            // Beneath a file nothing is found either; that one is.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => return Err((above.to_owned(), error)),
        }
    }
    Ok(PathBuf::from("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_of_a_path_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let nearest = |path: &Path| nearest_that_is_there(path).unwrap();
        assert_eq!(nearest(&dir.path().join("a/b")), dir.path());
        assert_eq!(nearest(dir.path()), dir.path());
        assert_eq!(nearest(Path::new("no-such-folder-here/b")), Path::new("."));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(nearest(&file.path().join("a")), file.path());
    }
}
