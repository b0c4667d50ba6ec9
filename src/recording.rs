//! One direction's body bytes, the moments of their arrival, and what was cut.

/// When the byte at `offset` arrived: one for each chunk that the wire delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Offset of the chunk's first byte in the recorded bytes.
    pub offset: u64,
    /// Microseconds since the exchange began.
    pub at_us: u64,
}

/// A body as recorded. The bytes are what stood between the message framing: no chunk sizes, and codings not undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// The recorded bytes: a prefix of what passed if `is_cut`.
    pub bytes: Vec<u8>,
    /// Arrival of each chunk, by rising offset. Past the cut nothing is marked.
    pub marks: Vec<Mark>,
    /// How many bytes passed on the wire, recorded or not.
    pub wire_bytes: u64,
    /// Bytes beyond a limit passed unrecorded.
    pub is_cut: bool,
}

impl Recording {
    /// Microseconds since the exchange began at which the byte at `offset` arrived; `None` without marks.
    pub fn arrival_us(&self, offset: u64) -> Option<u64> {
        arrival_us(&self.marks, offset)
    }
}

/// The arrival of the byte at `offset`, by marks of rising offset.
pub fn arrival_us(marks: &[Mark], offset: u64) -> Option<u64> {
    let after = marks.partition_point(|mark| mark.offset <= offset);
    marks.get(after.checked_sub(1)?).map(|mark| mark.at_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_arrives_with_its_chunk() {
        let marks = [Mark { offset: 0, at_us: 5 }, Mark { offset: 10, at_us: 9 }];
        assert_eq!(arrival_us(&marks, 0), Some(5));
        assert_eq!(arrival_us(&marks, 9), Some(5));
        assert_eq!(arrival_us(&marks, 10), Some(9));
        assert_eq!(arrival_us(&marks, 99), Some(9));
        assert_eq!(arrival_us(&[], 0), None);
    }
}
