//! Redaction: values that must not be stored, replaced by placeholders, everything else left as it stands.
//!
//! A placeholder is made from the value and a secret: equal values have equal placeholders, so that conversations stay
//! linked and occurrences can be counted, and who has no secret cannot try values out. Placeholders are left alone.

mod path;
mod text;

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::headers::Headers;
use crate::ids::hex;

pub use path::{BadPath, JsonPath};

/// How a placeholder begins.
const OPENING: &str = "[redacted:";
/// So many bytes of the digest stand in it.
const DIGEST_BYTES: usize = 6;

/// What is replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redaction {
    /// Names of header and trailer fields, in any case.
    pub headers: Vec<String>,
    /// Names of parameters in the target's query.
    pub query: Vec<String>,
    /// Places in JSON bodies.
    pub paths: Vec<JsonPath>,
}

impl Redaction {
    /// These fields with the values of named ones replaced.
    pub fn headers<'h>(&self, fields: &'h Headers, secret: &str) -> Cow<'h, Headers> {
        let is_named = |name: &str| self.headers.iter().any(|it| it.eq_ignore_ascii_case(name));
        if !fields.iter().any(|(name, _)| is_named(name)) {
            return Cow::Borrowed(fields);
        }
        let mut redacted = Headers::new();
        for (name, value) in fields.iter() {
            if is_named(name) && !is_placeholder(value) {
                redacted.push(name, placeholder(value, secret).as_bytes());
            } else {
                redacted.push(name, value);
            }
        }
        Cow::Owned(redacted)
    }

    /// This request target with the values of named parameters replaced. What is replaced is the spelling.
    pub fn target<'t>(&self, target: &'t str, secret: &str) -> Cow<'t, str> {
        let Some((path, query)) = target.split_once('?') else { return Cow::Borrowed(target) };
        let pair = |pair: &'t str| match pair.split_once('=') {
            Some((name, value)) if self.query.iter().any(|it| it == name) && !is_placeholder(value.as_bytes()) => {
                Cow::Owned(format!("{name}={}", placeholder(value.as_bytes(), secret)))
            }
            _ => Cow::Borrowed(pair),
        };
        let pairs: Vec<Cow<'_, str>> = query.split('&').map(pair).collect();
        if pairs.iter().all(|it| matches!(it, Cow::Borrowed(_))) {
            return Cow::Borrowed(target);
        }
        Cow::Owned(format!("{path}?{}", pairs.join("&")))
    }

    /// This JSON text with the values at the places replaced by strings. All other bytes stay.
    pub fn json<'t>(&self, text: &'t str, secret: &str) -> Cow<'t, str> {
        text::redacted(&self.paths, text, secret)
    }
}

/// What stands in place of a value.
pub fn placeholder(value: &[u8], secret: &str) -> String {
    let digest = Sha256::new().chain_update(secret).chain_update([0]).chain_update(value).finalize();
    format!("{OPENING}{}]", hex(&digest[..DIGEST_BYTES], &mut [0; 2 * DIGEST_BYTES]))
}

fn is_placeholder(value: &[u8]) -> bool {
    let inner = value.strip_prefix(OPENING.as_bytes()).and_then(|rest| rest.strip_suffix(b"]"));
    inner.is_some_and(|it| it.len() == 2 * DIGEST_BYTES && it.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_fields_are_replaced_equal_values_alike_and_others_stay() {
        let redaction = Redaction { headers: vec!["authorization".into()], ..Redaction::default() };
        let fields: Headers =
            [("Authorization", b"Bearer x".as_slice()), ("A", b"Bearer x"), ("AUTHORIZATION", b"Bearer x")]
                .into_iter()
                .collect();
        let redacted = redaction.headers(&fields, "s").into_owned();
        let values: Vec<&[u8]> = redacted.iter().map(|(_, value)| value).collect();
        assert!(is_placeholder(values[0]) && values[0] == values[2] && values[1] == b"Bearer x");
        assert_eq!(redaction.headers(&redacted, "other").into_owned(), redacted, "placeholders stay");
        assert_ne!(placeholder(b"x", "s"), placeholder(b"x", "t"));
        assert_ne!(placeholder(b"x", "s"), placeholder(b"y", "s"));
    }

    #[test]
    fn named_parameters_are_replaced() {
        let redaction = Redaction { query: vec!["key".into()], ..Redaction::default() };
        let target = redaction.target("/a?b=1&key=secret&key&c=key=2", "s").into_owned();
        assert_eq!(target, format!("/a?b=1&key={}&key&c=key=2", placeholder(b"secret", "s")));
        assert_eq!(redaction.target(&target, "s"), target);
        assert_eq!(redaction.target("/key=1", "s"), "/key=1");
    }
}
