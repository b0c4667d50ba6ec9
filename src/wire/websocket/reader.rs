//! Reads one direction of a WebSocket connection from chunks of any size.

use super::deflate::Inflater;
use super::frame::{Header, LONGEST_HEADER, Opcode, Violation, unmask};
use super::{Content, Damage, Deflate, Message, Side};

/// How much is unmasked in one step before it is inflated.
const STEP_BYTES: usize = 8 * 1024;

/// What a reader may hold and do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message's content that are kept; the rest is counted.
    pub message_bytes: usize,
    /// How many times its size on the wire a compressed message may grow to (past its first MiB).
    pub deflate_ratio: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { message_bytes: 32 << 20, deflate_ratio: 200 }
    }
}

/// What passed in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes on the wire, read or not.
    pub wire_bytes: u64,
    /// Frames that ended.
    pub frames: u64,
    /// Text and binary messages that ended.
    pub messages: u64,
    /// Pings.
    pub pings: u64,
    /// Pongs.
    pub pongs: u64,
    /// Messages that are not whole.
    pub damaged: u64,
    /// Bytes that passed but were not in the copy.
    pub missed_bytes: u64,
    /// Bytes that passed from the frame on that could not be read.
    pub unread_bytes: u64,
}

/// Reads one direction of a connection, after the handshake, from a copy of its bytes.
///
/// The same bytes give the same messages in any chunking, save that a message which grows close to the
/// allowed ratio may be refused in one and not in another. After a [`Violation`] the rest is counted
/// only: without intact headers the next frame cannot be found.
pub struct FrameReader {
    limits: Limits,
    inflation: Inflation,
    state: State,
    open: Option<Open>,
    counts: Counts,
    violation: Option<Violation>,
}

/// What is known of compression in this direction.
enum Inflation {
    NotNegotiated,
    /// Negotiated; no compressed message has come yet. The inflater's window is not small.
    Unused {
        has_context_takeover: bool,
    },
    Used(Box<Inflater>),
}

enum State {
    Header { bytes: [u8; LONGEST_HEADER], length: usize, at_us: u64 },
    Payload(Frame),
    Unreadable,
}

/// A frame whose header was read.
struct Frame {
    header: Header,
    /// Bytes of its payload that have not passed yet.
    left: u64,
    /// Arrival of its first byte.
    at_us: u64,
    /// The payload of a control frame; a data frame's goes to the open message.
    control: Vec<u8>,
    has_gap: bool,
}

/// A message that has begun.
struct Open {
    is_text: bool,
    is_compressed: bool,
    at_us: u64,
    wire_bytes: u64,
    body: Body,
}

/// The content of an open message, kept up to a limit.
struct Body {
    kept: Vec<u8>,
    limit: usize,
    length: u64,
    damage: Option<Damage>,
}

impl Body {
    fn push(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        let room = self.limit - self.kept.len();
        if bytes.len() > room {
            self.damage.get_or_insert(Damage::TooLong);
        }
        // Past a gap or a bad block the rest does not follow what was kept.
        if matches!(self.damage, None | Some(Damage::TooLong)) {
            self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
    }

    fn damage(&mut self, damage: Damage) {
        if self.damage.is_none() && damage == Damage::Deflate {
            // How far it came depends on the chunks that arrived; what is recorded must not.
            self.kept.clear();
            self.length = 0;
        }
        self.damage.get_or_insert(damage);
    }
}

impl Counts {
    /// Whether all that passed was in the copy and could be read.
    pub fn is_all_read(&self) -> bool {
        self.missed_bytes == 0 && self.unread_bytes == 0
    }
}

impl FrameReader {
    /// A reader of what `sender` sends. `deflate` is what the server granted.
    pub fn new(sender: Side, deflate: Option<Deflate>, limits: Limits) -> FrameReader {
        FrameReader {
            limits,
            inflation: match deflate {
                None => Inflation::NotNegotiated,
                Some(deflate) => Inflation::Unused { has_context_takeover: deflate.has_context_takeover(sender) },
            },
            state: State::awaiting_header(),
            open: None,
            counts: Counts::default(),
            violation: None,
        }
    }

    /// Reads the next bytes, which arrived at `at_us`; messages that they end go to `out`.
    pub fn push(&mut self, mut bytes: &[u8], at_us: u64, out: &mut Vec<Message>) {
        self.counts.wire_bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            bytes = match &mut self.state {
                State::Header { .. } => self.read_header(bytes, at_us, out),
                State::Payload(_) => self.read_payload(bytes, out),
                State::Unreadable => {
                    self.counts.unread_bytes += bytes.len() as u64;
                    return;
                }
            };
        }
    }

