//! An exchange read while it is under way: what it is, and the events of its answer as they come.

use super::record::{Begin, Kind, Record, Records, take_number};
use crate::client;
use crate::exchange::End;
use crate::headers::Headers;
use crate::ids::{KeyHash, UnixMillis};
use crate::protocol::Protocol;
use crate::replay;
use crate::wire::array::ArraySplitter;
use crate::wire::decode::{self, Decoder, Limits};
use crate::wire::json;
use crate::wire::sse::{self, Splitter};

/// Whether codings of the answer are undone to find its events; decoders take memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codings {
    /// The events of an encoded answer are not looked for.
    Left,
    /// They are, within these limits.
    Undone(Limits),
}

/// What is known of an exchange so far.
pub struct Underway {
    codings: Codings,
    at: u64,
    begin: Option<Begin>,
    request_head: Vec<u8>,
    asked: Option<AskedFor>,
    status: Option<u16>,
    answer_head: Vec<u8>,
    is_socket: bool,
    end: Option<End>,
    reading: Reading,
    events: u64,
    decoded: Vec<u8>,
}

/// What a request's head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedFor {
    /// When it had been received.
    pub ts_start: UnixMillis,
    /// The method as received.
    pub method: String,
    /// The target with its query, credentials in it replaced.
    pub path: String,
    /// What it speaks.
    pub protocol: Protocol,
    /// Whose it is.
    pub key: KeyHash,
}

/// How the answer's body is read.
enum Reading {
    /// Nothing of it has come.
    NotYet,
    /// Its codings are undone, and its form is not told yet.
    Untold(Decoder),
    /// A stream of events.
    Events(Decoder, Box<Splitter>),
    /// An array, an element at a time.
    Array(Decoder, Box<ArraySplitter>),
    /// It is no stream, or cannot be read as one.
    NoStream,
}

impl Underway {
    /// Nothing read yet.
    pub fn new(codings: Codings) -> Underway {
        Underway {
            codings,
            at: 0,
            begin: None,
            request_head: Vec::new(),
            asked: None,
            status: None,
            answer_head: Vec::new(),
            is_socket: false,
            end: None,
            reading: Reading::NotYet,
            events: 0,
            decoded: Vec::new(),
        }
    }

    /// Where in the log reading goes on.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// What was asked for, once that is known.
    pub fn asked(&self) -> Option<&AskedFor> {
        self.asked.as_ref()
    }

    /// The answer's status.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Whether it has become a socket.
    pub fn is_socket(&self) -> bool {
        self.is_socket
    }

    /// How it ended, if its log says so.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// How many events of the answer have come; `None` if it is no stream of events, or if that cannot be told.
    pub fn events(&self) -> Option<u64> {
        match self.reading {
            Reading::NotYet | Reading::Untold(_) | Reading::Events(..) | Reading::Array(..) if !self.is_socket => {
                Some(self.events)
            }
            _ => None,
        }
    }

    /// Whether the answer may turn out, or has turned out, to be a stream of events.
    pub fn may_stream(&self) -> bool {
        self.events().is_some()
    }

    /// Bytes are missing: reading goes on there, and finds no more events.
    pub fn skip_to(&mut self, at: u64) {
        self.at = at;
        self.reading = Reading::NoStream;
    }

    /// Reads the next piece, which is whole records; `each` is given every event that it ends, as a replay would give
    /// it.
    pub fn push(&mut self, piece: &[u8], mut each: impl FnMut(&str)) {
        let mut records = Records::of(piece);
        for record in records.by_ref() {
            self.take(record, &mut each);
        }
        self.at += (piece.len() - records.rest().len()) as u64;
        if !records.rest().is_empty() {
            self.skip_to(self.at + records.rest().len() as u64);
        }
    }

    fn take(&mut self, Record { kind, payload, .. }: Record<'_>, each: &mut impl FnMut(&str)) {
        match kind {
            Kind::Begin => self.begin = self.begin.take().or_else(|| Begin::decode(payload)),
            Kind::RequestHead => {
                self.request_head.extend_from_slice(payload);
                if self.asked.is_none() && self.request_head.ends_with(b"\r\n\r\n") {
                    self.ask();
                }
            }
            Kind::Answer => self.status = payload.first_chunk::<2>().map(|it| u16::from_le_bytes(*it)),
            Kind::AnswerHead => self.answer_head.extend_from_slice(payload),
            Kind::ResponseBody => self.take_answer(payload, each),
            Kind::ResponseCut => {
                // What passes from here on is not recorded.
                let _ = take_number(payload);
                self.finish(each);
                self.reading = Reading::NoStream;
            }
            Kind::Socket => self.is_socket = true,
            Kind::End => {
                self.end = super::record::Ended::decode(payload).map(|it| it.end);
                self.finish(each);
            }
            Kind::RequestBody
            | Kind::RequestTrailers
            | Kind::ResponseTrailers
            | Kind::RequestCut
            | Kind::SocketClient
            | Kind::SocketServer
            | Kind::Plugin
            | Kind::RequestHeadSent => {}
        }
    }

