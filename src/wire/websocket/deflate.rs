//! permessage-deflate (RFC 7692): what was negotiated, and one direction's inflater.

use flate2::{Decompress, FlushDecompress, Status};

use super::Side;
use crate::headers::Headers;

/// What the sender of a compressed message left off its end (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// How much is inflated in one step.
const STEP_BYTES: usize = 16 * 1024;

/// Below this many inflated bytes the ratio of a message is not looked at.
const RATIO_FREE_BYTES: u64 = 1 << 20;

/// The parameters of permessage-deflate that the server granted.
///
/// The window bits are not needed to inflate: a window of 32 KiB reads what a smaller one wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deflate {
    /// The client begins every message with an empty window.
    pub client_no_context_takeover: bool,
    /// The server begins every message with an empty window.
    pub server_no_context_takeover: bool,
    /// The largest window that the client uses, as a power of two, if it was limited.
    pub client_max_window_bits: Option<u8>,
    /// The largest window that the server uses, as a power of two, if it was limited.
    pub server_max_window_bits: Option<u8>,
}

impl Deflate {
    /// What the answer's `Sec-WebSocket-Extensions` fields grant; `None` if it is not permessage-deflate.
    ///
    /// Unknown parameters and values are passed over: the peers have agreed on them, and what they
    /// mean for the reader shows when a message does not inflate.
    pub fn negotiated(answer: &Headers) -> Option<Deflate> {
        answer
            .get_all("sec-websocket-extensions")
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(','))
            .find_map(Deflate::parse)
    }

    fn parse(extension: &str) -> Option<Deflate> {
        let mut parts = extension.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
            return None;
        }
        let mut deflate = Deflate::default();
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let bits = value.trim().trim_matches('"').parse().ok();
            match name.trim().to_ascii_lowercase().as_str() {
                "client_no_context_takeover" => deflate.client_no_context_takeover = true,
                "server_no_context_takeover" => deflate.server_no_context_takeover = true,
                "client_max_window_bits" => deflate.client_max_window_bits = bits,
                "server_max_window_bits" => deflate.server_max_window_bits = bits,
                _ => {}
            }
        }
        Some(deflate)
    }

    /// Whether messages of `sender` may refer back to earlier ones.
    pub fn has_context_takeover(&self, sender: Side) -> bool {
        match sender {
            Side::Client => !self.client_no_context_takeover,
            Side::Server => !self.server_no_context_takeover,
        }
    }
}

/// A message that cannot be inflated, or may not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CannotInflate;

/// Inflates the compressed messages of one direction, in order.
pub(super) struct Inflater {
    stream: Decompress,
    has_context_takeover: bool,
    max_ratio: u64,
    is_lost: bool,
    taken: u64,
    given: u64,
}

impl Inflater {
    pub(super) fn new(has_context_takeover: bool, max_ratio: u64) -> Inflater {
        Inflater {
            stream: Decompress::new(false),
            has_context_takeover,
            max_ratio: max_ratio.max(1),
            is_lost: false,
            taken: 0,
            given: 0,
        }
    }

    /// Inflates more of the message under way; `keep` gets the bytes in order.
    ///
    /// After a failure the window is unknown: the message, and with context takeover all that
    /// follow it, cannot be inflated.
    pub(super) fn inflate(&mut self, mut input: &[u8], keep: &mut impl FnMut(&[u8])) -> Result<(), CannotInflate> {
        if self.is_lost {
            return Err(CannotInflate);
        }
        self.taken += input.len() as u64;
        let mut step = [0; STEP_BYTES];
        loop {
            let (taken, given) = (self.stream.total_in(), self.stream.total_out());
            let status = self.stream.decompress(input, &mut step, FlushDecompress::Sync);
            let taken = (self.stream.total_in() - taken) as usize;
            let given = (self.stream.total_out() - given) as usize;
            keep(&step[..given]);
            let Ok(status) = status else {
                self.lose();
                return Err(CannotInflate);
            };
            input = &input[taken..];
            self.given += given as u64;
            if self.given > RATIO_FREE_BYTES && self.given / self.max_ratio > self.taken {
                self.lose();
                return Err(CannotInflate);
            }
            match status {
                // A block with BFINAL ends the stream but not the message (RFC 7692 §7.2.3.4); whoever
                // ended a stream began the next with an empty window.
                Status::StreamEnd => self.stream.reset(false),
                _ if taken == 0 && given == 0 && !input.is_empty() => {
                    self.lose();
                    return Err(CannotInflate);
                }
                _ if input.is_empty() && given < STEP_BYTES => return Ok(()),
                _ => {}
            }
        }
    }

