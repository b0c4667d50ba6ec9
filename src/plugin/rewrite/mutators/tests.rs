//! Which mutators an exchange has to do with, and what they do to bodies.

use serde_json::{Value, json};

use super::*;
use crate::plugin::instance::Instance;
use crate::plugin::note::Did;
use crate::plugin::set::Source;

fn set(instances: Value) -> Set {
    let (list, bad) = Instance::read_list(instances.as_array().unwrap());
    assert_eq!(bad, []);
    Set::after(&Set::default(), Source::Override, Vec::new(), list)
}

fn names() -> Value {
    let rules = json!([{"match": "codename", "replace": "[x]"}]);
    json!({"type": "text-replace", "id": "names", "enabled": true,
        "config": {"routes": ["/v1/*"], "up": rules, "down": rules}})
}

fn foot(target: &str, probability: f64) -> Value {
    json!({"type": "text-append", "id": "foot", "enabled": true,
        "config": {"down": {"suffix": "!", "target": target}, "probability": probability}})
}

const CHAT: &str = "/v1/chat/completions";
const JSON: Option<&[u8]> = Some(b"application/json");
const EVENTS: Option<&[u8]> = Some(b"text/event-stream; charset=utf-8");

#[test]
fn only_those_whose_route_and_protocol_fit_are_taken() {
    let names = set(json!([names()]));
    assert!(Mutators::of(&names, "POST", CHAT).is_some());
    assert!(Mutators::of(&names, "POST", "/v2/chat/completions").is_none());
    assert!(Mutators::of(&names, "POST", "/v1/embeddings").is_none());
    assert!(Mutators::of(&Set::default(), "POST", CHAT).is_none());
    assert!(Mutators::of(&set(json!([foot("content", 0.0)])), "POST", CHAT).is_none());
    let mut disabled = foot("content", 1.0);
    disabled["enabled"] = false.into();
    assert!(Mutators::of(&set(json!([disabled])), "POST", CHAT).is_none());
}

#[test]
fn what_is_never_touched_has_no_shape() {
    let mutators = Mutators::of(&set(json!([names()])), "POST", CHAT).unwrap();
    assert_eq!(mutators.shape(200, JSON), Some(Shape::Whole));
    assert_eq!(mutators.shape(201, EVENTS), Some(Shape::Streamed(Framing::Events)));
    for status in [100, 101, 204, 205, 206, 301, 304, 400, 429, 500] {
        assert_eq!(mutators.shape(status, JSON), None, "{status}");
    }
    for kind in [None, Some(b"text/html".as_slice()), Some(b"application/octet-stream")] {
        assert_eq!(mutators.shape(200, kind), None);
    }
    let head = Mutators::of(&set(json!([names()])), "HEAD", CHAT).unwrap();
    assert_eq!(head.shape(200, JSON), None);
    let reasoning = Mutators::of(&set(json!([foot("reasoning", 1.0)])), "POST", CHAT).unwrap();
    assert_eq!((reasoning.shape(200, JSON), reasoning.shape(200, EVENTS)), (Some(Shape::Whole), None));
    assert!(!reasoning.want_request(JSON));
    assert!(mutators.want_request(JSON) && mutators.want_request(None));
    assert!(mutators.want_request(Some(b"application/x-www-form-urlencoded")));
    assert!(!mutators.want_request(Some(b"multipart/form-data; boundary=x")));
    let gemini = "/v1/models/m:streamGenerateContent";
    let gemini = Mutators::of(&set(json!([names()])), "POST", gemini).unwrap();
    assert_eq!(gemini.shape(200, JSON), Some(Shape::Streamed(Framing::Array)));
    assert_eq!(mutators.shape_seen(Shape::Whole, b": hi\ndata: {}\n"), Shape::Streamed(Framing::Events));
    assert_eq!(mutators.shape_seen(Shape::Whole, b"{\"data\":1}"), Shape::Whole);
}

#[test]
fn each_sees_what_the_one_before_left_and_all_are_noted() {
    let marks = json!({"type": "text-replace", "id": "marks", "enabled": true, "config": {"down": [{"match": "!", "replace": "?"}]}});
    let set = set(json!([foot("content", 1.0), marks, names()]));
    let mutators = Mutators::of(&set, "POST", CHAT).unwrap();
    let body = "\u{feff}{\"choices\":[{\"message\":{\"content\":\"hi\"}}]}";
    let outcome = mutators.answer(body.as_bytes(), &[], 1000);
    assert_eq!(outcome.body.unwrap(), body.replace("hi", "hi?").as_bytes());
    let notes: Vec<(&str, &Did)> = outcome.notes.iter().map(|it| (it.id.as_str(), &it.did)).collect();
    let acted = Did::Act("mutate".into());
    assert_eq!(notes, [("foot", &acted), ("marks", &acted)]);
    let mutations: Vec<u64> = set.actives().iter().map(|it| it.counts().get().mutations).collect();
    assert_eq!(mutations, [1, 1, 0]);
}

