//! What a caller cannot do to the read API: too large, too long, too slow, too many. And what browsers are told.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::stack::{Recorder, Reply, call, until};

/// How long a socket may be silent.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bodies that are taken.
const MOST: usize = 65_536;
const CHANGES: [(&str, &str); 6] = [
    ("PUT", "/api/config/media"),
    ("PUT", "/api/config/retention"),
    ("PUT", "/api/config/plugins"),
    ("PUT", "/api/config/plugins/x"),
    ("DELETE", "/api/config/plugins"),
    ("POST", "/api/index/rebuild"),
];
const TAKEN: &str = r#"{"save_attachments":true}"#;

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// All that comes until the connection ends, in order or not.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    if let Err(error) = stream.read_to_end(&mut bytes) {
        assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "it stays open");
    }
    String::from_utf8(bytes).unwrap()
}

/// What these bytes are answered with.
fn told(to: SocketAddr, bytes: impl AsRef<[u8]>) -> String {
    let mut stream = connect(to);
    // A server that refuses early may not read all of it.
    let _ = stream.write_all(bytes.as_ref());
    rest(&mut stream)
}

/// The head of a request with the token, but for its last line.
fn head(recorder: &Recorder, method: &str, target: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\n", recorder.token)
}

/// Asks on a connection that stays, and reads the answer.
fn ask_and_stay(stream: &mut TcpStream, target: &str) -> String {
    write!(stream, "GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "it ends within a head");
        text.push(byte[0]);
    }
    let head = String::from_utf8(text).unwrap();
    let length = head.to_ascii_lowercase().split("content-length: ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    head
}

#[test]
fn no_route_takes_a_body_over_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    for (method, target) in CHANGES {
        for size in [MOST + 1, MOST * 20] {
            let reply = recorder.api(method, target, &" ".repeat(size));
            let body = reply.json();
            assert_eq!((reply.status, &body["error"]), (413, &"body_too_large".into()), "{method} {target}");
            assert_eq!(body["cap_bytes"], MOST.to_string());
        }
        // Who has no token is not listened to.
        let reply = recorder.api_with(method, target, &[], &" ".repeat(MOST + 1));
        assert_eq!(reply.status, 401, "{method} {target}");
    }
    let fits = format!("{TAKEN}{}", " ".repeat(MOST - TAKEN.len()));
    assert_eq!(recorder.api("PUT", "/api/config/media", &fits).status, 200);
    // Whose length is not told beforehand.
    let head = head(&recorder, "PUT", "/api/config/media") + "Connection: close\r\n";
    let chunk = |bytes: &str| format!("{:x}\r\n{bytes}\r\n", bytes.len());
    let chunked =
        |chunks: &str| told(recorder.api, format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"));
    assert!(chunked(&chunk(&fits)).starts_with("HTTP/1.1 200 "));
    assert!(chunked(&chunk(&" ".repeat(4096)).repeat(17)).starts_with("HTTP/1.1 413 "));
    // Who asks whether to send it is told not to.
    let answer = told(recorder.api, format!("{head}Expect: 100-continue\r\nContent-Length: 70000\r\n\r\n"));
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // One that never ends is not read for ever.
    let endless = told(recorder.api, format!("{head}Content-Length: 100000000\r\n\r\n{}", " ".repeat(8 << 20)));
    assert!(endless.starts_with("HTTP/1.1 413 "), "{endless}");
    // It serves on, and nothing has changed.
    assert_eq!(recorder.get("/api/config/media")["save_attachments"], true);
}

#[test]
fn heads_and_targets_over_the_limit_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let head = head(&recorder, "GET", "/api/traces") + "Connection: close\r\n";
    let with = |fields: &str| told(recorder.api, format!("{head}{fields}\r\n"));
    assert!(with("").starts_with("HTTP/1.1 200 "));
    assert!(with(&format!("X-Long: {}\r\n", "a".repeat(30_000))).starts_with("HTTP/1.1 200 "));
    assert!(with(&format!("X-Long: {}\r\n", "a".repeat(70_000))).starts_with("HTTP/1.1 431 "));
    assert!(with(&format!("X-Long: {}\r\n", "a".repeat(300_000))).starts_with("HTTP/1.1 431 "));
    assert!(with(&"X-More: 1\r\n".repeat(90)).starts_with("HTTP/1.1 200 "));
    assert!(with(&"X-More: 1\r\n".repeat(150)).starts_with("HTTP/1.1 431 "));
    for nonsense in ["nonsense\r\n\r\n", "GET / HTTP/1.1\r\nno field\r\n\r\n", "GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n"] {
        let answer = told(recorder.api, nonsense);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{nonsense:?}: {answer}");
    }
    // The other protocol is not spoken here.
    assert!(!told(recorder.api, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").contains("HTTP/1.1 200"));
    let long = |length: usize| recorder.api("GET", &format!("/api/traces?model={}", "m".repeat(length)), "");
    assert_eq!(long(32_000).status, 200);
    let reply = long(33_000);
    let body = reply.json();
    assert_eq!((reply.status, &body["error"], &body["cap_bytes"]), (414, &"target_too_long".into(), &"32768".into()));
    // A line that fills all room for heads is one.
    let answer = told(recorder.api, format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(200_000)));
    assert!(["HTTP/1.1 414 ", "HTTP/1.1 431 "].iter().any(|it| answer.starts_with(it)), "{answer}");
    assert_eq!(recorder.api("GET", "/api/traces", "").status, 200);
}

#[test]
fn nobody_is_waited_for_longer_than_configured() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::with(dir.path(), &[("APILOG_TIMEOUTS_READ_HEADER", "300ms")]);
    // A head that does not come, and ones that do not end.
    assert_eq!(rest(&mut connect(recorder.api)), "");
    assert_eq!(told(recorder.api, "GET /healthz HTTP/1.1\r\nHo"), "");
    let mut trickling = connect(recorder.api);
    let mut sent = 0;
    // Until the other end is gone.
    while trickling.write_all(if sent == 0 { b"GET /healthz HTTP/1.1\r\nX: " } else { b"x" }).is_ok() {
        sent += 1;
        assert!(sent < 2000, "it is waited for");
        std::thread::sleep(Duration::from_millis(20));
    }
    // A body that trickles, and one that stops.
    let head = head(&recorder, "PUT", "/api/config/media") + "Content-Length: 5000\r\n\r\n{";
    for trickles in [false, true] {
        let mut stream = connect(recorder.api);
        stream.write_all(head.as_bytes()).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let trickle = std::thread::spawn(move || {
            while trickles && writer.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let answer = rest(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("\"error\":\"body_timeout\"") && answer.contains("connection: close"), "{answer}");
        drop(stream);
        trickle.join().unwrap();
    }
    // Who has asked something may be quiet for longer than a head may take, and then not.
    let mut stays = connect(recorder.api);
    ask_and_stay(&mut stays, "/readyz");
    std::thread::sleep(Duration::from_millis(900));
    ask_and_stay(&mut stays, "/readyz");
    stays.write_all(b"GET /re").unwrap();
    assert_eq!(rest(&mut stays), "");
}

#[test]
fn connections_that_ask_or_take_nothing_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::with(dir.path(), &[("APILOG_TIMEOUTS_IDLE", "400ms")]);
    let mut quiet = connect(recorder.api);
    ask_and_stay(&mut quiet, "/readyz");
    assert_eq!(rest(&mut quiet), "");
    // An answer that fills every buffer on the way, and nobody who takes it.
    let text = "large ".repeat(4 << 20);
    let ask = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    assert_eq!(recorder.send("/v1/chat/completions", &[], &ask).status, 200);
    let id = recorder.await_rows("", 1)[0]["id"].as_str().unwrap().to_owned();
    let mut takes_nothing = connect(recorder.api);
    write!(takes_nothing, "{}\r\n", head(&recorder, "GET", &format!("/api/traces/{id}"))).unwrap();
    let open = || {
        let health = recorder.get("/healthz");
        let bounds = health["bounds"].as_array().unwrap();
        bounds.iter().find(|it| it["name"] == "api_callers").unwrap()["count"]["depth"].as_u64().unwrap()
    };
    let mut first = [0; 9];
    takes_nothing.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 ");
    until("it is cut", || open() <= 1);
    let mut bytes = Vec::new();
    let _ = takes_nothing.read_to_end(&mut bytes);
    assert!(bytes.len() < text.len(), "{} bytes came", bytes.len());
}

#[test]
fn connections_over_the_limit_are_told_so_and_clients_notice_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::with(dir.path(), &[("APILOG_API_MAX_CONNECTIONS", "2")]);
    let mut held: Vec<TcpStream> = (0..2).map(|_| connect(recorder.api)).collect();
    held.iter_mut().for_each(|it| drop(ask_and_stay(it, "/readyz")));
    let reply = recorder.api("GET", "/api/traces", "");
    let body = reply.json();
    assert_eq!((reply.status, &body["error"]), (503, &"too_many_connections".into()));
    assert_eq!((reply.field("retry-after"), &body["param"]), (Some("1"), &"api.max_connections".into()));
    // Who asks whether the recorder lives must not be told that it does not.
    let health = call(recorder.api, "GET", "/healthz", &[], b"");
    assert_eq!(health.status, 200);
    assert_eq!(health.json()["api"]["connections_refused"], 1);
    assert_eq!(call(recorder.api, "GET", "/readyz", &[], b"").status, 200);
    // One answer, and no more on that connection.
    let mut refused = connect(recorder.api);
    refused.write_all(b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\nGET /readyz HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(rest(&mut refused).matches("HTTP/1.1 200").count(), 1);
    // Far more than are told so at once: they wait, and the proxy serves.
    let crowd: Vec<TcpStream> = (0..200).map(|_| connect(recorder.api)).collect();
    for _ in 0..5 {
        assert_eq!(recorder.send("/v1/models", &[], "").status, 200);
    }
    drop(crowd);
    drop(held);
    until("there is room again", || recorder.api("GET", "/api/traces", "").status == 200);
    recorder.await_rows("", 5);
    let metrics = call(recorder.api, "GET", "/metrics", &[], b"");
    let counted =
        |line: &&str| line.starts_with("api_log_bound_dropped_total{bound=\"api_callers\",cause=\"refused\"}");
    let line = metrics.text().lines().find(counted).expect("the refused are counted").to_owned();
    assert!(line.rsplit(' ').next().unwrap().parse::<u64>().unwrap() >= 1, "{line}");
}

/// What every answer tells browsers.
fn is_guarded(reply: &Reply) {
    for (field, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(reply.field(field), Some(value), "{field}: {reply:?}");
    }
    assert!(reply.field("content-security-policy").unwrap().contains("default-src 'none'"), "{reply:?}");
    assert!(reply.field("cache-control").unwrap().contains("no-store"), "{reply:?}");
}

#[test]
fn every_answer_tells_browsers_what_not_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    for (method, target, status) in [
        ("GET", "/", 200),
        ("GET", "/healthz", 200),
        ("GET", "/metrics", 200),
        ("GET", "/api/traces", 200),
        ("HEAD", "/api/traces", 200),
        ("GET", "/api/export", 200),
        ("GET", "/api/traces?limit=0", 400),
        ("GET", "/api/traces/x", 404),
        ("GET", "/nowhere", 404),
        ("POST", "/api/traces", 405),
    ] {
        let reply = recorder.api(method, target, "");
        assert_eq!(reply.status, status, "{method} {target}");
        is_guarded(&reply);
    }
    is_guarded(&recorder.api("PUT", "/api/config/media", &" ".repeat(MOST + 1)));
    is_guarded(&recorder.api("GET", &format!("/{}", "a".repeat(40_000)), ""));
    let refused = recorder.api_with("GET", "/api/traces", &[], "");
    assert_eq!((refused.status, refused.field("www-authenticate")), (401, Some("Bearer realm=\"api-log\"")));
    is_guarded(&refused);
    let events = crate::stack::open(&recorder, "/api/tail");
    let mut events = events;
    let mut head = [0; 2048];
    let length = events.read(&mut head).unwrap();
    let head = String::from_utf8_lossy(&head[..length]).to_ascii_lowercase();
    assert!(head.contains("cross-origin-resource-policy: same-origin"), "{head}");
}
