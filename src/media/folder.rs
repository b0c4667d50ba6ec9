//! The folder of a trace's attachments.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Attachment;

/// What hidden names of unfinished files end with.
const UNFINISHED: &str = ".tmp";

/// What [`write()`] did.
#[derive(Debug, Default)]
pub struct Written {
    /// How many files there are now: numbered from 0 to one less.
    pub count: u32,
    /// Their bytes.
    pub bytes: u64,
    /// What could not be written. It used up no number.
    pub failures: Vec<WriteError>,
}

/// A file or folder of attachments that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write attachment {path}: {source}")]
pub struct WriteError {
    /// The file or folder.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Writes attachments as `<number>.<extension>` into `dir`, which is made (0700, with its parents) if there are any.
///
/// A file (0600) appears whole or not at all, even if the machine stops: it is written and synced under a name that
/// begins with a dot, then renamed. Written again, the same attachments give the same files, and what else a torn
/// attempt left in the folder is removed. A failed file is skipped and reported; the next one gets its number.
pub fn write(dir: &Path, attachments: &[Attachment]) -> Written {
    let mut written = Written::default();
    if attachments.is_empty() {
        return written;
    }
    let failed = |path: &Path, source| WriteError { path: path.to_owned(), source };
    if let Err(error) = DirBuilder::new().recursive(true).mode(0o700).create(dir) {
        written.failures.push(failed(dir, error));
        return written;
    }
    let mut names = Vec::with_capacity(attachments.len());
    for attachment in attachments {
        let name = format!("{}.{}", written.count, attachment.extension);
        match write_file(dir, &name, &attachment.bytes) {
            Ok(()) => {
                written.count += 1;
                written.bytes += attachment.bytes.len() as u64;
                names.push(name);
            }
            Err(error) => written.failures.push(failed(&dir.join(name), error)),
        }
    }
    if written.failures.is_empty() {
        remove_others(dir, &names);
    }
    if let Err(error) = File::open(dir).and_then(|folder| folder.sync_all()) {
        written.failures.push(failed(dir, error));
    }
    written
}

/// How many attachments stand in `dir`: whole ones only, and none if it is not there or cannot be read.
pub fn count(dir: &Path) -> u32 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let whole = entries.flatten().filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    u32::try_from(whole.count()).unwrap_or(u32::MAX)
}

/// The name of the attachment whose number is written like this; `None` if there is none.
///
/// # Errors
/// The folder cannot be read.
pub fn find(dir: &Path, number: &str) -> io::Result<Option<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if name
            .split_once('.')
            .is_some_and(|(stem, extension)| !stem.is_empty() && stem == number && !extension.is_empty())
        {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Whether a file of this name is an attachment that was not finished.
pub fn is_unfinished(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(UNFINISHED)
}

fn write_file(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let unfinished = dir.join(format!(".{name}{UNFINISHED}"));
    // Left by an attempt that was cut off; mostly it is not there.
    let _ = fs::remove_file(&unfinished);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&unfinished, dir.join(name)));
    if written.is_err() {
        // The error that counts is already there.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// Removes all files but those of these names. What stays because of an error does no harm.
fn remove_others(dir: &Path, names: &[String]) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if !names.iter().any(|name| entry.file_name() == name.as_str()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::media::payload::attachment;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_numbered_private_and_the_same_when_written_again() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("2026-05-27/a1b2c3d4/media/01ARZ");
        let attachments = [attachment("image/png", b"one".to_vec()), attachment("x/y", b"two".to_vec())];
        for _ in 0..2 {
            let written = write(&dir, &attachments);
            assert_eq!((written.count, written.bytes, written.failures.len()), (2, 6, 0));
            assert_eq!(names(&dir), ["0.png", "1.bin"]);
            assert_eq!(count(&dir), 2);
        }
        assert_eq!(fs::read(dir.join("1.bin")).unwrap(), b"two");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&dir.join("0.png"))), (0o700, 0o600));
    }

    #[test]
    fn an_attachment_is_found_by_its_number_as_it_is_written() {
        let root = tempfile::tempdir().unwrap();
        for name in ["0.png", "10.bin", ".1.png.tmp", "1"] {
            fs::write(root.path().join(name), "x").unwrap();
        }
        let found = |number: &str| find(root.path(), number).unwrap();
        assert_eq!((found("0").as_deref(), found("10").as_deref()), (Some("0.png"), Some("10.bin")));
        for none in ["1", "00", "+0", "", "2"] {
            assert_eq!(found(none), None, "{none}");
        }
        assert_eq!(find(&root.path().join("none"), "0").unwrap(), None);
    }

    #[test]
    fn nothing_is_made_for_nothing() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("media");
        assert_eq!(write(&dir, &[]).count, 0);
        assert!(!dir.exists());
    }

    #[test]
    fn a_torn_attempt_is_cleared_away() {
        let root = tempfile::tempdir().unwrap();
        for left in [".0.png.tmp", "0.jpg", "7.png"] {
            fs::write(root.path().join(left), "old").unwrap();
        }
        assert_eq!((count(root.path()), count(&root.path().join("none"))), (2, 0));
        write(root.path(), &[attachment("image/png", b"new".to_vec())]);
        assert_eq!(names(root.path()), ["0.png"]);
        assert_eq!(fs::read(root.path().join("0.png")).unwrap(), b"new");
    }

    #[test]
    fn a_failed_file_is_reported_and_uses_up_no_number() {
        let root = tempfile::tempdir().unwrap();
        // A folder stands where the file belongs: renaming fails.
        fs::create_dir(root.path().join("0.png")).unwrap();
        let written =
            write(root.path(), &[attachment("image/png", b"a".to_vec()), attachment("image/gif", b"b".to_vec())]);
        assert_eq!(written.count, 1);
        assert_eq!(written.failures[0].path, root.path().join("0.png"));
        assert_eq!(names(root.path()), ["0.gif", "0.png"]);
        let blocked = root.path().join("0.gif/media");
        let written = write(&blocked, &[attachment("image/png", b"a".to_vec())]);
        assert_eq!((written.count, written.failures.len()), (0, 1));
    }
}
