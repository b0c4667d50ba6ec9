//! Named members of JSON text, read in one skim and with tolerance for whatever stands in them.
//!
//! A member's value is handed out as the text that it has, and only the reader that wants it looks inside. So
//! nothing is built that nobody asked for, a value of the wrong type is merely absent, and whatever stands beside
//! a value that is odd (a number beyond any type, a lone surrogate, a name given twice) is read all the same.

use std::borrow::Cow;
use std::fmt;
use std::ops::ControlFlow;

use serde::Deserializer as _;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Shows each member of the object `json` in its order: its name and the verbatim text of its value. Text that is
/// no object has no members; of an object that is broken off, those before the break are shown.
pub(super) fn members<'a>(json: &'a str, mut see: impl FnMut(&str, &'a str)) {
    skim(json, |name, value| {
        see(name, value);
        ControlFlow::Continue(())
    });
}

/// The verbatim text of the first member of this name. Reads no further than that.
pub(super) fn member<'a>(json: &'a str, wanted: &str) -> Option<&'a str> {
    let mut found = None;
    skim(json, |name, value| {
        if name != wanted {
            return ControlFlow::Continue(());
        }
        found = Some(value);
        ControlFlow::Break(())
    });
    found
}

/// Shows the verbatim text of each element of the array `json`. Text that is no array has no elements; of an array
/// that is broken off, those before the break are shown.
pub(super) fn elements<'a>(json: &'a str, see: impl FnMut(&'a str)) {
    let mut source = serde_json::Deserializer::from_str(json);
    // An error means "no array" or "broken off": what could be seen was seen.
    let _ = source.deserialize_seq(Elements { see });
}

/// The string that this JSON value is. Other values, and the empty string, count as absent.
pub(super) fn text(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if inner.is_empty() {
        return None;
    }
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(value).ok().map(Cow::Owned)
}

/// The whole number that this JSON value is. Other values, and numbers spelled as fractions, count as absent.
pub(super) fn count(value: &str) -> Option<i64> {
    value.parse().ok()
}

/// The boolean that this JSON value is.
pub(super) fn boolean(value: &str) -> Option<bool> {
    value.parse().ok()
}

/// Whether this JSON value is an object.
pub(super) fn is_object(value: &str) -> bool {
    value.starts_with('{')
}

/// Tells, much faster than a skim, whether a member of this name and with a value other than `null` may stand
/// anywhere in a text. It may say yes without cause, but no only if there is none.
pub(super) struct Hint {
    quoted: memchr::memmem::Finder<'static>,
}

impl Hint {
    /// A hint for a member's name together with its quotes: `"usage"`.
    pub(super) fn new(quoted: &'static str) -> Hint {
        Hint { quoted: memchr::memmem::Finder::new(quoted) }
    }

    /// Whether a skim of `json` is worth its while.
    pub(super) fn is_in(&self, json: &str) -> bool {
        let bytes = json.as_bytes();
        let width = self.quoted.needle().len();
        self.quoted.find_iter(bytes).any(|at| {
            let mut rest = bytes[at + width..].iter().filter(|byte| !byte.is_ascii_whitespace());
            rest.next() == Some(&b':') && rest.next() != Some(&b'n')
        })
    }

    /// Whether the word stands in `json` in any role: as a name, or as a value.
    pub(super) fn is_mentioned_in(&self, json: &str) -> bool {
        self.quoted.find(json.as_bytes()).is_some()
    }

    /// Whether names in `json` may be spelled with escapes, so that no hint can be trusted.
    pub(super) fn is_blind(json: &str) -> bool {
        // Every letter of the names that matter is ASCII: its escape starts with `\u00`.
        memchr::memchr(b'\\', json.as_bytes())
            .is_some_and(|at| memchr::memmem::find(&json.as_bytes()[at..], b"\\u00").is_some())
    }
}

