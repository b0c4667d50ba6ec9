//! How it was found that a trace continues another.

/// How a parent was found (`session_method`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Its turns are the beginning of the child's.
    Prefix,
    /// So they are, and its answer is the turn that follows them.
    PrefixAnswer,
    /// The child names its answer (`previous_response_id`).
    PreviousResponseId,
    /// Both name the same `conversation`.
    Conversation,
}

impl Method {
    /// Every method, the strongest first.
    pub const ALL: [Method; 4] =
        [Method::PreviousResponseId, Method::Conversation, Method::PrefixAnswer, Method::Prefix];

    /// Its name in the index.
    pub fn name(self) -> &'static str {
        match self {
            Method::Prefix => "prefix",
            Method::PrefixAnswer => "prefix_answer",
            Method::PreviousResponseId => "previous_response_id",
            Method::Conversation => "conversation",
        }
    }

    /// The method of this name.
    pub fn from_name(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }
}
