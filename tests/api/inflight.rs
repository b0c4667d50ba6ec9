//! `/api/inflight`: exchanges while they are under way.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::{Value, json};
use tungstenite::WebSocket;
use tungstenite::protocol::Role;

use crate::stack::{Recorder, until};
use crate::tail::Listener;

/// A gateway that answers each request with a stream, of which it sends what it is told to.
pub(crate) struct Gateway {
    address: SocketAddr,
    streams: Receiver<Sender<Vec<u8>>>,
}

impl Gateway {
    /// Its answers begin with these fields.
    pub(crate) fn start(fields: &'static str) -> Gateway {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (opened, streams) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (tell, told) = channel();
                if opened.send(tell).is_err() {
                    return;
                }
                std::thread::spawn(move || stream_to(stream, fields, &told));
            }
        });
        Gateway { address, streams }
    }

    /// The stream of the next request.
    pub(crate) fn next(&self) -> Sender<Vec<u8>> {
        self.streams.recv_timeout(std::time::Duration::from_secs(180)).unwrap()
    }

    pub(crate) fn recorder(&self, data_dir: &Path, variables: &[(&str, &str)]) -> Recorder {
        let upstream = format!("http://{}", self.address);
        let upstream = [("APILOG_PROXY_UPSTREAM", upstream.as_str())];
        Recorder::with(data_dir, &[&upstream, variables].concat())
    }
}

/// Sends chunks as they are told, and the end when nobody is there to tell more.
fn stream_to(stream: TcpStream, fields: &str, told: &Receiver<Vec<u8>>) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).unwrap();
    write!(writer, "HTTP/1.1 200 OK\r\n{fields}Transfer-Encoding: chunked\r\n\r\n").unwrap();
    for chunk in told {
        let chunk = [format!("{:x}\r\n", chunk.len()).as_bytes(), &chunk, b"\r\n"].concat();
        if writer.write_all(&chunk).is_err() {
            return;
        }
    }
    let _ = writer.write_all(b"0\r\n\r\n");
}

