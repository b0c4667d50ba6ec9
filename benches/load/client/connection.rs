//! One connection of a client: a request goes out, its answer is counted.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::chunked::Chunked;

pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

/// An answer that has come whole.
pub(crate) struct Answer {
    /// When the first byte of its body was there.
    pub(crate) first: Instant,
    /// Bytes of its body, without framing.
    pub(crate) body: u64,
    /// All its bytes.
    pub(crate) bytes: u64,
}

enum Framing {
    Length(u64),
    Chunked(Chunked),
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, buffer: vec![0; 64 * 1024], filled: 0 })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads an answer with a status of 200; any other is an error.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text.to_owned());
        let head = loop {
            if let Some(end) = memchr::memmem::find(&self.buffer[..self.filled], b"\r\n\r\n") {
                break end + 4;
            }
            if self.filled == self.buffer.len() {
                return Err(invalid("a head without end"));
            }
            self.fill().await?;
        };
        let mut framing = framing(&self.buffer[..head])?;
        let mut bytes = head as u64;
        let mut body = 0;
        let mut first = None;
        self.buffer.copy_within(head..self.filled, 0);
        self.filled -= head;
        loop {
            if self.filled > 0 {
                first.get_or_insert_with(Instant::now);
                bytes += self.filled as u64;
                let piece = &self.buffer[..self.filled];
                self.filled = 0;
                match &mut framing {
                    Framing::Length(left) => {
                        let here = piece.len() as u64;
                        *left = left.checked_sub(here).ok_or_else(|| invalid("bytes behind the end of a body"))?;
                        body += here;
                    }
                    Framing::Chunked(chunked) => body += chunked.push(piece).map_err(invalid)?,
                }
            }
            let has_ended = match &framing {
                Framing::Length(left) => *left == 0,
                Framing::Chunked(chunked) => chunked.has_ended(),
            };
            if has_ended {
                return Ok(Answer { first: first.unwrap_or_else(Instant::now), body, bytes });
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read(&mut self.buffer[self.filled..]).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed before the answer's end")),
            more => {
                self.filled += more;
                Ok(())
            }
        }
    }
}

fn framing(head: &[u8]) -> io::Result<Framing> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut fields);
    answer.parse(head).map_err(|error| invalid(format!("a head that cannot be read: {error}")))?;
    if answer.code != Some(200) {
        return Err(invalid(format!("status {}", answer.code.unwrap_or_default())));
    }
    let field = |name: &str| answer.headers.iter().find(|it| it.name.eq_ignore_ascii_case(name)).map(|it| it.value);
    if field("transfer-encoding").is_some() {
        return Ok(Framing::Chunked(Chunked::default()));
    }
    let length = field("content-length").and_then(|it| std::str::from_utf8(it).ok()?.trim().parse().ok());
    length.map(Framing::Length).ok_or_else(|| invalid("an answer of unknown length".to_owned()))
}
