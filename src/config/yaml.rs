//! A YAML text as a small tree with positions: mappings, lists and plain text, nothing cleverer.
//!
//! Anchors, aliases and tags are refused: a configuration needs none, and without them a small file is a small tree.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

/// Deeper nesting than any key has is a mistake, and must not cost stack or time.
const DEEPEST: usize = 8;

/// Where something stands: line and column in characters, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A value and where it begins.
#[derive(Debug, PartialEq)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

#[derive(Debug, PartialEq)]
pub(super) enum Value {
    /// Absent on purpose: nothing after the colon, `~` or `null`.
    Null,
    Text {
        text: String,
        quoted: bool,
    },
    List(Vec<Node>),
    /// Key and value, in the file's order, duplicates and all.
    Mapping(Vec<(Node, Node)>),
}

impl Node {
    /// As JSON would hold it: plain texts that read as a boolean or a number are one.
    ///
    /// # Errors
    /// A mapping has a key that is no text, or one twice.
    pub(super) fn into_json(self) -> Result<serde_json::Value, BadYaml> {
        use serde_json::Value as Json;
        Ok(match self.value {
            Value::Null => Json::Null,
            Value::Text { text, quoted: true } => text.into(),
            Value::Text { text, quoted: false } => match serde_json::from_str(&text) {
                Ok(plain @ (Json::Bool(_) | Json::Number(_))) => plain,
                _ => text.into(),
            },
            Value::List(nodes) => Json::Array(nodes.into_iter().map(Node::into_json).collect::<Result<_, _>>()?),
            Value::Mapping(pairs) => {
                let mut members = serde_json::Map::new();
                for (key, value) in pairs {
                    let at = key.at;
                    let Value::Text { text: name, .. } = key.value else {
                        return Err(bad(at, "a key must be plain text"));
                    };
                    if members.insert(name.clone(), value.into_json()?).is_some() {
                        return Err(bad(at, format!("{name} is given twice")));
                    }
                }
                members.into()
            }
        })
    }
}

/// Why a text is not a configuration's YAML.
#[derive(Debug, PartialEq)]
pub(super) struct BadYaml {
    pub(super) at: Position,
    pub(super) text: String,
}

/// The one document of a text; `None` if it holds none, or an empty one.
pub(super) fn parse(text: &str) -> Result<Option<Node>, BadYaml> {
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut tree = Tree::default();
    while let Some(event) = parser.next_event() {
        let (event, span) =
            event.map_err(|error| bad(position(error.marker()), format!("not valid YAML: {}", error.info())))?;
        tree.take(event, span)?;
    }
    Ok(tree.root.filter(|root| root.value != Value::Null))
}

/// The tree as far as it is built.
#[derive(Default)]
struct Tree {
    root: Option<Node>,
    documents: usize,
    open: Vec<Open>,
}

/// A mapping or list whose end is yet to come.
struct Open {
    at: Position,
    items: Items,
}

enum Items {
    List(Vec<Node>),
    Mapping { pairs: Vec<(Node, Node)>, key: Option<Node> },
}

