//! One line at its place, whatever form its segment is in, and surely the line of that trace.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, Read, Seek, SeekFrom};

use crate::ids::{BucketId, Place, SegmentId, TraceId};
use crate::jsonl::sealed::{self, Codec};
use crate::store::layout::{Form, Layout};

/// A line that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The segment is not on disk in any form: it was deleted.
    #[error("segment {0} is gone")]
    Gone(SegmentId),
    /// The disk, or the compressed form, is damaged.
    #[error("cannot read {segment} at offset {offset}: {source}")]
    Read {
        /// Which segment.
        segment: SegmentId,
        /// Where the line begins.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// What stands there is not that trace's whole line.
    #[error("{segment} does not hold trace {id} at offset {offset}")]
    NotThere {
        /// Which segment.
        segment: SegmentId,
        /// Where the line should begin.
        offset: u64,
        /// The trace looked for.
        id: TraceId,
    },
}

/// A segment's uncompressed bytes.
pub type SegmentReader = Box<dyn Read + Send>;

/// A segment's uncompressed bytes from `offset` on, and the form that they are read from.
/// Of a sealed form only the blocks from there on are undone; of a compressed one without a table everything before too.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if no form of it exists; [`io::ErrorKind::UnexpectedEof`] if a sealed form has fewer
/// bytes; [`io::ErrorKind::InvalidData`], naming file and block, if it is damaged; any other that the disk gives.
pub fn open_at(layout: &Layout, segment: SegmentId, offset: u64) -> io::Result<(SegmentReader, Form)> {
    let (mut file, form) = open_file(layout, segment)?;
    let reader: SegmentReader = match Codec::of(form) {
        None => {
            file.seek(SeekFrom::Start(offset))?;
            Box::new(file)
        }
        Some(codec) => sealed::open_at(&layout.segment(segment, form), file, codec, offset)?,
    };
    Ok((reader, form))
}

/// A segment's uncompressed bytes, of a sealed form with every check that there is.
///
/// # Errors
/// As [`open_at`].
pub fn open_checked(layout: &Layout, segment: SegmentId) -> io::Result<(SegmentReader, Form)> {
    let (file, form) = open_file(layout, segment)?;
    let reader: SegmentReader = match Codec::of(form) {
        None => Box::new(file),
        Some(codec) => sealed::open_checked(&layout.segment(segment, form), file, codec)?,
    };
    Ok((reader, form))
}

