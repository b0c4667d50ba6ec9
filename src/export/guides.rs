//! What an analysing agent is told about the lines. Tests run every recipe in it.

use std::io::{self, Write};

use super::Request;
use super::archive::Archive;

/// How to find one's way, for an agent.
const GUIDE: &str = include_str!("templates/CLAUDE.md");

/// Questions to the lines, as jq answers them.
const CHEATSHEET: &str = include_str!("templates/jq-cheatsheet.md");

/// What the guide says of credentials, and what it says where they are hidden.
const IN_CLEAR: &str =
    "**The lines hold credentials** (`req.headers`: `Authorization`, `x-api-key`, …). Do not repeat them.";
const HIDDEN: &str = "Credentials and what else was to be hidden read `[redacted:…]`: equal values, equal digits.";

/// The entries `agent/…`.
pub(super) fn write<W: Write>(archive: &mut Archive<W>, request: &Request) -> io::Result<()> {
    if request.hidden.is_some() {
        archive.text("agent/CLAUDE.md", &GUIDE.replace(IN_CLEAR, HIDDEN))?;
    } else {
        archive.text("agent/CLAUDE.md", GUIDE)?;
    }
    archive.text("agent/jq-cheatsheet.md", CHEATSHEET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_says_where_credentials_are() {
        assert_eq!(GUIDE.matches(IN_CLEAR).count(), 1);
    }
}
