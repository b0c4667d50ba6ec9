//! Clients with mixed traffic, who hold every answer to what the gateway gives, and note what must be recorded of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use crate::recorder::sha256;
use crate::socket;

/// Keys in use, each with a file of its own.
const KEYS: u64 = 4;
/// How long an answer may take; nothing waits for it when all is well.
const DEADLINE: Duration = Duration::from_secs(60);

/// A round yellow face, 24 pixels wide.
const PICTURE: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAABgAAAAYCAMAAADXqc3KAAAACVBMVEX/////zDMzMzM5eA/rAAAASElEQVR42mNgIAQYoQCHMJoUIxrAJQ6XwSXByIhDBsxiYmJEphEa0CQYCUtgsYR+EkxwwIjqETQJ/EFCeujijijcUYsnMWACAPjxAbHnrvDVAAAAAElFTkSuQmCC";

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A list, without a body.
    List,
    Chat,
    /// With an attachment.
    Picture,
    /// Events, by the chat protocol or the messages protocol.
    Stream,
    Messages,
    /// A long answer.
    Large,
    Gzip,
    /// A form sent in chunks.
    Upload,
    /// The gateway answers with an error.
    Refused,
    /// The gateway resets the connection in mid-answer.
    Cut,
    /// The client leaves in mid-answer.
    Leaves,
    /// A WebSocket of some turns.
    Socket,
}

/// One exchange, as its client saw it.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    pub(crate) status: i64,
    /// Digest of the body sent.
    pub(crate) request: String,
    /// Digest of the body got, if it was to be whole.
    pub(crate) answer: Option<String>,
    /// Of a socket: turns whose end the client had.
    pub(crate) turns: u64,
    /// When the client had everything; `None` if it did not get what the gateway gives.
    pub(crate) delivered: Option<Instant>,
}

impl Sent {
    /// How the exchange ends.
    pub(crate) fn end(&self) -> &'static str {
        match self.kind {
            Kind::Cut if self.status == 502 => "upstream_unreachable",
            Kind::Cut => "upstream_gone",
            Kind::Leaves => "client_gone",
            _ => "complete",
        }
    }
}

/// A burst beyond what goes on all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flood {
    /// Many small exchanges on connections of their own.
    Connections,
    /// Large bodies, more than the memory of captures holds.
    Bodies,
    /// Many sockets at once.
    Sockets,
}

/// What clients share.
pub(crate) struct Shared {
    pub(crate) proxy: SocketAddr,
    next: AtomicU64,
    pub(crate) is_over: AtomicBool,
    sent: Mutex<Vec<Sent>>,
    complaints: Mutex<Vec<String>>,
}

impl Shared {
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Notes how an exchange went.
    pub(crate) fn note(&self, sent: Sent, went: Result<(), String>) {
        if let Err(complaint) = went {
            self.complaints.lock().push(format!("{:?} {}: {complaint}", sent.kind, sent.number));
        }
        self.sent.lock().push(sent);
    }
}

/// Clients under way.
pub(crate) struct Traffic {
    runtime: tokio::runtime::Runtime,
    shared: Arc<Shared>,
    /// Whose exchanges have a connection each. One for all bursts: to make a client takes longer than what it is made for,
    /// and who waits for that has a connection open on which nothing is asked.
    burst: reqwest::Client,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// What came of them.
pub(crate) struct Outcome {
    pub(crate) sent: Vec<Sent>,
    /// What clients got that the gateway did not give.
    pub(crate) complaints: Vec<String>,
}

impl Traffic {
    /// Begins with so many clients of each sort, each of which pauses up to so long after an exchange. `first` is the
    /// first number.
    pub(crate) fn start(
        proxy: SocketAddr,
        seed: u64,
        first: u64,
        clients: u64,
        sockets: u64,
        pause: Duration,
    ) -> Traffic {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let shared = Arc::new(Shared {
            proxy,
            next: AtomicU64::new(first),
            is_over: AtomicBool::new(false),
            sent: Mutex::default(),
            complaints: Mutex::default(),
        });
        let mut traffic = Traffic { runtime, shared, burst: http(0), tasks: Vec::new(), threads: Vec::new() };
        for client in 0..clients {
            let (shared, random) = (traffic.shared.clone(), StdRng::seed_from_u64(seed ^ client));
            traffic.tasks.push(traffic.runtime.spawn(goes_on(shared, random, pause)));
        }
        for client in 0..sockets {
            let (shared, mut random) = (traffic.shared.clone(), StdRng::seed_from_u64(!seed ^ client));
            traffic.threads.push(std::thread::spawn(move || {
                while !shared.is_over.load(Ordering::Relaxed) {
                    socket::talk(&shared, &mut random);
                    std::thread::sleep(pause);
                }
            }));
        }
        traffic
    }

