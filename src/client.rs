//! Who sent a request: key hash, client kind and version, address.

use std::borrow::Cow;
use std::net::SocketAddr;

use ipnet::IpNet;

use crate::headers::Headers;
use crate::ids::KeyHash;

/// The hash of the credential that a request carried.
pub fn key_hash(_headers: &Headers, _target: &str) -> KeyHash {
    KeyHash::NONE
}

/// The target with the values of `key` and `api_key` query parameters replaced by `***`.
pub fn redacted_target(target: &str) -> Cow<'_, str> {
    target.into()
}

/// A client program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKind {
    /// One of the documented kinds.
    pub kind: &'static str,
    /// Its version, never empty.
    pub version: Option<String>,
}

/// The client program that sent these fields, as far as they tell.
pub fn identify(_headers: &Headers) -> Option<ClientKind> {
    None
}

/// The client's address: what trusted proxies say, else the peer's.
pub fn address(_headers: &Headers, peer: SocketAddr, _trusted: &[IpNet]) -> String {
    peer.to_string()
}
