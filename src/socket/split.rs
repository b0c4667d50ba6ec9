//! Splits a Responses socket into turns.
//!
//! A turn goes from the client's `response.create` to the server's `response.completed`, `.failed`,
//! `.incomplete` or `error`. Each `stream_id` is a lane of its own, and a lane answers its requests in
//! order; messages without one share a lane. `response.steer` may make the server begin a turn by itself.

use super::envelope::Envelope;
use super::event::{SocketData, SocketEvent};
use super::turn::{Origin, Turn, TurnEnd};
use crate::wire::websocket::Side;

/// How many `response.steer` messages are remembered until the server answers them.
const STEERS: usize = 64;

/// What a splitter may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnLimits {
    /// Bytes of events kept for one turn. Its request and its last event are kept beyond it.
    pub turn_bytes: usize,
    /// Bytes kept for all open turns together.
    pub open_bytes: usize,
    /// Turns open at once; the oldest is cut for one more.
    pub open_turns: usize,
    /// How long after an `error` a turn that had begun its answer may still end in another way.
    pub settle_us: u64,
}

impl Default for TurnLimits {
    fn default() -> TurnLimits {
        TurnLimits { turn_bytes: 32 << 20, open_bytes: 64 << 20, open_turns: 256, settle_us: 2_000_000 }
    }
}

/// Where an event went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routed {
    /// It ended this turn.
    Turn(Box<Turn>),
    /// It belongs to no turn.
    Stray(SocketEvent),
}

/// Splits the events of both directions into turns, in order of arrival.
#[derive(Debug)]
pub struct TurnSplitter {
    limits: TurnLimits,
    /// In the order in which they began, so that the first of a lane is the one it works on.
    open: Vec<Open>,
    /// Each with its `previous_response_id`, oldest first; also kept among the events of their turns.
    steers: Vec<(String, SocketEvent)>,
    held_bytes: usize,
}

#[derive(Debug)]
struct Open {
    turn: Turn,
    held_bytes: usize,
    error: Option<Refusal>,
}

/// An `error` that came for a turn.
#[derive(Clone, Copy, Debug)]
struct Refusal {
    at_us: u64,
    /// Which of the turn's events it is, if it was kept.
    index: Option<usize>,
}

impl TurnSplitter {
    /// A splitter without open turns.
    pub fn new(limits: TurnLimits) -> TurnSplitter {
        TurnSplitter { limits, open: Vec::new(), steers: Vec::new(), held_bytes: 0 }
    }

    /// Takes the next event of either side; turns that it ends and events of no turn go to `out`.
    pub fn push(&mut self, event: SocketEvent, out: &mut Vec<Routed>) {
        self.settle(event.at_us, out);
        match event.side {
            Side::Client => self.push_client(event, out),
            Side::Server => self.push_server(event, out),
        }
    }

    /// Ends turns whose `error` was their last word for long enough.
    pub fn settle(&mut self, now_us: u64, out: &mut Vec<Routed>) {
        let settle_us = self.limits.settle_us;
        while let Some(at) =
            self.open.iter().position(|it| it.error.is_some_and(|error| now_us.saturating_sub(error.at_us) > settle_us))
        {
            self.end_in_error(at, out);
        }
    }

    /// The socket has ended: what is open is cut.
    pub fn finish(&mut self, at_us: u64, out: &mut Vec<Routed>) {
        while !self.open.is_empty() {
            match self.open[0].error {
                Some(_) => self.end_in_error(0, out),
                None => self.end(0, TurnEnd::Cut, at_us, out),
            }
        }
    }

    /// How many turns are open.
    pub fn open_turns(&self) -> usize {
        self.open.len()
    }

    /// When the oldest of them began.
    pub fn open_since_us(&self) -> Option<u64> {
        self.open.iter().map(|it| it.turn.start_us).min()
    }

