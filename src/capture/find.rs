//! The logs that a dead process left: put together from the chunks of its arena and its spool files.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;

use super::arena::FoundChunk;
use super::chunk;
use super::read::LogReader;
use super::spool::{self, Frame};
use crate::ids::{TraceId, UnixMillis};
use crate::jsonl::read::open_at;
use crate::store::layout::{Form, Layout};

/// What a line begins with: its id as first member.
const ID_BYTES: usize = b"{\"id\":\"".len() + 26 + 1;

/// A stretch of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// In the arena's file: where, and how long.
    Arena(u64, u32),
    /// In the spool.
    Spool(Frame),
    /// Nowhere, because it is covered: the next piece begins there in the log.
    Covered(u64),
}

/// The chunks of each log, in order.
pub fn by_log(chunks: Vec<FoundChunk>) -> BTreeMap<TraceId, Vec<FoundChunk>> {
    let mut logs: BTreeMap<TraceId, Vec<FoundChunk>> = BTreeMap::new();
    for chunk in chunks {
        logs.entry(chunk.header.trace).or_default().push(chunk);
    }
    for chunks in logs.values_mut() {
        chunks.sort_by_key(|it| it.header.offset);
    }
    logs
}

/// Where the first chunk of a log stands in its arena. It is there for as long as the trace has no outcome, and is
/// given back before all others.
pub fn first_chunk(chunks: &[FoundChunk]) -> Option<u64> {
    chunks.first().filter(|it| it.header.offset == 0).map(|it| it.at)
}

/// So far the log is covered.
pub fn covered(chunks: &[FoundChunk]) -> u64 {
    chunks.first().map_or(0, |it| it.header.covered)
}

/// The pieces of a log in order, as far as they follow one upon the other, but for what is covered. No frame reaches beyond the chunk that it
/// was written from, so where a chunk is gone its frames stand in for it.
pub fn assemble(chunks: &[FoundChunk], frames: &[Frame]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut end = 0;
    loop {
        if let Ok(at) = chunks.binary_search_by_key(&end, |it| it.header.offset) {
            let FoundChunk { header, at } = chunks[at];
            pieces.push(Piece::Arena(at + chunk::HEADER_BYTES as u64, header.committed));
            end += u64::from(header.committed);
        } else if let Ok(at) = frames.binary_search_by_key(&end, |it| it.offset) {
            pieces.push(Piece::Spool(frames[at]));
            end += u64::from(frames[at].bytes);
        } else {
            // Frames are appended in order: where one does not follow upon the other, what is between was covered.
            let chunk = chunks.iter().map(|it| it.header.offset).find(|it| *it > end && *it <= covered(chunks));
            let frame = frames.iter().map(|it| it.offset).find(|it| *it > end);
            let Some(next) = chunk.into_iter().chain(frame).min() else { return pieces };
            pieces.push(Piece::Covered(next));
            end = next;
        }
    }
}

/// Reads the pieces into `reader`. What cannot be read is told to it as missing; the first such error is returned.
pub fn read(pieces: &[Piece], arena: Option<&File>, spool: Option<&File>, reader: &mut LogReader) -> io::Result<()> {
    let mut outcome = Ok(());
    let mut bytes = Vec::new();
    for piece in pieces {
        bytes.clear();
        let read = match (*piece, arena, spool) {
            (Piece::Arena(at, length), Some(arena), _) => {
                bytes.resize(length as usize, 0);
                arena.read_exact_at(&mut bytes, at)
            }
            (Piece::Covered(next), ..) => {
                reader.seek(next);
                continue;
            }
            (Piece::Spool(frame), _, Some(spool)) => spool::read_frame(spool, frame, 0, &mut bytes),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        match read {
            Ok(()) => reader.push(&bytes),
            Err(error) => {
                reader.miss();
                outcome = outcome.and(Err(error));
            }
        }
    }
    outcome
}

/// Which of these traces have a line in a file that was written to at or after `since`.
///
/// # Errors
/// A folder or a file cannot be read: then nothing may be concluded from absence.
pub fn with_a_line(layout: &Layout, ids: &HashSet<TraceId>, since: UnixMillis) -> io::Result<HashSet<TraceId>> {
    let mut found = HashSet::new();
    for segment in layout.segments()? {
        let mut was_written = false;
        for form in &segment.forms {
            match std::fs::metadata(layout.segment(segment.id, *form)) {
                Ok(metadata) => was_written |= written_at(&metadata)? >= since,
                Err(error) if error.kind() == io::ErrorKind::NotFound => was_written = true,
                Err(error) => return Err(error),
            }
        }
        if !was_written {
            continue;
        }
        let (reader, form) = match open_at(layout, segment.id, 0) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // A torn last line may be cut, and another one written in its place, while this reads.
        let whole = match File::open(layout.segment(segment.id, form)) {
            Ok(file) if form == Form::Plain => end_of_whole_lines(&file)?,
            // One that is sealed meanwhile was cut before.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => u64::MAX,
        };
        ids_in(BufReader::with_capacity(256 * 1024, reader.take(whole)), ids, &mut found)?;
    }
    Ok(found)
}

/// Where the last line ends that ends with a newline; what stands before is not cut any more.
fn end_of_whole_lines(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut bytes = vec![0; 64 * 1024];
    while end > 0 {
        let begin = end.saturating_sub(bytes.len() as u64);
        let part = &mut bytes[..(end - begin) as usize];
        match file.read_exact_at(part, begin) {
            Ok(()) => {}
            // It was cut just now.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                end = file.metadata()?.len();
                continue;
            }
            Err(error) => return Err(error),
        }
        if let Some(newline) = memchr::memrchr(b'\n', part) {
            return Ok(begin + newline as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

fn ids_in(mut reader: impl BufRead, ids: &HashSet<TraceId>, found: &mut HashSet<TraceId>) -> io::Result<()> {
    let mut start = Vec::with_capacity(ID_BYTES);
    loop {
        let buffer = match reader.fill_buf() {
            Ok([]) => return Ok(()),
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let newline = memchr::memchr(b'\n', buffer);
        let part = &buffer[..newline.unwrap_or(buffer.len())];
        let kept = part.len().min(ID_BYTES - start.len());
        start.extend_from_slice(&part[..kept]);
        let consumed = part.len() + usize::from(newline.is_some());
        if newline.is_some() {
            found.extend(id_of(&start).filter(|id| ids.contains(id)));
            start.clear();
        }
        reader.consume(consumed);
    }
}

/// Lines of this program begin with their id.
fn id_of(start: &[u8]) -> Option<TraceId> {
    let id = start.strip_prefix(b"{\"id\":\"")?.strip_suffix(b"\"")?;
    std::str::from_utf8(id).ok()?.parse().ok()
}

fn written_at(metadata: &std::fs::Metadata) -> io::Result<UnixMillis> {
    let since_epoch = metadata.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(UnixMillis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests;
