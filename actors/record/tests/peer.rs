//! One end of a WebSocket, written and read frame by frame.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) const TEXT: u8 = 0x1;
pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
/// RSV1: the message is compressed.
pub(super) const COMPRESSED: u8 = 0x40;

const MASK: [u8; 4] = [1, 2, 3, 4];

pub(super) struct Peer {
    stream: TcpStream,
    is_client: bool,
}

impl Peer {
    /// The client's end, once the answer's head is here.
    pub(super) async fn connect(proxy: std::net::SocketAddr, target: &str, offer: &str) -> Peer {
        let mut stream = TcpStream::connect(proxy).await.unwrap();
        let head = format!(
            "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = read_head(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        Peer { stream, is_client: true }
    }

    /// The server's end of a connection that asks for an upgrade.
    pub(super) async fn accept(mut stream: TcpStream, granted: &str) -> Peer {
        read_head(&mut stream).await;
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{granted}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        Peer { stream, is_client: false }
    }

    /// Sends one frame that is a whole message.
    pub(super) async fn send(&mut self, opcode: u8, payload: &[u8]) {
        let mask_bit = if self.is_client { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            length @ 0..=125 => frame.push(mask_bit | length as u8),
            length => {
                frame.push(mask_bit | 127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        if self.is_client {
            frame.extend_from_slice(&MASK);
            frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        } else {
            frame.extend_from_slice(payload);
        }
        self.stream.write_all(&frame).await.unwrap();
    }

    pub(super) async fn say(&mut self, json: Value) {
        self.send(TEXT, json.to_string().as_bytes()).await;
    }

    /// The next frame: opcode with its reserved bits, and payload. `None` at the end.
    pub(super) async fn hear(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await.ok()?;
        let second = self.stream.read_u8().await.ok()?;
        let length = match second & 0x7F {
            126 => u64::from(self.stream.read_u16().await.ok()?),
            127 => self.stream.read_u64().await.ok()?,
            length => u64::from(length),
        };
        let mut mask = [0; 4];
        if second & 0x80 != 0 {
            self.stream.read_exact(&mut mask).await.ok()?;
        }
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).await.ok()?;
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        Some((first & 0x7F, payload))
    }

    /// Waits for an event of this type.
    pub(super) async fn hear_until(&mut self, kind: &str) -> Value {
        loop {
            let (_, payload) = self.hear().await.expect("the socket goes on");
            let event: Value = serde_json::from_slice(&payload).unwrap();
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// Ends this side in order.
    pub(super) async fn close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Ends this side in order, and waits for the other to end its own.
    pub(super) async fn leave(mut self) {
        self.close().await;
        while self.hear().await.is_some() {}
    }
}

pub(super) async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}
