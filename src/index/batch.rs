//! Lines of a segment as rows, so many at a time: what catching up and rebuilding have in common.

use std::io;

use crate::ids::{Place, SegmentId};
use crate::jsonl::line::BadLine;
use crate::jsonl::read;
use crate::jsonl::scan::{Content, Scanned, Scanner, resume_points};
use crate::media;
use crate::store::layout::Layout;
use crate::trace::Row;

/// Longer lines are passed over: no recorder writes them.
pub(super) const MAX_LINE_BYTES: usize = 1024 * 1024 * 1024;

/// When a batch is full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) rows: usize,
    /// Line bytes.
    pub(super) bytes: u64,
}

/// Some lines of one segment, one behind the other.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) rows: Vec<(Row, Place)>,
    pub(super) bad_lines: u64,
    pub(super) bytes: u64,
    /// Where the next batch begins: every line before is here or in an earlier batch.
    pub(super) end: u64,
    pub(super) is_last: bool,
    /// What stopped the reading; all lines before are whole.
    pub(super) damage: Option<io::Error>,
}

impl Batch {
    /// The last batch of what gives no lines.
    pub(super) fn nothing(end: u64, damage: Option<io::Error>) -> Batch {
        Batch { rows: Vec::new(), bad_lines: 0, bytes: 0, end, is_last: true, damage }
    }

    /// Reads on until the batch is full, the file ends, or lines begin at `until` or behind.
    pub(super) fn read(
        lines: &mut Scanner<read::SegmentReader>,
        segment: SegmentId,
        until: u64,
        size: Size,
        read_row: &impl Fn(&[u8]) -> Result<Row, BadLine>,
    ) -> Batch {
        let begin = lines.offset();
        let mut batch = Batch { rows: Vec::new(), bad_lines: 0, bytes: 0, end: begin, is_last: false, damage: None };
        while batch.rows.len() < size.rows && batch.end - begin < size.bytes {
            if batch.end >= until {
                batch.is_last = true;
                break;
            }
            match lines.next_line() {
                // Empty lines led past the border: this one is another's.
                Ok(Some(scanned)) if scanned.offset >= until => {
                    batch.end = scanned.offset;
                    batch.is_last = true;
                    break;
                }
                Ok(Some(scanned)) => {
                    batch.take(scanned, segment, read_row);
                    batch.end = scanned.next_offset;
                }
                Ok(None) => {
                    batch.end = lines.offset();
                    batch.is_last = true;
                    break;
                }
                Err(error) => {
                    batch.end = lines.offset();
                    batch.damage = Some(error);
                    break;
                }
            }
        }
        batch.bytes = batch.end - begin;
        batch
    }

    /// How many attachments a trace has, no line tells: they are counted where they stand.
    pub(super) fn count_attachments(&mut self, layout: &Layout) {
        let bucket_has_any = |place: &Place| layout.attachments(place.segment.bucket).is_dir();
        if !self.rows.first().is_some_and(|(_, place)| bucket_has_any(place)) {
            return;
        }
        for (row, place) in &mut self.rows {
            row.media_count = media::count(&layout.media(place.segment.bucket, row.id));
        }
    }

    fn take(&mut self, scanned: Scanned<'_>, segment: SegmentId, read_row: &impl Fn(&[u8]) -> Result<Row, BadLine>) {
        let Content::Line(line) = scanned.content else {
            self.bad_lines += 1;
            return;
        };
        let mut push = |at: usize, row: Row| {
            let Ok(bytes) = u32::try_from(line.len() - at) else { return };
            self.rows.push((row, Place { segment, offset: scanned.offset + at as u64, bytes }));
        };
        match read_row(line) {
            Ok(row) => push(0, row),
            Err(BadLine(_)) => {
                let whole = resume_points(line).find_map(|at| Some((at, read_row(&line[at..]).ok()?)));
                whole.into_iter().for_each(|(at, row)| push(at, row));
                self.bad_lines += 1;
            }
        }
    }
}
