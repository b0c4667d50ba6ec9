//! One coding being undone: bytes in as they come, bytes out as soon as they are known.

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use super::{Bound, Coding, DecodeError};

/// The window of a gzip or zlib stream: 2^15 bytes, the largest that the formats know.
const WINDOW_BITS: u8 = 15;

/// A decoder that keeps its place between chunks.
pub(super) struct Stage {
    coding: Coding,
    decoder: Decoder,
    bound: Bound,
    produced: usize,
}

enum Decoder {
    Inflate(Inflate),
    Brotli { state: Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>, is_at_end: bool },
    Zstd { decoder: ZstdDecoder<'static>, is_at_end: bool },
}

impl Stage {
    pub(super) fn new(coding: Coding, bound: Bound) -> Result<Stage, DecodeError> {
        let decoder = match coding {
            Coding::Gzip => Decoder::Inflate(Inflate::Gzip(Decompress::new_gzip(WINDOW_BITS), Member::Open)),
            Coding::Deflate => Decoder::Inflate(Inflate::Undecided(None)),
            Coding::Brotli => {
                let state =
                    BrotliState::new(StandardAlloc::default(), StandardAlloc::default(), StandardAlloc::default());
                Decoder::Brotli { state: Box::new(state), is_at_end: false }
            }
            Coding::Zstd => {
                let decoder = ZstdDecoder::new().map_err(|error| corrupt(coding, error.to_string()))?;
                Decoder::Zstd { decoder, is_at_end: false }
            }
        };
        Ok(Stage { coding, decoder, bound, produced: 0 })
    }

    /// The bound counts from here on.
    pub(super) fn begin_anew(&mut self) {
        self.produced = 0;
    }

    /// Whether the coded stream has reached its own end.
    pub(super) fn is_at_end(&self) -> bool {
        match &self.decoder {
            Decoder::Inflate(Inflate::Undecided(_)) => false,
            Decoder::Inflate(Inflate::Gzip(_, member) | Inflate::Deflate(_, member)) => *member != Member::Open,
            Decoder::Brotli { is_at_end, .. } | Decoder::Zstd { is_at_end, .. } => *is_at_end,
        }
    }

    /// Appends to `out` all that `input` lets be known.
    pub(super) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), DecodeError> {
        let mut input = input;
        loop {
            let before = out.len();
            let room = (input.len().saturating_mul(4)).clamp(1 << 12, 1 << 18);
            // One byte more than is allowed, so that going over the bound shows.
            let room = room.min(self.bound.bytes - self.produced + 1);
            if out.capacity() - before < room {
                out.reserve(room);
            }
            let is_drained = self.step(&mut input, out, room)?;
            self.produced += out.len() - before;
            if self.produced > self.bound.bytes {
                return Err(self.bound.error(self.coding));
            }
            if is_drained {
                return Ok(());
            }
        }
    }

    /// One call of the decoder: takes what it read off `input`. True if it waits for more input.
    fn step(&mut self, input: &mut &[u8], out: &mut Vec<u8>, room: usize) -> Result<bool, DecodeError> {
        let coding = self.coding;
        match &mut self.decoder {
            Decoder::Inflate(inflate) => inflate.step(coding, input, out),
            Decoder::Brotli { is_at_end: true, .. } => no_more(coding, input),
            Decoder::Brotli { state, is_at_end } => {
                let start = out.len();
                out.resize(start + room, 0);
                let (mut input_left, mut read, mut room_left, mut written, mut total) = (input.len(), 0, room, 0, 0);
                let result = BrotliDecompressStream(
                    &mut input_left,
                    &mut read,
                    input,
                    &mut room_left,
                    &mut written,
                    &mut out[start..],
                    &mut total,
                    state,
                );
                out.truncate(start + written);
                *input = &input[read..];
                match result {
                    BrotliResult::ResultFailure => Err(corrupt(coding, "not a brotli stream")),
                    BrotliResult::NeedsMoreInput => Ok(true),
                    BrotliResult::NeedsMoreOutput => Ok(false),
                    BrotliResult::ResultSuccess => {
                        *is_at_end = true;
                        Ok(false)
                    }
                }
            }
            Decoder::Zstd { decoder, is_at_end } => {
                if input.is_empty() && *is_at_end {
                    return Ok(true);
                }
                let start = out.len();
                let mut source = InBuffer::around(input);
                let mut target = OutBuffer::around_pos(out, start);
                let hint = decoder.run(&mut source, &mut target).map_err(|error| corrupt(coding, error.to_string()))?;
                let is_full = target.pos() == target.capacity();
                let read = source.pos();
                *input = &input[read..];
                // Zero: the frame is whole and written out. The next byte, if any, begins another.
                *is_at_end = hint == 0;
                Ok(input.is_empty() && (!is_full || *is_at_end))
            }
        }
    }
}

