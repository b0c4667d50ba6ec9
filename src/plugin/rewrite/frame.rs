//! Event streams as bytes: blocks with their empty line, and where in a block its data stands.

use std::ops::Range;

use super::edits::Edits;

/// Looks for the ends of blocks in bytes that come in pieces.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockEnds {
    /// Where the line under way begins.
    line: usize,
    /// Up to where it has no end.
    searched: usize,
    /// The line before ended with a CR, and what follows is not there yet: an LF would belong to it.
    is_after_cr: bool,
}

impl BlockEnds {
    /// The length of the first block of `bytes`, its empty line included; `None` while that has not come. Called again
    /// with more bytes behind those it has seen, until it gives one; then with what follows that block.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Option<usize> {
        loop {
            if self.is_after_cr {
                let next = bytes.get(self.line)?;
                self.line += usize::from(*next == b'\n');
                self.searched = self.line;
                self.is_after_cr = false;
            }
            let from = self.searched;
            let Some(end) = memchr::memchr2(b'\n', b'\r', bytes.get(from..)?).map(|it| from + it) else {
                self.searched = bytes.len();
                return None;
            };
            let is_crlf = bytes[end] == b'\r' && bytes.get(end + 1) == Some(&b'\n');
            let next = end + if is_crlf { 2 } else { 1 };
            if end == self.line {
                *self = BlockEnds::default();
                return Some(next);
            }
            self.is_after_cr = bytes[end] == b'\r' && !is_crlf;
            self.line = next;
            self.searched = next;
        }
    }
}

/// A block, taken apart.
#[derive(Debug, Default)]
pub(super) struct Frame<'a> {
    /// The event's name; the last one counts.
    pub(super) name: &'a str,
    /// The values of its data lines, as places in the block.
    lines: Vec<Range<usize>>,
    data: String,
    /// How it ends its lines.
    pub(super) line_end: &'static str,
    /// What stands behind its colons.
    pub(super) space: &'static str,
}

