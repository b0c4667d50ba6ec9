//! Looks into JSON text in place: nothing is built, and values that nobody asks for are only skipped.
//!
//! The text is trusted to be one valid JSON value (RFC 8259), as recorded bodies are. Other text gives
//! arbitrary answers, but never a panic, and never more than one pass over it per look.

use std::borrow::Cow;
use std::ops::Range;

/// One value's text, without white space around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// The value that `text` holds.
    pub(crate) fn new(text: &'a str) -> Json<'a> {
        Json(text.trim_matches(|it| matches!(it, ' ' | '\t' | '\n' | '\r')))
    }

    /// Its text as it stands.
    pub(crate) fn text(self) -> &'a str {
        self.0
    }

    /// Where it stands in `whole`, in bytes; `None` if it is no part of it.
    pub(crate) fn place_in(self, whole: &str) -> Option<Range<usize>> {
        let start = (self.0.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
        let place = start..start.checked_add(self.0.len())?;
        (place.end <= whole.len()).then_some(place)
    }

    /// Whether it is `null`.
    pub(crate) fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// Whether it is a string.
    pub(crate) fn is_string(self) -> bool {
        self.0.starts_with('"')
    }

    /// Whether it is an array.
    pub(crate) fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    /// Whether it is an object.
    pub(crate) fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    /// The string that it is, unescaped. Surrogates that stand alone become U+FFFD.
    pub(crate) fn string(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?;
        let inner = inner.strip_suffix('"').unwrap_or(inner);
        if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
            return Some(Cow::Borrowed(inner));
        }
        let mut bytes = Vec::with_capacity(inner.len());
        unescape(inner, &mut bytes);
        Some(Cow::Owned(match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        }))
    }

    /// Whether it is this string.
    pub(crate) fn is(self, text: &str) -> bool {
        self.string().is_some_and(|it| it == text)
    }

    /// Its members in document order, duplicates included; none if it is not an object.
    pub(crate) fn members(self) -> Members<'a> {
        Members(Cursor { text: self.0, at: if self.is_object() { 1 } else { self.0.len() } })
    }

    /// Its elements; none if it is not an array.
    pub(crate) fn elements(self) -> Elements<'a> {
        Elements(Cursor { text: self.0, at: if self.is_array() { 1 } else { self.0.len() } })
    }

    /// The members of these names, found in one pass. Of duplicates the last one counts; `null` is a value.
    pub(crate) fn pick<const N: usize>(self, names: [&str; N]) -> [Option<Json<'a>>; N] {
        let mut found = [None; N];
        for (key, value) in self.members() {
            if let Some(slot) = names.iter().position(|name| *name == key) {
                found[slot] = Some(value);
            }
        }
        found
    }

    /// The member of this name. Of duplicates the last one counts.
    pub(crate) fn get(self, name: &str) -> Option<Json<'a>> {
        let [found] = self.pick([name]);
        found
    }
}

/// The members of an object.
pub(crate) struct Members<'a>(Cursor<'a>);

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Json<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.skip_separators();
        let key = self.0.value().filter(|key| key.is_string())?.string()?;
        self.0.skip_separators();
        Some((key, self.0.value()?))
    }
}

/// The elements of an array.
pub(crate) struct Elements<'a>(Cursor<'a>);

impl<'a> Iterator for Elements<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        self.0.skip_separators();
        self.0.value()
    }
}

/// A place in JSON text.
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The start of `json`'s text.
    pub(crate) fn new(json: Json<'a>) -> Cursor<'a> {
        Cursor { text: json.0, at: 0 }
    }

    /// The byte here.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Goes behind the (ASCII) byte here.
    pub(crate) fn advance(&mut self) {
        self.at += 1;
    }

    /// Goes behind white space, commas and colons.
    pub(crate) fn skip_separators(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')) {
            self.at += 1;
        }
    }

    /// Appends the string that begins here as [`unescape`] does; the cursor goes behind it.
    pub(crate) fn unescape_string(&mut self, out: &mut Vec<u8>) {
        let bytes = self.text.as_bytes();
        self.at += 1;
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            let plain = copy_plain(rest, out);
            self.at += plain + 1;
            match rest.get(plain) {
                Some(b'\\') => self.at += push_escaped(&rest[plain + 1..], out),
                Some(_) => return,
                None => {
                    self.at = bytes.len();
                    return;
                }
            }
        }
    }

    /// Where the cursor is, for [`Cursor::since`].
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The text from an earlier position to here.
    pub(crate) fn since(&self, position: usize) -> Json<'a> {
        Json(self.text.get(position..self.at.min(self.text.len())).unwrap_or_default())
    }

    /// The value that begins here; the cursor goes behind it. `None` where none begins.
    pub(crate) fn value(&mut self) -> Option<Json<'a>> {
        let end = end_of_value(self.text.as_bytes(), self.at);
        let value = self.text.get(self.at..end).filter(|it| !it.is_empty())?;
        self.at = end;
        Some(Json(value))
    }
}

