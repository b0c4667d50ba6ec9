//! Header fields as they stood on the wire: names in their case, values as bytes, order kept.

/// The fields of one message head, in wire order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    fields: Vec<(Box<str>, Box<[u8]>)>,
}

impl Headers {
    /// No fields.
    pub fn new() -> Headers {
        Headers::default()
    }

    /// Adds a field behind the others.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        self.fields.push((name.into(), value.into()));
    }

    /// The fields of an HTTP/1 message head (start line, fields, empty line), or `None` if it is not one.
    /// White space around values is not part of them (RFC 9110 §5.5).
    pub fn parse(head: &[u8]) -> Option<Headers> {
        let fields_at = memchr::memchr(b'\n', head)? + 1;
        let mut slots = [httparse::EMPTY_HEADER; 64];
        let mut many;
        let mut parsed = httparse::parse_headers(&head[fields_at..], &mut slots);
        if parsed == Err(httparse::Error::TooManyHeaders) {
            many = vec![httparse::EMPTY_HEADER; memchr::memchr_iter(b'\n', head).count()];
            parsed = httparse::parse_headers(&head[fields_at..], &mut many);
        }
        match parsed {
            Ok(httparse::Status::Complete((_, found))) => {
                Some(found.iter().map(|field| (field.name, field.value)).collect())
            }
            _ => None,
        }
    }

    /// Every field in wire order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The value of the first field of this name, in any case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The value of the first field of this name as text (not UTF-8: `None`).
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all fields of this name, in any case, in wire order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Removes the fields for which `keep` says no.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &[u8]) -> bool) {
        self.fields.retain(|(name, value)| keep(name, value));
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl<'a> FromIterator<(&'a str, &'a [u8])> for Headers {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a [u8])>>(fields: I) -> Headers {
        Headers { fields: fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

/// A header value as recorded text: UTF-8 as it is, other bytes each as the Latin-1 character of that number.
pub fn value_text(value: &[u8]) -> std::borrow::Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) => text.into(),
        Err(_) => value.iter().map(|&byte| char::from(byte)).collect::<String>().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_keeps_case_order_duplicates_and_odd_bytes() {
        let head = b"GET / HTTP/1.1\r\nX-CaSe: a\r\nset-cookie: 1\r\nB:\r\nSet-Cookie:  2 \r\nY: \xe9\r\n\r\n";
        let headers = Headers::parse(head).unwrap();
        let fields: Vec<_> = headers.iter().collect();
        let expected: Vec<(&str, &[u8])> =
            vec![("X-CaSe", b"a"), ("set-cookie", b"1"), ("B", b""), ("Set-Cookie", b"2"), ("Y", b"\xe9")];
        assert_eq!(fields, expected);
        assert_eq!(headers.get_all("SET-COOKIE").count(), 2);
        assert_eq!(value_text(headers.get("y").unwrap()), "é");
    }

    #[test]
    fn any_number_of_fields_is_read() {
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        for number in 0..300 {
            head.extend_from_slice(format!("h{number}: v\r\n").as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        assert_eq!(Headers::parse(&head).unwrap().len(), 300);
    }

    #[test]
    fn half_a_head_is_none() {
        assert_eq!(Headers::parse(b"GET / HTTP/1.1\r\nA: b\r\n"), None);
        assert_eq!(Headers::parse(b""), None);
    }
}
