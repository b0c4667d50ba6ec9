//! The records of a log: what happened, when, and the bytes of it.
//!
//! A record is its kind (one byte), its time in microseconds since the exchange began, the length of its payload
//! (both LEB128), and the payload. Payloads of neighbours of one kind that carry bytes are read as one: whoever writes
//! may split them where a chunk ends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::exchange::End;
use crate::headers::Headers;
use crate::ids::{TraceId, UnixMillis};

/// The longest head of a record: kind, time and length.
pub const MOST_HEAD_BYTES: usize = 1 + 10 + 5;
/// The version of the format of logs.
const VERSION: u8 = 1;

/// What a record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The exchange begins: a [`Begin`].
    Begin = 1,
    /// Bytes of the request's head.
    RequestHead = 2,
    /// Bytes of the request's body.
    RequestBody = 3,
    /// The answer is here: its status, two bytes, little-endian.
    Answer = 4,
    /// Bytes of the answer's head.
    AnswerHead = 5,
    /// Bytes of the answer's body.
    ResponseBody = 6,
    /// The request's trailers ([`fields`]).
    RequestTrailers = 7,
    /// The answer's trailers.
    ResponseTrailers = 8,
    /// From here on bytes of the request's body pass unrecorded. Payload: how many (LEB128), those before included.
    RequestCut = 9,
    /// The same of the answer's body.
    ResponseCut = 10,
    /// It has ended: an [`Ended`].
    End = 11,
    /// It has become a socket.
    Socket = 12,
    /// Bytes of a socket from the client.
    SocketClient = 13,
    /// Bytes of a socket from the server.
    SocketServer = 14,
    /// What a plugin did ([`Note`](crate::plugin::note::Note)s, behind each other).
    Plugin = 15,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 15] = [
        Kind::Begin,
        Kind::RequestHead,
        Kind::RequestBody,
        Kind::Answer,
        Kind::AnswerHead,
        Kind::ResponseBody,
        Kind::RequestTrailers,
        Kind::ResponseTrailers,
        Kind::RequestCut,
        Kind::ResponseCut,
        Kind::End,
        Kind::Socket,
        Kind::SocketClient,
        Kind::SocketServer,
        Kind::Plugin,
    ];

    fn of(byte: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|it| *it as u8 == byte)
    }
}

/// The head of a record, ready to be written before its payload.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    bytes: [u8; MOST_HEAD_BYTES],
    length: usize,
}

impl Head {
    /// The head of a record with a payload of so many bytes.
    pub fn new(kind: Kind, at_us: u64, payload_bytes: u32) -> Head {
        let mut bytes = [0; MOST_HEAD_BYTES];
        bytes[0] = kind as u8;
        let time_end = 1 + put_number(&mut bytes[1..], at_us);
        let length = time_end + put_number(&mut bytes[time_end..], payload_bytes.into());
        Head { bytes, length }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// A record of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'l> {
    /// What it tells.
    pub kind: Kind,
    /// Microseconds since the exchange began.
    pub at_us: u64,
    /// The rest.
    pub payload: &'l [u8],
}

/// The records of a log's bytes, up to the first that is not whole or not one.
#[derive(Clone, Debug)]
pub struct Records<'l> {
    rest: &'l [u8],
}

impl<'l> Records<'l> {
    /// Those of these bytes.
    pub fn of(bytes: &'l [u8]) -> Records<'l> {
        Records { rest: bytes }
    }

    /// What was not read: empty once all were whole.
    pub fn rest(&self) -> &'l [u8] {
        self.rest
    }
}

impl<'l> Iterator for Records<'l> {
    type Item = Record<'l>;

    fn next(&mut self) -> Option<Record<'l>> {
        let (&kind, rest) = self.rest.split_first()?;
        let kind = Kind::of(kind)?;
        let (at_us, rest) = take_number(rest)?;
        let (length, rest) = take_number(rest)?;
        let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        self.rest = rest;
        Some(Record { kind, at_us, payload })
    }
}