/// The offset behind the value that begins at `start`. Takes no stack, however deep the value is.
fn end_of_value(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    match bytes.get(at) {
        Some(b'"') => end_of_string(bytes, at),
        Some(b'{' | b'[') => {
            let mut depth = 0_usize;
            while let Some(byte) = bytes.get(at) {
                match byte {
                    b'"' => {
                        at = end_of_string(bytes, at);
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    break;
                }
            }
            at
        }
        _ => {
            let is_end = |byte: &u8| matches!(byte, b',' | b':' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r' | b'"');
            let rest = bytes.get(at..).unwrap_or_default();
            at + rest.iter().position(is_end).unwrap_or(rest.len())
        }
    }
}

/// The offset behind the string whose opening quote stands at `start`. Only quotes are looked for, since texts hold
/// many more line breaks, and so escapes, than quotes.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let inner = start + 1;
    let mut at = inner;
    while let Some(step) = bytes.get(at..).and_then(quote) {
        at += step;
        let is_escape = |byte: &&u8| **byte == b'\\';
        let backslashes = bytes[inner..at].iter().rev().take_while(is_escape).count();
        at += 1;
        if backslashes % 2 == 0 {
            return at;
        }
    }
    bytes.len()
}

/// Up to here a string is searched word by word: most strings, and most texts between two escapes, are so short that
/// calling a vector search costs more than it saves.
const SHORT_BYTES: usize = 32;

/// Where the first quote stands.
fn quote(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < SHORT_BYTES
        && let Some(word) = word_at(bytes, at)
    {
        let found = zeros(word ^ QUOTES);
        if found != 0 {
            return Some(at + first_of(found));
        }
        at += 8;
    }
    memchr::memchr(b'"', &bytes[at..]).map(|step| at + step)
}

/// Appends the bytes before the first quote or backslash; gives how many they are.
fn copy_plain(bytes: &[u8], out: &mut Vec<u8>) -> usize {
    let mut at = 0;
    while at < SHORT_BYTES
        && let Some(word) = word_at(bytes, at)
    {
        // Copied whole and cut back, since copies of a known size are cheap.
        out.extend_from_slice(&word.to_le_bytes());
        let found = zeros(word ^ QUOTES) | zeros(word ^ BACKSLASHES);
        if found != 0 {
            out.truncate(out.len() - 8 + first_of(found));
            return at + first_of(found);
        }
        at += 8;
    }
    let rest = &bytes[at..];
    let plain = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    out.extend_from_slice(&rest[..plain]);
    at + plain
}

const ONES: u64 = u64::from_le_bytes([1; 8]);
const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);

/// Eight bytes, the first of them in the lowest bits.
fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

/// The top bit of each byte that is 0, and perhaps of some behind the first of them.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & (ONES << 7)
}

/// Which byte the lowest bit stands in.
fn first_of(bits: u64) -> usize {
    bits.trailing_zeros() as usize / 8
}

