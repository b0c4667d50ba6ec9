//! The admin token: the one credential of the read API.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A token that is made is so many random bytes, written as hex.
const TOKEN_BYTES: usize = 32;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file could not be read or made.
    #[error("cannot read or create {path}: {source}")]
    Io {
        /// The token file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds nothing but white space.
    #[error("{0} is empty; delete it to have a token made, or put one into it")]
    Empty(PathBuf),
}

/// A token as it was found.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The secret. Never logged.
    pub secret: String,
    /// It was made just now.
    pub is_new: bool,
    /// Others on this machine can read the file.
    pub is_exposed: bool,
}

/// Reads the token, making one if the file does not exist: 64 hex digits, mode 0600, made exclusively.
///
/// # Errors
/// [`TokenError`].
pub fn read_or_create(path: &Path) -> Result<Token, TokenError> {
    let failed = |source| TokenError::Io { path: path.into(), source };
    match read(path) {
        Err(TokenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        outcome => return outcome,
    }
    let mut random = [0; TOKEN_BYTES];
    File::open("/dev/urandom").and_then(|mut it| it.read_exact(&mut random)).map_err(failed)?;
    let secret: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            if let Err(error) = file.write_all(format!("{secret}\n").as_bytes()).and_then(|()| file.sync_all()) {
                // An empty one would keep the next start from making it.
                let _ = fs::remove_file(path);
                return Err(failed(error));
            }
            Ok(Token { secret, is_new: true, is_exposed: false })
        }
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(failed(error)),
    }
}

/// Reads the token.
///
/// # Errors
/// [`TokenError`].
pub fn read(path: &Path) -> Result<Token, TokenError> {
    let failed = |source| TokenError::Io { path: path.into(), source };
    let text = fs::read_to_string(path).map_err(failed)?;
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    match text.trim() {
        "" => Err(TokenError::Empty(path.into())),
        secret => Ok(Token { secret: secret.into(), is_new: false, is_exposed: mode & 0o077 != 0 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin_token");
        let made = read_or_create(&path).unwrap();
        assert!(made.is_new && made.secret.len() == 64);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = read_or_create(&path).unwrap();
        assert!(!again.is_new && again.secret == made.secret);
    }

    #[test]
    fn an_empty_file_is_an_error_and_a_readable_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin_token");
        fs::write(&path, " \n").unwrap();
        assert!(matches!(read_or_create(&path), Err(TokenError::Empty(_))));
        fs::write(&path, " mine \n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let found = read_or_create(&path).unwrap();
        assert_eq!((found.secret.as_str(), found.is_exposed), ("mine", true));
    }
}
