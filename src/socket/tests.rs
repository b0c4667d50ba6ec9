//! Whole sockets: frames in, turns and parts out.

use proptest::prelude::*;

use super::*;

/// A socket under test, and what came of it.
struct Socket {
    reader: SocketReader,
    pieces: Vec<Piece>,
    now_us: u64,
}

fn text_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81, 126];
    frame.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

impl Socket {
    fn new(protocol: Protocol) -> Socket {
        Socket::with(protocol, SocketLimits::default())
    }

    fn with(protocol: Protocol, limits: SocketLimits) -> Socket {
        Socket { reader: SocketReader::new(protocol, None, limits), pieces: Vec::new(), now_us: 0 }
    }

    /// One message, a microsecond after the last.
    fn send(&mut self, side: Side, text: &str) -> &mut Socket {
        self.now_us += 1;
        self.reader.push(side, &text_frame(text.as_bytes()), self.now_us, &mut self.pieces);
        self
    }

    fn client(&mut self, text: &str) -> &mut Socket {
        self.send(Side::Client, text)
    }

    fn server(&mut self, text: &str) -> &mut Socket {
        self.send(Side::Server, text)
    }

    fn turns(&self) -> Vec<&Turn> {
        let turns = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Turn(turn) => Some(&**turn),
            Piece::Part(_) | Piece::Unread(_) => None,
        });
        turns.collect()
    }

    fn finish(&mut self) -> SocketSummary {
        let reader =
            std::mem::replace(&mut self.reader, SocketReader::new(Protocol::Unknown, None, SocketLimits::default()));
        reader.finish(self.now_us + 1, &mut self.pieces)
    }

    fn parts(&self) -> Vec<&SocketPart> {
        let parts = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Part(part) => Some(&**part),
            Piece::Turn(_) | Piece::Unread(_) => None,
        });
        parts.collect()
    }
}

fn texts(turn: &Turn) -> Vec<&str> {
    turn.events.iter().filter_map(|event| event.data.text()).collect()
}

const CREATE: &str = r#"{"type":"response.create","model":"m","input":[ ]}"#;
const CREATED: &str = r#"{"type":"response.created","response":{"id":"r1"}}"#;
const DELTA: &str = r#"{"type":"response.output_text.delta","delta":"x"}"#;
const COMPLETED: &str = r#"{"type":"response.completed","response":{"id":"r1"}}"#;

