//! Hears of files that change: written in place, replaced, exchanged with a link or with their whole folder.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::notify::event::{AccessKind, AccessMode, EventKind};
use ::notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use api_log::store::links::{self, Entry};
use parking_lot::Mutex;

/// Watches the folders of some files. What is heard is a hint: whoever hears it looks at the files, after
/// [`Watch::renew`], so that nothing that happens from then on is missed.
pub(super) struct Watch {
    files: Vec<PathBuf>,
    watcher: RecommendedWatcher,
    /// Which folder, by device and inode, is watched under a path.
    folders: HashMap<PathBuf, (u64, u64)>,
    entries: Arc<Mutex<BTreeSet<Entry>>>,
}

impl Watch {
    /// Begins to watch; `changed` is called from a thread of the watch's own.
    ///
    /// # Errors
    /// The system has no more watches to give.
    pub(super) fn new(files: Vec<PathBuf>, changed: impl Fn() + Send + 'static) -> ::notify::Result<Watch> {
        let entries: Arc<Mutex<BTreeSet<Entry>>> = Arc::default();
        let wanted = entries.clone();
        let watcher = ::notify::recommended_watcher(move |event: ::notify::Result<Event>| {
            let is_ours = match &event {
                // Something was missed.
                Err(_) => true,
                Ok(event) => event.need_rescan() || (changes(event.kind) && concerns(event, &wanted.lock())),
            };
            if is_ours {
                changed();
            }
        })?;
        let mut watch = Watch { files, watcher, folders: HashMap::new(), entries };
        watch.renew()?;
        Ok(watch)
    }

    /// Watches what decides about the files now.
    ///
    /// # Errors
    /// As for [`Watch::new`]. A folder that does not exist is no error: the one above it is watched.
    pub(super) fn renew(&mut self) -> ::notify::Result<()> {
        let entries: BTreeSet<Entry> = self.files.iter().flat_map(|file| links::deciding(file)).collect();
        let folders: BTreeSet<PathBuf> = entries.iter().map(|(folder, _)| folder.clone()).collect();
        *self.entries.lock() = entries;
        let gone: Vec<PathBuf> = self.folders.keys().filter(|it| !folders.contains(*it)).cloned().collect();
        for folder in gone {
            self.forget(&folder);
        }
        for folder in folders {
            let Ok(metadata) = std::fs::metadata(&folder) else {
                self.forget(&folder);
                continue;
            };
            let identity = (metadata.dev(), metadata.ino());
            if self.folders.get(&folder) == Some(&identity) {
                continue;
            }
            self.forget(&folder);
            match self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.folders.insert(folder, identity);
                }
                Err(error) if matches!(error.kind, ::notify::ErrorKind::PathNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn forget(&mut self, folder: &Path) {
        if self.folders.remove(folder).is_some() {
            // One that is gone is not watched any more.
            let _ = self.watcher.unwatch(folder);
        }
    }
}

/// Whether something may be another than before: reading is no change.
fn changes(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    }
}

fn concerns(event: &Event, entries: &BTreeSet<Entry>) -> bool {
    event.paths.is_empty()
        || event.paths.iter().any(|path| {
            let entry = path.parent().zip(path.file_name());
            entry.is_some_and(|(folder, name)| entries.contains(&(folder.to_owned(), name.to_owned())))
        })
}
