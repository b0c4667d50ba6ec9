//! A segment's file being appended to: whole lines or none, and a length that is known without asking.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::ids::{Place, SegmentId};
use crate::store::data_dir::create_private;
use crate::store::layout::{Form, Layout, torn_line_beside};

/// What a [`JsonlFile`] writes to. A file on disk; in tests, one that fails when it should.
pub trait Appendable {
    /// Writes some of the bytes at the end, and says how many.
    ///
    /// # Errors
    /// Nothing was written.
    fn append(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Cuts everything from `length` on.
    ///
    /// # Errors
    /// The length is as it was, or unknown.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// Returns when everything written is on the disk.
    ///
    /// # Errors
    /// It is unknown what is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

impl Appendable for File {
    fn append(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        io::Write::write_vectored(self, slices)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A segment open for appending. Nobody else may write to the file while it lives.
///
/// An append that returned is in the kernel: it survives the end of this process, and after
/// [`JsonlFile::sync`] a loss of power. An append that failed left nothing behind, or else the file is
/// poisoned and takes no more; opening it again cuts what was torn.
#[derive(Debug)]
pub struct JsonlFile<F = File> {
    file: F,
    segment: SegmentId,
    /// *Invariant:* the file's length, and the end of a whole line, unless poisoned.
    length: u64,
    is_poisoned: bool,
    cut_bytes: u64,
    /// The folder whose entry for this file may not be on the disk yet.
    unsynced_folder: Option<PathBuf>,
}

/// Lines that were not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// A line holds a line break, is empty, or is 4 GiB or longer. Nothing was written.
    #[error("line {index} of the batch for {segment} holds a line break, is empty, or is too long")]
    NotALine {
        /// Which segment.
        segment: SegmentId,
        /// Which of the lines given.
        index: usize,
    },
    /// The disk refused; nothing of the batch stays in the file, which can be used on.
    #[error("cannot append to {segment}: {source}")]
    Write {
        /// Which segment.
        segment: SegmentId,
        /// Why; `StorageFull` when the disk is full.
        source: io::Error,
    },
    /// The disk refused and what had been written could not be cut off. The file takes nothing more.
    #[error("cannot append to {segment} ({source}), nor cut what was torn ({cut})")]
    Torn {
        /// Which segment.
        segment: SegmentId,
        /// Why the append failed.
        source: io::Error,
        /// Why the cut failed.
        cut: io::Error,
    },
    /// An earlier failure left the file torn: open it again.
    #[error("{segment} is torn from an earlier failure")]
    Poisoned {
        /// Which segment.
        segment: SegmentId,
    },
}

impl JsonlFile<File> {
    /// Opens a segment's plain file for appending, making it (0600) and its folder (0700) if need be.
    ///
    /// A last line without its newline is torn: a crash stopped its writing, nobody was told that it was
    /// written. It is moved to the end of a file beside ([`Layout::torn_line`]), and counted in
    /// [`JsonlFile::cut_bytes`].
    ///
    /// # Errors
    /// The file cannot be made, read, or mended.
    pub fn open(layout: &Layout, segment: SegmentId) -> io::Result<JsonlFile> {
        let path = layout.segment(segment, Form::Plain);
        let folder = layout.day(segment.bucket.date);
        let open = || OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
        let mut file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_private(&folder)?;
                open()?
            }
            other => other?,
        };
        let found = file.metadata()?.len();
        let length = mend(&mut file, &path)?;
        let unsynced_folder = (found == 0).then_some(folder);
        Ok(JsonlFile { file, segment, length, is_poisoned: false, cut_bytes: found - length, unsynced_folder })
    }
}

impl<F: Appendable> JsonlFile<F> {
    /// A file of known length that ends with a whole line.
    pub fn with_target(file: F, segment: SegmentId, length: u64) -> JsonlFile<F> {
        JsonlFile { file, segment, length, is_poisoned: false, cut_bytes: 0, unsynced_folder: None }
    }

    /// Appends lines (given without their newlines) in one write, and says where each stands.
    ///
    /// # Errors
    /// None of the lines is in the file then, except after [`AppendError::Torn`], where it is unknown.
    pub fn append(&mut self, lines: &[&[u8]]) -> Result<Vec<Place>, AppendError> {
        let segment = self.segment;
        if self.is_poisoned {
            return Err(AppendError::Poisoned { segment });
        }
        let places = self.places(lines)?;
        let mut slices: Vec<IoSlice<'_>> =
            lines.iter().flat_map(|line| [IoSlice::new(line), IoSlice::new(b"\n")]).collect();
        match append_all(&mut self.file, &mut slices) {
            Ok(()) => {
                self.length += lines.iter().map(|line| line.len() as u64 + 1).sum::<u64>();
                Ok(places)
            }
            Err(source) => match self.file.truncate(self.length) {
                Ok(()) => Err(AppendError::Write { segment, source }),
                Err(cut) => {
                    self.is_poisoned = true;
                    Err(AppendError::Torn { segment, source, cut })
                }
            },
        }
    }

