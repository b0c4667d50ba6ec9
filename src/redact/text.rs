//! JSON text with the values at some places replaced, and every other byte kept.

use std::borrow::Cow;
use std::ops::Range;

use super::path::{JsonPath, Step};
use super::{is_placeholder, placeholder};
use crate::json::Json;
use crate::wire::json::write_string;

/// Nothing that deep is looked into: what a path may reach below is replaced whole.
const DEEPEST: usize = 96;

/// A path, and how many of its steps have been taken.
type Place<'p> = (&'p JsonPath, usize);

/// The text with every value that a path leads to replaced by a placeholder.
pub(super) fn redacted<'t>(paths: &[JsonPath], text: &'t str, secret: &str) -> Cow<'t, str> {
    let mut found = Vec::new();
    let places: Vec<Place<'_>> = paths.iter().map(|path| (path, 0)).collect();
    walk(Json::new(text), &places, DEEPEST, &mut |value| found.push(value));
    let mut out = String::new();
    let mut copied = 0;
    for value in found {
        let Some(range) = range_of(value.text(), text) else { continue };
        let string = value.string();
        let said = string.as_deref().unwrap_or(value.text());
        if is_placeholder(said.as_bytes()) {
            continue;
        }
        out.push_str(&text[copied..range.start]);
        write_string(&mut out, &placeholder(said.as_bytes(), secret));
        copied = range.end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// Tells of every value that a path leads to, in the text's order; of nested ones the outer.
fn walk<'t>(value: Json<'t>, places: &[Place<'_>], deeper: usize, found: &mut impl FnMut(Json<'t>)) {
    if !value.is_object() && !value.is_array() {
        return;
    }
    let mut go = |child: Json<'t>, name: Option<&str>, rank: usize| {
        let mut next: Vec<Place<'_>> = Vec::new();
        for &(path, at) in places {
            let is_step = match &path.steps[at] {
                Step::Any => true,
                Step::Member(member) => name == Some(member),
                Step::Element(element) => name.is_none() && *element == rank,
                Step::Below(member) => {
                    next.push((path, at));
                    name == Some(member)
                }
            };
            if is_step && at + 1 == path.steps.len() {
                return found(child);
            }
            if is_step {
                next.push((path, at + 1));
            }
        }
        // Two ways to one place are one place.
        next.dedup();
        match (next.is_empty(), deeper) {
            (true, _) => {}
            (false, 0) => found(child),
            (false, _) => walk(child, &next, deeper - 1, found),
        }
    };
    if value.is_object() {
        value.members().for_each(|(name, child)| go(child, Some(&name), 0));
    } else {
        value.elements().enumerate().for_each(|(rank, child)| go(child, None, rank));
    }
}

