//! Where in a text something was found, with what stands around it.

use schemars::JsonSchema;
use serde::Serialize;

use crate::trace::Texts;

/// Characters shown before and behind what was found.
const AROUND: usize = 60;

/// A place in what was asked or answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Snippet {
    /// `request` or `answer`.
    #[serde(rename = "in")]
    pub place: &'static str,
    /// What stands before it.
    pub before: String,
    /// What was found, as it stands there.
    #[serde(rename = "match")]
    pub found: String,
    /// What stands behind it.
    pub after: String,
}

impl Snippet {
    /// The first place of the first of these words that is in either text, the answer first.
    pub(super) fn of(texts: &Texts, words: &[String]) -> Option<Snippet> {
        let folded: Vec<Vec<char>> = words.iter().map(|word| word.chars().map(fold).collect()).collect();
        [("answer", &texts.answer), ("request", &texts.request)]
            .into_iter()
            .find_map(|(place, text)| folded.iter().find_map(|word| in_text(place, text, word)))
    }
}

fn in_text(place: &'static str, text: &str, word: &[char]) -> Option<Snippet> {
    let chars: Vec<char> = text.chars().collect();
    let at =
        chars.windows(word.len().max(1)).position(|it| it.iter().zip(word).all(|(one, other)| fold(*one) == *other))?;
    let end = at + word.len();
    let of = |from: usize, to: usize| chars[from..to].iter().collect();
    Some(Snippet {
        place,
        before: of(at.saturating_sub(AROUND), at),
        found: of(at, end),
        after: of(end, chars.len().min(end + AROUND)),
    })
}

/// A character without its case.
pub(super) fn fold(char: char) -> char {
    if char.is_ascii() { char.to_ascii_lowercase() } else { char.to_lowercase().next().unwrap_or(char) }
}
