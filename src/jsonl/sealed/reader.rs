//! A sealed file's plain bytes from any offset on: only the blocks that hold them are undone.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use xxhash_rust::xxh64::Xxh64;
use zstd::stream::raw::{Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use super::table::{Block, Table};
use super::{Codec, SealedError};

/// Packed bytes read at once.
const CHUNK_BYTES: usize = 128 * 1024;
/// The window of a gzip stream.
const WINDOW_BITS: u8 = 15;

/// The plain bytes of the sealed file at `path` from `offset` on. With a table, at most one block's beginning is
/// undone in vain; without, all that stands before.
///
/// Each block is checked as it is read through: its length, its checksum, and that it ends where the table says.
/// Damage is an [`io::ErrorKind::InvalidData`] that names file and block.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] if the file has fewer plain bytes; damage; what the disk says.
pub fn open_at(path: &Path, mut file: File, codec: Codec, offset: u64) -> io::Result<Box<dyn Read + Send>> {
    let path = path.to_path_buf();
    match Table::read(&mut file, codec).map_err(|error| SealedError::of_table(&path, error).into_io())? {
        Some(table) => {
            if offset > table.plain_bytes() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut blocks = BlockReader::new(path, file, codec, table, offset)?;
            skip(&mut blocks, offset)?;
            Ok(Box::new(blocks))
        }
        None => {
            file.seek(SeekFrom::Start(0))?;
            let mut stream = WholeStream::new(path, file, codec)?;
            let skipped = io::copy(&mut stream.by_ref().take(offset), &mut io::sink())?;
            if skipped < offset {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(Box::new(stream))
        }
    }
}

/// The plain bytes of the sealed file at `path` from its beginning, each block held against the table's checksums too,
/// where it tells any: for who checks a file. `open_at` takes the one that a block carries itself.
///
/// # Errors
/// As [`open_at`].
pub fn open_checked(path: &Path, mut file: File, codec: Codec) -> io::Result<Box<dyn Read + Send>> {
    match Table::read(&mut file, codec).map_err(|error| SealedError::of_table(path, error).into_io())? {
        Some(table) => Ok(Box::new(BlockReader::new(path.into(), file, codec, table, 0)?.with_digests())),
        None => {
            file.seek(SeekFrom::Start(0))?;
            Ok(Box::new(WholeStream::new(path.into(), file, codec)?))
        }
    }
}

/// How many plain bytes a sealed file has: as its table tells, or, without one, counted.
///
/// # Errors
/// As [`open_at`]; behind a table no block is looked at.
pub fn plain_bytes(path: &Path, mut file: File, codec: Codec) -> io::Result<u64> {
    match Table::read(&mut file, codec).map_err(|error| SealedError::of_table(path, error).into_io())? {
        Some(table) => Ok(table.plain_bytes()),
        None => io::copy(&mut open_at(path, file, codec, 0)?, &mut io::sink()),
    }
}

fn skip(blocks: &mut BlockReader, offset: u64) -> io::Result<()> {
    let mut scratch = vec![0; CHUNK_BYTES];
    while blocks.position < offset {
        let wanted = (offset - blocks.position).min(CHUNK_BYTES as u64) as usize;
        if blocks.read(&mut scratch[..wanted])? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Reads blocks by their table.
pub(super) struct BlockReader {
    path: PathBuf,
    file: File,
    table: Table,
    decoder: Decoder,
    /// The block being read, or to be opened next.
    block: usize,
    is_open: bool,
    /// Plain bytes before the next one to be read.
    position: u64,
    packed: Packed,
    /// Of the block being read, if the table's checksums are looked at too.
    digest: Option<Xxh64>,
}

/// Packed bytes of one block.
struct Packed {
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    /// Not yet read from the file.
    left: u64,
}

impl BlockReader {
    /// Reads from the beginning of the block that holds `offset`, or from the end.
    pub(super) fn new(path: PathBuf, file: File, codec: Codec, table: Table, offset: u64) -> io::Result<BlockReader> {
        let block = table.find(offset);
        let position = table.blocks().get(block).map_or(table.plain_bytes(), |it| it.offset);
        let decoder = Decoder::new(codec)?;
        let packed = Packed { buffer: vec![0; CHUNK_BYTES], from: 0, to: 0, left: 0 };
        Ok(BlockReader { path, file, table, decoder, block, is_open: false, position, packed, digest: None })
    }

    /// Also compares each block with the checksum in the table, beside the one that it carries itself.
    pub(super) fn with_digests(mut self) -> BlockReader {
        self.digest = Some(Xxh64::new(0));
        self
    }

    fn current(&self) -> Option<Block> {
        self.table.blocks().get(self.block).copied()
    }

    fn open(&mut self, block: Block) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(block.at))?;
        (self.packed.from, self.packed.to, self.packed.left) = (0, 0, u64::from(block.packed));
        self.decoder.begin()?;
        if let Some(digest) = &mut self.digest {
            digest.reset(0);
        }
        self.is_open = true;
        Ok(())
    }

    /// Undoes some more of the block into `out`; how much, and whether that was its end.
    fn step(&mut self, out: &mut [u8]) -> io::Result<(usize, bool)> {
        loop {
            if self.packed.from == self.packed.to && self.packed.left > 0 {
                let wanted = self.packed.left.min(CHUNK_BYTES as u64) as usize;
                let read = self.file.read(&mut self.packed.buffer[..wanted])?;
                if read == 0 {
                    return Err(self.damage("the file ends within it"));
                }
                (self.packed.from, self.packed.to) = (0, read);
                self.packed.left -= read as u64;
            }
            let input = &self.packed.buffer[self.packed.from..self.packed.to];
            let (taken, given, has_ended) =
                self.decoder.step(input, out).map_err(|error| self.damage(error.to_string()))?;
            self.packed.from += taken;
            if given > 0 || has_ended {
                return Ok((given, has_ended));
            }
            if taken == 0 && self.packed.left == 0 {
                return Err(self.damage("it has no end"));
            }
        }
    }

    /// All plain bytes are there: the block must end here too, with its checksum.
    fn close(&mut self, block: Block, has_ended: bool) -> io::Result<()> {
        let mut has_ended = has_ended;
        while !has_ended {
            let mut more = [0];
            let (given, ended) = self.step(&mut more)?;
            if given > 0 {
                return Err(self.damage(format!("it holds more than its {} bytes", block.plain)));
            }
            has_ended = ended;
        }
        if self.packed.from < self.packed.to || self.packed.left > 0 {
            return Err(self.damage(format!("it ends before its {} packed bytes do", block.packed)));
        }
        if let (Some(digest), Some(checksum)) = (&self.digest, block.checksum)
            && digest.digest() as u32 != checksum
        {
            return Err(self.damage("it does not have the checksum that the table tells"));
        }
        self.is_open = false;
        self.block += 1;
        Ok(())
    }

    fn damage(&self, reason: impl Into<String>) -> io::Error {
        SealedError::Block { path: self.path.clone(), block: self.block, reason: reason.into() }.into_io()
    }
}

impl Read for BlockReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        while let Some(block) = self.current() {
            if !self.is_open {
                self.open(block)?;
            }
            let left = block.offset + u64::from(block.plain) - self.position;
            let room = left.min(out.len() as u64) as usize;
            let (given, has_ended) = if room > 0 { self.step(&mut out[..room])? } else { (0, false) };
            self.position += given as u64;
            if let Some(digest) = &mut self.digest {
                digest.update(&out[..given]);
            }
            if given as u64 == left {
                self.close(block, has_ended)?;
            } else if has_ended {
                return Err(self.damage(format!("it lacks {} of its {} bytes", left - given as u64, block.plain)));
            }
            if given > 0 {
                return Ok(given);
            }
        }
        Ok(0)
    }
}

