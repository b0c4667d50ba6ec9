//! How fast the index is made anew: the shipped `api-log rebuild` over data sets made for it, and parsing by itself.
//!
//! `cargo bench --bench rebuild [-- SMALL_TRACES AGENT_TRACES]`

#![expect(clippy::expect_used, reason = "a measurement that cannot be taken stops")]

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use api_log::index::rebuild::{Plan, parse};
use api_log::jsonl::line::read_row;
use api_log::store::layout::Layout;

/// Keys that send at the same time.
const KEYS: u64 = 8;
/// Days over which the lines are spread.
const DAYS: u64 = 4;
/// Requests of a conversation.
const REQUESTS: u64 = 8;

fn main() {
    // Anything but `cargo bench` only wants to know that it builds.
    if !std::env::args().any(|it| it == "--bench") {
        return;
    }
    let mut counts = std::env::args().filter_map(|it| it.parse::<u64>().ok());
    let small = counts.next().unwrap_or(500_000);
    let agents = counts.next().unwrap_or(8_000);
    // Twice as much shows whether memory grows with it.
    for (name, traces, kind) in [
        ("small traces", small, Kind::Small),
        ("twice as many", small * 2, Kind::Small),
        ("agent traces", agents, Kind::Agent),
        ("twice as many", agents * 2, Kind::Agent),
    ] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let bytes = generate(dir.path(), traces, kind);
        println!("{name}: {traces} of {} bytes, {} MB", bytes / traces, bytes / 1_000_000);
        let parsed = parse_alone(dir.path());
        println!("  parsing alone, one thread    {}", rate(bytes, traces, parsed));
        let (took, memory) = rebuild(dir.path());
        println!("  api-log rebuild              {}, peak memory {} MiB", rate(bytes, traces, took), memory / 1024);
        let index = std::fs::metadata(Layout::new(dir.path()).index()).map_or(0, |it| it.len());
        println!("  index                        {} bytes a row", index / traces);
    }
}

#[derive(Clone, Copy)]
enum Kind {
    /// A short chat.
    Small,
    /// A long conversation, sent again with each request.
    Agent,
}

/// Writes so many traces, and says how many bytes their lines have.
fn generate(root: &Path, traces: u64, kind: Kind) -> u64 {
    let mut bytes = 0;
    let per_file = traces / (KEYS * DAYS);
    for day in 0..DAYS {
        let folder = root.join(format!("2026-05-{:02}", 10 + day));
        std::fs::create_dir_all(&folder).expect("a day's folder");
        for key in 0..KEYS {
            let path = folder.join(format!("0{key}0{key}0{key}0{key}.jsonl"));
            let mut file = BufWriter::new(std::fs::File::create(path).expect("a segment"));
            for at in 0..per_file {
                let line = line(day, key, at, per_file, kind);
                bytes += line.len() as u64;
                file.write_all(line.as_bytes()).expect("a line");
            }
            file.flush().expect("a segment");
        }
    }
    bytes
}

fn line(day: u64, key: u64, at: u64, per_file: u64, kind: Kind) -> String {
    let number = (day * per_file + at) * KEYS + key;
    let (conversation, request) = (number / KEYS / REQUESTS, at % REQUESTS);
    let second = at * 80_000 / per_file;
    let time = format!("{:02}:{:02}:{:02}.{:03}", second / 3600, second / 60 % 60, second % 60, at % 1000);
    let (turns, words) = match kind {
        Kind::Small => (request * 2 + 1, 6),
        Kind::Agent => (request * 6 + 5, 400),
    };
    let mut messages = String::new();
    for turn in 0..turns {
        let role = if turn % 2 == 0 { "user" } else { "assistant" };
        let comma = if turn == 0 { "" } else { "," };
        let _ = write!(messages, r#"{comma}{{"role":"{role}","content":"{}"}}"#, text(conversation, key, turn, words));
    }
    let answer = text(conversation, key, turns, words);
    format!(
        concat!(
            r#"{{"id":"01J{:023}","v":1,"ts_start":"2026-05-{:02}T{time}Z","ts_end":"2026-05-{:02}T{time}Z","client":"192.0.2.1:5000","#,
            r#""method":"POST","path":"/v1/chat/completions","upstream":"http://gateway:4000","status":200,"end":"complete","#,
            r#""disconnected":false,"key_hash":"0{}0{}0{}0{}00000000","protocol":"chat","ttfb_ms":40,"req":{{"headers":{{"Content-Type":"application/json","#,
            r#""User-Agent":"OpenAI/Python 2.1.0","Accept":"application/json"}},"bytes":1000,"body":{{"model":"m-{}","messages":[{messages}]}}}},"#,
            r#""resp":{{"headers":{{"content-type":"application/json"}},"bytes":500,"body":{{"id":"chatcmpl-{}","object":"chat.completion","#,
            r#""model":"m-{}","choices":[{{"index":0,"message":{{"role":"assistant","content":"{answer}"}},"finish_reason":"stop"}}],"#,
            r#""usage":{{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120}}}}}},"truncated_req":false,"truncated_resp":false}}"#,
            "\n"
        ),
        number,
        10 + day,
        10 + day,
        key,
        key,
        key,
        key,
        number % 7,
        number,
        number % 7,
        time = time,
        messages = messages,
        answer = answer,
    )
}

/// Words of one turn: the same whenever it is sent.
fn text(conversation: u64, key: u64, turn: u64, words: u64) -> String {
    let mut text = String::new();
    for word in 0..words {
        let _ = write!(text, "w{}-{turn}.{word} ", conversation * KEYS + key);
    }
    text
}

/// Parses everything on this thread, and throws it away.
fn parse_alone(root: &Path) -> Duration {
    let layout = Layout::new(root);
    let plan = Plan::of(&layout).expect("a plan");
    let began = Instant::now();
    for piece in plan.pieces() {
        parse(&layout, &piece, read_row, |parsed| {
            std::hint::black_box(&parsed);
            ControlFlow::Continue(())
        });
    }
    began.elapsed()
}

/// Runs the command; how long it took, and its peak memory in KiB.
fn rebuild(root: &Path) -> (Duration, i64) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_api-log"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("APILOG_")) {
        command.env_remove(name);
    }
    let began = Instant::now();
    let told = command.args(["rebuild", "--json", "--data-dir"]).arg(root).output().expect("the command");
    let took = began.elapsed();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    println!("  {}", String::from_utf8_lossy(&told.stdout).trim_end());
    (took, peak_memory_of_children())
}

/// Of the largest child so far, in KiB: the data sets grow, so that it is the last one's or an upper bound of it.
fn peak_memory_of_children() -> i64 {
    // SAFETY: all-zero bytes are a valid rusage, and the call writes one into it.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage.ru_maxrss
    }
}

fn rate(bytes: u64, traces: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    format!("{:>6.1} MB/s, {:>7.0} traces/s, {seconds:.1} s", bytes as f64 / 1e6 / seconds, traces as f64 / seconds)
}
