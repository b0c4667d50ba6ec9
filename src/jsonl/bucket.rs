//! A bucket being appended to: one segment after the other, each whole and, once it is full, closed for good.

use std::io;

use crate::ids::{BucketId, Place, SegmentId};
use crate::jsonl::file::{AppendError, JsonlFile};
use crate::store::layout::{Form, Layout};
use crate::store::lease::{Leases, SharedLease};
use crate::store::open_segments::SoleWriter;
use crate::store::pressure::DiskTrouble;

/// Whether lines must be on the disk before they count as appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In the kernel is enough: they survive the end of the process.
    Kernel,
    /// They survive a loss of power.
    Disk,
}

/// Lines that were not appended to a bucket.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// No segment could be opened.
    #[error("cannot open a segment of {bucket}: {source}")]
    Open {
        /// Which bucket.
        bucket: BucketId,
        /// Why.
        source: io::Error,
    },
    /// They could not be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// They could not be forced to the disk. They were taken out of the file again, as far as it let itself be cut.
    #[error("cannot force {segment} to the disk: {source}")]
    Sync {
        /// Which segment.
        segment: SegmentId,
        /// Why.
        source: io::Error,
    },
}

impl BucketError {
    /// What the disk said; `None` if it is not the disk's fault.
    pub fn disk(&self) -> Option<&io::Error> {
        match self {
            BucketError::Open { source, .. } | BucketError::Sync { source, .. } => Some(source),
            BucketError::Append(AppendError::Write { source, .. } | AppendError::Torn { source, .. }) => Some(source),
            BucketError::Append(AppendError::NotALine { .. } | AppendError::Poisoned { .. }) => None,
        }
    }
}

/// The segments of one bucket, of which at most one is open for appending.
///
/// Opened is the highest number on disk, if it is plain, not full, and not finished by others
/// ([`OpenSegments::finish`](crate::store::open_segments::OpenSegments::finish)); else the number behind it. A number
/// is never used again while the process lives, nor while any form of it or of a higher one is on disk. A segment that
/// is being deleted, or cannot be opened, costs its number and never a line.
#[derive(Debug)]
pub struct BucketFile {
    layout: Layout,
    leases: Leases,
    sole: SoleWriter,
    /// From this length on a segment is full.
    segment_bytes: u64,
    open: Option<Open>,
    torn_bytes: u64,
}

#[derive(Debug)]
struct Open {
    file: JsonlFile,
    /// Keeps the file from being deleted.
    _lease: SharedLease,
    is_dirty: bool,
}

impl BucketFile {
    /// The segments of the bucket that this right is for. Nothing is opened yet.
    pub fn new(layout: Layout, leases: Leases, sole: SoleWriter, segment_bytes: u64) -> BucketFile {
        BucketFile { layout, leases, sole, segment_bytes, open: None, torn_bytes: 0 }
    }

