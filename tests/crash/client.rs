//! Clients that ask for a random mix of things, and note what they had when.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tungstenite::WebSocket;
use tungstenite::protocol::Role;

use crate::gateway::{Gateway, body, event};

/// At once.
const CLIENTS: u64 = 6;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Large,
    Upload,
    Stream,
    Socket,
}

/// One exchange, as its client saw it.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    kind: Kind,
    /// Of the answer; of a stream, its events; of a socket, its messages.
    size: usize,
    /// Of the request's body.
    upload: usize,
    /// When so many bytes of the answer's body came.
    pub(crate) arrivals: Vec<(Instant, usize)>,
    /// When it was all there.
    pub(crate) done: Option<Instant>,
}

pub(crate) struct Clients {
    threads: Vec<std::thread::JoinHandle<Vec<Sent>>>,
    is_over: Arc<AtomicBool>,
}

impl Clients {
    pub(crate) fn start(proxy: SocketAddr, round: u32, seed: u64, _: &Gateway) -> Clients {
        let is_over = Arc::new(AtomicBool::new(false));
        let client = |client: u64| {
            let is_over = is_over.clone();
            std::thread::spawn(move || {
                let mut random = StdRng::seed_from_u64(seed ^ client);
                let mut all = Vec::new();
                for rank in 0.. {
                    let number = (u64::from(round) * CLIENTS + client) * 1_000_000 + rank + 1;
                    let mut sent = Sent::draw(number, &mut random);
                    let outcome = sent.ask(proxy, client);
                    all.push(sent);
                    if outcome.is_err() || is_over.load(Ordering::Relaxed) {
                        break;
                    }
                }
                all
            })
        };
        Clients { threads: (0..CLIENTS).map(client).collect(), is_over }
    }

    /// The recorder was killed: their connections have ended.
    pub(crate) fn stop(self) -> Vec<Sent> {
        self.is_over.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|it| it.join().unwrap()).collect()
    }
}

impl Sent {
    fn draw(number: u64, random: &mut StdRng) -> Sent {
        let (kind, size, upload) = match random.random_range(0..100) {
            0..60 => (Kind::Plain, random.random_range(1..3_000), random.random_range(0..2_000)),
            60..70 => (Kind::Large, random.random_range(50_000..700_000), 10),
            70..80 => (Kind::Upload, 20, random.random_range(50_000..700_000)),
            80..93 => (Kind::Stream, random.random_range(1..60), 100),
            _ => (Kind::Socket, random.random_range(1..30), 0),
        };
        Sent { number, kind, size, upload, arrivals: Vec::new(), done: None }
    }

    fn ask(&mut self, proxy: SocketAddr, client: u64) -> io::Result<()> {
        let mut socket = TcpStream::connect(proxy)?;
        if self.kind == Kind::Socket {
            return self.talk(socket, client);
        }
        let word = if self.kind == Kind::Stream { "stream" } else { "plain" };
        let (number, size, upload) = (self.number, self.size, self.upload);
        write!(
            socket,
            "POST /{word}/{number}/{size} HTTP/1.1\r\nHost: gw\r\nx-number: {number}\r\nAuthorization: Bearer k{}\r\nContent-Length: {upload}\r\nConnection: close\r\n\r\n",
            client % 3
        )?;
        socket.write_all(&body(number, upload))?;
        let (head, rest) = read_head(&mut socket)?;
        let mut got = rest.len();
        let mut tail = rest;
        if got > 0 {
            self.arrivals.push((Instant::now(), got));
        }
        let length = content_length(&head);
        let mut buffer = vec![0; 64 * 1024];
        // Of a stream its end is told by the last chunk.
        while length.map_or(!tail.ends_with(b"\r\n0\r\n\r\n"), |length| got < length) {
            let more = socket.read(&mut buffer)?;
            if more == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            got += more;
            tail.extend_from_slice(&buffer[..more]);
            tail.drain(..tail.len().saturating_sub(16));
            // Framing counts as well here; of a stream a lower bound is made of it below.
            self.arrivals.push((Instant::now(), more));
        }
        self.done = Some(Instant::now());
        Ok(())
    }

    /// Says something, hears it again, and so on.
    fn talk(&mut self, mut socket: TcpStream, client: u64) -> io::Result<()> {
        write!(
            socket,
            "GET /socket/{0} HTTP/1.1\r\nHost: gw\r\nx-number: {0}\r\nAuthorization: Bearer k{1}\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.number,
            client % 3
        )?;
        let (_, rest) = read_head(&mut socket)?;
        let failed = |_| io::Error::from(io::ErrorKind::ConnectionAborted);
        let mut socket = WebSocket::from_partially_read(socket, rest, Role::Client, None);
        for rank in 0..self.size {
            socket.send(message(self.number, rank).into()).map_err(failed)?;
            socket.read().map_err(failed)?;
            self.arrivals.push((Instant::now(), 1));
        }
        socket.close(None).map_err(failed)?;
        while socket.read().is_ok() {}
        self.done = Some(Instant::now());
        Ok(())
    }

