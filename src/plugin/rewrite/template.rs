//! Events that a rewriter adds: the rest of a text that was held back, or a suffix.

use super::edits::quoted;

/// An event but for the text in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    /// The event's name, for streams that name their events.
    pub(super) name: Option<&'static str>,
    /// The JSON before the text.
    pub(super) before: String,
    /// And behind it; an object's end.
    pub(super) after: String,
}

impl Template {
    /// The event's JSON with this text. `sequence` is the number that it has in its stream: that of the event which it
    /// continues, for all others keep theirs.
    pub(super) fn with(&self, text: &[u8], sequence: Option<&str>) -> String {
        let mut json = self.before.clone();
        json.push_str(&quoted(text));
        match (sequence, self.after.strip_suffix('}')) {
            (Some(sequence), Some(after)) => json.extend([after, ",\"sequence_number\":", sequence, "}"]),
            _ => json.push_str(&self.after),
        }
        json
    }
}