    /// Appends lines (given without their newlines) to the open segment, opening one if need be.
    ///
    /// # Errors
    /// None of the lines is in a file then, unless the disk does not let itself be cut either. The next call may
    /// succeed.
    pub fn append(&mut self, lines: &[&[u8]], durability: Durability) -> Result<Vec<Place>, BucketError> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let open = self.open_segment().map_err(|source| BucketError::Open { bucket: self.bucket(), source })?;
                self.torn_bytes += open.file.cut_bytes();
                self.open.insert(open)
            }
        };
        let length = open.file.length();
        let places = match open.file.append(lines) {
            Ok(places) => places,
            Err(error) => {
                // A full disk leaves the file as it was. After anything else it is opened anew, which mends it.
                if !matches!(&error, AppendError::Write { source, .. } if is_full(source))
                    && !matches!(error, AppendError::NotALine { .. })
                {
                    self.open = None;
                    self.sole.close();
                }
                return Err(error.into());
            }
        };
        open.is_dirty = true;
        if durability == Durability::Disk
            && let Err((segment, source)) = self.sync()
        {
            self.cut_back(segment, length);
            return Err(BucketError::Sync { segment, source });
        }
        Ok(places)
    }

    /// Returns when all that was appended is on the disk. If that fails, what the disk holds of the segment is unknown:
    /// nothing more goes into it.
    ///
    /// # Errors
    /// The segment, and what the disk said.
    pub fn sync(&mut self) -> Result<(), (SegmentId, io::Error)> {
        let Some(open) = self.open.as_mut().filter(|open| open.is_dirty) else { return Ok(()) };
        match open.file.sync() {
            Ok(()) => {
                open.is_dirty = false;
                Ok(())
            }
            Err(error) => {
                let segment = open.file.segment();
                self.open = None;
                self.sole.close_for_good(segment.number);
                Err((segment, error))
            }
        }
    }

    /// Forces the open segment to the disk and closes it: for good if it is full. `None` if none was open.
    pub fn close(&mut self) -> Option<Closed> {
        let segment = self.open.as_ref()?.file.segment();
        let is_full = self.is_full();
        let synced = self.sync();
        self.open = None;
        match is_full {
            true => self.sole.close_for_good(segment.number),
            false => self.sole.close(),
        }
        Some(Closed { segment, is_full, error: synced.err().map(|(_, error)| error) })
    }

    /// Whether the open segment is full: close it.
    pub fn is_full(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.file.length() >= self.segment_bytes)
    }

    /// Whether something was appended that may not be on the disk yet.
    pub fn is_dirty(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.is_dirty)
    }

    /// Bytes of torn last lines that were moved aside since the last call.
    pub fn take_torn_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.torn_bytes)
    }

    /// Whose segments.
    pub fn bucket(&self) -> BucketId {
        self.sole.bucket()
    }

    fn open_segment(&self) -> io::Result<Open> {
        let bucket = self.bucket();
        let mut wanted = self.wanted()?;
        let mut first_error = None;
        loop {
            let segment = SegmentId { bucket, number: wanted.number };
            match self.try_open(segment, wanted.exists) {
                Ok(Some(open)) => return Ok(open),
                Ok(None) => {}
                Err(error) => {
                    self.sole.close();
                    // A file that cannot be opened (another user's, damaged) is left where it is; one that cannot be
                    // made says that the next could not be made either.
                    if !wanted.exists || is_full(&error) {
                        return Err(first_error.unwrap_or(error));
                    }
                    first_error = Some(error);
                }
            }
            let next = wanted.number.checked_add(1).ok_or_else(|| io::Error::other("no segment number is left"))?;
            wanted = Wanted { number: next.max(self.sole.first_free()), exists: false };
        }
    }

    /// `None` if others finished or deleted it meanwhile.
    fn try_open(&self, segment: SegmentId, exists: bool) -> io::Result<Option<Open>> {
        if !self.sole.open(segment.number) {
            return Ok(None);
        }
        let Ok(lease) = self.leases.shared(segment) else {
            self.sole.close_for_good(segment.number);
            return Ok(None);
        };
        // With the lease it stays as it is; before, it may have been deleted, and sealed it may still be.
        let is_sealed = [Form::Zstd, Form::Gzip].iter().any(|form| self.layout.segment(segment, *form).exists());
        if is_sealed || (exists && !self.layout.segment(segment, Form::Plain).try_exists()?) {
            self.sole.close_for_good(segment.number);
            return Ok(None);
        }
        let file = JsonlFile::open(&self.layout, segment)?;
        Ok(Some(Open { file, _lease: lease, is_dirty: false }))
    }

    /// The segment to be opened, as the folder tells.
    fn wanted(&self) -> io::Result<Wanted> {
        let first_free = self.sole.first_free();
        let found = self.layout.segments_of(self.bucket())?;
        let Some(last) = found.last() else { return Ok(Wanted { number: first_free, exists: false }) };
        let number = last.id.number;
        let continues = number >= first_free && last.forms == [Form::Plain] && {
            let length = std::fs::metadata(self.layout.segment(last.id, Form::Plain)).map_or(0, |it| it.len());
            length < self.segment_bytes
        };
        match continues {
            true => Ok(Wanted { number, exists: true }),
            false => Ok(Wanted { number: number.saturating_add(1).max(first_free), exists: false }),
        }
    }

    /// Takes lines out again of which it is unknown whether they are on the disk: they are appended elsewhere.
    /// Where that fails, one may stand twice; the first one counts.
    fn cut_back(&self, segment: SegmentId, length: u64) {
        let path = self.layout.segment(segment, Form::Plain);
        let _ = std::fs::OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(length));
    }
}

