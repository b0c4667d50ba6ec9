//! Event streams (WHATWG HTML §9.2.6), read as a recorder does: nothing that came is thrown away.
//!
//! It differs from a browser in this: an event that the end of the stream leaves unterminated is taken, an event
//! with a name but without data is taken, and all fields are kept. Lines end in LF, CR or CRLF; a BOM and comments
//! are passed over. [`parse`] reads a whole body and borrows from it, [`Splitter`] takes it in pieces; both give
//! the same events.

use std::borrow::Cow;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its `event` field, the last one if there were several; `""` if there was none.
    pub name: Cow<'a, str>,
    /// Its `data` fields, joined by LF; `None` if there was none.
    pub data: Option<Cow<'a, str>>,
    /// All other fields in wire order. Those of a block without name and data, which is no event, stand at the
    /// event that follows: that is where `id` and `retry` take effect.
    pub fields: Vec<(Box<str>, Cow<'a, str>)>,
    /// Offset in the stream of the event's first field.
    pub offset: u64,
}

impl Event<'_> {
    /// The value of its last field of this name, other than `event` and `data`.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().rev().find(|(it, _)| **it == *name).map(|(_, value)| &**value)
    }
}

/// A whole stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream<'a> {
    /// Its events in order.
    pub events: Vec<Event<'a>>,
    /// A nameless `[DONE]` came; it is no event.
    pub saw_done: bool,
}

/// The events of a whole stream, or of the part that came.
pub fn parse(text: &str) -> Stream<'_> {
    let mut stream = Stream::default();
    let mut block = Block::default();
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let end = memchr::memchr2(b'\n', b'\r', &bytes[at..]).map_or(bytes.len(), |length| at + length);
        if end == at {
            stream.events.extend(block.end());
        } else {
            block.take_line(&text[at..end], at as u64, Cow::Borrowed);
        }
        at = match &bytes[end..] {
            [b'\r', b'\n', ..] => end + 2,
            _ => end + 1,
        };
    }
    stream.events.extend(block.end());
    stream.saw_done = block.saw_done;
    stream
}

/// Whether bytes of unknown type look like an event stream: their first line that is no comment is a field that
/// event streams have.
pub fn looks_like_events(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let first = bytes
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .find(|line| !line.is_empty() && !line.starts_with(b":"))
        .unwrap_or_default();
    [b"data:".as_slice(), b"event:", b"id:", b"retry:"].iter().any(|field| first.starts_with(field))
}

/// Reads a stream that comes in pieces, cut anywhere. Bytes that are not UTF-8 are replaced (U+FFFD), as the
/// standard says. Holds the line under way and the event under way, and no more.
#[derive(Debug, Default)]
pub struct Splitter {
    block: Block<'static>,
    /// The line under way, as far as earlier pieces hold it.
    line: Vec<u8>,
    line_offset: u64,
    seen_bytes: u64,
    /// The piece before ended in CR: an LF now belongs to it.
    skips_lf: bool,
}

impl Splitter {
    /// Before the first byte.
    pub fn new() -> Splitter {
        Splitter::default()
    }

    /// Takes the next piece; appends the events that it ends to `events`.
    pub fn push(&mut self, piece: &[u8], events: &mut Vec<Event<'static>>) {
        let mut rest = piece;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.skips_lf) && first == b'\n' {
                rest = self.passed(rest, 1);
                self.line_offset = self.seen_bytes;
                continue;
            }
            let Some(length) = memchr::memchr2(b'\n', b'\r', rest) else {
                self.line.extend_from_slice(rest);
                self.passed(rest, rest.len());
                return;
            };
            self.skips_lf = rest[length] == b'\r';
            if self.line.is_empty() {
                self.end_line(&rest[..length], events);
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&rest[..length]);
                self.end_line(&line, events);
                line.clear();
                self.line = line;
            }
            rest = self.passed(rest, length + 1);
            self.line_offset = self.seen_bytes;
        }
    }

    /// The end of the stream: the event under way, if any.
    pub fn finish(&mut self) -> Option<Event<'static>> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.block.take_line(&String::from_utf8_lossy(&line), self.line_offset, own);
        }
        self.block.end()
    }

    /// Whether a nameless `[DONE]` has come.
    pub fn saw_done(&self) -> bool {
        self.block.saw_done
    }

    /// How many bytes are held for the line and the event under way.
    pub fn held_bytes(&self) -> usize {
        self.line.len() + self.block.held_bytes
    }

    fn passed<'p>(&mut self, rest: &'p [u8], length: usize) -> &'p [u8] {
        self.seen_bytes += length as u64;
        &rest[length..]
    }

    fn end_line(&mut self, line: &[u8], events: &mut Vec<Event<'static>>) {
        if line.is_empty() {
            events.extend(self.block.end());
        } else {
            self.block.take_line(&String::from_utf8_lossy(line), self.line_offset, own);
        }
    }
}

fn own(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}

/// The lines since the last empty one.
#[derive(Debug, Default)]
struct Block<'a> {
    name: Cow<'a, str>,
    data: Option<Cow<'a, str>>,
    fields: Vec<(Box<str>, Cow<'a, str>)>,
    offset: Option<u64>,
    held_bytes: usize,
    saw_done: bool,
}