/// The payload of [`Kind::Begin`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The exchange's identity.
    pub id: TraceId,
    /// When its request head had been received.
    pub ts_start: UnixMillis,
    /// Who connected.
    pub peer: SocketAddr,
    /// The configured upstream.
    pub upstream: String,
}

impl Begin {
    /// Its payload. Allocates once.
    pub fn encode(id: TraceId, ts_start: UnixMillis, peer: SocketAddr, upstream: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(44 + upstream.len());
        out.push(VERSION);
        out.extend_from_slice(&id.to_bytes());
        out.extend_from_slice(&ts_start.0.to_le_bytes());
        match peer.ip() {
            IpAddr::V4(ip) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(6);
                out.extend_from_slice(&ip.octets());
            }
        }
        out.extend_from_slice(&peer.port().to_le_bytes());
        out.extend_from_slice(upstream.as_bytes());
        out
    }

    /// Read back; `None` if it is not one of this version.
    pub fn decode(payload: &[u8]) -> Option<Begin> {
        let rest = payload.strip_prefix(&[VERSION])?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (ts_start, rest) = rest.split_first_chunk::<8>()?;
        let (&family, rest) = rest.split_first()?;
        let (ip, rest) = match family {
            4 => {
                let (ip, rest) = rest.split_first_chunk::<4>()?;
                (IpAddr::V4(Ipv4Addr::from(*ip)), rest)
            }
            6 => {
                let (ip, rest) = rest.split_first_chunk::<16>()?;
                (IpAddr::V6(Ipv6Addr::from(*ip)), rest)
            }
            _ => return None,
        };
        let (port, upstream) = rest.split_first_chunk::<2>()?;
        Some(Begin {
            id: TraceId::from_bytes(*id),
            ts_start: UnixMillis(i64::from_le_bytes(*ts_start)),
            peer: SocketAddr::new(ip, u16::from_le_bytes(*port)),
            upstream: String::from_utf8(upstream.to_vec()).ok()?,
        })
    }
}

/// The payload of [`Kind::End`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub end: End,
    /// Bytes of the request's body that passed.
    pub request_bytes: u64,
    /// Bytes of the answer's body that passed.
    pub response_bytes: u64,
    /// What went wrong.
    pub error: Option<Box<str>>,
}

impl Ended {
    /// Its payload.
    pub fn encode(&self) -> Vec<u8> {
        let error = self.error.as_deref();
        let mut out = Vec::with_capacity(2 + 20 + error.map_or(0, str::len));
        let end = End::ALL.iter().position(|it| *it == self.end).unwrap_or_default();
        out.push(end as u8);
        out.push(u8::from(error.is_some()));
        push_number(&mut out, self.request_bytes);
        push_number(&mut out, self.response_bytes);
        out.extend_from_slice(error.unwrap_or_default().as_bytes());
        out
    }

    /// Read back.
    pub fn decode(payload: &[u8]) -> Option<Ended> {
        let (&[end, has_error], rest) = payload.split_first_chunk::<2>()?;
        let (request_bytes, rest) = take_number(rest)?;
        let (response_bytes, rest) = take_number(rest)?;
        let error = (has_error != 0).then(|| String::from_utf8_lossy(rest).into());
        Some(Ended { end: *End::ALL.get(usize::from(end))?, request_bytes, response_bytes, error })
    }
}

/// The payload of trailers: each field's name and value with their lengths.
pub fn fields<'f>(fields: impl Iterator<Item = (&'f str, &'f [u8])>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        push_number(&mut out, name.len() as u64);
        out.extend_from_slice(name.as_bytes());
        push_number(&mut out, value.len() as u64);
        out.extend_from_slice(value);
    }
    out
}

