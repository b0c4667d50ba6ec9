//! What sealing costs and what it saves, beside `gzip -6` and `zcat` in the same run.
//!
//! `cargo bench --bench seal [-- MIB]`: MIB of the large file whose lines are read at random, 1024 by default. Needs
//! `gzip`, `zcat` and `zstdcat`.
//!
//! Throughput is by CPU time of the thread or child that does the work, so that a busy machine distorts it less;
//! latency is by the clock.

#![expect(clippy::expect_used, reason = "a measurement that cannot be taken stops")]

use std::fs::File;
use std::io::{BufWriter, Cursor, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use api_log::ids::{Place, SegmentId, TraceId};
use api_log::jsonl::read;
use api_log::jsonl::sealed::{Codec, Outcome, seal, verify_sealed, write_sealed};
use api_log::store::layout::{Form, Layout};

const MIB: u64 = 1 << 20;
/// Best of so many.
const ROUNDS: usize = 3;
/// Lines read at random.
const READS: usize = 301;
/// The same from a file without a table: seconds each.
const SLOW_READS: usize = 5;

fn main() {
    // Anything but `cargo bench` only wants to know that it builds.
    if !std::env::args().any(|it| it == "--bench") {
        return;
    }
    let large: u64 = std::env::args().filter_map(|it| it.parse().ok()).next().unwrap_or(1024);
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, kind, mib) in [("agent-like", Kind::Agent, 160), ("chat-like", Kind::Chat, 96)] {
        ratios(dir.path(), name, kind, mib * MIB);
    }
    details(dir.path(), large * MIB);
}

/// Bytes on disk and throughput of one corpus.
fn ratios(dir: &Path, name: &str, kind: Kind, bytes: u64) {
    let path = dir.join("corpus.jsonl");
    let lines = write_corpus(&path, kind, bytes).len();
    let plain = std::fs::read(&path).expect("the corpus");
    println!("\n{name}: {} MB in {lines} lines", plain.len() / 1_000_000);
    println!("{:<22} {:>9} {:>9} {:>8} {:>12}", "", "MB", "of plain", "MB/s", "verify MB/s");
    let row = |what: &str, packed: u64, took: Duration, verified: Option<Duration>| {
        let share = packed as f64 / plain.len() as f64;
        let verified = verified.map_or(String::new(), |it| rate(plain.len(), it));
        let megabytes = packed as f64 / 1e6;
        println!("{what:<22} {megabytes:>9.2} {share:>9.4} {:>8} {verified:>12}", rate(plain.len(), took));
    };
    let out = dir.join("corpus.packed");
    let took = best(|| child_time(|| gzip(&path, &out)));
    row("gzip -6, zcat", length(&out), took, Some(best(|| child_time(|| cat("zcat", &out)))));
    let cases = [
        ("gzip, members of 1 MiB", Codec::Gzip, 1),
        ("zstd, frames of 8 MiB", Codec::Zstd, 8),
        ("zstd, frames of 16 MiB", Codec::Zstd, 16),
        ("zstd, frames of 32 MiB", Codec::Zstd, 32),
    ];
    for (what, codec, mib) in cases {
        let took = best(|| {
            let mut sink = BufWriter::new(File::create(&out).expect("a file"));
            let (mut source, mut ahead) = (Cursor::new(&plain), Cursor::new(&plain));
            let (took, _) = thread_time(|| write_sealed(&mut source, &mut ahead, codec, mib * MIB, &mut sink));
            took
        });
        let verified = best(|| {
            let (took, found) = thread_time(|| verify_sealed(&out, codec, |_| Ok(())));
            assert_eq!(found.expect("a whole file").bytes, plain.len() as u64);
            took
        });
        row(what, length(&out), took, Some(verified));
    }
}

