//! What was unpacked from a release: kept beside it, so that a copy that was cut short, damaged or added to is noticed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hex;

/// The files of an unpacked release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Digest of the archive that they are from.
    pub archive_sha256: String,
    /// By their path below the folder, with `/` between.
    pub files: BTreeMap<String, Kept>,
}

/// A file as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its length.
    pub bytes: u64,
    /// Its digest, in hex.
    pub sha256: String,
}

/// Why an unpacked release is not what it was.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The manifest is missing, or is none.
    #[error("its manifest cannot be read: {0}")]
    Manifest(String),
    /// It is from another archive.
    #[error("it is from the archive {0}")]
    OtherArchive(String),
    /// A file is missing or has other bytes.
    #[error("{0} is not as it was unpacked")]
    Changed(String),
    /// Something stands there that was not unpacked.
    #[error("{0} was not in the release")]
    Added(String),
    /// It cannot be looked at.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

impl Manifest {
    /// Writes it. The files are not forced to the disk: what a loss of power takes from them is noticed.
    ///
    /// # Errors
    /// As [`fs::write`].
    pub fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, serde_json::to_vec_pretty(self)?)
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`Damage::Manifest`].
    pub fn read(path: &Path) -> Result<Manifest, Damage> {
        let text = fs::read(path).map_err(|error| Damage::Manifest(error.to_string()))?;
        serde_json::from_slice(&text).map_err(|error| Damage::Manifest(error.to_string()))
    }

    /// Holds a folder against it, byte by byte.
    ///
    /// # Errors
    /// The first [`Damage`] that is found.
    pub fn check(&self, archive_sha256: &str, folder: &Path) -> Result<(), Damage> {
        if self.archive_sha256 != archive_sha256 {
            return Err(Damage::OtherArchive(self.archive_sha256.clone()));
        }
        let mut missing = self.files.clone();
        self.check_folder(folder, "", &mut missing)?;
        missing.into_keys().next().map_or(Ok(()), |name| Err(Damage::Changed(name)))
    }

    fn check_folder(&self, folder: &Path, before: &str, missing: &mut BTreeMap<String, Kept>) -> Result<(), Damage> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = format!("{before}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.check_folder(&entry.path(), &format!("{name}/"), missing)?;
                continue;
            }
            let Some(kept) = missing.remove(&name) else { return Err(Damage::Added(name)) };
            if !kind.is_file() || entry.metadata()?.len() != kept.bytes || digest(&entry.path())? != kept.sha256 {
                return Err(Damage::Changed(name));
            }
        }
        Ok(())
    }
}

fn digest(path: &Path) -> io::Result<String> {
    let (mut file, mut digest) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 64 << 10];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hex(&digest.finalize())),
            read => digest.update(&buffer[..read]),
        }
    }
}
