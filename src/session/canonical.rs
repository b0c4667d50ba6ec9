//! The canonical form of a JSON value: one spelling for everything that means the same.
//!
//! It is a byte string, made for hashing only. Every value tells its own length or end, so that the forms of
//! several values one behind the other cannot be read in two ways:
//!
//! | Value | Form |
//! |---|---|
//! | `null`, `true`, `false` | `n`, `t`, `f` |
//! | number | `#`, sign, digits without outer zeros, `e`, decimal exponent, `;` (no double is ever made of it) |
//! | string | `"`, length, the unescaped UTF-8 |
//! | array | `[`, the elements, `]` |
//! | object | `{`, the members in the order of their keys' bytes, the last of duplicates, `}` |
//! | anything deeper than [`MAX_DEPTH`] | `~`, length, its text without white space between tokens |

use std::ops::Range;

use super::form::Form;
use super::number;
use crate::json::{Cursor, Json};

/// Nesting up to which members are sorted. Deeper values are taken as they are spelt, which bounds the work for
/// hostile bodies; no known client nests nearly as deep.
const MAX_DEPTH: usize = 64;

/// Which liberties a turn's content blocks are given. Blocks are the turn itself, the elements of its `content`
/// and of theirs, never what stands in a tool's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocks {
    /// The value is no turn: every member counts.
    No,
    /// `cache_control` members are left out: clients move these marks from turn to turn as a conversation grows.
    Yes,
    /// As `Yes`, and a `content` string is the same as an array of one text block, as the Messages API defines
    /// it: clients rewrite one into the other to hang a `cache_control` on it.
    WithShorthand,
}

/// Writes canonical forms one behind the other into a buffer that is used again.
#[derive(Debug)]
pub(super) struct Canonical {
    bytes: Vec<u8>,
    spare: Vec<u8>,
    frames: Vec<Frame>,
    /// The members of all open objects, the innermost last.
    members: Vec<Member>,
}

#[derive(Debug)]
struct Frame {
    blocks: Blocks,
    kind: FrameKind,
}

#[derive(Debug)]
enum FrameKind {
    Array,
    Object {
        /// Where its members begin in `members`.
        first: usize,
        /// What the value of the key just read is; `None` while a key is due.
        value: Option<Blocks>,
    },
}

/// Where a member stands in the buffer.
#[derive(Clone, Debug)]
struct Member {
    key: Range<usize>,
    whole: Range<usize>,
}

/// Room for what a short turn needs, so that it does not grow in many small steps.
impl Default for Canonical {
    fn default() -> Canonical {
        Canonical {
            bytes: Vec::with_capacity(512),
            spare: Vec::new(),
            frames: Vec::with_capacity(8),
            members: Vec::with_capacity(16),
        }
    }
}

impl Canonical {
    /// What has been written since [`Canonical::clear`].
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Starts anew.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Writes the start of an object whose members follow, keys in order, by [`Canonical::string`] and
    /// [`Canonical::value`].
    pub(super) fn open_object(&mut self) {
        self.bytes.push(b'{');
    }

    /// Writes the end of an object.
    pub(super) fn close_object(&mut self) {
        self.bytes.push(b'}');
    }

    /// Writes the start of an array whose elements follow.
    pub(super) fn open_array(&mut self) {
        self.bytes.push(b'[');
    }

    /// Writes the end of an array.
    pub(super) fn close_array(&mut self) {
        self.bytes.push(b']');
    }

    /// Writes the string value at the cursor as the array of one text block that it is short for.
    pub(super) fn text_block(&mut self, cursor: &mut Cursor<'_>) {
        self.bytes.extend_from_slice(b"[{");
        self.string("text");
        self.string_at(cursor);
        self.string("type");
        self.string("text");
        self.bytes.extend_from_slice(b"}]");
    }

    /// Writes a string.
    pub(super) fn string(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        self.bytes.push(b'"');
        self.bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(text);
    }

    /// Writes what is in its form already.
    pub(super) fn form(&mut self, form: Form<'_>) {
        self.bytes.extend_from_slice(form.bytes());
    }

    /// Writes a value in one pass over its text.
    pub(super) fn value(&mut self, json: Json<'_>, blocks: Blocks) {
        self.next(&mut Cursor::new(json), blocks);
    }

