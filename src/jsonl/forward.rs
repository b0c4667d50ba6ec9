//! Many lines of one segment, each surely the line of its trace, read in one pass through the file.

use std::io::{self, BufRead, BufReader, Read};

use crate::ids::{Place, SegmentId, TraceId};
use crate::jsonl::read::{ReadError, SegmentReader, is_line_of, open_at};
use crate::store::layout::{Form, Layout};

/// A plain file is sought in rather than read through if the next line is further away than this.
const SEEK_BEYOND: u64 = 1024 * 1024;

/// A segment being read from its beginning to its end. Holds one line at a time.
///
/// Asked in the order of offsets, it reads no byte twice. Deleted meanwhile, an open file can still be read.
pub struct ForwardReader<'l> {
    layout: &'l Layout,
    segment: SegmentId,
    reader: BufReader<SegmentReader>,
    form: Form,
    /// Offset of the byte that is read next.
    position: u64,
    line: Vec<u8>,
}

impl<'l> ForwardReader<'l> {
    /// Opens a segment in the form that a reader prefers.
    ///
    /// # Errors
    /// It is gone, or cannot be read.
    pub fn open(layout: &'l Layout, segment: SegmentId) -> Result<ForwardReader<'l>, ReadError> {
        let (reader, form) = open_at(layout, segment, 0).map_err(|error| told(segment, 0, error))?;
        Ok(ForwardReader { layout, segment, reader: buffered(reader), form, position: 0, line: Vec::new() })
    }

    /// A trace's line without its newline.
    ///
    /// # Errors
    /// [`ReadError::NotThere`] if another thing stands there: ask for the next one. After any other error the rest
    /// of the segment cannot be read.
    pub fn line(&mut self, place: Place, id: TraceId) -> Result<&[u8], ReadError> {
        let Place { segment, offset, bytes } = place;
        debug_assert_eq!(segment, self.segment, "a place of another segment");
        let failed = |error| told(segment, offset, error);
        let not_there = ReadError::NotThere { segment, offset, id };
        let is_far = self.form == Form::Plain && offset.saturating_sub(self.position) > SEEK_BEYOND;
        if offset < self.position || is_far {
            let (reader, form) = open_at(self.layout, segment, offset).map_err(failed)?;
            (self.reader, self.form, self.position) = (buffered(reader), form, offset);
        }
        let gap = offset - self.position;
        let skipped = io::copy(&mut self.reader.by_ref().take(gap), &mut io::sink()).map_err(failed)?;
        self.position += skipped;
        if skipped < gap {
            return Err(not_there);
        }
        self.line.clear();
        let wanted = u64::from(bytes) + 1;
        self.reader.by_ref().take(wanted).read_to_end(&mut self.line).map_err(failed)?;
        self.position += self.line.len() as u64;
        let is_whole = self.line.len() as u64 == wanted && self.line.pop() == Some(b'\n');
        if is_whole && is_line_of(&self.line, id) { Ok(&self.line) } else { Err(not_there) }
    }

    /// Whether nothing stands behind what was read.
    ///
    /// # Errors
    /// The disk, or the compressed form, is damaged there.
    pub fn is_at_end(&mut self) -> Result<bool, ReadError> {
        let (segment, offset) = (self.segment, self.position);
        self.reader.fill_buf().map(<[u8]>::is_empty).map_err(|error| told(segment, offset, error))
    }
}

fn buffered(reader: SegmentReader) -> BufReader<SegmentReader> {
    BufReader::with_capacity(256 * 1024, reader)
}

fn told(segment: SegmentId, offset: u64, source: io::Error) -> ReadError {
    match source.kind() {
        io::ErrorKind::NotFound => ReadError::Gone(segment),
        _ => ReadError::Read { segment, offset, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonl::file::JsonlFile;

    fn id(n: usize) -> TraceId {
        format!("01J{n:023}").parse().unwrap()
    }

    /// A hundred lines of different lengths, in this form.
    fn segment_in(layout: &Layout, form: Form) -> Vec<Place> {
        let mut file = JsonlFile::open(layout, "2026-05-27/a1b2c3d4.1.jsonl".parse().unwrap()).unwrap();
        let lines: Vec<String> =
            (0..100).map(|n| format!("{{\"id\":\"{}\",\"x\":\"{}\"}}", id(n), "x".repeat(n * n * 3))).collect();
        let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
        let places = file.append(&lines).unwrap();
        let plain = layout.segment(places[0].segment, Form::Plain);
        let bytes = std::fs::read(&plain).unwrap();
        if form == Form::Zstd {
            std::fs::write(layout.segment(places[0].segment, form), zstd::encode_all(&bytes[..], 1).unwrap()).unwrap();
            std::fs::remove_file(plain).unwrap();
        }
        places
    }

    #[test]
    fn some_lines_or_all_are_read_in_one_pass() {
        for form in [Form::Plain, Form::Zstd] {
            for step in [1, 3, 99] {
                let dir = tempfile::tempdir().unwrap();
                let layout = Layout::new(dir.path());
                let places = segment_in(&layout, form);
                let mut reader = ForwardReader::open(&layout, places[0].segment).unwrap();
                for n in (0..100).step_by(step) {
                    let line = reader.line(places[n], id(n)).unwrap();
                    assert_eq!(line.len(), places[n].bytes as usize);
                }
                assert!(reader.is_at_end().unwrap(), "the hundredth line is always the last");
            }
        }
    }

    #[test]
    fn what_is_not_there_costs_only_itself() {
        for form in [Form::Plain, Form::Zstd] {
            let dir = tempfile::tempdir().unwrap();
            let layout = Layout::new(dir.path());
            let places = segment_in(&layout, form);
            let mut reader = ForwardReader::open(&layout, places[0].segment).unwrap();
            let cut = Place { bytes: places[1].bytes - 1, ..places[1] };
            let behind = Place { offset: 1 << 40, ..places[1] };
            for (place, n) in [(places[0], 5), (cut, 1), (behind, 1)] {
                let outcome = reader.line(place, id(n)).map(<[u8]>::len);
                assert!(matches!(outcome, Err(ReadError::NotThere { .. })), "{form:?} {outcome:?}");
            }
            assert!(reader.line(places[2], id(2)).is_ok());
            assert!(!reader.is_at_end().unwrap());
        }
    }

    #[test]
    fn a_segment_that_is_gone_is_told_from_a_damaged_one() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let places = segment_in(&layout, Form::Zstd);
        let path = layout.segment(places[0].segment, Form::Zstd);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(bytes.len() / 2);
        std::fs::write(&path, bytes).unwrap();
        let mut reader = ForwardReader::open(&layout, places[0].segment).unwrap();
        assert!(matches!(reader.line(places[99], id(99)), Err(ReadError::Read { .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(ForwardReader::open(&layout, places[0].segment), Err(ReadError::Gone(_))));
    }
}
