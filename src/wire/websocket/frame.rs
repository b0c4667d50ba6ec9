//! The header of one frame (RFC 6455 §5.2) and the XOR of its mask.

/// The longest frame header: two bytes, eight of length, four of mask.
pub(super) const LONGEST_HEADER: usize = 14;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// More of a message that an earlier frame began.
    Continuation,
    /// A text message, or its beginning.
    Text,
    /// A binary message, or its beginning.
    Binary,
    /// The sender closes.
    Close,
    /// A ping.
    Ping,
    /// A pong.
    Pong,
}

impl Opcode {
    fn of(bits: u8) -> Option<Opcode> {
        match bits {
            0x0 => Some(Opcode::Continuation),
            0x1 => Some(Opcode::Text),
            0x2 => Some(Opcode::Binary),
            0x8 => Some(Opcode::Close),
            0x9 => Some(Opcode::Ping),
            0xA => Some(Opcode::Pong),
            _ => None,
        }
    }

    /// Whether it stands outside the sequence of messages and cannot be fragmented (RFC 6455 §5.5).
    pub fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// The header of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The message ends with this frame.
    pub is_final: bool,
    /// RSV1: the message is compressed (RFC 7692 §6).
    pub is_compressed: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The mask of its payload.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub length: u64,
    /// Bytes of the header itself.
    pub header_bytes: usize,
}

/// Bytes that are no WebSocket frame: from there on a direction cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// An opcode that RFC 6455 reserves.
    #[error("reserved opcode {0:#x}")]
    ReservedOpcode(u8),
    /// A reserved bit that no negotiated extension gives a meaning.
    #[error("reserved bits {0:#05b} without a meaning")]
    ReservedBits(u8),
    /// A control frame that is fragmented or longer than 125 bytes.
    #[error("control frame fragmented or longer than 125 bytes")]
    BadControl,
    /// A length with its most significant bit set.
    #[error("frame length beyond 63 bits")]
    BadLength,
    /// A continuation without a beginning.
    #[error("continuation of no message")]
    StrayContinuation,
    /// A message began before the last one had ended.
    #[error("message begun inside another")]
    Interleaved,
    /// Bytes of a frame header were not in the copy, so that the next frame cannot be found.
    #[error("bytes missing between frames")]
    Gap,
}

impl Header {
    /// Reads a header from the beginning of `bytes`; `None` if more bytes are needed.
    ///
    /// Lenient where the framing stays clear: which side masks and whether a length is spelled in the
    /// shortest form are the peers' affair.
    ///
    /// # Errors
    /// The bytes are no frame header.
    pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Violation> {
        let &[first, second, ref rest @ ..] = bytes else {
            return Ok(None);
        };
        let opcode = Opcode::of(first & 0x0F).ok_or(Violation::ReservedOpcode(first & 0x0F))?;
        let reserved = (first >> 4) & 0b111;
        if reserved & 0b011 != 0 || (reserved != 0 && (opcode.is_control() || opcode == Opcode::Continuation)) {
            return Err(Violation::ReservedBits(reserved));
        }
        let is_final = first & 0x80 != 0;
        let short = second & 0x7F;
        if opcode.is_control() && (!is_final || short > 125) {
            return Err(Violation::BadControl);
        }
        let (length, rest) = match short {
            126 => match rest.split_first_chunk::<2>() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk::<8>() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            _ => (u64::from(short), rest),
        };
        if length >> 63 != 0 {
            return Err(Violation::BadLength);
        }
        let (mask, rest) = if second & 0x80 == 0 {
            (None, rest)
        } else {
            match rest.split_first_chunk::<4>() {
                Some((mask, rest)) => (Some(*mask), rest),
                None => return Ok(None),
            }
        };
        Ok(Some(Header {
            is_final,
            is_compressed: reserved != 0,
            opcode,
            mask,
            length,
            header_bytes: bytes.len() - rest.len(),
        }))
    }
}

/// Takes the mask off `payload`, whose first byte stands `offset` bytes into its frame (RFC 6455 §5.3).
pub(super) fn unmask(payload: &mut [u8], mask: [u8; 4], offset: u64) {
    let turn = (offset % 4) as usize;
    let mut key = [0; 8];
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = mask[(turn + at) % 4];
    }
    let wide = u64::from_ne_bytes(key);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_every_width_are_read() {
        let length = |bytes: &[u8]| Header::parse(bytes).map(|it| it.map(|it| (it.length, it.header_bytes)));
        assert_eq!(length(&[0x82, 125]), Ok(Some((125, 2))));
        // RFC 6455 §5.7: 256 bytes and 64 KiB of binary data.
        assert_eq!(length(&[0x82, 0x7E, 0x01, 0x00]), Ok(Some((256, 4))));
        assert_eq!(length(&[0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]), Ok(Some((65_536, 10))));
        assert_eq!(length(&[0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 9, 9, 9, 9]), Ok(Some((65_536, 14))));
        assert_eq!(length(&[0x82, 0x7F, 0x80, 0, 0, 0, 0, 1, 0, 0]), Err(Violation::BadLength));
    }

    #[test]
    fn a_header_that_is_not_all_there_waits() {
        let whole = [0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 9, 9, 9, 9];
        for end in 0..whole.len() {
            assert_eq!(Header::parse(&whole[..end]), Ok(None), "{end}");
        }
    }

    #[test]
    fn what_has_no_meaning_is_a_violation() {
        assert_eq!(Header::parse(&[0x83, 0]), Err(Violation::ReservedOpcode(3)));
        assert_eq!(Header::parse(&[0xA1, 0]), Err(Violation::ReservedBits(0b010)));
        assert_eq!(Header::parse(&[0xC9, 0]), Err(Violation::ReservedBits(0b100)));
        assert_eq!(Header::parse(&[0xC0, 0]), Err(Violation::ReservedBits(0b100)));
        assert_eq!(Header::parse(&[0x09, 0]), Err(Violation::BadControl));
        assert_eq!(Header::parse(&[0x89, 126]), Err(Violation::BadControl));
    }

    #[test]
    fn a_mask_is_taken_off_from_any_offset() {
        let mask = [1, 2, 3, 4];
        for offset in 0..9 {
            for length in 0..40 {
                let mut payload = vec![0; length];
                unmask(&mut payload, mask, offset);
                let expected: Vec<u8> = (0..length).map(|at| mask[(offset as usize + at) % 4]).collect();
                assert_eq!(payload, expected, "{offset} {length}");
            }
        }
    }
}