    /// The message has ended.
    pub(super) fn end_message(&mut self, keep: &mut impl FnMut(&[u8])) -> Result<(), CannotInflate> {
        let outcome = self.inflate(&TAIL, keep);
        (self.taken, self.given) = (0, 0);
        if !self.has_context_takeover {
            self.stream.reset(false);
            self.is_lost = false;
        }
        outcome
    }

    /// The window is no longer known, as when bytes of a message were missed.
    pub(super) fn lose(&mut self) {
        self.is_lost = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(values: &[&str]) -> Headers {
        values.iter().map(|value| ("Sec-WebSocket-Extensions", value.as_bytes())).collect()
    }

    #[test]
    fn the_granted_parameters_are_read() {
        assert_eq!(Deflate::negotiated(&answer(&[])), None);
        assert_eq!(Deflate::negotiated(&answer(&["x-other; a=b"])), None);
        assert_eq!(Deflate::negotiated(&answer(&["permessage-deflate"])), Some(Deflate::default()));
        let granted = Deflate::negotiated(&answer(&[
            "x-other",
            "x-third, Permessage-Deflate; server_no_context_takeover ; client_max_window_bits=\"12\";server_max_window_bits = 9",
        ]));
        assert_eq!(
            granted,
            Some(Deflate {
                client_no_context_takeover: false,
                server_no_context_takeover: true,
                client_max_window_bits: Some(12),
                server_max_window_bits: Some(9),
            })
        );
        let granted = granted.unwrap();
        assert!(granted.has_context_takeover(Side::Client));
        assert!(!granted.has_context_takeover(Side::Server));
    }

    fn inflate(inflater: &mut Inflater, message: &[u8]) -> Result<Vec<u8>, CannotInflate> {
        let mut out = Vec::new();
        let first = inflater.inflate(message, &mut |bytes| out.extend_from_slice(bytes));
        let last = inflater.end_message(&mut |bytes| out.extend_from_slice(bytes));
        first.and(last).map(|()| out)
    }

    #[test]
    fn the_examples_of_the_standard_inflate() {
        // RFC 7692 §7.2.3.1, §7.2.3.2: the second message refers back to the first.
        let mut inflater = Inflater::new(true, 100);
        let hello = Ok(b"Hello".to_vec());
        assert_eq!(inflate(&mut inflater, &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00]), hello);
        assert_eq!(inflate(&mut inflater, &[0xF2, 0x00, 0x11, 0x00, 0x00]), hello);
        // §7.2.3.3: a block without compression.
        let stored = [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00];
        assert_eq!(inflate(&mut inflater, &stored), hello);
        // §7.2.3.4: a final block; §7.2.3.5: two blocks.
        assert_eq!(inflate(&mut inflater, &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00]), hello);
        let two = [0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00];
        assert_eq!(inflate(&mut inflater, &two), hello);
        // §7.2.3.6: an empty message.
        assert_eq!(inflate(&mut inflater, &[0x00]), Ok(Vec::new()));
    }

    #[test]
    fn without_takeover_a_bad_message_costs_itself_only() {
        let hello = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
        let mut inflater = Inflater::new(false, 100);
        assert_eq!(inflate(&mut inflater, &[0xFF; 9]), Err(CannotInflate));
        assert_eq!(inflate(&mut inflater, &hello), Ok(b"Hello".to_vec()));

        let mut inflater = Inflater::new(true, 100);
        assert_eq!(inflate(&mut inflater, &[0xFF; 9]), Err(CannotInflate));
        assert_eq!(inflate(&mut inflater, &hello), Err(CannotInflate));
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut deflate = flate2::Compress::new(flate2::Compression::best(), false);
        let mut bomb = Vec::with_capacity(1 << 20);
        deflate.compress_vec(&vec![0; 16 << 20], &mut bomb, flate2::FlushCompress::Sync).unwrap();
        let mut given = 0;
        let mut inflater = Inflater::new(true, 100);
        assert_eq!(inflater.inflate(&bomb, &mut |bytes| given += bytes.len()), Err(CannotInflate));
        assert!(given < 2 << 20, "{given} bytes");
    }
}
