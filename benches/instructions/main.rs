//! How many instructions the hot functions of the library take, counted by callgrind: a gate that no busy machine fails.
//!
//! Without arguments each case is run under `valgrind` and compared with `benches/instructions/baseline.txt`;
//! `--renew` writes that file; `--case NAME` is what valgrind is given. Only what [`counted`] calls is counted.
//!
//! Counted is the code as tests are built, not optimized: nothing is built for it in CI, and what an optimizer does
//! differently tomorrow is no regression of ours. A count is no measure of time; it is one of what is done.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failure ends the run")]

#[path = "../made/mod.rs"]
mod made;

use std::fmt::Write as _;
use std::hint::black_box;
use std::process::{Command, ExitCode};

use api_log::capture::read::LogReader;
use api_log::capture::record::{Begin, Ended, Head, Kind};
use api_log::exchange::{End, Exchange};
use api_log::headers::Headers;
use api_log::ids::{Place, SegmentId, TraceId, UnixMillis};
use api_log::index::{WriterState, insert_batch, schema};
use api_log::jsonl::file::JsonlFile;
use api_log::jsonl::line::read_row;
use api_log::protocol::{Protocol, extract};
use api_log::session::conversation;
use api_log::store::layout::Layout;
use api_log::trace::view::{Answer, EventData, EventView, TraceView};
use api_log::trace::{FinalizeSettings, Finished, finalize};
use api_log::wire::{json, sse};
use made::{agent_request, event_stream, exchange};

/// How many more instructions than the baseline are let pass, in percent. Compilers, libraries and what the C library
/// chooses for a processor move counts by some; what this is to find is a copy, a parse or a loop too many.
const MORE_PERCENT: u64 = 25;
/// From so many fewer on the baseline says too little.
const FEWER_PERCENT: u64 = 25;
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/baseline.txt");

/// Work that is counted, with all that it needs made beforehand.
type Work = Box<dyn FnMut()>;

/// A name, and how the work is made.
type Case = (&'static str, fn() -> Work);

/// What is counted.
const CASES: &[Case] = &[
    ("capture_append_100_chunks", capture_append),
    ("capture_read_100_chunks", capture_read),
    ("sse_split_500_events", sse_split),
    ("sse_split_500_events_in_pieces", sse_split_in_pieces),
    ("json_embed_100_turns", json_embed),
    ("prefix_hash_100_turns", prefix_hash),
    ("usage_of_500_events", usage),
    ("finalize_small_chat", || finalize_of(small_chat())),
    ("finalize_stream_of_50", || finalize_of(streamed_chat())),
    ("finalize_agent_100_turns", || finalize_of(agent())),
    ("row_from_line_100_turns", row_from_line),
    ("lines_append_32", lines_append),
    ("rows_insert_256", rows_insert),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--case", name] => {
            let (_, make) = CASES.iter().find(|(it, _)| *it == name).expect("a case of the list");
            counted(&mut *make());
            ExitCode::SUCCESS
        }
        [] => compare(),
        ["--renew"] => renew(),
        _ => {
            eprintln!("instructions: without arguments, or with --renew");
            ExitCode::FAILURE
        }
    }
}

/// The work, under a name that callgrind is told.
#[inline(never)]
#[unsafe(no_mangle)]
fn counted(work: &mut dyn FnMut()) {
    work();
}