    /// Writes the value at the cursor, which goes behind it. Gives its text; `None` where no value begins.
    pub(super) fn next<'a>(&mut self, cursor: &mut Cursor<'a>, blocks: Blocks) -> Option<Json<'a>> {
        cursor.skip_separators();
        if matches!(cursor.peek(), None | Some(b'}' | b']')) {
            return None;
        }
        let start = cursor.position();
        loop {
            cursor.skip_separators();
            let Some(byte) = cursor.peek() else { break };
            let (blocks, key_due) = match self.frames.last() {
                None => (blocks, false),
                Some(Frame { blocks, kind: FrameKind::Array }) => (*blocks, false),
                Some(Frame { kind: FrameKind::Object { value: Some(blocks), .. }, .. }) => (*blocks, false),
                Some(Frame { blocks, .. }) => (*blocks, true),
            };
            match byte {
                b'}' | b']' => {
                    cursor.advance();
                    self.close();
                }
                _ if key_due => self.key(cursor, blocks),
                b'{' | b'[' if self.frames.len() < MAX_DEPTH => {
                    cursor.advance();
                    self.open(byte, blocks);
                }
                b'"' => {
                    self.string_at(cursor);
                    self.value_ended();
                }
                _ => match cursor.value() {
                    Some(value) => {
                        self.leaf(value);
                        self.value_ended();
                    }
                    None => break,
                },
            }
            if self.frames.is_empty() {
                break;
            }
        }
        // Only text that is no JSON leaves frames open.
        while !self.frames.is_empty() {
            self.close();
        }
        Some(cursor.since(start))
    }

    fn open(&mut self, byte: u8, blocks: Blocks) {
        self.bytes.push(byte);
        let kind = match byte {
            b'{' => FrameKind::Object { first: self.members.len(), value: None },
            _ => FrameKind::Array,
        };
        self.frames.push(Frame { blocks, kind });
    }

    fn close(&mut self) {
        match self.frames.pop() {
            Some(Frame { kind: FrameKind::Object { first, .. }, .. }) => {
                self.sort_members(first);
                self.members.truncate(first);
                self.bytes.push(b'}');
            }
            Some(_) => self.bytes.push(b']'),
            None => {}
        }
        self.value_ended();
    }

    /// Writes the key here, and the value too where a turn's liberties touch it.
    fn key(&mut self, cursor: &mut Cursor<'_>, blocks: Blocks) {
        if cursor.peek() != Some(b'"') {
            // No JSON: go on behind what stands here.
            if cursor.value().is_none() {
                cursor.advance();
            }
            return;
        }
        let start = self.bytes.len();
        self.string_at(cursor);
        let key = (start + KEY_HEAD).min(self.bytes.len())..self.bytes.len();
        let name = &self.bytes[key.clone()];
        let is_content = blocks != Blocks::No && name == b"content";
        if blocks != Blocks::No && name == b"cache_control" {
            cursor.skip_separators();
            cursor.value();
            self.bytes.truncate(start);
            return;
        }
        self.members.push(Member { key, whole: start..start });
        cursor.skip_separators();
        if is_content && blocks == Blocks::WithShorthand && cursor.peek() == Some(b'"') {
            self.text_block(cursor);
            self.member_ended();
        } else if let Some(Frame { kind: FrameKind::Object { value, .. }, .. }) = self.frames.last_mut() {
            *value = Some(if is_content { blocks } else { Blocks::No });
        }
    }

    fn value_ended(&mut self) {
        if let Some(Frame { kind: FrameKind::Object { value, .. }, .. }) = self.frames.last_mut()
            && value.take().is_some()
        {
            self.member_ended();
        }
    }

    fn member_ended(&mut self) {
        if let Some(member) = self.members.last_mut() {
            member.whole.end = self.bytes.len();
        }
    }

    /// Brings the members from `first` on, which end the buffer, into the order of their keys.
    fn sort_members(&mut self, first: usize) {
        let bytes = &self.bytes;
        let Some(members) = self.members.get_mut(first..) else { return };
        let key = |member: &Member| bytes.get(member.key.clone()).unwrap_or_default();
        if members.windows(2).all(|pair| key(&pair[0]) < key(&pair[1])) {
            return;
        }
        let Some(body) = members.first().map(|member| member.whole.start) else { return };
        // Stable: of duplicates the last one in the text stays last.
        members.sort_by(|a, b| key(a).cmp(key(b)));
        self.spare.clear();
        for (index, member) in members.iter().enumerate() {
            if members.get(index + 1).is_none_or(|next| key(next) != key(member)) {
                self.spare.extend_from_slice(bytes.get(member.whole.clone()).unwrap_or_default());
            }
        }
        self.bytes.truncate(body);
        self.bytes.extend_from_slice(&self.spare);
    }

    /// Writes the string at the cursor.
    fn string_at(&mut self, cursor: &mut Cursor<'_>) {
        self.bytes.push(b'"');
        self.with_length(|bytes| cursor.unescape_string(bytes));
    }

    /// Writes a number or literal, or a container as it is spelt.
    fn leaf(&mut self, json: Json<'_>) {
        let text = json.text();
        match text.as_bytes() {
            b"null" => self.bytes.push(b'n'),
            b"true" => self.bytes.push(b't'),
            b"false" => self.bytes.push(b'f'),
            [b'-' | b'0'..=b'9', ..] if number::write(text, &mut self.bytes) => {}
            _ => {
                self.bytes.push(b'~');
                self.with_length(|bytes| compact(text, bytes));
            }
        }
    }

    /// Writes what `write` writes behind its length.
    fn with_length(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 8]);
        write(&mut self.bytes);
        let length = (self.bytes.len() - at - 8) as u64;
        self.bytes[at..at + 8].copy_from_slice(&length.to_le_bytes());
    }
}

/// The bytes before a key's characters: its mark and its length.
const KEY_HEAD: usize = 9;

