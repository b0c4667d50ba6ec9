//! Streams of the four protocols, rewritten.

use proptest::prelude::*;

use super::super::testing;
use super::*;
use crate::wire::sse::parse;

const SPEAKERS: [Protocol; 4] = [Protocol::Chat, Protocol::Messages, Protocol::Responses, Protocol::Gemini];

fn codename() -> Work {
    testing::replace(&[("codename", "[x]")])
}

/// The stream after `work`, given in pieces of so many bytes, and what was counted.
fn rewritten(protocol: Protocol, work: &Work, stream: &str, size: usize) -> (String, u64) {
    let framing = if stream.trim_start().starts_with('[') { Framing::Array } else { Framing::Events };
    let mut rewriter = Rewriter::new(protocol, framing, work.clone()).unwrap();
    let mut out = Vec::new();
    for piece in stream.as_bytes().chunks(size) {
        rewriter.push(piece, &mut out).unwrap();
    }
    rewriter.finish(&mut out);
    (String::from_utf8(out).unwrap(), rewriter.changes())
}

#[track_caller]
fn gives(protocol: Protocol, work: &Work, stream: &str, expected: &str) {
    for size in [1, 7, stream.len()] {
        assert_eq!(rewritten(protocol, work, stream, size).0, expected, "in pieces of {size}");
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// A stream in which an assistant says `pieces`, with all that surrounds it in its protocol.
fn said(protocol: Protocol, pieces: &[&str]) -> String {
    let whole = quoted(&pieces.concat());
    let pieces = pieces.iter().map(|it| quoted(it));
    let events: Vec<String> = match protocol {
        Protocol::Chat => {
            let chunk =
                |rest: &str| format!("data: {{\"id\":\"c\",\"model\":\"m\",\"created\":7.0,\"choices\":[{rest}]");
            let delta = |delta: &str| chunk(&format!("{{\"delta\":{delta},\"index\":0,\"finish_reason\":null}}")) + "}";
            std::iter::once(delta("{\"role\":\"assistant\",\"content\":\"\"}"))
                .chain(pieces.map(|it| delta(&format!("{{\"content\":{it}}}"))))
                .chain([
                    chunk("{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}") + "}",
                    chunk("") + ",\"usage\":{}}",
                ])
                .chain([": bye".into(), "data: [DONE]".into()])
                .collect()
        }
        Protocol::Messages => {
            let event = |kind: &str, rest: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}");
            std::iter::once(event("message_start", ",\"message\":{\"content\":[]}"))
                .chain([event(
                    "content_block_start",
                    ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}",
                )])
                .chain([event("ping", "")])
                .chain(pieces.flat_map(|it| {
                    let delta = format!(",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":{it}}}");
                    [event("content_block_delta", &delta), event("ping", "")]
                }))
                .chain([event("content_block_stop", ",\"index\":0")])
                .chain([event("message_delta", ",\"delta\":{\"stop_reason\":\"end_turn\"}"), event("message_stop", "")])
                .collect()
        }
        Protocol::Responses => {
            let mut number = 0;
            let mut event = |kind: &str, rest: &str| {
                number += 1;
                format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{number}{rest}}}")
            };
            let at = ",\"item_id\":\"i\",\"output_index\":0,\"content_index\":0";
            let item = format!("{{\"type\":\"message\",\"content\":[{{\"type\":\"output_text\",\"text\":{whole}}}]}}");
            let mut events = vec![event("response.created", ",\"response\":{\"output\":[]}")];
            events.push(event(
                "response.content_part.added",
                &format!("{at},\"part\":{{\"type\":\"output_text\",\"text\":\"\"}}"),
            ));
            events.extend(pieces.map(|it| event("response.output_text.delta", &format!("{at},\"delta\":{it}"))));
            events.push(event("response.output_text.done", &format!("{at},\"text\":{whole}")));
            let part = format!("{at},\"part\":{{\"type\":\"output_text\",\"text\":{whole}}}");
            events.push(event("response.content_part.done", &part));
            events.push(event("response.output_item.done", &format!(",\"output_index\":0,\"item\":{item}")));
            events.push(event("response.completed", &format!(",\"response\":{{\"output\":[{item}]}}")));
            events
        }
        _ => {
            let part = |it: String, more: &str| {
                format!(
                    "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":{it}}}]}}{more}}}],\"modelVersion\":\"g\"}}"
                )
            };
            pieces.map(|it| part(it, "")).chain([part("\"\"".into(), ",\"finishReason\":\"STOP\"")]).collect()
        }
    };
    events.iter().map(|it| format!("{it}\n\n")).collect()
}

