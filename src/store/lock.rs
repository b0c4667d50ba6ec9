//! The lock on the data dir: one recorder at a time, and everybody may know which.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::UnixMillis;
use crate::store::data_dir::create_private;
use crate::store::layout::Layout;

/// How often somebody else's look, or a holder who is just writing its name, is waited for. Both take an instant, and
/// so many tries some tenths of a second.
const TRIES: u32 = 100_000;

/// Who holds a data dir; the lock file's content, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// The program's version.
    pub version: String,
    /// Since when; RFC 3339 in the file.
    #[serde(serialize_with = "as_text", deserialize_with = "from_text")]
    pub started: UnixMillis,
    /// Where its clients connect.
    pub proxy: SocketAddr,
    /// Where its read API is.
    pub api: SocketAddr,
}

/// The data dir is this process's while this lives. The kernel gives it back however the process ends.
#[derive(Debug)]
#[must_use = "the data dir may be taken by another recorder as soon as this is dropped"]
pub struct DataDirLock {
    _file: File,
    /// What the operator should be told, though the recorder may start.
    pub warnings: Vec<LockWarning>,
}

/// The data dir was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another recorder has it.
    #[error(
        "the data dir {data_dir} is in use by another recorder ({holder}); end that one, or give this one a \
         storage.data_dir of its own"
    )]
    InUse {
        /// The data dir.
        data_dir: PathBuf,
        /// Who has it.
        holder: Box<Holder>,
    },
    /// Somebody has it who did not leave a name.
    #[error(
        "the data dir {data_dir} is in use by a process that {lock} does not name; end that one, or give this one a \
         storage.data_dir of its own"
    )]
    InUseBySomebody {
        /// The data dir.
        data_dir: PathBuf,
        /// The lock file.
        lock: PathBuf,
    },
    /// The lock file can neither be made nor opened.
    #[error(
        "cannot make or open {path}: {source}; run this as the user who owns the data dir, or name another one \
         (storage.data_dir)"
    )]
    Io {
        /// The lock file, or the folder for it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Something about the lock that does not hinder recording.
#[derive(Debug, thiserror::Error)]
pub enum LockWarning {
    /// The file system has no locks (some network and FUSE ones have none). Refusing would keep such systems from
    /// recording at all; most have one recorder.
    #[error("{path} cannot be locked ({source}): nothing keeps a second recorder from this data dir")]
    Unlockable {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The holder's name could not be written, because the disk is full, say.
    #[error("{path} is locked but does not say by whom: {source}")]
    Nameless {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl DataDirLock {
    /// Takes the data dir, making its folder if need be (0700) and the lock file in it (0600). Nothing else there is
    /// looked at. Does not wait.
    ///
    /// # Errors
    /// [`LockError`]; nothing was changed then.
    pub fn acquire(layout: &Layout, holder: &Holder) -> Result<DataDirLock, LockError> {
        let path = layout.lock();
        create_private(layout.root()).map_err(|source| LockError::Io { path: layout.root().into(), source })?;
        let mut file = open(&path, true).map_err(|source| LockError::Io { path: path.clone(), source })?;
        let mut warnings = Vec::new();
        match try_exclusive(&file) {
            Ok(true) => {}
            Ok(false) => return Err(in_use(layout, &mut file)),
            Err(source) => warnings.push(LockWarning::Unlockable { path: path.clone(), source }),
        }
        if let Err(source) = write_name(&mut file, holder) {
            warnings.push(LockWarning::Nameless { path, source });
        }
        Ok(DataDirLock { _file: file, warnings })
    }
}

/// The recorder that holds the data dir right now; `None` if none does.
///
/// # Errors
/// The lock file cannot be read, or it is held by somebody whom it does not name.
pub fn holder(layout: &Layout) -> Result<Option<Holder>, LockError> {
    let path = layout.lock();
    let mut file = match open(&path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(LockError::Io { path, source }),
    };
    match file.try_lock_shared() {
        // Given back at once, with the file.
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => match in_use(layout, &mut file) {
            LockError::InUse { holder, .. } => Ok(Some(*holder)),
            nameless => Err(nameless),
        },
        Err(TryLockError::Error(source)) => Err(LockError::Io { path, source }),
    }
}

fn open(path: &std::path::Path, makes: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(makes).create(makes).truncate(false).mode(0o600).open(path)
}

/// Whether the lock was got. Somebody who only looks ([`holder`]) is in the way for an instant, and told apart from a
/// recorder by sharing the lock.
fn try_exclusive(file: &File) -> io::Result<bool> {
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {}
        }
        match file.try_lock_shared() {
            Ok(()) => file.unlock()?,
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => return Ok(false),
        }
    }
    Ok(false)
}

fn write_name(file: &mut File, holder: &Holder) -> io::Result<()> {
    let text = format!("{}\n", serde_json::to_string(holder)?);
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())
}

/// Who is in the way.
fn in_use(layout: &Layout, file: &mut File) -> LockError {
    for _ in 0..TRIES {
        let mut text = String::new();
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        if read.is_ok()
            && let Ok(holder) = serde_json::from_str(&text)
        {
            return LockError::InUse { data_dir: layout.root().into(), holder: Box::new(holder) };
        }
    }
    LockError::InUseBySomebody { data_dir: layout.root().into(), lock: layout.lock() }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Holder { pid, version, started, proxy, api } = self;
        write!(f, "pid {pid}, version {version}, since {started}, proxy {proxy}, api {api}")
    }
}