/// A segment's file in the form that stands above the others.
fn open_file(layout: &Layout, segment: SegmentId) -> io::Result<(File, Form)> {
    // Once more at the end: sealing puts the new form in place before it takes the plain one away, so a
    // reader that looked for the one too late and for the other too early finds it in the second round.
    for form in Form::ALL.into_iter().chain(Form::ALL) {
        match File::open(layout.segment(segment, form)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return Ok((other?, form)),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// How many bytes of lines a bucket's segments hold, uncompressed. Of sealed ones their table tells; only compressed ones
/// without a table are inflated to be counted.
///
/// # Errors
/// A segment cannot be read. One that vanishes meanwhile counts nothing.
pub fn bucket_bytes(layout: &Layout, bucket: BucketId) -> io::Result<u64> {
    let mut total = 0;
    for segment in layout.segments_of(bucket)? {
        total += match segment_bytes(layout, segment.id) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            other => other?.0,
        };
    }
    Ok(total)
}

/// How many bytes of lines a segment holds, uncompressed, and in which form; see [`bucket_bytes`].
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if no form of it exists; else those of reading it.
pub fn segment_bytes(layout: &Layout, segment: SegmentId) -> io::Result<(u64, Form)> {
    let (file, form) = open_file(layout, segment)?;
    let bytes = match Codec::of(form) {
        None => file.metadata()?.len(),
        Some(codec) => sealed::plain_bytes(&layout.segment(segment, form), file, codec)?,
    };
    Ok((bytes, form))
}

/// The line of a trace, without its newline.
///
/// # Errors
/// The segment is gone or damaged, or another line stands there.
pub fn line(layout: &Layout, place: Place, id: TraceId) -> Result<Vec<u8>, ReadError> {
    let Place { segment, offset, bytes } = place;
    let not_there = ReadError::NotThere { segment, offset, id };
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ReadError::Gone(segment),
        io::ErrorKind::UnexpectedEof => ReadError::NotThere { segment, offset, id },
        _ => ReadError::Read { segment, offset, source },
    };
    let (reader, _) = open_at(layout, segment, offset).map_err(failed)?;
    // The length comes from the index, which is not the truth: no more is reserved than a usual line.
    let mut line = Vec::with_capacity((bytes as usize + 1).min(1024 * 1024));
    reader.take(u64::from(bytes) + 1).read_to_end(&mut line).map_err(failed)?;
    let is_whole = line.len() == bytes as usize + 1 && line.pop() == Some(b'\n');
    if is_whole && is_line_of(&line, id) { Ok(line) } else { Err(not_there) }
}

/// The trace whose line stands first in a segment; `None` if there is no whole line yet, or if it names no trace.
///
/// # Errors
/// As [`open_at`].
pub fn first_trace(layout: &Layout, segment: SegmentId) -> io::Result<Option<TraceId>> {
    /// Of a line in this program's own form, this much tells. Longer first lines than the second name nobody.
    const USUAL: u64 = 64;
    const MOST: u64 = 64 * 1024 * 1024;
    let (mut reader, _) = open_at(layout, segment, 0)?;
    let mut line = Vec::new();
    reader.by_ref().take(USUAL).read_to_end(&mut line)?;
    if let Some(id) = id_of(&line) {
        return Ok(Some(id));
    }
    io::BufReader::new(reader.take(MOST)).read_until(b'\n', &mut line)?;
    let end = memchr::memchr(b'\n', &line);
    Ok(end.and_then(|end| id_of(&line[..end])))
}

/// Whether a line's `id` member is this id.
pub(crate) fn is_line_of(line: &[u8], id: TraceId) -> bool {
    id_of(line) == Some(id)
}

/// The id of the trace whose line this is. The rest of the line is not looked at if the id stands first.
pub(crate) fn id_of(line: &[u8]) -> Option<TraceId> {
    #[derive(serde::Deserialize)]
    struct Identity<'a> {
        #[serde(borrow)]
        id: Cow<'a, str>,
    }
    let rest = line.strip_prefix(b"{\"id\":\"");
    let first = rest.and_then(|it| it.split_at_checked(26)).filter(|(_, rest)| rest.starts_with(b"\""));
    let first = first.and_then(|(id, _)| std::str::from_utf8(id).ok()?.parse().ok());
    first.or_else(|| serde_json::from_slice::<Identity<'_>>(line).ok()?.id.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::ops::ControlFlow;

    use super::*;
    use crate::jsonl::file::JsonlFile;

    const FIRST: &str = "01J00000000000000000000001";
    const SECOND: &str = "01J00000000000000000000002";

    fn two_lines(layout: &Layout) -> Vec<Place> {
        let mut file = JsonlFile::open(layout, "2026-05-27/a1b2c3d4.jsonl".parse().unwrap()).unwrap();
        let first = format!("{{\"id\":\"{FIRST}\",\"n\":1}}");
        let second = format!("{{\"n\": 2, \"id\" : \"{SECOND}\"}}");
        file.append(&[first.as_bytes(), second.as_bytes()]).unwrap()
    }

    fn seal(layout: &Layout, segment: SegmentId, form: Form) {
        let plain = layout.segment(segment, Form::Plain);
        let bytes = std::fs::read(&plain).unwrap();
        let sealed = match form {
            Form::Plain => return,
            Form::Zstd => zstd::stream::encode_all(&bytes[..], 3).unwrap(),
            Form::Gzip => {
                // Two members, as one made of blocks has.
                let member = |part: &[u8]| {
                    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                    encoder.write_all(part).unwrap();
                    encoder.finish().unwrap()
                };
                [member(&bytes[..10]), member(&bytes[10..])].concat()
            }
        };
        std::fs::write(layout.segment(segment, form), sealed).unwrap();
        std::fs::remove_file(plain).unwrap();
    }

    #[test]
    fn a_line_is_found_in_every_form() {
        for form in Form::ALL {
            let dir = tempfile::tempdir().unwrap();
            let layout = Layout::new(dir.path());
            let places = two_lines(&layout);
            seal(&layout, places[0].segment, form);
            let text = |place: Place, id: &str| line(&layout, place, id.parse().unwrap()).unwrap();
            assert_eq!(text(places[0], FIRST), format!("{{\"id\":\"{FIRST}\",\"n\":1}}").as_bytes());
            assert_eq!(text(places[1], SECOND), format!("{{\"n\": 2, \"id\" : \"{SECOND}\"}}").as_bytes());
        }
    }

    #[test]
    fn a_bucket_has_as_many_bytes_sealed_as_it_had_plain() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let first = two_lines(&layout)[0].segment;
        let bytes = bucket_bytes(&layout, first.bucket).unwrap();
        assert_eq!(bytes, std::fs::metadata(layout.segment(first, Form::Plain)).unwrap().len());
        let text = std::fs::read(layout.segment(first, Form::Plain)).unwrap();
        // With a table, which alone is looked at, and without one.
        for (number, codec) in [(1, Some(Codec::Zstd)), (2, Some(Codec::Gzip)), (3, None)] {
            let next = SegmentId { number, ..first };
            std::fs::write(layout.segment(next, Form::Plain), &text).unwrap();
            match codec {
                None => self::seal(&layout, next, Form::Gzip),
                Some(codec) => {
                    sealed::seal(&layout, next, codec, &mut |_| ControlFlow::Continue(())).unwrap();
                    let path = layout.segment(next, codec.form());
                    let mut packed = std::fs::read(&path).unwrap();
                    packed[20..30].fill(0);
                    std::fs::write(&path, packed).unwrap();
                }
            }
        }
        assert_eq!(bucket_bytes(&layout, first.bucket).unwrap(), 4 * bytes);
    }

    #[test]
    fn another_line_is_never_given_for_it() {
        for form in Form::ALL {
            let dir = tempfile::tempdir().unwrap();
            let layout = Layout::new(dir.path());
            let places = two_lines(&layout);
            seal(&layout, places[0].segment, form);
            let wrong = [
                (places[0], SECOND),
                (Place { bytes: places[0].bytes - 1, ..places[0] }, FIRST),
                (Place { bytes: u32::MAX, ..places[0] }, FIRST),
                (Place { offset: 3, ..places[0] }, FIRST),
                (Place { offset: 1 << 40, ..places[0] }, FIRST),
            ];
            for (place, id) in wrong {
                let outcome = line(&layout, place, id.parse().unwrap());
                assert!(matches!(outcome, Err(ReadError::NotThere { .. })), "{form:?} {place:?}: {outcome:?}");
            }
        }
    }

    #[test]
    fn a_deleted_segment_is_told_from_a_damaged_one() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let place = two_lines(&layout)[0];
        let plain = layout.segment(place.segment, Form::Plain);
        std::fs::rename(&plain, layout.segment(place.segment, Form::Gzip)).unwrap();
        let outcome = line(&layout, place, FIRST.parse().unwrap());
        assert!(matches!(outcome, Err(ReadError::Read { .. })), "{outcome:?}");
        std::fs::remove_file(layout.segment(place.segment, Form::Gzip)).unwrap();
        let outcome = line(&layout, place, FIRST.parse().unwrap());
        assert!(matches!(outcome, Err(ReadError::Gone(_))), "{outcome:?}");
    }
}
