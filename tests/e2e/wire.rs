//! Bare sockets with deadlines: a gateway that does what a test says, byte by byte, and a client like it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// How long anything may take before a test is called stuck. Nothing waits for it when all is well.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The gateway's listening socket.
pub(crate) struct Gateway {
    listener: TcpListener,
}

impl Gateway {
    /// Listens on a free port.
    pub(crate) fn new() -> Gateway {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // On Linux the receive timeout bounds `accept` as well.
        socket2::SockRef::from(&listener).set_read_timeout(Some(DEADLINE)).unwrap();
        Gateway { listener }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next connection from the recorder.
    pub(crate) fn accept(&self) -> Wire {
        Wire::new(self.listener.accept().expect("the recorder connects").0)
    }

    /// Accepts, and reads a request's head.
    pub(crate) fn request(&self) -> (Wire, String) {
        let mut wire = self.accept();
        let head = wire.head();
        (wire, head)
    }

    /// Whether nobody has connected and is waiting to be accepted.
    pub(crate) fn is_untouched(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        let accepted = self.listener.accept();
        self.listener.set_nonblocking(false).unwrap();
        accepted.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// How the other side ended its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With a FIN.
    InOrder,
    /// With a RST.
    ByReset,
}

/// One connection, and what has been read of it and not yet been taken.
pub(crate) struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Wire {
        Wire::new(TcpStream::connect(address).expect("the recorder accepts"))
    }

    fn new(stream: TcpStream) -> Wire {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Wire { stream, unread: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the other side reads");
    }

    /// Sends what the other side may refuse to read by now.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Reads until `end` has passed, and takes everything up to and with it.
    pub(crate) fn until(&mut self, end: impl AsRef<[u8]>) -> Vec<u8> {
        let end = end.as_ref();
        loop {
            if let Some(at) = memchr::memmem::find(&self.unread, end) {
                return self.unread.drain(..at + end.len()).collect();
            }
            if let Some(ended) = self.read() {
                panic!("{ended:?} before {:?}; got {:?}", text(end), text(&self.unread));
            }
        }
    }

    /// A message head, with its empty line.
    pub(crate) fn head(&mut self) -> String {
        text(&self.until("\r\n\r\n"))
    }

    /// The next `count` bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            if let Some(ended) = self.read() {
                panic!("{ended:?} after {} of {count} bytes: {:?}", self.unread.len(), text(&self.unread));
            }
        }
        self.unread.drain(..count).collect()
    }

    /// A chunked body with its trailers, as sent: through the empty line that ends it.
    pub(crate) fn chunked(&mut self) -> String {
        let mut body = Vec::new();
        loop {
            let size = self.until("\r\n");
            let count = usize::from_str_radix(text(&size).trim().split(';').next().unwrap(), 16).unwrap();
            body.extend_from_slice(&size);
            if count == 0 {
                loop {
                    let line = self.until("\r\n");
                    body.extend_from_slice(&line);
                    if line == b"\r\n" {
                        return text(&body);
                    }
                }
            }
            body.extend(self.exactly(count + 2));
        }
    }

    /// All that comes until the other side ends, and how it does.
    pub(crate) fn rest(&mut self) -> (String, Ended) {
        loop {
            if let Some(ended) = self.read() {
                return (text(&std::mem::take(&mut self.unread)), ended);
            }
        }
    }

    /// Waits until the other side has ended, and fails if bytes come before that.
    pub(crate) fn ends_without_a_byte(&mut self) -> Ended {
        let (rest, ended) = self.rest();
        assert_eq!(rest, "");
        ended
    }

    /// Ends this direction; the other stays open.
    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Ends with a RST.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Ends in order, in both directions.
    pub(crate) fn close(self) {
        drop(self);
    }

    /// Waits until a byte is here or on the other wire; whether it is here.
    pub(crate) fn is_asked_before(&mut self, other: &mut Wire) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        other.stream.set_nonblocking(true).unwrap();
        let is_here = loop {
            if self.stream.peek(&mut [0]).is_ok() {
                break true;
            }
            if other.stream.peek(&mut [0]).is_ok() {
                break false;
            }
            std::thread::yield_now();
        };
        self.stream.set_nonblocking(false).unwrap();
        other.stream.set_nonblocking(false).unwrap();
        is_here
    }

    /// How many segments with data have come, as the system counts them.
    pub(crate) fn segments_received(&self) -> u32 {
        // Where `tcpi_data_segs_in` stands in the system's `struct tcp_info` (linux/tcp.h), which only grows at its end.
        const AT: usize = 152;
        let mut info = [0_u8; 256];
        let mut bytes = info.len() as libc::socklen_t;
        // SAFETY: the call writes at most so many bytes there, and says how many.
        let outcome = unsafe {
            let fd = std::os::fd::AsRawFd::as_raw_fd(&self.stream);
            libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &mut bytes)
        };
        assert!(outcome == 0 && bytes as usize >= AT + 4, "this system counts no segments");
        u32::from_ne_bytes(info[AT..AT + 4].try_into().unwrap())
    }

    /// A second hold on the socket, for a thread of its own.
    pub(crate) fn twin(&self) -> Wire {
        Wire::new(self.stream.try_clone().unwrap())
    }

    fn read(&mut self) -> Option<Ended> {
        let mut buffer = [0; 64 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some(Ended::InOrder),
                Ok(count) => {
                    self.unread.extend_from_slice(&buffer[..count]);
                    return None;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Some(Ended::ByReset),
                Err(error) => panic!("nothing came: {error}; unread: {:?}", text(&self.unread)),
            }
        }
    }
}

/// Bytes as text, each byte that is not UTF-8 in Latin-1.
pub(crate) fn text(bytes: &[u8]) -> String {
    api_log::headers::value_text(bytes).into_owned()
}

/// The values of a head's fields of this name, in any case.
pub(crate) fn values<'h>(head: &'h str, name: &str) -> Vec<&'h str> {
    fields(head).into_iter().filter(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

/// A head's fields.
pub(crate) fn fields(head: &str) -> Vec<(&str, &str)> {
    head.lines().skip(1).filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim())).collect()
}
