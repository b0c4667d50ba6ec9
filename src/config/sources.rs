//! What defaults, file and environment say, key by key, before it is checked.

use std::collections::HashMap;

use super::Config;
use super::complaint::{Complaints, Origin, Warning, excerpt};
use super::cross_checks;
use super::keys::keys;
use super::kinds::Kind;
use super::table::Key;
use super::yaml::Position;
use serde_json::Value;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    One {
        text: String,
        quoted: bool,
    },
    Many(Vec<(String, Option<Position>)>),
    /// Items with members of their own, as JSON would hold them.
    Items(Vec<(Value, Option<Position>)>),
}

/// What is wrong with a value; the position is that of a list's item.
#[derive(Debug, PartialEq)]
pub(super) struct Flaw {
    pub(super) at: Option<Position>,
    pub(super) text: String,
}

#[derive(Clone, Debug)]
struct Given {
    raw: Raw,
    origin: Origin,
    spelling: String,
    /// Where other values were given that this one stands in place of, the last first.
    instead_of: Vec<Origin>,
}

/// The values that are given, each with its origin; whoever is added later wins.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    given: HashMap<&'static str, Given>,
    pub(super) complaints: Complaints,
    pub(super) warnings: Vec<Warning>,
}

impl Sources {
    /// Nothing given: all defaults.
    pub fn new() -> Sources {
        Sources::default()
    }

    /// Where the value of this key comes from.
    pub fn origin(&self, path: &str) -> Origin {
        self.given.get(path).map_or(Origin::Default, |given| given.origin.clone())
    }

    /// Where this key is given too, by sources that a later one wins over; the last first.
    pub fn instead_of(&self, path: &str) -> &[Origin] {
        self.given.get(path).map_or(&[], |given| &given.instead_of)
    }

    /// Adds a value; the same source may not give one key twice.
    pub(super) fn give(&mut self, key: &'static Key, spelling: String, raw: Raw, origin: Origin) {
        if let Some(earlier) = self.given.get(key.path) {
            match (&earlier.origin, &origin) {
                (Origin::Place { .. }, Origin::Place { .. }) => {
                    let text = format!("also given as {} ({}); keep one", earlier.spelling, earlier.origin);
                    return self.complaints.push(origin, Some(&spelling), text);
                }
                (Origin::Variable(earlier), Origin::Variable(_)) => {
                    let text = format!("also given as {earlier}; keep one");
                    return self.complaints.push(origin, None, text);
                }
                _ => {}
            }
        }
        let earlier = self.given.remove(key.path);
        let instead_of = earlier.into_iter().flat_map(|it| std::iter::once(it.origin).chain(it.instead_of)).collect();
        self.given.insert(key.path, Given { raw, origin, spelling, instead_of });
    }

    /// The values checked and typed.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn into_config(self) -> Result<(Config, Vec<Warning>), Complaints> {
        let mut reader = Reader { sources: &self, complaints: self.complaints.clone(), refused: Vec::new() };
        let config = Config::read(&mut reader);
        if let Some(config) = &config {
            cross_checks::run(config, &mut reader);
        }
        let mut complaints = reader.complaints;
        complaints.sort();
        match config {
            Some(config) if complaints.is_empty() => Ok((config, self.warnings)),
            _ => Err(complaints),
        }
    }
}

/// Reads keys out of sources and collects what is wrong with them.
pub(super) struct Reader<'a> {
    sources: &'a Sources,
    complaints: Complaints,
    refused: Vec<&'static str>,
}

impl Reader<'_> {
    /// The key's value. If the one given is bad, that is complained about and the default stands in for it, so that
    /// the rest can be read too; `None` only if the default itself is bad.
    pub(super) fn read<K: Kind>(&mut self, path: &'static str) -> Option<K::Value> {
        let Some(key) = keys().iter().find(|key| key.path == path) else {
            self.complaints.push(Origin::Default, Some(path), "not in the table of keys");
            return None;
        };
        if let Some(given) = self.sources.given.get(path) {
            match K::read(&given.raw, key.rules) {
                Ok(value) => return Some(value),
                Err(flaws) => self.refuse(key, given, flaws),
            }
        }
        match K::read(&key.raw(key.default), key.rules) {
            Ok(value) => Some(value),
            Err(flaws) => {
                for flaw in flaws {
                    self.complaints.push(Origin::Default, Some(path), flaw.text);
                }
                None
            }
        }
    }

    fn refuse(&mut self, key: &'static Key, given: &Given, flaws: Vec<Flaw>) {
        self.refused.push(key.path);
        for flaw in flaws {
            let origin = match (&given.origin, flaw.at) {
                (Origin::Place { file, .. }, Some(Position { line, column })) => {
                    Origin::Place { file: file.clone(), line, column }
                }
                (origin, _) => origin.clone(),
            };
            let named = matches!(origin, Origin::Variable(_));
            self.complaints.push(origin, (!named).then_some(&given.spelling), flaw.text);
        }
    }

    /// Complains about keys whose values are good alone but not together, at the last of them that was given.
    /// Silent if one of them was refused already.
    pub(super) fn complain(&mut self, paths: &[&'static str], text: String) {
        if paths.iter().any(|path| self.refused.contains(path)) {
            return;
        }
        let Some(&path) = paths.iter().rev().find(|&&path| self.sources.given.contains_key(path)).or(paths.last())
        else {
            return;
        };
        self.complaints.push(self.sources.origin(path), Some(path), text);
    }
}

/// The value as part of a message.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", excerpt(text))
}
