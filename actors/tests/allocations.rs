//! How often the byte path asks for memory, counted on the lane's thread: exact numbers, which no busy machine changes.
//!
//! The lane of a whole recorder forwards kept-alive requests one after the other. Client and gateway take turns piece by
//! piece, so that the lane reads and writes the same each time, and counts are read while it sleeps. Of some batches the
//! least counts: a timer or a wake of another thread may fall into any, and only ever adds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;

use super::counting::allocations_of;
use super::rig::Rig;

/// For one small exchange that is forwarded and not recorded: hyper's two sides, and ours between them.
const SMALL: u64 = 33;
/// For a stream, of however many events.
const STREAM: u64 = 35;
/// More for each exchange that is recorded.
const RECORDED: u64 = 4;

/// Exchanges of a batch: the queue to the recording side asks for memory once for so many.
const BATCH: u64 = 31;
const BATCHES: usize = 15;
/// Until pools, maps and buffers have the size that they keep.
const WARMING: u64 = 4;

const ASK: &str = "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n\
    Authorization: Bearer k\r\nContent-Length: 42\r\n\r\n{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n{\"id\":\"1\",\"object\":\"the same\"}";
const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
const EVENT: &str = "15\r\ndata: {\"text\":\"abc\"}\n\r\n";
const END: &str = "0\r\n\r\n";

/// Says what it is told to, on one connection after the other.
struct Gateway {
    address: SocketAddr,
    say: mpsc::Sender<&'static str>,
    /// A request has come whole.
    asked: mpsc::Receiver<()>,
}

impl Gateway {
    fn start() -> Gateway {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (say, to_say) = mpsc::channel::<&'static str>();
        let (has_asked, asked) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                // Requests are the same but for what names the host; all end alike.
                while read_until(&mut stream, &ASK[ASK.len() - 20..]) {
                    if has_asked.send(()).is_err() {
                        return;
                    }
                    for piece in &to_say {
                        stream.write_all(piece.as_bytes()).unwrap();
                        if [ANSWER, END].contains(&piece) {
                            break;
                        }
                    }
                }
            }
        });
        Gateway { address, say, asked }
    }
}

/// Reads until there is this text; `false` if the other side closes.
fn read_until(stream: &mut TcpStream, text: &str) -> bool {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    while !seen.ends_with(text.as_bytes()) {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return false,
            Ok(more) => seen.extend_from_slice(&buffer[..more]),
        }
    }
    true
}

/// A recorder of one lane between a client and that gateway.
struct Path {
    gateway: Gateway,
    client: TcpStream,
    lane: u32,
    _rig: Rig,
}

impl Path {
    async fn open(is_recording: &str) -> Path {
        let gateway = Gateway::start();
        let upstream = format!("http://{}", gateway.address);
        let settings = [
            ("APILOG_PROXY_LANES", "1"),
            ("APILOG_PROXY_UPSTREAM", upstream.as_str()),
            ("APILOG_CAPTURE_ENABLED", is_recording),
        ];
        let before = lanes();
        let rig = Rig::with(&settings).await;
        let client = TcpStream::connect(rig.proxy).unwrap();
        client.set_nodelay(true).unwrap();
        let mut new = lanes().into_iter().filter(|it| !before.contains(it));
        let lane = new.next().expect("a lane's thread");
        assert_eq!(new.next(), None, "one lane was asked for");
        Path { gateway, client, lane, _rig: rig }
    }

    fn ask(&mut self) {
        self.client.write_all(ASK.as_bytes()).unwrap();
        self.gateway.asked.recv().unwrap();
    }

    /// Has the gateway say something, and waits until the client has it.
    fn say(&mut self, piece: &'static str) {
        self.gateway.say.send(piece).unwrap();
        assert!(read_until(&mut self.client, &piece[piece.len() - 5..]), "the connection was closed");
    }

    fn small(&mut self) {
        self.ask();
        self.say(ANSWER);
    }

    fn stream(&mut self, events: u64) {
        self.ask();
        self.say(STREAM_HEAD);
        (0..events).for_each(|_| self.say(EVENT));
        self.say(END);
    }

    /// Allocations of a batch of these exchanges.
    fn counted(&mut self, mut exchange: impl FnMut(&mut Path)) -> u64 {
        (0..BATCH * WARMING).for_each(|_| exchange(self));
        let counts = (0..BATCHES).map(|_| {
            let before = self.allocations();
            (0..BATCH).for_each(|_| exchange(self));
            self.allocations() - before
        });
        counts.min().unwrap()
    }

    /// What the lane has asked for so far, once it has nothing left to do.
    fn allocations(&self) -> u64 {
        let stat = || std::fs::read_to_string(format!("/proc/self/task/{}/stat", self.lane)).unwrap();
        while !stat().rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')) {
            std::thread::yield_now();
        }
        allocations_of(self.lane)
    }
}

/// The lanes' threads in this process.
fn lanes() -> Vec<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let named =
        tasks.filter(|it| std::fs::read_to_string(it.path().join("comm")).is_ok_and(|it| it.starts_with("lane-")));
    named.filter_map(|it| it.file_name().to_str()?.parse().ok()).collect()
}

/// Events of a short stream and of a longer one.
const EVENTS: [u64; 2] = [2, 10];

#[derive(Debug, PartialEq, Eq)]
struct Counts {
    small: u64,
    streams: [u64; 2],
}

async fn counts(is_recording: &str) -> Counts {
    let mut path = Path::open(is_recording).await;
    tokio::task::block_in_place(|| Counts {
        small: path.counted(Path::small),
        streams: EVENTS.map(|events| path.counted(|path| path.stream(events))),
    })
}

/// Set in the process that counts.
const ALONE: &str = "API_LOG_TEST_ALONE";

#[test]
fn the_byte_path_asks_for_memory_exactly_so_often() {
    if std::env::var_os(ALONE).is_none() {
        return counts_alone();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (off, on) = runtime.block_on(async { (counts("false").await, counts("true").await) });
    // A number that changed: less is a gain to be kept by writing it here; more wants a reason, here and in the commit.
    let recorded = |each| BATCH * (each + RECORDED) + 1;
    assert_eq!(off, Counts { small: BATCH * SMALL, streams: [BATCH * STREAM; 2] });
    assert_eq!(on, Counts { small: recorded(SMALL), streams: [recorded(STREAM); 2] });
}

/// This test in a process of its own, where no other test has lanes.
fn counts_alone() {
    let this = std::thread::current().name().unwrap().to_owned();
    let alone = std::process::Command::new(std::env::current_exe().unwrap())
        .args([&this, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&alone.stdout);
    let is_counted = alone.status.success() && said.contains("1 passed");
    assert!(is_counted, "{said}{}", String::from_utf8_lossy(&alone.stderr));
}