/// Trailers read back, up to the first that is not whole.
pub fn read_fields(mut payload: &[u8]) -> Headers {
    let mut fields = Headers::new();
    let mut next = || -> Option<(&[u8], &[u8])> {
        let (name, rest) = take_bytes(payload)?;
        let (value, rest) = take_bytes(rest)?;
        payload = rest;
        Some((name, value))
    };
    while let Some((name, value)) = next() {
        fields.push(&String::from_utf8_lossy(name), value);
    }
    fields
}

/// A number as LEB128.
pub fn number(number: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(10);
    push_number(&mut out, number);
    out
}

/// A number read back, and what follows it.
pub fn take_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (at, &byte) in bytes.iter().enumerate().take(10) {
        let part = u64::from(byte & 0x7f);
        if at == 9 && part > 1 {
            return None;
        }
        number |= part << (7 * at);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[at + 1..]));
        }
    }
    None
}

fn take_bytes(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = take_number(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut bytes = [0; 10];
    let length = put_number(&mut bytes, number);
    out.extend_from_slice(&bytes[..length]);
}

/// Writes a number and says how many bytes it took.
fn put_number(room: &mut [u8], mut number: u64) -> usize {
    let mut length = 0;
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        room[length] = if number == 0 { byte } else { byte | 0x80 };
        length += 1;
        if number == 0 {
            return length;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log(records: &[(usize, u64, Vec<u8>)]) -> Vec<u8> {
        let mut log = Vec::new();
        for (kind, at_us, payload) in records {
            log.extend_from_slice(Head::new(Kind::ALL[*kind], *at_us, payload.len() as u32).as_bytes());
            log.extend_from_slice(payload);
        }
        log
    }

    #[test]
    fn begin_and_end_are_read_back() {
        let id = TraceId::from_bytes([7; 16]);
        for peer in ["127.0.0.1:80", "[2001:db8::1]:65535"] {
            let begin =
                Begin { id, ts_start: UnixMillis(-5), peer: peer.parse().unwrap(), upstream: "http://é".into() };
            let payload = Begin::encode(id, begin.ts_start, begin.peer, &begin.upstream);
            assert_eq!(Begin::decode(&payload), Some(begin));
        }
        for error in [None, Some("".into()), Some("it broke".into())] {
            for end in End::ALL {
                let ended = Ended { end, request_bytes: 0, response_bytes: u64::MAX, error: error.clone() };
                assert_eq!(Ended::decode(&ended.encode()), Some(ended));
            }
        }
        assert_eq!(Begin::decode(&[2; 60]), None, "of another version");
    }

    proptest! {
        #[test]
        fn a_log_that_is_cut_anywhere_gives_the_whole_records_before_the_cut(
            records in prop::collection::vec((0..Kind::ALL.len(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..300)), 0..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = log(&records);
            let cut = cut.index(bytes.len() + 1);
            let mut whole = 0;
            let mut end = 0;
            for record in &records {
                end += log(std::slice::from_ref(record)).len();
                whole += usize::from(end <= cut);
            }
            let read: Vec<_> = Records::of(&bytes[..cut])
                .map(|it| (it.kind, it.at_us, it.payload.to_vec()))
                .collect();
            let expected: Vec<_> = records[..whole].iter().map(|(kind, at, payload)| (Kind::ALL[*kind], *at, payload.clone())).collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut records = Records::of(&bytes);
            for record in records.by_ref() {
                let _ = (Begin::decode(record.payload), Ended::decode(record.payload), read_fields(record.payload));
            }
            prop_assert!(bytes.ends_with(records.rest()));
        }

        #[test]
        fn trailers_are_read_back(pairs in prop::collection::vec(("[a-z-]{1,9}", prop::collection::vec(any::<u8>(), 0..20)), 0..5)) {
            let payload = fields(pairs.iter().map(|(name, value)| (name.as_str(), value.as_slice())));
            let read = read_fields(&payload);
            let read: Vec<_> = read.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
            prop_assert_eq!(read, pairs);
        }
    }
}
