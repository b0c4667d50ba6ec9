//! Copies of message heads, taken from the bytes as hyper reads them.
//!
//! hyper keeps the case of header names to itself, and drops one of two contradicting framing fields
//! without a word. The record wants the first and a refusal needs the second, so the reading side of a
//! connection is wrapped: while a head is due, what is read is also appended to a small buffer. No
//! parsing happens here beyond the search for the empty line that ends a head.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use hyper::header::{CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use hyper::rt::{Read, ReadBufCursor, Write};
use parking_lot::Mutex;

/// Whose heads a connection reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Requests: the bytes behind a head may be the next head.
    Requests,
    /// Answers: interim ones (1xx but for 101) are passed over.
    Answers,
}

/// The head being copied. Its lock is the connection's own: nobody else ever takes it.
#[derive(Clone)]
pub(crate) struct HeadCopy(Arc<Mutex<State>>);

struct State {
    reads: Reads,
    /// All that has been read from the connection, heads and bodies.
    read_bytes: u64,
    is_collecting: bool,
    /// Bytes of a body still to be passed over before the next head.
    body_bytes: u64,
    bytes: Vec<u8>,
    max_bytes: usize,
    begun: Option<Instant>,
}

impl HeadCopy {
    /// A copy of at most `max_bytes` a head; a longer one is not copied.
    pub(crate) fn new(reads: Reads, max_bytes: usize) -> HeadCopy {
        HeadCopy(Arc::new(Mutex::new(State {
            reads,
            read_bytes: 0,
            is_collecting: reads == Reads::Requests,
            body_bytes: 0,
            bytes: Vec::new(),
            max_bytes,
            begun: None,
        })))
    }

    /// From now on what is read belongs to a head.
    pub(crate) fn expect(&self) {
        let mut state = self.0.lock();
        if !state.is_collecting {
            state.is_collecting = true;
            state.body_bytes = 0;
            state.bytes.clear();
            state.begun = None;
        }
    }

    /// When the first byte of the head that is due arrived.
    pub(crate) fn begun(&self) -> Option<Instant> {
        self.0.lock().begun
    }

    /// How much has been read from the connection so far, heads and bodies.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.0.lock().read_bytes
    }

    /// The head that has just been read, if it was copied whole and begins with `start`. `body_bytes` says
    /// how long the body behind it is: behind that the next head is expected at once. Where it is not known
    /// whoever reads the body says when it has ended ([`expect`](HeadCopy::expect)); a head that had been
    /// read by then is not copied.
    pub(crate) fn take(&self, start: &[&[u8]], body_bytes: Option<u64>) -> Option<Vec<u8>> {
        let mut state = self.0.lock();
        let mut head = std::mem::take(&mut state.bytes);
        state.begun = None;
        state.is_collecting = false;
        let blank = head.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let end = head_end(&head, blank)?;
        if state.reads == Reads::Requests
            && let Some(body_bytes) = body_bytes
        {
            state.is_collecting = true;
            state.body_bytes = body_bytes;
            state.read(&head[end..]);
        }
        head.truncate(end);
        if blank > 0 {
            head.drain(..blank);
        }
        let mut rest: &[u8] = &head;
        for part in start {
            rest = rest.strip_prefix(*part)?;
        }
        Some(head)
    }
}

impl State {
    fn read(&mut self, bytes: &[u8]) {
        let of_body = usize::try_from(self.body_bytes).map_or(bytes.len(), |it| it.min(bytes.len()));
        self.body_bytes -= of_body as u64;
        let bytes = &bytes[of_body..];
        if bytes.is_empty() {
            return;
        }
        if self.begun.is_none() {
            self.begun = Some(Instant::now());
        }
        let searched = self.bytes.len().saturating_sub(3);
        self.bytes.extend_from_slice(bytes);
        match self.reads {
            Reads::Requests if self.bytes.starts_with(b"PRI * HTTP/2.0") => self.give_up(),
            Reads::Answers => self.settle_answer(searched),
            Reads::Requests => {}
        }
        if self.bytes.len() > self.max_bytes {
            self.give_up();
        }
    }

