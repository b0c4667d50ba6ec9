//! One block after the other, compressed.

use std::io::{self, Read, Write};

use flate2::write::GzEncoder;
use libdeflater::{CompressionLvl, Compressor};
use zstd::stream::raw::{CParameter, Encoder as ZstdEncoder, InBuffer, Operation, OutBuffer};

use super::table::Table;
use super::{Codec, gzip_table, zstd_table};

/// The longest window that decoders take unasked.
const MOST_WINDOW_LOG: u32 = 27;
/// With the next one half as fast again as level 3 by itself, for 3 % more bytes (`benches/seal.rs`).
const ZSTD_LEVEL: i32 = 2;
/// Long matches are looked for at one place in 2^9 bytes, a quarter as many as by default: what agents repeat is much
/// longer, and the table of places stays in the processor's cache.
const ZSTD_LONG_MATCH_RATE_LOG: u32 = 9;
const GZIP_LEVEL: i32 = 6;
/// A longer gzip member is deflated as a stream, not in one piece.
const MOST_IN_ONE_PIECE: u64 = 64 << 20;
/// Bytes worked on at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// Compresses blocks and keeps the table of them.
pub(super) struct Encoder {
    method: Method,
    block_bytes: u64,
    table: Table,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

enum Method {
    Zstd(ZstdEncoder<'static>),
    Gzip(Compressor),
}

impl Encoder {
    pub(super) fn new(codec: Codec, block_bytes: u64) -> io::Result<Encoder> {
        let method = match codec {
            Codec::Zstd => {
                let mut encoder = ZstdEncoder::new(ZSTD_LEVEL)?;
                encoder.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
                encoder.set_parameter(CParameter::LdmHashRateLog(ZSTD_LONG_MATCH_RATE_LOG))?;
                encoder.set_parameter(CParameter::ChecksumFlag(true))?;
                Method::Zstd(encoder)
            }
            // An error would mean that there is no such level.
            Codec::Gzip => Method::Gzip(Compressor::new(CompressionLvl::new(GZIP_LEVEL).unwrap_or_default())),
        };
        Ok(Encoder { method, block_bytes, table: Table::default(), plain: Vec::new(), packed: Vec::new() })
    }

    /// Compresses the next `length` bytes of `plain` into a block.
    pub(super) fn block(&mut self, plain: &mut impl Read, length: u64, sink: &mut impl Write) -> io::Result<()> {
        let mut sink = Counted { sink, bytes: 0, last: [0; 4] };
        let mut plain = plain.take(length);
        let (input, output) = (&mut self.plain, &mut self.packed);
        let checksum = match &mut self.method {
            Method::Zstd(encoder) => {
                let longest = length.max(self.block_bytes).next_power_of_two().ilog2();
                encoder.reinit()?;
                encoder.set_parameter(CParameter::WindowLog(longest.clamp(10, MOST_WINDOW_LOG)))?;
                encoder.set_pledged_src_size(Some(length))?;
                zstd_frame(encoder, &mut plain, &mut sink, input, output)?;
                // A frame ends with the checksum that the table wants.
                Some(u32::from_le_bytes(sink.last))
            }
            Method::Gzip(compressor) => {
                if length <= MOST_IN_ONE_PIECE {
                    gzip_member(compressor, &mut plain, &mut sink, input, output)?;
                } else {
                    let mut encoder = GzEncoder::new(&mut sink, flate2::Compression::new(GZIP_LEVEL as u32));
                    io::copy(&mut plain, &mut encoder)?;
                    encoder.finish()?;
                }
                None
            }
        };
        if plain.limit() > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let packed = u32::try_from(sink.bytes).map_err(io::Error::other)?;
        self.table.push(packed, u32::try_from(length).map_err(io::Error::other)?, checksum);
        Ok(())
    }

    /// The table of all blocks, to be written behind them.
    pub(super) fn table(&self) -> Vec<u8> {
        match self.method {
            Method::Zstd(_) => zstd_table::write(&self.table),
            Method::Gzip(_) => gzip_table::write(&self.table),
        }
    }

    /// How many blocks there are.
    pub(super) fn blocks(&self) -> usize {
        self.table.blocks().len()
    }
}

fn zstd_frame(
    encoder: &mut ZstdEncoder<'static>,
    plain: &mut impl Read,
    sink: &mut impl Write,
    input: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> io::Result<()> {
    input.resize(CHUNK_BYTES, 0);
    output.resize(CHUNK_BYTES, 0);
    loop {
        let taken = match plain.read(input) {
            Ok(0) => break,
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut taken = InBuffer::around(&input[..taken]);
        while taken.pos < taken.src.len() {
            let mut given = OutBuffer::around(output.as_mut_slice());
            encoder.run(&mut taken, &mut given)?;
            sink.write_all(given.as_slice())?;
        }
    }
    loop {
        let mut given = OutBuffer::around(output.as_mut_slice());
        let left = encoder.finish(&mut given, true)?;
        sink.write_all(given.as_slice())?;
        if left == 0 {
            return Ok(());
        }
    }
}

fn gzip_member(
    compressor: &mut Compressor,
    plain: &mut impl Read,
    sink: &mut impl Write,
    input: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> io::Result<()> {
    input.clear();
    plain.read_to_end(input)?;
    output.resize(compressor.gzip_compress_bound(input.len()).max(output.len()), 0);
    let packed = compressor.gzip_compress(input, output).map_err(|error| io::Error::other(error.to_string()))?;
    sink.write_all(&output[..packed])
}

/// Counts what is written, and keeps its last bytes.
struct Counted<W> {
    sink: W,
    bytes: u64,
    last: [u8; 4],
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.bytes += written as u64;
        let bytes = &bytes[..written];
        let kept = bytes.len().min(4);
        self.last.rotate_left(kept);
        self.last[4 - kept..].copy_from_slice(&bytes[bytes.len() - kept..]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
