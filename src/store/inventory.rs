//! What a data dir holds: the bytes of each segment and of each trace's attachments.
//!
//! Only files of ours count; strays, the index, the token and `tmp/` do not. What cannot be read is told and passed
//! over. A look again at the attachments of days that are long over costs one call per bucket.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirEntry, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::ids::{BucketId, Date, SegmentId, ShortKey, TraceId};
use crate::store::layout::{Form, Layout, NamedFile};

/// Everything recorded that a data dir held when it was looked at.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// The segments, oldest day first.
    pub segments: BTreeMap<SegmentId, SegmentFiles>,
    /// The attachments of each bucket that has a folder for them.
    pub media: BTreeMap<BucketId, MediaFolder>,
    /// Folders of days and buckets with nothing in them.
    pub empty: Vec<(Date, PathBuf)>,
    /// What could not be looked at, and why.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// A segment's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentFiles {
    /// The bytes on disk of each form that exists, in the order of [`Form::ALL`].
    pub forms: [Option<u64>; Form::ALL.len()],
    /// Bytes of torn lines kept beside it.
    pub torn: u64,
    /// Its deletion was begun, and not finished.
    pub is_half_deleted: bool,
}

/// A bucket's attachments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaFolder {
    /// By trace, which is by time.
    pub traces: BTreeMap<TraceId, TraceMedia>,
    changed: Option<SystemTime>,
}

/// A trace's attachments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceMedia {
    /// Bytes on disk.
    pub bytes: u64,
    /// When a file was last put into the folder.
    pub changed: SystemTime,
}

impl SegmentFiles {
    /// All bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.forms.iter().flatten().sum::<u64>() + self.torn
    }
}

impl MediaFolder {
    /// All bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.traces.values().map(|it| it.bytes).sum()
    }
}

/// What a data dir holds in sum, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Lines and attachments.
    pub all: u64,
    /// Attachments alone.
    pub media: u64,
    /// Lines and attachments of each key.
    pub by_key: HashMap<ShortKey, u64>,
}

impl Inventory {
    /// Looks at the whole data dir. With the outcome of an `earlier` look, the attachments of buckets written before
    /// `settled` are not looked at file by file again, unless traces came or went.
    ///
    /// # Errors
    /// The data dir itself cannot be read.
    pub fn look(layout: &Layout, earlier: Option<&Inventory>, settled: Date) -> io::Result<Inventory> {
        let mut inventory = Inventory::default();
        for entry in fs::read_dir(layout.root())? {
            let Some(entry) = inventory.have(layout.root(), entry) else { continue };
            if let Some(date) = day_named(&entry) {
                let earlier = earlier.filter(|_| date < settled);
                inventory.look_at_day(layout, date, earlier);
            }
        }
        Ok(inventory)
    }

