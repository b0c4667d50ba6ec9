//! Whether a sealed file is whole.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::reader::{BlockReader, WholeStream};
use super::table::Table;
use super::{Codec, SealedError};

/// A sealed file that checks out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Blocks, each with its right length and checksum; 0 for a file without a table.
    pub blocks: u64,
    /// Plain bytes of the whole file.
    pub bytes: u64,
    /// Whether it carries a table, so that it can be read from anywhere.
    pub has_table: bool,
}

/// Reads a sealed file through: every block must give what the table and its own checksum say, a file without a table
/// must come to its end. `each` is given the plain bytes as they are found good, and may stop it with an error.
///
/// # Errors
/// [`SealedError`] with the first bad block; what `each` gave, as [`SealedError::Io`].
pub fn verify_sealed(
    path: &Path,
    codec: Codec,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<Verified, SealedError> {
    let failed = |source| SealedError::Io { path: path.into(), source };
    let mut file = File::open(path).map_err(failed)?;
    match Table::read(&mut file, codec).map_err(|error| SealedError::of_table(path, error))? {
        Some(table) => {
            let blocks = table.blocks().len() as u64;
            let reader = BlockReader::new(path.into(), file, codec, table, 0).map_err(failed)?;
            let bytes = read_through(path, &mut reader.with_digests(), &mut each)?;
            Ok(Verified { blocks, bytes, has_table: true })
        }
        None => {
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
            let mut stream = WholeStream::new(path.into(), file, codec).map_err(failed)?;
            let bytes = read_through(path, &mut stream, &mut each)?;
            Ok(Verified { blocks: 0, bytes, has_table: false })
        }
    }
}

fn read_through(
    path: &Path,
    reader: &mut impl Read,
    each: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<u64, SealedError> {
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    loop {
        match reader.read(&mut buffer).and_then(|read| each(&buffer[..read]).map(|()| read)) {
            Ok(0) => return Ok(bytes),
            Ok(read) => bytes += read as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SealedError::of_reader(path, error)),
        }
    }
}