impl<'a> Frame<'a> {
    /// Takes a block apart. `None` if it is no UTF-8.
    pub(super) fn of(block: &'a [u8]) -> Option<Frame<'a>> {
        let text = std::str::from_utf8(block).ok()?;
        let mut frame = Frame::default();
        let mut at = if text.starts_with('\u{feff}') { 3 } else { 0 };
        while at < text.len() {
            let end = memchr::memchr2(b'\n', b'\r', &block[at..]).map_or(text.len(), |it| at + it);
            let line = &text[at..end];
            let name = line.split(':').next().unwrap_or_default();
            let space = usize::from(line[name.len()..].starts_with(": "));
            let value = (at + name.len() + 1 + space).min(end)..end;
            match name {
                "data" => {
                    frame.space = if space == 1 { " " } else { "" };
                    frame.lines.push(value);
                }
                "event" => frame.name = &text[value],
                _ => {}
            }
            let rest = &text[end..];
            if frame.line_end.is_empty() {
                frame.line_end = match () {
                    () if rest.starts_with("\r\n") => "\r\n",
                    () if rest.starts_with('\r') => "\r",
                    () => "\n",
                };
            }
            at = end + if rest.starts_with("\r\n") { 2 } else { 1 };
        }
        if let [first, more @ ..] = &frame.lines[..] {
            let mut data = text[first.clone()].to_owned();
            for line in more {
                data.push('\n');
                data.push_str(&text[line.clone()]);
            }
            frame.data = data;
        }
        Some(frame)
    }

    /// Its data lines joined; `None` if it has none.
    pub(super) fn data(&self) -> Option<&str> {
        (!self.lines.is_empty()).then_some(self.data.as_str())
    }

    /// The block with changes of its data, none of which reaches over the end of a line.
    pub(super) fn edited(&self, block: &[u8], edits: Edits) -> Vec<u8> {
        let mut out = Vec::with_capacity(block.len() + 64);
        let mut at = 0;
        let mut lines = self.lines.iter();
        let mut line = lines.next().cloned().unwrap_or_default();
        // Where the line begins in the joined data.
        let mut joined = 0;
        for edit in edits.in_order() {
            while edit.place.start > joined + line.len()
                && let Some(next) = lines.next()
            {
                joined += line.len() + 1;
                line = next.clone();
            }
            let place = |offset: usize| (line.start + offset.saturating_sub(joined)).min(block.len());
            out.extend_from_slice(block.get(at..place(edit.place.start)).unwrap_or_default());
            out.extend_from_slice(edit.text.as_bytes());
            at = place(edit.place.end);
        }
        out.extend_from_slice(block.get(at..).unwrap_or_default());
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::Json;

    fn blocks(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let (mut ends, mut pending, mut found) = (BlockEnds::default(), Vec::new(), Vec::new());
        for piece in pieces {
            pending.extend_from_slice(piece);
            while let Some(length) = ends.next(&pending) {
                found.push(pending.drain(..length).collect());
            }
        }
        (found, pending)
    }

    #[test]
    fn blocks_end_with_their_empty_line_whatever_ends_lines() {
        let (found, rest) = blocks(&[b"data: a\n\n: c\n\ndata: b\r\n\r\ndata: c\r\rda"]);
        let texts: Vec<&[u8]> = found.iter().map(Vec::as_slice).collect();
        assert_eq!(texts, [b"data: a\n\n".as_slice(), b": c\n\n", b"data: b\r\n\r\n", b"data: c\r\r"]);
        assert_eq!(rest, b"da");
        let (found, _) = blocks(&[b"data: x\r", b"\ndata: y\r", b"\n\r", b"\n"]);
        assert_eq!(found.concat(), b"data: x\r\ndata: y\r\n\r\n");
        assert_eq!(found[0], b"data: x\r\ndata: y\r\n\r");
    }

    #[test]
    fn changes_find_their_line() {
        let block = b"event: e\ndata: {\"a\":\ndata:\"x\",\nid: 1\ndata: \"b\":\"y\"}\n\n";
        let frame = Frame::of(block).unwrap();
        let data = frame.data().unwrap();
        assert_eq!((frame.name, data), ("e", "{\"a\":\n\"x\",\n\"b\":\"y\"}"));
        let mut edits = Edits::default();
        edits.string(data, Json::new(data).get("b").unwrap(), b"long");
        edits.string(data, Json::new(data).get("a").unwrap(), b"");
        let expected = b"event: e\ndata: {\"a\":\ndata:\"\",\nid: 1\ndata: \"b\":\"long\"}\n\n";
        assert_eq!(frame.edited(block, edits), expected);
        assert_eq!(Frame::of(b": x\n\n").unwrap().data(), None);
        assert_eq!(Frame::of(b"data\n\n").unwrap().data(), Some(""));
        assert!(Frame::of(b"data: \xff\n\n").is_none());
    }

    proptest! {
        #[test]
        fn blocks_are_the_same_in_any_pieces(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), any::<u8>()], 0..80),
            cut in any::<prop::sample::Index>(),
        ) {
            let cut = cut.index(bytes.len() + 1);
            let (mut whole, rest) = blocks(&[&bytes]);
            let (mut parts, part_rest) = blocks(&[&bytes[..cut], &bytes[cut..]]);
            prop_assert_eq!([whole.concat(), rest].concat(), &bytes[..]);
            prop_assert_eq!([parts.concat(), part_rest].concat(), &bytes[..]);
            // The LF behind a CR that ended a block in one piece is a block of its own in the next.
            for found in [&mut whole, &mut parts] {
                found.retain(|block| block != b"\n");
                found.iter_mut().for_each(|block| while block.ends_with(b"\n") || block.ends_with(b"\r") { block.pop(); });
            }
            prop_assert_eq!(whole, parts);
            let _ = Frame::of(&bytes);
        }
    }
}
