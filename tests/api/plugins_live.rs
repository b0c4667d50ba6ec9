//! The plugins' list edited while requests stream: by any editor, broken in any way, against the API. No request fails,
//! and each is wholly under one generation.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::plugins::put_list;
use crate::stack::{Recorder, call, until};

const LIST: &str = "/api/config/plugins";
/// What every streamed answer holds.
const EVENTS: usize = 6;

/// A gateway whose answers take a while: events with pauses between them.
fn streaming_gateway() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || stream_answers(stream));
        }
    });
    address
}

fn stream_answers(mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        if std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).is_err() {
            return;
        }
        let mut send = |text: &str| stream.write_all(text.as_bytes()).is_ok();
        let mut is_there =
            send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for number in 0..EVENTS {
            let event = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{number}\"}}}}]}}\n\n");
            is_there = is_there && send(&format!("{:x}\r\n{event}\r\n", event.len()));
            std::thread::sleep(Duration::from_millis(10));
        }
        if !is_there || !send("e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n") {
            return;
        }
    }
}

fn start(data_dir: &Path) -> Recorder {
    Recorder::with(data_dir, &[("APILOG_PROXY_UPSTREAM", &format!("http://{}", streaming_gateway()))])
}

/// Two instances with the generation's number, so that a mix of two would show.
fn instances(number: u64) -> Value {
    json!([
        {"type": "tag", "id": "one", "enabled": true, "config": {"tags": [format!("g{number}")]}},
        {"type": "sample", "id": "all", "enabled": true, "config": {"rate": 1}},
        {"type": "tag", "id": "two", "enabled": true, "config": {"tags": [format!("h{number}")]}},
    ])
}

fn file_of(number: u64) -> String {
    json!({"mine": "kept", "plugins": {"instances": instances(number)}}).to_string()
}

fn is_in_force(recorder: &Recorder, number: u64) -> bool {
    recorder.get(LIST)["instances"] == instances(number)
}

fn await_in_force(recorder: &Recorder, number: u64) {
    until(&format!("generation {number}"), || is_in_force(recorder, number));
}

