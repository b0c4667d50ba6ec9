//! A segment written anew without the lines that do not belong in it, which are kept aside.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::ids::SegmentId;
use crate::jsonl::line::read_row;
use crate::jsonl::read;
use crate::jsonl::scan::{Content, Scanner, resume_points};
use crate::store::layout::{Form, Layout};

/// What the hidden name of a segment being rewritten ends with.
pub(super) const SUFFIX: &str = ".repairing";

/// A line that is longer cannot be copied.
const MAX_LINE_BYTES: usize = 1024 * 1024 * 1024;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rewritten {
    /// Lines that stand in the file aside now.
    pub(super) aside: u64,
    /// Traces that were cut out of glued lines.
    pub(super) cut_out: u64,
}

/// Rewrites a segment: bad lines, and those at the `repeated` offsets, go to the end of its `.torn` file; of a glued
/// line the whole trace stays, and the original goes there. Sealed forms are replaced by the plain one.
///
/// Whenever it is interrupted, every byte stands in one of the files; only the file aside may hold some twice.
///
/// # Errors
/// The segment is as it was.
pub(super) fn rewrite(layout: &Layout, segment: SegmentId, repeated: &[u64]) -> io::Result<Rewritten> {
    let plain = layout.segment(segment, Form::Plain);
    let unfinished = beside(layout, segment);
    let outcome = write(layout, segment, repeated, &unfinished);
    if outcome.is_err() {
        // The error that counts is already there.
        let _ = std::fs::remove_file(&unfinished);
    }
    let rewritten = outcome?;
    let folder = File::open(layout.day(segment.bucket.date))?;
    std::fs::rename(&unfinished, &plain)?;
    folder.sync_all()?;
    for form in [Form::Zstd, Form::Gzip] {
        match std::fs::remove_file(layout.segment(segment, form)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    folder.sync_all()?;
    Ok(rewritten)
}

fn beside(layout: &Layout, segment: SegmentId) -> PathBuf {
    let plain = layout.segment(segment, Form::Plain);
    let name = plain.file_name().unwrap_or_default().to_string_lossy().into_owned();
    layout.day(segment.bucket.date).join(format!(".{name}{SUFFIX}"))
}

fn write(layout: &Layout, segment: SegmentId, repeated: &[u64], unfinished: &PathBuf) -> io::Result<Rewritten> {
    // With every check: what replaces a sealed form has its bytes, or is not made.
    let (mut reader, form) = read::open_checked(layout, segment)?;
    if Form::ALL.into_iter().any(|other| other != form && layout.segment(segment, other).exists()) {
        return Err(io::Error::other("it stands in two forms: each may hold what the other does not"));
    }
    let mut tail = Tail { reader: &mut reader, behind: Vec::new() };
    let private = |options: &mut OpenOptions| options.mode(0o600).create(true).clone();
    let kept = private(OpenOptions::new().write(true).truncate(true)).open(unfinished)?;
    let mut kept = BufWriter::with_capacity(256 * 1024, kept);
    let aside = private(OpenOptions::new().append(true)).open(layout.torn_line(segment))?;
    let mut aside = BufWriter::new(aside);
    let mut rewritten = Rewritten::default();
    let mut lines = Scanner::new(&mut tail, 0, MAX_LINE_BYTES);
    while let Some(scanned) = lines.next_line()? {
        let Content::Line(line) = scanned.content else {
            return Err(io::Error::other(format!("the line at {} is too long to be copied", scanned.offset)));
        };
        let glued = || resume_points(line).find(|&at| read_row(&line[at..]).is_ok());
        // A line stays whole, or from where its trace begins, or not at all.
        let (from, is_bad) = match read_row(line) {
            Ok(_) => (Some(0), false),
            Err(_) => (glued(), true),
        };
        let offset = scanned.offset + from.unwrap_or(0) as u64;
        let stays = from.filter(|_| !repeated.contains(&offset));
        if let Some(from) = stays {
            kept.write_all(&line[from..])?;
            kept.write_all(b"\n")?;
            rewritten.cut_out += u64::from(from > 0);
        }
        if is_bad || stays.is_none() {
            aside.write_all(line)?;
            aside.write_all(b"\n")?;
            rewritten.aside += 1;
        }
    }
    drop(lines);
    let torn = tail.behind;
    if !torn.is_empty() {
        aside.write_all(&torn)?;
        aside.write_all(b"\n")?;
        rewritten.aside += 1;
    }
    kept.into_inner()?.sync_all()?;
    aside.into_inner()?.sync_all()?;
    Ok(rewritten)
}

/// Keeps what was read since the last newline: in the end, the torn tail.
struct Tail<R> {
    reader: R,
    behind: Vec<u8>,
}

impl<R: Read> Read for Tail<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        match memchr::memrchr(b'\n', &buffer[..read]) {
            Some(at) => {
                self.behind.clear();
                self.behind.extend_from_slice(&buffer[at + 1..read]);
            }
            None => self.behind.extend_from_slice(&buffer[..read]),
        }
        Ok(read)
    }
}
