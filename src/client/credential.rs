//! Whose credential a request carried: its hash, never its value.

use std::borrow::Cow;

use crate::headers::Headers;
use crate::ids::KeyHash;

/// The fields that may hold a credential, the first that is not empty counting.
const FIELDS: [&str; 4] = ["authorization", "x-api-key", "x-goog-api-key", "api-key"];

/// The hash of the credential that a request carried: of the whole value, scheme included, of `Authorization`,
/// `x-api-key`, `x-goog-api-key` or `api-key`, else of the decoded value of the target's `key` parameter.
pub fn key_hash(headers: &Headers, target: &str) -> KeyHash {
    let in_field = FIELDS.iter().find_map(|name| headers.get_all(name).find(|value| !value.is_empty()));
    if let Some(value) = in_field {
        return KeyHash::of(value);
    }
    let in_query = parameters(target).find(|it| percent_decoded(it.name) == &b"key"[..] && !it.value.is_empty());
    in_query.map_or(KeyHash::NONE, |it| KeyHash::of(&percent_decoded(it.value)))
}

/// The target with the values of `key` and `api_key` query parameters replaced by `***`; everything else byte for
/// byte.
pub fn redacted_target(target: &str) -> Cow<'_, str> {
    let is_secret =
        |it: &Parameter<'_>| !it.value.is_empty() && matches!(&*percent_decoded(it.name), b"key" | b"api_key");
    if !parameters(target).any(|it| is_secret(&it)) {
        return Cow::Borrowed(target);
    }
    let mut redacted = String::with_capacity(target.len());
    let mut kept = 0;
    for secret in parameters(target).filter(is_secret) {
        redacted.push_str(&target[kept..secret.value_at]);
        redacted.push_str("***");
        kept = secret.value_at + secret.value.len();
    }
    redacted.push_str(&target[kept..]);
    Cow::Owned(redacted)
}

/// One `name=value` of a query, as it is spelt.
struct Parameter<'a> {
    name: &'a str,
    value: &'a str,
    /// Where the value begins in the target.
    value_at: usize,
}

/// The parameters of a target that have a value.
fn parameters(target: &str) -> impl Iterator<Item = Parameter<'_>> {
    let query_at = target.find('?').map_or(target.len(), |at| at + 1);
    let mut at = query_at;
    target[query_at..].split('&').filter_map(move |pair| {
        let pair_at = at;
        at += pair.len() + 1;
        let (name, value) = pair.split_once('=')?;
        Some(Parameter { name, value, value_at: pair_at + name.len() + 1 })
    })
}

/// The bytes that a percent-encoded text stands for (RFC 3986 §2.1); what is no escape stays.
fn percent_decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut rest = text.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'%', [high, low, behind @ ..]) if digit(*high).is_some() && digit(*low).is_some() => {
                let value = digit(*high).unwrap_or(0) * 16 + digit(*low).unwrap_or(0);
                decoded.push(value as u8);
                rest = behind;
            }
            _ => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Headers {
        fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect()
    }

    #[test]
    fn the_first_credential_in_order_is_hashed_whole() {
        let hash = |fields: &[(&str, &str)], target: &str| key_hash(&headers(fields), target);
        let of = |value: &str| KeyHash::of(value.as_bytes());
        assert_eq!(hash(&[("x-api-key", "k"), ("Authorization", "Bearer t")], "/"), of("Bearer t"));
        assert_eq!(hash(&[("authorization", ""), ("X-Api-Key", "k")], "/?key=q"), of("k"));
        assert_eq!(hash(&[("api-key", "azure"), ("x-goog-api-key", "g")], "/"), of("g"));
        assert_eq!(hash(&[("api-key", "azure")], "/"), of("azure"));
        assert_eq!(hash(&[], "/v1?alt=sse&key=a%2Fb%zz+"), of("a/b%zz+"));
        assert_eq!(hash(&[], "/v1?key=&monkey=1"), KeyHash::NONE);
        assert_eq!(hash(&[], "/key=1"), KeyHash::NONE);
    }

    #[test]
    fn only_the_values_of_keys_are_hidden() {
        for (target, expected) in [
            ("/v1/x?key=secret&alt=sse", "/v1/x?key=***&alt=sse"),
            ("/v1/x?a=%20&api_key=s=s&b&key=t", "/v1/x?a=%20&api_key=***&b&key=***"),
            ("/v1/x?%6bey=secret", "/v1/x?%6bey=***"),
            ("/key=1?monkey=2&key=&key", "/key=1?monkey=2&key=&key"),
            ("/plain", "/plain"),
        ] {
            assert_eq!(redacted_target(target), expected);
        }
        assert!(matches!(redacted_target("/v1?alt=sse"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn any_target_is_read_and_redacting_twice_changes_nothing(target in "[/?&=%key_api\\PC]{0,40}") {
            key_hash(&Headers::new(), &target);
            let once = redacted_target(&target).into_owned();
            prop_assert_eq!(redacted_target(&once), &*once);
        }
    }
}
