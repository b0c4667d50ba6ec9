//! A file of lines that is set aside when it has grown large, under the same name with a number behind.
//!
//! `log.1` is the newest one set aside, `log.N` the oldest; more are not kept. A batch stands whole or not at all: what a
//! failed write left of it is cut off again, and a torn line that a crash left is ended before the next one.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::store::data_dir::create_private;

/// Such a file.
#[derive(Debug)]
pub struct Rotated {
    path: PathBuf,
    /// From how many bytes on it is set aside.
    most_bytes: u64,
    /// How many that were set aside are kept.
    kept: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    identity: (u64, u64),
    bytes: u64,
}

impl Rotated {
    /// The file at `path`, of `most_bytes` or so, and `kept` more beside it. Nothing is opened yet.
    pub fn new(path: PathBuf, most_bytes: u64, kept: u32) -> Rotated {
        Rotated { path, most_bytes, kept, open: None }
    }

    /// From how many bytes on it is set aside.
    pub fn most_bytes(&self) -> u64 {
        self.most_bytes
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends whole lines. Set aside is first, if these would make it too large.
    ///
    /// # Errors
    /// The disk refuses: nothing of these lines stands there.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut open = self.opened()?;
        if open.bytes > 0 && open.bytes + lines.len() as u64 > self.most_bytes {
            let _ = open.file.sync_all();
            self.set_aside()?;
            open = self.opened()?;
        }
        if let Err(error) = open.file.write_all(lines) {
            // If not even that works, the next one to open it finds a line without an end.
            let _ = open.file.set_len(open.bytes);
            return Err(error);
        }
        open.bytes += lines.len() as u64;
        self.open = Some(open);
        Ok(())
    }

    /// Takes the open file, unless another one stands in its place by now.
    fn opened(&mut self) -> io::Result<Open> {
        let there = fs::metadata(&self.path).ok().map(|it| (it.dev(), it.ino()));
        match self.open.take() {
            Some(open) if there == Some(open.identity) => Ok(open),
            _ => self.open_anew(),
        }
    }

    fn open_anew(&self) -> io::Result<Open> {
        if let Some(folder) = self.path.parent().filter(|it| !it.as_os_str().is_empty()) {
            create_private(folder)?;
        }
        // Not to be held up by a pipe that nobody reads.
        let mut file = File::options()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NONBLOCK)
            .open(&self.path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        if metadata.permissions().mode() & 0o777 != 0o600 {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
        }
        let mut bytes = metadata.len();
        if bytes > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                file.write_all(b"\n")?;
                bytes += 1;
            }
        }
        Ok(Open { file, identity: (metadata.dev(), metadata.ino()), bytes })
    }

    fn set_aside(&self) -> io::Result<()> {
        let numbered = |number: u32| {
            let mut name = self.path.as_os_str().to_owned();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        if self.kept == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..self.kept).rev() {
            rename_if_there(&numbered(number), &numbered(number + 1))?;
        }
        fs::rename(&self.path, numbered(1))
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<(String, usize)> {
        let entries = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
        let lines = |path: &Path| fs::read_to_string(path).unwrap().lines().count();
        let mut found: Vec<(String, usize)> =
            entries.map(|it| (it.file_name().unwrap().to_string_lossy().into_owned(), lines(&it))).collect();
        found.sort();
        found
    }

    #[test]
    fn a_full_file_is_set_aside_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("logs");
        let mut log = Rotated::new(folder.join("log"), 20, 2);
        // Two of nine bytes each fit.
        for number in 0..9 {
            log.append(format!("line {number:03}\n").as_bytes()).unwrap();
        }
        let expected = [("log".to_owned(), 1), ("log.1".to_owned(), 2), ("log.2".to_owned(), 2)];
        assert_eq!(names(&folder), expected);
        assert_eq!(fs::read_to_string(folder.join("log.2")).unwrap(), "line 004\nline 005\n");
        for (name, _) in expected {
            assert_eq!(fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        // One that is longer than a file may be has one of its own.
        log.append(format!("{}\n", "x".repeat(50)).as_bytes()).unwrap();
        assert_eq!(names(&folder)[0], ("log".to_owned(), 1));
        let mut log = Rotated::new(folder.join("log"), 20, 0);
        log.append(b"alone\n").unwrap();
        assert_eq!(fs::read_to_string(folder.join("log")).unwrap(), "alone\n");
    }

    #[test]
    fn a_torn_line_is_ended_and_a_moved_file_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::write(&path, "whole\nto").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let mut log = Rotated::new(path.clone(), 1000, 2);
        log.append(b"next\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\nto\nnext\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::rename(&path, dir.path().join("moved")).unwrap();
        log.append(b"new\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
    }

    #[test]
    fn a_refused_batch_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        fs::create_dir(&path).unwrap();
        let mut log = Rotated::new(path.clone(), 1000, 2);
        assert!(log.append(b"a\n").is_err());
        fs::remove_dir(&path).unwrap();
        log.append(b"b\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "b\n");
    }
}
