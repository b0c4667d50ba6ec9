//! Where the program listens and where it forwards to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is not an address of the wanted form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAddress(&'static str);

/// A listener's address: `:7861` (every interface), `host:port` or `[::1]:80`. Port 0 takes a free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// The interface.
    pub host: ListenHost,
    /// The TCP port; 0 = any free one.
    pub port: u16,
}

/// The interface a listener binds to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenHost {
    /// All interfaces, IPv4 and IPv6.
    Any,
    /// One address.
    Ip(IpAddr),
    /// A name that is resolved when the socket is bound.
    Name(Box<str>),
}

impl ListenAddress {
    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            ListenHost::Any => false,
            ListenHost::Ip(ip) => ip.is_loopback(),
            ListenHost::Name(name) => is_localhost(name),
        }
    }

    /// `HOST:PORT` by which programs on the same machine reach it.
    pub fn from_here(&self) -> String {
        let host = match self.host {
            ListenHost::Any => ListenHost::Ip(Ipv4Addr::LOCALHOST.into()),
            ListenHost::Ip(IpAddr::V4(ip)) if ip.is_unspecified() => ListenHost::Ip(Ipv4Addr::LOCALHOST.into()),
            ListenHost::Ip(IpAddr::V6(ip)) if ip.is_unspecified() => ListenHost::Ip(Ipv6Addr::LOCALHOST.into()),
            ref other => other.clone(),
        };
        ListenAddress { host, port: self.port }.to_string()
    }
}

impl FromStr for ListenAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<ListenAddress, BadAddress> {
        let (host, port) = text.rsplit_once(':').ok_or(BadAddress("it has no :PORT"))?;
        let port = parse_port(port)?;
        let host = match host {
            "" => ListenHost::Any,
            _ => match parse_host(host)? {
                Host::Ip(ip) => ListenHost::Ip(ip),
                Host::Name => ListenHost::Name(host.into()),
            },
        };
        Ok(ListenAddress { host, port })
    }
}

/// The form that [`FromStr`] reads.
impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            ListenHost::Any => {}
            ListenHost::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]")?,
            ListenHost::Ip(IpAddr::V4(ip)) => write!(f, "{ip}")?,
            ListenHost::Name(name) => f.write_str(name)?,
        }
        write!(f, ":{}", self.port)
    }
}

/// The gateway that requests are forwarded to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Whether to speak TLS.
    pub https: bool,
    /// Name or address to connect to; an IPv6 address without its brackets.
    pub host: Box<str>,
    /// TCP port: the one given, else 80 or 443.
    pub port: u16,
    /// What the `Host` field says: as configured, the scheme's own port left out (RFC 9110 §4.2.3).
    pub authority: Box<str>,
    /// Stands before every request target: empty, or `/…` without a slash at its end.
    pub path_prefix: Box<str>,
    /// As configured.
    pub text: Arc<str>,
}

impl Upstream {
    /// Whether it is on this machine's loopback interface, as far as its name tells.
    pub fn is_loopback(&self) -> bool {
        is_localhost(&self.host) || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

/// `http://` or `https://`, a host, perhaps a port and a path; nothing else (RFC 3986 §3).
impl FromStr for Upstream {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Upstream, BadAddress> {
        let (scheme, rest) = text.split_once("://").ok_or(BadAddress("it does not begin with http:// or https://"))?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(BadAddress("its scheme is neither http nor https")),
        };
        if rest.contains('#') {
            return Err(BadAddress("it has a fragment"));
        }
        if rest.contains('?') {
            return Err(BadAddress("it has a query"));
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(BadAddress("it has a user name or password"));
        }
        let own_port = if https { 443 } else { 80 };
        // The last colon begins a port unless it is within an IPv6 address's brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, parse_port(port)?),
            _ => (authority, own_port),
        };
        if host.is_empty() {
            return Err(BadAddress("it has no host"));
        }
        if port == 0 {
            return Err(BadAddress("port 0 cannot be connected to"));
        }
        parse_host(host)?;
        let path_prefix = path.trim_end_matches('/');
        if !is_path(path_prefix) {
            return Err(BadAddress("its path has characters that a URL cannot hold"));
        }
        Ok(Upstream {
            https,
            host: host.trim_start_matches('[').trim_end_matches(']').into(),
            port,
            authority: if port == own_port { host.into() } else { authority.into() },
            path_prefix: path_prefix.into(),
            text: text.into(),
        })
    }
}

/// As configured.
impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

enum Host {
    Ip(IpAddr),
    Name,
}