    fn ask(&mut self) {
        let Some(begin) = &self.begin else { return };
        let line = self.request_head.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let mut words = line.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let headers = Headers::parse(&self.request_head).unwrap_or_default();
        self.asked = Some(AskedFor {
            ts_start: begin.ts_start,
            method: method.to_owned(),
            path: client::redacted_target(target).into_owned(),
            protocol: Protocol::of(method, target),
            key: client::key_hash(&headers, target),
        });
        self.request_head = Vec::new();
    }

    fn take_answer(&mut self, payload: &[u8], each: &mut impl FnMut(&str)) {
        if matches!(self.reading, Reading::NotYet) {
            self.reading = self.begin_reading();
        }
        let (Reading::Untold(decoder) | Reading::Events(decoder, _) | Reading::Array(decoder, _)) = &mut self.reading
        else {
            return;
        };
        self.decoded.clear();
        if decoder.push(payload, &mut self.decoded).is_err() {
            self.reading = Reading::NoStream;
            return;
        }
        if matches!(self.reading, Reading::Untold(_)) && !self.decoded.trim_ascii().is_empty() {
            self.tell_form();
        }
        let decoded = std::mem::take(&mut self.decoded);
        match &mut self.reading {
            Reading::Events(_, splitter) => {
                let mut events = Vec::new();
                splitter.push(&decoded, &mut events);
                events.iter().for_each(|event| self.give(event, each));
            }
            Reading::Array(_, splitter) => {
                let mut elements = Vec::new();
                splitter.push(&decoded, |element| elements.push(element.to_owned()));
                for element in elements {
                    self.events += 1;
                    let mut frame = String::with_capacity(element.len() + 8);
                    replay::push_frame(&mut frame, "", Some(&element));
                    each(&frame);
                }
            }
            _ => {}
        }
        self.decoded = decoded;
    }

    /// The event that the end of the stream leaves unterminated.
    fn finish(&mut self, each: &mut impl FnMut(&str)) {
        if let Reading::Events(_, splitter) = &mut self.reading
            && let Some(event) = splitter.finish()
        {
            self.give(&event, each);
        }
    }

    fn give(&mut self, event: &sse::Event<'_>, each: &mut impl FnMut(&str)) {
        self.events += 1;
        let mut frame = String::new();
        // As it will stand on the line.
        match event.data.as_deref().filter(|it| !it.is_empty()) {
            None => replay::push_frame(&mut frame, &event.name, None),
            Some(data) => match json::value(data) {
                Ok(json) => replay::push_frame(&mut frame, &event.name, Some(json)),
                Err(_) => {
                    let mut text = String::new();
                    json::write_string(&mut text, data);
                    replay::push_frame(&mut frame, &event.name, Some(&text));
                }
            },
        }
        each(&frame);
    }

    fn begin_reading(&self) -> Reading {
        let headers = Headers::parse(&self.answer_head).unwrap_or_default();
        let Ok(codings) = decode::codings(headers.get_all("content-encoding")) else { return Reading::NoStream };
        let limits = match self.codings {
            Codings::Undone(limits) => limits,
            Codings::Left if !codings.is_empty() => return Reading::NoStream,
            Codings::Left => Limits { max_decoded_bytes: u64::MAX, ..Limits::default() },
        };
        Decoder::new(&codings, limits).map_or(Reading::NoStream, Reading::Untold)
    }