    /// Returns when all that was appended is on the disk, the file's name included.
    ///
    /// # Errors
    /// Any that the disk reports; what it holds is unknown then, and the file takes nothing more.
    pub fn sync(&mut self) -> io::Result<()> {
        // After a failed fsync the kernel forgets which pages were dirty: a second one would lie.
        let outcome = self.file.sync().and_then(|()| match &self.unsynced_folder {
            // The folder may be as new as the file: its own entry stands in the one above.
            Some(folder) => [Some(folder.as_path()), folder.parent()]
                .into_iter()
                .flatten()
                .try_for_each(|folder| File::open(folder)?.sync_all()),
            None => Ok(()),
        });
        match outcome {
            Ok(()) => self.unsynced_folder = None,
            Err(_) => self.is_poisoned = true,
        }
        outcome
    }

    /// The segment that is appended to.
    pub fn segment(&self) -> SegmentId {
        self.segment
    }

    /// Bytes in the file: where the next line will stand.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether a failure made it unusable.
    pub fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }

    /// Bytes of a torn last line that were moved aside when it was opened; 0 if it was whole.
    pub fn cut_bytes(&self) -> u64 {
        self.cut_bytes
    }

    fn places(&self, lines: &[&[u8]]) -> Result<Vec<Place>, AppendError> {
        let mut offset = self.length;
        let place = |(index, line): (usize, &&[u8])| {
            let refused = AppendError::NotALine { segment: self.segment, index };
            if line.is_empty() || memchr::memchr(b'\n', line).is_some() {
                return Err(refused);
            }
            let bytes = u32::try_from(line.len()).map_err(|_| refused)?;
            let place = Place { segment: self.segment, offset, bytes };
            offset += u64::from(bytes) + 1;
            Ok(place)
        };
        lines.iter().enumerate().map(place).collect()
    }
}