/// How long one line takes at random places of one large file, in every form.
fn details(dir: &Path, bytes: u64) {
    let layout = Layout::new(dir.join("data"));
    let segment: SegmentId = "2026-05-27/a1b2c3d4.jsonl".parse().expect("a segment");
    std::fs::create_dir_all(layout.day(segment.bucket.date)).expect("a folder");
    let path = layout.segment(segment, Form::Plain);
    let lines = write_corpus(&path, Kind::Agent, bytes);
    let copy = dir.join("copy.jsonl");
    std::fs::copy(&path, &copy).expect("a copy");
    println!("\none line of {} MB in {} lines, agent-like", length(&path) / 1_000_000, lines.len());
    println!("{:<22} {:>10} {:>10} {:>10} {:>10} {:>14}", "", "MB", "median ms", "p90 ms", "most ms", "seal MB/s");
    let row = |what: &str, packed: u64, reads: usize, sealed: Option<Duration>| {
        let mut took: Vec<Duration> = lines_at_random(&lines, reads)
            .map(|(offset, bytes, id)| {
                let place = Place { segment, offset, bytes };
                let begun = Instant::now();
                let line = read::line(&layout, place, id).expect("the line");
                assert_eq!(line.len(), bytes as usize);
                begun.elapsed()
            })
            .collect();
        took.sort_unstable();
        let ms = |it: Duration| it.as_secs_f64() * 1e3;
        let (median, p90, most) = (took[reads / 2], took[reads * 9 / 10], took[reads - 1]);
        let sealed = sealed.map_or(String::new(), |it| rate(bytes as usize, it));
        println!(
            "{what:<22} {:>10.1} {:>10.2} {:>10.2} {:>10.2} {sealed:>14}",
            packed as f64 / 1e6,
            ms(median),
            ms(p90),
            ms(most)
        );
    };
    row("plain", length(&path), READS, None);
    for (what, codec) in [("zstd", Codec::Zstd), ("gzip", Codec::Gzip)] {
        let (took, outcome) = thread_time(|| seal(&layout, segment, codec, &mut |_| ControlFlow::Continue(())));
        assert!(matches!(outcome, Ok(Outcome::Sealed(_))), "{outcome:?}");
        let sealed = layout.segment(segment, codec.form());
        row(what, length(&sealed), READS, Some(took));
        let cat_by = if codec == Codec::Zstd { "zstdcat" } else { "zcat" };
        let whole = Instant::now();
        cat(cat_by, &sealed);
        println!("{:<22} {:>10} {:.1} s for the whole file", "", cat_by, whole.elapsed().as_secs_f64());
        std::fs::remove_file(&sealed).expect("a sealed file");
        std::fs::copy(&copy, &path).expect("a copy");
    }
    let whole = layout.segment(segment, Form::Gzip);
    gzip(&path, &whole);
    std::fs::remove_file(&path).expect("the plain file");
    row("gzip -6, one member", length(&whole), SLOW_READS, None);
    let begun = Instant::now();
    cat("zcat", &whole);
    println!("{:<22} {:>10} {:.1} s for the whole file", "", "zcat", begun.elapsed().as_secs_f64());
}

fn lines_at_random(lines: &[Line], reads: usize) -> impl Iterator<Item = Line> + '_ {
    let mut random = Random(42);
    (0..reads).map(move |_| lines[random.below(lines.len() as u64) as usize])
}

fn gzip(from: &Path, to: &Path) {
    let out = File::create(to).expect("a file");
    let status = Command::new("gzip").args(["-6", "-c"]).arg(from).stdout(out).status().expect("gzip");
    assert!(status.success());
}

fn cat(program: &str, path: &Path) {
    let status = Command::new(program).arg(path).stdout(Stdio::null()).status().expect(program);
    assert!(status.success());
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).expect("a file").len()
}

fn rate(bytes: usize, took: Duration) -> String {
    format!("{:.0}", bytes as f64 / 1e6 / took.as_secs_f64())
}

fn best(mut measure: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| measure()).min().unwrap_or_default()
}

fn thread_time<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = clock();
    let done = work();
    (clock() - begun, done)
}

fn clock() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills the one structure it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// CPU time of the children that end meanwhile.
fn child_time(work: impl FnOnce()) -> Duration {
    let begun = children_clock();
    work();
    children_clock() - begun
}

fn children_clock() -> Duration {
    // SAFETY: all zero is a valid value; the kernel fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    [usage.ru_utime, usage.ru_stime]
        .map(|it| Duration::new(it.tv_sec as u64, it.tv_usec as u32 * 1000))
        .into_iter()
        .sum()
}

#[derive(Clone, Copy)]
enum Kind {
    /// Conversations whose prompt begins at 60 to 100 KB and grows to 200 KB, eight at a time.
    Agent,
    /// Short questions with streamed answers.
    Chat,
}

/// Where a line stands, and whose it is.
type Line = (u64, u32, TraceId);