/// What a client puts together from the deltas, and each later copy of it.
fn heard(protocol: Protocol, stream: &str) -> (String, Vec<String>) {
    let (mut text, mut copies) = (String::new(), Vec::new());
    for event in parse(stream).events {
        let data: serde_json::Value = serde_json::from_str(event.data.as_deref().unwrap()).unwrap();
        let delta = match protocol {
            Protocol::Chat => &data["choices"][0]["delta"]["content"],
            Protocol::Messages => &data["delta"]["text"],
            Protocol::Responses => &data["delta"],
            _ => &data["candidates"][0]["content"]["parts"][0]["text"],
        };
        text.push_str(delta.as_str().unwrap_or_default());
        let places = [
            &data["text"],
            &data["part"]["text"],
            &data["item"]["content"][0]["text"],
            &data["response"]["output"][0]["content"][0]["text"],
        ];
        copies.extend(places.into_iter().filter_map(|it| Some(it.as_str()?.to_owned())).filter(|it| !it.is_empty()));
    }
    (text, copies)
}

/// The events but for their texts.
fn skeleton(stream: &str) -> Vec<String> {
    let blank = |event: &crate::wire::sse::Event<'_>| {
        let mut data: serde_json::Value = serde_json::from_str(event.data.as_deref().unwrap()).unwrap();
        let places =
            ["/choices/0/delta/content", "/delta/text", "/delta", "/candidates/0/content/parts/0/text", "/text"];
        let copies = ["/part/text", "/item/content/0/text", "/response/output/0/content/0/text"];
        for place in places.iter().chain(&copies) {
            if let Some(text) = data.pointer_mut(place).filter(|it| it.is_string()) {
                *text = "".into();
            }
        }
        format!("{} {data}", event.name)
    };
    parse(stream).events.iter().map(blank).collect()
}