    /// By the content type, and by the first bytes that have come.
    fn tell_form(&mut self) {
        let Reading::Untold(decoder) = std::mem::replace(&mut self.reading, Reading::NoStream) else { return };
        let headers = Headers::parse(&self.answer_head).unwrap_or_default();
        let content_type = headers.get("content-type").unwrap_or_default().trim_ascii_start();
        let names_events = content_type.len() >= 17 && content_type[..17].eq_ignore_ascii_case(b"text/event-stream");
        let is_gemini = self.asked.as_ref().is_some_and(|it| it.protocol == Protocol::Gemini);
        let first = self.decoded.trim_ascii_start();
        if is_gemini && first.starts_with(b"[") {
            self.reading = Reading::Array(decoder, Box::default());
        } else if (names_events && !first.starts_with(b"{")) || sse::looks_like_events(first) {
            self.reading = Reading::Events(decoder, Box::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::record::{Ended, Head};
    use crate::ids::TraceId;

    fn record(kind: Kind, payload: &[u8]) -> Vec<u8> {
        [Head::new(kind, 5, payload.len() as u32).as_bytes(), payload].concat()
    }

    fn begun(path: &str, answer_fields: &str) -> Vec<u8> {
        let id = TraceId::from_bytes([9; 16]);
        let begin = Begin::encode(id, UnixMillis(5), ([127, 0, 0, 1], 9).into(), "http://gw");
        let head = format!("POST {path} HTTP/1.1\r\nauthorization: Bearer k\r\n\r\n");
        [
            record(Kind::Begin, &begin),
            record(Kind::RequestHead, &head.as_bytes()[..9]),
            record(Kind::RequestHead, &head.as_bytes()[9..]),
            record(Kind::RequestBody, b"{}"),
            record(Kind::Answer, &200_u16.to_le_bytes()),
            record(Kind::AnswerHead, format!("HTTP/1.1 200 OK\r\n{answer_fields}\r\n").as_bytes()),
        ]
        .concat()
    }

    /// The events of answers that come in pieces.
    fn events(codings: Codings, path: &str, fields: &str, pieces: &[&[u8]]) -> (Underway, Vec<String>) {
        let mut underway = Underway::new(codings);
        let mut found = Vec::new();
        let mut push = |piece: &[u8]| underway.push(piece, |frame| found.push(frame.to_owned()));
        push(&begun(path, fields));
        pieces.iter().for_each(|piece| push(&record(Kind::ResponseBody, piece)));
        (underway, found)
    }

    const UNDONE: Codings = Codings::Undone(Limits { max_decoded_bytes: 1 << 20, max_ratio: 200 });

    #[test]
    fn events_are_given_as_they_come_and_as_a_replay_gives_them() {
        let pieces: [&[u8]; 3] =
            [b"data: {\"a\":\ndata: 1}\n", b"\nevent: x\ndata: te\"xt\n\n", b"event: y\n\ndata: [DONE]\n\ndata: 2"];
        let (mut underway, mut found) =
            events(UNDONE, "/v1/chat/completions?key=secret", "content-type: text/event-stream\r\n", &pieces);
        assert_eq!(found, ["data: {\"a\":1}\n\n", "event: x\ndata: \"te\\\"xt\"\n\n", "event: y\n\n"]);
        assert_eq!((underway.status(), underway.events(), underway.end()), (Some(200), Some(3), None));
        let asked = underway.asked().unwrap();
        assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/v1/chat/completions?key=***"));
        assert_eq!((asked.protocol, asked.ts_start), (Protocol::Chat, UnixMillis(5)));
        let ended = Ended { end: End::ClientGone, request_bytes: 2, response_bytes: 9, error: None };
        found.clear();
        underway.push(&record(Kind::End, &ended.encode()), |frame| found.push(frame.to_owned()));
        assert_eq!((found.as_slice(), underway.end()), (["data: 2\n\n".to_owned()].as_slice(), Some(End::ClientGone)));
    }

    #[test]
    fn codings_are_undone_if_that_is_wanted() {
        use std::io::Write;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(b"data: 1\n\ndata: 2\n\n").unwrap();
        gzip.flush().unwrap();
        let bytes = gzip.get_ref().clone();
        let fields = "content-type: text/event-stream\r\ncontent-encoding: gzip\r\n";
        let (first, rest) = bytes.split_at(4);
        assert_eq!(events(UNDONE, "/v1/x", fields, &[first, rest]).1.len(), 2);
        let (left, found) = events(Codings::Left, "/v1/x", fields, &[first, rest]);
        assert_eq!((found.len(), left.events()), (0, None));
    }

    #[test]
    fn arrays_are_streams_of_gemini_only_and_other_bodies_none() {
        let pieces: [&[u8]; 2] = [b"[{\"a\":1}\n", b",{\"b\":2}"];
        let gemini = "/v1beta/models/g:streamGenerateContent";
        let (underway, found) = events(UNDONE, gemini, "content-type: application/json\r\n", &pieces);
        assert_eq!((found.len(), found[1].as_str(), underway.events()), (2, "data: {\"b\":2}\n\n", Some(2)));
        for (path, body) in [("/v1/models", &b"[1,2]"[..]), (gemini, b"{\"a\":1}"), ("/v1/x", b"<p>")] {
            let (underway, found) = events(UNDONE, path, "content-type: application/json\r\n", &[body]);
            assert_eq!((found.len(), underway.events(), underway.may_stream()), (0, None, false));
        }
    }

    #[test]
    fn behind_a_gap_there_are_no_more_events() {
        let (mut underway, found) = events(UNDONE, "/v1/x", "content-type: text/event-stream\r\n", &[b"data: 1\n\n"]);
        underway.skip_to(10_000);
        underway.push(&record(Kind::ResponseBody, b"data: 3\n\n"), |_| panic!("nothing is sure any more"));
        assert_eq!((found.len(), underway.may_stream()), (1, false));
        assert!(underway.at() > 10_000);
        underway.push(&[0, 1, 2], |_| panic!("no record"));
    }
}
