//! What a content type promises.

/// What a body is by its `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// One JSON value.
    Json,
    /// An event stream.
    Events,
    /// Anything else, or nothing.
    Other,
}

impl MediaType {
    /// That of a field's value. By the type alone: its parameters are often broken and never matter.
    pub fn of(value: &[u8]) -> MediaType {
        let name = value.split(|byte| matches!(byte, b';' | b',')).next().unwrap_or_default().trim_ascii();
        let ends_in_json = name.len() > 5 && name[name.len() - 5..].eq_ignore_ascii_case(b"+json");
        if ends_in_json || [b"application/json".as_slice(), b"text/json"].iter().any(|it| name.eq_ignore_ascii_case(it))
        {
            MediaType::Json
        } else if name.eq_ignore_ascii_case(b"text/event-stream") {
            MediaType::Events
        } else {
            MediaType::Other
        }
    }
}
