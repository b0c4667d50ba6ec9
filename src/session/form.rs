//! Reads canonical forms. Strings tell their length, so that looking for a member jumps over all text.

/// One value in its canonical form; see [`super::canonical()`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form<'a>(&'a [u8]);

/// The bytes before a string's characters: its mark and its length.
const STRING_HEAD: usize = 9;

impl<'a> Form<'a> {
    /// The value whose form `bytes` is.
    pub(super) fn new(bytes: &'a [u8]) -> Form<'a> {
        Form(bytes)
    }

    /// Its bytes.
    pub(super) fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The UTF-8 of the string that it is.
    pub(super) fn string(self) -> Option<&'a [u8]> {
        if self.0.first() == Some(&b'"') { self.0.get(STRING_HEAD..) } else { None }
    }

    /// Whether it is an object.
    pub(super) fn is_object(self) -> bool {
        self.0.first() == Some(&b'{')
    }

    /// Its elements; none if it is not an array.
    pub(super) fn elements(self) -> impl Iterator<Item = Form<'a>> {
        let mut rest = self.0.strip_prefix(b"[").unwrap_or_default();
        std::iter::from_fn(move || value(&mut rest))
    }

    /// The members of these names.
    pub(super) fn pick<const N: usize>(self, names: [&str; N]) -> [Option<Form<'a>>; N] {
        let mut found = [None; N];
        let mut rest = self.0.strip_prefix(b"{").unwrap_or_default();
        while let Some(key) = value(&mut rest).and_then(Form::string) {
            let member = value(&mut rest);
            if let Some(slot) = names.iter().position(|name| name.as_bytes() == key) {
                found[slot] = member;
            }
        }
        found
    }

    /// The member of this name.
    pub(super) fn get(self, name: &str) -> Option<Form<'a>> {
        let [found] = self.pick([name]);
        found
    }
}

/// Takes the value that `rest` begins with; `None` at the end of what holds it.
fn value<'a>(rest: &mut &'a [u8]) -> Option<Form<'a>> {
    let bytes = *rest;
    let mut at = 0;
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'"' | b'~' => {
                let length = bytes.get(at + 1..at + STRING_HEAD)?.try_into().ok().map(u64::from_le_bytes)?;
                at += STRING_HEAD + usize::try_from(length).ok()?;
            }
            b'#' => at += memchr::memchr(b';', bytes.get(at..)?)? + 1,
            b'[' | b'{' => {
                depth += 1;
                at += 1;
            }
            b']' | b'}' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    let (first, behind) = bytes.split_at_checked(at)?;
    *rest = behind;
    Some(Form(first))
}

#[cfg(test)]
mod tests {
    use super::super::canonical::{Blocks, Canonical};
    use super::*;
    use crate::json::Json;

    #[test]
    fn a_form_is_read_as_it_was_written() {
        let mut canonical = Canonical::default();
        canonical.value(Json::new(r#"{"b":[1,"x]",{"c":null},[]],"a":{"}":-2.5},"t":true}"#), Blocks::No);
        let form = Form::new(canonical.bytes());
        let [a, b, t, none] = form.pick(["a", "b", "t", "none"]);
        assert_eq!((form.is_object(), none), (true, None));
        assert_eq!(t.unwrap().bytes(), b"t");
        assert_eq!(a.unwrap().get("}").unwrap().bytes(), b"#25e-1-;");
        let elements: Vec<_> = b.unwrap().elements().collect();
        assert_eq!(elements.len(), 4);
        assert_eq!(elements[1].string(), Some(&b"x]"[..]));
        assert_eq!(elements[2].get("c").unwrap().bytes(), b"n");
        assert_eq!(elements[3].elements().count() + elements[3].pick(["a"]).iter().flatten().count(), 0);
    }

    #[test]
    fn a_torn_form_has_no_value() {
        for bytes in [&b""[..], b"[", b"\"\x05\0\0\0\0\0\0\0abc", b"#1e0", b"]"] {
            assert_eq!(value(&mut &bytes[..]), None);
        }
    }
}