/// What streams are made of, whole and broken.
const SCRAPS: &[&str] = &[
    "data: ",
    "\r",
    "\n",
    "\r\n",
    "\n\n",
    "\r\n\r\n",
    ": c",
    "event: ping",
    "[DONE]",
    "data: [DONE]\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"ab\"}}]}\n\n",
    "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\r\n\r\n",
    "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{}]}}]}\r\r",
    "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"xab\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "data: {\"type\":\"response.output_text.delta\",\"delta\":\"ab\",\"sequence_number\":1}\n\n",
    "data: {\"type\":\"response.output_text.done\",\"text\":\"abab\"}\n\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"},{\"functionCall\":{}},{\"text\":\"ab\"}]}}]}\n\n",
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"ab\"}]}}]}",
    "[",
    ",",
    "]",
    "{\"",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_deltas_in_any_pieces_give_the_replacement_of_the_whole(
        text in "[abé\"\\\\]{0,30}",
        rules in prop::collection::vec(("[abé\"]{1,4}", "[abé\n]{0,3}"), 1..3),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        size in 1_usize..200,
    ) {
        let pairs: Vec<(&str, &str)> = rules.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let expected = pairs.iter().fold(text.clone(), |text, (wanted, new)| text.replace(wanted, new));
        let work = testing::replace(&pairs);
        for protocol in SPEAKERS {
            let stream = said(protocol, &testing::cut(&text, &cuts));
            let (found, _) = rewritten(protocol, &work, &stream, size);
            let (heard_text, copies) = heard(protocol, &found);
            prop_assert_eq!(&heard_text, &expected, "{:?} {}", protocol, found);
            prop_assert!(copies.iter().all(|it| *it == expected), "{:?}", copies);
            prop_assert_eq!(found.contains("[DONE]"), protocol == Protocol::Chat);
        }
    }

    #[test]
    fn a_suffix_ends_every_text_and_its_copies(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5), size in 1_usize..200) {
        let work = Work::Append("!é".into());
        for protocol in SPEAKERS {
            let stream = said(protocol, &testing::cut("hi there", &cuts));
            let (text, copies) = heard(protocol, &rewritten(protocol, &work, &stream, size).0);
            prop_assert_eq!(text, "hi there!é");
            prop_assert!(copies.iter().all(|it| it == "hi there!é"), "{:?}", copies);
        }
    }

    #[test]
    fn what_no_rule_meets_passes_byte_for_byte(
        stream in "(data: \\{\\}|event: x|id: 1|: c|retry: 5|data: \\[DONE\\]|data: \\{\"choices\":\\[\\{\"delta\":\\{\"content\":\"code\"\\}\\}\\]\\}|\r|\n|\n\n|\r\n|\r\n\r\n){0,30}",
        size in 1_usize..40,
    ) {
        // A rule whose beginning never comes holds nothing back.
        let work = testing::replace(&[("zebra", "x")]);
        for protocol in SPEAKERS {
            let (found, changes) = rewritten(protocol, &work, &stream, size);
            prop_assert_eq!(&found, &stream);
            prop_assert_eq!(changes, 0);
        }
    }

    #[test]
    fn any_pieces_of_any_events_give_what_one_piece_gives(
        parts in prop::collection::vec(prop::sample::select(SCRAPS), 0..24),
        size in 1_usize..60,
        speaker in 0..4_usize,
        is_array in any::<bool>(),
    ) {
        let protocol = SPEAKERS[speaker];
        let framing = if is_array && protocol == Protocol::Gemini { Framing::Array } else { Framing::Events };
        let stream = parts.concat();
        for work in [testing::replace(&[("aba", "x"), ("xb", "")]), Work::Append("!".into())] {
            let rewritten = |size: usize| {
                let mut rewriter = Rewriter::new(protocol, framing, work.clone()).unwrap();
                let mut out = Vec::new();
                for piece in stream.as_bytes().chunks(size) {
                    let _ = rewriter.push(piece, &mut out);
                }
                rewriter.finish(&mut out);
                String::from_utf8(out).unwrap()
            };
            prop_assert_eq!(rewritten(size), rewritten(stream.len().max(1)));
        }
    }

    #[test]
    fn any_bytes_pass_without_panic_and_whole(
        bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'{'), Just(b'"'), any::<u8>()], 0..200),
        size in 1_usize..40,
    ) {
        for (protocol, framing) in [(Protocol::Chat, Framing::Events), (Protocol::Gemini, Framing::Array)] {
            let mut rewriter = Rewriter::new(protocol, framing, codename()).unwrap();
            let mut out = Vec::new();
            for piece in bytes.chunks(size) {
                let _ = rewriter.push(piece, &mut out);
            }
            rewriter.finish(&mut out);
            prop_assert_eq!(&out, &bytes);
        }
    }
}

#[test]
fn events_leave_in_their_order_and_only_texts_differ() {
    for protocol in SPEAKERS {
        let stream = said(protocol, &["the co", "de", "name", " is co"]);
        let (found, changes) = rewritten(protocol, &codename(), &stream, 64);
        let (before, after) = (skeleton(&stream), skeleton(&found));
        let mut rest = after.iter();
        assert!(before.iter().all(|event| rest.any(|it| it == event)), "{found}");
        // Gemini's last event has room for what is left.
        assert_eq!(after.len(), before.len() + usize::from(protocol != Protocol::Gemini), "{found}");
        let copies = if protocol == Protocol::Responses { 4 } else { 0 };
        assert_eq!((heard(protocol, &found).0.as_str(), changes), ("the [x] is co", 1 + copies));
    }
}

#[test]
fn an_event_leaves_as_soon_as_it_is_whole() {
    let stream = said(Protocol::Messages, &["a co", "de", "x"]);
    let mut rewriter = Rewriter::new(Protocol::Messages, Framing::Events, codename()).unwrap();
    let mut seen = Vec::new();
    for event in stream.split_inclusive("\n\n") {
        let mut out = Vec::new();
        rewriter.push(event.as_bytes(), &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.lines().next(), event.lines().next());
        assert_eq!(rewriter.held_bytes(), 0);
        seen.extend(heard(Protocol::Messages, &out).0.chars());
        assert!(stream.len() >= seen.len());
    }
    assert_eq!(seen.into_iter().collect::<String>(), "a codex");
}

