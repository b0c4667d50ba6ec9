//! Records a socket that has no turns: what both sides sent, sealed in parts.

use super::event::{SocketData, SocketEvent};
use crate::wire::websocket::Side;

/// What a part may hold before it is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartLimits {
    /// Bytes of a part.
    pub part_bytes: usize,
    /// Microseconds from a part's first event until it is sealed.
    pub part_us: u64,
    /// Bytes of binary messages that one part keeps; the rest is counted.
    pub binary_bytes: usize,
}

impl Default for PartLimits {
    fn default() -> PartLimits {
        PartLimits { part_bytes: 8 << 20, part_us: 600_000_000, binary_bytes: 1 << 20 }
    }
}

/// A stretch of a socket: what both sides sent in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketPart {
    /// Its number among the parts of its socket, from 0.
    pub index: u32,
    /// Arrival of its first event, in microseconds since the exchange began.
    pub start_us: u64,
    /// Arrival of its last event, or the socket's end.
    pub end_us: u64,
    /// No other part of this socket follows.
    pub is_last: bool,
    /// What was sent, in the order in which it was whole.
    pub events: Vec<SocketEvent>,
    /// What the client sent, kept or not.
    pub client: Sent,
    /// What the server sent, kept or not.
    pub server: Sent,
    /// Binary messages that were beyond the budget and are there without their bytes.
    pub unkept_binary: u64,
}

/// What one side sent in a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Messages with text or JSON.
    pub text_messages: u64,
    /// Other binary messages.
    pub binary_messages: u64,
    /// Bytes of other binary messages.
    pub binary_bytes: u64,
    /// Bytes of all its messages on the wire.
    pub wire_bytes: u64,
}

/// Collects a socket's events into parts.
#[derive(Debug)]
pub struct SocketRecorder {
    limits: PartLimits,
    part: SocketPart,
    held_bytes: usize,
    binary_bytes: usize,
}

impl SocketRecorder {
    /// A recorder whose first part is empty.
    pub fn new(limits: PartLimits) -> SocketRecorder {
        SocketRecorder { limits, part: SocketPart::new(0), held_bytes: 0, binary_bytes: 0 }
    }

    /// Takes the next event of either side; gives the part before it if that is full or old.
    pub fn push(&mut self, mut event: SocketEvent) -> Option<SocketPart> {
        let is_full = self.held_bytes + event.held_bytes() > self.limits.part_bytes;
        let sealed = match is_full && !self.part.events.is_empty() {
            true => Some(self.seal()),
            false => self.tick(event.at_us),
        };
        if self.part.events.is_empty() {
            self.part.start_us = event.at_us;
        }
        self.part.end_us = self.part.end_us.max(event.at_us);
        self.part.sent(event.side).count(&event);
        if let SocketData::Binary(bytes) = &mut event.data {
            if bytes.len() > self.limits.binary_bytes - self.binary_bytes {
                *bytes = Vec::new();
                self.part.unkept_binary += 1;
            }
            self.binary_bytes += bytes.len();
        }
        self.held_bytes += event.held_bytes();
        self.part.events.push(event);
        sealed
    }

    /// Gives the part under way if it is old.
    pub fn tick(&mut self, now_us: u64) -> Option<SocketPart> {
        let is_old = now_us.saturating_sub(self.part.start_us) >= self.limits.part_us;
        (is_old && !self.part.events.is_empty()).then(|| self.seal())
    }

    /// The socket has ended: its last part, which may be empty.
    pub fn finish(mut self, at_us: u64) -> SocketPart {
        if self.part.events.is_empty() {
            self.part.start_us = at_us;
        }
        self.part.end_us = self.part.end_us.max(at_us);
        self.part.is_last = true;
        self.part
    }

    /// Bytes that the part under way holds.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// When the first event came that was not given away.
    pub fn open_since_us(&self) -> Option<u64> {
        (!self.is_empty()).then_some(self.part.start_us)
    }

