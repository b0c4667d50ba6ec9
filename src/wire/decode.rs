//! Content codings undone, chunk by chunk, so that decoded bytes keep the moments of their arrival.

mod stage;

use std::borrow::Cow;

use crate::recording::{Mark, Recording};
use stage::Stage;

/// A content coding (RFC 9110 §8.4.1, RFC 7932, RFC 8878).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// `gzip` and its old name `x-gzip`: one or more members.
    Gzip,
    /// `deflate`: the zlib format, or the bare DEFLATE stream that some servers send under this name.
    Deflate,
    /// `br`.
    Brotli,
    /// `zstd`: one or more frames.
    Zstd,
}

impl Coding {
    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
        }
    }

    fn from_token(token: &str) -> Option<Coding> {
        let names = [
            ("gzip", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("deflate", Coding::Deflate),
            ("br", Coding::Brotli),
            ("zstd", Coding::Zstd),
        ];
        names.into_iter().find(|(name, _)| token.eq_ignore_ascii_case(name)).map(|(_, coding)| coding)
    }
}

/// How much a body may grow when its codings are undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes that may come out.
    pub max_decoded_bytes: u64,
    /// The most bytes that may come out per byte that goes in. Not applied to the first MiB that comes out,
    /// because short honest bodies can be very dense.
    pub max_ratio: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_decoded_bytes: 64 << 20, max_ratio: 200 }
    }
}

/// Up to here a body may be of any density.
const FREE_OF_RATIO_BYTES: u64 = 1 << 20;

/// More codings than this on one body are an attack: each costs a decoder's memory.
const MAX_CODINGS: usize = 8;

/// Why a body's codings could not be undone.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The field names a coding that is none of ours.
    #[error("Content-Encoding {0:?} is unknown")]
    Unknown(String),
    /// The field names more codings than are undone.
    #[error("Content-Encoding names {0} codings, more than {MAX_CODINGS}")]
    TooMany(usize),
    /// More comes out than [`Limits::max_decoded_bytes`].
    #[error("{} output exceeds {limit_bytes} bytes", coding.name())]
    TooLarge {
        /// The coding that was being undone.
        coding: Coding,
        /// The limit.
        limit_bytes: u64,
    },
    /// More comes out than [`Limits::max_ratio`] allows.
    #[error("{} output exceeds {max_ratio} times its input", coding.name())]
    TooDense {
        /// The coding that was being undone.
        coding: Coding,
        /// The limit.
        max_ratio: u32,
    },
    /// The bytes are not of this coding.
    #[error("{}: {reason}", coding.name())]
    Corrupt {
        /// The coding that was being undone.
        coding: Coding,
        /// What is wrong with them.
        reason: Cow<'static, str>,
    },
}

/// A body with its codings undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<'a> {
    /// The decoded bytes.
    pub bytes: Cow<'a, [u8]>,
    /// Arrival of each run of them, by rising offset: a byte arrived with the chunk that let it be decoded.
    pub marks: Cow<'a, [Mark]>,
    /// The codings that were undone, in the order in which the sender applied them.
    pub undone: Vec<Coding>,
    /// The coded stream stopped before its own end; what could be decoded until there is here.
    pub is_partial: bool,
}

impl<'a> Decoded<'a> {
    /// The recorded bytes as they are.
    pub fn untouched(body: &'a Recording) -> Decoded<'a> {
        Decoded {
            bytes: Cow::Borrowed(&body.bytes),
            marks: Cow::Borrowed(&body.marks),
            undone: Vec::new(),
            is_partial: false,
        }
    }
}

/// The codings that `Content-Encoding` fields name, in the order of their application. All instances of the
/// field count as one list (RFC 9110 §5.3); `identity` and empty elements are passed over.
pub fn codings<'a>(fields: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Coding>, DecodeError> {
    let mut codings = Vec::new();
    for field in fields {
        for token in field.split(|&byte| byte == b',') {
            let token = token.trim_ascii();
            if token.is_empty() || token.eq_ignore_ascii_case(b"identity") {
                continue;
            }
            let known = std::str::from_utf8(token).ok().and_then(Coding::from_token);
            codings.push(known.ok_or_else(|| DecodeError::Unknown(String::from_utf8_lossy(token).into_owned()))?);
        }
    }
    if codings.len() > MAX_CODINGS { Err(DecodeError::TooMany(codings.len())) } else { Ok(codings) }
}