fn skim<'a>(json: &'a str, see: impl FnMut(&str, &'a str) -> ControlFlow<()>) {
    let mut source = serde_json::Deserializer::from_str(json);
    // An error means "no object", "broken off" or "seen enough": what could be seen was seen.
    let _ = source.deserialize_map(Members { see });
}

struct Members<F> {
    see: F,
}

impl<'de, F: FnMut(&str, &'de str) -> ControlFlow<()>> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            // A name that no `str` can hold is none that anyone asks for.
            let Some(name) = text(name.get()) else { continue };
            if (self.see)(&name, value.get()).is_break() {
                break;
            }
        }
        Ok(())
    }
}

struct Elements<F> {
    see: F,
}

impl<'de, F: FnMut(&'de str)> Visitor<'de> for Elements<F> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<(), A::Error> {
        while let Some(element) = array.next_element::<&RawValue>()? {
            (self.see)(element.get());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(json: &str) -> Vec<(String, String)> {
        let mut seen = Vec::new();
        members(json, |name, value| seen.push((name.to_owned(), value.to_owned())));
        seen
    }

    #[test]
    fn members_are_shown_in_order_with_their_verbatim_values() {
        let pairs = seen(" { \"a\" : 1.50 , \"b\":{\"c\":[1, 2]},\"a\":null } ");
        let expected = [("a", "1.50"), ("b", "{\"c\":[1, 2]}"), ("a", "null")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn odd_values_and_names_do_not_hide_their_neighbours() {
        let pairs = seen(r#"{"a":1e400,"\ud800":"\udfff","\u0062":2}"#);
        assert_eq!(pairs, [("a".to_owned(), "1e400".to_owned()), ("b".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn what_stands_before_a_break_is_shown() {
        assert_eq!(seen(r#"{"a":1,"b":"#), [("a".to_owned(), "1".to_owned())]);
        let mut found = Vec::new();
        elements(r#"[1,{"a":2},[3"#, |element| found.push(element));
        assert_eq!(found, ["1", r#"{"a":2}"#]);
    }

    #[test]
    fn values_of_other_types_have_no_members_and_no_elements() {
        for json in ["", "null", "1e400", "\"x\"", "[1]", "nonsense"] {
            assert_eq!(seen(json), []);
        }
        for json in ["", "null", "1e400", "\"x\"", "{\"a\":[1]}", "nonsense"] {
            elements(json, |element| panic!("{element} in {json}"));
        }
    }

    #[test]
    fn a_deep_value_is_skimmed_without_recursion() {
        let deep = format!("{{\"a\":{}{},\"b\":7}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(member(&deep, "b"), Some("7"));
    }

    #[test]
    fn values_of_the_wrong_type_count_as_absent() {
        assert_eq!(count("12"), Some(12));
        for value in ["12.0", "1e3", "\"12\"", "null", "true", "{}", "[]", "99999999999999999999"] {
            assert_eq!(count(value), None, "{value}");
        }
        assert_eq!(text(r#""a\nb""#).as_deref(), Some("a\nb"));
        for value in [r#""""#, r#""\ud800""#, "1", "null", "{}", "\""] {
            assert_eq!(text(value), None, "{value}");
        }
        assert_eq!(boolean("true"), Some(true));
        assert_eq!(boolean("\"true\""), None);
    }

    #[test]
    fn a_hint_sees_members_at_any_depth_but_no_nulls_and_no_text() {
        let usage = Hint::new("\"usage\"");
        assert!(usage.is_in(r#"{"x_groq":{"usage" : {}}}"#));
        assert!(usage.is_in(r#"{"usage":null,"b":{"usage":3}}"#));
        assert!(!usage.is_in(r#"{"usage": null}"#));
        assert!(!usage.is_in(r#"{"kind":"usage"}"#));
        assert!(!usage.is_in(r#"{"text":"{\"usage\":{}}"}"#));
        assert!(Hint::is_blind(r#"{"us\u0061ge":{}}"#));
        assert!(!Hint::is_blind(r#"{"text":"\n\u4e2d"}"#));
    }
}