/// Sends a request and leaves its answer to come.
pub(crate) fn ask(recorder: &Recorder, target: &str) -> TcpStream {
    let mut stream = TcpStream::connect(recorder.proxy).unwrap();
    write!(
        stream,
        "POST {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-secret\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    )
    .unwrap();
    stream
}

fn inflight(recorder: &Recorder) -> Vec<Value> {
    recorder.get("/api/inflight")["inflight"].as_array().unwrap().clone()
}

pub(crate) const EVENTS: &str = "Content-Type: text/event-stream\r\n";

#[test]
fn an_exchange_is_shown_with_what_has_passed_so_far() {
    let gateway = Gateway::start(EVENTS);
    let dir = tempfile::tempdir().unwrap();
    let recorder = gateway.recorder(dir.path(), &[]);
    assert_eq!(recorder.get("/api/inflight"), json!({"total": 0, "inflight": []}));
    let client = ask(&recorder, "/v1/chat/completions?key=secret");
    let stream = gateway.next();
    let first = |recorder: &Recorder| inflight(recorder).into_iter().next().unwrap_or_default();
    until("it is shown", || first(&recorder)["req_bytes"] == 2);
    let shown = first(&recorder);
    assert_eq!((&shown["method"], &shown["path"]), (&"POST".into(), &"/v1/chat/completions?key=***".into()));
    assert_eq!((&shown["protocol"], &shown["socket"], &shown["events"]), (&"chat".into(), &false.into(), &0.into()));
    let id = shown["id"].as_str().unwrap().to_owned();
    for (count, chunk) in ["data: 1\n\n", "data: 2\n\nda", "ta: 3\n\n"].into_iter().enumerate() {
        stream.send(chunk.into()).unwrap();
        until("it counts", || first(&recorder)["events"] == count + 1);
    }
    let shown = first(&recorder);
    assert_eq!((&shown["status"], &shown["resp_bytes"]), (&200.into(), &27.into()));
    assert!(shown["age_ms"].as_u64().unwrap() < 60_000);
    drop(stream);
    until("it has ended", || inflight(&recorder).is_empty());
    let trace = recorder.await_rows("", 1).remove(0);
    for member in ["id", "ts_start", "path", "protocol", "key_hash", "resp_bytes"] {
        assert_eq!(trace[member], shown[member], "{member}");
    }
    assert_eq!(trace["id"], id);
    drop(client);
    assert_eq!(recorder.refusal(&format!("/api/inflight/{id}/events")).0, 404);
    for (query, param) in [("limit=0", "limit"), ("limit=1001", "limit"), ("x=1", "x")] {
        let (status, body) = recorder.refusal(&format!("/api/inflight?{query}"));
        assert_eq!((status, &body["param"]), (400, &param.into()));
    }
}

#[test]
fn events_are_told_as_they_arrive_and_then_how_it_ended() {
    let gateway = Gateway::start(EVENTS);
    let dir = tempfile::tempdir().unwrap();
    // Most of it is moved to disk meanwhile.
    let recorder = gateway.recorder(dir.path(), &[("APILOG_CAPTURE_SPILL_BYTES", "4KiB")]);
    let mut client = ask(&recorder, "/v1/chat/completions");
    let stream = gateway.next();
    let event = |number: usize| {
        format!("data: {{\"n\":{number},\"x\":\"{}\"}}\n\n", "y".repeat(number * 1000 % 9000)).into_bytes()
    };
    stream.send(event(0)).unwrap();
    until("it is shown", || inflight(&recorder).len() == 1);
    let id = inflight(&recorder)[0]["id"].as_str().unwrap().to_owned();
    let target = format!("/api/inflight/{id}/events");
    let mut early = Listener::new(&recorder, &target, "");
    let heard = early.next().unwrap();
    assert_eq!((heard.id.as_str(), &heard.data["n"]), ("0", &0.into()));
    for number in 1..200 {
        stream.send(event(number)).unwrap();
        // Told before the next one has come.
        let heard = early.next().unwrap();
        assert_eq!((heard.id, &heard.data["n"]), (number.to_string(), &number.into()));
    }
    let mut late = Listener::new(&recorder, &target, "");
    let mut back = Listener::new(&recorder, &target, "Last-Event-ID: 149\r\n");
    for number in 0..200 {
        assert_eq!(late.next().unwrap().data["n"], number);
    }
    assert_eq!(back.next().unwrap().id, "150");
    drop(stream);
    for listener in [&mut early, &mut late] {
        let end = listener.next().unwrap();
        assert_eq!((end.event.as_str(), end.data), ("api-log.end", json!({"end": "complete", "events": 200})));
        assert!(listener.next().is_none());
    }
    // Who had not listened to the end hears it all the same, from what was recorded.
    for number in 151..200 {
        assert_eq!(back.next().unwrap().id, number.to_string());
    }
    assert_eq!(back.next().unwrap().event, "api-log.end");
    client.read_to_end(&mut Vec::new()).unwrap();
    recorder.await_rows("", 1);
}

#[test]
fn a_slow_listener_misses_nothing_and_holds_no_capture() {
    let gateway = Gateway::start(EVENTS);
    let dir = tempfile::tempdir().unwrap();
    let recorder = gateway.recorder(dir.path(), &[]);
    let client = ask(&recorder, "/v1/x");
    let stream = gateway.next();
    stream.send(b"data: 0\n\n".to_vec()).unwrap();
    until("it is shown", || inflight(&recorder).len() == 1);
    let id = inflight(&recorder)[0]["id"].as_str().unwrap().to_owned();
    let mut slow = Listener::new(&recorder, &format!("/api/inflight/{id}/events"), "");
    assert_eq!(slow.next().unwrap().data, 0);
    let reader = std::thread::spawn(move || {
        let mut client = client;
        client.read_to_end(&mut Vec::new()).unwrap()
    });
    // More than the listener's socket holds.
    let long = "z".repeat(256 << 10);
    for number in 1..=100 {
        stream.send(format!("data: \"{number} {long}\"\n\n").into_bytes()).unwrap();
    }
    drop(stream);
    reader.join().unwrap();
    recorder.await_rows("", 1);
    until("its capture is let go", || {
        let health = recorder.get("/healthz");
        let bounds = health["bounds"].as_array().unwrap();
        bounds.iter().find(|it| it["name"] == "captures").unwrap()["bytes"]["depth"] == 0
    });
    for number in 1..=100 {
        let heard = slow.next().unwrap();
        assert_eq!(heard.id, number.to_string());
        assert!(heard.data.as_str().unwrap().starts_with(&format!("{number} z")));
    }
    assert_eq!(slow.next().unwrap().data, json!({"end": "complete", "events": 101}));
}

#[test]
fn encoded_streams_are_followed_too() {
    let gateway = Gateway::start("Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n");
    let dir = tempfile::tempdir().unwrap();
    let recorder = gateway.recorder(dir.path(), &[]);
    let client = ask(&recorder, "/v1/x");
    let stream = gateway.next();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut encoded = |number: usize| {
        gzip.write_all(format!("data: {number}\n\n").as_bytes()).unwrap();
        gzip.flush().unwrap();
        std::mem::take(gzip.get_mut())
    };
    stream.send(encoded(0)).unwrap();
    until("it is shown", || inflight(&recorder).len() == 1);
    let shown = inflight(&recorder).remove(0);
    let target = format!("/api/inflight/{}/events", shown["id"].as_str().unwrap());
    let mut listener = Listener::new(&recorder, &target, "");
    assert_eq!(listener.next().unwrap().data, 0);
    for number in 1..5 {
        stream.send(encoded(number)).unwrap();
        assert_eq!(listener.next().unwrap().data, number);
    }
    // Lists do not undo codings.
    until("that is told", || inflight(&recorder)[0]["events"].is_null());
    drop(client);
    drop(stream);
    until("it is over", || inflight(&recorder).is_empty());
    assert_eq!(listener.next().unwrap().event, "api-log.end");
}

/// One end of a WebSocket behind its handshake.
fn upgraded(mut stream: TcpStream, head: &str, role: Role) -> WebSocket<TcpStream> {
    if role == Role::Client {
        stream.write_all(head.as_bytes()).unwrap();
    }
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        read.push(byte[0]);
    }
    if role == Role::Server {
        stream.write_all(head.as_bytes()).unwrap();
    }
    WebSocket::from_raw_socket(stream, role, None)
}

