//! The line as its readers find it: a JSON schema of what this folder writes. Every golden line is held against it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::BodiesDropped;
use crate::described::{one_of, time};
use crate::exchange::End;
use crate::ids::TraceId;
use crate::plugin::note::Hook;
use crate::protocol::Protocol;
use crate::wire::decode::Coding;
use crate::wire::websocket::Side;

/// A line: as it stands in its file, and as the read API shows it.
#[derive(Debug)]
pub struct Line;

/// An event of a streamed answer, or a message of a socket.
#[derive(Debug)]
pub struct LineEvent;

/// A member: its name, when it is there, its values, what it says.
type Member = (&'static str, When, Value, &'static str);

/// When a member is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    IfKnown,
}
use When::{Always, IfKnown};

fn object(members: Vec<Member>) -> Value {
    let required: Vec<&str> = members.iter().filter(|it| it.1 == Always).map(|it| it.0).collect();
    let mut properties = Map::new();
    for (name, _, mut schema, about) in members {
        if !about.is_empty() {
            schema["description"] = about.into();
        }
        properties.insert(name.to_owned(), schema);
    }
    json!({"type": "object", "required": required, "properties": properties})
}

fn number() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn truth() -> Value {
    json!({"type": "boolean"})
}

/// Any JSON. An object, so that it can be described.
fn anything() -> Value {
    json!({})
}

fn word(words: impl IntoIterator<Item = &'static str>) -> Value {
    one_of(words).to_value()
}

fn list(of: Value) -> Value {
    json!({"type": "array", "items": of})
}

