//! Conversations as clients hold them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::headers::Headers;
use crate::trace::view::{Answer, EventData, EventView};

/// A conversation of a request without an answer.
fn of(protocol: Protocol, request: &str) -> Conversation {
    answered(protocol, request, Answer::None)
}

fn answered(protocol: Protocol, request: &str, answer: Answer<'_>) -> Conversation {
    let headers = Headers::new();
    let view = TraceView {
        method: "POST",
        target: "/",
        status: Some(200),
        request_headers: &headers,
        response_headers: &headers,
        request_json: Some(request),
        answer,
    };
    conversation(protocol, &view)
}

/// The fingerprint of a streamed answer.
fn streamed(protocol: Protocol, events: &[Value]) -> Conversation {
    let texts: Vec<String> = events.iter().map(Value::to_string).collect();
    let events: Vec<_> = texts.iter().map(|text| EventView { name: "", data: EventData::Json(text) }).collect();
    answered(protocol, "{}", Answer::Events(&events))
}

fn whole(protocol: Protocol, answer: Value) -> Conversation {
    answered(protocol, "{}", Answer::Json(&answer.to_string()))
}

/// A chat of these messages by turns.
fn chat(texts: &[&str]) -> Conversation {
    let role = |index: usize| if index.is_multiple_of(2) { "user" } else { "assistant" };
    let messages: Vec<_> =
        texts.iter().enumerate().map(|(index, text)| json!({"role": role(index), "content": text})).collect();
    of(Protocol::Chat, &json!({"model": "m", "messages": messages}).to_string())
}

/// Whether the later request begins with all of the earlier one's turns, and goes on.
fn continues(later: &Conversation, earlier: &Conversation) -> bool {
    let length = earlier.prefixes.len();
    length < later.prefixes.len() && earlier.prefixes.last() == later.prefixes[..length].last()
}

#[test]
fn a_growing_conversation_is_one_chain_and_a_repeat_is_no_parent() {
    let [one, three, other, five] =
        [&["1"][..], &["1", "2", "3"], &["1", "2", "other"], &["1", "2", "3", "4", "5"]].map(chat);
    assert!(continues(&three, &one) && continues(&other, &one) && continues(&five, &one));
    assert!(continues(&five, &three) && !continues(&five, &other));
    assert!(!continues(&three, &three) && !continues(&one, &three), "neither a repeat nor a shorter one follows");
}

#[test]
fn the_answer_that_came_back_tells_two_equal_requests_apart() {
    let request = json!({"messages": [{"role": "user", "content": "hi"}]}).to_string();
    let answer = |text: &str| json!({"choices": [{"message": {"role": "assistant", "content": text}}]}).to_string();
    let first = answered(Protocol::Chat, &request, Answer::Json(&answer("one")));
    let second = answered(Protocol::Chat, &request, Answer::Json(&answer("two")));
    let next = chat(&["hi", "one", "more"]);
    assert!(continues(&next, &first) && continues(&next, &second));
    assert!(first.answer.is_some() && next.replies[1] == first.answer);
    assert_ne!(next.replies[1], second.answer);
}

