//! Attachments inside bodies.

/// One decoded attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its media type.
    pub mime: String,
    /// The file name extension that stands for the type.
    pub extension: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The attachments of a trace: the request's, then the answer's, each in document order.
pub fn attachments(
    _protocol: crate::protocol::Protocol,
    _trace: &crate::trace::view::TraceView<'_>,
) -> Vec<Attachment> {
    Vec::new()
}
