//! Colours, where they are wanted, and writing that tells a reader who has gone from a failure.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use api_log::transcript::Ink;
use api_log::transcript::layout::Page;

use super::error::LookError;

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

/// Standard output, perhaps in colours. Each call is one write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Out {
    is_coloured: bool,
}

impl Out {
    pub(super) fn new(when: When) -> Out {
        let is_coloured = match when {
            When::Always => true,
            When::Never => false,
            // no-color.org: set to anything but nothing.
            When::Auto => io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty()),
        };
        Out { is_coloured }
    }

    /// Whether colours are wanted.
    pub(super) fn is_coloured(self) -> bool {
        self.is_coloured
    }

    /// The text in its colour.
    pub(super) fn paint(self, ink: Ink, text: &str) -> String {
        let style = style(ink);
        if self.is_coloured && style != Style::new() && !text.is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    /// Writes lines that were laid out.
    pub(super) fn page(self, page: &Page) -> Result<(), LookError> {
        let lines: String = page.0.iter().map(|it| format!("{}\n", self.paint(it.ink, it.text.trim_end()))).collect();
        self.write(lines.as_bytes())
    }

    /// Writes bytes.
    pub(super) fn write(self, bytes: &[u8]) -> Result<(), LookError> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(LookError::Out)
    }
}

fn style(ink: Ink) -> Style {
    match ink {
        Ink::Plain => Style::new(),
        Ink::Title => Style::new().bold(),
        Ink::Heading => AnsiColor::Cyan.on_default().bold(),
        Ink::Dim => Style::new().dimmed(),
        Ink::Reasoning => Style::new().italic(),
        Ink::Tool => AnsiColor::Magenta.on_default(),
        Ink::Media => AnsiColor::Blue.on_default(),
        Ink::Bad => AnsiColor::Red.on_default(),
        Ink::Good => AnsiColor::Green.on_default(),
    }
}