    /// How many exchanges were begun.
    pub(crate) fn begun(&self) -> u64 {
        self.shared.next.load(Ordering::Relaxed)
    }

    /// Adds a burst.
    pub(crate) fn flood(&mut self, flood: Flood, seed: u64) {
        let size = match flood {
            Flood::Connections => 60,
            Flood::Bodies => 8,
            Flood::Sockets => 8,
        };
        for client in 0..size {
            let (shared, mut random) = (self.shared.clone(), StdRng::seed_from_u64(seed ^ client));
            if flood == Flood::Sockets {
                self.threads.push(std::thread::spawn(move || socket::talk(&shared, &mut random)));
                continue;
            }
            let kind = match (flood, client % 2) {
                (Flood::Bodies, 0) => Kind::Upload,
                (Flood::Bodies, _) => Kind::Large,
                _ => Kind::Chat,
            };
            let http = self.burst.clone();
            self.tasks.push(self.runtime.spawn(async move {
                exchange(&http, &shared, kind, 8, &mut random).await;
            }));
        }
        self.tasks.retain(|it| !it.is_finished());
        self.threads.retain(|it| !it.is_finished());
    }

    /// Sends so many exchanges of a kind, one after the other.
    pub(crate) fn send(&mut self, kind: Kind, count: usize) {
        let shared = self.shared.clone();
        self.runtime.block_on(async {
            let (http, mut random) = (http(2), StdRng::seed_from_u64(count as u64));
            for _ in 0..count {
                exchange(&http, &shared, kind, 1, &mut random).await;
            }
        });
    }

    /// Ends it: what is under way is finished.
    pub(crate) fn stop(self) -> Outcome {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.runtime.block_on(async {
            for task in self.tasks {
                task.await.unwrap();
            }
        });
        self.threads.into_iter().for_each(|it| it.join().unwrap());
        let mut sent = std::mem::take(&mut *self.shared.sent.lock());
        sent.sort_by_key(|it| it.number);
        Outcome { sent, complaints: std::mem::take(&mut *self.shared.complaints.lock()) }
    }
}

/// A client that keeps so many connections.
fn http(kept: usize) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().pool_max_idle_per_host(kept).timeout(DEADLINE).build().unwrap()
}

/// A client that asks for one thing after the other.
async fn goes_on(shared: Arc<Shared>, mut random: StdRng, pause: Duration) {
    let http = http(2);
    while !shared.is_over.load(Ordering::Relaxed) {
        let kind = match random.random_range(0..100) {
            0..15 => Kind::List,
            15..40 => Kind::Chat,
            40..45 => Kind::Picture,
            45..60 => Kind::Stream,
            60..70 => Kind::Messages,
            70..76 => Kind::Large,
            76..82 => Kind::Gzip,
            82..90 => Kind::Upload,
            90..94 => Kind::Refused,
            94..97 => Kind::Cut,
            _ => Kind::Leaves,
        };
        exchange(&http, &shared, kind, 1, &mut random).await;
        tokio::time::sleep(pause.mul_f64(random.random())).await;
    }
}