fn compare() -> ExitCode {
    let text = std::fs::read_to_string(BASELINE).unwrap_or_default();
    let lines = text.lines().filter(|it| !it.starts_with('#')).filter_map(|it| it.split_once(' '));
    let baseline: Vec<(&str, u64)> =
        lines.filter_map(|(name, count)| Some((name, count.trim().parse().ok()?))).collect();
    let mut is_fine = true;
    for (name, _) in CASES {
        let count = instructions(name);
        let Some((_, before)) = baseline.iter().find(|(it, _)| it == name) else {
            println!("{name:<32} {count:>12}  has no baseline: renew it");
            is_fine = false;
            continue;
        };
        let percent = (count as f64 / *before as f64 - 1.0) * 100.0;
        let word = if count * 100 > before * (100 + MORE_PERCENT) {
            is_fine = false;
            "TOO MANY"
        } else if count * 100 < before * (100 - FEWER_PERCENT) {
            "far fewer: renew the baseline, so that it stays so"
        } else {
            ""
        };
        println!("{name:<32} {count:>12}  {percent:>+6.1} %  {word}");
    }
    for (name, _) in baseline.iter().filter(|(it, _)| CASES.iter().all(|(name, _)| name != it)) {
        println!("{name:<32} is counted no more: renew the baseline");
        is_fine = false;
    }
    if is_fine {
        return ExitCode::SUCCESS;
    }
    println!(
        "\nMore than {MORE_PERCENT} % above benches/instructions/baseline.txt. If that is what the change costs and it is \
         worth it, say so in the commit, with the baseline renewed:\n  \
         cargo run --locked --example instructions -- --renew"
    );
    ExitCode::FAILURE
}

fn renew() -> ExitCode {
    let mut text = "# Instructions of each case of benches/instructions/main.rs, counted by callgrind on x86-64.\n\
                    # Renewed by: cargo run --locked --example instructions -- --renew\n"
        .to_owned();
    for (name, _) in CASES {
        let count = instructions(name);
        println!("{name:<32} {count:>12}");
        writeln!(text, "{name} {count}").unwrap();
    }
    std::fs::write(BASELINE, text).expect("the baseline is written");
    ExitCode::SUCCESS
}

