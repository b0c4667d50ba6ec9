//! A segment's lines in order, from any offset, in bounded memory.

use std::io::{self, BufRead, BufReader, Read};

/// What stands at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned<'a> {
    /// Offset of its first byte in the uncompressed segment.
    pub offset: u64,
    /// Offset of the byte behind its newline.
    pub next_offset: u64,
    /// Its bytes without the newline.
    pub content: Content<'a>,
}

/// A line's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// The whole line.
    Line(&'a [u8]),
    /// Longer than the scanner may keep; passed over.
    TooLong,
}

/// Reads lines one after the other. Empty lines are passed over; a last line without its newline is not
/// yet a line.
#[derive(Debug)]
pub struct Scanner<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    /// Where the next line begins.
    offset: u64,
    max_line_bytes: usize,
}

impl<R: Read> Scanner<R> {
    /// Reads the lines of `reader`, whose first byte is the one at `offset` of the segment. Holds one line
    /// of at most `max_line_bytes` at a time.
    pub fn new(reader: R, offset: u64, max_line_bytes: usize) -> Scanner<R> {
        Scanner { reader: BufReader::with_capacity(256 * 1024, reader), line: Vec::new(), offset, max_line_bytes }
    }

    /// Where the next line begins: behind the last whole line seen, empty ones included.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read, or its compressed form is damaged. All lines before were whole.
    pub fn next_line(&mut self) -> io::Result<Option<Scanned<'_>>> {
        loop {
            let Some((bytes, is_kept)) = self.fill_line()? else { return Ok(None) };
            let offset = self.offset;
            self.offset += bytes + 1;
            if bytes > 0 {
                let content = if is_kept { Content::Line(&self.line) } else { Content::TooLong };
                return Ok(Some(Scanned { offset, next_offset: self.offset, content }));
            }
        }
    }

    /// Reads through the next newline: the line's length, and whether all of it is in `self.line`.
    fn fill_line(&mut self) -> io::Result<Option<(u64, bool)>> {
        self.line.clear();
        let mut bytes = 0;
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if buffer.is_empty() {
                return Ok(None);
            }
            let newline = memchr::memchr(b'\n', buffer);
            let part = &buffer[..newline.unwrap_or(buffer.len())];
            bytes += part.len() as u64;
            if bytes <= self.max_line_bytes as u64 {
                self.line.extend_from_slice(part);
            }
            let consumed = part.len() + usize::from(newline.is_some());
            self.reader.consume(consumed);
            if newline.is_some() {
                return Ok(Some((bytes, bytes <= self.max_line_bytes as u64)));
            }
        }
    }
}

/// How a line of this program's begins.
const BEGIN: &[u8] = b"{\"id\":\"";
/// By so many bytes [`begins_trace`] tells.
pub(crate) const LINE_BEGIN_BYTES: u64 = BEGIN.len() as u64 + 27;

/// Whether these bytes begin with an object whose first member is a trace id, as every line of this program's does.
pub(crate) fn begins_trace(bytes: &[u8]) -> bool {
    // The ids of providers follow the same words; a trace id is 26 upper-case characters and a quote.
    bytes
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.get(..27))
        .is_some_and(|id| id[26] == b'"' && id[..26].iter().all(|it| it.is_ascii_digit() || it.is_ascii_uppercase()))
}

/// Where whole traces may begin inside a line that is not one: behind the torn half of another that was
/// never cut off. Each is the offset in `line` of an object whose first member is a trace id.
pub fn resume_points(line: &[u8]) -> impl Iterator<Item = usize> {
    memchr::memmem::find_iter(line, BEGIN).filter(move |&at| at > 0 && begins_trace(&line[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line with its offset, `None` for one too long.
    type Lines = Vec<(u64, Option<Vec<u8>>)>;

    fn scan(bytes: &[u8], from: u64, max: usize) -> (Lines, u64) {
        let mut scanner = Scanner::new(&bytes[from as usize..], from, max);
        let mut lines = Vec::new();
        while let Some(scanned) = scanner.next_line().unwrap() {
            let kept = match scanned.content {
                Content::Line(line) => Some(line.to_vec()),
                Content::TooLong => None,
            };
            lines.push((scanned.offset, kept));
        }
        (lines, scanner.offset())
    }

    #[test]
    fn a_last_line_without_newline_is_not_yet_a_line() {
        let (lines, end) = scan(b"{}\n{\"a\"", 0, 100);
        assert_eq!(lines, [(0, Some(b"{}".to_vec()))]);
        assert_eq!(end, 3);
    }

    #[test]
    fn empty_lines_are_passed_over_and_offsets_stay_true() {
        let (lines, end) = scan(b"\n\nab\n\nc\n\n", 0, 100);
        assert_eq!(lines, [(2, Some(b"ab".to_vec())), (6, Some(b"c".to_vec()))]);
        assert_eq!(end, 9);
    }

    #[test]
    fn a_line_too_long_to_keep_is_told_and_the_next_one_is_whole() {
        let text = [vec![b'x'; 700_000], b"\nshort\n".to_vec()].concat();
        let (lines, _) = scan(&text, 0, 300_000);
        assert_eq!(lines, [(0, None), (700_001, Some(b"short".to_vec()))]);
    }

    #[test]
    fn a_trace_glued_to_a_torn_one_is_found() {
        let id = "01J00000000000000000000000";
        let line = format!("{{\"id\":\"{id}\",\"torn{{\"id\":\"chatcmpl-1\"{{\"id\":\"{id}\",\"x\":1}}");
        let points: Vec<usize> = resume_points(line.as_bytes()).collect();
        assert_eq!(points.len(), 1);
        assert!(line[points[0]..].ends_with("\",\"x\":1}"));
        assert_eq!(resume_points(b"{\"id\":\"0").count(), 0);
    }

    proptest::proptest! {
        #[test]
        fn every_whole_line_is_given_with_its_offset(text in "[ab\n]{0,60}", cut in 0..60usize) {
            let bytes = text.as_bytes();
            let whole = text.rfind('\n').map_or(0, |at| at + 1);
            let from = memchr::memchr_iter(b'\n', bytes).map(|at| at + 1).nth(cut % 7).unwrap_or(0);
            let (lines, end) = scan(bytes, from as u64, 1000);
            let mut expected = Vec::new();
            let mut offset = from;
            for line in text[from..whole.max(from)].split_terminator('\n') {
                if !line.is_empty() {
                    expected.push((offset as u64, Some(line.as_bytes().to_vec())));
                }
                offset += line.len() + 1;
            }
            assert_eq!(lines, expected);
            assert_eq!(end as usize, whole.max(from));
        }
    }
}
