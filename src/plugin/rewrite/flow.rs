//! What one instance does to one text that comes in pieces.

use std::sync::Arc;

use super::rule::{Held, Rule};

/// What an instance does to texts in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Applies rules, in order; each sees what the one before left.
    Replace(Arc<[Rule]>),
    /// Appends a suffix.
    Append(Arc<str>),
}

/// A text under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flow {
    /// One for each rule.
    held: Vec<Held>,
    has_text: bool,
}

impl Work {
    /// Takes the next piece of a text and gives what may go on of it. `changes` counts what was replaced or appended.
    pub(super) fn push(&self, flow: &mut Flow, piece: &[u8], changes: &mut u64) -> Vec<u8> {
        flow.has_text |= !piece.is_empty();
        let Work::Replace(rules) = self else { return piece.to_vec() };
        flow.held.resize(rules.len(), Held::default());
        let mut text = piece.to_vec();
        for (rule, held) in rules.iter().zip(&mut flow.held) {
            let mut out = Vec::with_capacity(text.len());
            *changes += rule.push(held, &text, &mut out);
            text = out;
        }
        text
    }

    /// Gives what is held back. The text may go on, but nothing that comes makes a match with it.
    pub(super) fn release(&self, flow: &mut Flow, changes: &mut u64) -> Vec<u8> {
        let Work::Replace(rules) = self else { return Vec::new() };
        let mut text = Vec::new();
        for (rule, held) in rules.iter().zip(&mut flow.held) {
            let mut out = Vec::new();
            *changes += rule.push(held, &text, &mut out);
            rule.release(held, &mut out);
            text = out;
        }
        text
    }

    /// Gives the rest of a text that has ended. A text without a character gets no suffix.
    pub(super) fn finish(&self, flow: &mut Flow, changes: &mut u64) -> Vec<u8> {
        let mut rest = self.release(flow, changes);
        if let Work::Append(suffix) = self
            && flow.has_text
            && !suffix.is_empty()
        {
            rest.extend_from_slice(suffix.as_bytes());
            *changes += 1;
        }
        *flow = Flow::default();
        rest
    }

    /// All of a text at once.
    pub(super) fn whole(&self, text: &[u8], changes: &mut u64) -> Vec<u8> {
        let mut flow = Flow::default();
        let mut out = self.push(&mut flow, text, changes);
        out.extend(self.finish(&mut flow, changes));
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing;
    use super::*;

    #[test]
    fn each_rule_sees_what_the_one_before_left() {
        let work = testing::replace(&[("cat", "dog"), ("dogs", "wolves"), ("x", "")]);
        let mut changes = 0;
        assert_eq!(work.whole("xcats, dog".as_bytes(), &mut changes), b"wolves, dog");
        assert_eq!(changes, 3);
    }

    #[test]
    fn a_suffix_ends_a_text_once_and_no_text_gets_none() {
        let work = Work::Append("!".into());
        let mut changes = 0;
        assert_eq!(work.whole(b"hi", &mut changes), b"hi!");
        assert_eq!(work.whole(b"", &mut changes), b"");
        assert_eq!(changes, 1);
    }

    proptest! {
        #[test]
        fn any_pieces_give_what_the_whole_gives(
            text in "[abé]{0,40}",
            rules in prop::collection::vec(("[abé]{1,4}", "[abé]{0,3}"), 1..4),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let pairs: Vec<(&str, &str)> = rules.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
            let work = testing::replace(&pairs);
            let expected = pairs.iter().fold(text.clone(), |text, (wanted, new)| text.replace(wanted, new));
            let (mut flow, mut changes, mut out) = (Flow::default(), 0, Vec::new());
            for piece in testing::cut(&text, &cuts) {
                out.extend(work.push(&mut flow, piece.as_bytes(), &mut changes));
                prop_assert!(std::str::from_utf8(&out).is_ok());
            }
            out.extend(work.finish(&mut flow, &mut changes));
            prop_assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
