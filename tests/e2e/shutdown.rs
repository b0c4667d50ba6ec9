//! The end of the program: what is under way finishes within its grace, and nothing that happened is lost.

use std::net::TcpStream;

use crate::recorder::{Recorder, until};
use crate::wire::{Ended, Gateway, Wire};

const ASK: &str = "GET /v1/models HTTP/1.1\r\nHost: h\r\n\r\n";
const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A recorder with a stream under way.
fn streaming(settings: &[(&str, &str)]) -> (Recorder, Wire, Wire) {
    let gateway = Gateway::new();
    let recorder = Recorder::with(&gateway, settings);
    let mut client = recorder.ask(ASK);
    let (mut upstream, _) = gateway.request();
    upstream.send(STREAM);
    upstream.send("9\r\ndata: 1\n\n\r\n");
    client.until("data: 1\n\n\r\n");
    (recorder, client, upstream)
}

/// Waits until nobody can connect any more.
fn is_closed(recorder: &Recorder) {
    until("new connections are refused", || TcpStream::connect(recorder.proxy).is_err().then_some(()));
}

#[test]
fn a_stream_under_way_finishes_and_new_connections_are_refused() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let (mut recorder, mut client, mut upstream) = streaming(&[]);
        recorder.signal(signal);
        is_closed(&recorder);
        upstream.send("9\r\ndata: 2\n\n\r\n");
        client.until("data: 2\n\n\r\n");
        upstream.send("0\r\n\r\n");
        let (rest, ended) = client.rest();
        assert_eq!((rest.as_str(), ended), ("0\r\n\r\n", Ended::InOrder));
        assert_eq!(recorder.wait().code(), Some(0));
        let lines = recorder.recorded();
        assert_eq!(lines.len(), 1);
        assert_eq!((&lines[0]["end"], &lines[0]["status"]), (&"complete".into(), &200.into()));
        assert_eq!(lines[0]["resp"]["events"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn an_idle_connection_does_not_hold_the_end_up() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let mut unused = recorder.client();
    let mut used = recorder.ask(ASK);
    let (mut upstream, _) = gateway.request();
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    used.until("ok");
    recorder.finish_with_one();
    used.ends_without_a_byte();
    unused.ends_without_a_byte();
}

#[test]
fn a_stream_that_outlasts_the_grace_is_cut_and_recorded() {
    let (mut recorder, mut client, mut upstream) = streaming(&[("SHUTDOWN_GRACE", "200ms")]);
    recorder.signal(libc::SIGTERM);
    let (rest, _) = client.rest();
    assert_eq!(rest, "", "no clean end");
    upstream.ends_without_a_byte();
    assert_eq!(recorder.wait().code(), Some(0));
    let lines = recorder.recorded();
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["end"], &lines[0]["disconnected"]), (&"shutdown".into(), &true.into()));
    assert_eq!(lines[0]["status"], 200);
    assert_eq!(lines[0]["resp"]["events"].as_array().unwrap().len(), 1);
}

#[test]
fn an_exchange_without_an_answer_is_cut_and_recorded() {
    let gateway = Gateway::new();
    let mut recorder = Recorder::with(&gateway, &[("SHUTDOWN_GRACE", "100ms")]);
    let mut client = recorder.ask(ASK);
    let (mut upstream, _) = gateway.request();
    recorder.signal(libc::SIGTERM);
    client.rest();
    upstream.ends_without_a_byte();
    assert_eq!(recorder.wait().code(), Some(0));
    let lines = recorder.recorded();
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["end"], &lines[0]["status"]), (&"shutdown".into(), &(-1).into()));
}

