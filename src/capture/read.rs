//! A log made into what it tells of its exchange.

use super::record::{Begin, Ended, Kind, Record, Records, read_fields, take_number};
use crate::headers::Headers;
use crate::ids::{TraceId, UnixMillis};
use crate::plugin::note::Note;
use crate::recording::{Mark, Recording};

/// What a log tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// How it began.
    pub begin: Begin,
    /// The request's head.
    pub request_head: Vec<u8>,
    /// The answer's status and head.
    pub answer: Option<(u16, Vec<u8>)>,
    /// Milliseconds to the answer's head.
    pub ttfb_ms: Option<u64>,
    /// The request's body.
    pub request: Recording,
    /// The answer's body.
    pub response: Recording,
    /// The request's trailers.
    pub request_trailers: Headers,
    /// The answer's trailers.
    pub response_trailers: Headers,
    /// It had become a socket: the bodies are what passed on it and has no outcome yet.
    pub is_socket: bool,
    /// What plugins did to it, as long as it passed.
    pub notes: Vec<Note>,
    /// How it ended; `None` if the log does not say.
    pub ended: Option<Ended>,
    /// When the last that is known happened, in microseconds since the beginning.
    pub last_us: u64,
}

impl Told {
    /// What is told by a log of which nothing can be read but its name.
    pub fn nothing(id: TraceId) -> Told {
        let begin = Begin { id, ts_start: UnixMillis(0), peer: ([0, 0, 0, 0], 0).into(), upstream: String::new() };
        Told {
            begin,
            request_head: Vec::new(),
            answer: None,
            ttfb_ms: None,
            request: Recording { is_cut: true, ..Recording::default() },
            response: Recording { is_cut: true, ..Recording::default() },
            request_trailers: Headers::new(),
            response_trailers: Headers::new(),
            is_socket: false,
            notes: Vec::new(),
            ended: None,
            last_us: 0,
        }
    }
}

/// A log without its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it does not begin as a log does")]
pub struct NotALog;

/// Reads a log piece by piece.
#[derive(Debug, Default)]
pub struct LogReader {
    begin: Option<Begin>,
    request_head: Vec<u8>,
    status: Option<u16>,
    answer_head: Vec<u8>,
    ttfb_ms: Option<u64>,
    request: Recording,
    response: Recording,
    request_trailers: Vec<u8>,
    response_trailers: Vec<u8>,
    request_head_sent: Vec<u8>,
    notes: Vec<u8>,
    is_socket: bool,
    ended: Option<Ended>,
    last_us: u64,
    /// Where in the log the next piece begins.
    at: u64,
    covered: u64,
}

impl LogReader {
    /// Nothing read yet.
    pub fn new() -> LogReader {
        LogReader::default()
    }

    /// The same, for a log that is covered up to there.
    pub fn covered(covered: u64) -> LogReader {
        LogReader { covered, ..LogReader::default() }
    }

    /// The next piece begins there in the log; what is between is covered.
    pub fn seek(&mut self, offset: u64) {
        self.at = offset;
    }

    /// Reads the next piece, which is whole records. What is none spoils the rest of the piece.
    pub fn push(&mut self, piece: &[u8]) {
        let mut records = Records::of(piece);
        while let Some(record) = {
            let at = self.at + (piece.len() - records.rest().len()) as u64;
            records.next().map(|record| (at, record))
        } {
            self.take(record.0, record.1);
        }
        self.at += piece.len() as u64;
        if !records.rest().is_empty() {
            self.miss();
        }
    }

    /// Tells that a piece is missing here: bodies end, and say so.
    pub fn miss(&mut self) {
        self.request.is_cut = true;
        self.response.is_cut = true;
    }

    /// When the last that it told happened, in microseconds since the beginning.
    pub fn last_us(&self) -> u64 {
        self.last_us
    }

    /// Whether it told the end.
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// What it told.
    ///
    /// # Errors
    /// The beginning is missing.
    pub fn finish(self) -> Result<Told, NotALog> {
        let mut told = Told {
            begin: self.begin.ok_or(NotALog)?,
            // One that was cut is none.
            request_head: match self.request_head_sent.ends_with(b"\n\r\n") || self.request_head_sent.ends_with(b"\n\n")
            {
                true => self.request_head_sent,
                false => self.request_head,
            },
            answer: self.status.map(|status| (status, self.answer_head)),
            ttfb_ms: self.ttfb_ms,
            request: self.request,
            response: self.response,
            request_trailers: read_fields(&self.request_trailers),
            response_trailers: read_fields(&self.response_trailers),
            is_socket: self.is_socket,
            notes: Note::decode_all(&self.notes),
            ended: self.ended,
            last_us: self.last_us,
        };
        if let Some(ended) = &told.ended
            && !told.is_socket
        {
            told.request.wire_bytes = ended.request_bytes;
            told.response.wire_bytes = ended.response_bytes;
        }
        Ok(told)
    }

