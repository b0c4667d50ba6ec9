//! What instances did to one exchange: carried with its capture, also over a crash, and put on its line.

use super::set::Active;

/// The most failures that a line tells of one exchange.
pub const MOST_FAILURES: usize = 8;
/// The longest message of a failure, in characters.
pub const LONGEST_MESSAGE: usize = 512;
/// The most that a line tells of one exchange in all.
pub const MOST_NOTES: usize = 64;

/// When an instance acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// On the request, before it was forwarded.
    Before,
    /// On the answer, before the client got it.
    After,
    /// On the record; the wire is untouched.
    Record,
}

/// What an instance did to an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The instance's type.
    pub kind: String,
    /// The instance's id.
    pub id: String,
    /// When.
    pub hook: Hook,
    /// What.
    pub did: Did,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    /// It acted: a word for how, as in "mutate", "redact", "tag".
    Act(String),
    /// It answered in place of the upstream.
    Intercept,
    /// It failed and was skipped: why.
    Fail(String),
}

/// What plugins did to an exchange, and put on its trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// What they did, in order.
    pub notes: Vec<Note>,
    /// The labels that they put on the trace.
    pub tags: Vec<String>,
}

impl Hook {
    /// Every hook.
    pub const ALL: [Hook; 3] = [Hook::Before, Hook::After, Hook::Record];

    /// Its name on the line.
    pub fn name(self) -> &'static str {
        match self {
            Hook::Before => "before",
            Hook::After => "after",
            Hook::Record => "record",
        }
    }
}

impl Note {
    /// An instance of a set acted.
    pub fn acted(active: &Active, hook: Hook, action: &str) -> Note {
        Note::of(active, hook, Did::Act(action.to_owned()))
    }

    /// An instance of a set answered in place of the upstream.
    pub fn intercepted(active: &Active, hook: Hook) -> Note {
        Note::of(active, hook, Did::Intercept)
    }

    /// An instance of a set failed and was skipped. Of the message what is beyond [`LONGEST_MESSAGE`] is left out.
    pub fn failed(active: &Active, hook: Hook, message: &str) -> Note {
        Note::of(active, hook, Did::Fail(message.chars().take(LONGEST_MESSAGE).collect()))
    }

    fn of(active: &Active, hook: Hook, did: Did) -> Note {
        let instance = active.instance();
        Note { kind: instance.kind.name().to_owned(), id: instance.id.clone(), hook, did }
    }

    /// The payload of its record in a log: several behind each other are read back apart.
    pub fn encode(&self) -> Vec<u8> {
        let (tag, text) = match &self.did {
            Did::Act(action) => (0, action.as_str()),
            Did::Intercept => (1, ""),
            Did::Fail(message) => (2, message.as_str()),
        };
        let hook = Hook::ALL.iter().position(|it| *it == self.hook).unwrap_or_default() as u8;
        let texts = [self.kind.as_str(), self.id.as_str(), text];
        let mut out = Vec::with_capacity(2 + texts.iter().map(|it| 4 + it.len()).sum::<usize>());
        out.extend_from_slice(&[tag, hook]);
        for text in texts {
            out.extend_from_slice(&(text.len() as u32).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    /// Notes read back, up to the first that is not whole.
    pub fn decode_all(mut payload: &[u8]) -> Vec<Note> {
        let mut notes = Vec::new();
        while let Some((note, rest)) = Note::decode(payload) {
            notes.push(note);
            payload = rest;
        }
        notes
    }

    fn decode(payload: &[u8]) -> Option<(Note, &[u8])> {
        let (&[tag, hook], mut rest) = payload.split_first_chunk::<2>()?;
        let mut text = || -> Option<String> {
            let (length, behind) = rest.split_first_chunk::<4>()?;
            let (text, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            rest = behind;
            Some(String::from_utf8_lossy(text).into_owned())
        };
        let (kind, id, said) = (text()?, text()?, text()?);
        let did = match tag {
            0 => Did::Act(said),
            1 => Did::Intercept,
            2 => Did::Fail(said),
            _ => return None,
        };
        Some((Note { kind, id, hook: *Hook::ALL.get(usize::from(hook))?, did }, rest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_note() -> impl Strategy<Value = Note> {
        let did = prop_oneof!["\\PC{0,20}".prop_map(Did::Act), Just(Did::Intercept), "\\PC{0,600}".prop_map(Did::Fail)];
        ("[a-z-]{1,12}", "\\PC{0,9}", 0..3_usize, did).prop_map(|(kind, id, hook, did)| Note {
            kind,
            id,
            hook: Hook::ALL[hook],
            did,
        })
    }

    proptest! {
        #[test]
        fn notes_are_read_back_and_a_cut_costs_the_last(notes in prop::collection::vec(any_note(), 0..5), cut in any::<prop::sample::Index>()) {
            let encoded: Vec<Vec<u8>> = notes.iter().map(Note::encode).collect();
            let bytes = encoded.concat();
            prop_assert_eq!(Note::decode_all(&bytes), notes.clone());
            let cut = cut.index(bytes.len() + 1);
            let found = Note::decode_all(&bytes[..cut]);
            prop_assert!(notes.starts_with(&found));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Note::decode_all(&bytes);
        }
    }
}