    /// Drops interim heads; ends the copy at the end of the final one.
    fn settle_answer(&mut self, mut searched: usize) {
        while let Some(end) = head_end(&self.bytes, searched) {
            let is_interim = self.bytes.get(9) == Some(&b'1') && self.bytes.get(9..12) != Some(b"101");
            if !is_interim {
                self.bytes.truncate(end);
                self.is_collecting = false;
                return;
            }
            self.bytes.drain(..end);
            searched = 0;
        }
    }

    fn give_up(&mut self) {
        self.is_collecting = false;
        self.bytes = Vec::new();
    }
}

/// The offset behind the empty line that ends a head, looked for from `from` on. A lone LF ends a line
/// as well (RFC 9112 §2.2).
fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = memchr::memchr(b'\n', bytes.get(at..)?) {
        let next = at + found + 1;
        match &bytes[next..] {
            [b'\n', ..] => return Some(next + 1),
            [b'\r', b'\n', ..] => return Some(next + 2),
            _ => at = next,
        }
    }
    None
}

/// A copied head as it is sent on when its body has been rewritten: without the fields of these names and, if a length
/// is given, with that in place of the framing it had. All other lines stay as they are.
pub(crate) fn edited(head: &[u8], without: &[HeaderName], length: Option<u64>) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len() + 32);
    let mut is_kept = true;
    let mut length = length;
    let is_sized = length.is_some();
    for (at, line) in head.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let line_end = if line.ends_with(b"\r\n") { "\r\n" } else { "\n" };
        if line == line_end.as_bytes() {
            if let Some(length) = length.take() {
                out.extend_from_slice(format!("Content-Length: {length}{line_end}").as_bytes());
            }
            is_kept = true;
        } else if at > 0 && !matches!(line.first(), Some(b' ' | b'\t')) {
            // A line that begins with white space goes on with the one before.
            let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
            let is = |other: &HeaderName| name.eq_ignore_ascii_case(other.as_str().as_bytes());
            is_kept = !(without.iter().any(is) || is_sized && is(&TRANSFER_ENCODING));
            if is_kept && is_sized && is(&CONTENT_LENGTH) {
                if let Some(length) = length.take() {
                    out.extend_from_slice(name);
                    out.extend_from_slice(format!(": {length}{line_end}").as_bytes());
                }
                is_kept = false;
            }
        }
        if is_kept {
            out.extend_from_slice(line);
        }
    }
    out
}

/// A connection whose heads are copied as they are read.
pub(crate) struct Heads<I> {
    io: I,
    copy: HeadCopy,
}

impl<I> Heads<I> {
    /// Copies the heads read from `io` into `copy`.
    pub(crate) fn new(io: I, copy: HeadCopy) -> Heads<I> {
        Heads { io, copy }
    }
}

impl<I: Read + Unpin> Read for Heads<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = {
            // SAFETY: the slice is only handed to a `ReadBuf`, which never de-initialises what it covers.
            let mut buffer = hyper::rt::ReadBuf::uninit(unsafe { cursor.as_mut() });
            std::task::ready!(Pin::new(&mut self.io).poll_read(cx, buffer.unfilled()))?;
            let filled = buffer.filled();
            let mut state = self.copy.0.lock();
            state.read_bytes += filled.len() as u64;
            if state.is_collecting && !filled.is_empty() {
                state.read(filled);
            }
            filled.len()
        };
        // SAFETY: the buffer above covered this cursor's bytes, and `read` of them have been filled.
        unsafe { cursor.advance(read) };
        Poll::Ready(Ok(()))
    }
}