impl<'a> Block<'a> {
    fn take_line<'l>(&mut self, line: &'l str, offset: u64, keep: impl Fn(&'l str) -> Cow<'a, str>) {
        let (line, offset) = match line.strip_prefix('\u{feff}').filter(|_| offset == 0) {
            Some(after) => (after, (line.len() - after.len()) as u64),
            None => (line, offset),
        };
        let (name, value) = match memchr::memchr(b':', line.as_bytes()) {
            // A comment.
            Some(0) => return,
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None if line.is_empty() => return,
            None => (line, ""),
        };
        let value = value.strip_prefix(' ').unwrap_or(value);
        self.offset.get_or_insert(offset);
        self.held_bytes += line.len();
        match (name, &mut self.data) {
            ("data", None) => self.data = Some(keep(value)),
            ("data", Some(data)) => {
                let data = data.to_mut();
                data.push('\n');
                data.push_str(value);
            }
            ("event", _) => self.name = keep(value),
            _ => self.fields.push((name.into(), keep(value))),
        }
    }

    fn end(&mut self) -> Option<Event<'a>> {
        let offset = self.offset.take()?;
        if self.data.is_none() && self.name.is_empty() {
            return None;
        }
        self.held_bytes = 0;
        let event = Event {
            name: std::mem::take(&mut self.name),
            data: self.data.take(),
            fields: std::mem::take(&mut self.fields),
            offset,
        };
        if event.name.is_empty() && event.data.as_deref() == Some("[DONE]") {
            self.saw_done = true;
            return None;
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn brief<'a>(stream: &'a Stream<'_>) -> Vec<(&'a str, Option<&'a str>, u64)> {
        stream.events.iter().map(|it| (&*it.name, it.data.as_deref(), it.offset)).collect()
    }

    /// The events of `bytes` given in pieces that end at `cuts`.
    fn split(bytes: &[u8], cuts: &[usize]) -> Stream<'static> {
        let mut splitter = Splitter::new();
        let mut events = Vec::new();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        for pair in cuts.windows(2) {
            splitter.push(&bytes[pair[0]..pair[1]], &mut events);
        }
        events.extend(splitter.finish());
        Stream { events, saw_done: splitter.saw_done() }
    }

    #[test]
    fn every_line_end_a_bom_and_comments_are_read() {
        let text = "\u{feff}event: a\r\n: note\r\ndata:1\r\n\r\ndata: 2\r\rdata: 3\n\n:\n\ndata:  4";
        let stream = parse(text);
        assert_eq!(
            brief(&stream),
            [("a", Some("1"), 3), ("", Some("2"), 31), ("", Some("3"), 40), ("", Some(" 4"), 52)]
        );
        for event in &stream.events {
            assert!(matches!(event.data, Some(Cow::Borrowed(_))));
        }
    }

    #[test]
    fn data_lines_are_joined_and_the_last_name_wins() {
        let stream = parse("event: x\ndata: {\ndata\ndata:}\nevent: y\n\nevent: lonely\n\ndata\n\n");
        assert_eq!(brief(&stream), [("y", Some("{\n\n}"), 0), ("lonely", None, 39), ("", Some(""), 54)]);
    }

    #[test]
    fn other_fields_are_kept_and_wait_for_an_event() {
        let stream = parse("retry: 10\n\nid: 1\nid: 2\nodd\ndata: x\n\ndata: y\n\n");
        let [first, second] = &stream.events[..] else { panic!("{stream:?}") };
        assert_eq!(first.field("retry"), Some("10"));
        assert_eq!(first.field("id"), Some("2"));
        assert_eq!(first.field("odd"), Some(""));
        assert_eq!(first.offset, 11);
        assert!(second.fields.is_empty());
    }

    #[test]
    fn done_is_no_event() {
        for text in ["data: [DONE]\n\n", "data:[DONE]", "data: 1\n\ndata: [DONE]\r\n\r\n"] {
            assert!(parse(text).saw_done, "{text}");
        }
        let named = parse("event: e\ndata: [DONE]\n\n");
        assert!(!named.saw_done);
        assert_eq!(named.events.len(), 1);
    }

    #[test]
    fn streams_are_told_by_their_first_field() {
        for bytes in ["data: x", "\u{feff}event:y\n", ": hi\r\n\r\nid: 1", "retry: 1"] {
            assert!(looks_like_events(bytes.as_bytes()), "{bytes}");
        }
        for bytes in ["", ": only", "{\"data:\":1}", "dataset: 1", "<html>"] {
            assert!(!looks_like_events(bytes.as_bytes()), "{bytes}");
        }
    }

    #[test]
    fn an_event_is_given_as_soon_as_it_ends() {
        let mut splitter = Splitter::new();
        let mut events = Vec::new();
        splitter.push(b"data: a\r\r", &mut events);
        assert_eq!(events.len(), 1);
        splitter.push(b"\ndata: b\n", &mut events);
        assert_eq!((events.len(), splitter.held_bytes()), (1, "data: b".len()));
        splitter.push(b"\n", &mut events);
        assert_eq!(events.len(), 2);
        assert_eq!(splitter.finish(), None);
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_events(
            text in "(\u{feff})?(data|event|id|:|x|é|[: \\[\\]]|\r|\n|\n\n|\r\n|data: \\[DONE\\]\n\n){0,40}",
            cuts in proptest::collection::vec(any::<usize>(), 0..20),
        ) {
            prop_assert_eq!(split(text.as_bytes(), &cuts), parse(&text));
        }

        #[test]
        fn any_bytes_in_any_chunks_give_the_same_events(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), any::<u8>()], 0..200),
            cuts in proptest::collection::vec(any::<usize>(), 0..20),
        ) {
            let whole = split(&bytes, &[]);
            prop_assert_eq!(split(&bytes, &cuts), whole);
            let _ = looks_like_events(&bytes);
        }

        #[test]
        fn an_event_begins_at_its_offset(text in "(data: a\n|event: b\r\n|: c\n|\n|\r){0,30}") {
            for event in parse(&text).events {
                let at = event.offset as usize;
                prop_assert!(text[at..].starts_with("data:") || text[at..].starts_with("event:"));
            }
        }
    }
}