/// Has callgrind count a case.
fn instructions(name: &str) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=counted"])
        .arg(std::env::current_exe().unwrap())
        .args(["--case", name])
        .output()
        .unwrap_or_else(|error| panic!("valgrind cannot be run: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    let collected =
        said.lines().find_map(|it| it.split_once("Collected : ")).and_then(|(_, it)| it.trim().parse().ok());
    match collected {
        Some(count) if output.status.success() && count > 0 => count,
        _ => panic!("{name}: callgrind counts nothing: {said}"),
    }
}

const CHUNK: [u8; 200] = [b'x'; 200];

fn log() -> Vec<u8> {
    let mut log = Vec::with_capacity(64 << 10);
    let mut put = |kind, at_us, payload: &[u8]| {
        log.extend_from_slice(Head::new(kind, at_us, payload.len() as u32).as_bytes());
        log.extend_from_slice(payload);
    };
    let peer = "192.0.2.1:5000".parse().unwrap();
    put(
        Kind::Begin,
        0,
        &Begin::encode(TraceId::from_bytes([1; 16]), UnixMillis(1_779_877_425_007), peer, "http://gw:4000"),
    );
    put(
        Kind::RequestHead,
        0,
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\n\r\n",
    );
    put(Kind::RequestBody, 30, &CHUNK);
    put(Kind::Answer, 900, &200_u16.to_le_bytes());
    put(Kind::AnswerHead, 900, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    (0..100).for_each(|at| put(Kind::ResponseBody, 1_000 + at * 900, &CHUNK));
    let ended = Ended { end: End::Complete, request_bytes: 200, response_bytes: 20_000, error: None };
    put(Kind::End, 100_000, &ended.encode());
    log
}

fn capture_append() -> Work {
    Box::new(|| drop(black_box(log())))
}

fn capture_read() -> Work {
    let log = log();
    Box::new(move || {
        let mut reader = LogReader::new();
        reader.push(black_box(&log));
        assert_eq!(reader.finish().unwrap().response.wire_bytes, 20_000);
    })
}

fn sse_split() -> Work {
    let stream = event_stream(500);
    Box::new(move || assert_eq!(sse::parse(black_box(&stream)).events.len(), 500))
}

fn sse_split_in_pieces() -> Work {
    let stream = event_stream(500);
    Box::new(move || {
        let mut splitter = sse::Splitter::new();
        let mut events = Vec::new();
        black_box(&stream).as_bytes().chunks(700).for_each(|piece| splitter.push(piece, &mut events));
        assert_eq!(events.len(), 500);
    })
}

fn json_embed() -> Work {
    let request = agent_request(100);
    Box::new(move || {
        let mut out = String::new();
        json::embed(&mut out, json::value(black_box(&request)).unwrap());
        black_box(out);
    })
}

fn prefix_hash() -> Work {
    let request = agent_request(100);
    Box::new(move || {
        let none = Headers::new();
        let view = TraceView {
            method: "POST",
            target: "/v1/messages",
            status: None,
            request_headers: &none,
            response_headers: &none,
            request_json: Some(black_box(&request)),
            answer: Answer::None,
        };
        black_box(conversation(Protocol::Messages, &view));
    })
}

fn usage() -> Work {
    let stream = event_stream(500);
    Box::new(move || {
        let parsed = sse::parse(&stream).events;
        let data = parsed.iter().filter_map(|it| it.data.as_deref());
        let events: Vec<_> = data.map(|data| EventView { name: "", data: EventData::Json(data) }).collect();
        let none = Headers::new();
        let view = TraceView {
            method: "POST",
            target: "/v1/chat/completions",
            status: Some(200),
            request_headers: &none,
            response_headers: &none,
            request_json: None,
            answer: Answer::Events(&events),
        };
        black_box(extract(Protocol::Chat, &view, true, true));
    })
}

fn small_chat() -> Exchange {
    let ask = r#"{"model":"m-1","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hello there"}]}"#;
    let reply = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1779877425,"model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"Hi."},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}"#;
    exchange("/v1/chat/completions", ask.into(), "application/json", reply.into())
}

fn streamed_chat() -> Exchange {
    let ask = r#"{"model":"m-1","messages":[{"role":"user","content":"Hello there"}],"stream":true}"#;
    exchange("/v1/chat/completions", ask.into(), "text/event-stream", event_stream(50))
}

fn agent() -> Exchange {
    let answer = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m-large","content":[{"type":"text","text":"Done."}],"stop_reason":"end_turn","usage":{"input_tokens":9,"output_tokens":3}}"#;
    exchange("/v1/messages", agent_request(100), "application/json", answer.into())
}

fn finalize_of(exchange: Exchange) -> Work {
    let settings = FinalizeSettings::default();
    Box::new(move || drop(black_box(finalize(black_box(&exchange), &settings))))
}

fn row_from_line() -> Work {
    let line = finalize(&agent(), &FinalizeSettings::default()).line;
    Box::new(move || drop(black_box(read_row(black_box(&line)).unwrap())))
}

/// So many finished small chats with ids of their own.
fn finished(count: u8) -> Vec<Finished> {
    let one = |number| {
        let mut exchange = small_chat();
        exchange.id = TraceId::from_bytes([number; 16]);
        exchange.ts_start.0 += i64::from(number);
        finalize(&exchange, &FinalizeSettings::default())
    };
    (1..=count).map(one).collect()
}

fn segment() -> SegmentId {
    "2026-05-27/07070707.jsonl".parse().unwrap()
}

fn lines_append() -> Work {
    let dir = tempfile::tempdir().unwrap();
    let finished = finished(32);
    let mut file = JsonlFile::open(&Layout::new(dir.path().to_owned()), segment()).unwrap();
    Box::new(move || {
        let _kept = &dir;
        let lines: Vec<&[u8]> = finished.iter().map(|it| it.line.as_slice()).collect();
        assert_eq!(file.append(&lines).unwrap().len(), 32);
    })
}

fn rows_insert() -> Work {
    let dir = tempfile::tempdir().unwrap();
    let mut connection = schema::open_writer(&dir.path().join("index.sqlite")).unwrap();
    let mut state = WriterState::new();
    let mut offset = 0;
    let segment = segment();
    let placed = |it: Finished| {
        let place = Place { segment, offset, bytes: it.line.len() as u32 };
        offset += it.line.len() as u64 + 1;
        (it.row, place)
    };
    let rows: Vec<_> = finished(255).into_iter().map(placed).collect();
    Box::new(move || {
        let _kept = &dir;
        assert_eq!(insert_batch(&mut connection, &mut state, &rows).unwrap().inserted, 255);
    })
}
