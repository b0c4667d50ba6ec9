//! What the tests of this folder share.

use proptest::sample::Index;

use super::flow::Work;
use super::rule::Rule;

/// The pieces of a text that is cut between characters.
pub(super) fn cut<'t>(text: &'t str, cuts: &[Index]) -> Vec<&'t str> {
    let borders: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let mut ends: Vec<usize> = cuts.iter().map(|cut| borders[cut.index(borders.len())]).collect();
    ends.extend([0, text.len()]);
    ends.sort_unstable();
    ends.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

/// Replaces each first by its second.
pub(super) fn replace(pairs: &[(&str, &str)]) -> Work {
    Work::Replace(pairs.iter().map(|(wanted, new)| Rule::new(wanted, new).unwrap()).collect())
}