/// Undoes `codings` (given in the order of their application), the last one first, along the body's own chunks.
///
/// A body without bytes is returned as it is. A coded stream that stops early is no error: see
/// [`Decoded::is_partial`]. Decoders hold at most a window beside the result: 128 MiB of address space for zstd,
/// less for the others, and only as far as the data reaches.
pub fn decode<'a>(body: &'a Recording, codings: &[Coding], limits: Limits) -> Result<Decoded<'a>, DecodeError> {
    if codings.is_empty() || body.bytes.is_empty() {
        return Ok(Decoded::untouched(body));
    }
    let bound = Bound::of(limits, body.bytes.len());
    let mut stages =
        codings.iter().rev().map(|&coding| Stage::new(coding, bound)).collect::<Result<Vec<Stage>, DecodeError>>()?;
    let mut bytes = Vec::with_capacity(bound.bytes.min(body.bytes.len().saturating_mul(4)));
    let mut marks = Vec::with_capacity(body.marks.len());
    for (chunk, at_us) in chunks(body) {
        let offset = bytes.len() as u64;
        push_through(&mut stages, chunk, &mut bytes)?;
        if let Some(at_us) = at_us.filter(|_| bytes.len() as u64 > offset) {
            marks.push(Mark { offset, at_us });
        }
    }
    let is_partial = !stages.iter().all(Stage::is_at_end);
    Ok(Decoded { bytes: bytes.into(), marks: marks.into(), undone: codings.to_vec(), is_partial })
}

/// Undoes the codings of a body that comes in pieces and is not kept.
pub struct Decoder {
    stages: Vec<Stage>,
    /// The bound is one for each piece.
    is_of_pieces: bool,
}

impl Decoder {
    /// Undoes `codings` (given in the order of their application), the last one first. Of the limits the one in bytes
    /// holds, for the whole body: how much goes in is not known.
    ///
    /// # Errors
    /// A decoder cannot be had.
    pub fn new(codings: &[Coding], limits: Limits) -> Result<Decoder, DecodeError> {
        let bytes = usize::try_from(limits.max_decoded_bytes).unwrap_or(usize::MAX - 1).min(usize::MAX - 1);
        let bound = Bound { bytes, limits, is_of_ratio: false };
        let stages = codings.iter().rev().map(|&coding| Stage::new(coding, bound)).collect::<Result<_, _>>()?;
        Ok(Decoder { stages, is_of_pieces: false })
    }

    /// The same without a bound of the whole: no more than `most_at_once` bytes may come out of one piece.
    ///
    /// # Errors
    /// A decoder cannot be had.
    pub fn of_pieces(codings: &[Coding], most_at_once: u64) -> Result<Decoder, DecodeError> {
        let limits = Limits { max_decoded_bytes: most_at_once, max_ratio: u32::MAX };
        Ok(Decoder { is_of_pieces: true, ..Decoder::new(codings, limits)? })
    }

    /// Appends to `out` all that the next piece lets be known.
    ///
    /// # Errors
    /// The bytes are not of these codings, or too much comes out. Nothing more can be had then.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        if self.is_of_pieces {
            self.stages.iter_mut().for_each(Stage::begin_anew);
        }
        push_through(&mut self.stages, piece, out)
    }
}

/// What may come out of a stage.
#[derive(Clone, Copy)]
struct Bound {
    bytes: usize,
    limits: Limits,
    is_of_ratio: bool,
}

impl Bound {
    fn of(limits: Limits, coded_bytes: usize) -> Bound {
        let by_ratio = (coded_bytes as u64).saturating_mul(u64::from(limits.max_ratio)).max(FREE_OF_RATIO_BYTES);
        let bytes = usize::try_from(by_ratio.min(limits.max_decoded_bytes)).unwrap_or(usize::MAX - 1);
        Bound { bytes, limits, is_of_ratio: by_ratio < limits.max_decoded_bytes }
    }

    fn error(self, coding: Coding) -> DecodeError {
        match self.is_of_ratio {
            true => DecodeError::TooDense { coding, max_ratio: self.limits.max_ratio },
            false => DecodeError::TooLarge { coding, limit_bytes: self.limits.max_decoded_bytes },
        }
    }
}

/// The body's bytes by the chunks that its marks tell, each with its arrival; one chunk without time if there
/// are no marks.
fn chunks(body: &Recording) -> impl Iterator<Item = (&[u8], Option<u64>)> {
    let clamp = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(body.bytes.len());
    let unmarked = body.marks.first().map_or(body.bytes.len(), |mark| clamp(mark.offset));
    let marked = body.marks.iter().enumerate().map(move |(index, mark)| {
        let end = body.marks.get(index + 1).map_or(body.bytes.len(), |next| clamp(next.offset));
        (body.bytes.get(clamp(mark.offset)..end).unwrap_or_default(), Some(mark.at_us))
    });
    std::iter::once((&body.bytes[..unmarked], None)).chain(marked).filter(|(chunk, _)| !chunk.is_empty())
}

fn push_through(stages: &mut [Stage], chunk: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
    match stages {
        [] => out.extend_from_slice(chunk),
        [last] => last.push(chunk, out)?,
        [first, rest @ ..] => {
            let mut between = Vec::new();
            first.push(chunk, &mut between)?;
            push_through(rest, &between, out)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
