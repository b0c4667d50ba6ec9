//! A spool file: a prefix of a log on disk.
//!
//! A header, then frames in order: magic and length (`u32` each), where in the log the payload begins and XXH3 of it
//! seeded with that (`u64` each), the payload, which is whole records. What a crash tore off ends the log there.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ids::TraceId;

/// Where the first frame begins.
pub const HEADER_BYTES: u64 = 48;
/// What stands before a frame's payload.
pub const FRAME_HEAD_BYTES: u64 = 24;

const MAGIC: &[u8; 16] = b"api-log spool 1\n";
const FRAME: [u8; 4] = *b"frm1";
/// Nobody writes a longer one: a frame is at most what a chunk holds.
const MOST_FRAME_BYTES: usize = 1 << 20;

/// What a spool file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose log it is of.
    pub trace: TraceId,
    /// The arena where the log's first chunk stands for as long as the trace has no outcome; `None` if no arena
    /// holds it, so that the spool speaks for itself.
    pub arena: Option<TraceId>,
}

/// A stretch of a log in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where in the log it begins.
    pub offset: u64,
    /// Where its payload begins in the file.
    pub at: u64,
    /// The payload's length.
    pub bytes: u32,
}

/// A file that is no spool, or of another version.
#[derive(Debug, thiserror::Error)]
pub enum NotASpool {
    /// By its header.
    #[error("it is no spool of this version")]
    Unknown,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
}

impl Header {
    /// Its bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES as usize] {
        let mut bytes = [0; HEADER_BYTES as usize];
        bytes[..16].copy_from_slice(MAGIC);
        bytes[16..32].copy_from_slice(&self.trace.to_bytes());
        bytes[32..].copy_from_slice(&self.arena.map_or([0; 16], TraceId::to_bytes));
        bytes
    }

    fn decode(bytes: &[u8; HEADER_BYTES as usize]) -> Option<Header> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (trace, rest) = rest.split_first_chunk::<16>()?;
        let arena: [u8; 16] = rest.try_into().ok()?;
        let arena = (arena != [0; 16]).then(|| TraceId::from_bytes(arena));
        Some(Header { trace: TraceId::from_bytes(*trace), arena })
    }
}

/// What stands before the payload of a frame that begins there in the log.
pub fn frame_head(offset: u64, payload: &[u8]) -> [u8; FRAME_HEAD_BYTES as usize] {
    let mut head = [0; FRAME_HEAD_BYTES as usize];
    head[..4].copy_from_slice(&FRAME);
    head[4..8].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    head[8..16].copy_from_slice(&offset.to_le_bytes());
    head[16..].copy_from_slice(&xxh3_64_with_seed(payload, offset).to_le_bytes());
    head
}

/// The header of a spool file. Reads no more than that.
///
/// # Errors
/// The file is no spool, or cannot be read.
pub fn header(mut file: &File) -> Result<Header, NotASpool> {
    let mut header = [0; HEADER_BYTES as usize];
    match file.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(NotASpool::Unknown),
        Err(error) => Err(error.into()),
        Ok(()) => Header::decode(&header).ok_or(NotASpool::Unknown),
    }
}

/// The header of a spool file and its whole frames, in order.
///
/// # Errors
/// The file is no spool, or cannot be read.
pub fn scan(file: &File) -> Result<(Header, Vec<Frame>), NotASpool> {
    let header = header(file)?;
    let mut reader = io::BufReader::with_capacity(64 * 1024, file);
    let mut frames = Vec::new();
    let mut at = HEADER_BYTES;
    let mut payload = Vec::new();
    loop {
        let mut head = [0; FRAME_HEAD_BYTES as usize];
        if !is_filled(&mut reader, &mut head)? || head[..4] != FRAME {
            return Ok((header, frames));
        }
        let bytes = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if bytes as usize > MOST_FRAME_BYTES {
            return Ok((header, frames));
        }
        let mut offset = [0; 8];
        offset.copy_from_slice(&head[8..16]);
        let offset = u64::from_le_bytes(offset);
        payload.resize(bytes as usize, 0);
        if !is_filled(&mut reader, &mut payload)? || head != frame_head(offset, &payload) {
            return Ok((header, frames));
        }
        at += FRAME_HEAD_BYTES;
        frames.push(Frame { offset, at, bytes });
        at += u64::from(bytes);
    }
}

/// Reads a frame's payload from `skipped` bytes on, behind what `out` holds.
///
/// # Errors
/// The file cannot be read.
pub fn read_frame(file: &File, frame: Frame, skipped: u32, out: &mut Vec<u8>) -> io::Result<()> {
    let start = out.len();
    out.resize(start + (frame.bytes - skipped) as usize, 0);
    let outcome = file.read_exact_at(&mut out[start..], frame.at + u64::from(skipped));
    if outcome.is_err() {
        out.truncate(start);
    }
    outcome
}

/// Fills the buffer; `false` if the file ends before.
fn is_filled(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        file
    }

    fn spool(header: Header, payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = header.encode().to_vec();
        for (rank, payload) in payloads.iter().enumerate() {
            bytes.extend_from_slice(&frame_head(rank as u64 * 1000, payload));
            bytes.extend_from_slice(payload);
        }
        bytes
    }

    #[test]
    fn a_file_that_is_no_spool_is_told_from_one_that_is_short() {
        let header = Header { trace: TraceId::from_bytes([1; 16]), arena: Some(TraceId::from_bytes([2; 16])) };
        assert_eq!(scan(&file(&header.encode())).unwrap(), (header, vec![]));
        assert!(matches!(scan(&file(&header.encode()[..47])), Err(NotASpool::Unknown)));
        assert!(matches!(scan(&file(&[b'x'; 100])), Err(NotASpool::Unknown)));
    }

    proptest! {
        #[test]
        fn a_spool_cut_or_spoilt_anywhere_gives_the_frames_before(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..100), 0..6),
            at in any::<prop::sample::Index>(),
            is_cut in any::<bool>(),
        ) {
            let header = Header { trace: TraceId::from_bytes([1; 16]), arena: None };
            let mut bytes = spool(header, &payloads);
            let at = HEADER_BYTES as usize + at.index(bytes.len() + 1 - HEADER_BYTES as usize);
            if is_cut || at == bytes.len() {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 0x55;
            }
            let mut end = HEADER_BYTES as usize;
            let whole = payloads.iter().take_while(|payload| {
                end += FRAME_HEAD_BYTES as usize + payload.len();
                end <= at
            }).count();
            let file = file(&bytes);
            let (found, frames) = scan(&file).unwrap();
            prop_assert_eq!(found, header);
            prop_assert_eq!(frames.len(), whole);
            for (frame, payload) in frames.iter().zip(&payloads) {
                let mut read = Vec::new();
                read_frame(&file, *frame, 1, &mut read).unwrap();
                prop_assert_eq!(&read, &payload[1..]);
            }
        }
    }
}
