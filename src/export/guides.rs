//! What an analysing agent is told about the lines. Tests run every recipe in it.

use std::io::{self, Write};

use super::archive::Archive;

/// How to find one's way, for an agent.
const GUIDE: &str = include_str!("templates/CLAUDE.md");

/// Questions to the lines, as jq answers them.
const CHEATSHEET: &str = include_str!("templates/jq-cheatsheet.md");

/// The entries `agent/…`.
pub(super) fn write<W: Write>(archive: &mut Archive<W>) -> io::Result<()> {
    archive.text("agent/CLAUDE.md", GUIDE)?;
    archive.text("agent/jq-cheatsheet.md", CHEATSHEET)
}
