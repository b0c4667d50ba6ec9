//! Hears of files that change: written in place, replaced, exchanged with a link or with their whole folder.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::notify::event::{AccessKind, AccessMode, EventKind};
use ::notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use api_log::store::links::{self, Entry};
use parking_lot::Mutex;

/// How long the watch's thread rests once it has heard of files that are nobody's: an edit may be heard of so much later.
const REST: Duration = Duration::from_millis(20);
/// What is heard within this time after a rest was heard in the same go.
const ONE_GO: Duration = Duration::from_millis(1);

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
        let mut rested = Instant::now();
        let watcher = ::notify::recommended_watcher(move |event: ::notify::Result<Event>| {
            let is_ours = match &event {
                // Something was missed.
                Err(_) => true,
                Ok(event) => event.need_rescan() || (changes(event.kind) && concerns(event, &wanted.lock())),
            };
            if is_ours {
                changed();
            } else if rested.elapsed() > ONE_GO {
                // The index's journal stands in the data dir's own folder, and is written thousands of times a second.
                // While nobody reads them, events of the same kind become one, and nobody is woken for them.
                std::thread::sleep(REST);
                rested = Instant::now();
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

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::sync::mpsc;

    use super::*;

    /// More than the watch may rest for all of it, and far less than a rest for each event would come to.
    const DEADLINE: Duration = Duration::from_secs(30);

    #[test]
    fn others_files_that_change_all_the_time_hold_nothing_up() {
        let dir = tempfile::tempdir().unwrap();
        let ours = dir.path().join("ours");
        let (told, heard) = mpsc::channel();
        let _watch = Watch::new(vec![ours.clone()], move || _ = told.send(())).unwrap();
        let mut others = ["journal", "index"].map(|name| {
            let path = dir.path().join(name);
            OpenOptions::new().create(true).append(true).open(path).unwrap()
        });
        // In turn, so that no two events are one.
        for _ in 0..4_000 {
            others.iter_mut().for_each(|file| file.write_all(b"x").unwrap());
        }
        std::fs::write(&ours, "{}").unwrap();
        heard.recv_timeout(DEADLINE).unwrap();
    }
}
