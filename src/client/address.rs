//! From which address a request came.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::headers::Headers;

/// The client's address: what trusted proxies say, else the peer's `host:port`.
///
/// Fields are looked at only if `peer` is inside `trusted`, for anybody can send them. The first that helps counts:
///
/// | Field | What helps |
/// |---|---|
/// | `X-Forwarded-For` | the first public address of its hops, as it is spelt (port and brackets included) |
/// | `Forwarded` | the first public address of its `for` parameters (RFC 7239), unquoted |
/// | `CF-Connecting-IP`, `True-Client-IP` | any IP address |
/// | `X-Real-IP` | a public address |
pub fn address(headers: &Headers, peer: SocketAddr, trusted: &[IpNet]) -> String {
    // A dual-stack listener sees IPv4 peers as mapped IPv6 ones.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let is_trusted = trusted.iter().any(|network| network.contains(&peer.ip()));
    let said = is_trusted.then(|| said_by_proxy(headers)).flatten();
    said.map_or_else(|| peer.to_string(), str::to_owned)
}

fn said_by_proxy(headers: &Headers) -> Option<&str> {
    let all = |name: &'static str| headers.get_all(name).filter_map(|value| std::str::from_utf8(value).ok());
    let is_public = |address: &&str| ip_of(address).is_some_and(is_public);
    all("x-forwarded-for")
        .flat_map(|value| value.split(',').map(str::trim))
        .find(is_public)
        .or_else(|| all("forwarded").flat_map(forwarded_for).find(is_public))
        .or_else(|| all("cf-connecting-ip").map(str::trim).find(|it| ip_of(it).is_some()))
        .or_else(|| all("true-client-ip").map(str::trim).find(|it| ip_of(it).is_some()))
        .or_else(|| all("x-real-ip").map(str::trim).find(is_public))
}

/// The `for` parameters of a `Forwarded` value: `for=192.0.2.60;proto=http, for="[2001:db8::1]:443"`.
/// Addresses hold no quoted commas or semicolons.
fn forwarded_for(value: &str) -> impl Iterator<Item = &str> {
    value.split([',', ';']).filter_map(|pair| {
        let (name, node) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| node.trim().trim_matches('"'))
    })
}

/// The IP address in `1.2.3.4`, `1.2.3.4:567`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:443`.
fn ip_of(text: &str) -> Option<IpAddr> {
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let alone = text.parse().ok().or_else(in_brackets);
    alone.or_else(|| text.parse().ok().map(|it: SocketAddr| it.ip())).map(|ip| ip.to_canonical())
}

/// Whether an address can be that of a client on the internet: not loopback, private (RFC 1918, fc00::/7),
/// link-local, unspecified, nor carrier-grade NAT (100.64.0.0/10).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            let is_link_local_multicast = [a, b, c] == [224, 0, 0];
            !(ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || ip.is_unspecified()
                || is_shared
                || is_link_local_multicast)
        }
        IpAddr::V6(ip) => {
            let is_link_local_multicast = ip.segments()[0] & 0xff0f == 0xff02;
            !(ip == Ipv6Addr::LOCALHOST
                || ip.is_unspecified()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || is_link_local_multicast)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(fields: &[(&str, &str)], peer: &str) -> String {
        let headers = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let trusted: Vec<IpNet> = vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        address(&headers, peer.parse().unwrap(), &trusted)
    }

    #[test]
    fn a_trusted_proxy_is_believed_in_the_documented_order() {
        let peer = "127.0.0.1:4000";
        for (fields, expected) in [
            (&[("X-Forwarded-For", "10.0.0.5, 8.8.8.8")][..], "8.8.8.8"),
            (&[("X-Forwarded-For", "1.2.3.4:5678")], "1.2.3.4:5678"),
            (&[("X-Forwarded-For", "[2001:db8::1]:443")], "[2001:db8::1]:443"),
            (&[("X-Forwarded-For", "192.168.1.1"), ("x-forwarded-for", ", 9.9.9.9")], "9.9.9.9"),
            (&[("X-Real-IP", "172.70.1.1"), ("Cf-Connecting-Ip", "2.2.2.2")], "2.2.2.2"),
            (&[("True-Client-Ip", "3.3.3.3"), ("Cf-Connecting-Ip", "not an address")], "3.3.3.3"),
            (&[("X-Real-IP", "8.8.4.4")], "8.8.4.4"),
            (&[("X-Real-IP", "192.168.0.9")], "127.0.0.1:4000"),
            (&[("X-Forwarded-For", "192.168.1.1")], "127.0.0.1:4000"),
            (&[("X-Forwarded-For", "100.64.0.1, fe80::1, fd00::1, ::1, unknown, 169.254.0.1")], "127.0.0.1:4000"),
            (&[("Forwarded", "for=10.1.1.1;proto=http, For=\"[2001:db8::7]:80\";by=x")], "[2001:db8::7]:80"),
            (&[("Forwarded", "for=9.9.9.9"), ("X-Forwarded-For", "8.8.8.8")], "8.8.8.8"),
            (&[("X-Forwarded-For", "::ffff:10.0.0.1, 8.8.8.8:<b>, 8.8.8.8:99999, [::1, 1.2.3.4.5")], "127.0.0.1:4000"),
            (&[("X-Forwarded-For", "[2001:db8::1]")], "[2001:db8::1]"),
            (&[("X-Forwarded-For", "2001:db8::1")], "2001:db8::1"),
            (&[], "127.0.0.1:4000"),
        ] {
            assert_eq!(resolved(fields, peer), expected, "{fields:?}");
        }
    }

    #[test]
    fn nobody_else_is_believed() {
        let fields = [("X-Forwarded-For", "8.8.8.8"), ("Cf-Connecting-Ip", "2.2.2.2")];
        assert_eq!(resolved(&fields, "203.0.113.5:99"), "203.0.113.5:99");
        assert_eq!(resolved(&fields, "[2001:db8::5]:99"), "[2001:db8::5]:99");
        assert_eq!(resolved(&fields, "[::ffff:10.0.0.1]:99"), "8.8.8.8");
        assert_eq!(resolved(&[], "[::ffff:10.0.0.1]:99"), "10.0.0.1:99");
    }
}