    /// Tells that the next `count` bytes passed but are not in the copy.
    ///
    /// Inside one frame's payload that costs its message; beyond it, the rest of the direction.
    pub fn skip(&mut self, count: u64, out: &mut Vec<Message>) {
        self.counts.wire_bytes += count;
        self.counts.missed_bytes += count;
        match &mut self.state {
            _ if count == 0 => {}
            State::Unreadable => {}
            State::Payload(frame) if count <= frame.left => {
                frame.left -= count;
                frame.has_gap = true;
                if !frame.header.opcode.is_control()
                    && let Some(open) = &mut self.open
                {
                    open.body.damage(Damage::Gap);
                    match &mut self.inflation {
                        Inflation::Used(inflater) if open.is_compressed => inflater.lose(),
                        _ => open.body.length += count,
                    }
                }
                self.end_frame_if_whole(out);
            }
            State::Header { .. } | State::Payload(_) => self.give_up(Violation::Gap),
        }
    }

    /// What has passed so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Why the direction can no longer be read, if so.
    pub fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// Bytes of content held for the message under way.
    pub fn held_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.body.kept.len())
    }

    /// When the message or frame began that is not whole yet; `None` between two.
    pub fn open_since_us(&self) -> Option<u64> {
        let frame = match &self.state {
            State::Header { length: 0, .. } | State::Unreadable => None,
            State::Header { at_us, .. } => Some(*at_us),
            State::Payload(frame) => Some(frame.at_us),
        };
        frame.into_iter().chain(self.open.as_ref().map(|open| open.at_us)).min()
    }

    fn read_header<'a>(&mut self, bytes: &'a [u8], at_us: u64, out: &mut Vec<Message>) -> &'a [u8] {
        let State::Header { bytes: header, length, at_us: first_at_us } = &mut self.state else {
            return bytes;
        };
        if *length == 0 {
            *first_at_us = at_us;
        }
        let had = *length;
        let taken = bytes.len().min(LONGEST_HEADER - had);
        header[had..had + taken].copy_from_slice(&bytes[..taken]);
        match Header::parse(&header[..had + taken]) {
            Ok(None) => {
                *length = had + taken;
                &bytes[taken..]
            }
            Ok(Some(header)) => {
                let at_us = *first_at_us;
                if let Err(violation) = self.begin_frame(header, at_us) {
                    self.give_up(violation);
                    return bytes;
                }
                self.end_frame_if_whole(out);
                // The header was not whole without these bytes, so it ends among them.
                &bytes[header.header_bytes.saturating_sub(had)..]
            }
            Err(violation) => {
                self.give_up(violation);
                bytes
            }
        }
    }

    fn begin_frame(&mut self, header: Header, at_us: u64) -> Result<(), Violation> {
        match (header.opcode, &mut self.open) {
            (Opcode::Continuation, None) => return Err(Violation::StrayContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Violation::Interleaved),
            (Opcode::Continuation, Some(open)) => open.wire_bytes += header.frame_bytes(),
            (Opcode::Text | Opcode::Binary, None) => {
                if header.is_compressed {
                    self.expect_compression()?;
                }
                self.open = Some(Open {
                    is_text: header.opcode == Opcode::Text,
                    is_compressed: header.is_compressed,
                    at_us,
                    wire_bytes: header.frame_bytes(),
                    body: Body { kept: Vec::new(), limit: self.limits.message_bytes, length: 0, damage: None },
                });
            }
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => {}
        }
        self.state = State::Payload(Frame { header, left: header.length, at_us, control: Vec::new(), has_gap: false });
        Ok(())
    }

    fn expect_compression(&mut self) -> Result<(), Violation> {
        match self.inflation {
            Inflation::NotNegotiated => Err(Violation::ReservedBits(0b100)),
            Inflation::Unused { has_context_takeover } => {
                let inflater = Inflater::new(has_context_takeover, self.limits.deflate_ratio);
                self.inflation = Inflation::Used(Box::new(inflater));
                Ok(())
            }
            Inflation::Used(_) => Ok(()),
        }
    }

    fn read_payload<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<Message>) -> &'a [u8] {
        let State::Payload(frame) = &mut self.state else {
            return bytes;
        };
        let taken = usize::try_from(frame.left).unwrap_or(usize::MAX).min(bytes.len());
        let (payload, rest) = bytes.split_at(taken);
        let offset = frame.header.length - frame.left;
        frame.left -= taken as u64;
        let mask = frame.header.mask.unwrap_or_default();
        if frame.header.opcode.is_control() {
            let had = frame.control.len();
            frame.control.extend_from_slice(payload);
            unmask(&mut frame.control[had..], mask, offset);
        } else if let Some(open) = &mut self.open {
            match &mut self.inflation {
                Inflation::Used(inflater) if open.is_compressed => inflate(inflater, payload, mask, offset, open),
                _ => {
                    let had = open.body.kept.len();
                    open.body.push(payload);
                    unmask(&mut open.body.kept[had..], mask, offset);
                }
            }
        }
        self.end_frame_if_whole(out);
        rest
    }

    fn end_frame_if_whole(&mut self, out: &mut Vec<Message>) {
        let frame = match &mut self.state {
            State::Payload(frame) if frame.left == 0 => frame,
            _ => return,
        };
        self.counts.frames += 1;
        let message = if frame.header.opcode.is_control() {
            Some(frame.control_message())
        } else if frame.header.is_final {
            self.open.take().map(|mut open| {
                if let Inflation::Used(inflater) = &mut self.inflation
                    && open.is_compressed
                    && inflater.end_message(&mut |bytes| open.body.push(bytes)).is_err()
                {
                    open.body.damage(Damage::Deflate);
                }
                open.message()
            })
        } else {
            None
        };
        self.state = State::awaiting_header();
        if let Some(message) = message {
            self.counts.add(&message);
            out.push(message);
        }
    }

    fn give_up(&mut self, violation: Violation) {
        if let State::Header { length, .. } = self.state {
            self.counts.unread_bytes += length as u64;
        }
        self.violation = Some(violation);
        self.state = State::Unreadable;
        self.open = None;
    }
}