#[test]
fn held_text_goes_before_whatever_follows_the_text() {
    let tool = "data: {\"id\":\"1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"codename\"}}]}}]}\n\n";
    gives(
        Protocol::Chat,
        &codename(),
        &format!(
            "data: {{\"id\":\"1\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"a code\"}}}}]}}\n\n{tool}{tool}"
        ),
        &format!(
            "data: {{\"id\":\"1\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"a \"}}}}]}}\n\n\
             data: {{\"id\":\"1\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"code\"}},\"finish_reason\":null}}]}}\n\n{tool}{tool}"
        ),
    );
    let start = "event: content_block_start\r\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\"}}\r\n\r\n";
    let json = "event: content_block_delta\r\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"codename\"}}\r\n\r\n";
    let text = |text: &str| {
        format!(
            "event: content_block_delta\r\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\r\n\r\n"
        )
    };
    gives(
        Protocol::Messages,
        &codename(),
        &format!(": hi\r\n\r\n{}{start}{json}", text("coden")),
        &format!(": hi\r\n\r\n{}{}{start}{json}", text(""), text("coden")),
    );
}

#[test]
fn the_end_of_a_text_goes_into_the_event_that_has_it() {
    gives(
        Protocol::Gemini,
        &Work::Append("!".into()),
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\r\n\r\ndata: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}]},\"finishReason\":\"STOP\"}]}\r\n\r\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\r\n\r\ndata: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"!\"}]},\"finishReason\":\"STOP\"}]}\r\n\r\n",
    );
    // A choice that calls tools has its suffix before them, and no second one behind.
    let chunk = |delta: &str, finish: &str| {
        format!("data:{{\"choices\":[{{\"delta\":{delta},\"index\":2,\"finish_reason\":{finish}}}]}}\n\n")
    };
    let calls = chunk("{\"content\":\"a\",\"tool_calls\":[{}]}", "null");
    let rest = chunk("{\"content\":\"b\"}", "null") + &chunk("{}", "\"stop\"");
    gives(
        Protocol::Chat,
        &Work::Append("!".into()),
        &format!("{calls}{rest}"),
        &format!("{}{rest}", calls.replace("\"a\"", "\"a!\"")),
    );
}

#[test]
fn choices_are_told_apart() {
    let chunk = |index: u32, text: &str| {
        format!("data: {{\"choices\":[{{\"index\":{index},\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    };
    gives(
        Protocol::Chat,
        &codename(),
        &[chunk(0, "code"), chunk(1, "name code"), chunk(0, "name"), chunk(1, "name"), "data: [DONE]\n\n".into()]
            .concat(),
        &[chunk(0, ""), chunk(1, "name "), chunk(0, "[x]"), chunk(1, "[x]"), "data: [DONE]\n\n".into()].concat(),
    );
    let both = |a: &str, b: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":1,\"delta\":{{\"content\":\"{a}\"}}}},{{\"index\":0,\"delta\":{{\"content\":\"{b}\"}}}}]}}\n\n"
        )
    };
    gives(
        Protocol::Chat,
        &codename(),
        &(both("code", "a") + &both("name", "codename")),
        &(both("", "a") + &both("[x]", "[x]")),
    );
}

#[test]
fn other_words_of_an_answer_stay() {
    for event in [
        "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"codename\",\"content\":null}}]}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"codename\"}}\n\n",
        "event: response.function_call_arguments.done\ndata: {\"type\":\"response.function_call_arguments.done\",\"arguments\":\"codename\"}\n\n",
        "event: response.reasoning_summary_text.delta\ndata: {\"type\":\"response.reasoning_summary_text.delta\",\"delta\":\"codename\"}\n\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"codename\",\"thought\":true},{\"functionCall\":{\"args\":{\"text\":\"codename\"}}}]}}]}\n\n",
        "data: {\"error\":{\"message\":\"codename\"}}\n\n",
        "event: error\ndata: codename\n\n",
        "id: codename\nretry: 5\n: codename\n\n",
    ] {
        for protocol in SPEAKERS {
            gives(protocol, &codename(), event, event);
        }
    }
}

#[test]
fn an_array_stream_is_rewritten_in_its_frame() {
    let element = |text: &str| {
        format!(
            "{{\n  \"candidates\": [ {{\"content\": {{\"parts\": [ {{\"text\": \"{text}\"}} ]}}, \"index\": 0}} ]\n}}"
        )
    };
    let added = "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"code\"}],\"role\":\"model\"},\"index\":0}]}";
    gives(
        Protocol::Gemini,
        &codename(),
        &format!("[{}\r\n,\r\n{},\n{}\n]\n", element("a code"), element("name"), element("code")),
        &format!("[{}\r\n,\r\n{},\n{}\n,{added}]\n", element("a "), element("[x]"), element("")),
    );
    let usage = "{\"usageMetadata\":{}}";
    gives(
        Protocol::Gemini,
        &codename(),
        &format!("[{},\n{usage}]", element("code")),
        &format!("[{},\n{added},{usage}]", element("")),
    );
}

