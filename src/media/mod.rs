//! Attachments inside bodies.
