//! Changes of strings inside JSON text. Whatever is not one of them stays as it was spelled: key order, numbers,
//! white space, duplicate keys.

use std::ops::Range;

use crate::json::{Json, unescape};
use crate::wire::json::write_escaped;

/// Changes of one text, at places that do not overlap.
#[derive(Debug, Default)]
pub(super) struct Edits {
    list: Vec<Edit>,
}

/// Text that is put in the place of other text. Several at one place stand in the order in which they were made.
#[derive(Debug)]
pub(super) struct Edit {
    /// What goes, in bytes.
    pub(super) place: Range<usize>,
    /// What comes.
    pub(super) text: String,
}

impl Edits {
    /// Puts `text` in the place of what stands there.
    pub(super) fn put(&mut self, place: Range<usize>, text: String) {
        self.list.push(Edit { place, text });
    }

    /// Gives the string `old`, a part of `whole`, new content, if it is another than it has.
    pub(super) fn string(&mut self, whole: &str, old: Json<'_>, new: &[u8]) {
        if content(old) != new
            && let Some(place) = old.place_in(whole)
        {
            self.put(place, quoted(new));
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The same changes in a text that has so many more bytes before its beginning.
    pub(super) fn moved(mut self, bytes: usize) -> Edits {
        for edit in &mut self.list {
            edit.place = edit.place.start + bytes..edit.place.end + bytes;
        }
        self
    }

    /// In the order of their places.
    pub(super) fn in_order(mut self) -> Vec<Edit> {
        self.list.sort_by_key(|edit| edit.place.start);
        self.list
    }

    /// The text with all changes; `None` if there is none.
    pub(super) fn applied(self, whole: &str) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let mut out = String::with_capacity(whole.len() + 64);
        let mut at = 0;
        for edit in self.in_order() {
            out.push_str(whole.get(at..edit.place.start).unwrap_or_default());
            out.push_str(&edit.text);
            at = edit.place.end;
        }
        out.push_str(whole.get(at..).unwrap_or_default());
        Some(out)
    }
}

/// The characters of a JSON string as UTF-8, in which a surrogate that stands alone has the form that UTF-8 would give
/// it, were it a character. So it can be written as it was read.
pub(super) fn content(string: Json<'_>) -> Vec<u8> {
    let text = string.text();
    let inner = text.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or_default();
    let mut bytes = Vec::with_capacity(inner.len());
    unescape(inner, &mut bytes);
    bytes
}

/// The JSON string of these characters, given as [`content`] does.
pub(super) fn quoted(mut content: &[u8]) -> String {
    let mut out = String::with_capacity(content.len() + 2);
    out.push('"');
    while !content.is_empty() {
        let plain = surrogate(content).unwrap_or(content.len());
        write_escaped(&mut out, &String::from_utf8_lossy(&content[..plain]));
        content = &content[plain..];
        if let [_, middle, last, rest @ ..] = content {
            let unit = 0xd000 | u32::from(middle & 0x3f) << 6 | u32::from(last & 0x3f);
            out.push_str(&format!("\\u{unit:04x}"));
            content = rest;
        }
    }
    out.push('"');
    out
}

/// Where the first surrogate stands: three bytes that no UTF-8 has.
fn surrogate(content: &[u8]) -> Option<usize> {
    memchr::memchr_iter(0xed, content).find(|&at| matches!(content[at..], [_, 0xa0..=0xbf, _, ..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_named_string_changes() {
        let text = "{\"b\" : 1.0,\n\t\"a\":\"x\\u00e9\", \"n\":12345678901234567890, \"a\":\"y\", \"z\":1e400}";
        let json = Json::new(text);
        let mut edits = Edits::default();
        edits.string(text, json.get("a").unwrap(), "q\"\n\u{1}é\\".as_bytes());
        edits.string(text, json.members().nth(1).unwrap().1, "xé".as_bytes());
        let expected = text.replace("\"y\"", "\"q\\\"\\n\\u0001é\\\\\"");
        assert_eq!(edits.applied(text), Some(expected));
        assert_eq!(Edits::default().applied(text), None);
    }

    #[test]
    fn lone_surrogates_come_back_as_they_were() {
        let text = r#""a\ud83dé\ude00 \ud83d\ude00\udc00""#;
        assert_eq!(quoted(&content(Json::new(text))), r#""a\ud83dé\ude00 😀\udc00""#);
        assert_eq!(quoted(&content(Json::new(r#""\ud7ff\ue000""#))), "\"\u{d7ff}\u{e000}\"");
    }

    proptest! {
        #[test]
        fn any_text_is_written_as_it_was_read(text in any::<String>(), unit in 0xd800_u32..0xe000) {
            let spelt = format!("\"\\u{unit:04x}{}", &serde_json::to_string(&text).unwrap()[1..]);
            let read = content(Json::new(&spelt));
            let written = quoted(&read);
            prop_assert_eq!(content(Json::new(&written)), read);
            prop_assert!(crate::wire::json::value(&written).is_ok());
        }
    }
}
