//! Frame vectors of the standards, an independent peer, and any bytes in any chunks.

use std::io::{Cursor, Read, Write};

use proptest::prelude::*;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::{Role, WebSocketConfig};

use super::*;

fn read_in(side: Side, deflate: Option<Deflate>, limits: Limits, chunks: &[&[u8]]) -> (FrameReader, Vec<Message>) {
    let mut reader = FrameReader::new(side, deflate, limits);
    let mut messages = Vec::new();
    for (at, chunk) in chunks.iter().enumerate() {
        reader.push(chunk, at as u64, &mut messages);
    }
    (reader, messages)
}

fn contents(bytes: &[u8]) -> Vec<Content> {
    let (reader, messages) = read_in(Side::Server, None, Limits::default(), &[bytes]);
    assert_eq!(reader.violation(), None);
    messages.into_iter().map(|it| it.content).collect()
}

#[test]
fn the_examples_of_the_standard_are_read() {
    // RFC 6455 §5.7.
    let hello = || Content::Text("Hello".into());
    assert_eq!(contents(&[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]), [hello()]);
    let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(contents(&masked), [hello()]);
    let fragmented = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
    assert_eq!(contents(&fragmented), [hello()]);
    let ping = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let both = [Content::Ping(b"Hello".to_vec()), Content::Pong(b"Hello".to_vec())];
    assert_eq!(contents(&[&ping[..], &pong].concat()), both);
    let long = [&[0x82, 0x7E, 0x01, 0x00][..], &[7; 256]].concat();
    assert_eq!(contents(&long), [Content::Binary(vec![7; 256])]);
    let longer = [&[0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0][..], &[7; 65_536]].concat();
    assert_eq!(contents(&longer), [Content::Binary(vec![7; 65_536])]);
}

#[test]
fn a_close_tells_code_and_reason() {
    let close = |payload: &[u8]| contents(&[&[0x88, payload.len() as u8][..], payload].concat()).remove(0);
    assert_eq!(close(b""), Content::Close { code: None, reason: String::new() });
    assert_eq!(close(b"\x03\xE8bye"), Content::Close { code: Some(1000), reason: "bye".into() });
    assert_eq!(close(b"\x03\xE8"), Content::Close { code: Some(1000), reason: String::new() });
}

#[test]
fn a_message_has_the_time_of_its_first_byte_and_the_size_of_its_frames() {
    let chunks: [&[u8]; 5] = [b"\x01", b"\x03He", b"l\x89\x01!\x80", b"\x02", b"lo"];
    let (reader, messages) = read_in(Side::Server, None, Limits::default(), &chunks);
    let ping = Message { at_us: 2, wire_bytes: 3, length: 1, content: Content::Ping(b"!".to_vec()), damage: None };
    let text = Message { at_us: 0, wire_bytes: 9, length: 5, content: Content::Text("Hello".into()), damage: None };
    assert_eq!(messages, [ping, text]);
    let expected = Counts { wire_bytes: 12, frames: 3, messages: 1, pings: 1, ..Counts::default() };
    assert_eq!(reader.counts(), expected);
}

#[test]
fn after_a_violation_bytes_are_only_counted() {
    let soup = [&[0x81, 1, b'a'][..], &[0xF3, 1, 2, 3], &[0x81, 1, b'b']].concat();
    let (reader, messages) = read_in(Side::Server, None, Limits::default(), &[&soup, &[0x81, 1, b'c']]);
    assert_eq!(messages.len(), 1);
    assert_eq!(reader.violation(), Some(Violation::ReservedOpcode(3)));
    assert_eq!(reader.counts().unread_bytes, 10);
    assert_eq!(reader.counts().wire_bytes, 13);
}

