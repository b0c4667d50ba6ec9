//! A text to be read: lines with an ink, wrapped to the width of the screen, and how far it is scrolled.

use api_log::transcript::Ink;
use api_log::transcript::layout::{Page, harmless};
use unicode_width::UnicodeWidthChar;

use super::model::Key;

/// Lines of a text that are shown at most, so that a huge trace costs no more memory than a large one.
const MOST_LINES: usize = 100_000;

/// Where a text is scrolled to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Scroll {
    top: usize,
    /// The end is kept in sight, whatever comes.
    is_at_end: bool,
}

impl Scroll {
    pub(super) fn keep_to_end(&mut self) {
        self.is_at_end = true;
    }

    pub(super) fn press(&mut self, key: Key, rows: usize) {
        let page = rows.max(1);
        self.is_at_end = false;
        match key {
            Key::Up | Key::Char('k') => self.top = self.top.saturating_sub(1),
            Key::Down | Key::Char('j') => self.top = self.top.saturating_add(1),
            Key::PageUp | Key::Char('b') => self.top = self.top.saturating_sub(page),
            Key::PageDown | Key::Char(' ') => self.top = self.top.saturating_add(page),
            Key::Home | Key::Char('g') => self.top = 0,
            Key::End | Key::Char('G') => self.keep_to_end(),
            _ => {}
        }
    }

    /// The first line to be shown of so many, where so many fit.
    pub(super) fn first_of(&mut self, lines: usize, rows: usize) -> usize {
        let last = lines.saturating_sub(rows);
        if self.is_at_end || self.top > last {
            self.top = last;
        }
        self.top
    }
}

/// A text that fills the screen.
#[derive(Debug)]
pub(super) struct Reading {
    /// The trace's.
    pub(super) id: String,
    pub(super) title: String,
    page: Page,
    pub(super) scroll: Scroll,
    wrapped: Option<(usize, Vec<(Ink, String)>)>,
}

impl Reading {
    pub(super) fn new(id: String, title: String, page: Page) -> Reading {
        Reading { id, title, page, scroll: Scroll::default(), wrapped: None }
    }

    /// Its lines at this width.
    pub(super) fn lines(&mut self, width: usize) -> (&[(Ink, String)], &mut Scroll) {
        if self.wrapped.as_ref().is_none_or(|(at, _)| *at != width) {
            self.wrapped = Some((width, wrapped(&self.page, width)));
        }
        (self.wrapped.as_ref().map_or(&[], |(_, lines)| lines), &mut self.scroll)
    }
}

/// A page's lines, none wider than so many columns.
pub(super) fn wrapped(page: &Page, width: usize) -> Vec<(Ink, String)> {
    let width = width.max(2);
    let mut lines = Vec::new();
    for shown in &page.0 {
        let (mut line, mut columns) = (String::new(), 0);
        for character in harmless(&shown.text).chars() {
            if lines.len() >= MOST_LINES {
                lines.push((Ink::Bad, "the rest is left out; `api-log show` has all of it".to_owned()));
                return lines;
            }
            let (piece, wide) = match character {
                '\t' => ("    ", 4),
                _ => ("", character.width().unwrap_or(0)),
            };
            if columns + wide > width {
                lines.push((shown.ink, std::mem::take(&mut line)));
                columns = 0;
            }
            columns += wide;
            if piece.is_empty() { line.push(character) } else { line.push_str(piece) }
        }
        lines.push((shown.ink, line));
    }
    lines
}
