//! The seek table of zstd's seekable format: a skippable frame behind the others.
//!
//! `5E 2A 4D 18`, the length of the rest, per frame its packed and plain length and its checksum, the number of
//! frames, a byte of flags, `B1 EA 92 8F`; all numbers little-endian.

use std::io::{Read, Seek, SeekFrom};

use super::table::{MOST_BLOCKS, Table, TableError, u32_at};

const SKIPPABLE: u32 = 0x184D_2A5E;
const SEEKABLE: u32 = 0x8F92_EAB1;
const HEADER_BYTES: u64 = 8;
const FOOTER_BYTES: u64 = 9;
/// Flag: entries tell checksums.
const HAS_CHECKSUMS: u8 = 1 << 7;
/// Flags that no version of the format uses yet.
const RESERVED: u8 = 0b0111_1100;

/// The table's bytes.
pub(super) fn write(table: &Table) -> Vec<u8> {
    let blocks = table.blocks();
    let length = blocks.len() * 12 + FOOTER_BYTES as usize;
    let mut bytes = Vec::with_capacity(length + HEADER_BYTES as usize);
    bytes.extend(SKIPPABLE.to_le_bytes());
    bytes.extend((length as u32).to_le_bytes());
    for block in blocks {
        bytes.extend(block.packed.to_le_bytes());
        bytes.extend(block.plain.to_le_bytes());
        bytes.extend(block.checksum.unwrap_or(0).to_le_bytes());
    }
    bytes.extend((blocks.len() as u32).to_le_bytes());
    bytes.push(HAS_CHECKSUMS);
    bytes.extend(SEEKABLE.to_le_bytes());
    bytes
}

pub(super) fn read(file: &mut (impl Read + Seek), length: u64) -> Result<Option<Table>, TableError> {
    if length < HEADER_BYTES + FOOTER_BYTES {
        return Ok(None);
    }
    let mut footer = [0; FOOTER_BYTES as usize];
    file.seek(SeekFrom::Start(length - FOOTER_BYTES))?;
    file.read_exact(&mut footer)?;
    if u32_at(&footer, 5) != SEEKABLE {
        return Ok(None);
    }
    let (count, flags) = (u64::from(u32_at(&footer, 0)), footer[4]);
    if flags & RESERVED != 0 {
        return Err(TableError::damaged(format!("its flags are {flags:#010b}")));
    }
    let has_checksums = flags & HAS_CHECKSUMS != 0;
    let entry_bytes = if has_checksums { 12 } else { 8 };
    let table_bytes = HEADER_BYTES + count * entry_bytes + FOOTER_BYTES;
    if count > MOST_BLOCKS || table_bytes > length {
        return Err(TableError::damaged(format!("it tells of {count} frames, more than the file has room for")));
    }
    let mut bytes = vec![0; (table_bytes - FOOTER_BYTES) as usize];
    file.seek(SeekFrom::Start(length - table_bytes))?;
    file.read_exact(&mut bytes)?;
    if u32_at(&bytes, 0) != SKIPPABLE || u64::from(u32_at(&bytes, 4)) != table_bytes - HEADER_BYTES {
        return Err(TableError::damaged(format!("{count} entries before its end it does not begin")));
    }
    let mut table = Table::default();
    for entry in bytes[HEADER_BYTES as usize..].chunks_exact(entry_bytes as usize) {
        table.push(u32_at(entry, 0), u32_at(entry, 4), has_checksums.then(|| u32_at(entry, 8)));
    }
    if table.packed_bytes() != length - table_bytes {
        let told = table.packed_bytes();
        return Err(TableError::damaged(format!("its frames have {told} bytes, the file {}", length - table_bytes)));
    }
    Ok(Some(table))
}
