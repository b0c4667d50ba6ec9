//! A socket's bytes give the same messages whole and in chunks, and a reader of any bytes keeps its limits.
#![no_main]

use api_log::protocol::Protocol;
use api_log::socket::{SocketLimits, SocketReader};
use api_log::wire::websocket::{Counts, Deflate, FrameReader, Limits, Message, Side, Violation};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { message_bytes: 4096, deflate_ratio: u64::MAX };

fuzz_target!(|input: &[u8]| {
    let &[options, size, ref bytes @ ..] = input else { return };
    let has = |bit: u8| options & (1 << bit) != 0;
    let size = usize::from(size).max(1);
    let deflate = has(0).then(|| Deflate { server_no_context_takeover: has(1), ..Deflate::default() });
    assert_eq!(messages(bytes, bytes.len().max(1), deflate), messages(bytes, size, deflate));

    let protocol = if has(2) { Protocol::Responses } else { Protocol::Realtime };
    let mut limits = SocketLimits { messages: LIMITS, ..SocketLimits::default() };
    limits.turns.open_bytes = 8192;
    limits.parts.part_bytes = 8192;
    let mut socket = SocketReader::new(protocol, deflate, limits);
    let mut pieces = Vec::new();
    for (at, chunk) in bytes.chunks(size).enumerate() {
        let side = if has(3) && at % 2 == 0 { Side::Client } else { Side::Server };
        if has(4) && at % 5 == 4 {
            socket.skip(side, chunk.len() as u64, &mut pieces);
        } else {
            socket.push(side, chunk, at as u64, &mut pieces);
        }
    }
    let summary = socket.finish(bytes.len() as u64, &mut pieces);
    assert_eq!(summary.client.wire_bytes + summary.server.wire_bytes, bytes.len() as u64);
    assert!(!pieces.is_empty());
});

fn messages(bytes: &[u8], size: usize, deflate: Option<Deflate>) -> (Vec<Message>, Counts, Option<Violation>) {
    let mut reader = FrameReader::new(Side::Server, deflate, LIMITS);
    let mut messages = Vec::new();
    for chunk in bytes.chunks(size) {
        reader.push(chunk, 0, &mut messages);
    }
    (messages, reader.counts(), reader.violation())
}
