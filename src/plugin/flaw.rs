//! What is wrong with one field of an instance's configuration.

/// A field that cannot be taken as it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Flaw {
    /// Where: `config.up[0].match`.
    pub field: String,
    /// Why.
    pub reason: String,
}

impl Flaw {
    /// The flaw of this field.
    pub(super) fn new(field: impl Into<String>, reason: impl Into<String>) -> Flaw {
        Flaw { field: field.into(), reason: reason.into() }
    }
}
