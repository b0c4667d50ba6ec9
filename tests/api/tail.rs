//! `/api/tail`: traces as they are indexed.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;

use serde_json::Value;

use crate::seed::{Line, id, write};
use crate::stack::{Recorder, open_with, until};

/// A caller that listens.
pub(crate) struct Listener(BufReader<TcpStream>);

/// What it hears: an event's fields.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) event: String,
    pub(crate) id: String,
    pub(crate) data: Value,
}

impl Listener {
    /// Listens to a route with further header lines, from the moment that the answer's head is there.
    pub(crate) fn new(recorder: &Recorder, target: &str, fields: &str) -> Listener {
        let mut reader = BufReader::new(open_with(recorder, target, fields));
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
            if line.to_ascii_lowercase().starts_with("content-type") {
                assert_eq!(line.trim_end(), "content-type: text/event-stream");
            }
        }
        Listener(reader)
    }

    /// A line of the stream, the marks of chunks passed over; `None` at its end.
    fn line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if !line.ends_with("\r\n") {
                return Some(line.trim_end_matches('\n').to_owned());
            }
        }
    }

    /// The next event, or `None` at the end.
    pub(crate) fn next(&mut self) -> Option<Heard> {
        let mut heard = Heard::default();
        loop {
            let line = self.line()?;
            match line.split_once(": ").unwrap_or((&line, "")) {
                ("", "") if heard.event.is_empty() && heard.data.is_null() => {}
                ("", "") => return Some(heard),
                ("event", name) => heard.event = name.to_owned(),
                ("id", id) => heard.id = id.to_owned(),
                ("data", data) => heard.data = serde_json::from_str(data).unwrap(),
                _ => {}
            }
        }
    }

    /// The ids of the next so many traces.
    fn traces(&mut self, count: usize) -> Vec<(String, String)> {
        (0..count)
            .map(|_| {
                let heard = self.next().expect("the stream goes on");
                assert_eq!(heard.event, "trace", "{heard:?}");
                (heard.data["id"].as_str().unwrap().to_owned(), heard.id)
            })
            .collect()
    }
}

fn send(recorder: &Recorder, model: &str) {
    let reply = recorder.send(
        "/v1/chat/completions",
        &[("x-answer", &format!(r#"{{"model":"{model}"}}"#))],
        r#"{"messages":[]}"#,
    );
    assert_eq!(reply.status, 200);
}

#[test]
fn traces_are_told_as_they_are_indexed_and_filters_hold() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[Line::new(1, 0)]);
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 1);
    let mut all = Listener::new(&recorder, "/api/tail", "");
    let mut some = Listener::new(&recorder, "/api/tail?model=b&status=2xx", "");
    for model in ["a", "b", "a", "b"] {
        send(&recorder, model);
    }
    let rows = recorder.await_rows("", 5);
    let ids =
        |rows: Vec<&Value>| -> Vec<String> { rows.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect() };
    let mut heard: Vec<String> = all.traces(4).into_iter().map(|it| it.0).collect();
    let mut expected = ids(rows.iter().filter(|it| it["id"] != id(1)).collect());
    heard.sort();
    expected.sort();
    assert_eq!(heard, expected, "what was there before is not told");
    let mut heard: Vec<String> = some.traces(2).into_iter().map(|it| it.0).collect();
    let mut expected = ids(rows.iter().filter(|it| it["model"] == "b").collect());
    heard.sort();
    expected.sort();
    assert_eq!(heard, expected);
    // The row is the list's.
    send(&recorder, "b");
    let heard = some.next().unwrap();
    assert_eq!(heard.data, recorder.get(&format!("/api/traces/{}", heard.data["id"].as_str().unwrap()))["row"]);
}

#[test]
fn who_comes_back_goes_on_where_it_was_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let mut first = Listener::new(&recorder, "/api/tail", "");
    for _ in 0..3 {
        send(&recorder, "m");
    }
    let heard = first.traces(3);
    drop(first);
    send(&recorder, "m");
    let from = format!("Last-Event-ID: {}\r\n", heard[1].1);
    let mut second = Listener::new(&recorder, "/api/tail", &from);
    let again = second.traces(2);
    assert_eq!(again[0], heard[2]);
    drop(second);
    recorder.stop();
    let recorder = Recorder::start(dir.path());
    let mut third = Listener::new(&recorder, "/api/tail", &from);
    assert_eq!(third.traces(2), again);
    // Of an index that is no more: told, and on it goes with what comes.
    for lost in ["77-01J00000000000000000000009", "nonsense"] {
        let mut fourth = Listener::new(&recorder, "/api/tail", &format!("Last-Event-ID: {lost}\r\n"));
        assert_eq!(fourth.next().unwrap().event, "lost");
        send(&recorder, "m");
        fourth.traces(1);
    }
}

#[test]
fn who_is_far_behind_is_told_how_many_were_skipped() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[Line::new(0, 0)]);
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 1);
    let mut first = Listener::new(&recorder, "/api/tail", "");
    send(&recorder, "m");
    let position = first.traces(1).remove(0).1;
    recorder.stop();
    write(dir.path(), &(1..=12_000).map(|number| Line::new(number, number % 60_000)).collect::<Vec<_>>());
    let recorder = Recorder::start(dir.path());
    until("all is indexed", || {
        let count = recorder.get("/healthz")["counters"]["indexed"].as_u64().unwrap();
        count == 12_000 && recorder.get("/api/index")["state"] == "current"
    });
    let mut second = Listener::new(&recorder, "/api/tail", &format!("Last-Event-ID: {position}\r\n"));
    let heard = second.next().unwrap();
    assert_eq!((heard.event.as_str(), &heard.data["skipped"]), ("skipped", &11_000.into()));
    let traces = second.traces(1000);
    assert_eq!(traces.last().unwrap().0, id(12_000));
}

#[test]
fn it_ends_with_the_recorder_and_there_are_only_so_many() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &[Line::new(1, 0)]);
    let recorder = Recorder::start(dir.path());
    recorder.await_rows("", 1);
    let mut listeners: Vec<Listener> = (0..64).map(|_| Listener::new(&recorder, "/api/tail", "")).collect();
    let (status, body) = recorder.refusal("/api/tail");
    assert_eq!((status, &body["error"]), (503, &"busy".into()));
    listeners.truncate(1);
    until("places are given back", || {
        recorder.api_with("HEAD", "/api/tail", &[("Authorization", &format!("Bearer {}", recorder.token))], "").status
            == 200
    });
    let (status, body) = recorder.refusal("/api/tail?modle=x");
    assert_eq!((status, &body["param"]), (400, &"modle".into()));
    recorder.stop();
    assert!(listeners[0].next().is_none());
}
