//! The files cut into pieces, and a piece's lines as rows.

use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;

use crate::ids::SegmentId;
use crate::index::batch::{Batch, MAX_LINE_BYTES, Size};
use crate::jsonl::line::BadLine;
use crate::jsonl::read::{self, SegmentReader};
use crate::jsonl::scan::{LINE_BEGIN_BYTES, Scanner, begins_trace};
use crate::jsonl::sealed::{Codec, Cut, cuts};
use crate::store::layout::{Form, Layout};
use crate::trace::Row;

/// Line bytes of a piece: small enough that a few of them are no memory to speak of, large enough to be worth a seek.
const PIECE_BYTES: u64 = 4 << 20;
/// What is handed on at a time.
const BATCH: Size = Size { rows: 4096, bytes: PIECE_BYTES };

/// Every segment that there was when it was made, as long as it was then.
#[derive(Clone, Debug)]
pub struct Plan {
    segments: Vec<Planned>,
    piece_bytes: u64,
}

#[derive(Clone, Debug)]
struct Planned {
    segment: SegmentId,
    /// Of the form that is read.
    bytes: u64,
    file: Planning,
}

/// How a file is cut.
#[derive(Clone, Debug)]
enum Planning {
    /// Every so many bytes.
    Plain,
    /// Between blocks; not at all where there are none.
    Sealed(Vec<Cut>),
}

/// A part of a segment that is parsed by itself: the lines that begin in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    segment: SegmentId,
    /// Uncompressed offsets; the last piece of a sealed file is without an end.
    from: u64,
    until: u64,
    /// At `from` a block begins.
    is_block: bool,
    weight: u64,
}

/// Some lines' rows, with what the loader must know beside them.
#[derive(Debug)]
pub struct Parsed {
    pub(super) segment: SegmentId,
    pub(super) batch: Batch,
    /// A sealed form was read to its end.
    pub(super) is_done: bool,
    weight: u64,
}

impl Parsed {
    /// What of [`Plan::bytes`] is done with it.
    pub fn bytes(&self) -> u64 {
        self.weight
    }
}

impl Plan {
    /// Looks what is there. Reads no line, but the tables of sealed files.
    ///
    /// # Errors
    /// The data dir cannot be listed. A segment that vanishes meanwhile is left out.
    pub fn of(layout: &Layout) -> io::Result<Plan> {
        Plan::with_pieces_of(layout, PIECE_BYTES)
    }

    /// With pieces of about so many bytes.
    pub(super) fn with_pieces_of(layout: &Layout, piece_bytes: u64) -> io::Result<Plan> {
        let mut segments = Vec::new();
        for found in layout.segments()? {
            // Twice, for what is plain now may be sealed before it is looked at.
            for form in found.forms.into_iter().chain(Form::ALL) {
                let path = layout.segment(found.id, form);
                match std::fs::metadata(&path) {
                    Ok(metadata) => {
                        let file = match Codec::of(form) {
                            None => Planning::Plain,
                            // One that cannot be read says so when it is parsed.
                            Some(codec) => Planning::Sealed(cuts(&path, codec, piece_bytes).unwrap_or_default()),
                        };
                        segments.push(Planned { segment: found.id, bytes: metadata.len(), file });
                        break;
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Plan { segments, piece_bytes })
    }

    /// The bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|it| it.bytes).sum()
    }

    /// The pieces, in the order in which a [`Loader`](super::Loader) wants what is parsed of them. A plain file is cut
    /// at fixed offsets, a sealed one between blocks; one without a table is a piece, for it is read from its beginning.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        self.segments.iter().flat_map(|planned| {
            let count = match &planned.file {
                Planning::Plain => planned.bytes.div_ceil(self.piece_bytes),
                Planning::Sealed(cuts) => cuts.len().max(1) as u64,
            };
            (0..count).map(|number| self.piece(planned, number))
        })
    }

    fn piece(&self, planned: &Planned, number: u64) -> Piece {
        let &Planned { segment, bytes, ref file } = planned;
        match file {
            Planning::Plain => {
                let (from, until) = (number * self.piece_bytes, bytes.min((number + 1) * self.piece_bytes));
                Piece { segment, from, until, is_block: false, weight: until - from }
            }
            Planning::Sealed(cuts) => {
                let at = number as usize;
                let until = cuts.get(at + 1).map_or(u64::MAX, |next| next.from);
                let (from, packed) = cuts.get(at).map_or((0, bytes), |cut| (cut.from, cut.packed));
                Piece { segment, from, until, is_block: true, weight: packed }
            }
        }
    }
}

/// Makes rows of a piece's lines, and gives them away in batches; `sink` says when to stop. What cannot be read any
/// further is told with the last batch. A segment that has gone since gives nothing.
pub fn parse(
    layout: &Layout,
    piece: &Piece,
    read_row: impl Fn(&[u8]) -> Result<Row, BadLine>,
    mut sink: impl FnMut(Parsed) -> ControlFlow<()>,
) {
    let &Piece { segment, from, until, weight, .. } = piece;
    let mut left = weight;
    let mut give = |batch: Batch, form: Form| {
        let is_last = batch.is_last || batch.damage.is_some();
        let is_done = batch.is_last && form != Form::Plain && until == u64::MAX;
        let weight = if is_last { left } else { left.min(batch.bytes) };
        left -= weight;
        let flow = sink(Parsed { segment, batch, is_done, weight });
        if is_last { ControlFlow::Break(()) } else { flow }
    };
    let (reader, form, start) = match open(layout, piece) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            let _ = give(Batch::nothing(from, Some(error)), Form::Plain);
            return;
        }
    };
    let Some(start) = start else {
        // No line begins here: a long one goes through. What reads it tells its end, but for the last piece.
        if until == u64::MAX && form != Form::Plain {
            let _ = give(Batch::nothing(0, None), form);
        }
        return;
    };
    let mut lines = Scanner::new(reader, start, MAX_LINE_BYTES);
    loop {
        let mut batch = Batch::read(&mut lines, segment, until, BATCH, &read_row);
        batch.count_attachments(layout);
        if give(batch, form).is_break() {
            return;
        }
    }
}

/// A reader at the first line that begins in a piece, and where that is.
fn open(layout: &Layout, piece: &Piece) -> io::Result<(SegmentReader, Form, Option<u64>)> {
    if piece.from == 0 {
        let (reader, form) = read::open_at(layout, piece.segment, 0)?;
        return Ok((reader, form, Some(0)));
    }
    if piece.is_block {
        let (mut reader, form) = read::open_at(layout, piece.segment, piece.from)?;
        let mut begin = Vec::new();
        reader.by_ref().take(LINE_BEGIN_BYTES).read_to_end(&mut begin)?;
        // Else the block before is undone for its last byte: other programs cut where they like.
        if begins_trace(&begin) {
            return Ok((Box::new(io::Cursor::new(begin).chain(reader)), form, Some(piece.from)));
        }
    }
    // A line begins behind a newline, which may be the byte before.
    let mut at = piece.from - 1;
    let (reader, form) = read::open_at(layout, piece.segment, at)?;
    let mut reader = BufReader::with_capacity(64 * 1024, reader);
    while at < piece.until {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        let newline = memchr::memchr(b'\n', buffer);
        let consumed = newline.map_or(buffer.len(), |newline| newline + 1);
        at += consumed as u64;
        reader.consume(consumed);
        if newline.is_some() {
            return Ok((Box::new(reader), form, Some(at).filter(|at| *at < piece.until)));
        }
    }
    Ok((Box::new(reader), form, None))
}
