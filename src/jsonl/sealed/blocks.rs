//! Where blocks end: behind the last line that still fits.

use std::io::{self, BufRead};

/// No block is longer: what the seekable format allows for a frame. A longer line goes through several.
const MOST_BYTES: u64 = 1 << 30;

/// Reads ahead and tells how long the next block is, in constant memory however long the lines are.
pub(super) struct Blocks<R> {
    lines: R,
    block_bytes: u64,
    /// Length of a line that was read and did not fit into the block before.
    waiting: u64,
}

impl<R: BufRead> Blocks<R> {
    pub(super) fn new(lines: R, block_bytes: u64) -> Blocks<R> {
        Blocks { lines, block_bytes, waiting: 0 }
    }

    /// The next block's length; `None` at the end.
    pub(super) fn next_length(&mut self) -> io::Result<Option<u64>> {
        let mut length = std::mem::take(&mut self.waiting);
        while length < self.block_bytes {
            let line = line_length(&mut self.lines)?;
            if line == 0 {
                break;
            }
            if length > 0 && length + line > self.block_bytes {
                self.waiting = line;
                break;
            }
            length += line;
        }
        if length > MOST_BYTES {
            // Nothing is waiting: a line this long is alone in its block.
            self.waiting = length - MOST_BYTES;
            length = MOST_BYTES;
        }
        Ok((length > 0).then_some(length))
    }
}

/// Reads through the next newline, or to the end; how many bytes that were.
fn line_length(lines: &mut impl BufRead) -> io::Result<u64> {
    let mut length = 0;
    loop {
        let buffer = match lines.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let newline = memchr::memchr(b'\n', buffer);
        let taken = newline.map_or(buffer.len(), |at| at + 1);
        lines.consume(taken);
        length += taken as u64;
        if newline.is_some() || taken == 0 {
            return Ok(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(text: &str, block_bytes: u64) -> Vec<u64> {
        let mut blocks = Blocks::new(text.as_bytes(), block_bytes);
        std::iter::from_fn(|| blocks.next_length().unwrap()).collect()
    }

    #[test]
    fn a_block_ends_behind_the_last_line_that_fits() {
        assert_eq!(lengths("ab\ncd\nef\n", 7), [6, 3]);
        assert_eq!(lengths("ab\ncd\nef\n", 6), [6, 3]);
        assert_eq!(lengths("ab\ncd\nef\n", 5), [3, 3, 3]);
        assert_eq!(lengths("", 5), [] as [u64; 0]);
    }

    #[test]
    fn a_line_longer_than_a_block_stands_alone() {
        assert_eq!(lengths("a\n123456789\nb\nc\n", 4), [2, 10, 4]);
        assert_eq!(lengths("123456789", 4), [9]);
    }
}
