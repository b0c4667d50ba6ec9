//! In which form a body stands on the line: told by its codings, its content type, and its bytes.

use std::borrow::Cow;

use crate::headers::Headers;
use crate::protocol::Protocol;
use crate::recording::{Mark, Recording};
use crate::wire::decode::{self, Coding, Decoded, Limits};
use crate::wire::json;
use crate::wire::media_type::MediaType;
use crate::wire::sse::{self, Event};

/// A body with its codings undone, or as it came if they cannot be.
pub(super) struct Body<'a> {
    decoded: Decoded<'a>,
    /// Why the bytes are still coded.
    failure: Option<String>,
    /// The transport or the coded stream broke off, or bytes were cut at the cap: the last character may be half.
    is_broken_off: bool,
}

/// One of the forms of a body on the line.
pub(super) enum Form<'b> {
    /// No bytes.
    Empty,
    /// No bytes where a stream was announced.
    EmptyStream,
    /// One JSON value: its verbatim text, without white space around it.
    Json(Cow<'b, str>),
    /// A stream of events.
    Events(Streamed<'b>),
    /// Anything else: its bytes, and what kept it from being read if its type promised more.
    Raw { bytes: &'b [u8], problem: Option<Cow<'b, str>> },
}

/// The events of a streamed answer.
pub(super) struct Streamed<'b> {
    pub(super) events: Vec<Event<'b>>,
    /// Arrival of the decoded bytes.
    pub(super) marks: &'b [Mark],
    /// A nameless `[DONE]` was seen.
    pub(super) saw_done: bool,
    /// The stream is a JSON array, and its closing bracket was seen.
    pub(super) is_closed_array: bool,
}

impl<'a> Body<'a> {
    /// Undoes the codings that `headers` name.
    pub(super) fn of(recording: &'a Recording, headers: &Headers, limits: Limits, is_whole: bool) -> Body<'a> {
        let decoded = match decode::codings(headers.get_all("content-encoding")) {
            _ if recording.bytes.is_empty() => Ok(Decoded::untouched(recording)),
            Ok(codings) => decode::decode(recording, &codings, limits),
            Err(error) => Err(error),
        };
        let is_broken_off = recording.is_cut || !is_whole;
        match decoded {
            // Nothing came out yet: what went in is all there is to keep.
            Ok(decoded) if decoded.is_partial && decoded.bytes.is_empty() => {
                let failure = Some(early_end(&decoded.undone));
                Body { decoded: Decoded::untouched(recording), failure, is_broken_off }
            }
            Ok(decoded) => Body { is_broken_off: is_broken_off || decoded.is_partial, decoded, failure: None },
            Err(error) => {
                let failure = Some(error.to_string());
                Body { decoded: Decoded::untouched(recording), failure, is_broken_off }
            }
        }
    }

    /// The codings that were undone.
    pub(super) fn undone(&self) -> &[Coding] {
        &self.decoded.undone
    }

    /// How many bytes there are to be written.
    pub(super) fn len(&self) -> usize {
        self.decoded.bytes.len()
    }

    /// The form of a request's body. Clients post JSON under any type (`curl -d` says it is a form), so an object
    /// or array is taken as what it is.
    pub(super) fn request_form(&self, headers: &Headers) -> Form<'_> {
        let bytes = &*self.decoded.bytes;
        if self.failure.is_some() {
            return self.raw(None);
        }
        if bytes.is_empty() {
            return Form::Empty;
        }
        let is_json = media_type(headers) == MediaType::Json;
        if !is_json && !looks_like_json(bytes) {
            return self.raw(None);
        }
        match self.json() {
            Ok(json) => Form::Json(json.into()),
            Err(problem) => self.raw(is_json.then_some(problem)),
        }
    }

