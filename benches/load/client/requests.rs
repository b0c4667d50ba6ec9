//! Requests on connections that are kept: as fast as answers come, or at times that are set beforehand.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use super::connection::Connection;
use super::timer::Timer;
use super::{Load, Notes, What};
use crate::gateway::{PIECE, STREAM_BODY_BYTES, STREAM_EVENTS};

/// A conversation begins with so much, and grows by so much with each request.
const CONVERSATION_BYTES: usize = 150 << 10;
const TURN_BYTES: usize = 5 << 10;
/// Then a new one begins; the average of its requests is 200 KB.
const REQUESTS_OF_A_CONVERSATION: usize = 20;
/// Before a request that should have been sent earlier: the clients connect first.
const HEADSTART: Duration = Duration::from_millis(50);

/// Requests on all connections, until the time is over and each has its answer.
pub(crate) async fn run(load: &Load, what: What, seconds: f64, rate: Option<f64>) -> Notes {
    let began = Instant::now() + HEADSTART;
    let until = began + Duration::from_secs_f64(seconds);
    let turns = Rc::new(Schedule { began, rate, next: Cell::new(0) });
    let tasks = LocalSet::new();
    let connections: Vec<_> = (0..load.connections)
        .map(|number| {
            let (turns, address) = (turns.clone(), load.address);
            tasks.spawn_local(async move {
                let mut notes = Notes::default();
                let mut asking = Asking::new(what, number);
                while Instant::now() < until {
                    let asked = match Connection::open(address).await {
                        Ok(mut connection) => asking.ask_on(&mut connection, &turns, until, &mut notes).await,
                        Err(error) => Err(error),
                    };
                    let Err(error) = asked else { break };
                    notes.failed(error);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                notes
            })
        })
        .collect();
    tasks.await;
    let mut all = Notes::default();
    for connection in connections {
        all.add(connection.await.expect("a connection's task"));
    }
    all
}

/// When requests are due.
struct Schedule {
    began: Instant,
    /// A second; `None`: at once.
    rate: Option<f64>,
    next: Cell<u64>,
}

impl Schedule {
    fn next(&self) -> Option<Instant> {
        let number = self.next.replace(self.next.get() + 1);
        self.rate.map(|rate| self.began + Duration::from_secs_f64(number as f64 / rate))
    }
}

/// The requests of one connection.
struct Asking {
    what: What,
    number: usize,
    /// The request, or what of it is put together beforehand.
    text: Vec<u8>,
    conversation: usize,
    turn: usize,
}

impl Asking {
    fn new(what: What, number: usize) -> Asking {
        let mut asking = Asking { what, number, text: Vec::new(), conversation: 0, turn: 0 };
        match what {
            What::Chat => {
                let body =
                    format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]}}"#, "word ".repeat(190));
                asking.text =
                    [head("POST", "/v1/chat/completions", number, body.len() as u64).as_slice(), body.as_bytes()]
                        .concat();
            }
            What::Stream => {
                let body = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"Count."}]}"#;
                asking.text =
                    [head("POST", "/v1/chat/completions", number, body.len() as u64).as_slice(), body.as_bytes()]
                        .concat();
            }
            What::Upload(bytes) => asking.text = head("POST", "/v1/files", number, bytes),
            What::Download(bytes) => {
                asking.text = head("GET", &format!("/v1/files/f/content?bytes={bytes}"), number, 0)
            }
            What::Agent => asking.begin_conversation(),
        }
        asking
    }

    /// Asks until the time is over.
    async fn ask_on(
        &mut self,
        connection: &mut Connection,
        turns: &Schedule,
        until: Instant,
        notes: &mut Notes,
    ) -> io::Result<()> {
        let timer = Timer::new()?;
        loop {
            let due = turns.next();
            if due.unwrap_or_else(Instant::now) >= until {
                return Ok(());
            }
            if let Some(due) = due {
                timer.until(due).await?;
            }
            // Late is late from when it was due, also if this connection was not free then.
            let sent = due.unwrap_or_else(Instant::now);
            let bytes = self.send(connection).await?;
            let answer = connection.answer().await?;
            let done = Instant::now();
            if self.expected().is_some_and(|expected| expected != answer.body) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a body of {} bytes", answer.body)));
            }
            let micros = |moment: Instant| moment.saturating_duration_since(sent).as_nanos() as f32 / 1e3;
            notes.whole_us.push(micros(done));
            notes.first_us.push(micros(answer.first));
            notes.measured.requests += 1;
            notes.measured.sent_bytes += bytes;
            notes.measured.received_bytes += answer.bytes;
            if matches!(self.what, What::Stream) {
                notes.measured.events += STREAM_EVENTS;
            }
        }
    }

    /// Bytes that the answer's body must have, if they are known here.
    fn expected(&self) -> Option<u64> {
        match self.what {
            What::Stream => Some(STREAM_BODY_BYTES),
            What::Download(bytes) => Some(bytes),
            What::Chat | What::Agent | What::Upload(_) => None,
        }
    }

    async fn send(&mut self, connection: &mut Connection) -> io::Result<u64> {
        match self.what {
            What::Agent => {
                self.turn += 1;
                if self.turn > REQUESTS_OF_A_CONVERSATION {
                    self.begin_conversation();
                }
                let head = head("POST", "/v1/messages", self.number, self.text.len() as u64 + 2);
                connection.send(&head).await?;
                connection.send(&self.text).await?;
                connection.send(b"]}").await?;
                let bytes = head.len() + self.text.len() + 2;
                self.add_turn("assistant");
                self.add_turn("user");
                Ok(bytes as u64)
            }
            What::Upload(body) => {
                connection.send(&self.text).await?;
                let mut left = body;
                while left > 0 {
                    let piece = &PIECE[..PIECE.len().min(left as usize)];
                    connection.send(piece).await?;
                    left -= piece.len() as u64;
                }
                Ok(self.text.len() as u64 + body)
            }
            What::Chat | What::Stream | What::Download(_) => {
                connection.send(&self.text).await?;
                Ok(self.text.len() as u64)
            }
        }
    }

    fn begin_conversation(&mut self) {
        self.conversation += 1;
        self.turn = 1;
        self.text.clear();
        let (number, conversation) = (self.number, self.conversation);
        let seed = std::process::id();
        self.text.extend_from_slice(
            format!(r#"{{"model":"m-large","max_tokens":32000,"system":"Agent {seed}.{number}.{conversation}.","messages":["#)
                .as_bytes(),
        );
        for turn in 0..CONVERSATION_BYTES / TURN_BYTES {
            self.add_turn(if turn % 2 == 0 { "user" } else { "assistant" });
        }
    }

    /// Half of what a request adds.
    fn add_turn(&mut self, role: &str) {
        if !self.text.ends_with(b"[") {
            self.text.push(b',');
        }
        let at = self.text.len();
        self.text.extend_from_slice(format!(r#"{{"role":"{role}","content":[{{"type":"text","text":""#).as_bytes());
        while self.text.len() - at < TURN_BYTES {
            let number = self.text.len();
            self.text.extend_from_slice(format!(r#"{number}  let value = map.get(\"key\"); // naïve\n"#).as_bytes());
        }
        self.text.extend_from_slice(br#""}]}"#);
    }
}

fn head(method: &str, path: &str, number: usize, body_bytes: u64) -> Vec<u8> {
    let length = if method == "POST" { format!("Content-Length: {body_bytes}\r\n") } else { String::new() };
    format!(
        "{method} {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer bench-{}\r\n\
         Content-Type: application/json\r\n{length}\r\n",
        number % 4
    )
    .into_bytes()
}
