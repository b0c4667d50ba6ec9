//! The members of a configuration object, each read once, with its own name in every complaint.

use serde_json::{Map, Value};

use super::Flaw;

/// An object's members, and where the object stands.
pub(super) struct Members<'c> {
    members: &'c Map<String, Value>,
    path: String,
}

impl<'c> Members<'c> {
    /// Those of the object that stands at `path`.
    pub(super) fn of(members: &'c Map<String, Value>, path: impl Into<String>) -> Members<'c> {
        Members { members, path: path.into() }
    }

    /// Where a member stands.
    pub(super) fn field(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// A complaint about a member.
    pub(super) fn flaw(&self, name: &str, reason: impl Into<String>) -> Flaw {
        Flaw::new(self.field(name), reason)
    }

    /// Refuses members that nobody will read: a misspelled one must not silently do nothing.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Flaw> {
        match self.members.keys().find(|name| !known.contains(&name.as_str())) {
            Some(unknown) => Err(self.flaw(unknown, format!("unknown; known are {}", known.join(", ")))),
            None => Ok(()),
        }
    }

    /// The member, unless it is absent or null.
    pub(super) fn get(&self, name: &str) -> Option<&'c Value> {
        self.members.get(name).filter(|it| !it.is_null())
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'c str>, Flaw> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.flaw(name, "must be a text"))
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, Flaw> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.flaw(name, "must be a number"))
    }

    /// A number from 0 to 1.
    pub(super) fn share(&self, name: &str) -> Result<Option<f64>, Flaw> {
        match self.number(name)? {
            Some(share) if !(0.0..=1.0).contains(&share) => Err(self.flaw(name, "must be from 0 to 1")),
            share => Ok(share),
        }
    }

    /// One of these words.
    pub(super) fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, Flaw> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let found = choices.iter().find(|(word, _)| *word == text);
        found.map(|(_, choice)| Some(*choice)).ok_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.flaw(name, format!("must be one of {}", words.join(", ")))
        })
    }

    /// A list; empty if absent.
    pub(super) fn list(&self, name: &str) -> Result<&'c [Value], Flaw> {
        match self.get(name) {
            None => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(self.flaw(name, "must be a list")),
        }
    }

    /// A list of texts; empty if absent.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<&'c str>, Flaw> {
        let items = self.list(name)?.iter().enumerate();
        items
            .map(|(at, item)| item.as_str().ok_or_else(|| self.flaw(&format!("{name}[{at}]"), "must be a text")))
            .collect()
    }

    /// The members of an object; none if absent.
    pub(super) fn object(&self, name: &str) -> Result<Option<Members<'c>>, Flaw> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Members::of(members, self.field(name)))),
            Some(_) => Err(self.flaw(name, "must be an object")),
        }
    }

    /// The members of each object of a list.
    pub(super) fn objects(&self, name: &str) -> Result<Vec<Members<'c>>, Flaw> {
        let each = |(at, item): (usize, &'c Value)| {
            let path = format!("{name}[{at}]");
            let members = item.as_object().ok_or_else(|| self.flaw(&path, "must be an object"))?;
            Ok(Members::of(members, self.field(&path)))
        };
        self.list(name)?.iter().enumerate().map(each).collect()
    }
}