#[test]
fn coded_bodies_are_undone_and_others_left_alone() {
    let set = set(json!([names()]));
    let mutators = Mutators::of(&set, "POST", CHAT).unwrap();
    let body = br#"{"messages":[{"role":"user","content":"codename"}]}"#;
    let packed = zstd::encode_all(body.as_slice(), 3).unwrap();
    let outcome = mutators.request(&packed, &[Coding::Zstd], 1000);
    assert_eq!(outcome.body.unwrap(), br#"{"messages":[{"role":"user","content":"[x]"}]}"#);
    for (body, coding, most) in [
        (&packed[..], Coding::Gzip, 1000),
        (&packed, Coding::Zstd, 10),
        (&packed[..packed.len() - 5], Coding::Zstd, 1000),
    ] {
        let outcome = mutators.request(body, &[coding], most);
        assert!(outcome.body.is_none());
        assert!(matches!(&outcome.notes[0].did, Did::Fail(why) if why == "the body cannot be decoded"));
    }
    assert!(mutators.request(b"\xff", &[], 1000).body.is_none());
    assert_eq!((set.actives()[0].counts().get().errors, set.actives()[0].switched_off()), (3, None));
}

fn chunk(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

#[test]
fn a_stream_goes_through_all_of_them() {
    let mut thoughts = foot("reasoning", 1.0);
    thoughts["id"] = "thoughts".into();
    let set = set(json!([names(), foot("content", 1.0), thoughts]));
    let mutators = Mutators::of(&set, "POST", CHAT).unwrap();
    let mut streams = mutators.stream(Framing::Events, &[Coding::Gzip]).unwrap();
    let plain = chunk("a code") + &chunk("name co") + "data: [DONE]\n\n";
    let mut packed = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::GzEncoder::new(plain.as_bytes(), flate2::Compression::fast()),
        &mut packed,
    )
    .unwrap();
    let mut out = Vec::new();
    for piece in packed.chunks(9) {
        out.extend(streams.push(piece).unwrap());
    }
    out.extend(streams.finish());
    let out = String::from_utf8(out).unwrap();
    let added = |text: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
        )
    };
    assert_eq!(out, [chunk("a "), chunk("[x] "), added("co"), added("!"), "data: [DONE]\n\n".into()].concat());
    let ids: Vec<String> = streams.notes().into_iter().map(|it| it.id).collect();
    assert_eq!(ids, ["names", "foot"]);
    assert!(streams.push(b"\x1f\x8b and no more").is_err());
}

#[test]
fn one_that_fails_lets_the_rest_pass_and_the_others_go_on() {
    let set = set(json!([names(), foot("content", 1.0)]));
    let mutators = Mutators::of(&set, "POST", CHAT).unwrap();
    let mut streams = mutators.stream(Framing::Events, &[]).unwrap();
    let mut out = streams.push(chunk("a code").as_bytes()).unwrap();
    // The fuse of the first blows while the stream is under way.
    for _ in 0..20 {
        let _ = set.actives()[0].run(&mut Budget::for_bytes(0), || Err::<(), _>("no".to_owned()));
    }
    out.extend(streams.push(chunk("name codename").as_bytes()).unwrap());
    out.extend(streams.break_off());
    let added = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"code\"},\"finish_reason\":null}]}\n\n";
    assert_eq!(String::from_utf8(out).unwrap(), [chunk("a "), added.into(), chunk("name codename")].concat());
    let failed = streams.notes().into_iter().find(|it| matches!(it.did, Did::Fail(_))).unwrap();
    assert_eq!(failed.id, "names");
}

#[test]
fn a_panic_in_the_middle_of_an_event_loses_nothing() {
    let set = set(json!([names()]));
    let mutators = Mutators::of(&set, "POST", CHAT).unwrap();
    let mut streams = mutators.stream(Framing::Events, &[]).unwrap();
    let mut out = streams.push(chunk("a code").as_bytes()).unwrap();
    super::super::texts::PANICS.set(true);
    out.extend(streams.push([chunk("b"), chunk("c")].concat().as_bytes()).unwrap());
    super::super::texts::PANICS.set(false);
    out.extend(streams.push(chunk("codename").as_bytes()).unwrap());
    out.extend(streams.finish());
    let added = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"code\"},\"finish_reason\":null}]}\n\n";
    let expected = [chunk("a "), added.into(), chunk("b"), chunk("c"), chunk("codename")].concat();
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert_eq!(set.actives()[0].counts().get().errors, 1);
}
