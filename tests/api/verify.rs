//! `api-log verify` and `package` while segments are begun, sealed and deleted under them.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::stack::Recorder;

/// How long until enough was sealed and deleted, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(300);

fn run(data_dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_api-log"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("APILOG_")) {
        command.env_remove(name);
    }
    command.env("APILOG_STORAGE_DATA_DIR", data_dir).env("APILOG_CAPTURE_ARENA_DIR", data_dir.join("arenas"));
    command.args(arguments).output().unwrap()
}

/// The exit code and what was found, by kind.
fn verify(data_dir: &Path, more: &[&str]) -> (i32, Vec<String>, Value) {
    let output = run(data_dir, &[&["verify", "--json"], more].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let kinds = report["counts"].as_object().unwrap().keys().cloned().collect();
    (output.status.code().unwrap(), kinds, report)
}

/// A chat of some 100 KB with an image, unlike any other.
fn chat(number: u64) -> String {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut hex = |digits: usize| {
        let words = (0..digits / 16).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{:016x}", state ^ (state >> 29))
        });
        words.collect::<String>()
    };
    let content = json!([
        {"type": "text", "text": hex(96_000)},
        {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", hex(8_000))}},
    ]);
    json!({"model": "m", "messages": [{"role": "user", "content": content}]}).to_string()
}

/// A recorder whose segments are full after some ten exchanges, sealed then, and soon deleted.
fn busy(data_dir: &Path) -> Recorder {
    let variables = [
        ("APILOG_STORAGE_SEAL", "zstd"),
        ("APILOG_STORAGE_SEGMENT_BYTES", "1MiB"),
        ("APILOG_RETENTION_MAX_BYTES", "4MiB"),
        ("APILOG_RETENTION_MEDIA_MAX_BYTES", "100KiB"),
    ];
    std::fs::set_permissions(data_dir, Permissions::from_mode(0o700)).unwrap();
    let recorder = Recorder::with(data_dir, &variables);
    at_rest(&recorder);
    recorder
}

/// Waits until nothing is to be made any more of what was sent, or of what another recorder left.
fn at_rest(recorder: &Recorder) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (index, health) = (recorder.get("/api/index"), recorder.get("/healthz"));
        let (recovery, in_flight) = (&health["captures"]["recovery"], &health["ledger"]["in_flight"]);
        if index["state"] == "current" && recovery == "done" && in_flight == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "recovery {recovery}, in flight {in_flight}, index {index:#}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// One chat on a connection of its own; whether it was answered.
fn send(proxy: SocketAddr, key: &str, body: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(proxy) else { return false };
    let length = body.len();
    let fields = format!("Host: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n");
    let head =
        format!("POST /v1/chat/completions HTTP/1.1\r\n{fields}Connection: close\r\nContent-Length: {length}\r\n\r\n");
    let mut answer = Vec::new();
    let sent = stream.write_all((head + body).as_bytes()).and_then(|()| stream.read_to_end(&mut answer));
    sent.is_ok() && answer.starts_with(b"HTTP/1.1 200 ")
}

/// Sends with two keys until `meanwhile` has come to its end; says how many chats were not answered.
fn under_traffic(proxy: SocketAddr, meanwhile: impl FnOnce()) -> u64 {
    /// Ends the traffic, however what went on meanwhile ended.
    struct Over<'o>(&'o AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (is_over, unanswered) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|threads| {
        let ends = Over(&is_over);
        for sender in 0..2_u64 {
            let (is_over, unanswered) = (&is_over, &unanswered);
            threads.spawn(move || {
                let mut numbers = 0_u64..;
                while let Some(number) = numbers.next().filter(|_| !is_over.load(Ordering::Relaxed)) {
                    let is_answered = send(proxy, &format!("verify-{sender}"), &chat(number * 2 + sender));
                    unanswered.fetch_add(u64::from(!is_answered), Ordering::Relaxed);
                }
            });
        }
        meanwhile();
        drop(ends);
    });
    unanswered.into_inner()
}

/// Runs `each` until so many segments were sealed, and so many deleted, while it ran.
fn while_segments_come_and_go(recorder: &Recorder, count: u64, mut each: impl FnMut()) {
    let deadline = Instant::now() + PATIENCE;
    let so_far = || {
        let health = recorder.get("/healthz");
        let sealed = health["recording"]["sealed_segments"].as_u64().unwrap();
        (sealed, health["storage"]["evicted_segments"].as_u64().unwrap())
    };
    let (sealed, deleted) = so_far();
    loop {
        each();
        let now = so_far();
        if now.0 >= sealed + count && now.1 >= deleted + count {
            return;
        }
        assert!(Instant::now() < deadline, "sealed and deleted: {now:?}");
    }
}

#[test]
fn what_is_begun_sealed_and_deleted_meanwhile_is_no_finding() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = busy(dir.path());
    let there = tempfile::tempdir().unwrap();
    let out = there.path().join("a.zip");
    let unanswered = under_traffic(recorder.proxy, || {
        while_segments_come_and_go(&recorder, 12, || {
            let (code, kinds, report) = verify(dir.path(), &[]);
            assert_eq!((code, kinds), (0, vec![]), "{report:#}");
            assert!(report["recorder"].is_string(), "{report:#}");
        });
        while_segments_come_and_go(&recorder, 4, || {
            let output = run(dir.path(), &["package", "-out", out.to_str().unwrap()]);
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            let mut archive = zip::ZipArchive::new(std::fs::File::open(&out).unwrap()).unwrap();
            for at in 0..archive.len() {
                // Every entry has the length and the checksum that it says.
                std::io::copy(&mut archive.by_index(at).unwrap(), &mut std::io::sink()).unwrap();
            }
        });
    });
    assert_eq!(unanswered, 0);
    at_rest(&recorder);
    recorder.stop();
    // Every file that a recorder leaves is known.
    let (code, kinds, report) = verify(dir.path(), &[]);
    assert_eq!((code, kinds), (0, vec![]), "{report:#}");
}

#[test]
fn what_a_killed_recorder_left_is_mended_once_and_for_all() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = busy(dir.path());
    under_traffic(recorder.proxy, move || {
        while_segments_come_and_go(&recorder, 3, || {});
        drop(recorder);
    });
    let (_, kinds, report) = verify(dir.path(), &[]);
    assert!(!kinds.iter().any(|it| it == "foreign_file" || it == "damaged_file"), "{report:#}");
    let (code, _, report) = verify(dir.path(), &["--repair"]);
    assert_eq!(code, 0, "{report:#}");
    let (code, _, report) = verify(dir.path(), &["--repair"]);
    assert_eq!((code, &report["repairs"]), (0, &json!([])), "{report:#}");
    // What was under way is recorded now, and everything fits together.
    busy(dir.path()).stop();
    let (code, kinds, report) = verify(dir.path(), &[]);
    assert_eq!(code, 0, "{report:#}");
    assert!(kinds.iter().all(|it| it == "kept_aside"), "{report:#}");
}