/// Undoes one frame or member at a time.
enum Decoder {
    Zstd(ZstdDecoder<'static>),
    Gzip(Decompress),
}

impl Decoder {
    fn new(codec: Codec) -> io::Result<Decoder> {
        Ok(match codec {
            Codec::Zstd => Decoder::Zstd(ZstdDecoder::new()?),
            Codec::Gzip => Decoder::Gzip(Decompress::new_gzip(WINDOW_BITS)),
        })
    }

    /// Forgets what came before.
    fn begin(&mut self) -> io::Result<()> {
        match self {
            Decoder::Zstd(decoder) => decoder.reinit(),
            Decoder::Gzip(decoder) => {
                *decoder = Decompress::new_gzip(WINDOW_BITS);
                Ok(())
            }
        }
    }

    /// Bytes taken, bytes given, and whether the frame or member is at its end.
    fn step(&mut self, input: &[u8], out: &mut [u8]) -> io::Result<(usize, usize, bool)> {
        match self {
            Decoder::Zstd(decoder) => {
                let mut taken = InBuffer::around(input);
                let mut given = OutBuffer::around(out);
                let hint = decoder.run(&mut taken, &mut given)?;
                Ok((taken.pos, given.pos(), hint == 0))
            }
            Decoder::Gzip(decoder) => {
                let before = (decoder.total_in(), decoder.total_out());
                let status = decoder.decompress(input, out, FlushDecompress::None).map_err(io::Error::other)?;
                let taken = (decoder.total_in() - before.0) as usize;
                let given = (decoder.total_out() - before.1) as usize;
                Ok((taken, given, status == Status::StreamEnd))
            }
        }
    }
}

/// A compressed file without a table, from its beginning.
pub(super) struct WholeStream {
    path: PathBuf,
    stream: Box<dyn Read + Send>,
    bytes: u64,
}

impl WholeStream {
    pub(super) fn new(path: PathBuf, file: File, codec: Codec) -> io::Result<WholeStream> {
        let stream: Box<dyn Read + Send> = match codec {
            Codec::Zstd => Box::new(zstd::stream::read::Decoder::new(file)?),
            Codec::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(CHUNK_BYTES, file))),
        };
        Ok(WholeStream { path, stream, bytes: 0 })
    }
}

impl Read for WholeStream {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.stream.read(out) {
            Ok(read) => {
                self.bytes += read as u64;
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            // What the disk says keeps its number; all else is the decoder's, a file cut short included.
            Err(error) if error.raw_os_error().is_some() => Err(error),
            Err(error) => {
                let damage =
                    SealedError::Stream { path: self.path.clone(), bytes: self.bytes, reason: error.to_string() };
                Err(damage.into_io())
            }
        }
    }
}
