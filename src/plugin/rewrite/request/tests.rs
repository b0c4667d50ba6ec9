//! Requests of the four protocols, rewritten.

use super::super::testing;
use super::*;

#[track_caller]
fn replaced(protocol: Protocol, body: &str, expected: &str) {
    let work = testing::replace(&[("codename", "[x]")]);
    let found = request(protocol, &work, UpTarget::LastUserMessage, body);
    assert_eq!(found.as_deref().unwrap_or(body), expected);
}

#[track_caller]
fn appended(protocol: Protocol, target: UpTarget, body: &str, expected: Option<&str>) {
    let found = request(protocol, &Work::Append("\n+é".into()), target, body);
    assert_eq!(found.as_deref(), expected);
}

#[test]
fn chat_turns_are_rewritten_and_the_rest_is_as_it_was() {
    replaced(
        Protocol::Chat,
        r#"{"seed":12345678901234567890, "messages":[ {"role":"system","content":"codename"},
            {"role":"user","content":[{"type":"text","text":"a codename"},{"type":"image_url","image_url":{"url":"codename"}}]},
            {"content":"\u00e9 codename","role":"assistant","tool_calls":[{"function":{"arguments":"codename"}}]},
            {"role":"tool","content":"codename"}, {"role":"user","content":null}],"tools":["codename"],"t":1.0}"#,
        r#"{"seed":12345678901234567890, "messages":[ {"role":"system","content":"codename"},
            {"role":"user","content":[{"type":"text","text":"a [x]"},{"type":"image_url","image_url":{"url":"codename"}}]},
            {"content":"é [x]","role":"assistant","tool_calls":[{"function":{"arguments":"codename"}}]},
            {"role":"tool","content":"codename"}, {"role":"user","content":null}],"tools":["codename"],"t":1.0}"#,
    );
}

#[test]
fn messages_turns_are_rewritten_and_the_rest_is_as_it_was() {
    replaced(
        Protocol::Messages,
        r#"{"system":[{"type":"text","text":"codename","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":"codename"},
            {"role":"assistant","content":[{"type":"thinking","thinking":"codename","signature":"s"},{"type":"text","text":"codename","cache_control":{"type":"ephemeral"}},{"type":"tool_use","input":{"text":"codename"}}]},
            {"role":"user","content":[{"type":"tool_result","content":[{"type":"text","text":"codename"}]}]}]}"#,
        r#"{"system":[{"type":"text","text":"codename","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":"[x]"},
            {"role":"assistant","content":[{"type":"thinking","thinking":"codename","signature":"s"},{"type":"text","text":"[x]","cache_control":{"type":"ephemeral"}},{"type":"tool_use","input":{"text":"codename"}}]},
            {"role":"user","content":[{"type":"tool_result","content":[{"type":"text","text":"codename"}]}]}]}"#,
    );
}

#[test]
fn responses_turns_are_rewritten_and_the_rest_is_as_it_was() {
    replaced(
        Protocol::Responses,
        r#"{"input":"codename","instructions":"codename"}"#,
        r#"{"input":"[x]","instructions":"codename"}"#,
    );
    replaced(
        Protocol::Responses,
        r#"{"input":[{"role":"user","content":"codename"},{"role":"developer","content":"codename"},
            {"type":"message","role":"assistant","content":[{"type":"output_text","text":"codename"}]},
            {"type":"function_call","arguments":"codename"},{"type":"function_call_output","output":"codename"},
            {"type":"reasoning","summary":[{"type":"summary_text","text":"codename"}]}]}"#,
        r#"{"input":[{"role":"user","content":"[x]"},{"role":"developer","content":"codename"},
            {"type":"message","role":"assistant","content":[{"type":"output_text","text":"[x]"}]},
            {"type":"function_call","arguments":"codename"},{"type":"function_call_output","output":"codename"},
            {"type":"reasoning","summary":[{"type":"summary_text","text":"codename"}]}]}"#,
    );
}

#[test]
fn gemini_turns_are_rewritten_and_the_rest_is_as_it_was() {
    replaced(
        Protocol::Gemini,
        r#"{"systemInstruction":{"parts":[{"text":"codename"}]},"contents":[{"parts":[{"text":"codename"},{"thought":true,"text":"codename"}]},
            {"role":"model","parts":[{"functionCall":{"args":{"text":"codename"}}},{"text":"codename"}]},{"role":"function","parts":{"text":"codename"}}]}"#,
        r#"{"systemInstruction":{"parts":[{"text":"codename"}]},"contents":[{"parts":[{"text":"[x]"},{"thought":true,"text":"codename"}]},
            {"role":"model","parts":[{"functionCall":{"args":{"text":"codename"}}},{"text":"[x]"}]},{"role":"function","parts":{"text":"codename"}}]}"#,
    );
    replaced(
        Protocol::Gemini,
        r#"{"model":"m","request":{"contents":{"parts":{"text":"codename"}}}}"#,
        r#"{"model":"m","request":{"contents":{"parts":{"text":"[x]"}}}}"#,
    );
}

