//! An archive unpacked: only plain files and folders, only below one folder, only so much.
//!
//! Sizes that an archive states are not believed: what comes out is counted.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zip::ZipArchive;
use zip::read::ZipFile;

use super::manifest::Kept;
use super::{INDEX, hex};

/// How much an archive may come to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Files and folders.
    pub entries: usize,
    /// Bytes of all files together.
    pub bytes: u64,
}

impl Limits {
    /// What releases are held to.
    pub const RELEASE: Limits = Limits { entries: 10_000, bytes: 256 << 20 };
}

/// The folder that archives may have around everything.
const AROUND: &str = "dist";
/// Kinds of files, as Unix tells them in a mode: which bits, and those of plain files and folders.
const KIND: u32 = 0o170_000;
const PLAIN: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
/// The longest name of a file or folder, in bytes; what file systems take.
const LONGEST_NAME: usize = 255;
/// The most folders in each other.
const DEEPEST: usize = 32;

/// Why an archive is not unpacked. Files that were made before stay, for their folder to be removed.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// It cannot be read as a zip archive.
    #[error("the archive cannot be read: {0}")]
    Form(String),
    /// It holds what none may hold.
    #[error("the archive's entry {name:?} is refused: {why}")]
    Entry {
        /// Its name, as far as it is text.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It holds too many entries.
    #[error("the archive has {found} entries, more than {most}")]
    TooMany {
        /// How many it says it has.
        found: usize,
        /// How many it may have.
        most: usize,
    },
    /// It unpacks to too much.
    #[error("the archive unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// It is no site.
    #[error("the archive has no {INDEX}")]
    NoIndex,
    /// The disk refused it.
    #[error("cannot unpack the archive: {0}")]
    Disk(#[from] io::Error),
}

/// Unpacks `archive` below `into`, which must exist and be empty; tells what came of it, by path.
///
/// If all of it stands in a folder `dist`, what is in there is unpacked.
///
/// # Errors
/// [`UnpackError`].
pub fn unpack(archive: File, into: &Path, limits: Limits) -> Result<BTreeMap<String, Kept>, UnpackError> {
    let mut archive = ZipArchive::new(io::BufReader::new(archive)).map_err(|it| UnpackError::Form(it.to_string()))?;
    if archive.len() > limits.entries {
        return Err(UnpackError::TooMany { found: archive.len(), most: limits.entries });
    }
    if archive.has_duplicate_names() {
        return Err(UnpackError::Form("a name stands in it twice".to_owned()));
    }
    // All names before the first file.
    let mut paths = Vec::with_capacity(archive.len());
    for at in 0..archive.len() {
        let entry = archive.by_index(at).map_err(|it| UnpackError::Form(it.to_string()))?;
        paths.push(checked(&entry)?);
    }
    let is_within =
        |it: &Checked| it.parts.first().is_some_and(|it| it == AROUND) && (it.parts.len() > 1 || it.is_folder);
    let is_wrapped = paths.iter().all(is_within);
    let mut kept = BTreeMap::new();
    let mut left = limits.bytes;
    for (at, path) in paths.iter().enumerate() {
        let parts = if is_wrapped { &path.parts[1..] } else { &path.parts[..] };
        let (Some(name), false) = (parts.last(), path.is_folder) else {
            make_folders(into, parts)?;
            continue;
        };
        let folder = make_folders(into, &parts[..parts.len() - 1])?;
        let mut entry = archive.by_index(at).map_err(|it| UnpackError::Form(it.to_string()))?;
        let copied = copy(&mut entry, &folder.join(name), left).map_err(|error| match error {
            Copying::TooLarge => UnpackError::TooLarge(limits.bytes),
            Copying::Twice => refused(&parts.join("/"), "it is there twice, or in the place of a folder"),
            Copying::Read(error) => UnpackError::Form(format!("{}: {error}", parts.join("/"))),
            Copying::Write(error) => UnpackError::Disk(error),
        })?;
        left -= copied.bytes;
        kept.insert(parts.join("/"), copied);
    }
    if kept.contains_key(INDEX) { Ok(kept) } else { Err(UnpackError::NoIndex) }
}

/// Where an entry goes.
struct Checked {
    parts: Vec<String>,
    is_folder: bool,
}

fn refused(name: &str, why: &'static str) -> UnpackError {
    UnpackError::Entry { name: name.to_owned(), why }
}

fn checked<R: Read>(entry: &ZipFile<'_, R>) -> Result<Checked, UnpackError> {
    let raw = entry.name_raw();
    let shown = String::from_utf8_lossy(raw).into_owned();
    let refused = |why| refused(&shown, why);
    let name = std::str::from_utf8(raw).map_err(|_| refused("its name is not UTF-8"))?;
    if entry.encrypted() {
        return Err(refused("it is encrypted"));
    }
    let is_folder = name.ends_with('/');
    match entry.unix_mode().map_or(0, |mode| mode & KIND) {
        0 => {}
        PLAIN if !is_folder => {}
        FOLDER if is_folder => {}
        _ => return Err(refused("it is neither a plain file nor a folder")),
    }
    let parts = parts(name).map_err(refused)?;
    Ok(Checked { parts, is_folder })
}

/// The folders and the name that a path leads through, none of which leads elsewhere on any system.
fn parts(name: &str) -> Result<Vec<String>, &'static str> {
    if name.starts_with('/') {
        return Err("its name is absolute");
    }
    if name.contains('\\') {
        return Err("its name has a backslash");
    }
    if name.contains(':') {
        return Err("its name has a colon");
    }
    if name.chars().any(char::is_control) {
        return Err("its name has a control character");
    }
    let parts: Vec<&str> = name.strip_suffix('/').unwrap_or(name).split('/').collect();
    if parts.contains(&"..") {
        return Err("its name leads upwards");
    }
    if parts.iter().any(|it| matches!(*it, "" | ".")) {
        return Err("its name has an empty part");
    }
    if parts.iter().any(|it| it.len() > LONGEST_NAME) || parts.len() > DEEPEST {
        return Err("its name is too long");
    }
    Ok(parts.into_iter().map(str::to_owned).collect())
}

/// Makes the folders that are missing, for everybody to read.
fn make_folders(into: &Path, parts: &[String]) -> Result<PathBuf, UnpackError> {
    let mut folder = into.to_owned();
    for part in parts {
        folder.push(part);
        match fs::create_dir(&folder) {
            Ok(()) => fs::set_permissions(&folder, Permissions::from_mode(0o755))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(refused(&parts.join("/"), "it is there twice, or in the place of a file"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(folder)
}

/// How a copy goes wrong, by whose fault.
enum Copying {
    TooLarge,
    Twice,
    Read(io::Error),
    Write(io::Error),
}

fn copy(from: &mut impl Read, to: &Path, most: u64) -> Result<Kept, Copying> {
    let mut file = File::create_new(to).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Copying::Twice,
        _ => Copying::Write(error),
    })?;
    file.set_permissions(Permissions::from_mode(0o644)).map_err(Copying::Write)?;
    let (mut digest, mut bytes, mut buffer) = (Sha256::new(), 0_u64, vec![0; 64 << 10]);
    loop {
        // To its very end, where what was read is held against its checksum.
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Copying::Read(error)),
        };
        bytes += read as u64;
        if bytes > most {
            return Err(Copying::TooLarge);
        }
        digest.update(&buffer[..read]);
        file.write_all(&buffer[..read]).map_err(Copying::Write)?;
    }
    Ok(Kept { bytes, sha256: hex(&digest.finalize()) })
}

#[cfg(test)]
mod tests;
