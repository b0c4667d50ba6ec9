//! For what project a request was sent.

use crate::protocol::Protocol;

/// The project's name, found in the request's system text.
pub fn project_name(_protocol: Protocol, _request_json: &str) -> Option<String> {
    None
}
