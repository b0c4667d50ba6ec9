//! Where arenas stand: in memory that survives the process, never on a disk.
//!
//! A store into a mapping of a file on a disk may wait for that disk, or end the process if the disk is full; one into
//! a `tmpfs` that was allocated before does neither.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::arena::{self, Geometry};
use crate::ids::TraceId;
use crate::store::data_dir::create_private;
use crate::store::layout::Layout;

/// Where shared memory is on Linux.
const SHARED_MEMORY: &str = "/dev/shm";
/// `f_type` of a `tmpfs`.
const TMPFS: u64 = 0x0102_1994;
/// What names of captures that could not be read end with.
const UNREADABLE: &str = ".unreadable";
/// With less room than this there is no point.
const LEAST_BYTES: u64 = 4 << 20;

/// A folder of arenas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
    /// It was made for one data dir in a place that others use too.
    is_shared_place: bool,
}

/// An arena that nobody uses any more.
#[derive(Debug)]
pub struct Abandoned {
    /// Its identity.
    pub id: TraceId,
    /// Open for reading and writing, and locked for as long as it is open.
    pub file: File,
    /// Where it is.
    pub path: PathBuf,
}

impl Abandoned {
    /// No id of its process was above one with this high half.
    pub fn last_id(&self) -> Option<u64> {
        // It was noted about once a second; an id's time is in milliseconds, above a counter of 16 bits.
        arena::last_id(&self.file).ok().map(|noted| noted.saturating_add(10_000 << 16))
    }
}

/// Why captures cannot stand in memory that survives the process.
#[derive(Debug, thiserror::Error)]
pub enum NoPlace {
    /// There is no `tmpfs`.
    #[error("neither the data folder's tmp/ nor {SHARED_MEMORY} is a tmpfs")]
    NoTmpfs,
    /// It is too small.
    #[error("{0} has no room")]
    NoRoom(PathBuf),
    /// Somebody else made the folder.
    #[error("{0} is not a folder of this user alone")]
    NotOurs(PathBuf),
    /// It cannot be had.
    #[error("{path}: {source}")]
    Failed {
        /// Which folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Folder {
    /// The folder for the arena of this data dir: the one `asked` for, else `tmp/` if that is a `tmpfs`, else one of
    /// its own in `/dev/shm`. Made if it is not there.
    ///
    /// # Errors
    /// There is none.
    pub fn choose(layout: &Layout, asked: Option<&Path>) -> Result<Folder, NoPlace> {
        let folder = match asked {
            Some(path) => Folder { path: path.to_owned(), is_shared_place: false },
            None if is_tmpfs(&layout.tmp()) => Folder { path: layout.tmp(), is_shared_place: false },
            None if is_tmpfs(Path::new(SHARED_MEMORY)) => Folder::in_shared_memory(layout)?,
            None => return Err(NoPlace::NoTmpfs),
        };
        let failed = |source| NoPlace::Failed { path: folder.path.clone(), source };
        create_private(&folder.path).map_err(failed)?;
        if folder.is_shared_place && !is_private(&folder.path).map_err(failed)? {
            return Err(NoPlace::NotOurs(folder.path));
        }
        if folder.room() < LEAST_BYTES {
            return Err(NoPlace::NoRoom(folder.path));
        }
        Ok(folder)
    }

    /// Every folder where an earlier process may have left an arena of this data dir. Nothing is made.
    pub fn all(layout: &Layout, asked: Option<&Path>) -> Vec<Folder> {
        let asked = asked.map(|path| Folder { path: path.to_owned(), is_shared_place: false });
        let tmp = Folder { path: layout.tmp(), is_shared_place: false };
        // Without an identity it never had one there.
        let has_identity = std::fs::metadata(layout.identity()).is_ok_and(|it| it.len() > 0);
        let shared = has_identity.then(|| Folder::in_shared_memory(layout).ok()).flatten();
        let mut all: Vec<Folder> = asked.into_iter().chain([tmp]).chain(shared).collect();
        all.dedup_by(|one, other| one.path == other.path);
        all.retain(|it| it.path.is_dir() && (!it.is_shared_place || is_private(&it.path).unwrap_or(false)));
        all
    }

    fn in_shared_memory(layout: &Layout) -> Result<Folder, NoPlace> {
        let path = layout.identity();
        let identity = identity(&path, layout.root()).map_err(|source| NoPlace::Failed { path, source })?;
        let user = rustix::process::getuid().as_raw();
        let path = Path::new(SHARED_MEMORY).join(format!("api-log-{user}-{identity:016x}"));
        Ok(Folder { path, is_shared_place: true })
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes an arena may take: half of what there is, for others want some too.
    pub fn room(&self) -> u64 {
        let Ok(found) = rustix::fs::statvfs(&self.path) else { return 0 };
        (found.f_blocks / 2).min(found.f_bavail).saturating_mul(found.f_frsize)
    }

    /// Makes an arena's file, locked for as long as it is open. Nothing is allocated yet.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(&self, id: TraceId, geometry: &Geometry) -> io::Result<File> {
        let nofollow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        let path = self.arena(id);
        let file =
            File::options().read(true).write(true).create_new(true).mode(0o600).custom_flags(nofollow).open(path)?;
        file.try_lock().map_err(io::Error::from)?;
        file.set_len(geometry.file_bytes())?;
        file.write_all_at(&geometry.page(), 0)?;
        Ok(file)
    }

    /// Where an arena is.
    pub fn arena(&self, id: TraceId) -> PathBuf {
        self.path.join(format!("{id}.arena"))
    }

    /// The arenas here, whoever holds them. They are not opened.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn arenas(&self) -> io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(&self.path)?.collect::<io::Result<Vec<_>>>()?;
        let mut found: Vec<PathBuf> =
            entries.iter().map(std::fs::DirEntry::path).filter(|it| arena_id(it).is_some()).collect();
        found.sort();
        Ok(found)
    }

