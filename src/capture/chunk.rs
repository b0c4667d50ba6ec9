//! A chunk: a piece of a log in memory that survives the process, and all that it takes to find its log again.
//!
//! How much of it counts is published last and taken back first: what has a committed length is whole.

use crate::ids::TraceId;

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 64;
/// Where the committed length stands, an aligned little-endian `u32`: so many bytes of payload count; 0 is a chunk
/// that nobody uses.
pub const COMMITTED_AT: usize = 8;

/// Where the first chunk of a socket's log holds, as an aligned little-endian `u64`, how far the log is covered: what
/// of the socket stands before that offset has outcomes already.
pub const COVERED_AT: usize = 48;

/// Where the offset stands of its payload in its log, an aligned little-endian `u64`.
pub const OFFSET_AT: usize = 16;

/// Eight aligned bytes that mean something to the process alone that writes the chunk.
pub const NEXT_AT: usize = 56;

const MAGIC: u32 = u32::from_le_bytes(*b"alc1");

/// What a chunk says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose log it is of.
    pub trace: TraceId,
    /// Where in the log its payload begins.
    pub offset: u64,
    /// So many bytes of payload count.
    pub committed: u32,
    /// So far the log is covered, if this is its first chunk.
    pub covered: u64,
}

impl Header {
    /// Writes all but the committed length, which is 0 in a chunk that is free, and stays so until the first record
    /// is whole.
    pub fn write(room: &mut [u8; HEADER_BYTES], trace: TraceId, offset: u64) {
        room[..4].copy_from_slice(&MAGIC.to_le_bytes());
        room[OFFSET_AT..OFFSET_AT + 8].copy_from_slice(&offset.to_le_bytes());
        room[24..40].copy_from_slice(&trace.to_bytes());
        room[COVERED_AT..COVERED_AT + 8].fill(0);
    }

    /// The header of a chunk in use of at most `payload_bytes`; `None` if nothing of it counts.
    pub fn read(bytes: &[u8; HEADER_BYTES], payload_bytes: usize) -> Option<Header> {
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let committed = number(COMMITTED_AT);
        if number(0) != MAGIC || committed == 0 || committed as usize > payload_bytes {
            return None;
        }
        let long = |at: usize| u64::from(number(at)) | u64::from(number(at + 4)) << 32;
        let mut trace = [0; 16];
        trace.copy_from_slice(&bytes[24..40]);
        Some(Header {
            trace: TraceId::from_bytes(trace),
            offset: long(OFFSET_AT),
            committed,
            covered: long(COVERED_AT),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_counts_once_it_has_a_committed_length() {
        let mut bytes = [0xff; HEADER_BYTES];
        bytes[COMMITTED_AT..][..4].fill(0);
        let trace = TraceId::from_bytes([3; 16]);
        Header::write(&mut bytes, trace, 1 << 40);
        assert_eq!(Header::read(&bytes, 100), None);
        bytes[COMMITTED_AT..][..4].copy_from_slice(&7_u32.to_le_bytes());
        assert_eq!(Header::read(&bytes, 100), Some(Header { trace, offset: 1 << 40, committed: 7, covered: 0 }));
        assert_eq!(Header::read(&bytes, 6), None, "more than there is room for");
        assert_eq!(Header::read(&[0; HEADER_BYTES], 100), None);
    }
}
