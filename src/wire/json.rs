//! JSON as text: checked without being rebuilt, embedded verbatim, and arrays taken apart as they come.

use serde_json::value::RawValue;

use crate::ids::hex;

/// A text that is not one JSON value.
#[derive(Debug, thiserror::Error)]
#[error("invalid JSON: {0}")]
pub struct InvalidJson(#[from] serde_json::Error);

/// The value that `text` consists of, without white space around it. Nesting may be of any depth.
pub fn value(text: &str) -> Result<&str, InvalidJson> {
    Ok(serde_json::from_str::<&RawValue>(text)?.get())
}

/// Appends a JSON value (as given by [`value`]) in one line: its text without CR and LF. In valid JSON these
/// stand between tokens only.
pub fn embed(out: &mut String, json: &str) {
    let mut rest = json;
    out.reserve(rest.len());
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// Appends a text as a JSON string. Only what JSON demands is escaped (RFC 8259 §7).
pub fn write_string(out: &mut String, text: &str) {
    out.reserve(text.len() + 2);
    out.push('"');
    write_escaped(out, text);
    out.push('"');
}

/// The same without the quotes: a stretch of a string.
pub(crate) fn write_escaped(out: &mut String, text: &str) {
    let mut rest = text;
    loop {
        let plain = plain_length(rest.as_bytes());
        out.push_str(&rest[..plain]);
        let Some(&byte) = rest.as_bytes().get(plain) else { break };
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            0..=0x1f => {
                out.push_str("\\u00");
                out.push_str(hex(&[byte], &mut [0; 2]));
            }
            _ => out.extend(['\\', char::from(byte)]),
        }
        rest = &rest[plain + 1..];
    }
}

/// How many bytes can stand in a JSON string as they are, up to the first that cannot.
fn plain_length(bytes: &[u8]) -> usize {
    let is_special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    // A block without a branch inside is one step for the machine.
    let is_plain = |block: &&[u8]| !block.iter().fold(false, |found, byte| found | is_special(byte));
    let plain = 16 * bytes.chunks_exact(16).take_while(is_plain).count();
    let rest = &bytes[plain..];
    plain + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// One element of a top-level array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Offset of its first byte in the text.
    pub offset: usize,
    /// Its verbatim text: a whole value, or what there is of the one in which the text breaks off.
    pub text: &'a str,
}

/// A top-level array, as far as it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elements<'a> {
    /// Its elements in order.
    pub elements: Vec<Element<'a>>,
    /// The closing bracket was seen.
    pub is_closed: bool,
}

/// Takes apart a top-level array that may break off anywhere; `None` if the text is not the beginning of one.
pub fn elements(text: &str) -> Option<Elements<'_>> {
    let mut elements = Vec::new();
    let mut at = skip_white(text, 0);
    if text.as_bytes().get(at) != Some(&b'[') {
        return None;
    }
    at = skip_white(text, at + 1);
    if text.as_bytes().get(at) == Some(&b']') {
        return (skip_white(text, at + 1) == text.len()).then_some(Elements { elements, is_closed: true });
    }
    while at < text.len() {
        let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<&RawValue>();
        match values.next() {
            Some(Ok(value)) => elements.push(Element { offset: at, text: value.get() }),
            Some(Err(error)) if error.is_eof() => {
                elements.push(Element { offset: at, text: text[at..].trim_end_matches(is_white) });
                break;
            }
            Some(Err(_)) | None => return None,
        }
        at = skip_white(text, at + values.byte_offset());
        match text.as_bytes().get(at) {
            Some(b',') => at = skip_white(text, at + 1),
            Some(b']') => {
                return (skip_white(text, at + 1) == text.len()).then_some(Elements { elements, is_closed: true });
            }
            Some(_) => return None,
            None => break,
        }
    }
    Some(Elements { elements, is_closed: false })
}

fn is_white(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\n' | '\r')
}

fn skip_white(text: &str, from: usize) -> usize {
    let white = text.as_bytes()[from..].iter().take_while(|&&byte| is_white(char::from(byte))).count();
    from + white
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn embedded(json: &str) -> String {
        let mut out = String::new();
        embed(&mut out, value(json).unwrap());
        out
    }

    #[test]
    fn numbers_key_order_duplicates_and_escapes_stay() {
        let text = r#"{"b":1.0,"a":1e400,"b":12345678901234567890123,"c":"\u003c</é\ud800"}"#;
        assert_eq!(embedded(text), text);
        assert_eq!(embedded(" {\r\n  \"a\" : [ 1,\n2 ]\r}\n"), "{  \"a\" : [ 1,2 ]}");
    }

    #[test]
    fn depth_is_no_limit() {
        let deep = "[".repeat(200_000) + &"]".repeat(200_000);
        assert_eq!(value(&deep).unwrap().len(), 400_000);
    }

    #[test]
    fn half_a_value_and_two_values_are_invalid() {
        for text in ["", "{", "{\"a\":1}}", "1 2", "nul", "\"a\nb\"", "{\"a\"}", "01", "[1,]"] {
            assert!(value(text).is_err(), "{text:?}");
        }
        assert!(value("x").unwrap_err().to_string().starts_with("invalid JSON"));
    }

    #[test]
    fn a_cut_array_keeps_its_whole_elements_and_the_rest_as_text() {
        let text = "[{\"a\":[1]}\n,\r\n {\"b\":\"],\"} , [";
        let found = elements(text).unwrap();
        let texts: Vec<&str> = found.elements.iter().map(|it| it.text).collect();
        assert_eq!(texts, ["{\"a\":[1]}", "{\"b\":\"],\"}", "["]);
        assert!(!found.is_closed);
        for element in &found.elements {
            assert!(text[element.offset..].starts_with(element.text));
        }
        for (text, count, is_closed) in [("[", 0, false), ("[]", 0, true), (" [1]\n", 1, true), ("[1,", 1, false)] {
            let found = elements(text).unwrap();
            assert_eq!((found.elements.len(), found.is_closed), (count, is_closed), "{text}");
        }
        for text in ["", "{}", "[1 2]", "[}", "[1]x", "[]x", "[,1]"] {
            assert_eq!(elements(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_string_that_reads_back(text in any::<String>()) {
            let mut out = String::new();
            write_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
            prop_assert!(!out.contains(['\n', '\r']));
        }

        #[test]
        fn an_array_cut_anywhere_is_a_prefix_of_the_whole(cut in 0_usize..60) {
            let text = "[{\"x\":\"a,b]\"} , {\"y\":[{}, {}]}, {\"z\":{\"w\":null}} ,{}]";
            let whole = elements(text).unwrap();
            prop_assert_eq!(whole.elements.len(), 4);
            let cut = &text[..cut.min(text.len())];
            if let Some(part) = elements(cut) {
                for (found, expected) in part.elements.iter().zip(&whole.elements) {
                    prop_assert_eq!(found.offset, expected.offset);
                    prop_assert!(expected.text.starts_with(found.text));
                }
                prop_assert_eq!(part.is_closed, cut.len() == text.len());
            } else {
                prop_assert!(cut.is_empty());
            }
        }

        #[test]
        fn any_text_is_taken_apart_without_panic(text in any::<String>(), tail in "[\\[\\]{},\" 1a\\\\]{0,40}") {
            let _ = elements(&text);
            let _ = elements(&format!("[{tail}"));
        }
    }
}