    /// The form of an answer's body: by its content type, and by its bytes where they are not of that type.
    pub(super) fn response_form(&self, headers: &Headers, protocol: Protocol) -> Form<'_> {
        let bytes = &*self.decoded.bytes;
        if self.failure.is_some() {
            return self.raw(None);
        }
        let media_type = media_type(headers);
        if bytes.is_empty() {
            return if media_type == MediaType::Events { Form::EmptyStream } else { Form::Empty };
        }
        if protocol == Protocol::Gemini
            && let Some(streamed) = self.array_stream()
        {
            return Form::Events(streamed);
        }
        let json = match media_type {
            MediaType::Json => self.json(),
            _ if looks_like_json(bytes) => self.json(),
            _ => Err(Cow::Borrowed("")),
        };
        let problem = match json {
            Ok(json) => return Form::Json(json.into()),
            Err(problem) => problem,
        };
        if media_type == MediaType::Events || sse::looks_like_events(bytes) {
            match self.event_stream() {
                Ok(streamed) => return Form::Events(streamed),
                Err(problem) if media_type == MediaType::Events => return self.raw(Some(problem)),
                Err(_) => {}
            }
        }
        self.raw((media_type == MediaType::Json).then_some(problem))
    }

    fn raw(&self, problem: Option<Cow<'static, str>>) -> Form<'_> {
        let early_end = || self.decoded.is_partial.then(|| early_end(&self.decoded.undone).into());
        let problem = match &self.failure {
            Some(failure) => Some(Cow::Borrowed(failure.as_str())),
            None => problem.or_else(early_end),
        };
        Form::Raw { bytes: &self.decoded.bytes, problem }
    }

    fn json(&self) -> Result<&str, Cow<'static, str>> {
        let text = std::str::from_utf8(&self.decoded.bytes).map_err(|error| format!("invalid JSON: {error}"))?;
        json::value(text.strip_prefix('\u{feff}').unwrap_or(text)).map_err(|error| error.to_string().into())
    }

    fn event_stream(&self) -> Result<Streamed<'_>, Cow<'static, str>> {
        let text = self.text().map_err(|error| format!("sse: {error}"))?;
        let sse::Stream { events, saw_done } = sse::parse(text);
        if events.is_empty() && !saw_done {
            return Err("sse: no SSE frames found".into());
        }
        Ok(Streamed { events, marks: &self.decoded.marks, saw_done, is_closed_array: false })
    }

    /// Gemini's stream without `alt=sse`: one array, an element at a time.
    fn array_stream(&self) -> Option<Streamed<'_>> {
        let first = self.decoded.bytes.iter().find(|byte| !byte.is_ascii_whitespace());
        if first != Some(&b'[') {
            return None;
        }
        let found = json::elements(self.text().ok()?)?;
        let events = found.elements.iter().map(|element| Event {
            name: Cow::Borrowed(""),
            data: Some(Cow::Borrowed(element.text)),
            fields: Vec::new(),
            offset: element.offset as u64,
        });
        Some(Streamed {
            events: events.collect(),
            marks: &self.decoded.marks,
            saw_done: false,
            is_closed_array: found.is_closed,
        })
    }

    /// The bytes as text, without the beginning of a character in which they broke off.
    fn text(&self) -> Result<&str, std::str::Utf8Error> {
        let bytes = &*self.decoded.bytes;
        std::str::from_utf8(bytes).or_else(|error| match error.error_len() {
            None if self.is_broken_off => std::str::from_utf8(&bytes[..error.valid_up_to()]),
            _ => Err(error),
        })
    }
}

fn media_type(headers: &Headers) -> MediaType {
    MediaType::of(headers.get("content-type").unwrap_or_default())
}