    /// Whether there is nothing that was not given away.
    pub fn is_empty(&self) -> bool {
        self.part.events.is_empty()
    }

    /// How many parts were given.
    pub fn sealed_parts(&self) -> u32 {
        self.part.index
    }

    fn seal(&mut self) -> SocketPart {
        (self.held_bytes, self.binary_bytes) = (0, 0);
        let next = SocketPart::new(self.part.index.saturating_add(1));
        std::mem::replace(&mut self.part, next)
    }
}

impl SocketPart {
    fn new(index: u32) -> SocketPart {
        SocketPart {
            index,
            start_us: 0,
            end_us: 0,
            is_last: false,
            events: Vec::new(),
            client: Sent::default(),
            server: Sent::default(),
            unkept_binary: 0,
        }
    }

    fn sent(&mut self, side: Side) -> &mut Sent {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }
}

impl Sent {
    fn count(&mut self, event: &SocketEvent) {
        self.wire_bytes += event.wire_bytes;
        match event.data {
            SocketData::Json(_) | SocketData::Text(_) => self.text_messages += 1,
            SocketData::Binary(_) => {
                self.binary_messages += 1;
                self.binary_bytes += event.length;
            }
            SocketData::Close { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(side: Side, at_us: u64, data: SocketData) -> SocketEvent {
        let length = data.held_bytes() as u64;
        let is_binary = matches!(data, SocketData::Binary(_));
        SocketEvent { side, at_us, wire_bytes: length + 2, length, is_binary, data, damage: None }
    }

    fn text(at_us: u64) -> SocketEvent {
        event(Side::Server, at_us, SocketData::Text("x".repeat(100)))
    }

    #[test]
    fn a_full_part_is_sealed_before_the_next_event() {
        let mut recorder = SocketRecorder::new(PartLimits { part_bytes: 500, ..PartLimits::default() });
        assert_eq!(recorder.push(text(1)), None);
        assert_eq!(recorder.push(text(2)), None);
        let part = recorder.push(text(3)).unwrap();
        assert_eq!((part.index, part.start_us, part.end_us, part.events.len()), (0, 1, 2, 2));
        assert_eq!((part.server.text_messages, part.server.wire_bytes, part.is_last), (2, 204, false));
        let last = recorder.finish(9);
        assert_eq!((last.index, last.start_us, last.end_us, last.events.len()), (1, 3, 9, 1));
        assert!(last.is_last);
    }

    #[test]
    fn an_event_larger_than_a_part_is_a_part() {
        let mut recorder = SocketRecorder::new(PartLimits { part_bytes: 50, ..PartLimits::default() });
        assert_eq!(recorder.push(text(1)), None);
        assert_eq!(recorder.push(text(2)).map(|it| it.events.len()), Some(1));
    }

    #[test]
    fn an_old_part_is_sealed_without_an_event() {
        let mut recorder = SocketRecorder::new(PartLimits { part_us: 10, ..PartLimits::default() });
        assert_eq!(recorder.tick(100), None);
        recorder.push(text(100));
        assert_eq!(recorder.tick(109), None);
        assert_eq!(recorder.tick(110).map(|it| it.events.len()), Some(1));
        assert_eq!(recorder.tick(1000), None);
        assert!(recorder.is_empty());
    }

    #[test]
    fn audio_beyond_the_budget_is_counted_and_not_kept() {
        let mut recorder = SocketRecorder::new(PartLimits { binary_bytes: 50, ..PartLimits::default() });
        for at_us in 0..3 {
            recorder.push(event(Side::Client, at_us, SocketData::Binary(vec![1; 30])));
        }
        let part = recorder.finish(3);
        let kept: Vec<usize> = part.events.iter().map(|it| it.data.held_bytes()).collect();
        assert_eq!(kept, [30, 0, 0]);
        assert_eq!((part.unkept_binary, part.client.binary_messages, part.client.binary_bytes), (2, 3, 90));
        assert!(part.events.iter().all(|it| it.length == 30));
    }
}
