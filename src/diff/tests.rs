//! Where requests part, and what is said of the cache.

use super::*;
use serde_json::{Value, json};

fn line(number: u8, start: &str, body: &Value, usage: &Value) -> Vec<u8> {
    json!({
        "id": format!("01J0000000000000000000000{number}"), "v": 1, "ts_start": start, "ts_end": start,
        "client": "c", "method": "POST", "path": "/v1/messages", "upstream": "http://g", "status": 200,
        "end": "complete", "key_hash": "a1b2c3d4e5f60718",
        "req": {"headers": {}, "body": body},
        "resp": {"headers": {}, "body": {"type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}},
        "disconnected": false, "truncated_req": false, "truncated_resp": false
    })
    .to_string()
    .into_bytes()
}

fn asked(system: &str, turns: &[&str]) -> Value {
    let turns: Vec<Value> = turns.iter().map(|text| json!({"role": "user", "content": text})).collect();
    json!({"model": "m", "max_tokens": 9, "system": [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}],
        "tools": [{"name": "grep"}], "messages": turns})
}

fn compare(before: &Value, now: &Value, usage: &Value) -> Comparison {
    let before = line(1, "2026-05-27T10:00:00Z", before, &json!({"input_tokens": 10, "output_tokens": 1}));
    Comparison::of(&before, &line(2, "2026-05-27T10:01:00Z", now, usage)).unwrap()
}

fn said(compared: &Comparison) -> String {
    layout::page(compared).plain()
}

#[test]
fn who_goes_on_has_all_of_the_earlier_prompt() {
    let usage = json!({"input_tokens": 100, "cache_read_input_tokens": 1900, "output_tokens": 1});
    let found = compare(&asked("s", &["one"]), &asked("s", &["one", "two"]), &usage);
    assert!(found.continues());
    assert_eq!((found.common_pieces, found.prompt_tokens()), (3, Some(2000)));
    let parting = found.parting.as_ref().unwrap();
    assert_eq!(parting.now.as_ref().unwrap().label, "message 2 (user)");
    assert!(said(&found).contains("now begins with all of before, and goes on with message 2 (user)"));
    assert!(said(&found).contains("the cache held what the two have in common"), "{}", said(&found));
}

#[test]
fn the_place_where_they_part_is_told_to_the_byte() {
    let text = "x".repeat(8000);
    let usage = json!({"input_tokens": 4000, "cache_read_input_tokens": 0, "output_tokens": 1});
    let now = asked(&text, &["the day is tuesday", "b"]);
    let found = compare(&asked(&text, &["the day is monday", "b"]), &now, &usage);
    assert_eq!(found.common_pieces, 2);
    let offset = found.body_offset();
    assert!(now.to_string()[..offset].ends_with("the day is "), "{offset}");
    assert!(!found.continues());
    let said = said(&found);
    assert!(said.contains("they part in message 1 (user), after 23 equal bytes of it"), "{said}");
    assert!(said.contains("the cache was missed: some 39"), "{said}");
    assert!(said.contains("nothing in the two requests explains it"), "{said}");
}

#[test]
fn what_keeps_a_cache_from_being_found_is_named() {
    let text = "x".repeat(8000);
    let mut now = asked(&text, &["a", "b"]);
    now["model"] = json!("other");
    now["temperature"] = json!(1);
    now["system"] = json!(text);
    let before = line(1, "2026-05-27T10:00:00Z", &asked(&text, &["a"]), &json!({"input_tokens": 1}));
    let usage = json!({"input_tokens": 4000, "cache_read_input_tokens": 0});
    let found = Comparison::of(&before, &line(2, "2026-05-27T10:20:00Z", &now, &usage)).unwrap();
    assert!(found.continues(), "a string and one text block are the same: {:?}", found.parting);
    let said = said(&found);
    assert!(said.contains("model: \"m\" → \"other\"") && said.contains("temperature: (none) → 1"), "{said}");
    assert!(said.contains("20 min 0 s passed") && said.contains("no block of it has a cache_control mark"), "{said}");
}

#[test]
fn a_changed_tool_parts_them_before_all_turns() {
    let mut now = asked("s", &["a"]);
    now["tools"] = json!([{"name": "find"}]);
    let found = compare(&asked("s", &["a"]), &now, &json!({"input_tokens": 5}));
    assert_eq!(found.common_pieces, 0);
    let said = said(&found);
    assert!(said.contains("they part in tool find, where tool grep stood before"), "{said}");
    assert!(said.contains("does not say how many tokens it had cached"), "{said}");
}

#[test]
fn what_cannot_be_compared_is_told() {
    let one = line(1, "2026-05-27T10:00:00Z", &json!({"messages": []}), &json!({}));
    let none = line(2, "2026-05-27T10:00:00Z", &Value::Null, &json!({}));
    assert!(matches!(Comparison::of(&one, &none), Err(NotComparable::NoRequest(_))));
    let chat = String::from_utf8(one.clone()).unwrap().replace("/v1/messages", "/v1/chat/completions");
    assert!(matches!(Comparison::of(&one, chat.as_bytes()), Err(NotComparable::Protocols(..))));
    assert!(Comparison::of(&one, &one).unwrap().parting.is_none());
}
