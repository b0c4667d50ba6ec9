//! The table of a sealed file: where each block stands, packed and plain.

use std::io::{self, Read, Seek, SeekFrom};

use super::{Codec, gzip_table, zstd_table};

/// More blocks than any file of ours has; a table that tells of more is not believed.
pub(super) const MOST_BLOCKS: u64 = 1 << 22;

/// One block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its first byte in the file.
    pub at: u64,
    /// Its bytes in the file.
    pub packed: u32,
    /// The offset of its first plain byte.
    pub offset: u64,
    /// Its plain bytes.
    pub plain: u32,
    /// The low half of the XXH64 of its plain bytes, where the table tells it.
    pub checksum: Option<u32>,
}

/// All blocks of a file, in order and without gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    blocks: Vec<Block>,
}

/// A table that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It contradicts itself or the file.
    #[error("{0}")]
    Damaged(String),
    /// The disk refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl TableError {
    pub(super) fn damaged(reason: impl Into<String>) -> TableError {
        TableError::Damaged(reason.into())
    }
}

impl Table {
    /// Reads a file's table, `None` if it carries none. What is read and held is bounded by the file's own length.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn read(file: &mut (impl Read + Seek), codec: Codec) -> Result<Option<Table>, TableError> {
        let length = file.seek(SeekFrom::End(0))?;
        match codec {
            Codec::Zstd => zstd_table::read(file, length),
            Codec::Gzip => gzip_table::read(file, length),
        }
    }

    /// The blocks in order.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Plain bytes of the whole file.
    pub fn plain_bytes(&self) -> u64 {
        self.blocks.last().map_or(0, |last| last.offset + u64::from(last.plain))
    }

    /// Bytes of all blocks in the file: where the table begins.
    pub fn packed_bytes(&self) -> u64 {
        self.blocks.last().map_or(0, |last| last.at + u64::from(last.packed))
    }

    /// The first block that reaches beyond this plain offset; the number of blocks if none does.
    pub fn find(&self, offset: u64) -> usize {
        self.blocks.partition_point(|it| it.offset + u64::from(it.plain) <= offset)
    }

    /// One more block behind the others.
    pub(super) fn push(&mut self, packed: u32, plain: u32, checksum: Option<u32>) {
        let (at, offset) = (self.packed_bytes(), self.plain_bytes());
        self.blocks.push(Block { at, packed, offset, plain, checksum });
    }
}

/// A little-endian number in a slice that is known to be long enough.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|it| it.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// The same for eight bytes.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|it| it.try_into().ok()).map_or(0, u64::from_le_bytes)
}