    fn take(&mut self, at: u64, Record { kind, at_us, payload }: Record<'_>) {
        self.last_us = self.last_us.max(at_us);
        if self.is_socket && at < self.covered {
            return;
        }
        match kind {
            Kind::Begin => self.begin = self.begin.take().or_else(|| Begin::decode(payload)),
            Kind::RequestHead => self.request_head.extend_from_slice(payload),
            Kind::RequestBody => keep(&mut self.request, payload, at_us),
            Kind::Answer => {
                self.status = payload.first_chunk::<2>().map(|it| u16::from_le_bytes(*it));
                self.ttfb_ms = Some(at_us / 1000);
            }
            Kind::AnswerHead => self.answer_head.extend_from_slice(payload),
            Kind::ResponseBody => keep(&mut self.response, payload, at_us),
            Kind::RequestTrailers => self.request_trailers.extend_from_slice(payload),
            Kind::ResponseTrailers => self.response_trailers.extend_from_slice(payload),
            Kind::RequestCut => cut(&mut self.request, payload),
            Kind::ResponseCut => cut(&mut self.response, payload),
            Kind::RequestHeadSent => self.request_head_sent.extend_from_slice(payload),
            Kind::Plugin => self.notes.extend_from_slice(payload),
            Kind::Socket => self.is_socket = true,
            Kind::SocketClient => keep(&mut self.request, payload, at_us),
            Kind::SocketServer => keep(&mut self.response, payload, at_us),
            Kind::End => self.ended = self.ended.take().or_else(|| Ended::decode(payload)),
        }
    }
}

fn keep(body: &mut Recording, bytes: &[u8], at_us: u64) {
    body.wire_bytes += bytes.len() as u64;
    if body.is_cut || bytes.is_empty() {
        return;
    }
    // Times are told in milliseconds, so one mark serves all chunks of the same one.
    if body.marks.last().is_none_or(|last| last.at_us / 1000 != at_us / 1000) {
        body.marks.push(Mark { offset: body.bytes.len() as u64, at_us });
    }
    body.bytes.extend_from_slice(bytes);
}

