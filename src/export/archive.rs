//! A zip archive written as a stream: what was not finished is no archive.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::ids::UnixMillis;

/// Entries from this many bytes on get room for sizes beyond 4 GiB.
const LARGE: u64 = 1 << 31;

/// An archive being written. Dropped without [`Archive::finish`], it writes nothing more: above all no directory,
/// without which nobody takes it for an archive.
pub(super) struct Archive<W: Write> {
    zip: Option<ZipWriter<StreamWriter<Sink<W>>>>,
    is_given_up: Arc<AtomicBool>,
}

/// Where the bytes go, as long as the archive is not given up.
struct Sink<W> {
    out: W,
    is_given_up: Arc<AtomicBool>,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(out: W) -> Archive<W> {
        let is_given_up = Arc::new(AtomicBool::new(false));
        let sink = Sink { out, is_given_up: is_given_up.clone() };
        Archive { zip: Some(ZipWriter::new_stream(sink)), is_given_up }
    }

    /// Begins an entry of about so many bytes.
    pub(super) fn begin(&mut self, name: &str, time: Option<UnixMillis>, bytes: u64) -> io::Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(1))
            .last_modified_time(time.and_then(dos_time).unwrap_or(DateTime::DEFAULT))
            .unix_permissions(0o600)
            .large_file(bytes >= LARGE);
        Ok(self.zip()?.start_file(name, options)?)
    }

    /// Takes an entry out of the directory again. Its bytes stay in the stream, where no reader looks for them.
    pub(super) fn withdraw(&mut self, name: &str) -> io::Result<()> {
        Ok(self.zip()?.hide_file(name)?)
    }

    /// An entry of text, without a time.
    pub(super) fn text(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.begin(name, None, text.len() as u64)?;
        self.write_all(text.as_bytes())
    }

    /// Ends the archive: now it is whole.
    pub(super) fn finish(mut self) -> io::Result<()> {
        match self.zip.take() {
            Some(zip) => zip.finish()?.flush(),
            None => Err(given_up()),
        }
    }

    fn zip(&mut self) -> io::Result<&mut ZipWriter<StreamWriter<Sink<W>>>> {
        self.zip.as_mut().ok_or_else(given_up)
    }
}

/// Bytes of the entry begun last.
impl<W: Write> Write for Archive<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.zip()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.zip()?.flush()
    }
}

impl<W: Write> Drop for Archive<W> {
    fn drop(&mut self) {
        // The zip writer would write its directory when it is dropped, and so make whole what is not.
        self.is_given_up.store(true, Ordering::Relaxed);
    }
}

impl<W: Write> Write for Sink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_given_up.load(Ordering::Relaxed) {
            return Ok(bytes.len());
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_given_up.load(Ordering::Relaxed) { Ok(()) } else { self.out.flush() }
    }
}

fn given_up() -> io::Error {
    io::Error::other("the archive was given up")
}

/// A moment as zip tells it: UTC, even seconds, from 1980 to 2107.
fn dos_time(at: UnixMillis) -> Option<DateTime> {
    let text = at.to_string();
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u8>().ok();
    let year = text.get(..4)?.parse().ok()?;
    DateTime::from_date_and_time(year, number(5, 7)?, number(8, 10)?, number(11, 13)?, number(14, 16)?, number(17, 19)?)
        .ok()
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use zip::ZipArchive;

    use super::*;

    #[test]
    fn entries_are_read_back_in_their_order_with_their_times() {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes);
        archive.begin("data/b.jsonl", Some("2026-05-27T10:23:45.810Z".parse().unwrap()), LARGE).unwrap();
        archive.write_all(b"one\n").unwrap();
        archive.write_all(b"two\n").unwrap();
        archive.begin("gone", Some(UnixMillis(0)), 0).unwrap();
        archive.write_all(b"half").unwrap();
        archive.withdraw("gone").unwrap();
        archive.text("a.md", "text").unwrap();
        archive.finish().unwrap();
        let mut read = ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut entries = Vec::new();
        for at in 0..read.len() {
            let mut entry = read.by_index(at).unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            entries.push((entry.name().unwrap().to_string(), entry.last_modified().unwrap().to_string(), text));
        }
        let expected = [("data/b.jsonl", "2026-05-27 10:23:44", "one\ntwo\n"), ("a.md", "1980-01-01 00:00:00", "text")];
        assert_eq!(entries, expected.map(|(name, time, text)| (name.to_owned(), time.to_owned(), text.to_owned())));
    }

    #[test]
    fn what_was_not_finished_is_no_archive() {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes);
        archive.text("a", "text").unwrap();
        drop(archive);
        assert!(!bytes.is_empty());
        assert!(ZipArchive::new(Cursor::new(bytes)).is_err());
    }

    #[test]
    fn a_writer_that_fails_fails_the_archive() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut archive = Archive::new(Full);
        assert!(archive.begin("a", None, 0).is_err() || archive.finish().is_err());
    }
}
