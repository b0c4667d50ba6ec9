//! How fast traces leave: each form of an export over lines as agents and chats leave them, to nowhere.
//!
//! `cargo bench --bench export [-- MIB]`: MIB of each corpus, 256 by default.
//!
//! Throughput is by the clock and by CPU time of the thread, of bytes of source lines; files are in the page cache.

#![expect(clippy::expect_used, reason = "a measurement that cannot be taken stops")]

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

use api_log::export::{Chosen, Format, Request, open_index};
use api_log::ids::UnixMillis;
use api_log::index::filter::Filter;
use api_log::index::{Budget, WriterState, catch_up, schema};
use api_log::jsonl::file::JsonlFile;
use api_log::jsonl::line::read_row;
use api_log::store::layout::Layout;
use api_log::work::Work;

/// Best of so many.
const ROUNDS: usize = 3;
/// Requests of a conversation.
const REQUESTS: u64 = 30;

fn main() {
    // Anything but `cargo bench` only wants to know that it builds.
    if !std::env::args().any(|it| it == "--bench") {
        return;
    }
    let mib: u64 = std::env::args().filter_map(|it| it.parse().ok()).next().unwrap_or(256);
    for (name, is_agent) in [("agents", true), ("chats", false)] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let layout = Layout::new(dir.path());
        let (bytes, traces) = write_corpus(&layout, is_agent, mib << 20);
        make_index(&layout);
        println!("\n{name}: {} MB in {traces} lines", bytes / 1_000_000);
        for format in [Format::Zip, Format::Jsonl, Format::Har] {
            let (clock, cpu, out) = (0..ROUNDS).map(|_| export(&layout, format)).min().expect("a round");
            let rate = |took: Duration| bytes as f64 / 1e6 / took.as_secs_f64();
            println!(
                "  {:<6} {:>6.0} MB/s by the clock, {:>6.0} MB/s of CPU, {:>6} MB out",
                format.extension(),
                rate(clock),
                rate(cpu),
                out / 1_000_000
            );
        }
    }
}

/// Time by the clock and of the CPU, and how many bytes came out.
fn export(layout: &Layout, format: Format) -> (Duration, Duration, u64) {
    let index = open_index(layout).expect("an index");
    let mut out = Counted(0);
    let (began, cpu) = (Instant::now(), cpu_time());
    let chosen = Chosen::of(layout, &index, &Filter::default(), None).expect("a selection");
    let report = chosen.write(format, &Request::default(), &mut out, &Work::new()).expect("an export");
    assert!(report.skipped.is_empty());
    (began.elapsed(), cpu_time() - cpu, out.0)
}

struct Counted(u64);

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn cpu_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec there.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
}

fn make_index(layout: &Layout) {
    let mut index = schema::open_writer(&layout.index()).expect("an index");
    let mut state = WriterState::new();
    while !catch_up(&mut index, &mut state, layout, read_row, Budget::WHOLE).expect("lines").is_done {}
}

/// Writes lines until they have so many bytes; how many bytes and lines there are.
fn write_corpus(layout: &Layout, is_agent: bool, most: u64) -> (u64, u64) {
    let mut file = JsonlFile::open(layout, "2026-05-27/a1b2c3d4.jsonl".parse().expect("a segment")).expect("a file");
    let mut words = Words(7);
    let (mut bytes, mut number) = (0, 0);
    let mut history = String::new();
    while bytes < most {
        if !is_agent || number % REQUESTS == 0 {
            history.clear();
            let system = words.text(if is_agent { 3000 } else { 20 });
            let _ = write!(history, r#"{{"role":"system","content":"{system}"}}"#);
        }
        let asked = words.text(if is_agent { 250 } else { 30 });
        let _ = write!(history, r#",{{"role":"user","content":"{asked}"}}"#);
        let line = line(number, &history, &mut words);
        bytes += line.len() as u64 + 1;
        number += 1;
        file.append(&[line.as_bytes()]).expect("a line");
    }
    (bytes, number)
}

fn line(number: u64, history: &str, words: &mut Words) -> String {
    let start = UnixMillis(1_779_877_425_000 + number as i64 * 10);
    let mut events = String::new();
    for at in 0..120 {
        let comma = if at == 0 { "" } else { "," };
        let word = words.text(1);
        let _ = write!(
            events,
            r#"{comma}{{"event":"","data":{{"id":"chatcmpl-{number:020}","object":"chat.completion.chunk","created":1779877425,"model":"gpt-4o-mini","choices":[{{"index":0,"delta":{{"content":" {word}"}},"finish_reason":null}}]}},"t_delta_ms":{}}}"#,
            300 + at * 13
        );
    }
    format!(
        r#"{{"id":"01KPK5{number:020}","v":1,"ts_start":"{start}","ts_end":"{start}","client":"192.0.2.1:5000","method":"POST","path":"/v1/chat/completions","upstream":"http://gateway.example","status":200,"end":"complete","key_hash":"a1b2c3d4e5f60718","protocol":"chat","ttfb_ms":280,"req":{{"headers":{{"Authorization":"Bearer sk-bench","User-Agent":"bench/1","Content-Type":"application/json"}},"bytes":{},"body":{{"model":"gpt-4o-mini","stream":true,"messages":[{history}]}}}},"resp":{{"headers":{{"content-type":"text/event-stream"}},"bytes":{},"events":[{events}],"stream_done":true}},"disconnected":false,"truncated_req":false,"truncated_resp":false}}"#,
        history.len(),
        events.len(),
    )
}

/// Text of words that are drawn from a few thousand, some far more often than others.
struct Words(u64);

impl Words {
    fn text(&mut self, count: usize) -> String {
        let mut text = String::new();
        for at in 0..count {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let rank = ((self.0 >> 33) % 4096) * ((self.0 >> 45) % 4096) / 4096;
            text.push_str(if at > 0 { " " } else { "" });
            let mut left = rank + 26;
            while left > 0 {
                text.push(char::from(b'a' + (left * 7 % 26) as u8));
                left /= 9;
            }
        }
        text
    }
}