#[test]
fn a_suffix_goes_behind_the_last_user_text() {
    let last = UpTarget::LastUserMessage;
    appended(
        Protocol::Chat,
        last,
        r#"{"messages":[{"role":"user","content":"a"},{"role":"user","content":[{"type":"image_url"}]},{"role":"assistant","content":"b"}]}"#,
        Some(
            r#"{"messages":[{"role":"user","content":"a\n+é"},{"role":"user","content":[{"type":"image_url"}]},{"role":"assistant","content":"b"}]}"#,
        ),
    );
    appended(
        Protocol::Messages,
        last,
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":""},{"type":"image"}]},{"role":"user","content":[{"type":"tool_result","content":"r"}]}]}"#,
        Some(
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"\n+é"},{"type":"image"}]},{"role":"user","content":[{"type":"tool_result","content":"r"}]}]}"#,
        ),
    );
    appended(Protocol::Responses, last, r#"{"input":"a"}"#, Some(r#"{"input":"a\n+é"}"#));
    appended(
        Protocol::Gemini,
        last,
        r#"{"contents":[{"parts":[{"text":"a"}]}]}"#,
        Some(r#"{"contents":[{"parts":[{"text":"a\n+é"}]}]}"#),
    );
    appended(Protocol::Chat, last, r#"{"messages":[{"role":"assistant","content":"a"}]}"#, None);
    appended(Protocol::Chat, last, r#"{"input":"a"}"#, None);
}

#[test]
fn a_suffix_goes_behind_the_system_prompt_or_makes_one() {
    let system = UpTarget::SystemPrompt;
    for (protocol, body, expected) in [
        (
            Protocol::Chat,
            r#"{"messages":[{"role":"system","content":"s"},{"role":"system","content":"t"}]}"#,
            r#"{"messages":[{"role":"system","content":"s\n+é"},{"role":"system","content":"t"}]}"#,
        ),
        (
            Protocol::Chat,
            r#"{"messages":[{"role":"user","content":"u"}]}"#,
            r#"{"messages":[{"role":"system","content":"\n+é"},{"role":"user","content":"u"}]}"#,
        ),
        (Protocol::Chat, r#"{"messages":[ ]}"#, r#"{"messages":[{"role":"system","content":"\n+é"} ]}"#),
        (Protocol::Messages, r#"{"system":"s","messages":[]}"#, r#"{"system":"s\n+é","messages":[]}"#),
        (
            Protocol::Messages,
            r#"{"system":[{"type":"text","text":"s"}]}"#,
            r#"{"system":[{"type":"text","text":"s\n+é"}]}"#,
        ),
        (
            Protocol::Messages,
            r#"{"system":[],"messages":[]}"#,
            r#"{"system":[{"type":"text","text":"\n+é"}],"messages":[]}"#,
        ),
        (Protocol::Messages, r#"{"messages":[]}"#, r#"{"system":"\n+é","messages":[]}"#),
        (Protocol::Responses, r#"{"instructions":null,"input":"a"}"#, r#"{"instructions":"\n+é","input":"a"}"#),
        (Protocol::Responses, r#"{"input":"a"}"#, r#"{"instructions":"\n+é","input":"a"}"#),
        (Protocol::Responses, r#"{"instructions":"s","input":"a"}"#, r#"{"instructions":"s\n+é","input":"a"}"#),
        (Protocol::Gemini, r#"{"contents":[]}"#, r#"{"systemInstruction":{"parts":[{"text":"\n+é"}]},"contents":[]}"#),
        (
            Protocol::Gemini,
            r#"{"system_instruction":{"parts":[{"text":"s"}]}}"#,
            r#"{"system_instruction":{"parts":[{"text":"s\n+é"}]}}"#,
        ),
        (
            Protocol::Gemini,
            r#"{"systemInstruction":{"parts":[]}}"#,
            r#"{"systemInstruction":{"parts":[{"text":"\n+é"}]}}"#,
        ),
    ] {
        appended(protocol, system, body, Some(expected));
        crate::wire::json::value(expected).unwrap();
    }
    for (protocol, body) in [
        (Protocol::Chat, "{}"),
        (Protocol::Messages, r#"{"system":7}"#),
        (Protocol::Responses, "{}"),
        (Protocol::Gemini, "{}"),
    ] {
        appended(protocol, system, body, None);
    }
}

#[test]
fn what_is_no_request_stays() {
    let work = testing::replace(&[("codename", "[x]")]);
    for (protocol, body) in [
        (Protocol::Chat, r#"{"messages":[{"role":"user","content":"codename"}]"#),
        (Protocol::Chat, r#"[{"role":"user","content":"codename"}]"#),
        (Protocol::Completions, r#"{"prompt":"codename"}"#),
        (Protocol::Chat, r#"{"messages":"codename"}"#),
        (Protocol::Chat, r#"{"messages":[{"role":"user","content":"nothing"}]}"#),
    ] {
        assert_eq!(request(protocol, &work, UpTarget::LastUserMessage, body), None);
    }
}
