//! The arena's file: a page about itself, then a region of chunks for each size.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::chunk::{HEADER_BYTES, Header};

/// The first page.
pub const PAGE_BYTES: usize = 4096;
/// The sizes of chunks, headers included. A log begins with the first; a small exchange is one chunk.
pub const SIZES: [usize; 3] = [4 << 10, 16 << 10, 64 << 10];
/// Where the first page holds the high half of the last trace id that was known, an aligned little-endian `u64`.
pub const LAST_ID_AT: usize = 64;

const MAGIC: &[u8; 16] = b"api-log arena 1\n";
/// No region has more chunks.
const MOST_CHUNKS: u64 = 1 << 18;

/// How many chunks of each size an arena has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    counts: [u32; SIZES.len()],
}

/// A chunk in use, where it stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundChunk {
    /// What it says.
    pub header: Header,
    /// Where it begins in the file.
    pub at: u64,
}

/// A file that is no arena, or of another version.
#[derive(Debug, thiserror::Error)]
pub enum NotAnArena {
    /// By its first page.
    #[error("it is no arena of this version")]
    Unknown,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
}

impl Geometry {
    /// Room for so many bytes of chunks of any one size; of the smallest for a quarter of it. Room is address space:
    /// memory is taken as it is needed.
    pub fn for_bytes(bytes: u64) -> Geometry {
        let mut counts = SIZES.map(|size| (bytes / size as u64).clamp(1, MOST_CHUNKS) as u32);
        counts[0] = (counts[0] / 4).max(1);
        Geometry { counts }
    }

    /// How many chunks of this size.
    pub fn count(&self, class: usize) -> u32 {
        self.counts[class]
    }

    /// Where a chunk begins in the file.
    pub fn at(&self, class: usize, index: u32) -> u64 {
        let before: u64 = (0..class).map(|it| u64::from(self.counts[it]) * SIZES[it] as u64).sum();
        PAGE_BYTES as u64 + before + u64::from(index) * SIZES[class] as u64
    }

    /// The size of the whole file.
    pub fn file_bytes(&self) -> u64 {
        self.at(SIZES.len() - 1, self.counts[SIZES.len() - 1])
    }

    /// What the first page begins with.
    pub fn page(&self) -> Vec<u8> {
        let mut page = MAGIC.to_vec();
        for (size, count) in SIZES.iter().zip(self.counts) {
            page.extend_from_slice(&(*size as u32).to_le_bytes());
            page.extend_from_slice(&count.to_le_bytes());
        }
        page
    }

    /// Read from an arena's first page.
    ///
    /// # Errors
    /// The file is no arena that this version knows.
    pub fn read(file: &File) -> Result<Geometry, NotAnArena> {
        let mut page = [0; 16 + 8 * SIZES.len()];
        file.read_exact_at(&mut page, 0)?;
        let mut counts = [0; SIZES.len()];
        let mut rest = page.strip_prefix(MAGIC).ok_or(NotAnArena::Unknown)?;
        for (size, count) in SIZES.iter().zip(&mut counts) {
            let mut number = || {
                let (number, after) = rest.split_first_chunk::<4>().ok_or(NotAnArena::Unknown)?;
                rest = after;
                Ok::<_, NotAnArena>(u32::from_le_bytes(*number))
            };
            if number()? as usize != *size {
                return Err(NotAnArena::Unknown);
            }
            *count = number()?;
        }
        let geometry = Geometry { counts };
        if counts.iter().any(|it| u64::from(*it) > MOST_CHUNKS) || file.metadata()?.len() < geometry.file_bytes() {
            return Err(NotAnArena::Unknown);
        }
        Ok(geometry)
    }

    /// Every chunk in use. What was never written to, and what was given back, takes no time.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn chunks(&self, file: &File) -> io::Result<Vec<FoundChunk>> {
        let mut found = Vec::new();
        for (class, size) in SIZES.iter().enumerate() {
            let end = self.at(class, self.counts[class]);
            let mut at = self.at(class, 0);
            while at < end {
                let Some(data) = next_data(file, at)? else { break };
                if data >= end {
                    break;
                }
                // To the chunk that holds that byte.
                at = data - (data - self.at(class, 0)) % *size as u64;
                let mut bytes = [0; HEADER_BYTES];
                file.read_exact_at(&mut bytes, at)?;
                if let Some(header) = Header::read(&bytes, size - HEADER_BYTES) {
                    found.push(FoundChunk { header, at });
                }
                at += *size as u64;
            }
        }
        Ok(found)
    }
}

/// The high half of the last trace id that this arena's process is known to have given.
///
/// # Errors
/// The file cannot be read.
pub fn last_id(file: &File) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, LAST_ID_AT as u64)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Where the next byte at or after `at` stands that was ever written; `None` behind the last.
fn next_data(file: &File, at: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
        Ok(found) => Ok(Some(found)),
        Err(rustix::io::Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::chunk::COMMITTED_AT;
    use crate::ids::TraceId;

    #[test]
    fn the_geometry_and_the_chunks_in_use_are_read_from_the_file_alone() {
        let file = tempfile::tempfile().unwrap();
        let geometry = Geometry::for_bytes(1 << 20);
        file.set_len(geometry.file_bytes()).unwrap();
        assert!(matches!(Geometry::read(&file), Err(NotAnArena::Unknown)));
        file.write_all_at(&geometry.page(), 0).unwrap();
        assert_eq!(Geometry::read(&file).unwrap(), geometry);
        assert_eq!(geometry.chunks(&file).unwrap(), []);

        let mut expected = Vec::new();
        for (class, index, committed) in [(0, 3, 9_u32), (0, 4, 0), (1, 0, 1), (2, 15, 60_000)] {
            let mut header = [0; HEADER_BYTES];
            Header::write(&mut header, TraceId::from_bytes([index as u8; 16]), 5);
            header[COMMITTED_AT..][..4].copy_from_slice(&committed.to_le_bytes());
            let at = geometry.at(class, index);
            file.write_all_at(&header, at).unwrap();
            expected.extend(Header::read(&header, SIZES[class]).map(|header| FoundChunk { header, at }));
        }
        assert_eq!(expected.len(), 3);
        assert_eq!(geometry.chunks(&file).unwrap(), expected);
        file.set_len(geometry.file_bytes() - 1).unwrap();
        assert!(Geometry::read(&file).is_err(), "it was cut");
    }
}
