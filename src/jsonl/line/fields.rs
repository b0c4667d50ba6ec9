//! Header fields on a line: an object of texts or of lists of texts, or a list of pairs.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::headers::Headers;

/// The `headers` member: in the order of its members.
#[derive(Debug, Default)]
pub(crate) struct Fields(pub(crate) Headers);

/// The `headers_list` member: the exact sequence of fields.
#[derive(Debug, Default)]
pub(crate) struct FieldsList(pub(crate) Headers);

#[derive(serde::Deserialize)]
struct Text<'l>(#[serde(borrow)] Cow<'l, str>);

impl<'l> Deserialize<'l> for Fields {
    fn deserialize<D: Deserializer<'l>>(input: D) -> Result<Fields, D::Error> {
        struct Object;
        impl<'l> Visitor<'l> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of header fields")
            }

            fn visit_map<A: MapAccess<'l>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut headers = Headers::new();
                while let Some(Text(name)) = map.next_key()? {
                    map.next_value_seed(Values { name: &name, headers: &mut headers })?;
                }
                Ok(Fields(headers))
            }

            fn visit_unit<E>(self) -> Result<Fields, E> {
                Ok(Fields::default())
            }
        }
        input.deserialize_any(Object)
    }
}

/// One member's value: a text, or the texts of a field that stood several times.
struct Values<'h> {
    name: &'h str,
    headers: &'h mut Headers,
}

impl<'l> DeserializeSeed<'l> for Values<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'l>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl<'l> Visitor<'l> for Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a header value or a list of them")
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.headers.push(self.name, value.as_bytes());
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'l>>(self, mut values: A) -> Result<(), A::Error> {
        while let Some(Text(value)) = values.next_element()? {
            self.headers.push(self.name, value.as_bytes());
        }
        Ok(())
    }
}

impl<'l> Deserialize<'l> for FieldsList {
    fn deserialize<D: Deserializer<'l>>(input: D) -> Result<FieldsList, D::Error> {
        struct List;
        impl<'l> Visitor<'l> for List {
            type Value = FieldsList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of [name, value] pairs")
            }

            fn visit_seq<A: SeqAccess<'l>>(self, mut pairs: A) -> Result<FieldsList, A::Error> {
                let mut headers = Headers::new();
                while let Some((Text(name), Text(value))) = pairs.next_element()? {
                    headers.push(&name, value.as_bytes());
                }
                Ok(FieldsList(headers))
            }
        }
        input.deserialize_seq(List)
    }
}