impl Tree {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), BadYaml> {
        let at = position(&span.start);
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(bad(at, "a second document begins; the file must hold one"));
                }
            }
            Event::Alias(_) => return Err(bad(at, "aliases (*name) are not supported; write the value out")),
            Event::Scalar(text, style, anchor, tag) => {
                refuse_extras(at, anchor, tag.is_some())?;
                let quoted = style != ScalarStyle::Plain;
                let value = match &*text {
                    "" | "~" | "null" | "Null" | "NULL" if !quoted => Value::Null,
                    text => Value::Text { text: text.to_owned(), quoted },
                };
                self.put(Node { at, value });
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_extras(at, anchor, tag.is_some())?;
                self.open(at, Items::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                refuse_extras(at, anchor, tag.is_some())?;
                self.open(at, Items::Mapping { pairs: Vec::new(), key: None })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn open(&mut self, at: Position, items: Items) -> Result<(), BadYaml> {
        if self.open.len() == DEEPEST {
            return Err(bad(at, "nested too deeply"));
        }
        self.open.push(Open { at, items });
        Ok(())
    }

    fn close(&mut self) {
        if let Some(Open { at, items }) = self.open.pop() {
            let value = match items {
                Items::List(nodes) => Value::List(nodes),
                Items::Mapping { pairs, .. } => Value::Mapping(pairs),
            };
            self.put(Node { at, value });
        }
    }

    fn put(&mut self, node: Node) {
        match self.open.last_mut().map(|open| &mut open.items) {
            None => self.root = Some(node),
            Some(Items::List(nodes)) => nodes.push(node),
            Some(Items::Mapping { pairs, key }) => match key.take() {
                None => *key = Some(node),
                Some(key) => pairs.push((key, node)),
            },
        }
    }
}

fn refuse_extras(at: Position, anchor: usize, tagged: bool) -> Result<(), BadYaml> {
    // The parser numbers anchors from 1; 0 is none.
    if anchor != 0 {
        return Err(bad(at, "anchors (&name) are not supported"));
    }
    if tagged {
        return Err(bad(at, "tags (!name) are not supported; quote the value to make it text"));
    }
    Ok(())
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

fn bad(at: Position, text: impl Into<String>) -> BadYaml {
    BadYaml { at, text: text.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(text: &str) -> String {
        let BadYaml { at, text } = parse(text).unwrap_err();
        format!("{}:{}: {text}", at.line, at.column)
    }

    #[test]
    fn values_stand_where_they_are_written() {
        let root = parse("# top\nproxy:\n  listen: \":1\"\n  é: [a, b]\n").unwrap().unwrap();
        let Value::Mapping(pairs) = root.value else { panic!("not a mapping") };
        let Value::Mapping(pairs) = &pairs[0].1.value else { panic!("not a mapping") };
        assert_eq!(pairs[0].0.at, Position { line: 3, column: 3 });
        assert_eq!(pairs[0].1.at, Position { line: 3, column: 11 });
        assert_eq!(pairs[0].1.value, Value::Text { text: ":1".into(), quoted: true });
        let Value::List(nodes) = &pairs[1].1.value else { panic!("not a list") };
        assert_eq!(nodes[1].at, Position { line: 4, column: 10 });
    }

    #[test]
    fn nothing_is_no_document() {
        for text in ["", "# only a comment\n", "---\n", "null\n", "~", "\u{feff}", "---\n...\n"] {
            assert_eq!(parse(text).unwrap(), None, "{text:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_no_content() {
        assert!(matches!(parse("\u{feff}a: b\n").unwrap().unwrap().value, Value::Mapping(_)));
    }

    #[test]
    fn what_a_configuration_needs_not_is_refused() {
        assert_eq!(refusal("a: &x 1\nb: *x\n"), "1:4: anchors (&name) are not supported");
        assert!(refusal("a: !!str 1\n").ends_with("tags (!name) are not supported; quote the value to make it text"));
        assert!(refusal("a: 1\n---\nb: 2\n").ends_with("a second document begins; the file must hold one"));
        assert!(refusal("a: [1, 2\n").contains("not valid YAML"));
        assert!(refusal("a: b: c\n").contains("not valid YAML"));
    }

    #[test]
    fn deep_nesting_is_refused_before_it_costs_anything() {
        for (open, count) in [("[", 500_000), ("- ", 300_000), ("{a: ", 200_000), ("? ", 300_000), ("[{", 200_000)] {
            assert!(parse(&open.repeat(count)).is_err(), "{open}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(.|\n)*") {
            let _ = parse(&text);
        }

        #[test]
        fn any_yaml_like_text_is_read_or_refused(
            pieces in proptest::collection::vec(
                prop::sample::select(vec![
                    "a", ":", ": ", " ", "\n", "  ", "- ", "[", "]", "{", "}", ",", "\"", "'", "#", "&x ", "*x", "!t ",
                    "|", ">", "\t", "---\n", "...\n", "? ", "%YAML 1.2\n", "<<", "\\", "\r", "é", "\u{feff}", "~",
                    "|2-\n", ">+\n", "%TAG ! x\n", "!!", "!<", "\0", "@", "`",
                ]),
                0..60,
            ),
        ) {
            let _ = parse(&pieces.concat());
        }
    }
}