async fn exchange(http: &reqwest::Client, shared: &Shared, kind: Kind, times: usize, random: &mut StdRng) {
    let number = shared.number();
    let words = random.random_range(3..40);
    let text = format!("mark{number} {}", "word ".repeat(words));
    let is_streamed = matches!(kind, Kind::Stream | Kind::Messages | Kind::Cut | Kind::Leaves);
    let (path, body) = match kind {
        Kind::List => ("/v1/models", Vec::new()),
        Kind::Upload => {
            let sound = "s".repeat(times * random.random_range(10_000..100_000));
            let part = |name: &str, more: &str| {
                format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n")
            };
            let (model, file) = (part("model", ""), part("file", "; filename=\"a.wav\""));
            let form = format!("{model}whisper-1\r\n{file}{sound}\r\n--edge--\r\n");
            ("/v1/audio/transcriptions", form.into_bytes())
        }
        Kind::Messages => {
            let messages = json!([{"role": "user", "content": text}]);
            let asked = json!({"model": "claude-4", "max_tokens": 1024, "messages": messages, "stream": true});
            ("/v1/messages", asked.to_string().into_bytes())
        }
        _ => {
            let content = match kind {
                Kind::Picture => {
                    json!([{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": PICTURE}}])
                }
                _ => json!(text),
            };
            let asked =
                json!({"model": "gpt-5", "messages": [{"role": "user", "content": content}], "stream": is_streamed});
            ("/v1/chat/completions", asked.to_string().into_bytes())
        }
    };
    let url = format!("http://{}{path}", shared.proxy);
    let mut request = if kind == Kind::List { http.get(url) } else { http.post(url) };
    request =
        request.header("x-number", number).header("authorization", format!("Bearer chaos-{}", number % KEYS)).header(
            "content-type",
            if kind == Kind::Upload { "multipart/form-data; boundary=edge" } else { "application/json" },
        );
    let mut status = 200;
    request = match kind {
        Kind::Stream | Kind::Messages => request.header("x-mock-delay-ms", random.random_range(0..12)),
        Kind::Large => request.header("x-mock-size", times * random.random_range(10_000..100_000)),
        Kind::Gzip => request.header("x-mock-encoding", "gzip"),
        Kind::Cut => request.header("x-mock-fault", "cut-mid-stream"),
        Kind::Leaves => request.header("x-mock-fault", "stall"),
        Kind::Refused => {
            status = if random.random() { 429 } else { 500 };
            request.header("x-mock-fault", format!("error-{status}"))
        }
        _ => request,
    };
    let digest = sha256(&body);
    request = match kind {
        Kind::List => request,
        Kind::Upload => request.body(in_chunks(body)),
        _ => request.body(body),
    };
    let mut sent = Sent { number, kind, status, request: digest, answer: None, turns: 0, delivered: None };
    let went = answered(request, &mut sent).await;
    shared.note(sent, went);
}

fn in_chunks(body: Vec<u8>) -> reqwest::Body {
    let chunks: Vec<_> = body.chunks(9_000).map(|it| Ok::<_, std::io::Error>(it.to_vec())).collect();
    reqwest::Body::wrap_stream(futures_util::stream::iter(chunks))
}

/// Takes the answer, and holds it to what the gateway gives.
async fn answered(request: reqwest::RequestBuilder, sent: &mut Sent) -> Result<(), String> {
    let mut answer = request.send().await.map_err(|error| format!("no answer: {error:?}"))?;
    if sent.kind == Kind::Cut && answer.status() == 502 {
        // A reset takes with it what the recorder had not yet read, and on a busy machine that may be all of the answer.
        sent.status = 502;
        let said = answer.text().await.map_err(|error| format!("no reason: {error:?}"))?;
        sent.delivered = Some(Instant::now());
        return if said.contains("upstream_closed") { Ok(()) } else { Err(said) };
    }
    if i64::from(answer.status().as_u16()) != sent.status {
        return Err(format!("status {}: {:?}", answer.status(), answer.text().await));
    }
    let mut got = Vec::new();
    loop {
        match (answer.chunk().await, sent.kind) {
            (Ok(Some(chunk)), Kind::Leaves) if !chunk.is_empty() => break,
            (Ok(Some(chunk)), _) => got.extend_from_slice(&chunk),
            (Ok(None), Kind::Cut | Kind::Leaves) => return Err("the answer ended in order".into()),
            (Ok(None), _) => break,
            (Err(_), Kind::Cut) => break,
            (Err(error), _) => return Err(format!("the answer broke off after {} bytes: {error:?}", got.len())),
        }
    }
    let mark = format!("mark{}", sent.number);
    let says = |text: &str| memchr::memmem::find(&got, text.as_bytes()).is_some();
    let is_right = match sent.kind {
        Kind::Chat | Kind::Picture | Kind::Large => says(&mark),
        Kind::Stream => got.ends_with(b"data: [DONE]\n\n"),
        Kind::Messages => says("message_stop"),
        Kind::List | Kind::Upload | Kind::Gzip | Kind::Refused => !got.is_empty(),
        Kind::Cut | Kind::Leaves | Kind::Socket => true,
    };
    if !is_right {
        let end = String::from_utf8_lossy(&got[got.len().saturating_sub(300)..]).into_owned();
        return Err(format!("a wrong answer of {} bytes, at its end {end:?}", got.len()));
    }
    sent.answer = (!matches!(sent.kind, Kind::Cut | Kind::Leaves)).then(|| sha256(&got));
    sent.delivered = Some(Instant::now());
    Ok(())
}