    /// Bytes that the open turns hold.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn push_client(&mut self, event: SocketEvent, out: &mut Vec<Routed>) {
        let text = event.data.text().unwrap_or_default();
        let envelope = Envelope::read(text);
        if envelope.kind.as_deref() == Some("response.create") {
            let turn = requested(Origin::Created, &event, &envelope);
            self.open_turn(turn, out);
            return;
        }
        let id = envelope.response_id.as_deref().or(envelope.previous_response_id.as_deref());
        let route = self.route_client(envelope.stream_id.as_deref(), id);
        if envelope.kind.as_deref() == Some("response.steer")
            && let Some(id) = envelope.previous_response_id
        {
            self.remember_steer(id, &event);
        }
        match route {
            Some(at) => {
                self.keep(at, event);
            }
            None => out.push(Routed::Stray(event)),
        }
    }

    fn push_server(&mut self, event: SocketEvent, out: &mut Vec<Routed>) {
        let envelope = Envelope::read(event.data.text().unwrap_or_default());
        let inner = envelope.inner();
        let kind = envelope.kind.as_deref().unwrap_or_default();
        let lane = envelope.stream_id.as_deref();
        let id = inner.id.as_deref().or(envelope.response_id.as_deref());
        let previous = inner.previous_response_id.as_deref();
        if kind == "response.steer.failed" {
            self.forget_steer(&event);
        }
        let mut route = self.route_server(lane, id, previous);
        if route.is_none() && kind == "response.created" {
            self.open_turn(self.unrequested(lane, previous, &event), out);
            route = self.open.len().checked_sub(1);
        }
        let Some(at) = route else {
            out.push(Routed::Stray(event));
            return;
        };
        let at =
            if self.open[at].turn.response_id.is_none() && id.is_some() { self.begin_answer(at, id, out) } else { at };
        let open = &mut self.open[at];
        if open.turn.previous_response_id.is_none() {
            open.turn.previous_response_id = previous.map(str::to_owned);
        }
        let at_us = event.at_us;
        if let Some(end) = TurnEnd::of_kind(kind) {
            self.keep_last(at, event);
            self.end(at, end, at_us, out);
        } else if kind == "error" {
            let index = self.keep(at, event);
            self.open[at].error = Some(Refusal { at_us, index });
            if self.open[at].turn.response_id.is_none() {
                self.end_in_error(at, out);
            }
        } else {
            // A turn that goes on was not the one in error.
            let at = self.reassign_error(at, out);
            self.keep(at, event);
        }
    }

    /// The server begins to answer a turn; what it left in error before in that lane has ended. Gives
    /// the turn's place, which that may have changed.
    fn begin_answer(&mut self, at: usize, id: Option<&str>, out: &mut Vec<Routed>) -> usize {
        self.open[at].turn.response_id = id.map(str::to_owned);
        let mut at = at;
        while let Some(before) = self.open[..at]
            .iter()
            .position(|it| it.error.is_some() && it.turn.stream_id == self.open[at].turn.stream_id)
        {
            self.end_in_error(before, out);
            at -= 1;
        }
        at
    }

    /// The turn that a client's message is about.
    fn route_client(&self, lane: Option<&str>, id: Option<&str>) -> Option<usize> {
        let by_id = id.and_then(|id| self.position(|turn| turn.response_id.as_deref() == Some(id)));
        by_id.or_else(|| self.current(lane))
    }

    /// The turn that a server's message belongs to.
    ///
    /// An id that is known decides. One that is not belongs to a turn that has none yet: of several in
    /// a lane the one that continues the same answer, else the first. A message without an id belongs
    /// to the turn that its lane works on. Where the lane is not told and has no turn, the only open
    /// turn is meant, if there is but one.
    fn route_server(&self, lane: Option<&str>, id: Option<&str>, previous: Option<&str>) -> Option<usize> {
        let Some(id) = id else {
            return self.current(lane);
        };
        let in_lane = |turn: &Turn| turn.stream_id.as_deref() == lane;
        let is_lone = lane.is_none() && self.open.len() == 1;
        let is_free = |turn: &Turn| turn.response_id.is_none() && (in_lane(turn) || is_lone);
        self.position(|turn| turn.response_id.as_deref() == Some(id))
            .or_else(|| {
                previous?;
                self.position(|turn| is_free(turn) && turn.previous_response_id.as_deref() == previous)
            })
            .or_else(|| self.position(is_free))
    }

    /// The turn that a lane works on: the last that the server began to answer, else the first.
    fn current(&self, lane: Option<&str>) -> Option<usize> {
        let in_lane = |turn: &Turn| turn.stream_id.as_deref() == lane;
        let begun = self.open.iter().rposition(|it| in_lane(&it.turn) && it.turn.response_id.is_some());
        begun.or_else(|| self.position(in_lane)).or_else(|| (lane.is_none() && self.open.len() == 1).then_some(0))
    }

    fn position(&self, is_meant: impl Fn(&Turn) -> bool) -> Option<usize> {
        self.open.iter().position(|it| is_meant(&it.turn))
    }

    fn open_turn(&mut self, turn: Turn, out: &mut Vec<Routed>) {
        // Whoever begins anew in a lane has taken an error there for the end.
        while let Some(at) = self.open.iter().position(|it| it.error.is_some() && it.turn.stream_id == turn.stream_id) {
            self.end_in_error(at, out);
        }
        if let Some(previous) = &turn.previous_response_id {
            self.forget_steers(|id| id == previous);
        }
        let held_bytes = turn.held_bytes();
        while !self.open.is_empty()
            && (self.open.len() >= self.limits.open_turns || self.held_bytes + held_bytes > self.limits.open_bytes)
        {
            self.end(0, TurnEnd::Cut, turn.start_us, out);
        }
        self.held_bytes += held_bytes;
        self.open.push(Open { turn, held_bytes, error: None });
    }

    /// A turn that the server began by itself, with its first event.
    fn unrequested(&self, lane: Option<&str>, previous: Option<&str>, event: &SocketEvent) -> Turn {
        let mut steers = self.steers.iter().filter(|(id, _)| Some(id.as_str()) == previous).map(|(_, steer)| steer);
        let mut turn = match steers.next() {
            Some(steer) => {
                let envelope = Envelope::read(steer.data.text().unwrap_or_default());
                requested(Origin::Steered, steer, &envelope)
            }
            None => Turn {
                origin: Origin::Unseen,
                request: None,
                stream_id: None,
                response_id: None,
                previous_response_id: previous.map(str::to_owned),
                start_us: 0,
                end_us: 0,
                events: Vec::new(),
                unkept_events: 0,
                client_wire_bytes: 0,
                server_wire_bytes: 0,
                end: TurnEnd::Cut,
            },
        };
        for steer in steers {
            turn.count(steer);
            turn.events.push(steer.clone());
        }
        turn.stream_id = lane.map(str::to_owned);
        turn.start_us = event.at_us;
        turn
    }

    fn forget_steer(&mut self, failed: &SocketEvent) {
        #[derive(serde::Deserialize)]
        struct Failed {
            steer: Steer,
        }
        #[derive(serde::Deserialize)]
        struct Steer {
            previous_response_id: String,
        }
        let text = failed.data.text().unwrap_or_default();
        if let Ok(Failed { steer }) = serde_json::from_str(text) {
            let mut is_first = true;
            self.forget_steers(|id| id == steer.previous_response_id && std::mem::take(&mut is_first));
        }
    }

    fn remember_steer(&mut self, id: String, steer: &SocketEvent) {
        let size = steer.held_bytes();
        if self.held_bytes + size > self.limits.open_bytes {
            return;
        }
        if self.steers.len() == STEERS {
            let mut is_first = true;
            self.forget_steers(|_| std::mem::take(&mut is_first));
        }
        self.held_bytes += size;
        self.steers.push((id, steer.clone()));
    }

    fn forget_steers(&mut self, mut is_over: impl FnMut(&str) -> bool) {
        let held_bytes = &mut self.held_bytes;
        self.steers.retain(|(id, steer)| {
            let is_over = is_over(id);
            if is_over {
                *held_bytes -= steer.held_bytes();
            }
            !is_over
        });
    }

    /// Keeps an event if the limits allow it; its index in the turn.
    fn keep(&mut self, at: usize, event: SocketEvent) -> Option<usize> {
        let size = event.held_bytes();
        let open = &mut self.open[at];
        let is_within =
            open.held_bytes + size <= self.limits.turn_bytes && self.held_bytes + size <= self.limits.open_bytes;
        if is_within {
            return Some(self.keep_last(at, event));
        }
        open.turn.count(&event);
        open.turn.unkept_events += 1;
        None
    }

    /// Keeps an event whatever the limits say; its index in the turn.
    fn keep_last(&mut self, at: usize, event: SocketEvent) -> usize {
        let size = event.held_bytes();
        let open = &mut self.open[at];
        open.held_bytes += size;
        self.held_bytes += size;
        open.turn.count(&event);
        open.turn.events.push(event);
        open.turn.events.len() - 1
    }

    /// Moves an error from a turn that goes on to the request of its lane that it refused: the last one
    /// without an answer. Gives the turn's place, which an end of the other may have changed.
    fn reassign_error(&mut self, at: usize, out: &mut Vec<Routed>) -> usize {
        let Some(Refusal { at_us, index: Some(index) }) = self.open[at].error.take() else {
            return at;
        };
        let lane = &self.open[at].turn.stream_id;
        let refused = self
            .open
            .iter()
            .rposition(|it| it.turn.stream_id == *lane && it.turn.response_id.is_none() && it.turn.start_us <= at_us);
        let Some(refused) = refused.filter(|refused| *refused != at) else {
            return at;
        };
        let open = &mut self.open[at];
        let error = open.turn.events.remove(index);
        let size = error.held_bytes();
        open.held_bytes -= size;
        self.held_bytes -= size;
        open.turn.server_wire_bytes -= error.wire_bytes;
        let index = self.keep_last(refused, error);
        self.open[refused].error = Some(Refusal { at_us, index: Some(index) });
        self.end_in_error(refused, out);
        if refused < at { at - 1 } else { at }
    }

    fn end_in_error(&mut self, at: usize, out: &mut Vec<Routed>) {
        let at_us = self.open[at].error.map_or(0, |error| error.at_us);
        self.end(at, TurnEnd::Error, at_us, out);
    }

    fn end(&mut self, at: usize, end: TurnEnd, at_us: u64, out: &mut Vec<Routed>) {
        let Open { mut turn, held_bytes, .. } = self.open.remove(at);
        self.held_bytes -= held_bytes;
        turn.end = end;
        turn.end_us = at_us.max(turn.start_us);
        out.push(Routed::Turn(Box::new(turn)));
    }
}

/// A turn that begins with this message of the client.
fn requested(origin: Origin, event: &SocketEvent, envelope: &Envelope<'_>) -> Turn {
    let request = match &event.data {
        SocketData::Json(text) => {
            let text = envelope.response.map_or_else(|| envelope.without_kind(text), str::to_owned);
            SocketData::Json(text)
        }
        cut => cut.clone(),
    };
    let previous = envelope.previous_response_id.clone().or_else(|| envelope.inner().previous_response_id);
    Turn {
        origin,
        request: Some(request),
        stream_id: envelope.stream_id.clone(),
        response_id: None,
        previous_response_id: previous,
        start_us: event.at_us,
        end_us: event.at_us,
        events: Vec::new(),
        unkept_events: 0,
        client_wire_bytes: event.wire_bytes,
        server_wire_bytes: 0,
        end: TurnEnd::Cut,
    }
}