    /// The sums.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for (segment, files) in &self.segments {
            totals.all += files.bytes();
            *totals.by_key.entry(segment.bucket.key).or_default() += files.bytes();
        }
        for (bucket, folder) in &self.media {
            totals.all += folder.bytes();
            totals.media += folder.bytes();
            *totals.by_key.entry(bucket.key).or_default() += folder.bytes();
        }
        totals
    }

    fn look_at_day(&mut self, layout: &Layout, date: Date, earlier: Option<&Inventory>) {
        let day = layout.day(date);
        let Some(entries) = self.entries(&day) else { return };
        if entries.is_empty() {
            self.empty.push((date, day));
            return;
        }
        for entry in entries {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if let Some((segment, file)) = layout.parse_name(date, &name) {
                let path = entry.path();
                let Some(metadata) = self.look_at(&path, entry.metadata()) else { continue };
                if metadata.is_file() {
                    self.segments.entry(segment).or_default().add(file, metadata.len());
                }
            } else if let Ok(key) = name.parse() {
                self.look_at_bucket(layout, BucketId { date, key }, earlier);
            }
        }
    }

    fn look_at_bucket(&mut self, layout: &Layout, bucket: BucketId, earlier: Option<&Inventory>) {
        let path = layout.bucket(bucket);
        match self.entries(&path) {
            Some(entries) if entries.is_empty() => return self.empty.push((bucket.date, path)),
            Some(_) => {}
            None => return,
        }
        let folder = layout.attachments(bucket);
        let metadata = match fs::metadata(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            metadata => metadata,
        };
        let Some(metadata) = self.look_at(&folder, metadata) else { return };
        let changed = metadata.modified().ok();
        let known = earlier.and_then(|it| it.media.get(&bucket)).filter(|it| it.changed == changed);
        let found = known.cloned().unwrap_or_else(|| self.look_at_media(&folder, changed));
        self.media.insert(bucket, found);
    }

    fn look_at_media(&mut self, folder: &Path, changed: Option<SystemTime>) -> MediaFolder {
        let mut found = MediaFolder { traces: BTreeMap::new(), changed };
        for entry in self.entries(folder).unwrap_or_default() {
            let Some(trace) = entry.file_name().to_str().and_then(|it| it.parse().ok()) else { continue };
            let path = entry.path();
            let Some(changed) = self.look_at(&path, entry.metadata().and_then(|it| it.modified())) else { continue };
            let files = self.entries(&path).unwrap_or_default();
            let sizes = files.iter().filter_map(|file| self.look_at(&file.path(), file.metadata()));
            let bytes = sizes.map(|it| it.len()).sum();
            found.traces.insert(trace, TraceMedia { bytes, changed });
        }
        found
    }

    /// A folder's entries. One that vanished meanwhile, or is no folder, has none.
    fn entries(&mut self, folder: &Path) -> Option<Vec<DirEntry>> {
        let entries = self.look_at(folder, fs::read_dir(folder))?;
        Some(entries.filter_map(|entry| self.have(folder, entry)).collect())
    }

    fn have(&mut self, folder: &Path, entry: io::Result<DirEntry>) -> Option<DirEntry> {
        self.look_at(folder, entry)
    }

    /// What was found, or a note of why it was not. What vanished meanwhile needs none.
    fn look_at<T>(&mut self, path: &Path, found: io::Result<T>) -> Option<T> {
        match found {
            Ok(found) => Some(found),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => None,
            Err(error) => {
                self.unreadable.push((path.to_owned(), error.to_string()));
                None
            }
        }
    }
}

impl SegmentFiles {
    fn add(&mut self, file: NamedFile, bytes: u64) {
        match file {
            NamedFile::Form(form) => self.forms[form as usize] = Some(bytes),
            NamedFile::Torn => self.torn += bytes,
            NamedFile::Deleting => self.is_half_deleted = true,
        }
    }
}

fn day_named(entry: &DirEntry) -> Option<Date> {
    let name = entry.file_name().into_string().ok()?;
    name.parse().ok().filter(|date: &Date| date.to_string() == name)
}