/// gzip and deflate.
enum Inflate {
    Gzip(Decompress, Member),
    /// `deflate`, of which the zlib header's two bytes have not both come yet.
    Undecided(Option<u8>),
    Deflate(Decompress, Member),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    Open,
    /// At the end of a member: a file may pad it with zeros, or have another one.
    Ended,
}

impl Inflate {
    fn step(&mut self, coding: Coding, input: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, DecodeError> {
        match self {
            Inflate::Undecided(first) => {
                let (head, rest) = match (*first, *input) {
                    (_, []) => return Ok(true),
                    (None, [only]) => {
                        *first = Some(*only);
                        *input = &[];
                        return Ok(true);
                    }
                    (None, [one, two, ..]) => ([*one, *two], *input),
                    (Some(one), [two, ..]) => ([one, *two], *input),
                };
                let held = first.take();
                let mut inflate = Decompress::new(is_zlib(head));
                if let Some(held) = held {
                    // The decoder's state takes the byte that came in an earlier chunk; nothing can come out yet.
                    inflate_some(&mut inflate, coding, &mut [held].as_slice(), out)?;
                }
                *input = rest;
                *self = Inflate::Deflate(inflate, Member::Open);
                Ok(false)
            }
            Inflate::Deflate(_, Member::Ended) => no_more(coding, input),
            Inflate::Deflate(inflate, member) => match inflate_some(inflate, coding, input, out)? {
                Progress::Ended => {
                    *member = Member::Ended;
                    Ok(false)
                }
                Progress::WantsInput => Ok(true),
                Progress::WantsRoom => Ok(false),
            },
            Inflate::Gzip(inflate, member @ Member::Ended) => {
                while let [0, rest @ ..] = *input {
                    *input = rest;
                }
                if input.is_empty() {
                    return Ok(true);
                }
                *inflate = Decompress::new_gzip(WINDOW_BITS);
                *member = Member::Open;
                Ok(false)
            }
            Inflate::Gzip(inflate, member) => match inflate_some(inflate, coding, input, out)? {
                Progress::Ended => {
                    *member = Member::Ended;
                    Ok(false)
                }
                Progress::WantsInput => Ok(true),
                Progress::WantsRoom => Ok(false),
            },
        }
    }
}

enum Progress {
    WantsInput,
    WantsRoom,
    Ended,
}

fn inflate_some(
    inflate: &mut Decompress,
    coding: Coding,
    input: &mut &[u8],
    out: &mut Vec<u8>,
) -> Result<Progress, DecodeError> {
    let read_before = inflate.total_in();
    let status = inflate.decompress_vec(input, out, FlushDecompress::None);
    let read = usize::try_from(inflate.total_in() - read_before).unwrap_or(usize::MAX).min(input.len());
    *input = &input[read..];
    match status {
        Err(error) => Err(corrupt(coding, error.message().unwrap_or("not a deflate stream").to_owned())),
        Ok(Status::StreamEnd) => Ok(Progress::Ended),
        Ok(Status::BufError) => Ok(Progress::WantsInput),
        Ok(Status::Ok) if input.is_empty() && out.len() < out.capacity() => Ok(Progress::WantsInput),
        Ok(Status::Ok) => Ok(Progress::WantsRoom),
    }
}

/// Whether two bytes are the header of a zlib stream (RFC 1950 §2.2).
fn is_zlib([one, two]: [u8; 2]) -> bool {
    one & 0x0f == 8 && u16::from_be_bytes([one, two]).is_multiple_of(31)
}

fn no_more(coding: Coding, input: &[u8]) -> Result<bool, DecodeError> {
    if input.is_empty() { Ok(true) } else { Err(corrupt(coding, "bytes follow the end of the stream")) }
}

fn corrupt(coding: Coding, reason: impl Into<std::borrow::Cow<'static, str>>) -> DecodeError {
    DecodeError::Corrupt { coding, reason: reason.into() }
}
