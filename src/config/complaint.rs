//! What is wrong with a configuration, where, and what would be right.

use std::fmt;
use std::sync::Arc;

/// At most this many complaints are kept; a file of nothing but mistakes must not flood a terminal.
const KEPT: usize = 100;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// The configuration file as a whole.
    File(Arc<str>),
    /// A place in the configuration file.
    Place {
        /// The file's path as it was given.
        file: Arc<str>,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// An environment variable, by its name.
    Variable(String),
    /// The file of what was set at run time.
    Overrides(Arc<str>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(file) | Origin::Overrides(file) => f.write_str(file),
            Origin::Place { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Origin::Variable(name) => f.write_str(name),
        }
    }
}

/// One thing that is wrong, on one line: origin, key, what is wrong and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Where the offending value stands.
    pub origin: Origin,
    /// The key's path, where the origin does not already name it.
    pub key: Option<String>,
    /// What is wrong and what is allowed.
    pub text: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if let Some(key) = &self.key {
            write!(f, "{}: ", excerpt(key))?;
        }
        f.write_str(&self.text)
    }
}

/// Something odd that does not keep the program from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub Complaint);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All that is wrong with a configuration; shown one per line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaints {
    kept: Vec<Complaint>,
    more: usize,
}

impl Complaints {
    pub(super) fn push(&mut self, origin: Origin, key: Option<&str>, text: impl Into<String>) {
        if !self.is_full() {
            self.kept.push(Complaint { origin, key: key.map(str::to_owned), text: text.into() });
        } else {
            self.more += 1;
        }
    }

    /// Whether further ones are only counted, so that their texts need no work.
    pub(super) fn is_full(&self) -> bool {
        self.kept.len() >= KEPT
    }

    /// Puts them into the order in which a reader meets their causes: file from top to bottom, then variables.
    pub(super) fn sort(&mut self) {
        self.kept.sort_by_key(|complaint| match complaint.origin {
            Origin::File(_) => (0, 0, 0),
            Origin::Place { line, column, .. } => (1, line, column),
            Origin::Variable(_) => (2, 0, 0),
            Origin::Overrides(_) => (3, 0, 0),
            Origin::Default => (4, 0, 0),
        });
    }

    /// The complaints: those about the file from top to bottom, then those about variables.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Complaint> {
        self.kept.iter()
    }

    /// How many more there were than are kept.
    pub fn left_out(&self) -> usize {
        self.more
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }
}

impl std::error::Error for Complaints {}

impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, complaint) in self.kept.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            complaint.fmt(f)?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

/// Text from outside as part of a message: on one line, without control characters, not long.
pub(super) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 80;
    let mut excerpt: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        excerpt.push('…');
    }
    excerpt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_stays_on_one_line() {
        let complaint = Complaint { origin: Origin::File("f".into()), key: Some("a\nb".into()), text: "bad".into() };
        assert_eq!(complaint.to_string(), "f: a\\nb: bad");
    }

    #[test]
    fn a_flood_of_complaints_is_cut_and_counted() {
        let mut complaints = Complaints::default();
        for _ in 0..KEPT + 5 {
            complaints.push(Origin::Default, None, "bad");
        }
        assert_eq!(complaints.iter().len(), KEPT);
        assert!(complaints.to_string().ends_with("\nand 5 more"));
    }
}