/// Bytes of everything below a folder: what deleting it frees.
pub(crate) fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let size = |entry: DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        metadata => metadata.as_ref().map_or(0, Metadata::len),
    };
    entries.flatten().map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, name: &str, bytes: usize) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![b'x'; bytes]).unwrap();
    }

    const TRACE: &str = "01J00000000000000000000001";

    fn look(root: &Path) -> Inventory {
        Inventory::look(&Layout::new(root), None, Date(0)).unwrap()
    }

    #[test]
    fn every_form_and_every_attachment_counts_and_strays_do_not() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in [
            ("2026-05-27/a1b2c3d4.jsonl", 10),
            ("2026-05-27/a1b2c3d4.jsonl.zst", 5),
            ("2026-05-27/a1b2c3d4.jsonl.torn", 3),
            ("2026-05-27/a1b2c3d4.2.jsonl.gz", 7),
            ("2026-05-27/.a1b2c3d4.2.jsonl.deleting", 0),
            (&format!("2026-05-27/a1b2c3d4/media/{TRACE}/0.png"), 100),
            (&format!("2026-05-27/a1b2c3d4/media/{TRACE}/1.png"), 200),
            ("2026-05-28/ffffffff.jsonl", 1),
            ("2026-05-27/a1b2c3d4/media/notes/0.png", 1000),
            ("2026-05-27/notes.txt", 1000),
            ("2026-05-27/A1B2C3D4.jsonl", 1000),
            ("2026-5-27/a1b2c3d4.jsonl", 1000),
            ("index.sqlite", 1000),
            ("tmp/x.req.bin", 1000),
        ] {
            put(dir.path(), name, bytes);
        }
        fs::create_dir_all(dir.path().join("2026-05-20")).unwrap();
        fs::create_dir_all(dir.path().join("2026-05-28/ffffffff")).unwrap();
        let found = look(dir.path());
        let segments: Vec<_> = found.segments.iter().map(|(id, it)| (id.to_string(), it.bytes())).collect();
        assert_eq!(
            segments,
            [
                ("2026-05-27/a1b2c3d4.jsonl".to_owned(), 18),
                ("2026-05-27/a1b2c3d4.2.jsonl".to_owned(), 7),
                ("2026-05-28/ffffffff.jsonl".to_owned(), 1),
            ]
        );
        let half: Vec<bool> = found.segments.values().map(|it| it.is_half_deleted).collect();
        assert_eq!(half, [false, true, false]);
        assert_eq!(found.media.values().map(MediaFolder::bytes).collect::<Vec<_>>(), [300]);
        let totals = found.totals();
        assert_eq!((totals.all, totals.media), (326, 300));
        assert_eq!(totals.by_key[&ShortKey([0xa1, 0xb2, 0xc3, 0xd4])], 325);
        let mut empty: Vec<_> = found.empty.into_iter().map(|(_, path)| path).collect();
        empty.sort();
        assert_eq!(empty, [dir.path().join("2026-05-20"), dir.path().join("2026-05-28/ffffffff")]);
        assert_eq!(found.unreadable, []);
    }

    #[test]
    fn a_second_look_sees_what_came_and_went() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        put(dir.path(), "2026-05-27/a1b2c3d4.jsonl", 10);
        put(dir.path(), &format!("2026-05-27/a1b2c3d4/media/{TRACE}/0.png"), 100);
        let settled: Date = "2026-06-01".parse().unwrap();
        let first = Inventory::look(&layout, None, settled).unwrap();
        let second = Inventory::look(&layout, Some(&first), settled).unwrap();
        assert_eq!((&second.segments, &second.media), (&first.segments, &first.media));
        put(dir.path(), "2026-05-27/a1b2c3d4.jsonl", 11);
        put(dir.path(), "2026-05-27/a1b2c3d4/media/01J00000000000000000000002/0.png", 50);
        let third = Inventory::look(&layout, Some(&second), settled).unwrap();
        assert_eq!(third.totals().all, 161);
        fs::remove_dir_all(dir.path().join("2026-05-27/a1b2c3d4")).unwrap();
        let fourth = Inventory::look(&layout, Some(&third), settled).unwrap();
        assert_eq!((fourth.totals().all, fourth.media.len()), (11, 0));
    }

    #[test]
    fn what_is_no_folder_holds_nothing_and_a_missing_data_dir_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "2026-05-27", 10);
        put(dir.path(), "2026-05-28/a1b2c3d4", 10);
        put(dir.path(), "2026-05-29/a1b2c3d4/media", 10);
        fs::create_dir_all(dir.path().join("2026-05-30/a1b2c3d4.jsonl")).unwrap();
        let found = look(dir.path());
        assert_eq!((found.totals().all, found.segments.len()), (0, 0));
        assert!(Inventory::look(&Layout::new(dir.path().join("none")), None, Date(0)).is_err());
    }
}
