//! The table of a gzip file, in the extra fields of empty members behind the others: every reader of gzip passes
//! over them and finds nothing in them.
//!
//! Members with the field `AL` hold the packed and plain length of some thousand members each, 4 bytes per number.
//! The last member has the field `AE`: a mark, how many members there are before the table, how many bytes all `AL`
//! members have, and the XXH3-64 of all entries. All numbers are little-endian.

use std::io::{Read, Seek, SeekFrom};

use xxhash_rust::xxh3::Xxh3;

use super::table::{MOST_BLOCKS, Table, TableError, u32_at, u64_at};

/// gzip, deflate, with an extra field, no time, no hints, of no particular system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255];
/// Deflated nothing, its CRC and its length.
const NOTHING: [u8; 10] = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const ENTRY_BYTES: usize = 8;
/// What fits into one extra field.
const MOST_ENTRIES: usize = (u16::MAX as usize - 4) / ENTRY_BYTES;
/// Of a member: header, length of the extra field, head of the one subfield, nothing.
const AROUND: usize = 10 + 2 + 4 + 10;
const MARK: [u8; 8] = *b"api-log\x01";
const END_BYTES: u64 = (AROUND + 8 + 3 * 8) as u64;
/// A gzip member has at least so many bytes.
const LEAST_MEMBER: u64 = 20;

/// The table's bytes.
pub(super) fn write(table: &Table) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut digest = Xxh3::new();
    for part in table.blocks().chunks(MOST_ENTRIES) {
        let entries: Vec<u8> =
            part.iter().flat_map(|it| [it.packed.to_le_bytes(), it.plain.to_le_bytes()]).flatten().collect();
        digest.update(&entries);
        empty_member(&mut bytes, *b"AL", &entries);
    }
    let counts = [table.blocks().len() as u64, bytes.len() as u64, digest.digest()];
    let end: Vec<u8> = MARK.into_iter().chain(counts.into_iter().flat_map(u64::to_le_bytes)).collect();
    empty_member(&mut bytes, *b"AE", &end);
    bytes
}

fn empty_member(into: &mut Vec<u8>, field: [u8; 2], content: &[u8]) {
    into.extend(head(field, content.len()));
    into.extend(content);
    into.extend(NOTHING);
}

/// The beginning of an empty member whose extra field has this one content.
fn head(field: [u8; 2], length: usize) -> [u8; 16] {
    let mut head = [0; 16];
    head[..10].copy_from_slice(&HEADER);
    head[10..12].copy_from_slice(&(length as u16 + 4).to_le_bytes());
    head[12..14].copy_from_slice(&field);
    head[14..].copy_from_slice(&(length as u16).to_le_bytes());
    head
}

pub(super) fn read(file: &mut (impl Read + Seek), length: u64) -> Result<Option<Table>, TableError> {
    let Some(entries_end) = length.checked_sub(END_BYTES) else { return Ok(None) };
    let mut end = [0; END_BYTES as usize];
    file.seek(SeekFrom::Start(entries_end))?;
    file.read_exact(&mut end)?;
    let is_ours = end.starts_with(&head(*b"AE", 32)) && end[16..24] == MARK && end.ends_with(&NOTHING);
    if !is_ours {
        return Ok(None);
    }
    let (count, table_bytes, told) = (u64_at(&end, 24), u64_at(&end, 32), u64_at(&end, 40));
    if count > MOST_BLOCKS || count * LEAST_MEMBER > length {
        return Err(TableError::damaged(format!("it tells of {count} members, more than the file has room for")));
    }
    let members = count.div_ceil(MOST_ENTRIES as u64);
    let expected = members * AROUND as u64 + count * ENTRY_BYTES as u64;
    if table_bytes != expected || table_bytes > entries_end {
        return Err(TableError::damaged(format!("it has {table_bytes} bytes for {count} members")));
    }
    file.seek(SeekFrom::Start(entries_end - table_bytes))?;
    let mut table = Table::default();
    let mut digest = Xxh3::new();
    let mut left = count as usize;
    let mut member = Vec::new();
    while left > 0 {
        let entries = left.min(MOST_ENTRIES);
        member.resize(AROUND + entries * ENTRY_BYTES, 0);
        file.read_exact(&mut member)?;
        if !member.starts_with(&head(*b"AL", entries * ENTRY_BYTES)) || !member.ends_with(&NOTHING) {
            return Err(TableError::damaged(format!("{left} entries before its end it is something else")));
        }
        let content = &member[16..16 + entries * ENTRY_BYTES];
        digest.update(content);
        content.chunks_exact(ENTRY_BYTES).for_each(|it| table.push(u32_at(it, 0), u32_at(it, 4), None));
        left -= entries;
    }
    if digest.digest() != told {
        return Err(TableError::damaged("its entries do not have its checksum"));
    }
    if table.packed_bytes() != entries_end - table_bytes {
        let told = table.packed_bytes();
        let found = entries_end - table_bytes;
        return Err(TableError::damaged(format!("its members have {told} bytes, the file {found}")));
    }
    Ok(Some(table))
}
