//! What holds for every protocol and any bytes.

use proptest::prelude::*;

use super::samples::{
    CHAT, GEMINI, MESSAGES, RESPONSES, Stream, any_json, counts, read, read_status, read_stream, sample,
};
use super::*;
use crate::trace::view::{EventData, EventView};

#[test]
fn names_are_their_own_way_back() {
    for protocol in Protocol::ALL {
        assert_eq!(Protocol::from_name(protocol.name()), Some(protocol));
    }
    assert_eq!(Protocol::from_name("Chat"), None);
}

const TARGETS: [&str; 11] = [
    CHAT,
    "/v1/completions",
    RESPONSES,
    MESSAGES,
    GEMINI,
    "/v1/embeddings",
    "/v1/images/edits",
    "/v1/audio/speech",
    "/v1/realtime",
    "/v1/models",
    "/any",
];

proptest! {
    #[test]
    fn no_json_makes_a_reader_panic(bodies in prop::collection::vec(any_json(), 1..6), request in any_json()) {
        let events: Vec<_> =
            bodies.iter().map(|body| EventView { name: "", data: EventData::Json(body) }).collect();
        for target in TARGETS {
            read_status(target, &request, Answer::Json(&bodies[0]), 500);
            read(target, &request, Answer::Events(&events));
        }
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in ".*", name in ".*") {
        let events = [
            EventView { name: &name, data: EventData::Json(&text) },
            EventView { name: "error", data: EventData::Text(&text) },
            EventView { name: "message_start", data: EventData::Json(&text) },
            EventView { name: "response.failed", data: EventData::Json(&text) },
        ];
        for target in TARGETS {
            read(target, &text, Answer::Json(&text));
            read(target, &text, Answer::Events(&events));
        }
    }

    #[test]
    fn an_odd_value_beside_the_usage_does_not_hide_it(odd in any_json(), name in "[a-z]{1,8}") {
        let known = ["error", "model", "usage", "choices", "object"];
        prop_assume!(!known.contains(&name.as_str()));
        let body = format!(r#"{{"{name}":{odd},"choices":{odd},"model":{odd},"usage":{{"{name}":{odd},"prompt_tokens":5,"total_tokens":6}}}}"#);
        let stream = Stream { events: vec![EventView { name: "", data: EventData::Json(&body) }], saw_done: false };
        for said in [read(CHAT, "", Answer::Json(&body)), read_stream(CHAT, "", &stream, true)] {
            // What the odd value says by itself (it may hold counts of its own) is replaced by the top's.
            prop_assert_eq!((said.usage.prompt, said.usage.total), (Some(5), Some(6)));
        }
    }

    #[test]
    fn a_cut_stream_knows_nothing_that_the_whole_does_not(kept in 0usize..7) {
        for (target, sse) in [
            (CHAT, sample!("chat.sse")),
            (RESPONSES, sample!("responses.sse")),
            (MESSAGES, sample!("messages.sse")),
        ] {
            let whole = read_stream(target, "", &Stream::of(sse), true);
            let events = Stream::of(sse).events.len();
            let cut = read_stream(target, "", &Stream::of(sse).cut(kept.min(events - 1)), false);
            prop_assert!(!cut.stream_done && !cut.answer_was_whole);
            prop_assert!(cut.model.is_none() || cut.model == whole.model);
            for (seen, known) in counts(&cut).into_iter().zip(counts(&whole)) {
                prop_assert!(seen.is_none() || seen == known, "{seen:?} is not {known:?}");
            }
        }
    }
}