/// Names and values in their order.
fn pairs() -> Value {
    list(json!({"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}))
}

/// Names with their values, repeated ones joined.
fn fields() -> Value {
    json!({"type": "object", "additionalProperties": {"type": "string"}})
}

/// What both sides may have.
fn side() -> Vec<Member> {
    let codings = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd].map(Coding::name);
    vec![
        ("headers", Always, fields(), "Header fields, values of one name joined by `, `."),
        ("headers_list", IfKnown, pairs(), "The same in their order, if a name stands twice."),
        ("bytes", IfKnown, number(), "Body bytes on the wire."),
        ("sha256", IfKnown, json!({"type": "string", "pattern": "^[0-9a-f]{64}$"}), "Of the body on the wire."),
        ("content_decoded", IfKnown, list(word(codings)), "Codings that were undone, the outermost last."),
        ("body_redacted", IfKnown, word(["in_part", "whole"]), "How much of the body placeholders stand for."),
        ("body", IfKnown, anything(), "The body, if it is JSON; null if there is none."),
        ("body_b64", IfKnown, json!({"type": "string", "contentEncoding": "base64"}), "The body, if it is not JSON."),
        ("parse_error", IfKnown, text(), "Why a body that should be JSON or events is not."),
        ("trailers", IfKnown, fields(), "Trailer fields."),
        ("trailers_list", IfKnown, pairs(), "The same in their order, if a name stands twice."),
    ]
}

fn answer(events: Value) -> Vec<Member> {
    let mut members = side();
    members.extend([
        ("first_event_ms", IfKnown, number(), "Milliseconds from the start to the first event."),
        ("events", IfKnown, events, "The events of a stream, the messages of a socket."),
        ("stream_done", IfKnown, truth(), "Whether the stream came to its own end."),
    ]);
    members
}

/// What a plugin did, with more that is said of it.
fn note(more: Vec<Member>) -> Value {
    let hooks = [Hook::Before, Hook::After, Hook::Record].map(Hook::name);
    let mut members = vec![
        ("id", Always, text(), "The instance."),
        ("type", Always, text(), "Its type."),
        ("hook", Always, word(hooks), "When it was asked."),
    ];
    members.extend(more);
    object(members)
}

fn close() -> Value {
    object(vec![
        ("code", Always, json!({"type": ["integer", "null"]}), "The close frame's code, if it has one."),
        ("reason", Always, text(), "The close frame's reason."),
    ])
}

/// Which piece of which socket a trace is.
fn socket() -> Value {
    let sent = || {
        object(vec![
            ("text_messages", Always, number(), ""),
            ("binary_messages", Always, number(), ""),
            ("binary_bytes", Always, number(), ""),
        ])
    };
    let total = || {
        object(vec![
            ("bytes", Always, number(), ""),
            ("frames", Always, number(), ""),
            ("messages", Always, number(), ""),
            ("pings", Always, number(), ""),
            ("pongs", Always, number(), ""),
            ("damaged", Always, number(), "Messages that could not be read."),
            ("missed_bytes", Always, number(), "Bytes that passed uncopied."),
            ("unread_bytes", Always, number(), "Bytes behind a violation."),
            ("violation", IfKnown, text(), "How the protocol was broken."),
        ])
    };
    let ends = ["completed", "failed", "incomplete", "cancelled", "error", "cut"];
    object(vec![
        ("socket", Always, TraceId::json_schema(&mut SchemaGenerator::default()).to_value(), "The socket's own id."),
        ("turn", IfKnown, number(), "The number of the turn."),
        ("stream_id", IfKnown, text(), "The turn's stream, if the socket carries several."),
        ("origin", IfKnown, word(["created", "steered", "unseen"]), "How the turn began."),
        ("end", IfKnown, word(ends), "How the turn ended."),
        ("unkept_events", IfKnown, number(), "Events of the turn that were too many to keep."),
        ("part", IfKnown, number(), "The number of the part."),
        ("last", IfKnown, truth(), "Whether the part is the last one."),
        ("client", IfKnown, sent(), "What the client sent in this part."),
        ("server", IfKnown, sent(), "What the server sent in this part."),
        ("unkept_binary", IfKnown, number(), "Binary messages of the part whose bytes are not kept."),
        ("unread", IfKnown, number(), "The number of a piece that nobody could read."),
        ("closed_by", IfKnown, word(Side::ALL.map(Side::name)), "Who closed first."),
        ("close", IfKnown, close(), "How."),
        ("client_total", IfKnown, total(), "What the client sent in all; on the last piece."),
        ("server_total", IfKnown, total(), "What the server sent in all; on the last piece."),
    ])
}

impl JsonSchema for LineEvent {
    fn schema_name() -> Cow<'static, str> {
        "Event".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let schema = object(vec![
            ("event", Always, text(), "Its name; empty if it has none."),
            ("data", Always, anything(), "Its data: JSON, or a text if it is none; null if there is none."),
            ("id", IfKnown, text(), "Its `id` field."),
            ("retry", IfKnown, text(), "Its `retry` field."),
            ("fields", IfKnown, pairs(), "Its other fields."),
            ("dir", IfKnown, word(Side::ALL.map(Side::name)), "Who sent a socket's message."),
            ("bytes", IfKnown, number(), "Length of a binary message."),
            ("data_b64", IfKnown, json!({"type": "string", "contentEncoding": "base64"}), "A binary message."),
            ("close", IfKnown, close(), "A close frame."),
            ("damage", IfKnown, text(), "Why a message is not whole."),
            ("t_delta_ms", IfKnown, number(), "Milliseconds since the start."),
        ]);
        described(schema, "An event of a streamed answer, or a message of a socket.")
    }
}

impl JsonSchema for Line {
    fn schema_name() -> Cow<'static, str> {
        "Trace".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let id = || TraceId::json_schema(&mut SchemaGenerator::default()).to_value();
        let events = list(generator.subschema_for::<LineEvent>().to_value());
        let action = ("action", Always, text(), "What it did.");
        let message = ("msg", Always, text(), "What it said.");
        let dropped = [BodiesDropped::DiskFull, BodiesDropped::DiskError, BodiesDropped::OverBudget];
        let schema = object(vec![
            ("id", Always, id(), "The trace's id, a ULID."),
            ("v", IfKnown, number(), "The number of the line's format."),
            ("ts_start", Always, time().to_value(), "When the request's head had been received."),
            ("ts_end", Always, time().to_value(), "When the exchange had ended."),
            ("client", Always, text(), "The client's address."),
            ("method", Always, text(), "The method."),
            ("path", Always, text(), "The target: path with query."),
            ("upstream", Always, text(), "The configured upstream."),
            ("status", Always, json!({"type": "integer"}), "The status that the client got; -1 for none."),
            ("end", IfKnown, word(End::ALL.map(End::name)), "How it ended on the wire."),
            ("key_hash", IfKnown, json!({"type": "string", "pattern": "^[0-9a-f]{16}$"}), "Whose it is."),
            ("protocol", IfKnown, word(Protocol::ALL.map(Protocol::name)), "What it speaks."),
            ("ttfb_ms", IfKnown, number(), "Milliseconds from the start to the answer's head."),
            ("req", Always, object(side()), "The request."),
            ("resp", Always, object(answer(events)), "The answer."),
            ("disconnected", Always, truth(), "Either side of the transport ended before its time."),
            ("truncated_req", Always, truth(), "Request bytes passed unrecorded."),
            ("truncated_resp", Always, truth(), "Response bytes passed unrecorded."),
            ("error", IfKnown, text(), "What went wrong on the way to the upstream."),
            ("plugins", IfKnown, list(note(vec![action])), "What plugins did."),
            ("plugin_intercepted", IfKnown, note(vec![]), "The plugin that answered in place of the upstream."),
            ("plugin_errors", IfKnown, list(note(vec![message])), "Plugins that failed."),
            ("tags", IfKnown, list(text()), "Labels."),
            ("ws", IfKnown, socket(), "Which piece of which socket it is."),
            ("bodies_dropped", IfKnown, word(dropped.map(BodiesDropped::name)), "Why there are no bodies."),
        ]);
        described(
            schema,
            "A trace's line, as it stands in its file. Lines of earlier versions may lack what is optional.",
        )
    }
}

fn described(mut schema: Value, about: &str) -> Schema {
    schema["description"] = about.into();
    // An object is a schema.
    Schema::try_from(schema).unwrap_or_else(|_| json_schema!({}))
}