impl State {
    fn awaiting_header() -> State {
        State::Header { bytes: [0; LONGEST_HEADER], length: 0, at_us: 0 }
    }
}

impl Header {
    /// Bytes of the frame on the wire.
    fn frame_bytes(&self) -> u64 {
        self.length.saturating_add(self.header_bytes as u64)
    }
}

impl Frame {
    fn control_message(&mut self) -> Message {
        let payload = std::mem::take(&mut self.control);
        let content = match self.header.opcode {
            Opcode::Ping => Content::Ping(payload),
            Opcode::Pong => Content::Pong(payload),
            _ => match payload.split_first_chunk::<2>() {
                Some((code, reason)) => Content::Close {
                    code: Some(u16::from_be_bytes(*code)),
                    reason: String::from_utf8_lossy(reason).into_owned(),
                },
                None => Content::Close { code: None, reason: String::new() },
            },
        };
        Message {
            at_us: self.at_us,
            wire_bytes: self.header.frame_bytes(),
            length: self.header.length,
            content,
            damage: self.has_gap.then_some(Damage::Gap),
        }
    }
}

impl Open {
    fn message(self) -> Message {
        let Body { kept, length, mut damage, .. } = self.body;
        let content = if self.is_text { Content::Text(text(kept, &mut damage)) } else { Content::Binary(kept) };
        Message { at_us: self.at_us, wire_bytes: self.wire_bytes, length, content, damage }
    }
}

impl Counts {
    fn add(&mut self, message: &Message) {
        match message.content {
            Content::Text(_) | Content::Binary(_) => self.messages += 1,
            Content::Ping(_) => self.pings += 1,
            Content::Pong(_) => self.pongs += 1,
            Content::Close { .. } => {}
        }
        self.damaged += u64::from(message.damage.is_some());
    }
}

fn inflate(inflater: &mut Inflater, payload: &[u8], mask: [u8; 4], offset: u64, open: &mut Open) {
    let mut step = [0; STEP_BYTES];
    let mut offset = offset;
    for piece in payload.chunks(STEP_BYTES) {
        let step = &mut step[..piece.len()];
        step.copy_from_slice(piece);
        unmask(step, mask, offset);
        offset += piece.len() as u64;
        if inflater.inflate(step, &mut |bytes| open.body.push(bytes)).is_err() {
            open.body.damage(Damage::Deflate);
        }
    }
}

/// The kept bytes of a text message as text.
fn text(kept: Vec<u8>, damage: &mut Option<Damage>) -> String {
    let broken = match String::from_utf8(kept) {
        Ok(text) => return text,
        Err(broken) => broken,
    };
    let error = broken.utf8_error();
    let mut kept = broken.into_bytes();
    if damage.is_some() && error.error_len().is_none() {
        // The cut went through a character.
        kept.truncate(error.valid_up_to());
    } else {
        damage.get_or_insert(Damage::NotUtf8);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