/// Whether it is worth trying: the bytes begin and end like an object or an array.
fn looks_like_json(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii();
    matches!((bytes.first(), bytes.last()), (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')))
}

fn early_end(codings: &[Coding]) -> String {
    let names: Vec<&str> = codings.iter().map(|coding| coding.name()).collect();
    format!("{}: the stream ends early", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form of an answer, in brief.
    fn answer(media_type: &str, bytes: &[u8], is_whole: bool, protocol: Protocol) -> String {
        let mut headers = Headers::new();
        headers.push("content-type", media_type.as_bytes());
        let marks = vec![Mark { offset: 0, at_us: 1 }];
        let recording = Recording { bytes: bytes.to_vec(), marks, wire_bytes: bytes.len() as u64, is_cut: false };
        let body = Body::of(&recording, &headers, Limits::default(), is_whole);
        brief(&body.response_form(&headers, protocol))
    }

    fn request(media_type: &str, bytes: &[u8]) -> String {
        let mut headers = Headers::new();
        headers.push("Content-Type", media_type.as_bytes());
        let recording = Recording { bytes: bytes.to_vec(), ..Recording::default() };
        brief(&Body::of(&recording, &headers, Limits::default(), true).request_form(&headers))
    }

    fn brief(form: &Form<'_>) -> String {
        match form {
            Form::Empty => "empty".into(),
            Form::EmptyStream => "empty stream".into(),
            Form::Json(text) => format!("json {text}"),
            Form::Events(streamed) => {
                let data: Vec<&str> = streamed.events.iter().map(|it| it.data.as_deref().unwrap_or("-")).collect();
                format!("events {} {} {}", data.join("|"), streamed.saw_done, streamed.is_closed_array)
            }
            Form::Raw { bytes, problem } => format!("raw {} {}", bytes.len(), problem.as_deref().unwrap_or("-")),
        }
    }

    #[test]
    fn the_content_type_tells_and_the_bytes_have_the_last_word() {
        let cases: [(&str, &[u8], &str); 15] = [
            ("application/json", b" {} ", "json {}"),
            ("application/json; charset", b"1", "json 1"),
            ("APPLICATION/problem+JSON;x=\"y", b"{}", "json {}"),
            ("text/json, text/json", b"{}", "json {}"),
            ("application/json", b"data: 1\n\n", "events 1 false false"),
            ("application/json", b"<html>", "raw 6 invalid JSON: expected value at line 1 column 1"),
            ("text/event-stream", b"{\"error\":1}", "json {\"error\":1}"),
            ("Text/Event-Stream;charset=utf-8", b"data: [DONE]", "events  true false"),
            ("text/event-stream", b"\xff", "raw 1 sse: invalid utf-8 sequence of 1 bytes from index 0"),
            ("text/event-stream", b"", "empty stream"),
            ("", b"data: 1\n\n", "events 1 false false"),
            ("text/plain", b"\xef\xbb\xbf[1]", "json [1]"),
            ("text/plain", b"id: yaml", "raw 8 -"),
            ("text/html", b"<p>", "raw 3 -"),
            ("application/x-ndjson", b"{}\n{}", "raw 5 -"),
        ];
        for (media_type, bytes, expected) in cases {
            let found = answer(media_type, bytes, true, Protocol::Chat);
            assert_eq!(found, expected, "{media_type} {}", bytes.escape_ascii());
        }
    }

    #[test]
    fn requests_are_json_under_any_type_and_never_events() {
        assert_eq!(request("application/x-www-form-urlencoded", b"{\"a\":1}"), "json {\"a\":1}");
        assert_eq!(request("", b"a=1"), "raw 3 -");
        assert_eq!(request("", b"{a=1}"), "raw 5 -");
        assert_eq!(request("text/event-stream", b"data: 1\n\n"), "raw 9 -");
        assert_eq!(request("application/json", b""), "empty");
        assert!(request("application/json", b"{").starts_with("raw 1 invalid JSON: "));
    }

    #[test]
    fn an_array_stream_is_its_elements_even_if_cut() {
        let json = "application/json; charset=UTF-8";
        let whole = "[{\"a\":1}\n,\r\n{\"b\":\"é\"}\n]";
        assert_eq!(answer(json, whole.as_bytes(), true, Protocol::Gemini), "events {\"a\":1}|{\"b\":\"é\"} false true");
        let cut = &whole.as_bytes()[..whole.len() - 5];
        assert_eq!(answer(json, cut, false, Protocol::Gemini), "events {\"a\":1}|{\"b\":\" false false");
        assert_eq!(answer(json, whole.as_bytes(), true, Protocol::Unknown), format!("json {whole}"));
        assert!(answer(json, b"[1}", true, Protocol::Gemini).starts_with("raw 3 invalid JSON"));
    }

    #[test]
    fn half_a_character_is_no_fault_where_the_stream_broke_off() {
        assert_eq!(answer("text/event-stream", b"data: \xc3", false, Protocol::Chat), "events  false false");
        assert!(answer("text/event-stream", b"data: \xc3", true, Protocol::Chat).starts_with("raw 7 sse: "));
    }
}