#[test]
fn the_messages_of_a_socket_are_told_as_they_pass() {
    const ASK: &str = "GET /v1/responses HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    const GRANT: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::with(dir.path(), &[("APILOG_PROXY_UPSTREAM", &upstream)]);
    let accepted = std::thread::spawn(move || upgraded(listener.accept().unwrap().0, GRANT, Role::Server));
    let mut client = upgraded(TcpStream::connect(recorder.proxy).unwrap(), ASK, Role::Client);
    let mut server = accepted.join().unwrap();
    client.send("{\"before\":1}".into()).unwrap();
    server.read().unwrap();
    until("it is a socket", || {
        inflight(&recorder).first().is_some_and(|it| it["socket"] == true && it["req_bytes"] != 0)
    });
    let shown = inflight(&recorder).remove(0);
    assert_eq!((&shown["status"], &shown["events"]), (&101.into(), &Value::Null));
    let target = format!("/api/inflight/{}/events", shown["id"].as_str().unwrap());
    let mut of_server = Listener::new(&recorder, &target, "");
    let mut of_both = Listener::new(&recorder, &format!("{target}?dir=both"), "");
    // What passed before may still be on its way to those who listen.
    for number in 0..50 {
        client.send(format!("{{\"q\":{number}}}").into()).unwrap();
        server.read().unwrap();
        server.send(format!("{{\"a\":{number}}}").into()).unwrap();
        client.read().unwrap();
        assert_eq!(of_server.next().unwrap().data, json!({"a": number}));
        let mut heard = of_both.next().unwrap();
        if heard.data["before"] == 1 {
            heard = of_both.next().unwrap();
        }
        assert_eq!(heard.data, json!({"q": number}));
        assert_eq!(of_both.next().unwrap().data, json!({"a": number}));
    }
    let long = "x".repeat(1 << 20);
    server.send(json!({"long": long}).to_string().into()).unwrap();
    client.read().unwrap();
    let skipped = of_server.next().unwrap();
    assert_eq!((skipped.event.as_str(), &skipped.data["skipped"]), ("api-log.skipped", &1.into()));
    drop((client, server));
    let end = of_server.next().unwrap();
    assert_eq!((end.event.as_str(), &end.data["events"]), ("api-log.end", &50.into()));
    assert!(of_server.next().is_none());
    until("it is over", || inflight(&recorder).is_empty());
}
