//! Where a sealed file can be cut into parts that are read side by side.

use std::fs::File;
use std::io;
use std::path::Path;

use super::Codec;
use super::table::{Table, TableError};

/// A part of a sealed file: some blocks, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The offset of its first plain byte.
    pub from: u64,
    /// Its bytes in the file.
    pub packed: u64,
}

/// The parts of the sealed file at `path`, each of one block or of as many as make `plain_bytes`. None for an empty file,
/// for one without a table, and for one whose table is damaged: those are read from their beginning, which tells.
///
/// A file of ours has its lines whole in its blocks, but for those longer than a block may be; other programs' need not.
///
/// # Errors
/// The file cannot be read.
pub fn cuts(path: &Path, codec: Codec, plain_bytes: u64) -> io::Result<Vec<Cut>> {
    let table = match Table::read(&mut File::open(path)?, codec) {
        Ok(table) => table.unwrap_or_default(),
        Err(TableError::Io(source)) => return Err(source),
        Err(TableError::Damaged(_)) => Table::default(),
    };
    let mut cuts: Vec<Cut> = Vec::new();
    for block in table.blocks() {
        match cuts.last_mut() {
            Some(last) if block.offset - last.from < plain_bytes => last.packed += u64::from(block.packed),
            _ => cuts.push(Cut { from: block.offset, packed: block.packed.into() }),
        }
    }
    Ok(cuts)
}