#[test]
fn compression_that_was_not_negotiated_is_a_violation() {
    let compressed = [0xC1, 0x07, 0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    let (reader, _) = read_in(Side::Server, None, Limits::default(), &[&compressed]);
    assert_eq!(reader.violation(), Some(Violation::ReservedBits(0b100)));
    let (_, messages) = read_in(Side::Server, Some(Deflate::default()), Limits::default(), &[&compressed]);
    assert_eq!(messages[0].content, Content::Text("Hello".into()));
    assert_eq!((messages[0].wire_bytes, messages[0].length), (9, 5));
}

#[test]
fn a_message_beyond_the_limit_is_cut_at_a_character() {
    let text = "grün".as_bytes();
    let frame = [&[0x81, text.len() as u8][..], text].concat();
    let limits = Limits { message_bytes: 3, ..Limits::default() };
    let (_, messages) = read_in(Side::Server, None, limits, &[&frame]);
    assert_eq!(messages[0].content, Content::Text("gr".into()));
    assert_eq!((messages[0].damage, messages[0].length), (Some(Damage::TooLong), 5));
}

#[test]
fn text_that_is_not_utf8_is_kept_with_replacements() {
    let (_, messages) = read_in(Side::Server, None, Limits::default(), &[&[0x81, 2, 0xFF, b'a']]);
    assert_eq!(messages[0].content, Content::Text("\u{FFFD}a".into()));
    assert_eq!(messages[0].damage, Some(Damage::NotUtf8));
}

#[test]
fn bytes_missed_inside_a_frame_cost_its_message_only() {
    let mut reader = FrameReader::new(Side::Server, None, Limits::default());
    let mut messages = Vec::new();
    reader.push(&[0x81, 5, b'H', b'e'], 0, &mut messages);
    reader.skip(2, &mut messages);
    reader.push(&[b'o', 0x81, 2, b'o', b'k'], 1, &mut messages);
    assert_eq!(messages[0].content, Content::Text("He".into()));
    assert_eq!((messages[0].damage, messages[0].length), (Some(Damage::Gap), 5));
    assert_eq!(messages[1].content, Content::Text("ok".into()));
    assert_eq!((reader.counts().missed_bytes, reader.counts().wire_bytes), (2, 11));
    reader.skip(1, &mut messages);
    assert_eq!(reader.violation(), Some(Violation::Gap));
    reader.push(&[0x81, 2, b'n', b'o'], 2, &mut messages);
    assert_eq!(messages.len(), 2);
}

#[test]
fn a_gap_that_ends_a_frame_ends_its_message() {
    let mut reader = FrameReader::new(Side::Server, None, Limits::default());
    let mut messages = Vec::new();
    reader.push(&[0x81, 5, b'H', b'e'], 0, &mut messages);
    reader.skip(3, &mut messages);
    assert_eq!(messages[0].damage, Some(Damage::Gap));
}

/// A stream that a peer writes to and reads from.
#[derive(Default)]
struct Wire {
    written: Vec<u8>,
    to_read: Cursor<Vec<u8>>,
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.to_read.read(into)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_an_independent_peer_sends_is_read() {
    for (role, side) in [(Role::Client, Side::Client), (Role::Server, Side::Server)] {
        let mut peer = tungstenite::WebSocket::from_raw_socket(Wire::default(), role, Some(WebSocketConfig::default()));
        let fragment = |bytes: &'static [u8], opcode, is_final| {
            tungstenite::Message::Frame(tungstenite::protocol::frame::Frame::message(bytes, opcode, is_final))
        };
        let big = "x".repeat(70_000);
        peer.send(tungstenite::Message::text("grün")).unwrap();
        peer.send(tungstenite::Message::text(big.clone())).unwrap();
        peer.send(fragment(b"one ", OpCode::Data(Data::Text), false)).unwrap();
        peer.send(tungstenite::Message::Ping(b"?"[..].into())).unwrap();
        peer.send(fragment(b"two", OpCode::Data(Data::Continue), true)).unwrap();
        peer.send(tungstenite::Message::binary(vec![9; 300])).unwrap();
        peer.close(None).unwrap();
        let wire = &peer.get_ref().written;
        for size in [1, 2, 3, 7, 4096, wire.len()] {
            let chunks: Vec<&[u8]> = wire.chunks(size).collect();
            let (reader, messages) = read_in(side, None, Limits::default(), &chunks);
            let contents: Vec<Content> = messages.iter().map(|it| it.content.clone()).collect();
            assert_eq!(
                contents,
                [
                    Content::Text("grün".into()),
                    Content::Text(big.clone()),
                    Content::Ping(b"?".to_vec()),
                    Content::Text("one two".into()),
                    Content::Binary(vec![9; 300]),
                    Content::Close { code: None, reason: String::new() },
                ]
            );
            assert_eq!(messages.iter().map(|it| it.wire_bytes).sum::<u64>(), wire.len() as u64);
            assert_eq!(reader.counts().frames, 7);
        }
    }
}

/// One message to be sent: its content in fragments, and what stands between them.
#[derive(Clone, Debug)]
struct Sent {
    fragments: Vec<Vec<u8>>,
    is_text: bool,
    is_compressed: bool,
    ping_between: bool,
}

impl Sent {
    fn content(&self) -> Content {
        let bytes = self.fragments.concat();
        match self.is_text {
            true => Content::Text(String::from_utf8(bytes).unwrap()),
            false => Content::Binary(bytes),
        }
    }
}

fn frame(out: &mut Vec<u8>, opcode: OpCode, rsv1: bool, is_final: bool, mask: Option<[u8; 4]>, payload: &[u8]) {
    let header = FrameHeader { is_final, rsv1, opcode, mask, ..FrameHeader::default() };
    header.format(payload.len() as u64, out).unwrap();
    let at = out.len();
    out.extend_from_slice(payload);
    for (at, byte) in out[at..].iter_mut().enumerate() {
        *byte ^= mask.unwrap_or_default()[at % 4];
    }
}

/// The messages on the wire, compressed with one window or a new one for each.
fn on_the_wire(sent: &[Sent], mask: Option<[u8; 4]>, has_takeover: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut deflate = flate2::Compress::new(flate2::Compression::default(), false);
    for message in sent {
        let mut fragments = message.fragments.clone();
        if message.is_compressed {
            let mut whole = Vec::with_capacity(64 * 1024);
            let content = fragments.concat();
            deflate.compress_vec(&content, &mut whole, flate2::FlushCompress::Sync).unwrap();
            assert!(whole.len() < whole.capacity(), "the message is flushed");
            if !has_takeover {
                deflate.reset();
            }
            // An empty message may flush to nothing; a stored empty block stands for it (RFC 7692 §7.2.3.6).
            match whole.strip_suffix(&[0, 0, 0xFF, 0xFF]) {
                Some(stripped) => whole.truncate(stripped.len()),
                None => whole = vec![0],
            }
            let size = whole.len().div_ceil(fragments.len()).max(1);
            fragments = whole.chunks(size).map(<[u8]>::to_vec).collect();
        }
        let last = fragments.len() - 1;
        for (at, fragment) in fragments.iter().enumerate() {
            let data = match (at, message.is_text) {
                (0, true) => Data::Text,
                (0, false) => Data::Binary,
                _ => Data::Continue,
            };
            frame(&mut out, OpCode::Data(data), message.is_compressed && at == 0, at == last, mask, fragment);
            if message.ping_between {
                frame(&mut out, OpCode::Control(Control::Ping), false, true, mask, b"!");
            }
        }
    }
    out
}

fn any_message() -> impl Strategy<Value = Sent> {
    let fragments = prop::collection::vec("[a-zé ]{0,200}", 1..4);
    (fragments, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(fragments, is_text, is_compressed, ping_between)| Sent {
            fragments: fragments.into_iter().map(String::into_bytes).collect(),
            is_text,
            is_compressed,
            ping_between,
        },
    )
}

fn cut<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|it| it.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|it| &bytes[it[0]..it[1]]).collect()
}