/// Appends the characters that the inside of a JSON string stands for, as UTF-8. A surrogate that stands alone
/// is written in the form that UTF-8 would give it, were it a character, so that different strings stay different.
pub(crate) fn unescape(inner: &str, out: &mut Vec<u8>) {
    let mut rest = inner.as_bytes();
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        rest = rest.get(push_escaped(rest, out)..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// Appends the character of the escape whose backslash stands before `rest`; gives the escape's length.
fn push_escaped(rest: &[u8], out: &mut Vec<u8>) -> usize {
    let character = match rest.first() {
        Some(b'b') => 0x08,
        Some(b'f') => 0x0c,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'u') => {
            let digits = rest.get(1..).unwrap_or_default();
            let unit = hex_unit(digits);
            let low = match (unit, digits.get(4..)) {
                (0xd800..=0xdbff, Some([b'\\', b'u', low @ ..])) => hex_unit(low),
                _ => 0,
            };
            if (0xdc00..=0xdfff).contains(&low) {
                push_code_point(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00), out);
                return 11;
            }
            push_code_point(unit, out);
            return 5;
        }
        Some(other) => *other,
        None => return 0,
    };
    out.push(character);
    1
}

/// The number that four hex digits give (0xfffd where they are missing).
fn hex_unit(digits: &[u8]) -> u32 {
    let digits = digits.get(..4).and_then(|four| std::str::from_utf8(four).ok());
    digits.and_then(|four| u32::from_str_radix(four, 16).ok()).unwrap_or(0xfffd)
}

fn push_code_point(code: u32, out: &mut Vec<u8>) {
    match char::from_u32(code) {
        Some(character) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        // A surrogate: always three bytes long.
        None => out.extend_from_slice(&[
            0xe0 | (code >> 12) as u8,
            0x80 | (code >> 6 & 0x3f) as u8,
            0x80 | (code & 0x3f) as u8,
        ]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn members_and_elements_are_found_in_order_with_their_own_text() {
        let json = Json::new(" {\"a\" : [1, {\"b\":\"}\\\"]\"} ,-2.5e3], \"\\u0062\":null,\"a\":{} } ");
        let members: Vec<_> = json.members().map(|(key, value)| (key.into_owned(), value.text())).collect();
        let expected =
            [("a", "[1, {\"b\":\"}\\\"]\"} ,-2.5e3]"), ("b", "null"), ("a", "{}")].map(|(k, v)| (k.to_owned(), v));
        assert_eq!(members, expected);
        assert_eq!(json.get("a").unwrap().text(), "{}", "the last duplicate counts");
        let elements: Vec<_> = json.members().next().unwrap().1.elements().map(Json::text).collect();
        assert_eq!(elements, ["1", "{\"b\":\"}\\\"]\"}", "-2.5e3"]);
        assert_eq!(Json::new("[]").elements().count(), 0);
        assert_eq!(Json::new("{ }").members().count(), 0);
        assert_eq!(Json::new("3").elements().count() + Json::new("\"x\"").members().count(), 0);
    }

    #[test]
    fn strings_are_unescaped_and_lone_surrogates_stay_apart() {
        let string = |text: &'static str| Json::new(text).string().unwrap();
        assert_eq!(string(r#""plain é""#), "plain é");
        assert_eq!(string(r#""a\"\\\/\b\f\n\r\tA\ud83d\ude00""#), "a\"\\/\u{8}\u{c}\n\r\tA😀");
        assert!(string(r#""\ud83dx""#).ends_with('x'));
        let bytes = |inner: &str| {
            let mut out = Vec::new();
            unescape(inner, &mut out);
            out
        };
        assert_ne!(bytes(r"\ud83d"), bytes(r"\ud83e"));
        assert_eq!(bytes(r"\ude00\ud83d").len(), 6);
        assert!(!Json::new("7").is("7"));
    }

    #[test]
    fn any_depth_is_skipped_without_stack() {
        let deep = format!("{{\"a\":{}{},\"b\":1}}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert_eq!(Json::new(&deep).get("b").unwrap().text(), "1");
    }

    fn visit(json: Json<'_>, depth: usize) -> usize {
        let _ = json.string();
        if depth == 0 {
            return 1;
        }
        json.elements().map(|it| visit(it, depth - 1)).sum::<usize>()
            + json.members().map(|(_, it)| visit(it, depth - 1)).sum::<usize>()
    }

    proptest! {
        #[test]
        fn text_that_is_no_json_never_panics(text in "([\\[\\]{}\",:\\\\u 0-9a-fé]|\\PC){0,60}") {
            visit(Json::new(&text), 4);
        }

        #[test]
        fn strings_come_back_as_serde_json_reads_them(text in "\\PC{0,20}") {
            let spelt = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(Json::new(&spelt).string().unwrap(), text);
        }
    }
}