    /// The arenas here that belong to this user and that no process holds, locked from now on.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn abandoned(&self) -> io::Result<Vec<Abandoned>> {
        let user = rustix::process::getuid().as_raw();
        let nofollow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let path = entry?.path();
            let Some(id) = arena_id(&path) else { continue };
            let Ok(file) = File::options().read(true).write(true).custom_flags(nofollow).open(&path) else { continue };
            let is_ours = file.metadata().is_ok_and(|it| it.is_file() && it.uid() == user);
            if is_ours && file.try_lock().is_ok() {
                found.push(Abandoned { id, file, path });
            }
        }
        found.sort_by_key(|it| it.id);
        Ok(found)
    }

    /// Removes a folder that was made for one data dir in a shared place, if nothing is left in it.
    pub fn tidy_up(&self) {
        if self.is_shared_place {
            // Anything in it keeps it.
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

/// What a file in a folder of captures is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The memory of captures.
    Arena,
    /// A capture's prefix on disk.
    Spool,
    /// Either of them, set aside because it could not be read.
    Unreadable,
    /// One side of a capture of an earlier version, which nobody reads any more.
    Earlier,
}

/// What the file of this name in a folder of captures is; `None` if it is none of these.
pub fn named(name: &str) -> Option<Named> {
    let (id, rest) = name.split_once('.')?;
    id.parse::<TraceId>().ok()?;
    match rest {
        "arena" => Some(Named::Arena),
        "spool" => Some(Named::Spool),
        "req.bin" | "resp.bin" => Some(Named::Earlier),
        _ => rest.ends_with(UNREADABLE).then_some(Named::Unreadable),
    }
}

/// Sets a file that cannot be read aside, beside where it was.
///
/// # Errors
/// It cannot be renamed.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut name = path.as_os_str().to_owned();
    name.push(UNREADABLE);
    std::fs::rename(path, &name)?;
    Ok(name.into())
}

fn arena_id(path: &Path) -> Option<TraceId> {
    let is_arena = path.extension() == Some(OsStr::new("arena"));
    path.file_stem().filter(|_| is_arena)?.to_str()?.parse().ok()
}

fn is_tmpfs(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|it| it.f_type as u64 == TMPFS)
}