/// Where a part of a text stands in it.
fn range_of(part: &str, text: &str) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    text.get(start..end).is_some_and(|it| std::ptr::eq(it, part)).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn paths(texts: &[&str]) -> Vec<JsonPath> {
        texts.iter().map(|it| it.parse().unwrap()).collect()
    }

    /// With `#` in place of each placeholder.
    fn shown(texts: &[&str], json: &str) -> String {
        let mut shown = redacted(&paths(texts), json, "s").into_owned();
        while let Some(at) = shown.find("\"[redacted:") {
            shown.replace_range(at..at + "\"[redacted:0123456789ab]\"".len(), "#");
        }
        shown
    }

    #[test]
    fn what_a_path_names_is_replaced_and_all_other_bytes_stay() {
        let json = "{ \"m\" : [ {\"c\":\"x\\\"\", \"n\":1.50}, {\"c\":{\"c\":1}} ],\n\"u\":null, \"m2\":{\"c\":2} }";
        for (texts, expected) in [
            (&["$.m[*].c"][..], "{ \"m\" : [ {\"c\":#, \"n\":1.50}, {\"c\":#} ],\n\"u\":null, \"m2\":{\"c\":2} }"),
            (
                &["m[1].c.c", "$.u"],
                "{ \"m\" : [ {\"c\":\"x\\\"\", \"n\":1.50}, {\"c\":{\"c\":#}} ],\n\"u\":#, \"m2\":{\"c\":2} }",
            ),
            (&["$..c"], "{ \"m\" : [ {\"c\":#, \"n\":1.50}, {\"c\":#} ],\n\"u\":null, \"m2\":{\"c\":#} }"),
            (
                &["$.*.c"],
                "{ \"m\" : [ {\"c\":\"x\\\"\", \"n\":1.50}, {\"c\":{\"c\":1}} ],\n\"u\":null, \"m2\":{\"c\":#} }",
            ),
            (&["$.m", "$.m[0].c"], "{ \"m\" : #,\n\"u\":null, \"m2\":{\"c\":2} }"),
            (&["$.none", "$.m.c", "$.m[7]"], json),
        ] {
            assert_eq!(shown(texts, json), expected, "{texts:?}");
        }
        assert_eq!(shown(&["$[1]"], "[1,2,3]"), "[1,#,3]");
        assert_eq!(shown(&["a"], r#"{"a":1,"\u0061":2,"a":3}"#), r##"{"a":#,"\u0061":#,"a":#}"##);
    }

    #[test]
    fn equal_values_have_equal_placeholders_and_stay_what_they_are() {
        let all = paths(&["$.*"]);
        let once = redacted(&all, r#"{"a":"x","b":"\u0078","c":"y","d":["x"]}"#, "s").into_owned();
        let value: Value = serde_json::from_str(&once).unwrap();
        assert_eq!(value["a"], value["b"]);
        assert_ne!(value["a"], value["c"]);
        assert_eq!(redacted(&all, &once, "other"), once);
    }

    #[test]
    fn what_is_too_deep_to_be_looked_at_is_replaced_where_it_might_hold_something() {
        let deep = format!("{}{{\"secret\":1}}{}", "[".repeat(50_000), "]".repeat(50_000));
        let text = redacted(&paths(&["$..secret"]), &deep, "s").into_owned();
        assert!(!text.contains("secret") && text.len() < 400, "{}", text.len());
        assert_eq!(redacted(&paths(&["$.secret"]), &deep, "s"), deep);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            "[a-c\\\\\"é]{0,4}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[abc]", inner, 0..4).prop_map(Value::from_iter),
            ]
        })
    }

    /// The same, on a tree.
    fn replaced(value: &mut Value, steps: &[Step]) {
        let Some((step, rest)) = steps.split_first() else {
            let said = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            *value = placeholder(said.as_bytes(), "s").into();
            return;
        };
        let is_named = |name: &str| matches!(step, Step::Member(it) | Step::Below(it) if it == name);
        match value {
            Value::Object(members) => members.iter_mut().for_each(|(name, child)| {
                if *step == Step::Any || is_named(name) {
                    replaced(child, rest);
                }
                if matches!(step, Step::Below(_)) {
                    replaced(child, steps);
                }
            }),
            Value::Array(items) => items.iter_mut().enumerate().for_each(|(rank, child)| {
                if *step == Step::Any || *step == Step::Element(rank) {
                    replaced(child, rest);
                }
                if matches!(step, Step::Below(_)) {
                    replaced(child, steps);
                }
            }),
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn on_the_text_and_on_the_tree_the_same_is_replaced(value in json(), path in "\\$((\\.[abc*])|(\\.\\.[abc])|(\\[[01*]\\])){1,4}") {
            let path: JsonPath = path.parse().unwrap();
            let text = value.to_string();
            let found: Value = serde_json::from_str(&redacted(std::slice::from_ref(&path), &text, "s")).unwrap();
            let mut expected = value;
            replaced(&mut expected, &path.steps);
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn text_that_is_no_json_never_panics(text in "([\\[\\]{}\",:\\\\ab 0é]|\\PC){0,40}") {
            let _ = redacted(&paths(&["$..a", "$.*[0]"]), &text, "s");
        }
    }
}
