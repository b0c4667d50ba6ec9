//! What routes a message of the Responses protocol: its type and the ids at its top level.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The members of a message that say where it belongs. What has another type than text counts as absent.
#[derive(Debug, Default)]
pub(super) struct Envelope<'a> {
    pub(super) kind: Option<String>,
    pub(super) id: Option<String>,
    pub(super) stream_id: Option<String>,
    pub(super) response_id: Option<String>,
    pub(super) previous_response_id: Option<String>,
    /// The verbatim text of the `response` member, if it is an object.
    pub(super) response: Option<&'a str>,
    /// Where the `type` member stands in the text, with the comma that its removal makes needless.
    pub(super) kind_span: Option<(usize, usize)>,
}

impl<'a> Envelope<'a> {
    /// Reads the envelope of a JSON object. Of text that breaks off, and of anything else, what could be read.
    pub(super) fn read(text: &'a str) -> Envelope<'a> {
        let mut envelope = Envelope::default();
        let mut json = serde_json::Deserializer::from_str(text);
        // An error means that the text ended early or is no object; what was read until then stands.
        let _ = Members { text, envelope: &mut envelope }.deserialize(&mut json);
        envelope
    }

    /// The envelope of the `response` member; empty if there is none.
    pub(super) fn inner(&self) -> Envelope<'a> {
        self.response.map(Envelope::read).unwrap_or_default()
    }

    /// `text`, of which this is the envelope, without its `type` member and otherwise verbatim.
    pub(super) fn without_kind(&self, text: &str) -> String {
        match self.kind_span {
            Some((start, end)) => [text.get(..start), text.get(end..)].into_iter().flatten().collect(),
            None => text.to_owned(),
        }
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Member {
    Type,
    Id,
    StreamId,
    ResponseId,
    PreviousResponseId,
    Response,
    #[serde(other)]
    Other,
}

/// Reads the members of an object of `text` into `envelope`, so that they outlive an error behind them.
struct Members<'e, 'a> {
    text: &'a str,
    envelope: &'e mut Envelope<'a>,
}

impl<'a> DeserializeSeed<'a> for Members<'_, 'a> {
    type Value = ();
    fn deserialize<D: Deserializer<'a>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Members<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut members: M) -> Result<(), M::Error> {
        let Members { text, envelope } = self;
        // The end of the value before, in the text; `None` before the first member.
        let mut before = None;
        while let Some(member) = members.next_key::<Member>()? {
            let value: &'a RawValue = members.next_value()?;
            let value = value.get();
            let start = value.as_ptr() as usize - text.as_ptr() as usize;
            let end = start + value.len();
            match member {
                Member::Type => {
                    envelope.kind = word(value);
                    envelope.kind_span = Some(member_span(text, before, end));
                }
                Member::Id => envelope.id = word(value),
                Member::StreamId => envelope.stream_id = word(value),
                Member::ResponseId => envelope.response_id = word(value),
                Member::PreviousResponseId => envelope.previous_response_id = word(value),
                Member::Response => envelope.response = value.starts_with('{').then_some(value),
                Member::Other => {}
            }
            before = Some(end);
        }
        Ok(())
    }
}

/// The span of a member whose value ends at `end`, with one of the commas beside it.
fn member_span(text: &str, before: Option<usize>, end: usize) -> (usize, usize) {
    if let Some(before) = before {
        return (before, end);
    }
    let start = text.find('{').map_or(0, |brace| brace + 1);
    let rest = text[end..].trim_ascii_start();
    let end = if rest.starts_with(',') { text.len() - rest.len() + 1 } else { end };
    (start, end)
}

/// The value of a JSON string; a number's digits, as an id may be one. Anything else is no word.
fn word(value: &str) -> Option<String> {
    struct Word;
    impl<'de> Visitor<'de> for Word {
        type Value = Option<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }
        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(text.to_owned()))
        }
        fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
            Ok(Some(number.to_string()))
        }
        fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
            Ok(Some(number.to_string()))
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(None)
        }
        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(None)
        }
    }
    serde_json::Deserializer::from_str(value).deserialize_any(Word).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_a_message_are_read() {
        let text = r#"{"type":"response.created","stream_id":7,"response":{"id":"r1","previous_response_id":null}}"#;
        let envelope = Envelope::read(text);
        assert_eq!(envelope.kind.as_deref(), Some("response.created"));
        assert_eq!(envelope.stream_id.as_deref(), Some("7"));
        assert_eq!(envelope.inner().id.as_deref(), Some("r1"));
        assert_eq!(envelope.inner().previous_response_id, None);
    }

    #[test]
    fn wrong_types_and_repeats_do_no_harm() {
        let envelope = Envelope::read(r#"{"type":"a","type":"b","stream_id":{"x":[1]},"response":[],"id":1.5}"#);
        assert_eq!(envelope.kind.as_deref(), Some("b"));
        assert_eq!((envelope.stream_id, envelope.response, envelope.id), (None, None, None));
        assert_eq!(Envelope::read("[1]").kind, None);
        assert_eq!(Envelope::read("").kind, None);
    }

    #[test]
    fn text_that_breaks_off_is_read_as_far_as_it_goes() {
        let envelope = Envelope::read(r#"{"type":"response.create","stream_id":"s","input":"aaa"#);
        assert_eq!(envelope.kind.as_deref(), Some("response.create"));
        assert_eq!(envelope.stream_id.as_deref(), Some("s"));
    }

    #[test]
    fn the_type_is_taken_out_and_the_rest_stays_verbatim() {
        let without = |text| Envelope::read(text).without_kind(text);
        assert_eq!(without(r#"{"type":"t"}"#), "{}");
        assert_eq!(without(r#"{"type":"t" , "a" : 1.0}"#), r#"{ "a" : 1.0}"#);
        assert_eq!(without(r#" { "a":"é" , "type" : "t", "b":2 }"#), r#" { "a":"é", "b":2 }"#);
        assert_eq!(without(r#"{"a":1,"\u0074ype":"t"}"#), r#"{"a":1}"#);
        assert_eq!(without(r#"{"a":1}"#), r#"{"a":1}"#);
    }
}