    /// Checks that these lines hold all of it.
    pub(crate) fn is_in(&self, lines: &[&Value]) {
        match self.kind {
            Kind::Socket => self.is_begun_in(lines, self.size),
            Kind::Stream => {
                let events = lines[0]["resp"]["events"].as_array().map_or(0, Vec::len);
                assert_eq!(events, self.size, "{self:?}: {}", lines[0]);
            }
            _ => {
                let (req, resp) = (&lines[0]["req"], &lines[0]["resp"]);
                self.is_whole(lines[0], &recorded(resp), &body(self.number, self.size));
                self.is_whole(lines[0], &recorded(req), &body(self.number, self.upload));
            }
        }
    }

    fn is_whole(&self, line: &Value, recorded: &[u8], expected: &[u8]) {
        let same = recorded.iter().zip(expected).take_while(|(one, other)| one == other).count();
        let (length, whole) = (recorded.len(), expected.len());
        let told = ["id", "end", "error", "truncated_req", "truncated_resp"].map(|name| &line[name]);
        assert!(recorded == expected, "{self:?}: {length} bytes of {whole}, of which {same} are right: {told:?}");
    }

    /// Checks that these lines hold as much of the answer as the client had of it.
    pub(crate) fn is_begun_in(&self, lines: &[&Value], had: usize) {
        match self.kind {
            Kind::Socket => self.was_heard(lines, had),
            Kind::Stream => {
                // Of what the client had, whole events.
                let mut whole = 0;
                let mut bytes = 0;
                while whole < self.size {
                    bytes += event(self.number, whole).len() + 12;
                    if bytes > had {
                        break;
                    }
                    whole += 1;
                }
                let events = lines[0]["resp"]["events"].as_array().map_or(0, Vec::len);
                assert!(events >= whole, "{self:?}: {events} of {whole}: {}", lines[0]);
            }
            _ => {
                let recorded = recorded(&lines[0]["resp"]);
                assert!(recorded.len() >= had, "{self:?}: {} of {had}", recorded.len());
                assert!(body(self.number, self.size).starts_with(&recorded), "{self:?}");
            }
        }
    }

    /// Checks that so many messages stand there in both directions: read, or as frames that nobody had read yet.
    fn was_heard(&self, lines: &[&Value], had: usize) {
        let all: Vec<(usize, String)> = (0..had).map(|rank| (rank, message(self.number, rank))).collect();
        let [mut client, mut server] = [vec![0; had], vec![0; had]];
        for line in lines {
            let events = line["resp"]["events"].as_array().map(Vec::as_slice).unwrap_or_default();
            for event in events {
                let text = event["data"].to_string();
                let side = if event["dir"] == "client" { &mut client } else { &mut server };
                all.iter().filter(|(_, it)| *it == text).for_each(|(rank, _)| side[*rank] += 1);
            }
            if !line["ws"]["unread"].is_null() {
                for (side, heard) in [("req", &mut client), ("resp", &mut server)] {
                    let raw = unframed(&recorded(&line[side]));
                    all.iter().filter(|(_, it)| raw.contains(it)).for_each(|(rank, _)| heard[*rank] += 1);
                }
            }
        }
        // Once read and once raw it may stand, if the crash came between its line and its mark.
        let is_there = |count: &usize| (1..=2).contains(count);
        assert!(
            client.iter().all(is_there) && server.iter().all(is_there),
            "{self:?}: {client:?} {server:?} {lines:#?}"
        );
    }
}

/// The messages in frames that nobody had read: short, and whole.
fn unframed(mut bytes: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while let [_, length, rest @ ..] = bytes {
        let (is_masked, length) = (length & 0x80 != 0, usize::from(length & 0x7f));
        assert!(length < 126, "frames are short here");
        let Some((mask, rest)) = rest.split_at_checked(if is_masked { 4 } else { 0 }) else { break };
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        let byte = |(at, byte): (usize, &u8)| if is_masked { byte ^ mask[at % 4] } else { *byte };
        let payload: Vec<u8> = payload.iter().enumerate().map(byte).collect();
        messages.push(String::from_utf8_lossy(&payload).into_owned());
        bytes = rest;
    }
    messages
}

fn message(number: u64, rank: usize) -> String {
    format!("{{\"number\":{number},\"rank\":{rank}}}")
}

/// A body as it stands on the line.
fn recorded(side: &Value) -> Vec<u8> {
    use base64::Engine;
    match (&side["body"], &side["body_b64"]) {
        (Value::String(text), _) => text.clone().into_bytes(),
        (_, Value::String(coded)) => base64::engine::general_purpose::STANDARD.decode(coded).unwrap(),
        _ => Vec::new(),
    }
}

/// Reads up to the empty line: the head, and what came with it.
pub(crate) fn read_head(socket: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        match socket.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => bytes.extend_from_slice(&buffer[..more]),
        }
    }
}

pub(crate) fn content_length(head: &str) -> Option<usize> {
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })
}
