//! WebSockets that carry turns: a question, its events, the next question.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tungstenite::WebSocket;
use tungstenite::protocol::{Message, Role};

use super::{Load, Notes};

const ASK: &str = "GET /v1/responses HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer bench\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Turns on all connections until the time is over; each is answered to its end.
pub(crate) fn run(load: &Load, seconds: f64) -> Notes {
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let address = load.address;
    let threads: Vec<_> = (0..load.connections)
        .map(|_| {
            std::thread::spawn(move || {
                let mut notes = Notes::default();
                if let Err(error) = turns(address, until, &mut notes) {
                    notes.failed(error);
                }
                notes
            })
        })
        .collect();
    let mut all = Notes::default();
    threads.into_iter().for_each(|it| all.add(it.join().expect("a socket's thread")));
    all
}

fn turns(address: SocketAddr, until: Instant, notes: &mut Notes) -> Result<(), Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(ASK.as_bytes())?;
    // Nothing follows the head before the first question, so it may be read byte by byte.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    if !head.starts_with(b"HTTP/1.1 101 ") {
        return Err(format!("no socket: {}", String::from_utf8_lossy(&head)).into());
    }
    let mut socket = WebSocket::from_raw_socket(stream, Role::Client, None);
    let question = format!(r#"{{"type":"response.create","model":"m","input":"{}"}}"#, "word ".repeat(190));
    while Instant::now() < until {
        let sent = Instant::now();
        socket.send(Message::text(question.clone()))?;
        let mut first = None;
        loop {
            let message = socket.read()?;
            first.get_or_insert_with(|| sent.elapsed());
            notes.measured.events += 1;
            notes.measured.received_bytes += message.len() as u64;
            if message.to_text()?.starts_with(r#"{"type":"response.completed""#) {
                break;
            }
        }
        notes.whole_us.push(sent.elapsed().as_nanos() as f32 / 1e3);
        notes.first_us.extend(first.map(|it| it.as_nanos() as f32 / 1e3));
        notes.measured.requests += 1;
        notes.measured.sent_bytes += question.len() as u64;
    }
    socket.close(None)?;
    // Until the other side has closed too.
    while socket.read().is_ok() {}
    Ok(())
}