fn write_corpus(path: &Path, kind: Kind, bytes: u64) -> Vec<Line> {
    let mut corpus = Corpus::new(kind);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).expect("a file"));
    let mut lines = Vec::new();
    let mut offset = 0;
    while offset < bytes {
        let (id, line) = corpus.next_line();
        file.write_all(line.as_bytes()).and_then(|()| file.write_all(b"\n")).expect("room");
        lines.push((offset, line.len() as u32, id));
        offset += line.len() as u64 + 1;
    }
    file.flush().expect("room");
    lines
}

struct Corpus {
    kind: Kind,
    random: Random,
    vocabulary: Vec<String>,
    conversations: Vec<String>,
    count: u64,
}

impl Corpus {
    fn new(kind: Kind) -> Corpus {
        let mut random = Random(7);
        let word = |random: &mut Random| -> String {
            (0..2 + random.below(8)).map(|_| char::from(b'a' + random.below(26) as u8)).collect()
        };
        let vocabulary = (0..20_000).map(|_| word(&mut random)).collect();
        Corpus { kind, random, vocabulary, conversations: vec![String::new(); 8], count: 0 }
    }

    /// So many bytes of words; common ones come more often.
    fn words(&mut self, bytes: u64) -> String {
        let mut text = String::with_capacity(bytes as usize + 16);
        while (text.len() as u64) < bytes {
            let (one, other) = (self.random.below(20_000), self.random.below(20_000));
            text.push_str(&self.vocabulary[one.min(other) as usize]);
            text.push(' ');
        }
        text
    }

    fn next_line(&mut self) -> (TraceId, String) {
        self.count += 1;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(0x0190_0000_0000_0000 + self.count).to_be_bytes());
        bytes[8..].copy_from_slice(&self.random.next().to_be_bytes());
        let id = TraceId::from_bytes(bytes);
        let body = match self.kind {
            Kind::Agent => self.agent(),
            Kind::Chat => {
                let size = 200 + self.random.below(2000);
                let asked = self.words(size);
                format!(
                    r#"{{"role":"system","content":"You are a helpful assistant."}},{{"role":"user","content":"{asked}"}}"#
                )
            }
        };
        let events = match self.kind {
            Kind::Agent => self.random.below(40),
            Kind::Chat => 10 + self.random.below(40),
        };
        let mut answer = String::new();
        for n in 0..events {
            let (word, key) = (self.words(6), self.random.next());
            let comma = if n > 0 { "," } else { "" };
            answer += &format!(
                r#"{comma}{{"event":"","data":{{"id":"chatcmpl-{key:016x}","object":"chat.completion.chunk","created":1780000000,"model":"gpt-4o-mini","choices":[{{"index":0,"delta":{{"content":"{word}"}},"finish_reason":null}}]}},"t_delta_ms":{}}}"#,
                n * 17
            );
        }
        let digest = format!("{:016x}{:016x}{:016x}", self.random.next(), self.random.next(), self.random.next());
        let line = format!(
            r#"{{"id":"{id}","v":1,"ts_start":"2026-05-27T10:00:{:02}.{:03}Z","client":"127.0.0.1:{}","method":"POST","path":"/v1/chat/completions","status":200,"end":"complete","req":{{"headers":{{"User-Agent":"agent/1.0","Content-Type":"application/json"}},"sha256":"{digest}","body":{{"model":"gpt-4o-mini","stream":true,"messages":[{body}]}}}},"resp":{{"events":[{answer}],"stream_done":true}}}}"#,
            self.count % 60,
            self.count % 1000,
            30_000 + self.random.below(30_000),
        );
        (id, line)
    }

    /// The next request of some conversation: all that was said before, and a turn more.
    fn agent(&mut self) -> String {
        let which = self.random.below(8) as usize;
        let mut said = std::mem::take(&mut self.conversations[which]);
        if said.is_empty() || said.len() > 200_000 {
            let size = 60_000 + self.random.below(40_000);
            said = format!(r#"{{"role":"system","content":"{}"}}"#, self.words(size));
        }
        let (asked, answered) = (500 + self.random.below(6000), 200 + self.random.below(2000));
        said += &format!(
            r#",{{"role":"user","content":"{}"}},{{"role":"assistant","content":"{}"}}"#,
            self.words(asked),
            self.words(answered)
        );
        self.conversations[which].clone_from(&said);
        said
    }
}

/// A xorshift: the same corpus in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