fn cut(body: &mut Recording, payload: &[u8]) {
    body.is_cut = true;
    let passed = take_number(payload).map_or(0, |(passed, _)| passed);
    body.wire_bytes = body.wire_bytes.max(passed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::record::{self, Head};
    use crate::exchange::End;
    use crate::plugin::note::{Did, Hook};

    fn note(id: &str) -> Vec<u8> {
        let (kind, id) = ("tag".to_owned(), id.to_owned());
        Note { kind, id, hook: Hook::After, did: Did::Act("mutate".to_owned()) }.encode()
    }

    fn log() -> Vec<(Kind, u64, Vec<u8>)> {
        let id = TraceId::from_bytes([9; 16]);
        let ended = Ended { end: End::ClientGone, request_bytes: 4, response_bytes: 99, error: Some("gone".into()) };
        vec![
            (Kind::Begin, 0, Begin::encode(id, UnixMillis(5), ([127, 0, 0, 1], 9).into(), "http://gw")),
            (Kind::RequestHead, 0, b"GET / HT".to_vec()),
            (Kind::RequestHead, 0, b"TP/1.1\r\n\r\n".to_vec()),
            (Kind::RequestBody, 10, b"ab".to_vec()),
            (Kind::Answer, 5_000, 200_u16.to_le_bytes().to_vec()),
            (Kind::AnswerHead, 5_000, b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
            (Kind::RequestBody, 999, b"cd".to_vec()),
            (Kind::ResponseBody, 6_000, b"one".to_vec()),
            (Kind::ResponseBody, 6_999, b"two".to_vec()),
            (Kind::ResponseBody, 7_000, b"three".to_vec()),
            (Kind::ResponseCut, 7_001, record::number(20)),
            (Kind::ResponseBody, 7_002, b"lost".to_vec()),
            (Kind::Plugin, 7_400, [note("a"), note("b")].concat()[..9].to_vec()),
            (Kind::Plugin, 7_400, [note("a"), note("b")].concat()[9..].to_vec()),
            (Kind::ResponseTrailers, 7_500, record::fields([("x-a", b"1".as_slice())].into_iter())),
            (Kind::End, 8_000, ended.encode()),
        ]
    }

    fn bytes(records: &[(Kind, u64, Vec<u8>)]) -> Vec<Vec<u8>> {
        let encode = |(kind, at, payload): &(Kind, u64, Vec<u8>)| {
            [Head::new(*kind, *at, payload.len() as u32).as_bytes(), payload].concat()
        };
        records.iter().map(encode).collect()
    }

    fn read(pieces: &[Vec<u8>]) -> Told {
        let mut reader = LogReader::new();
        pieces.iter().for_each(|piece| reader.push(piece));
        reader.finish().unwrap()
    }

    #[test]
    fn a_whole_log_tells_the_whole_exchange() {
        let told = read(&[bytes(&log()).concat()]);
        assert_eq!(told.request_head, b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(told.answer, Some((200, b"HTTP/1.1 200 OK\r\n\r\n".to_vec())));
        assert_eq!((told.ttfb_ms, told.last_us), (Some(5), 8_000));
        assert_eq!((told.request.bytes.as_slice(), told.request.marks.len()), (b"abcd".as_slice(), 1));
        assert_eq!((told.response.bytes.as_slice(), told.response.is_cut), (b"onetwothree".as_slice(), true));
        assert_eq!(told.response.marks, [Mark { offset: 0, at_us: 6_000 }, Mark { offset: 6, at_us: 7_000 }]);
        assert_eq!((told.request.wire_bytes, told.response.wire_bytes), (4, 99));
        assert_eq!(told.response_trailers.get("x-a"), Some(b"1".as_slice()));
        assert_eq!(told.notes.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["a", "b"], "a chunk ended between");
        assert_eq!(told.ended.unwrap().error.as_deref(), Some("gone"));
    }

    #[test]
    fn a_log_without_its_end_tells_what_is_there() {
        let records = log();
        let told = read(&bytes(&records[..9]));
        assert_eq!((told.ended, told.last_us), (None, 6_999));
        assert_eq!((told.response.bytes.as_slice(), told.response.wire_bytes), (b"onetwo".as_slice(), 6));
        assert_eq!(LogReader::new().finish(), Err(NotALog));
        let told = read(&bytes(&records[..12]));
        assert_eq!(told.response.wire_bytes, 24, "what passed unrecorded is told as far as it is known");
    }

    #[test]
    fn of_a_socket_is_told_what_is_not_covered() {
        let mut records = log();
        records.truncate(6);
        records.push((Kind::Socket, 6_000, Vec::new()));
        records.push((Kind::SocketClient, 6_001, b"done".to_vec()));
        records.push((Kind::ResponseCut, 6_002, record::number(9)));
        records.push((Kind::SocketServer, 7_000, b"open".to_vec()));
        let pieces = bytes(&records);
        let covered = pieces[..9].iter().map(Vec::len).sum::<usize>() as u64;
        for has_gap in [false, true] {
            let mut reader = LogReader::covered(covered);
            pieces[..7].iter().for_each(|piece| reader.push(piece));
            if has_gap {
                reader.seek(covered);
            } else {
                pieces[7..9].iter().for_each(|piece| reader.push(piece));
            }
            reader.push(&pieces[9]);
            let told = reader.finish().unwrap();
            assert!(told.is_socket && !told.response.is_cut);
            assert_eq!(
                (told.request.bytes.as_slice(), told.response.bytes.as_slice()),
                (b"ab".as_slice(), b"open".as_slice())
            );
        }
    }

    #[test]
    fn behind_a_hole_bodies_end_and_the_rest_is_read() {
        let pieces = bytes(&log());
        let mut reader = LogReader::new();
        pieces[..7].iter().for_each(|piece| reader.push(piece));
        reader.push(&[0, 1, 2]);
        pieces[8..].iter().for_each(|piece| reader.push(piece));
        let told = reader.finish().unwrap();
        assert_eq!((told.request.is_cut, told.response.is_cut), (true, true));
        assert_eq!((told.request.bytes.len(), told.response.bytes.len()), (4, 0));
        assert_eq!(told.ended.unwrap().end, End::ClientGone);
    }
}
