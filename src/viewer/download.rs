//! An archive on its way to the disk: digested as it comes, and never longer than it may be.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::hex;

/// The longest archive, in bytes. The viewer's is some hundred kilobytes.
pub const MOST_BYTES: u64 = 64 << 20;

/// A file that is being written. Nobody reads it before [`Download::finish`].
pub struct Download {
    file: File,
    path: PathBuf,
    digest: Sha256,
    bytes: u64,
    most: u64,
}

/// Why an archive could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// It goes on beyond the limit.
    #[error("the archive is longer than {0} bytes")]
    TooLong(u64),
    /// The disk refused it.
    #[error("{0}")]
    Disk(#[from] io::Error),
}

/// Not the archive that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sha256 mismatch: the archive has {found}, and {wanted} was wanted; nothing of it was unpacked")]
pub struct Mismatch {
    /// The digest of what came.
    pub found: String,
    /// That of the release.
    pub wanted: String,
}

impl Download {
    /// Begins a new file at `path`, of at most so many bytes.
    ///
    /// # Errors
    /// As [`File::create_new`].
    pub fn begin(path: &Path, most: u64) -> io::Result<Download> {
        let file = File::create_new(path)?;
        Ok(Download { file, path: path.to_owned(), digest: Sha256::new(), bytes: 0, most })
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`DownloadError`]; what follows would be in vain.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), DownloadError> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.most {
            return Err(DownloadError::TooLong(self.most));
        }
        self.digest.update(bytes);
        Ok(self.file.write_all(bytes)?)
    }

    /// The whole archive, if it is the one wanted.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn finish(self, wanted: &str) -> Result<PathBuf, Mismatch> {
        let found = hex(&self.digest.finalize());
        if found == wanted { Ok(self.path) } else { Err(Mismatch { found, wanted: wanted.to_owned() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of `abc` (FIPS 180-2).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn only_what_has_the_digest_is_given_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut download = Download::begin(&path, 3).unwrap();
        download.write(b"a").unwrap();
        download.write(b"bc").unwrap();
        let path = download.finish(ABC).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"abc");

        let mut other = Download::begin(&dir.path().join("b"), 3).unwrap();
        other.write(b"abd").unwrap();
        let mismatch = other.finish(ABC).unwrap_err();
        assert!(mismatch.to_string().starts_with("sha256 mismatch"), "{mismatch}");
    }

    #[test]
    fn what_goes_on_too_long_is_broken_off() {
        let dir = tempfile::tempdir().unwrap();
        let mut download = Download::begin(&dir.path().join("a"), 3).unwrap();
        download.write(b"ab").unwrap();
        assert!(matches!(download.write(b"cd"), Err(DownloadError::TooLong(3))));
    }
}
