//! A client of a WebSocket: some turns, each read to its end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tungstenite::WebSocket;
use tungstenite::protocol::Role;

use crate::traffic::{Kind, Sent, Shared};

/// How long an answer may take; nothing waits for it when all is well.
const DEADLINE: Duration = Duration::from_secs(60);

/// Opens a socket, talks for some turns, closes it.
pub(crate) fn talk(shared: &Shared, random: &mut StdRng) {
    let number = shared.number();
    let turns = random.random_range(1..5);
    let words = random.random_range(3..30);
    let mut sent = Sent {
        number,
        kind: Kind::Socket,
        status: 101,
        request: String::new(),
        answer: None,
        turns: 0,
        delivered: None,
    };
    let went = turns_of(shared, &mut sent, turns, words);
    shared.note(sent, went);
}

fn turns_of(shared: &Shared, sent: &mut Sent, turns: u64, words: usize) -> Result<(), String> {
    let mut socket = open(shared, sent.number)?;
    for turn in 0..turns {
        let text = format!("mark{}turn{turn} {}", sent.number, "word ".repeat(words));
        let asked = json!({"type": "response.create", "model": "gpt-5", "input": text}).to_string();
        socket.send(asked.into()).map_err(|error| format!("turn {turn} cannot be asked: {error}"))?;
        loop {
            let said = socket.read().map_err(|error| format!("turn {turn} broke off: {error}"))?;
            let said: Value = match said.to_text().map(serde_json::from_str) {
                Ok(Ok(said)) => said,
                other => return Err(format!("turn {turn}: {other:?}")),
            };
            match said["type"].as_str() {
                Some("response.completed") => break,
                Some("error") => return Err(format!("turn {turn}: {said}")),
                _ => {}
            }
        }
        sent.turns += 1;
    }
    socket.close(None).map_err(|error| format!("it cannot be closed: {error}"))?;
    while socket.read().is_ok() {}
    sent.delivered = Some(Instant::now());
    Ok(())
}

fn open(shared: &Shared, number: u64) -> Result<WebSocket<TcpStream>, String> {
    let said = |error: std::io::Error| format!("the socket does not open: {error}");
    let mut stream = TcpStream::connect(shared.proxy).map_err(said)?;
    stream.set_read_timeout(Some(DEADLINE)).map_err(said)?;
    write!(
        stream,
        "GET /v1/responses HTTP/1.1\r\nHost: gw\r\nx-number: {number}\r\nAuthorization: Bearer chaos-socket\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .map_err(said)?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).map_err(said)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    match head.starts_with("HTTP/1.1 101 ") {
        true => Ok(WebSocket::from_raw_socket(stream, Role::Client, None)),
        false => Err(format!("the socket does not open: {head}")),
    }
}