/// Writes everything; the kernel takes it in one piece unless it is very much or the disk is full.
fn append_all(file: &mut impl Appendable, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        match file.append(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Moves a torn last line of the file at `path` aside; the length of what stays.
pub(super) fn mend(file: &mut File, path: &Path) -> io::Result<u64> {
    let found = file.metadata()?.len();
    let length = whole_lines_end(file, found)?;
    if length < found {
        keep_aside(file, length, &torn_line_beside(path))?;
        file.set_len(length)?;
    }
    Ok(length)
}

/// The offset behind the last newline, looked for from the end.
fn whole_lines_end(file: &mut File, length: u64) -> io::Result<u64> {
    let mut end = length;
    let mut chunk = vec![0; 64 * 1024];
    // One byte first: nearly always it is the newline.
    let mut wanted = 1;
    while end > 0 {
        let take = end.min(wanted);
        let part = &mut chunk[..take as usize];
        file.seek(SeekFrom::Start(end - take))?;
        file.read_exact(part)?;
        if let Some(at) = memchr::memrchr(b'\n', part) {
            return Ok(end - take + at as u64 + 1);
        }
        end -= take;
        wanted = 64 * 1024;
    }
    Ok(0)
}

/// Copies everything from `start` on to the end of the file at `aside`, as a line of its own.
fn keep_aside(file: &mut File, start: u64, aside: &Path) -> io::Result<()> {
    let mut kept = OpenOptions::new().append(true).create(true).mode(0o600).open(aside)?;
    file.seek(SeekFrom::Start(start))?;
    io::copy(file, &mut kept)?;
    io::Write::write_all(&mut kept, b"\n")?;
    kept.sync_data()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn segment() -> SegmentId {
        "2026-05-27/a1b2c3d4.jsonl".parse().unwrap()
    }

    fn text(layout: &Layout) -> String {
        std::fs::read_to_string(layout.segment(segment(), Form::Plain)).unwrap()
    }

    #[test]
    fn lines_stand_where_it_says_also_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let mut file = JsonlFile::open(&layout, segment()).unwrap();
        let mut places = file.append(&[b"{\"a\":1}", b"{}"]).unwrap();
        file.sync().unwrap();
        let mut file = JsonlFile::open(&layout, segment()).unwrap();
        places.extend(file.append(&[b"{\"b\":22}"]).unwrap());
        assert_eq!(file.cut_bytes(), 0);
        let text = text(&layout);
        assert_eq!(text, "{\"a\":1}\n{}\n{\"b\":22}\n");
        assert_eq!(file.length(), text.len() as u64);
        let lines: Vec<&str> =
            places.iter().map(|it| &text[it.offset as usize..it.offset as usize + it.bytes as usize]).collect();
        assert_eq!(lines, ["{\"a\":1}", "{}", "{\"b\":22}"]);
    }

    #[test]
    fn files_and_folders_are_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path().join("data"));
        JsonlFile::open(&layout, segment()).unwrap();
        let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(layout.segment(segment(), Form::Plain)), 0o600);
        assert_eq!(mode(layout.day(segment().bucket.date)), 0o700);
    }

    #[test]
    fn a_torn_last_line_is_cut_on_open_and_kept_aside() {
        let long = "x".repeat(200_000);
        for (found, whole) in [
            ("{}\n{\"torn".to_owned(), "{}\n"),
            ("{\"torn".to_owned(), ""),
            ("\n".to_owned(), "\n"),
            (format!("{{}}\n{long}"), "{}\n"),
            (long, ""),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let layout = Layout::new(dir.path());
            drop(JsonlFile::open(&layout, segment()).unwrap());
            std::fs::write(layout.segment(segment(), Form::Plain), &found).unwrap();
            let mut file = JsonlFile::open(&layout, segment()).unwrap();
            assert_eq!(text(&layout), whole);
            assert_eq!(file.cut_bytes(), (found.len() - whole.len()) as u64);
            if file.cut_bytes() > 0 {
                let kept = std::fs::read_to_string(layout.torn_line(segment())).unwrap();
                assert_eq!(kept, format!("{}\n", &found[whole.len()..]));
            }
            assert_eq!(file.append(&[b"{}"]).unwrap()[0].offset, whole.len() as u64);
            assert_eq!(text(&layout), format!("{whole}{{}}\n"));
        }
    }

    #[test]
    fn what_is_not_one_line_is_refused_whole() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let mut file = JsonlFile::open(&layout, segment()).unwrap();
        for bad in [&b"{}\n{}"[..], b""] {
            let error = file.append(&[b"{}", bad]).unwrap_err();
            assert!(matches!(error, AppendError::NotALine { index: 1, .. }), "{error}");
        }
        assert_eq!(text(&layout), "");
    }

    #[test]
    fn more_lines_than_the_kernel_takes_at_once_are_all_written() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let mut file = JsonlFile::open(&layout, segment()).unwrap();
        let places = file.append(&[&b"{}"[..]; 5000]).unwrap();
        assert_eq!(text(&layout), "{}\n".repeat(5000));
        assert_eq!(places[4999].offset, 4999 * 3);
    }

    /// Takes a few bytes per write and is full at `room`.
    struct SmallDisk {
        bytes: Vec<u8>,
        room: usize,
        at_once: usize,
        can_cut: bool,
        can_sync: bool,
    }

    impl Appendable for SmallDisk {
        fn append(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let taken = all.len().min(self.at_once).min(self.room - self.bytes.len());
            if taken == 0 && !all.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.bytes.extend_from_slice(&all[..taken]);
            Ok(taken)
        }

        fn truncate(&mut self, length: u64) -> io::Result<()> {
            if !self.can_cut {
                return Err(io::ErrorKind::ReadOnlyFilesystem.into());
            }
            self.bytes.truncate(length as usize);
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            if self.can_sync { Ok(()) } else { Err(io::Error::from_raw_os_error(5)) }
        }
    }

    fn on_small_disk(room: usize, at_once: usize) -> JsonlFile<SmallDisk> {
        let disk = SmallDisk { bytes: Vec::new(), room, at_once, can_cut: true, can_sync: true };
        JsonlFile::with_target(disk, segment(), 0)
    }

    #[test]
    fn a_full_disk_leaves_no_torn_line_and_recording_goes_on_when_there_is_room() {
        let mut file = on_small_disk(10, 3);
        file.append(&[b"{\"a\":1}"]).unwrap();
        let error = file.append(&[b"{}", b"{}"]).unwrap_err();
        assert!(matches!(&error, AppendError::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull));
        assert_eq!(file.file.bytes, b"{\"a\":1}\n");
        file.file.room = 100;
        assert_eq!(file.append(&[b"{}"]).unwrap()[0].offset, 8);
        assert_eq!(file.file.bytes, b"{\"a\":1}\n{}\n");
    }

    #[test]
    fn a_file_that_stays_torn_takes_nothing_more() {
        let mut file = on_small_disk(4, 3);
        file.file.can_cut = false;
        assert!(matches!(file.append(&[b"{\"a\":1}"]), Err(AppendError::Torn { .. })));
        file.file.room = 100;
        assert!(matches!(file.append(&[b"{}"]), Err(AppendError::Poisoned { .. })));
        assert_eq!(file.file.bytes.len(), 4);
    }

    #[test]
    fn a_file_whose_sync_failed_takes_nothing_more() {
        let mut file = on_small_disk(100, 100);
        file.file.can_sync = false;
        assert!(file.sync().is_err());
        assert!(file.is_poisoned());
    }

    proptest::proptest! {
        #[test]
        fn the_file_is_always_the_lines_that_were_acknowledged(
            room in 0..300usize, at_once in 1..40usize,
            batches in proptest::collection::vec(proptest::collection::vec("[a-z]{1,12}", 0..5), 0..20),
        ) {
            let mut file = on_small_disk(room, at_once);
            let mut expected = Vec::new();
            for batch in &batches {
                let lines: Vec<&[u8]> = batch.iter().map(|line| line.as_bytes()).collect();
                if let Ok(places) = file.append(&lines) {
                    for (line, place) in lines.iter().zip(places) {
                        assert_eq!(place.offset, expected.len() as u64);
                        expected.extend_from_slice(line);
                        expected.push(b'\n');
                    }
                }
                assert_eq!(&file.file.bytes, &expected);
                assert_eq!(file.length(), expected.len() as u64);
            }
        }
    }
}
