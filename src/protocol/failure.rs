//! What a provider calls its errors: in a body of its own, inside an answer, or as an event of a stream.

use std::borrow::Cow;

use super::json::{elements, member, members, text};
use crate::trace::view::EventView;

/// An error that a provider reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Failure {
    /// Its type, else its code, else its status, as the provider spells it.
    pub(super) kind: Option<String>,
}

/// The error that a body reports:
/// `{"error":{"type"|"code"|"status"}}` (OpenAI, Gemini and most others), `{"type":"error","error":{…}}` (Anthropic),
/// `{"object":"error","type":…}` (Mistral, vLLM), `{"type":"error","code":…}` (a Responses event), or an array of
/// these (Gemini's streams).
pub(super) fn in_body(json: &str) -> Option<Failure> {
    if json.trim_ascii_start().starts_with('[') {
        let mut found = None;
        elements(json, |element| found = found.take().or_else(|| in_object(element)));
        return found;
    }
    in_object(json)
}

/// The error that the member `error` of a body holds. A bare string is an error without a type.
pub(super) fn in_member(value: &str) -> Option<Failure> {
    if value.starts_with('{') {
        let mut words = Words::default();
        members(value, |name, value| words.see(name, value));
        return Some(words.failure());
    }
    text(value).map(|_| Failure::default())
}

/// The error that an event reports: one that is named or typed `error`, or one whose data holds an error.
pub(super) fn in_event(event: &EventView<'_>) -> Option<Failure> {
    let found = event.data.json().and_then(in_body);
    if found.is_none() && event.name == "error" {
        let mut words = Words::default();
        members(event.data.json().unwrap_or_default(), |name, value| words.see(name, value));
        return Some(words.failure());
    }
    found
}

/// Whether all of an event that ends a stream has come. Of one in which the stream broke off the name is there, and
/// data that is no JSON yet, or none at all.
pub(super) fn is_told_whole(event: &EventView<'_>) -> bool {
    event.data.json().is_some()
}

/// What an event is: its name, else the `type` in its data (gateways leave the names out), else nothing. `message` is
/// what an event without a name is called (WHATWG HTML §9.2.6).
pub(super) fn event_kind<'a>(event: &EventView<'a>) -> Cow<'a, str> {
    if !event.name.is_empty() && event.name != "message" {
        return Cow::Borrowed(event.name);
    }
    event.data.json().and_then(|json| member(json, "type")).and_then(text).unwrap_or_default()
}

fn in_object(json: &str) -> Option<Failure> {
    let mut nested = None;
    let mut words = Words::default();
    let mut is_error = false;
    members(json, |name, value| match name {
        "error" => nested = in_member(value),
        "object" => is_error |= value == r#""error""#,
        _ => {
            is_error |= name == "type" && value == r#""error""#;
            words.see(name, value);
        }
    });
    match nested {
        Some(Failure { kind: None }) if is_error => Some(words.failure()),
        None if is_error => Some(words.failure()),
        nested => nested,
    }
}

/// The words by which an error may be called.
#[derive(Default)]
struct Words<'a> {
    kind: Option<Cow<'a, str>>,
    code: Option<Cow<'a, str>>,
    status: Option<Cow<'a, str>>,
    number: Option<&'a str>,
}

impl<'a> Words<'a> {
    fn see(&mut self, name: &str, value: &'a str) {
        // LiteLLM spells what it does not know as Python does; `error` only says that it is one.
        let word = || text(value).filter(|word| !matches!(&**word, "None" | "null" | "error"));
        match name {
            "type" => self.kind = word(),
            "code" => {
                self.code = word();
                self.number = Some(value).filter(|value| value.starts_with(|digit: char| digit.is_ascii_digit()));
            }
            "status" => self.status = word(),
            _ => {}
        }
    }

    fn failure(self) -> Failure {
        let word = self.kind.or(self.code).or(self.status).or(self.number.map(Cow::Borrowed));
        Failure { kind: word.map(Cow::into_owned) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::view::EventData;

    fn kind(json: &str) -> Option<String> {
        in_body(json).and_then(|failure| failure.kind)
    }

    #[test]
    fn every_vendors_error_body_gives_its_word() {
        for (body, word) in [
            (
                r#"{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
                "invalid_request_error",
            ),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"m"},"request_id":"r"}"#,
                "overloaded_error",
            ),
            (r#"{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}"#, "INVALID_ARGUMENT"),
            (r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}]"#, "RESOURCE_EXHAUSTED"),
            (r#"{"error":{"code":"DeploymentNotFound","message":"m"}}"#, "DeploymentNotFound"),
            (r#"{"error":{"message":"m","code":429}}"#, "429"),
            (r#"{"error":{"message":"m","type":"None","param":"None","code":"401"}}"#, "401"),
            (r#"{"error":{"message":"m","type":null,"param":null,"code":"429"}}"#, "429"),
            (r#"{"object":"error","message":"m","type":"BadRequestError","param":null,"code":400}"#, "BadRequestError"),
            (
                r#"{"type":"error","code":"server_error","message":"m","param":null,"sequence_number":1}"#,
                "server_error",
            ),
        ] {
            assert_eq!(kind(body).as_deref(), Some(word), "{body}");
        }
    }

    #[test]
    fn what_is_no_error_gives_none() {
        for body in [r#"{"error":null}"#, r#"{"type":"message","status":"x"}"#, "null", "", "[]", r#"{"error":false}"#]
        {
            assert_eq!(in_body(body), None, "{body}");
        }
        assert_eq!(in_body(r#"{"error":"model is loading"}"#), Some(Failure::default()));
    }

    #[test]
    fn an_event_named_error_is_one_whatever_it_holds() {
        for data in [EventData::None, EventData::Text("boom"), EventData::Json("{\"message\":\"m\"}")] {
            assert_eq!(in_event(&EventView { name: "error", data }), Some(Failure::default()));
        }
        let data = EventData::Json(r#"{"code":"rate_limited"}"#);
        assert_eq!(in_event(&EventView { name: "error", data }), Some(Failure { kind: Some("rate_limited".into()) }));
    }
}