proptest! {
    #[test]
    fn any_chunking_gives_the_messages_that_were_sent(
        sent in prop::collection::vec(any_message(), 1..6),
        mask in any::<Option<[u8; 4]>>(),
        has_takeover in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let wire = on_the_wire(&sent, mask, has_takeover);
        let deflate = Deflate { server_no_context_takeover: !has_takeover, ..Deflate::default() };
        let (reader, messages) = read_in(Side::Server, Some(deflate), Limits::default(), &cut(&wire, &cuts));
        prop_assert_eq!(reader.violation(), None);
        let expected: Vec<Content> = sent.iter().map(Sent::content).collect();
        let got: Vec<Content> = messages.into_iter().filter(|it| !matches!(it.content, Content::Ping(_)))
            .inspect(|it| assert_eq!(it.damage, None)).map(|it| it.content).collect();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn any_bytes_are_read_alike_in_any_chunks(
        soup in prop::collection::vec(any::<u8>(), 0..600),
        start in prop::sample::select(vec![vec![], vec![0x81, 0x05], vec![0xC1, 0x7E, 0x01, 0x00], vec![0x02, 0xFE, 0, 9]]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        is_compressed in any::<bool>(),
    ) {
        let bytes = [start, soup].concat();
        let deflate = is_compressed.then(Deflate::default);
        let limits = Limits { message_bytes: 50, ..Limits::default() };
        let whole = read_in(Side::Client, deflate, limits, &[&bytes]);
        let mut parts = read_in(Side::Client, deflate, limits, &cut(&bytes, &cuts));
        for (message, other) in parts.1.iter_mut().zip(&whole.1) {
            message.at_us = other.at_us;
        }
        prop_assert_eq!(&parts.1, &whole.1);
        prop_assert_eq!(parts.0.violation(), whole.0.violation());
        prop_assert_eq!(parts.0.counts(), whole.0.counts());
    }
}