fn as_text<S: Serializer>(time: &UnixMillis, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnixMillis, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn somebody(pid: u32) -> Holder {
        Holder {
            pid,
            version: "1.2.3".to_owned(),
            started: UnixMillis(1_779_877_425_810),
            proxy: ([127, 0, 0, 1], 7861).into(),
            api: ([127, 0, 0, 1], 7862).into(),
        }
    }

    #[test]
    fn a_second_holder_is_refused_and_told_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("data"));
        assert_eq!(holder(&layout).unwrap(), None);
        let first = DataDirLock::acquire(&layout, &somebody(17)).unwrap();
        assert!(first.warnings.is_empty(), "{:?}", first.warnings);
        let refused = DataDirLock::acquire(&layout, &somebody(18)).unwrap_err().to_string();
        for part in ["pid 17", "since 2026-05-27T", "127.0.0.1:7861", "127.0.0.1:7862", "storage.data_dir"] {
            assert!(refused.contains(part), "{refused}");
        }
        assert_eq!(holder(&layout).unwrap(), Some(somebody(17)));
        drop(first);
        assert_eq!(holder(&layout).unwrap(), None);
        let _second = DataDirLock::acquire(&layout, &somebody(18)).unwrap();
        assert_eq!(holder(&layout).unwrap(), Some(somebody(18)));
    }

    #[test]
    fn a_longer_name_of_an_earlier_holder_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        std::fs::write(layout.lock(), "{".repeat(4000)).unwrap();
        let _held = DataDirLock::acquire(&layout, &somebody(1)).unwrap();
        assert_eq!(holder(&layout).unwrap(), Some(somebody(1)));
    }

    #[test]
    fn the_lock_file_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let _held = DataDirLock::acquire(&layout, &somebody(1)).unwrap();
        assert_eq!(std::fs::metadata(layout.lock()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn those_who_only_look_never_keep_a_recorder_out() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        drop(DataDirLock::acquire(&layout, &somebody(1)).unwrap());
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    // On a busy machine a holder may be long at writing its name.
                    assert!(matches!(holder(&layout), Ok(_) | Err(LockError::InUseBySomebody { .. })));
                }
            });
            let taken: Vec<bool> = (0..200).map(|_| DataDirLock::acquire(&layout, &somebody(2)).is_ok()).collect();
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(taken.iter().all(|it| *it));
        });
    }
}