#[test]
fn a_stream_that_breaks_off_keeps_what_had_come() {
    for (protocol, framing, stream, expected) in [
        (
            Protocol::Messages,
            Framing::Events,
            "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"a code\"}}\n\ndata: {\"ty",
            "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"a \"}}\n\n\
             data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"code\"}}\n\ndata: {\"ty",
        ),
        (
            Protocol::Gemini,
            Framing::Array,
            "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"code\"}]}}]},{\"can",
            "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}]}}]},{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"code\"}],\"role\":\"model\"},\"index\":0}]},{\"can",
        ),
        (
            Protocol::Gemini,
            Framing::Array,
            "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"code\"}]}}]}\n",
            "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}]}}]}\n,{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"code\"}],\"role\":\"model\"},\"index\":0}]}",
        ),
    ] {
        let mut rewriter = Rewriter::new(protocol, framing, codename()).unwrap();
        let mut out = Vec::new();
        rewriter.push(stream.as_bytes(), &mut out).unwrap();
        rewriter.pass_on(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn an_event_without_its_empty_line_ends_the_stream() {
    let event = "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}";
    gives(Protocol::Messages, &Work::Append("!".into()), event, &event.replace("\"a\"", "\"a!\""));
    let said = said(Protocol::Messages, &["a"]);
    let cut = &said[..said.find("event: content_block_stop").unwrap()];
    let (found, _) = rewritten(Protocol::Messages, &Work::Append("!".into()), &format!("{cut}: odd"), 9);
    assert_eq!(heard(Protocol::Messages, &found).0, "a!");
    assert!(found.ends_with(": odd"));
}

#[test]
fn what_is_too_much_passes_as_it_is() {
    let mut rewriter = Rewriter::new(Protocol::Chat, Framing::Events, codename()).unwrap();
    let (mut out, mut outcome) = (Vec::new(), Ok(()));
    let piece = [b'x'; 1 << 20];
    for _ in 0..17 {
        outcome = outcome.and(rewriter.push(&piece, &mut out));
    }
    assert_eq!((outcome, out.len()), (Err(GaveUp::LongEvent), 17 << 20));
    rewriter.push(b"\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"codename\"}}]}\n\n", &mut out).unwrap();
    assert!(out.ends_with(b"\"codename\"}}]}\n\n"));

    let mut rewriter = Rewriter::new(Protocol::Chat, Framing::Events, codename()).unwrap();
    let (mut sent, mut out, mut outcome) = (Vec::new(), Vec::new(), Ok(()));
    for index in 0..300 {
        let event = format!("data: {{\"choices\":[{{\"index\":{index},\"delta\":{{\"content\":\"x\"}}}}]}}\n\n");
        outcome = outcome.and(rewriter.push(event.as_bytes(), &mut out));
        sent.extend_from_slice(event.as_bytes());
    }
    rewriter.finish(&mut out);
    assert_eq!(outcome, Err(GaveUp::TooManyTexts));
    assert!(out == sent);

    let mut rewriter = Rewriter::new(Protocol::Gemini, Framing::Array, codename()).unwrap();
    let mut out = Vec::new();
    assert_eq!(rewriter.push(b" {\"candidates\":[]}", &mut out), Err(GaveUp::NoArray));
    assert_eq!(out, b" {\"candidates\":[]}");
    assert!(Rewriter::new(Protocol::Chat, Framing::Array, codename()).is_none());
    assert!(Rewriter::new(Protocol::Embeddings, Framing::Events, codename()).is_none());
}

#[test]
fn one_json_value_under_the_name_of_a_stream_is_an_answer() {
    let body = "{\"choices\":[\n\n{\"message\":{\"content\":\"codename\"}}]}";
    let pretty = body.replace("\n\n", "\n");
    gives(Protocol::Chat, &codename(), &pretty, &pretty.replace("codename", "[x]"));
    // An empty line inside makes blocks of it.
    gives(Protocol::Chat, &codename(), body, body);
}
