//! A literal replacement that keeps its place between the pieces of a text.

use std::fmt;

/// What is looked for and what is put in its place.
#[derive(Clone, PartialEq, Eq)]
pub struct Rule {
    wanted: Box<str>,
    replacement: Box<str>,
    /// For each beginning of `wanted`: how much of its end is a beginning of `wanted` too (Knuth, Morris, Pratt).
    borders: Box<[u32]>,
}

/// How far a rule's match has come at the end of a piece. What is held back is that much of the match itself, so it
/// need not be kept: never more than the match but for its last byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held(u32);

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} -> {:?}", self.wanted, self.replacement)
    }
}

impl Rule {
    /// Replaces every `wanted`, compared byte by byte; `None` if that is empty or longer than 4 GiB.
    pub fn new(wanted: &str, replacement: &str) -> Option<Rule> {
        if wanted.is_empty() || u32::try_from(wanted.len()).is_err() {
            return None;
        }
        let bytes = wanted.as_bytes();
        let mut borders = vec![0_u32; wanted.len()];
        let mut length = 0_usize;
        for at in 1..bytes.len() {
            while length > 0 && bytes[at] != bytes[length] {
                length = borders[length - 1] as usize;
            }
            length += usize::from(bytes[at] == bytes[length]);
            borders[at] = length as u32;
        }
        Some(Rule { wanted: wanted.into(), replacement: replacement.into(), borders: borders.into() })
    }

    /// What is looked for.
    pub fn wanted(&self) -> &str {
        &self.wanted
    }

    /// What is put in its place.
    pub fn replacement(&self) -> &str {
        &self.replacement
    }

    /// Takes the next piece of a text; appends what is decided to `out`. Gives the number of matches that it ended.
    ///
    /// All occurrences are replaced from the left, without overlap, as if the pieces were one text. A piece that
    /// begins and ends between characters leaves `out` ending between characters.
    pub(super) fn push(&self, held: &mut Held, piece: &[u8], out: &mut Vec<u8>) -> u64 {
        let wanted = self.wanted.as_bytes();
        let mut matches = 0;
        let mut state = held.0 as usize;
        let mut at = 0;
        while let Some(&byte) = piece.get(at) {
            if state == 0 && byte != wanted[0] {
                let rest = &piece[at..];
                let plain = memchr::memchr(wanted[0], rest).unwrap_or(rest.len());
                out.extend_from_slice(&rest[..plain]);
                at += plain;
                continue;
            }
            if byte == wanted[state] {
                at += 1;
                state += 1;
                if state == wanted.len() {
                    out.extend_from_slice(self.replacement.as_bytes());
                    matches += 1;
                    state = 0;
                }
                continue;
            }
            let shorter = self.borders[state - 1] as usize;
            out.extend_from_slice(&wanted[..state - shorter]);
            state = shorter;
        }
        held.0 = state as u32;
        matches
    }

    /// Appends what is held back to `out`: no match will come of it.
    pub(super) fn release(&self, held: &mut Held, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.wanted.as_bytes()[..held.0 as usize]);
        *held = Held::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn replaced(rule: &Rule, pieces: &[&str]) -> (String, u64, usize) {
        let (mut held, mut out, mut matches, mut most_held) = (Held::default(), Vec::new(), 0, 0);
        for piece in pieces {
            matches += rule.push(&mut held, piece.as_bytes(), &mut out);
            most_held = most_held.max(held.0 as usize);
            assert!(std::str::from_utf8(&out).is_ok(), "cut inside of a character");
        }
        rule.release(&mut held, &mut out);
        (String::from_utf8(out).unwrap(), matches, most_held)
    }

    #[test]
    fn a_match_is_found_wherever_it_is_cut() {
        let rule = Rule::new("codename", "[x]").unwrap();
        for cut in 0.."a codename b".len() {
            let (head, tail) = "a codename b".split_at(cut);
            assert_eq!(replaced(&rule, &[head, tail]).0, "a [x] b");
        }
        assert_eq!(replaced(&rule, &["code", "", "n", "am"]), ("codenam".into(), 0, 7));
    }

    #[test]
    fn a_beginning_inside_of_a_failed_match_counts() {
        let rule = Rule::new("aab", "X").unwrap();
        assert_eq!(replaced(&rule, &["aa", "a", "ab", "aab"]).0, "aaXX");
        let rule = Rule::new("abab", "").unwrap();
        assert_eq!(replaced(&rule, &["ab", "aba", "bab", "ab"]), ("ab".into(), 2, 2));
        assert!(Rule::new("", "x").is_none());
    }

    proptest! {
        #[test]
        fn any_pieces_give_what_the_whole_gives(
            text in "[abé漢]{0,40}",
            wanted in "[abé漢]{1,4}",
            replacement in "[abé]{0,3}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        ) {
            let rule = Rule::new(&wanted, &replacement).unwrap();
            let pieces = super::super::testing::cut(&text, &cuts);
            let (found, matches, most_held) = replaced(&rule, &pieces);
            prop_assert_eq!(found, text.replace(&wanted, &replacement));
            prop_assert_eq!(matches as usize, text.matches(&wanted).count());
            prop_assert!(most_held < wanted.len());
        }
    }
}