struct Wanted {
    number: u32,
    exists: bool,
}

/// A segment that was closed.
#[derive(Debug)]
pub struct Closed {
    /// Which.
    pub segment: SegmentId,
    /// It was full: it will not be opened again.
    pub is_full: bool,
    /// Why it is not certain to be on the disk.
    pub error: Option<io::Error>,
}

fn is_full(error: &io::Error) -> bool {
    DiskTrouble::of(error) == Some(DiskTrouble::Full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::open_segments::OpenSegments;

    struct Dir {
        _dir: tempfile::TempDir,
        layout: Layout,
        leases: Leases,
        segments: OpenSegments,
    }

    fn dir() -> Dir {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        Dir { _dir: dir, layout, leases: Leases::new(), segments: OpenSegments::new() }
    }

    fn segment(number: u32) -> SegmentId {
        let zero: SegmentId = "2026-05-27/a1b2c3d4.jsonl".parse().unwrap();
        SegmentId { number, ..zero }
    }

    impl Dir {
        fn open(&self, segment_bytes: u64) -> BucketFile {
            let sole = self.segments.take(segment(0).bucket).unwrap();
            BucketFile::new(self.layout.clone(), self.leases.clone(), sole, segment_bytes)
        }

        fn put(&self, number: u32, form: Form, text: &str) {
            std::fs::create_dir_all(self.layout.day(segment(0).bucket.date)).unwrap();
            std::fs::write(self.layout.segment(segment(number), form), text).unwrap();
        }

        fn text(&self, number: u32) -> String {
            std::fs::read_to_string(self.layout.segment(segment(number), Form::Plain)).unwrap()
        }
    }

    /// The number of the segment that a line went to.
    fn append(file: &mut BucketFile) -> u32 {
        let places = file.append(&[b"{}"], Durability::Disk).unwrap();
        places[0].segment.number
    }

    /// What an append to a fresh bucket file goes to.
    fn first(dir: &Dir) -> u32 {
        append(&mut dir.open(10))
    }

    #[test]
    fn a_full_segment_is_closed_for_good_and_the_next_one_opened() {
        let dir = dir();
        let mut file = dir.open(6);
        assert_eq!(append(&mut file), 0);
        assert!(!file.is_full() && dir.segments.is_open(segment(0)));
        // A batch may overshoot by its own size.
        file.append(&[b"{}", b"{}", b"{}"], Durability::Kernel).unwrap();
        assert!(file.is_full() && file.is_dirty());
        let closed = file.close().unwrap();
        assert!(closed.is_full && closed.error.is_none() && closed.segment == segment(0));
        assert!(!dir.segments.is_open(segment(0)) && dir.leases.is_empty());
        assert_eq!(append(&mut file), 1);
        assert!(dir.segments.is_open(segment(1)));
        assert!(dir.leases.exclusive(segment(0)).is_ok() && dir.leases.exclusive(segment(1)).is_err());
        assert_eq!((dir.text(0), dir.text(1)), ("{}\n{}\n{}\n{}\n".to_owned(), "{}\n".to_owned()));
    }

    #[test]
    fn the_highest_segment_is_continued_if_it_is_plain_and_not_full() {
        for (found, expected) in [
            (&[(0, Form::Plain, "{}\n")][..], 0),
            (&[(0, Form::Plain, "{\"a\":1234}\n")], 1),
            (&[(0, Form::Plain, "{}\n"), (1, Form::Plain, "{}\n")], 1),
            (&[(0, Form::Zstd, "x"), (2, Form::Plain, "{}\n"), (10, Form::Plain, "{}\n")], 10),
            (&[(0, Form::Plain, "{}\n"), (1, Form::Gzip, "x")], 2),
            (&[(0, Form::Plain, "{}\n"), (0, Form::Zstd, "x")], 1),
            (&[(7, Form::Zstd, "x")], 8),
            (&[], 0),
        ] {
            let dir = dir();
            for (number, form, text) in found {
                dir.put(*number, *form, text);
            }
            assert_eq!(first(&dir), expected, "{found:?}");
        }
    }

    #[test]
    fn closed_by_itself_a_segment_is_continued() {
        let dir = dir();
        let mut file = dir.open(100);
        append(&mut file);
        assert!(!file.close().unwrap().is_full);
        assert_eq!(append(&mut file), 0);
        drop(file);
        assert_eq!(append(&mut dir.open(100)), 0);
    }

    #[test]
    fn a_number_is_not_used_again_after_its_file_is_gone() {
        let dir = dir();
        let mut file = dir.open(1);
        append(&mut file);
        file.close();
        std::fs::remove_file(dir.layout.segment(segment(0), Form::Plain)).unwrap();
        assert_eq!(append(&mut file), 1);
        drop(file);
        // Finished by somebody who then deletes it.
        assert!(dir.segments.finish(segment(1)));
        std::fs::remove_file(dir.layout.segment(segment(1), Form::Plain)).unwrap();
        assert_eq!(first(&dir), 2);
    }

    #[test]
    fn a_segment_in_deletion_never_costs_a_line() {
        let dir = dir();
        dir.put(0, Form::Plain, "{}\n");
        let sweeper = dir.leases.exclusive(segment(0)).unwrap();
        assert_eq!(first(&dir), 1);
        drop(sweeper);
        assert_eq!(first(&dir), 1);
    }

    #[test]
    fn a_segment_that_cannot_be_opened_never_costs_a_line() {
        let dir = dir();
        // A folder in its place.
        std::fs::create_dir_all(dir.layout.segment(segment(0), Form::Plain)).unwrap();
        assert_eq!(first(&dir), 1);
        assert_eq!(first(&dir), 1);
    }

    #[test]
    fn what_can_be_opened_nowhere_is_an_error_and_costs_no_number() {
        let dir = dir();
        std::fs::write(dir.layout.day(segment(0).bucket.date), "no folder").unwrap();
        let mut file = dir.open(10);
        for _ in 0..3 {
            let error = file.append(&[b"{}"], Durability::Kernel).unwrap_err();
            assert!(matches!(error, BucketError::Open { .. }), "{error}");
            assert!(error.disk().is_some());
        }
        assert_eq!(dir.segments.open_of(segment(0).bucket), None);
        std::fs::remove_file(dir.layout.day(segment(0).bucket.date)).unwrap();
        assert_eq!(append(&mut file), 0);
    }

    #[test]
    fn a_torn_last_line_is_cut_when_its_segment_is_opened_and_told_once() {
        let dir = dir();
        dir.put(0, Form::Plain, "{}\n{\"to");
        let mut file = dir.open(100);
        assert_eq!(append(&mut file), 0);
        assert_eq!((file.take_torn_bytes(), file.take_torn_bytes()), (4, 0));
        assert_eq!(dir.text(0), "{}\n{}\n");
    }

    #[test]
    fn a_segment_that_could_not_be_forced_to_the_disk_takes_nothing_more_and_no_line_is_lost() {
        let dir = dir();
        let mut file = dir.open(100);
        append(&mut file);
        // A pipe takes bytes and cannot be synced.
        let (_reader, writer) = io::pipe().unwrap();
        let pipe = std::fs::File::from(std::os::fd::OwnedFd::from(writer));
        file.open.as_mut().unwrap().file = JsonlFile::with_target(pipe, segment(0), 3);
        let error = file.append(&[b"{\"b\":1}"], Durability::Disk).unwrap_err();
        assert!(matches!(&error, BucketError::Sync { segment: it, .. } if *it == segment(0)), "{error}");
        assert_eq!(dir.text(0), "{}\n");
        let places = file.append(&[b"{\"b\":1}"], Durability::Disk).unwrap();
        assert_eq!(places[0].segment, segment(1));
        assert!(dir.leases.exclusive(segment(0)).is_ok());
    }

    #[test]
    fn what_is_no_line_is_refused_and_the_segment_stays_open() {
        let dir = dir();
        let mut file = dir.open(100);
        append(&mut file);
        assert!(file.append(&[b"a\nb"], Durability::Kernel).is_err());
        assert!(dir.segments.is_open(segment(0)));
        assert_eq!(append(&mut file), 0);
    }
}
