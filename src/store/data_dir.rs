//! The data dir's folders: made private, and checked to be so.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::store::layout::Layout;

/// A data dir that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// A folder could not be made.
    #[error("cannot create {path}: {source}")]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A folder could not be looked at.
    #[error("cannot look at {path}: {source}")]
    Look {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Something about the data dir that an operator should be told, and that does not hinder recording.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataDirWarning {
    /// Others on this machine can get at recorded credentials.
    #[error("{path} has mode {mode:03o}: other users can reach it, and it holds credentials in clear; use 700")]
    OpenToOthers {
        /// Which folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// Makes the data dir and its fixed folders where they are missing, for their owner alone (0700).
/// Folders that exist are left as they are; what is wrong with them is returned.
///
/// # Errors
/// A folder can neither be found nor made.
pub fn create(layout: &Layout) -> Result<Vec<DataDirWarning>, DataDirError> {
    for path in [layout.root().to_owned(), layout.tmp()] {
        create_private(&path).map_err(|source| DataDirError::Create { path, source })?;
    }
    warnings(layout)
}

/// What the operator should be told of the data dir as it is.
///
/// # Errors
/// [`DataDirError::Look`].
pub fn warnings(layout: &Layout) -> Result<Vec<DataDirWarning>, DataDirError> {
    let path = layout.root();
    let metadata = std::fs::metadata(path).map_err(|source| DataDirError::Look { path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(Vec::new());
    }
    Ok(vec![DataDirWarning::OpenToOthers { path: path.to_owned(), mode }])
}

/// Whether this process may make files in a folder and look at what is there; nothing is written.
///
/// # Errors
/// It may not, or the folder cannot be looked at.
pub fn may_write(folder: &Path) -> io::Result<()> {
    let access = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    Ok(accessat(CWD, folder, access, AtFlags::EACCESS)?)
}

/// The same for reading and writing a file.
///
/// # Errors
/// It may not, or the file cannot be looked at.
pub fn may_write_file(file: &Path) -> io::Result<()> {
    Ok(accessat(CWD, file, Access::READ_OK | Access::WRITE_OK, AtFlags::EACCESS)?)
}

/// Makes a folder, and those above it, for its owner alone (0700). One that exists is left as it is.
///
/// # Errors
/// As [`DirBuilder::create`].
pub fn create_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_data_dir_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("a/b"));
        assert_eq!(create(&layout).unwrap(), []);
        assert_eq!(mode(layout.root()), 0o700);
        assert_eq!(mode(&layout.tmp()), 0o700);
    }

    #[test]
    fn an_open_data_dir_is_told_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("data"));
        create(&layout).unwrap();
        std::fs::set_permissions(layout.root(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let warnings = create(&layout).unwrap();
        assert_eq!(warnings, [DataDirWarning::OpenToOthers { path: layout.root().to_owned(), mode: 0o755 }]);
        assert_eq!(mode(layout.root()), 0o755);
    }

    #[test]
    fn a_file_in_its_place_is_an_error_that_names_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = create(&Layout::new(file.path())).unwrap_err();
        assert!(error.to_string().contains(file.path().to_str().unwrap()), "{error}");
    }
}
