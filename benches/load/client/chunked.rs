//! A chunked body read in pieces, without copying: how much of it is payload, and whether it has ended.

/// Where in the framing the next byte stands.
#[derive(Clone, Copy, Default)]
pub(crate) struct Chunked {
    at: At,
    /// Payload of the chunk that is still to come, its line end included; while its size is read, the size.
    left: u64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    /// The rest of a chunk's first line.
    Extension,
    Data,
    /// Behind the last chunk: whether the line has begun.
    Trailer(bool),
    End,
}

impl Chunked {
    /// Takes a piece; the payload bytes in it.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<u64, &'static str> {
        let mut payload = 0;
        let mut rest = piece;
        while let Some((&byte, behind)) = rest.split_first() {
            if self.at == At::Data {
                let here = (rest.len() as u64).min(self.left);
                // The last two bytes are the line's end.
                payload += here.min(self.left.saturating_sub(2));
                self.left -= here;
                rest = &rest[here as usize..];
                if self.left == 0 {
                    self.at = At::Size;
                }
                continue;
            }
            rest = behind;
            self.at = match (self.at, byte) {
                (At::Size, b'\r' | b';') => At::Extension,
                (At::Size, _) => {
                    let digit = char::from(byte).to_digit(16).ok_or("a chunk's size is no number")?;
                    self.left = self.left << 4 | u64::from(digit);
                    At::Size
                }
                (At::Extension, b'\n') if self.left == 0 => At::Trailer(false),
                (At::Extension, b'\n') => {
                    self.left += 2;
                    At::Data
                }
                (At::Trailer(false), b'\n') => At::End,
                (At::Trailer(_), b'\n') => At::Trailer(false),
                (At::Trailer(has_begun), b'\r') => At::Trailer(has_begun),
                (At::Trailer(_), _) => At::Trailer(true),
                (At::End, _) => return Err("bytes behind the end of a body"),
                (at, _) => at,
            };
        }
        Ok(payload)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.at == At::End
    }
}