#[test]
fn spelling_does_not_break_a_chain_and_meaning_does() {
    let first = of(Protocol::Chat, r#"{"messages":[{"role":"user","content":"é","n":1}]}"#);
    for same in [
        "{\n \"messages\" : [ { \"n\":1.0, \"content\" : \"\\u00e9\", \"role\":\"user\" } ]}",
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"é","cache_control":{}}],"n":1e0}]}"#,
    ] {
        assert_eq!(of(Protocol::Chat, same).prefixes, first.prefixes, "{same}");
    }
    for other in [
        r#"{"messages":[{"role":"user","content":"e","n":1}]}"#,
        r#"{"messages":[{"role":"user","content":"é","n":10}]}"#,
        r#"{"messages":[{"role":"system","content":"é","n":1}]}"#,
    ] {
        assert_ne!(of(Protocol::Chat, other).prefixes, first.prefixes, "{other}");
    }
    let big = |number: &str| of(Protocol::Chat, &format!(r#"{{"messages":[{{"n":{number}}}]}}"#)).prefixes;
    assert_ne!(big("9007199254740993"), big("9007199254740992"));
}

#[test]
fn another_system_text_is_another_conversation() {
    let with = |system: &str| {
        of(Protocol::Messages, &format!(r#"{{"system":{system},"messages":[{{"role":"user","content":"hi"}}]}}"#))
    };
    let plain = with(r#""be brief""#);
    assert_eq!(plain.prefixes.len(), 2);
    assert_eq!(with(r#""""#).prefixes.len(), 2, "an empty text counts");
    assert_eq!(with("null").prefixes.len(), 1);
    assert_ne!(with(r#""be long""#).prefixes, plain.prefixes);
    assert_eq!(with(r#"[{"type":"text","text":"be brief","cache_control":{"type":"ephemeral"}}]"#), plain);
    let signed = |value: &str| {
        with(&format!(
            r#"[{{"type":"text","text":"x-anthropic-billing-header: cch={value};"}},{{"type":"text","text":"be brief"}}]"#
        ))
    };
    assert_eq!(signed("36ee5"), plain);
    assert_eq!(signed("0aaa9"), plain);
}

#[test]
fn bodies_without_turns_have_none() {
    for (protocol, request) in [
        (Protocol::Chat, "[]"),
        (Protocol::Chat, r#"{"messages":[]}"#),
        (Protocol::Chat, r#"{"messages":"hi"}"#),
        (Protocol::Chat, r#"{"messages":{"role":"user"}}"#),
        (Protocol::Messages, r#"{"system":"x"}"#),
        (Protocol::Messages, r#"{"system":"x","messages":[]}"#),
        (Protocol::Responses, r#"{"input":null,"instructions":null}"#),
        (Protocol::Responses, "{}"),
        (Protocol::Gemini, r#"{"systemInstruction":{"parts":[]}}"#),
        (Protocol::Embeddings, r#"{"input":"x"}"#),
        (Protocol::Unknown, r#"{"messages":[{"role":"user"}]}"#),
    ] {
        assert_eq!(of(protocol, request), Conversation::default(), "{protocol:?} {request}");
    }
    assert_eq!(of(Protocol::Responses, r#"{"instructions":"x"}"#).prefixes.len(), 1);
    assert_eq!(of(Protocol::Responses, r#"{"input":""}"#).prefixes.len(), 1);
    assert_eq!(of(Protocol::Responses, r#"{"input":{"odd":1}}"#).prefixes.len(), 1);
    assert_eq!(of(Protocol::Gemini, r#"{"contents":{"parts":[]}}"#).prefixes.len(), 1);
}

#[test]
fn gemini_contents_chain_behind_their_instruction() {
    let turns = |system: &str, texts: &[&str]| {
        let contents: Vec<_> = texts.iter().map(|text| json!({"parts": [{"text": text}]})).collect();
        of(Protocol::Gemini, &json!({system: {"parts": [{"text": "s"}]}, "contents": contents}).to_string()).prefixes
    };
    let long = turns("systemInstruction", &["a", "b", "c"]);
    assert_eq!(long[..2], turns("system_instruction", &["a"]));
    assert_eq!(long.len(), 4);
}

#[test]
fn agentic_responses_traffic_chains_item_by_item() {
    let call = json!({"type": "function_call", "name": "ls", "arguments": "{\"path\": \"/\"}", "call_id": "c"});
    let thought = json!({"type": "reasoning", "id": "r", "encrypted_content": "…"});
    let input = [json!({"role": "user", "content": "list"}), thought.clone(), call.clone()];
    let mut next = input.to_vec();
    next.push(json!({"type": "function_call_output", "call_id": "c", "output": "bin"}));
    let first = answered(
        Protocol::Responses,
        &json!({"input": input[..1]}).to_string(),
        Answer::Json(&json!({"id": "resp_1", "output": [thought, call]}).to_string()),
    );
    let second = of(Protocol::Responses, &json!({"input": next}).to_string());
    assert_eq!(second.prefixes.len(), 4);
    assert_eq!(second.prefixes[0], first.prefixes[0]);
    assert_eq!(second.replies[1], first.answer, "the run of items is the answer");
    assert!(first.answer.is_some());
    assert_eq!((second.replies[0], second.replies[2], second.replies[3]), (None, None, None));
}

#[test]
fn responses_link_by_their_ids() {
    let first = whole(Protocol::Responses, json!({"id": "resp_1", "output": []}));
    let next = of(Protocol::Responses, r#"{"previous_response_id":"resp_1","input":"go on"}"#);
    assert_eq!(next.previous_response_id, first.response_id);
    assert!(first.response_id.is_some());
    let alone = of(Protocol::Responses, r#"{"input":"go on"}"#);
    assert_ne!(next.prefixes, alone.prefixes, "what precedes the turns is not the same");
    let conversation = |value: Value| of(Protocol::Responses, &json!({"conversation": value}).to_string());
    let by_id = conversation(json!("conv_1"));
    assert!(by_id.conversation_id.is_some());
    assert_eq!(by_id, conversation(json!({"id": "conv_1"})));
    assert_eq!(conversation(json!(null)).conversation_id, None);
    let wrapped = json!({"type": "response.create", "response": {"input": "go on"}});
    assert_eq!(of(Protocol::Responses, &wrapped.to_string()), alone);
    let streamed = streamed(Protocol::Responses, &[json!({"type": "response.created", "response": {"id": "resp_1"}})]);
    assert_eq!(streamed.response_id, first.response_id, "a cut stream has its id too");
}

/// The fingerprint of the last turn.
fn reply(protocol: Protocol, request: Value) -> Option<[u8; 8]> {
    *of(protocol, &request.to_string()).replies.last().unwrap()
}

#[test]
fn a_chat_answer_is_known_again_streamed_or_not() {
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1, \"b\":2}"}});
    let sent_back = reply(
        Protocol::Chat,
        json!({"messages": [{"role": "assistant", "content": [{"type": "text", "text": "Let me see."}],
            "tool_calls": [{"function": {"name": "f", "arguments": "{\"b\":2,\"a\":1}"}}]}]}),
    );
    assert!(sent_back.is_some());
    let message = json!({"role": "assistant", "content": "Let me see.\n", "tool_calls": [call]});
    let answer = whole(Protocol::Chat, json!({"choices": [{"index": 0, "message": message}]}));
    assert_eq!(answer.answer, sent_back);
    let delta = |delta: Value| json!({"choices": [{"index": 0, "delta": delta}]});
    let events = [
        delta(json!({"role": "assistant", "content": ""})),
        delta(json!({"content": "Let me"})),
        json!({"choices": [{"index": 1, "delta": {"content": "another choice"}}]}),
        delta(json!({"content": " see."})),
        delta(json!({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]})),
        delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "{\"a\":1,"}}]})),
        delta(json!({"tool_calls": [{"index": 0, "function": {"arguments": "\"b\":2}"}}]})),
        json!({"choices": [], "usage": {}}),
    ];
    assert_eq!(streamed(Protocol::Chat, &events).answer, sent_back);
    let other = whole(Protocol::Chat, json!({"choices": [{"message": {"content": "Let me see."}}]}));
    assert_ne!(other.answer, sent_back);
    assert_eq!(whole(Protocol::Chat, json!({"error": {}})).answer, None);
}

#[test]
fn a_messages_answer_is_known_again_streamed_or_not() {
    let blocks = json!([
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "Looking."},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"b": [1], "a": "x"}},
        {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
    ]);
    let sent_back = reply(
        Protocol::Messages,
        json!({"messages": [{"role": "assistant", "content": [blocks[1], blocks[2], blocks[3]]}]}),
    );
    assert!(sent_back.is_some());
    assert_eq!(whole(Protocol::Messages, json!({"id": "m", "content": blocks})).answer, sent_back);
    let events = [
        json!({"type": "message_start", "message": {"id": "m", "content": []}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Look"}}),
        json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "ing."}}),
        json!({"type": "content_block_start", "index": 2,
            "content_block": {"type": "tool_use", "name": "f", "input": {}}}),
        json!({"type": "content_block_delta", "index": 2,
            "delta": {"type": "input_json_delta", "partial_json": "{\"a\":\"x\","}}),
        json!({"type": "content_block_delta", "index": 2,
            "delta": {"type": "input_json_delta", "partial_json": "\"b\":[1]}"}}),
        json!({"type": "content_block_start", "index": 3,
            "content_block": {"type": "tool_use", "name": "g", "input": {}}}),
        json!({"type": "message_stop"}),
    ];
    assert_eq!(streamed(Protocol::Messages, &events).answer, sent_back);
}

#[test]
fn a_responses_answer_is_known_again_streamed_or_not() {
    let items = json!([
        {"type": "reasoning", "id": "r", "summary": []},
        {"type": "message", "id": "m", "role": "assistant",
            "content": [{"type": "output_text", "text": "Done.", "annotations": []}]},
        {"type": "function_call", "id": "f", "call_id": "c", "name": "f", "arguments": "{}"},
    ]);
    let request = json!({"input": [{"role": "user", "content": "x"},
        {"role": "assistant", "content": "Done."}, {"type": "function_call", "name": "f", "arguments": ""}]});
    let sent_back = of(Protocol::Responses, &request.to_string()).replies[1];
    assert!(sent_back.is_some());
    let response = json!({"id": "r1", "output": items});
    assert_eq!(whole(Protocol::Responses, response.clone()).answer, sent_back);
    let completed = [json!({"type": "response.completed", "response": response})];
    assert_eq!(streamed(Protocol::Responses, &completed).answer, sent_back);
    let mut by_item: Vec<_> = items
        .as_array()
        .unwrap()
        .iter()
        .map(|item| json!({"type": "response.output_item.done", "item": item}))
        .collect();
    by_item.push(json!({"type": "response.completed", "response": {"id": "r1", "output": []}}));
    assert_eq!(streamed(Protocol::Responses, &by_item).answer, sent_back, "some gateways leave the output out");
}

#[test]
fn a_gemini_answer_is_known_again_streamed_or_not() {
    let call = json!({"functionCall": {"name": "f", "args": {"a": 1}}});
    let sent_back =
        reply(Protocol::Gemini, json!({"contents": [{"role": "model", "parts": [{"text": "Hello there"}, call]}]}));
    assert!(sent_back.is_some());
    let element = |parts: Value| json!({"candidates": [{"content": {"role": "model", "parts": parts}}]});
    let elements = [
        element(json!([{"text": "thinking", "thought": true}, {"text": "Hello"}])),
        element(json!([{"text": " there"}])),
        element(json!([call])),
        json!({"candidates": [{"finishReason": "STOP"}]}),
    ];
    assert_eq!(streamed(Protocol::Gemini, &elements).answer, sent_back);
    assert_eq!(whole(Protocol::Gemini, json!(elements)).answer, sent_back, "an array");
    let at_once = element(json!([{"text": "Hello there"}, call]));
    assert_eq!(whole(Protocol::Gemini, at_once).answer, sent_back);
}

#[test]
fn hostile_depth_and_odd_text_are_survived() {
    let deep =
        format!(r#"{{"messages":[{{"role":"assistant","content":{}{}}}]}}"#, "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(of(Protocol::Chat, &deep).prefixes.len(), 1);
    of(Protocol::Messages, &"{\"messages\":[".repeat(50_000));
    let arguments = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let message = json!({"tool_calls": [{"function": {"name": "f", "arguments": arguments}}]});
    assert!(whole(Protocol::Chat, json!({"choices": [{"message": message}]})).answer.is_some());
}

const PROTOCOLS: [Protocol; 4] = [Protocol::Chat, Protocol::Messages, Protocol::Responses, Protocol::Gemini];

proptest! {
    #[test]
    fn every_prefix_hash_is_the_last_hash_of_the_shorter_request(
        texts in prop::collection::vec("\\PC{0,5}", 1..8), cut in 1_usize..8
    ) {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let cut = cut.min(texts.len());
        prop_assert_eq!(&chat(&texts).prefixes[..cut], &chat(&texts[..cut]).prefixes[..]);
    }

    #[test]
    fn a_line_read_back_gives_what_the_fresh_body_gave(text in "\\PC{0,9}", index in 0..4_usize) {
        let message = json!({"role": "assistant", "content": text, "parts": [{"text": text}]});
        let body = json!({"messages": [message], "input": [message], "contents": [message], "system": text});
        // Lines hold the received text without the line breaks between its tokens.
        let fresh = serde_json::to_string_pretty(&body).unwrap().replace('\n', "\r\n");
        let stored = fresh.replace(['\r', '\n'], "");
        prop_assert_eq!(of(PROTOCOLS[index], &fresh), of(PROTOCOLS[index], &stored));
    }

    #[test]
    fn odd_text_never_panics(
        text in "([\\[\\]{}\",: 0-9]|\"(messages|input|contents|parts|role|assistant|content|choices|delta)\"|\\PC){0,60}",
        index in 0..4_usize
    ) {
        let events = [EventView { name: "", data: EventData::Json(&text) }];
        for answer in [Answer::Json(&text), Answer::Events(&events)] {
            let found = answered(PROTOCOLS[index], &text, answer);
            prop_assert_eq!(found.prefixes.len(), found.replies.len());
        }
    }
}