#[test]
fn an_upload_that_outlasts_the_grace_is_cut_and_recorded() {
    let gateway = Gateway::new();
    let mut recorder = Recorder::with(&gateway, &[("SHUTDOWN_GRACE", "100ms")]);
    let mut client = recorder.ask("POST /up HTTP/1.1\r\nHost: h\r\nContent-Length: 8\r\n\r\nhalf");
    let mut upstream = gateway.accept();
    upstream.until("half");
    recorder.signal(libc::SIGTERM);
    client.rest();
    upstream.ends_without_a_byte();
    assert_eq!(recorder.wait().code(), Some(0));
    let lines = recorder.recorded();
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["end"], &lines[0]["req"]["bytes"]), (&"shutdown".into(), &4.into()));
}

#[test]
fn a_tunnel_that_outlasts_the_grace_is_cut_and_recorded() {
    let gateway = Gateway::new();
    let mut recorder = Recorder::with(&gateway, &[("SHUTDOWN_GRACE", "100ms")]);
    let mut client = recorder.ask("GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    let (mut upstream, _) = gateway.request();
    upstream.send("HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhi");
    client.until("hi");
    recorder.signal(libc::SIGTERM);
    client.ends_without_a_byte();
    upstream.ends_without_a_byte();
    assert_eq!(recorder.wait().code(), Some(0));
    let lines = recorder.recorded();
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["end"], &lines[0]["status"]), (&"shutdown".into(), &101.into()));
}

#[test]
fn a_second_signal_cuts_what_is_under_way_and_it_is_still_recorded() {
    let (mut recorder, mut client, _upstream) = streaming(&[("SHUTDOWN_GRACE", "1h")]);
    recorder.signal(libc::SIGTERM);
    is_closed(&recorder);
    until("it tells what is left", || recorder.log().contains("ending: this is left").then_some(()));
    recorder.signal(libc::SIGINT);
    assert_eq!(recorder.wait().code(), Some(0), "nothing was lost");
    client.rest();
    let lines = recorder.recorded();
    assert_eq!((lines.len(), &lines[0]["end"]), (1, &"shutdown".into()));
}

#[test]
fn a_recorder_that_drains_is_not_ready_and_says_why() {
    let (mut recorder, mut client, mut upstream) = streaming(&[]);
    assert_eq!(recorder.api("/readyz").0, 200);
    recorder.signal(libc::SIGTERM);
    is_closed(&recorder);
    let (status, answer) = recorder.api("/readyz");
    assert_eq!((status, &answer["ready"]), (503, &false.into()));
    assert_eq!(answer["reasons"][0]["reason"], "draining", "{answer}");
    assert_eq!(recorder.api("/healthz").0, 200);
    let (code, said) = healthcheck(&recorder);
    assert_eq!(code, Some(1));
    assert!(said.contains("not healthy") && said.contains("it accepts no connections any more"), "{said}");
    upstream.send("0\r\n\r\n");
    client.until("0\r\n\r\n");
    assert_eq!(recorder.wait().code(), Some(0));
    let (code, said) = healthcheck(&recorder);
    assert!(code == Some(1) && said.contains("refused"), "{said}");
}

#[test]
fn a_recorder_tells_its_container_that_it_is_ready() {
    let recorder = Recorder::start(&Gateway::new());
    assert_eq!(healthcheck(&recorder), (Some(0), "ok\n".to_owned()));
}

/// What `api-log healthcheck` says in the environment of this recorder.
fn healthcheck(recorder: &Recorder) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_api-log"));
    let output = command.arg("healthcheck").env("APILOG_API_LISTEN", recorder.api.to_string()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn every_exchange_of_a_burst_is_recorded_though_the_end_comes_at_once() {
    let gateway = Gateway::new();
    let recorder = Recorder::start(&gateway);
    let mut client = recorder.client();
    let mut upstream = None;
    for number in 0..200 {
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer k{}\r\n\r\n", number % 7));
        let upstream = upstream.get_or_insert_with(|| gateway.accept());
        upstream.head();
        upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        client.until("ok");
    }
    let lines = recorder.finish();
    let paths: Vec<_> = lines.iter().map(|line| line["path"].as_str().unwrap().to_owned()).collect();
    assert_eq!(paths, (0..200).map(|number| format!("/{number}")).collect::<Vec<_>>());
}