fn parse_host(host: &str) -> Result<Host, BadAddress> {
    if let Some(inner) = host.strip_prefix('[') {
        let ip = inner.strip_suffix(']').and_then(|it| it.parse::<Ipv6Addr>().ok());
        return ip.map(|ip| Host::Ip(ip.into())).ok_or(BadAddress("what stands in brackets is not an IPv6 address"));
    }
    if host.contains(':') {
        return Err(BadAddress("an IPv6 address must stand in brackets, before :PORT"));
    }
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return Ok(Host::Ip(ip.into()));
    }
    if host.bytes().all(|it| it.is_ascii_digit() || it == b'.') {
        return Err(BadAddress("its host is not an IPv4 address"));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-' || it == b'_')
    };
    if name.len() <= 253 && name.split('.').all(is_label) {
        Ok(Host::Name)
    } else {
        Err(BadAddress("its host is not a host name (letters, digits, '-', '_' and '.')"))
    }
}

fn parse_port(text: &str) -> Result<u16, BadAddress> {
    let digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or(BadAddress("its port is not a number from 0 to 65535"))
}

fn is_localhost(name: &str) -> bool {
    name.eq_ignore_ascii_case("localhost")
}

/// RFC 3986 §3.3: segments of `pchar` with whole percent escapes.
fn is_path(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
        _ => byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(byte),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(text: &str) -> Upstream {
        text.parse().unwrap()
    }

    #[test]
    fn every_listen_form_is_read_and_shown_alike() {
        for (text, loopback) in
            [(":7861", false), ("127.0.0.1:0", true), ("[::1]:80", true), ("localhost:1", true), ("db_1.lan:9", false)]
        {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(address.is_loopback(), loopback, "{text}");
        }
        assert_eq!(":7861".parse::<ListenAddress>().unwrap().host, ListenHost::Any);
    }

    #[test]
    fn a_listener_on_all_interfaces_is_reached_by_loopback() {
        for (text, here) in [
            (":7862", "127.0.0.1:7862"),
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:2", "[::1]:2"),
            ("10.1.2.3:4", "10.1.2.3:4"),
            ("db.lan:9", "db.lan:9"),
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().from_here(), here);
        }
    }

    #[test]
    fn what_cannot_be_listened_on_is_refused() {
        for text in [
            "",
            "7861",
            "host",
            "host:",
            ":http",
            ":65536",
            ":-1",
            ":+1",
            "::1:80",
            "[::1]",
            "[x]:1",
            "a b:1",
            "300.1.1.1:1",
            " :1",
            "[]:1",
            "-..:1",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_upstream_is_taken_apart() {
        let it = upstream("https://Gateway.example/api/v2/");
        assert_eq!((it.https, &*it.host, it.port), (true, "Gateway.example", 443));
        assert_eq!((&*it.authority, &*it.path_prefix), ("Gateway.example", "/api/v2"));
        assert_eq!(it.to_string(), "https://Gateway.example/api/v2/");

        let it = upstream("HTTP://[::1]:8080");
        assert_eq!((it.https, &*it.host, it.port, &*it.authority), (false, "::1", 8080, "[::1]:8080"));
        assert_eq!((&*it.path_prefix, it.is_loopback()), ("", true));

        let it = upstream("http://[::1]/");
        assert_eq!((it.port, &*it.authority, &*it.path_prefix), (80, "[::1]", ""));
    }

    #[test]
    fn the_schemes_own_port_is_left_out_of_host() {
        assert_eq!(&*upstream("http://a:80").authority, "a");
        assert_eq!(&*upstream("https://a:443/x").authority, "a");
        assert_eq!(&*upstream("https://a:80").authority, "a:80");
    }

    #[test]
    fn what_is_no_gateway_is_refused_with_the_reason() {
        for (text, reason) in [
            ("localhost:9", "it does not begin"),
            ("", "it does not begin"),
            ("ftp://a", "its scheme"),
            ("http://", "it has no host"),
            ("http:///x", "it has no host"),
            ("http://:80", "it has no host"),
            ("http://a:0", "port 0"),
            ("http://a:", "its port"),
            ("http://u:p@a", "it has a user name"),
            ("http://a/?x=1", "it has a query"),
            ("http://a/#x", "it has a fragment"),
            ("http://a/b c", "its path"),
            ("http://a/%zz", "its path"),
            ("http://a/%4", "its path"),
            ("http://bücher.example", "its host"),
            ("http://a b", "its host"),
            ("http://1.2.3", "its host is not an IPv4"),
        ] {
            let refused = text.parse::<Upstream>().unwrap_err().to_string();
            assert!(refused.starts_with(reason), "{text}: {refused}");
        }
    }
}
