//! The gateway: what it answers follows from the path, so that what was recorded can be checked.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use tungstenite::WebSocket;
use tungstenite::protocol::Role;

pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
}

/// Between two events of a stream.
const PACE: Duration = Duration::from_millis(7);

impl Gateway {
    /// Serves until the process ends: a thread for each connection.
    pub(crate) fn start() -> Gateway {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                // Recorders are killed: connections end anyhow.
                std::thread::spawn(move || drop(serve(socket)));
            }
        });
        Gateway { address }
    }
}

/// The answer to the request of this number, of so many bytes.
pub(crate) fn body(number: u64, bytes: usize) -> Vec<u8> {
    let mut body = format!("{number}:").into_bytes();
    let mut state = number | 1;
    while body.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        body.push(b'a' + (state >> 59) as u8 % 26);
    }
    body.truncate(bytes);
    body
}

/// An event of the stream of this number.
pub(crate) fn event(number: u64, rank: usize) -> String {
    format!("data: {{\"number\":{number},\"rank\":{rank},\"text\":\"{}\"}}\n\n", "x".repeat(rank % 90))
}

fn serve(mut socket: TcpStream) -> std::io::Result<()> {
    let (head, rest) = crate::client::read_head(&mut socket)?;
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut words = path.trim_start_matches('/').split('/');
    let kind = words.next().unwrap_or_default();
    let number: u64 = words.next().and_then(|it| it.parse().ok()).unwrap_or_default();
    let size: usize = words.next().and_then(|it| it.parse().ok()).unwrap_or_default();
    if kind == "socket" {
        return echo(socket);
    }
    let length = crate::client::content_length(&head).unwrap_or(0);
    let mut got = rest.len();
    let mut buffer = vec![0; 64 * 1024];
    while got < length {
        match socket.read(&mut buffer)? {
            0 => return Ok(()),
            more => got += more,
        }
    }
    if kind == "stream" {
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")?;
        for rank in 0..size {
            let event = event(number, rank);
            socket.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())?;
            std::thread::sleep(PACE);
        }
        return socket.write_all(b"0\r\n\r\n");
    }
    let body = body(number, size);
    write!(socket, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    socket.write_all(&body)
}

/// A WebSocket that says what it hears.
fn echo(mut socket: TcpStream) -> std::io::Result<()> {
    socket.write_all(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    )?;
    let mut socket = WebSocket::from_raw_socket(socket, Role::Server, None);
    while let Ok(message) = socket.read() {
        if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
            break;
        }
    }
    Ok(())
}