impl<I: Write + Unpin> Write for Heads<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(reads: Reads, chunks: &[&[u8]]) -> HeadCopy {
        let copy = HeadCopy::new(reads, 1000);
        copy.expect();
        for chunk in chunks {
            let mut state = copy.0.lock();
            if state.is_collecting {
                state.read(chunk);
            }
        }
        copy
    }

    #[test]
    fn a_request_head_is_copied_across_reads_and_pipelined_ones_wait() {
        let copy = fed(Reads::Requests, &[b"\r\nGET /a HT", b"TP/1.1\r\nA: b\r\n\r\nGET /b HTTP/1.1\r", b"\n\r\n"]);
        assert_eq!(copy.take(&[b"GET", b" ", b"/a"], Some(0)).unwrap(), b"GET /a HTTP/1.1\r\nA: b\r\n\r\n");
        assert_eq!(copy.take(&[b"GET", b" ", b"/b"], Some(0)).unwrap(), b"GET /b HTTP/1.1\r\n\r\n");
        assert_eq!(copy.take(&[b"GET"], Some(0)), None);
    }

    #[test]
    fn a_body_is_not_copied() {
        let copy = fed(Reads::Requests, &[b"POST / HTTP/1.1\n\nbody"]);
        assert_eq!(copy.take(&[b"POST"], None).unwrap(), b"POST / HTTP/1.1\n\n");
        copy.0.lock().read(b"ignored only if nobody expects a head");
        assert!(!copy.0.lock().is_collecting);
        copy.expect();
        assert!(copy.0.lock().bytes.is_empty());
    }

    #[test]
    fn the_head_behind_a_body_of_known_length_is_copied() {
        let copy = fed(Reads::Requests, &[b"POST /a HTTP/1.1\r\n\r\nbo"]);
        assert!(copy.take(&[b"POST"], Some(4)).is_some());
        copy.0.lock().read(b"d");
        assert_eq!(copy.begun(), None);
        copy.0.lock().read(b"yGET /b HTTP/1.1\r\n\r\n");
        assert!(copy.begun().is_some());
        // The body's reader has come to its end, later than the bytes.
        copy.expect();
        assert_eq!(copy.take(&[b"GET"], Some(0)).unwrap(), b"GET /b HTTP/1.1\r\n\r\n");
    }

    #[test]
    fn bytes_that_are_not_the_expected_head_are_refused() {
        assert_eq!(fed(Reads::Requests, &[b"xx\r\nGET / HTTP/1.1\r\n\r\n"]).take(&[b"GET"], Some(0)), None);
    }

    #[test]
    fn interim_answers_are_passed_over() {
        let copy = fed(
            Reads::Answers,
            &[
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r",
                b"\nHTTP/1.1 200 OK\r\nA: b\r\n\r\nbody",
            ],
        );
        assert_eq!(copy.take(&[b"HTTP/1.1 200"], None).unwrap(), b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n");
    }

    #[test]
    fn http2_and_oversized_heads_are_not_kept() {
        assert!(!fed(Reads::Requests, &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]).0.lock().is_collecting);
        assert!(!fed(Reads::Requests, &[&[b'a'; 2000]]).0.lock().is_collecting);
    }

    #[test]
    fn an_edited_head_differs_in_what_was_asked_for_only() {
        let without = [HeaderName::from_static("etag"), HeaderName::from_static("content-encoding")];
        let head = b"HTTP/1.1 200 OK\r\nX-A: b\r\nETag: \"q\",\r\n folded\r\ncontent-LENGTH: 7\r\nContent-Encoding: br\r\nZ: \r\n\r\n";
        let expected = b"HTTP/1.1 200 OK\r\nX-A: b\r\ncontent-LENGTH: 12\r\nZ: \r\n\r\n";
        assert_eq!(edited(head, &without, Some(12)), expected);
        let head = b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nA: b\n\n";
        assert_eq!(edited(head, &without, Some(3)), b"HTTP/1.1 200 OK\nA: b\nContent-Length: 3\n\n");
        assert_eq!(edited(head, &without, None), head);
    }
}
