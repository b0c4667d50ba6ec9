//! Places in JSON: a small JSONPath, of members, elements, wildcards and members at any depth.

use std::fmt;
use std::str::FromStr;

/// The most steps of a path.
const MOST_STEPS: usize = 32;

/// A path like `$.messages[*].content`, `user.email`, `$['odd name'][0]` or `$..email`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    pub(super) steps: Vec<Step>,
    text: String,
}

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The member of this name.
    Member(String),
    /// The element of this rank.
    Element(usize),
    /// Every member or element.
    Any,
    /// The member of this name here, or at any depth below.
    Below(String),
}

/// A text that is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no path like $.messages[*].content or $..email: {0}")]
pub struct BadPath(&'static str);

impl FromStr for JsonPath {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<JsonPath, BadPath> {
        let text = text.trim();
        let mut steps = Vec::new();
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        // The first name needs no dot where no `$` stands before it.
        let mut is_bare = rest.len() == text.len();
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                let (step, behind) = bracket(inner)?;
                steps.push(step);
                rest = behind;
            } else if let Some(behind) = rest.strip_prefix("..") {
                let (name, behind) = name(behind);
                match name {
                    "" | "*" => return Err(BadPath("a name must follow two dots")),
                    name => steps.push(Step::Below(name.to_owned())),
                }
                rest = behind;
            } else {
                let behind = match rest.strip_prefix('.') {
                    Some(behind) => behind,
                    None if is_bare => rest,
                    None => return Err(BadPath("a dot or a bracket must stand between steps")),
                };
                let (name, behind) = name(behind);
                match name {
                    "" => return Err(BadPath("a name is missing")),
                    "*" => steps.push(Step::Any),
                    name => steps.push(Step::Member(name.to_owned())),
                }
                rest = behind;
            }
            is_bare = false;
        }
        match steps.len() {
            0 => Err(BadPath("it names nothing")),
            1..=MOST_STEPS => Ok(JsonPath { steps, text: text.to_owned() }),
            _ => Err(BadPath("it has too many steps")),
        }
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A name up to the next dot or bracket, and what follows.
fn name(text: &str) -> (&str, &str) {
    text.split_at(text.find(['.', '[']).unwrap_or(text.len()))
}

/// What stands in brackets, and what follows them.
fn bracket(inner: &str) -> Result<(Step, &str), BadPath> {
    const OPEN: BadPath = BadPath("a bracket is not closed");
    for quote in ['\'', '"'] {
        if let Some(quoted) = inner.strip_prefix(quote) {
            let (name, behind) = quoted.split_once(quote).ok_or(OPEN)?;
            return Ok((Step::Member(name.to_owned()), behind.strip_prefix(']').ok_or(OPEN)?));
        }
    }
    let (inside, behind) = inner.split_once(']').ok_or(OPEN)?;
    let step = match inside.trim() {
        "*" => Step::Any,
        rank => Step::Element(rank.parse().map_err(|_| BadPath("in brackets stand *, a number, or a quoted name"))?),
    };
    Ok((step, behind))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_read_step_by_step() {
        let steps = |text: &str| text.parse::<JsonPath>().unwrap().steps;
        let member = |name: &str| Step::Member(name.into());
        assert_eq!(steps("$.a.b"), [member("a"), member("b")]);
        assert_eq!(steps(" a[*].b "), [member("a"), Step::Any, member("b")]);
        assert_eq!(steps("$['a.b'][\"c]\"][3].*"), [member("a.b"), member("c]"), Step::Element(3), Step::Any]);
        assert_eq!(steps("$..email.x"), [Step::Below("email".into()), member("x")]);
        assert_eq!(steps("..email"), [Step::Below("email".into())]);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in
            ["", "$", "$.", "$.a.", "$a", "a..", "$..*", "$[x]", "$[1", "$['a", "$['a'", "$[a]b", "a[0]b", "$[-1]"]
        {
            assert!(text.parse::<JsonPath>().is_err(), "{text}");
        }
        assert!("a.".repeat(40).parse::<JsonPath>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "[$.*\\[\\]'\"a0é]{0,20}") {
            let _ = text.parse::<JsonPath>();
        }
    }
}