/// Whether it is a folder (and no link to one) that this user alone can reach.
fn is_private(path: &Path) -> io::Result<bool> {
    let found = std::fs::symlink_metadata(path)?;
    let user = rustix::process::getuid().as_raw();
    Ok(found.is_dir() && found.uid() == user && found.permissions().mode() & 0o077 == 0)
}

/// What tells this data dir from all others, a copy of it included: a number drawn once, and the folder's own.
fn identity(path: &Path, root: &Path) -> io::Result<u64> {
    let drawn = match std::fs::read(path) {
        Ok(drawn) if !drawn.is_empty() => drawn,
        Ok(_) => draw(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => draw(path)?,
        Err(error) => return Err(error),
    };
    let mut bytes = drawn;
    bytes.extend_from_slice(&std::fs::metadata(root)?.ino().to_le_bytes());
    Ok(xxh3_64(&bytes))
}

fn draw(path: &Path) -> io::Result<Vec<u8>> {
    let drawn = format!("{:032x}\n", rand::random::<u128>()).into_bytes();
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&drawn)?;
    Ok(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> TraceId {
        TraceId::from_bytes([number; 16])
    }

    #[test]
    fn an_arena_is_abandoned_once_its_process_has_let_go_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let folder = Folder::choose(&layout, Some(&dir.path().join("arenas"))).unwrap();
        let geometry = Geometry::for_bytes(1 << 20);
        let held = folder.create(id(1), &geometry).unwrap();
        drop(folder.create(id(2), &geometry).unwrap());
        std::fs::write(folder.path().join("notes.txt"), "x").unwrap();
        std::os::unix::fs::symlink(folder.arena(id(2)), folder.arena(id(3))).unwrap();
        let found = folder.abandoned().unwrap();
        assert_eq!(found.iter().map(|it| it.id).collect::<Vec<_>>(), [id(2)]);
        assert_eq!(Geometry::read(&found[0].file).unwrap(), geometry);
        drop(held);
        assert_eq!(folder.abandoned().unwrap().iter().map(|it| it.id).collect::<Vec<_>>(), [id(1)], "2 is taken");
    }

    #[test]
    fn what_is_made_is_known_by_its_name_and_looking_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let folder = Folder { path: layout.tmp(), is_shared_place: false };
        assert_eq!(Folder::all(&layout, None), []);
        assert!(!layout.identity().exists());
        std::fs::create_dir(layout.tmp()).unwrap();
        drop(folder.create(id(2), &Geometry::for_bytes(1 << 20)).unwrap());
        std::fs::write(layout.spool(id(1)), "x").unwrap();
        let aside = set_aside(&layout.spool(id(1))).unwrap();
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(named(&name(&aside)), Some(Named::Unreadable));
        assert_eq!(named(&name(&layout.spool(id(1)))), Some(Named::Spool));
        assert_eq!(named(&name(&folder.arena(id(2)))), Some(Named::Arena));
        assert_eq!(named(&format!("{}.req.bin", id(1))), Some(Named::Earlier));
        assert_eq!(named("notes.spool"), None);
        assert_eq!(folder.arenas().unwrap(), [folder.arena(id(2))]);
    }

    #[test]
    fn a_data_dir_keeps_its_identity_and_a_copy_has_another() {
        let dir = tempfile::tempdir().unwrap();
        let (one, copy) = (dir.path().join("one"), dir.path().join("copy"));
        std::fs::create_dir(&one).unwrap();
        std::fs::create_dir(&copy).unwrap();
        let first = identity(&one.join("identity"), &one).unwrap();
        assert_eq!(identity(&one.join("identity"), &one).unwrap(), first);
        std::fs::copy(one.join("identity"), copy.join("identity")).unwrap();
        assert_ne!(identity(&copy.join("identity"), &copy).unwrap(), first);
    }

    #[test]
    fn a_folder_that_others_can_reach_is_not_used_in_a_shared_place() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        assert!(is_private(dir.path()).unwrap());
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(!is_private(dir.path()).unwrap());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(!is_private(&link).unwrap());
    }
}
