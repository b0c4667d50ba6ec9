//! The texts of one answer on their way: pieces go in with the events that carry them, and come out rewritten.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::edits::{Edits, content};
use super::flow::{Flow, Work};
use super::sight::{Item, Key, Sight, template};
use super::template::Template;
use crate::json::Json;
use crate::protocol::Protocol;

/// The most texts of an answer that are told apart.
const MOST_TEXTS: usize = 256;

/// The texts of one answer.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    protocol: Protocol,
    work: Work,
    under_way: BTreeMap<Key, Text>,
    /// What was replaced or appended.
    pub(super) changes: u64,
}

#[derive(Clone, Debug)]
struct Text {
    flow: Flow,
    template: Arc<Template>,
    /// The number of the last event that carried a piece.
    sequence: Option<Arc<str>>,
    /// It had its suffix and goes on all the same: a Chat choice behind its tool calls.
    is_suffixed: bool,
}

/// An event rewritten.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The data of events to be sent before it, with their names.
    pub(super) before: Vec<(Option<&'static str>, String)>,
    /// What changes in its own data.
    pub(super) edits: Edits,
}

/// The answer has more texts than are told apart.
#[derive(Debug)]
pub(super) struct TooManyTexts;

#[cfg(test)]
thread_local! {
    /// Whether events make this thread panic.
    pub(super) static PANICS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// A piece of text in the event under way.
struct Piece<'a> {
    key: Key,
    place: Json<'a>,
    text: Vec<u8>,
}

impl Texts {
    pub(super) fn new(protocol: Protocol, work: Work) -> Texts {
        Texts { protocol, work, under_way: BTreeMap::new(), changes: 0 }
    }

    /// What is done to them.
    pub(super) fn work(&self) -> &Work {
        &self.work
    }

    /// Takes an event, whose data is `data`, and gives what becomes of it.
    pub(super) fn event(&mut self, data: Json<'_>, sight: &Sight<'_>) -> Result<Outcome, TooManyTexts> {
        let mut outcome = Outcome::default();
        let mut pieces: Vec<Piece<'_>> = Vec::new();
        #[cfg(test)]
        assert!(!PANICS.get(), "as a test asked for");
        for item in &sight.items {
            match *item {
                Item::Text(key, place) => {
                    let text = self.piece(key, place, data, sight.sequence)?;
                    pieces.push(Piece { key, place, text });
                }
                Item::Over(key) => self.end(&[key], Ending::Over, &mut pieces, &mut outcome),
                Item::Pause(key) => self.end(&[key], Ending::Pause, &mut pieces, &mut outcome),
                Item::OverOutput(output) => {
                    let keys: Vec<Key> =
                        self.under_way.range((output, 0)..=(output, u32::MAX)).map(|it| *it.0).collect();
                    self.end(&keys, Ending::Over, &mut pieces, &mut outcome);
                }
                Item::OverAll => self.end(&self.keys(), Ending::Over, &mut pieces, &mut outcome),
                Item::PauseAll => self.end(&self.keys(), Ending::Pause, &mut pieces, &mut outcome),
                Item::Copy(place) => {
                    let text = self.work.whole(&content(place), &mut self.changes);
                    outcome.edits.string(data.text(), place, &text);
                }
                Item::CopySoFar(place) => {
                    let mut flow = Flow::default();
                    let mut text = self.work.push(&mut flow, &content(place), &mut self.changes);
                    text.extend(self.work.release(&mut flow, &mut self.changes));
                    outcome.edits.string(data.text(), place, &text);
                }
            }
        }
        for piece in pieces {
            outcome.edits.string(data.text(), piece.place, &piece.text);
        }
        Ok(outcome)
    }

    /// Events for whatever is left, when the answer has come to its end.
    pub(super) fn finish(&mut self) -> Vec<(Option<&'static str>, String)> {
        let mut outcome = Outcome::default();
        self.end(&self.keys(), Ending::Over, &mut Vec::new(), &mut outcome);
        outcome.before
    }

    /// Events for what is held back, where it ends too early or is rewritten no more.
    pub(super) fn release(&mut self) -> Vec<(Option<&'static str>, String)> {
        let mut outcome = Outcome::default();
        self.end(&self.keys(), Ending::Pause, &mut Vec::new(), &mut outcome);
        outcome.before
    }

    fn keys(&self) -> Vec<Key> {
        self.under_way.keys().copied().collect()
    }

    fn piece(
        &mut self,
        key: Key,
        place: Json<'_>,
        data: Json<'_>,
        sequence: Option<Json<'_>>,
    ) -> Result<Vec<u8>, TooManyTexts> {
        let content = content(place);
        // One without a character begins nothing: choices that call tools have it too.
        if content.is_empty() {
            return Ok(content);
        }
        if !self.under_way.contains_key(&key) && self.under_way.len() >= MOST_TEXTS {
            return Err(TooManyTexts);
        }
        let text = self.under_way.entry(key).or_insert_with(|| Text {
            flow: Flow::default(),
            template: Arc::new(template(self.protocol, key, data)),
            sequence: None,
            is_suffixed: false,
        });
        text.sequence = sequence.map(|it| it.text().into());
        Ok(self.work.push(&mut text.flow, &content, &mut self.changes))
    }

    /// Lets go of what these texts hold back: into the event under way, if that has a piece of the text, else before it.
    fn end(&mut self, keys: &[Key], ending: Ending, pieces: &mut [Piece<'_>], outcome: &mut Outcome) {
        for key in keys {
            let Some(text) = self.under_way.get_mut(key) else { continue };
            let rest = match ending {
                Ending::Over if !text.is_suffixed => self.work.finish(&mut text.flow, &mut self.changes),
                _ => self.work.release(&mut text.flow, &mut self.changes),
            };
            if !rest.is_empty() {
                match pieces.iter_mut().rev().find(|it| it.key == *key) {
                    Some(piece) => piece.text.extend_from_slice(&rest),
                    None => {
                        let json = text.template.with(&rest, text.sequence.as_deref());
                        outcome.before.push((text.template.name, json));
                    }
                }
            }
            match ending {
                Ending::Over if self.protocol == Protocol::Chat => text.is_suffixed = true,
                Ending::Over => drop(self.under_way.remove(key)),
                Ending::Pause => {}
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Over,
    Pause,
}
