//! What is a matter of one hop and what travels end to end (RFC 9110 §7.6.1).

use api_log::headers::Headers;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Whether a request asks for, or an answer grants, a change of protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// The handshake fields must pass.
    Tunnelled,
    /// An ordinary message: an `Upgrade` field is for this hop alone.
    None,
}

/// Whether a field of this lower-case name never leaves its hop, apart from those that `Connection` names.
fn is_of_one_hop(name: &str, upgrade: Upgrade) -> bool {
    match name {
        "keep-alive" | "proxy-connection" | "transfer-encoding" => true,
        "connection" | "upgrade" => upgrade == Upgrade::None,
        _ => false,
    }
}

/// Removes from a message what belongs to the hop it came by. What is left keeps its order.
///
/// A length beside a transfer coding says nothing about the body and would be believed on the next hop
/// (RFC 9112 §6.3): it goes too.
pub(crate) fn strip(fields: &mut HeaderMap, upgrade: Upgrade) {
    let named = named_by_connection(fields);
    let is_coded = fields.contains_key(header::TRANSFER_ENCODING);
    let is_due = |name: &HeaderName, value: &HeaderValue| {
        is_of_one_hop(name.as_str(), upgrade)
            || (is_coded && name == header::CONTENT_LENGTH)
            || (name == header::TE && !is_trailers(value.as_bytes()))
            || (upgrade == Upgrade::None && named.iter().any(|it| it == name))
    };
    if !fields.iter().any(|(name, value)| is_due(name, value)) {
        return;
    }
    // Removal from a `HeaderMap` moves the last field into the gap; order is worth a new map.
    let mut kept = HeaderMap::with_capacity(fields.keys_len() + 2);
    for (name, value) in fields.iter().filter(|(name, value)| !is_due(name, value)) {
        kept.append(name.clone(), value.clone());
    }
    *fields = kept;
}

/// The same for recorded fields: what the upstream is sent of the client's, less `Host`.
pub(crate) fn strip_recorded(fields: &mut Headers) {
    let mut named: Vec<String> = fields
        .get_all("connection")
        .flat_map(|value| value.split(|&byte| byte == b','))
        .filter_map(|token| std::str::from_utf8(token).ok())
        .map(|token| token.trim().to_ascii_lowercase())
        .collect();
    let is_tunnelled = fields.get("upgrade").is_some() && named.iter().any(|it| it == "upgrade");
    let upgrade = if is_tunnelled { Upgrade::Tunnelled } else { Upgrade::None };
    named.retain(|it| it != "te");
    fields.retain(|name, value| {
        let name = name.to_ascii_lowercase();
        !(is_of_one_hop(&name, upgrade)
            || name == "host"
            || (name == "te" && !is_trailers(value))
            || (upgrade == Upgrade::None && named.contains(&name)))
    });
}

/// The fields that `Connection` names. `TE: trailers` is an offer that this hop keeps, so it stays.
fn named_by_connection(fields: &HeaderMap) -> Vec<HeaderName> {
    fields
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter(|token| !matches!(token.trim_ascii(), b"keep-alive" | b"close" | b""))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .filter(|name| name != header::TE)
        .collect()
}

fn is_trailers(te: &[u8]) -> bool {
    te.trim_ascii().eq_ignore_ascii_case(b"trailers")
}

/// What a message asks of its connection.
pub(crate) fn upgrade_of(fields: &HeaderMap) -> Upgrade {
    let is_asked = fields.contains_key(header::UPGRADE)
        && fields
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
            .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    if is_asked { Upgrade::Tunnelled } else { Upgrade::None }
}

/// Whether an answer with status 101 switches to WebSocket (RFC 6455 §4.1).
pub(crate) fn is_websocket(answer: &HeaderMap) -> bool {
    answer.get(header::UPGRADE).is_some_and(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn hop_by_hop_fields_go_and_the_rest_keeps_its_order() {
        let mut map = fields(&[
            ("a", "1"),
            ("connection", "keep-alive, X-Mine"),
            ("keep-alive", "5"),
            ("x-mine", "v"),
            ("b", "2"),
            ("te", "gzip"),
            ("upgrade", "h2c"),
            ("c", "3"),
            ("proxy-connection", "x"),
            ("transfer-encoding", "chunked"),
            ("d", "4"),
        ]);
        strip(&mut map, Upgrade::None);
        assert_eq!(map.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    }

    #[test]
    fn an_upgrade_keeps_its_handshake() {
        let mut map = fields(&[("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "k")]);
        assert_eq!(upgrade_of(&map), Upgrade::Tunnelled);
        strip(&mut map, Upgrade::Tunnelled);
        assert_eq!(map.len(), 3);
    }

    #[test]
    fn a_websocket_is_known_by_the_answer() {
        assert!(is_websocket(&fields(&[("upgrade", "WebSocket")])));
        assert!(!is_websocket(&fields(&[("upgrade", "h2c")])));
        assert!(!is_websocket(&fields(&[])));
    }

    #[test]
    fn te_trailers_passes() {
        let mut map = fields(&[("connection", "TE"), ("te", "trailers")]);
        strip(&mut map, Upgrade::None);
        assert_eq!(map.get("te").unwrap(), "trailers");
        assert!(!map.contains_key("connection"));
    }

    #[test]
    fn the_record_agrees_with_what_was_sent() {
        let mut recorded: Headers =
            [("Host", "h"), ("Connection", "X-Mine"), ("x-mine", "1"), ("TE", "trailers"), ("X", "2")]
                .map(|(name, value)| (name, value.as_bytes()))
                .into_iter()
                .collect();
        strip_recorded(&mut recorded);
        assert_eq!(recorded.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["TE", "X"]);
    }
}
