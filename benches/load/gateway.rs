//! The gateway of loads that a static file cannot answer: streams, transfers, agents, sockets.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::LocalSet;
use tungstenite::WebSocket;
use tungstenite::protocol::{Message, Role};

/// Events of a stream that comes at once, its end mark among them.
pub(crate) const STREAM_EVENTS: u64 = 51;
/// Bytes of an event.
pub(crate) const EVENT_BYTES: usize = 200;
/// Bytes of such a stream without its framing.
pub(crate) const STREAM_BODY_BYTES: u64 = (STREAM_EVENTS - 1) * EVENT_BYTES as u64 + DONE.len() as u64;
const DONE: &str = "data: [DONE]\n\n";
/// Events of a socket's turn before its last.
const TURN_EVENTS: usize = 10;
const BACKLOG: u32 = 8192;
/// Pieces of large bodies.
pub(crate) static PIECE: [u8; 64 << 10] = [b'x'; 64 << 10];

/// Answers for ever.
pub(crate) fn run(listen: SocketAddr) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let tasks = LocalSet::new();
    let served = tasks.block_on(&runtime, async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(listen)?;
        let listener = socket.listen(BACKLOG)?;
        let answers = Rc::new(Answers::new());
        loop {
            // Too many open files and the like: the client fails, and says so.
            let Ok((stream, _)) = listener.accept().await else { continue };
            let answers = answers.clone();
            tokio::task::spawn_local(async move {
                let _ = serve(stream, &answers).await;
            });
        }
    });
    let served: io::Result<()> = served;
    eprintln!("cannot listen on {listen}: {served:?}");
    ExitCode::FAILURE
}

/// What is put together beforehand.
struct Answers {
    stream: Vec<u8>,
    event: Vec<u8>,
    agent: Vec<u8>,
    received: Vec<u8>,
}

impl Answers {
    fn new() -> Answers {
        let mut stream = STREAM_HEAD.to_owned();
        let event = event();
        (1..STREAM_EVENTS).for_each(|_| chunk(&mut stream, &event));
        chunk(&mut stream, DONE);
        stream += "0\r\n\r\n";
        let mut one = String::new();
        chunk(&mut one, &event);
        let text = "Done, and this is how. ".repeat(80);
        Answers {
            stream: stream.into_bytes(),
            event: one.into_bytes(),
            agent: json(&format!(
                r#"{{"id":"msg_1","type":"message","role":"assistant","model":"m-large","content":[{{"type":"text","text":"{text}"}}],"stop_reason":"end_turn","usage":{{"input_tokens":50000,"output_tokens":500}}}}"#
            )),
            received: json(r#"{"id":"file-1","object":"file"}"#),
        }
    }
}

const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn json(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn chunk(out: &mut String, payload: &str) {
    let _ = write!(out, "{:x}\r\n{payload}\r\n", payload.len());
}

/// An event of a chat.
fn event() -> String {
    let before = r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1779877425,"model":"m","choices":[{"index":0,"delta":{"content":""#;
    let behind = "\"},\"finish_reason\":null}]}\n\n";
    format!("{before}{}{behind}", "w".repeat(EVENT_BYTES - before.len() - behind.len()))
}

async fn serve(mut stream: TcpStream, answers: &Answers) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 16 << 10];
    let mut filled = 0;
    loop {
        let head = loop {
            if let Some(end) = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n") {
                break end + 4;
            }
            match stream.read(&mut buffer[filled..]).await? {
                0 => return Ok(()),
                more => filled += more,
            }
        };
        let Some(asked) = Asked::read(&buffer[..head]) else { return Ok(()) };
        if asked.is_upgrade {
            return socket(stream).await;
        }
        let mut left = asked.body_bytes.saturating_sub((filled - head) as u64);
        filled = 0;
        if left > buffer.len() as u64 {
            buffer.resize(256 << 10, 0);
        }
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match stream.read(&mut buffer[..most]).await? {
                0 => return Ok(()),
                more => left -= more as u64,
            }
        }
        asked.answer(&mut stream, answers).await?;
    }
}

struct Asked {
    path: String,
    body_bytes: u64,
    is_upgrade: bool,
}

impl Asked {
    fn read(head: &[u8]) -> Option<Asked> {
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut fields);
        request.parse(head).ok()?;
        let path = request.path?.to_owned();
        let field = |name: &str| {
            let found = request.headers.iter().find(|it| it.name.eq_ignore_ascii_case(name));
            found.and_then(|it| std::str::from_utf8(it.value).ok())
        };
        let body_bytes = field("content-length").and_then(|it| it.trim().parse().ok()).unwrap_or(0);
        Some(Asked { path, body_bytes, is_upgrade: field("upgrade").is_some() })
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.path.split_once(name)?.1.parse().ok()
    }

    async fn answer(&self, stream: &mut TcpStream, answers: &Answers) -> io::Result<()> {
        if let Some(events) = self.number("?paced=") {
            stream.write_all(STREAM_HEAD.as_bytes()).await?;
            let mut seconds = tokio::time::interval(Duration::from_secs(1));
            for _ in 0..events {
                seconds.tick().await;
                stream.write_all(&answers.event).await?;
            }
            return stream.write_all(b"0\r\n\r\n").await;
        }
        if let Some(bytes) = self.number("?bytes=") {
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {bytes}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            let mut left = bytes;
            while left > 0 {
                let piece = &PIECE[..PIECE.len().min(left as usize)];
                stream.write_all(piece).await?;
                left -= piece.len() as u64;
            }
            return Ok(());
        }
        let answer = match self.path.as_str() {
            "/v1/messages" => &answers.agent,
            "/v1/files" => &answers.received,
            _ => &answers.stream,
        };
        stream.write_all(answer).await
    }
}

/// A socket has a thread of its own; there are few.
async fn socket(mut stream: TcpStream) -> io::Result<()> {
    stream
        .write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
        )
        .await?;
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    std::thread::spawn(move || {
        let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
        let mut number = 0;
        while let Ok(message) = socket.read() {
            if message.is_text() {
                number += 1;
                if answer_turn(&mut socket, number).is_err() {
                    return;
                }
            }
        }
    });
    Ok(())
}

fn answer_turn(socket: &mut WebSocket<std::net::TcpStream>, number: u64) -> Result<(), tungstenite::Error> {
    let id = format!("resp_{number}");
    socket.write(Message::text(format!(r#"{{"type":"response.created","response":{{"id":"{id}","model":"m"}}}}"#)))?;
    let words = "w".repeat(120);
    for _ in 0..TURN_EVENTS {
        let delta = format!(r#"{{"type":"response.output_text.delta","response_id":"{id}","delta":"{words}"}}"#);
        socket.write(Message::text(delta))?;
    }
    socket.send(Message::text(format!(
        r#"{{"type":"response.completed","response":{{"id":"{id}","model":"m","status":"completed","usage":{{"input_tokens":200,"output_tokens":60,"total_tokens":260}}}}}}"#
    )))
}
