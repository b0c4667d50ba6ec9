//! Sealed segments: finished files, compressed in blocks of whole lines that can be read one by one.
//!
//! A block is a zstd frame or a gzip member. Behind the blocks the file carries a table of them, which ordinary
//! tools pass over: `zstdcat` and `zcat` give the plain file's bytes.
//!
//! - **zstd**: independent frames, each with its length, its checksum and a window as long as itself (128 MiB at most,
//!   what decoders take unasked); then the seek table of the seekable format, in a skippable frame.
//! - **gzip**: independent members; then empty members whose extra fields hold the table, and a last one of fixed
//!   length by which it is found.
//!
//! A line that is longer than a block stands alone in one. A compressed file without a table, of other tools or of
//! earlier data dirs, is read all the same: from its beginning.
//!
//! [`seal()`] makes such a file out of a plain one, [`open_at`] reads it from any offset, [`verify_sealed`] checks it.

mod blocks;
mod cuts;
mod due;
mod encode;
mod gzip_table;
mod reader;
mod seal;
mod table;
mod verify;
mod zstd_table;

use std::io;
use std::path::{Path, PathBuf};

use crate::store::layout::Form;

pub use self::cuts::{Cut, cuts};
pub use self::due::due;
pub use self::reader::{open_at, open_checked, plain_bytes};
pub use self::seal::{Outcome, SealError, Sealed, Step, is_contained, seal, write_sealed};
pub use self::table::{Block, Table, TableError};
pub use self::verify::{Verified, verify_sealed};

/// How segments are sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Frames of zstd with the standard seek table.
    Zstd,
    /// Members of gzip with a table of their own.
    Gzip,
}

impl Codec {
    /// The form of its files.
    pub fn form(self) -> Form {
        match self {
            Codec::Zstd => Form::Zstd,
            Codec::Gzip => Form::Gzip,
        }
    }

    /// How a form is compressed; `None` for the plain one.
    pub fn of(form: Form) -> Option<Codec> {
        match form {
            Form::Plain => None,
            Form::Zstd => Some(Codec::Zstd),
            Form::Gzip => Some(Codec::Gzip),
        }
    }

    /// How many plain bytes a block has at most, unless one line is longer.
    ///
    /// For zstd the longer, the more of a conversation's repeated prompt is found again; for both the longer, the
    /// more must be undone for one line. `benches/seal.rs` measures it.
    pub fn block_bytes(self) -> u64 {
        match self {
            Codec::Zstd => 32 << 20,
            Codec::Gzip => 1 << 20,
        }
    }
}

/// A sealed file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// The table contradicts itself or the file.
    #[error("the table of {path} is damaged: {reason}")]
    Table {
        /// The file.
        path: PathBuf,
        /// How it shows.
        reason: String,
    },
    /// A block does not give what it should.
    #[error("block {block} of {path} is damaged: {reason}")]
    Block {
        /// The file.
        path: PathBuf,
        /// Which block, from 0.
        block: usize,
        /// How it shows.
        reason: String,
    },
    /// A file without a table does not give what it should.
    #[error("{path} is damaged behind {bytes} bytes: {reason}")]
    Stream {
        /// The file.
        path: PathBuf,
        /// Plain bytes that could be read.
        bytes: u64,
        /// How it shows.
        reason: String,
    },
    /// The disk refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl SealedError {
    fn of_table(path: &Path, error: TableError) -> SealedError {
        let path = path.to_path_buf();
        match error {
            TableError::Damaged(reason) => SealedError::Table { path, reason },
            TableError::Io(source) => SealedError::Io { path, source },
        }
    }

    /// The error that a reader wrapped, or the disk's.
    fn of_reader(path: &Path, error: io::Error) -> SealedError {
        match error.downcast::<SealedError>() {
            Ok(damage) => damage,
            Err(source) => SealedError::Io { path: path.into(), source },
        }
    }

    /// As an error of a reader: damage is `InvalidData`, what the disk said stays what it was.
    fn into_io(self) -> io::Error {
        match self {
            SealedError::Io { source, .. } => source,
            damage => io::Error::new(io::ErrorKind::InvalidData, damage),
        }
    }
}

#[cfg(test)]
mod tests;