/// Appends JSON text without the white space between its tokens.
fn compact(text: &str, out: &mut Vec<u8>) {
    let mut in_string = false;
    let mut is_escaped = false;
    for byte in text.bytes() {
        if in_string {
            in_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
        } else {
            in_string = byte == b'"';
            if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                continue;
            }
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical_as(text: &str, blocks: Blocks) -> Vec<u8> {
        let mut canonical = Canonical::default();
        canonical.value(Json::new(text), blocks);
        assert!(canonical.frames.is_empty() && canonical.members.is_empty());
        canonical.bytes
    }

    fn canonical(text: &str) -> Vec<u8> {
        canonical_as(text, Blocks::No)
    }

    #[test]
    fn what_means_the_same_has_one_form() {
        for (a, b) in [
            ("1", "1.0"),
            ("1", "1e0"),
            ("100", "1E+2"),
            ("0.05", "5e-2"),
            ("0", "-0.0e9"),
            (r#"{"a":1,"b":[true,null]}"#, "{ \"b\" : [ true , null ],\n\"a\":1.0 }"),
            (r#"{"a":1}"#, r#"{"a":2,"a":1}"#),
            (r#"{"b":0,"a":1,"c":2}"#, r#"{"a":9,"c":2,"b":0,"a":1}"#),
            (r#""é/A""#, r#""\u00e9\/\u0041""#),
            (r#"{"z":{"b":1,"a":2},"a":[]}"#, r#"{"a":[],"z":{"a":2,"b":1}}"#),
        ] {
            assert_eq!(canonical(a), canonical(b), "{a} and {b}");
        }
    }

    #[test]
    fn what_differs_has_different_forms() {
        let texts = [
            "1",
            "-1",
            "10",
            "0.1",
            "9007199254740993",
            "9007199254740992",
            "1e400",
            "1e401",
            "null",
            "true",
            "false",
            "\"1\"",
            "\"\"",
            "[]",
            "{}",
            "[[]]",
            "[1,0]",
            "[10]",
            "[[1],0]",
            "[1,[0]]",
            r#"{"a":{}}"#,
            r#"{"a":"b"}"#,
            r#"["a","b"]"#,
            r#""\ud83d""#,
            r#""\ud83e""#,
            "\"\u{fffd}\"",
            r#"{"cache_control":1}"#,
            r#"[{"type":"text","text":"x"}]"#,
            "\"x\"",
            "1e99999999999999999999",
            "2e99999999999999999999",
        ];
        for (index, a) in texts.iter().enumerate() {
            for b in &texts[..index] {
                assert_ne!(canonical(a), canonical(b), "{a} and {b}");
            }
        }
    }

    #[test]
    fn cache_marks_are_left_out_of_blocks_and_of_nothing_else() {
        let same = |a: &str, b: &str| canonical_as(a, Blocks::Yes) == canonical_as(b, Blocks::Yes);
        assert!(same(
            r#"{"role":"user","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}]}"#,
            r#"{"role":"user","content":[{"type":"text","text":"x"}]}"#
        ));
        assert!(same(
            r#"{"content":[{"type":"tool_result","content":[{"cache_control":1,"text":"x"}]}]}"#,
            r#"{"content":[{"type":"tool_result","content":[{"text":"x"}]}]}"#
        ));
        assert!(!same(
            r#"{"content":[{"type":"tool_use","input":{"cache_control":1}}]}"#,
            r#"{"content":[{"type":"tool_use","input":{}}]}"#
        ));
        let (string, array) = (r#"{"content":"x"}"#, r#"{"content":[{"text":"x","type":"text"}]}"#);
        assert!(!same(string, array));
        assert_eq!(canonical_as(string, Blocks::WithShorthand), canonical_as(array, Blocks::WithShorthand));
    }

    #[test]
    fn hostile_depth_costs_no_stack_and_little_time() {
        let deep = format!("{}1{}", r#"{"b":0, "a":"#.repeat(100_000), "}".repeat(100_000));
        assert_eq!(canonical(&deep), canonical(&deep.replace(' ', "")));
        assert_ne!(canonical(&deep), canonical(&deep.replace('1', "2")));
        canonical(&"[".repeat(1_000_000));
    }

    /// Any JSON value of moderate size.
    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            // Never whole: serde_json tells 1.0 from 1.
            any::<i32>().prop_map(|it| Value::from(f64::from(it) + 0.5)),
            "\\PC{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::hash_map("[a-c\"\\\\]{0,2}", inner, 0..5)
                    .prop_map(|it| Value::from(it.into_iter().collect::<serde_json::Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn spelling_does_not_matter(value in any_json()) {
            let plain = serde_json::to_string(&value).unwrap();
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(canonical(&plain), canonical(&pretty));
        }

        #[test]
        fn different_values_differ(a in any_json(), b in any_json()) {
            prop_assert_eq!(a == b, canonical(&a.to_string()) == canonical(&b.to_string()));
        }

        #[test]
        fn text_that_is_no_json_never_panics(text in "([\\[\\]{}\",:\\\\ 0-9e.-]|content|\\PC){0,60}") {
            for blocks in [Blocks::No, Blocks::Yes, Blocks::WithShorthand] {
                canonical_as(&text, blocks);
            }
        }
    }
}