/// Clients that ask for streams until they are told to stop; how many answers each had.
struct Load {
    is_over: Arc<AtomicBool>,
    answers: Arc<AtomicU64>,
    clients: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn begin(recorder: &Recorder) -> Load {
        let (is_over, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients = (0..4).map(|_| {
            let (proxy, is_over, answers) = (recorder.proxy, is_over.clone(), answers.clone());
            std::thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let body = br#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
                    let reply = call(proxy, "POST", "/v1/chat/completions", &[], body);
                    assert_eq!(reply.status, 200);
                    assert!(reply.text().contains("[DONE]"), "{}", reply.text());
                    assert_eq!(reply.text().matches("delta").count(), EVENTS);
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        Load { clients: clients.collect(), is_over, answers }
    }

    /// How many answers there were; none has failed.
    fn end(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().expect("no request fails"));
        self.answers.load(Ordering::Relaxed) as usize
    }
}

/// Every row has the two labels of one generation; which generations there were.
fn generations(recorder: &Recorder, answers: usize) -> BTreeSet<String> {
    until("every trace to be recorded", || {
        let ledger = recorder.get("/healthz")["ledger"].clone();
        ledger["recorded"].as_u64() >= Some(answers as u64) && ledger["in_flight"] == 0
    });
    let ledger = recorder.get("/healthz")["ledger"].clone();
    assert_eq!((&ledger["recorded"], &ledger["balanced"]), (&json!(answers), &json!(true)), "{ledger}");
    let (mut found, mut cursor, mut seen) = (BTreeSet::new(), String::new(), 0);
    until("every row", || {
        recorder.get("/healthz")["ledger"]["recorded"] == json!(answers) && all_rows(recorder) == answers
    });
    loop {
        let page = recorder.get(&format!("/api/traces?limit=500&cursor={cursor}"));
        for row in page["traces"].as_array().unwrap() {
            let tags: Vec<&str> = row["tags"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
            let generation = match tags[..] {
                [one, two] if one[1..] == two[1..] && one != two => &one[1..],
                // That of the configuration, while a file was empty for long.
                [] => "none",
                _ => panic!("two generations: {row}"),
            };
            found.insert(generation.to_owned());
            seen += 1;
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, answers);
    found
}

fn all_rows(recorder: &Recorder) -> usize {
    let (mut count, mut cursor) = (0, String::new());
    loop {
        let page = recorder.get(&format!("/api/traces?limit=500&cursor={cursor}"));
        count += page["traces"].as_array().unwrap().len();
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => return count,
        }
    }
}

/// Ten edits a second for some seconds (`PLUGIN_EDIT_SECONDS`), in each of the ways in which editors write.
#[test]
fn ten_edits_a_second_under_streams_fail_no_request_and_mix_no_generations() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("runtime_overrides.json");
    std::fs::write(&file, file_of(0)).unwrap();
    let recorder = start(dir.path());
    await_in_force(&recorder, 0);
    let load = Load::begin(&recorder);
    let seconds = std::env::var("PLUGIN_EDIT_SECONDS").ok().and_then(|it| it.parse().ok()).unwrap_or(4);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut number = 0;
    while Instant::now() < end {
        number += 1;
        match number % 3 {
            0 => std::fs::write(&file, file_of(number)).unwrap(),
            1 => {
                std::fs::write(dir.path().join(".edited"), file_of(number)).unwrap();
                std::fs::rename(dir.path().join(".edited"), &file).unwrap();
            }
            // In two strokes: what stands there between them is broken.
            _ => {
                let text = file_of(number);
                let mut open = std::fs::File::create(&file).unwrap();
                open.write_all(&text.as_bytes()[..20]).unwrap();
                open.write_all(&text.as_bytes()[20..]).unwrap();
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    await_in_force(&recorder, number);
    let answers = load.end();
    assert!(recorder.get("/healthz")["plugins"]["last_error"].is_null());
    let generations = generations(&recorder, answers);
    assert!(generations.len() > 3, "edits were live while requests passed: {generations:?} of {number}");
}

#[test]
fn puts_and_edits_that_race_end_in_what_stands_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("runtime_overrides.json");
    let recorder = start(dir.path());
    put_list(&recorder, instances(0));
    let load = Load::begin(&recorder);
    for round in 1..=20 {
        let text = file_of(2 * round);
        std::thread::scope(|scope| {
            scope.spawn(|| put_list(&recorder, instances(2 * round + 1)));
            scope.spawn(|| {
                std::fs::write(dir.path().join(".edited"), &text).unwrap();
                std::fs::rename(dir.path().join(".edited"), &file).unwrap();
            });
        });
        until("the file's list to be in force", || {
            let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            let in_force = recorder.get(LIST);
            in_force["instances"] == kept["plugins"]["instances"] && in_force["source"] == "override"
        });
    }
    let answers = load.end();
    generations(&recorder, answers);
}

#[test]
fn what_is_broken_changes_nothing_and_is_told_until_it_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("runtime_overrides.json");
    let recorder = start(dir.path());
    // The file does not exist yet.
    std::fs::write(&file, file_of(1)).unwrap();
    await_in_force(&recorder, 1);
    let health = || recorder.get("/healthz")["plugins"].clone();
    let generation = health()["generation"].clone();
    let broken: [&[u8]; 9] = [
        b"{",
        b"[]",
        b"{\"plugins\":[]}",
        b"{\"plugins\":{\"instances\":{}}}",
        b"{\"plugins\":{\"instances\":[{\"type\":\"tag\"}]}}",
        b"{\"plugins\":{\"instances\":[{\"type\":\"warp\",\"id\":\"a\"}]}}",
        b"{\"plugins\":{\"instances\":[\n {\"type\":\"tag\",\"id\":\"a\",\"config\":{\"tags\":1}}]}}",
        b"{\"plugins\":{\"instances\":[{\"type\":\"text-append\",\"id\":\"a\"},{\"type\":\"text-append\",\"id\":\"a\"}]}}",
        b"\xff\xfe{}",
    ];
    let mut number = 1;
    for text in broken {
        std::fs::write(&file, text).unwrap();
        until("the mistake to be told", || health()["last_error"].is_object());
        assert!(is_in_force(&recorder, number), "{}", text.escape_ascii());
        // Mended, with or without a change.
        number += 1;
        std::fs::write(&file, file_of(number)).unwrap();
        await_in_force(&recorder, number);
        until("the mistake to be over", || health()["last_error"].is_null());
    }
    assert_eq!(health()["generation"].as_u64(), generation.as_u64().map(|it| it + broken.len() as u64));
    // A folder in its place.
    std::fs::remove_file(&file).unwrap();
    until("the configuration's list", || recorder.get(LIST)["source"] == "yaml");
    std::fs::create_dir(&file).unwrap();
    until("the mistake to be told", || health()["last_error"].is_object());
    std::fs::remove_dir(&file).unwrap();
    until("the mistake to be over", || health()["last_error"].is_null());
    std::fs::write(&file, "").unwrap();
    std::fs::write(&file, file_of(99)).unwrap();
    await_in_force(&recorder, 99);
}

#[test]
fn links_are_followed_as_kubernetes_exchanges_them_and_a_replaced_folder_too() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = dir.path().join("mounted");
    for version in ["..1", "..2", "..3"] {
        std::fs::create_dir_all(mounted.join(version)).unwrap();
        let number = version[2..].parse().unwrap();
        std::fs::write(mounted.join(version).join("runtime_overrides.json"), file_of(number)).unwrap();
    }
    let exchange = |version: &str| {
        symlink(version, mounted.join("..data_tmp")).unwrap();
        std::fs::rename(mounted.join("..data_tmp"), mounted.join("..data")).unwrap();
    };
    exchange("..1");
    symlink("..data/runtime_overrides.json", mounted.join("runtime_overrides.json")).unwrap();
    let data_dir = dir.path().join("data");
    std::fs::create_dir(&data_dir).unwrap();
    symlink(mounted.join("runtime_overrides.json"), data_dir.join("runtime_overrides.json")).unwrap();
    let recorder = start(&data_dir);
    await_in_force(&recorder, 1);
    for number in [2, 3, 1, 2] {
        exchange(&format!("..{number}"));
        await_in_force(&recorder, number);
    }
    // The folder that holds it is exchanged for another.
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("runtime_overrides.json"), file_of(7)).unwrap();
    std::fs::rename(&mounted, dir.path().join("gone")).unwrap();
    std::fs::rename(&other, &mounted).unwrap();
    await_in_force(&recorder, 7);
    std::fs::write(mounted.join("runtime_overrides.json"), file_of(8)).unwrap();
    await_in_force(&recorder, 8);
    // A change by the API goes through the link, and leaves it.
    put_list(&recorder, instances(9));
    assert!(data_dir.join("runtime_overrides.json").symlink_metadata().unwrap().is_symlink());
    let kept: Value = serde_json::from_slice(&std::fs::read(mounted.join("runtime_overrides.json")).unwrap()).unwrap();
    assert_eq!((&kept["plugins"]["instances"], &kept["mine"]), (&instances(9), &json!("kept")));
}