#[test]
fn a_turn_is_given_when_it_ends_and_not_when_the_socket_does() {
    let mut socket = Socket::new(Protocol::Responses);
    socket.client(CREATE).server(CREATED).server(DELTA);
    assert_eq!(socket.turns().len(), 0);
    socket.server(COMPLETED);
    let turns = socket.turns();
    let turn = turns[0];
    assert_eq!(turn.request_json(), Some(r#"{"model":"m","input":[ ]}"#));
    assert_eq!(texts(turn), [CREATED, DELTA, COMPLETED]);
    assert_eq!((turn.start_us, turn.first_event_us(), turn.end_us), (1, Some(2), 4));
    assert_eq!((turn.origin, turn.end), (Origin::Created, TurnEnd::Completed));
    assert_eq!(turn.response_id.as_deref(), Some("r1"));
    assert_eq!(turn.answer().len(), 3);
    assert_eq!(turn.client_wire_bytes, CREATE.len() as u64 + 4);
    assert_eq!(turn.server_wire_bytes, (CREATED.len() + DELTA.len() + COMPLETED.len()) as u64 + 12);
    assert_eq!(socket.reader.held_bytes(), 0);
    let summary = socket.finish();
    assert_eq!((summary.turns, summary.parts), (1, 0));
}

#[test]
fn a_request_in_a_response_member_is_taken_from_there() {
    let mut socket = Socket::new(Protocol::Responses);
    socket
        .client(r#"{"type":"response.create","response":{"model":"m","previous_response_id":"r0"}}"#)
        .server(COMPLETED);
    let turns = socket.turns();
    assert_eq!(turns[0].request_json(), Some(r#"{"model":"m","previous_response_id":"r0"}"#));
    assert_eq!(turns[0].previous_response_id.as_deref(), Some("r0"));
}

#[test]
fn turns_of_one_lane_follow_each_other() {
    let mut socket = Socket::new(Protocol::Responses);
    socket.client(CREATE).server(CREATED).server(COMPLETED);
    socket.client(r#"{"type":"response.create","previous_response_id":"r1"}"#);
    socket.server(r#"{"type":"response.created","response":{"id":"r2"}}"#);
    socket.server(r#"{"type":"response.incomplete","response":{"id":"r2"}}"#);
    let turns = socket.turns();
    assert_eq!(turns[1].previous_response_id.as_deref(), Some("r1"));
    assert_eq!((turns[1].response_id.as_deref(), turns[1].end), (Some("r2"), TurnEnd::Incomplete));
}

#[test]
fn lanes_are_told_apart_by_stream_id() {
    let mut socket = Socket::new(Protocol::Responses);
    for lane in ["a", "b"] {
        socket.client(&format!(r#"{{"type":"response.create","stream_id":"{lane}","model":"{lane}"}}"#));
    }
    let event =
        |kind: &str, lane: &str| format!(r#"{{"type":"{kind}","stream_id":"{lane}","response":{{"id":"r{lane}"}}}}"#);
    let delta = |lane: &str| format!(r#"{{"type":"response.output_text.delta","stream_id":"{lane}"}}"#);
    socket.server(&event("response.created", "b")).server(&event("response.created", "a"));
    socket.server(&delta("b")).server(&delta("a")).server(&delta("b"));
    socket.client(r#"{"type":"response.cancel","stream_id":"a"}"#);
    socket.server(&event("response.completed", "b")).server(&event("response.failed", "a"));
    let turns = socket.turns();
    assert_eq!(turns.iter().map(|it| it.stream_id.as_deref()).collect::<Vec<_>>(), [Some("b"), Some("a")]);
    assert_eq!(texts(turns[0]).len(), 4);
    assert_eq!(texts(turns[1]).len(), 4);
    assert_eq!(turns[1].end, TurnEnd::Failed);
    assert!(texts(turns[1]).contains(&r#"{"type":"response.cancel","stream_id":"a"}"#));
}

#[test]
fn requests_queued_in_a_lane_are_answered_in_order() {
    let mut socket = Socket::new(Protocol::Responses);
    socket.client(r#"{"type":"response.create","model":"one"}"#).client(r#"{"type":"response.create","model":"two"}"#);
    socket.server(CREATED).server(DELTA).server(COMPLETED);
    socket.server(r#"{"type":"response.created","response":{"id":"r2"}}"#).server(DELTA);
    socket.server(r#"{"type":"response.completed","response":{"id":"r2"}}"#);
    let requests: Vec<_> = socket.turns().iter().map(|it| it.request_json().unwrap().to_owned()).collect();
    assert_eq!(requests, [r#"{"model":"one"}"#, r#"{"model":"two"}"#]);
    assert_eq!(socket.turns().iter().map(|it| it.events.len()).collect::<Vec<_>>(), [3, 3]);
}

#[test]
fn an_error_before_the_answer_ends_the_turn() {
    let mut socket = Socket::new(Protocol::Responses);
    socket.client(CREATE).server(r#"{"type":"error","error":{"code":"previous_response_not_found"}}"#);
    assert_eq!(socket.turns()[0].end, TurnEnd::Error);
}

#[test]
fn an_error_inside_the_answer_may_be_followed_by_its_failure() {
    let error = r#"{"type":"error","error":{}}"#;
    let mut socket = Socket::new(Protocol::Responses);
    socket.client(CREATE).server(CREATED).server(error);
    assert_eq!(socket.turns().len(), 0);
    socket.server(r#"{"type":"response.failed","response":{"id":"r1"}}"#);
    assert_eq!((socket.turns()[0].end, socket.turns()[0].events.len()), (TurnEnd::Failed, 3));

    socket.client(CREATE).server(CREATED).server(error);
    socket.reader.tick(socket.now_us + 3_000_000, &mut socket.pieces);
    let turns = socket.turns();
    assert_eq!((turns[1].end, turns[1].end_us), (TurnEnd::Error, socket.now_us));
}

#[test]
fn an_error_about_a_second_request_does_not_shift_the_lane() {
    let refused = r#"{"type":"error","error":{"code":"response_already_in_flight"}}"#;
    let mut socket = Socket::new(Protocol::Responses);
    socket.client(r#"{"type":"response.create","model":"one"}"#).server(CREATED);
    socket.client(r#"{"type":"response.create","model":"two"}"#).server(refused);
    socket.server(DELTA).server(COMPLETED);
    let turns = socket.turns();
    assert_eq!((turns[0].request_json(), turns[0].end), (Some(r#"{"model":"two"}"#), TurnEnd::Error));
    assert_eq!(texts(turns[0]), [refused]);
    assert_eq!((turns[1].request_json(), turns[1].end), (Some(r#"{"model":"one"}"#), TurnEnd::Completed));
    assert_eq!(texts(turns[1]), [CREATED, DELTA, COMPLETED]);
    assert_eq!(socket.reader.held_bytes(), 0);
}

#[test]
fn a_turn_that_the_server_begins_has_the_steering_message_as_its_request() {
    let steer = r#"{"type":"response.steer","previous_response_id":"r1","input":"faster"}"#;
    let mut socket = Socket::new(Protocol::Responses);
    socket.client(CREATE).server(CREATED).client(steer);
    socket.server(r#"{"type":"response.incomplete","response":{"id":"r1"}}"#);
    socket.server(r#"{"type":"response.created","response":{"id":"r2","previous_response_id":"r1"}}"#);
    socket.server(r#"{"type":"response.completed","response":{"id":"r2"}}"#);
    let turns = socket.turns();
    assert!(texts(turns[0]).contains(&steer));
    assert_eq!(turns[1].origin, Origin::Steered);
    assert_eq!(turns[1].request_json(), Some(r#"{"previous_response_id":"r1","input":"faster"}"#));
    assert_eq!(turns[1].previous_response_id.as_deref(), Some("r1"));
    assert_eq!(socket.reader.held_bytes(), 0);
}

#[test]
fn an_answer_whose_request_was_missed_is_a_turn() {
    let mut socket = Socket::new(Protocol::Responses);
    socket.reader.skip(Side::Client, 100, &mut socket.pieces);
    socket.client(CREATE).server(CREATED).server(COMPLETED);
    let turns = socket.turns();
    assert_eq!((turns[0].origin, turns[0].request.as_ref(), turns[0].end), (Origin::Unseen, None, TurnEnd::Completed));
    assert_eq!(socket.finish().client_violation, Some(Violation::Gap));
}

#[test]
fn a_request_beyond_the_limit_still_begins_its_turn() {
    let mut limits = SocketLimits::default();
    limits.messages.message_bytes = 60;
    let mut socket = Socket::with(Protocol::Responses, limits);
    let long = format!(r#"{{"type":"response.create","input":"{}"}}"#, "x".repeat(100));
    socket.client(&long).server(CREATED).server(COMPLETED);
    assert_eq!(socket.turns()[0].request, Some(SocketData::Text(long[..60].to_owned())));
    assert_eq!(socket.turns()[0].origin, Origin::Created);
}

#[test]
fn open_turns_are_cut_at_the_sockets_end() {
    let mut socket = Socket::new(Protocol::Responses);
    socket.client(CREATE).server(CREATED).client(CREATE);
    let summary = socket.finish();
    let turns = socket.turns();
    assert_eq!(turns.iter().map(|it| (it.end, it.end_us)).collect::<Vec<_>>(), [(TurnEnd::Cut, 4); 2]);
    assert_eq!((summary.turns, summary.parts), (2, 0));
}

#[test]
fn events_beyond_the_limit_are_counted_and_the_last_is_kept() {
    let mut limits = SocketLimits::default();
    limits.turns.turn_bytes = 600;
    let mut socket = Socket::with(Protocol::Responses, limits);
    socket.client(CREATE).server(CREATED);
    for _ in 0..100 {
        socket.server(DELTA);
    }
    assert!(socket.reader.held_bytes() <= 600);
    socket.server(COMPLETED);
    let turns = socket.turns();
    let turn = turns[0];
    assert_eq!(turn.events.len() as u64 + turn.unkept_events, 102);
    assert_eq!(texts(turn).last(), Some(&COMPLETED));
    assert!(turn.server_wire_bytes > 100 * DELTA.len() as u64);
}

#[test]
fn too_many_open_turns_cut_the_oldest() {
    let mut limits = SocketLimits::default();
    limits.turns.open_turns = 2;
    let mut socket = Socket::with(Protocol::Responses, limits);
    for lane in 0..3 {
        socket.client(&format!(r#"{{"type":"response.create","stream_id":"{lane}"}}"#));
    }
    assert_eq!(socket.turns().iter().map(|it| it.stream_id.as_deref()).collect::<Vec<_>>(), [Some("0")]);
    assert_eq!(socket.reader.open_turns(), 2);
}

#[test]
fn what_belongs_to_no_turn_is_not_lost() {
    let mut socket = Socket::new(Protocol::Responses);
    socket.client(CREATE).server(COMPLETED).client(r#"{"type":"response.processed","response_id":"r1"}"#);
    let summary = socket.finish();
    assert_eq!(socket.parts()[0].events.len(), 1);
    assert_eq!((summary.turns, summary.parts), (1, 1));
}

#[test]
fn every_socket_leaves_something() {
    for protocol in [Protocol::Responses, Protocol::Realtime] {
        let mut socket = Socket::new(protocol);
        let summary = socket.finish();
        assert_eq!(summary.parts, 1);
        assert!(socket.parts()[0].is_last);
    }
}

#[test]
fn other_sockets_are_recorded_in_order_with_their_close() {
    let mut socket = Socket::new(Protocol::Realtime);
    socket.client(r#"{"type":"session.update"}"#).server("hello");
    socket.reader.push(Side::Server, b"\x88\x05\x03\xE8bye", 9, &mut socket.pieces);
    let summary = socket.finish();
    let parts = socket.parts();
    let sides: Vec<_> = parts[0].events.iter().map(|it| (it.side, it.at_us)).collect();
    assert_eq!(sides, [(Side::Client, 1), (Side::Server, 2), (Side::Server, 9)]);
    assert_eq!(summary.close.map(|it| it.data), Some(SocketData::Close { code: Some(1000), reason: "bye".into() }));
}

fn any_message() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec![
        "response.create",
        "response.created",
        "response.output_text.delta",
        "response.completed",
        "response.steer",
        "response.steer.failed",
        "error",
    ]);
    let name = || prop::option::of(prop::sample::select(vec!["a", "b", "c"]));
    (kind, name(), name(), name()).prop_map(|(kind, lane, id, previous)| {
        let text = |it: Option<&str>| it.map_or("null".to_owned(), |it| format!("\"{it}\""));
        let (lane, id, previous) = (text(lane), text(id), text(previous));
        format!(
            r#"{{"type":"{kind}","stream_id":{lane},"previous_response_id":{previous},"response":{{"id":{id},"previous_response_id":{previous}}}}}"#
        )
    })
}

proptest! {
    #[test]
    fn no_message_is_lost_and_none_is_counted_twice(
        messages in prop::collection::vec((any::<bool>(), any_message(), 0u64..3_000_000), 0..60),
        open_turns in 1usize..5,
    ) {
        let mut limits = SocketLimits::default();
        limits.turns.open_turns = open_turns;
        let mut socket = Socket::with(Protocol::Responses, limits);
        for (is_client, text, pause_us) in &messages {
            socket.now_us += pause_us;
            socket.send(if *is_client { Side::Client } else { Side::Server }, text);
        }
        socket.finish();
        // A steering message stands in the turn that it steers and may be the request of another.
        let is_counted = |event: &&SocketEvent| !event.data.text().unwrap_or_default().contains("response.steer\"");
        let count = |events: &[SocketEvent]| events.iter().filter(is_counted).count();
        let in_turns: usize = socket.turns().iter()
            .map(|turn| count(&turn.events) + usize::from(turn.origin == Origin::Created)).sum();
        let strays: usize = socket.parts().iter().map(|part| count(&part.events)).sum();
        let sent = messages.iter().filter(|(_, text, _)| !text.contains("response.steer\"")).count();
        prop_assert_eq!(in_turns + strays, sent);
    }

    #[test]
    fn any_bytes_on_either_side_do_no_harm(
        chunks in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..80), any::<bool>()), 0..20),
        is_responses in any::<bool>(),
    ) {
        let protocol = if is_responses { Protocol::Responses } else { Protocol::Realtime };
        let mut reader = SocketReader::new(protocol, Some(Deflate::default()), SocketLimits::default());
        let mut pieces = Vec::new();
        for (at, (is_client, bytes, is_framed)) in chunks.iter().enumerate() {
            let side = if *is_client { Side::Client } else { Side::Server };
            let bytes = if *is_framed { text_frame(bytes) } else { bytes.clone() };
            reader.push(side, &bytes, at as u64, &mut pieces);
        }
        let summary = reader.finish(99, &mut pieces);
        let passed: u64 = chunks.iter().map(|it| it.1.len() as u64 + if it.2 { 4 } else { 0 }).sum();
        prop_assert_eq!(summary.client.wire_bytes + summary.server.wire_bytes, passed);
        prop_assert!(!pieces.is_empty());
    }
}
