//! Traces taken out of a data dir, as a zip archive that is never silently incomplete.
//!
//! [`package()`] copies the lines of the traces that pass a filter, verbatim, with their attachments, to any writer.
//! Nothing of the result is held: neither rows nor lines nor files. Every segment is read forward once.
//!
//! # Layout
//!
//! | Entry | Holds |
//! |---|---|
//! | `data/<date>/<key8>.jsonl` | a segment of which every line passed |
//! | `data/<date>/<key8>.<n>.jsonl` | the same for a bucket's further segments: numbers as in the data dir |
//! | `….partial.jsonl` | a segment of which only some lines passed, or could be read |
//! | `media/<trace>/<n>.<ext>` | attachments |
//! | `agent/CLAUDE.md`, `agent/jq-cheatsheet.md` | how to read the lines, for who analyses them |
//! | `README.md` | what was asked for, what is here, and what had to be skipped |
//!
//! Beside the archive there are two flat forms ([`Format`]): the lines as they are, and HAR 1.2.
//!
//! In this order; data by date, key and number, attachments by trace and name. Entry times are UTC: the earliest
//! start of the segment's selected traces, the start of an attachment's trace, none (1980-01-01) for the rest.

mod archive;
mod flat;
mod guides;
mod har;
mod lines;
mod media;
pub mod profile;
mod readme;

use std::io::{self, Write};

use rusqlite::Connection;

use crate::ids::{SegmentId, UnixMillis};
use crate::index::filter::Filter;
use crate::index::query::selection::{SelectedSegment, Selection};
use crate::index::rebuild;
use crate::index::schema::{self, OpenError};
use crate::store::layout::{Form, Layout};
use crate::store::lease::Leases;
use crate::work::{Cancelled, Work};
use archive::Archive;
use profile::Hidden;

/// Skipped things that are named; beyond, they are counted only.
const MOST_SKIPPED: usize = 1000;

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Which traces.
    pub filter: Filter,
    /// The newest so many of them; `None` for all.
    pub limit: Option<u64>,
    /// In the recorder's own process: a lease is held of every segment while it is read. Anyone else finds some
    /// deleted meanwhile.
    pub leases: Option<Leases>,
    /// What is replaced by placeholders on its way out. Attachments, in which nothing can be looked for, stay away then.
    pub hidden: Option<Hidden>,
}

/// What an archive holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Lines written.
    pub traces: u64,
    /// Attachments written.
    pub attachments: u64,
    /// Bytes of the lines, newlines included.
    pub line_bytes: u64,
    /// The earliest and the latest start of the selected traces.
    pub range: Option<(UnixMillis, UnixMillis)>,
    /// More traces passed the filter than the limit let through.
    pub is_limited: bool,
    /// What was selected and is not in it.
    pub skipped: Skipped,
    /// Segments with lines that the index does not know yet; such lines are in no archive.
    pub behind: u64,
}

/// What could not be had, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Traces whose line is missing.
    pub traces: u64,
    /// Attachments that are missing.
    pub attachments: u64,
    /// A line for each thing, as far as there is room.
    pub told: Vec<String>,
    /// How many more there are.
    pub untold: u64,
}

impl Skipped {
    /// Whether everything is there.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    fn tell(&mut self, what: String) {
        if self.told.len() < MOST_SKIPPED { self.told.push(what) } else { self.untold += 1 }
    }
}

/// In which form traces leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// An archive of lines and attachments.
    #[default]
    Zip,
    /// The lines alone, by date, key and number of their segment, as they stand there.
    Jsonl,
    /// HAR 1.2: what browsers and proxies write, and many tools read.
    Har,
}

impl Format {
    /// What names of its files end with, without the dot; also its name.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Zip => "zip",
            Format::Jsonl => "jsonl",
            Format::Har => "har",
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Zip => "application/zip",
            Format::Jsonl => "application/x-ndjson",
            Format::Har => "application/json",
        }
    }

    /// Every form.
    pub const ALL: [Format; 3] = [Format::Zip, Format::Jsonl, Format::Har];

    /// The form of this name.
    pub fn named(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|it| it.extension() == name)
    }

    /// The names there are, for people.
    pub fn names() -> String {
        Format::ALL.map(Format::extension).join(", ")
    }
}

/// There is no archive, or only a broken piece of one.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is no index yet.
    #[error("no index at {0}: run `api-log rebuild`, or start the recorder on this data dir once")]
    NoIndex(std::path::PathBuf),
    /// The index does not hold older traces yet.
    #[error(
        "the index is being rebuilt and does not hold all traces yet; try again when that is done (GET /api/index)"
    )]
    Interim,
    /// The index cannot be opened.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// The index cannot be asked.
    #[error("index: {0}")]
    Index(#[from] rusqlite::Error),
    /// The archive cannot be written.
    #[error("cannot write the archive: {0}")]
    Write(#[from] io::Error),
    /// The data dir cannot be listed.
    #[error("cannot list the data dir: {0}")]
    List(io::Error),
    /// Lines are missing where nothing could tell it.
    #[error("{0}")]
    Incomplete(String),
    /// It was called off.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// The name of an archive made now.
pub fn default_name(now: UnixMillis) -> String {
    let text = now.to_string().replace(':', "-");
    // Whole seconds: the three digits before the `Z` go, with their point.
    let seconds = text.split_once('.').map_or(text.as_str(), |(seconds, _)| seconds);
    format!("api-log-package-{seconds}Z.zip")
}

/// The name of an export made now, with the milliseconds.
pub fn export_name(now: UnixMillis, format: Format) -> String {
    let moment: String = now.to_string().chars().filter(|it| !matches!(it, '-' | ':')).collect();
    format!("api-log-export-{moment}.{}", format.extension())
}

/// Opens the index of a data dir for [`package()`], without changing anything.
///
/// # Errors
/// There is none, or none that can be read.
pub fn open_index(layout: &Layout) -> Result<Connection, ExportError> {
    let path = layout.index();
    if !path.exists() {
        return Err(ExportError::NoIndex(path));
    }
    let index = schema::open_reader(&path)?;
    if rebuild::is_interim(&index)? { Err(ExportError::Interim) } else { Ok(index) }
}

/// What ends the queries of an index that is being asked, from any thread.
pub fn interrupt(index: &Connection) -> impl Fn() + Send + Sync + use<> {
    let handle = index.get_interrupt_handle();
    move || handle.interrupt()
}

/// The traces that an export takes, of one snapshot of the index, by segment. While it lives the index's journal grows.
pub struct Chosen<'c> {
    layout: &'c Layout,
    selection: Selection<'c>,
    segments: Vec<SelectedSegment>,
}

impl<'c> Chosen<'c> {
    /// Of all traces that pass the filter, the newest `limit`; `None` for all of them.
    ///
    /// # Errors
    /// The index cannot be asked.
    pub fn of(
        layout: &'c Layout,
        index: &'c Connection,
        filter: &Filter,
        limit: Option<u64>,
    ) -> Result<Chosen<'c>, ExportError> {
        let selection = Selection::new(index, filter, limit)?;
        let segments = selection.segments()?;
        Ok(Chosen { layout, selection, segments })
    }

    /// Whether more traces pass the filter than the limit let through.
    pub fn is_limited(&self) -> bool {
        self.selection.is_limited()
    }

    /// Bytes of the files that hold the chosen lines, as they stand on disk; one that is gone counts nothing.
    pub fn source_bytes(&self) -> u64 {
        let length = |path: std::path::PathBuf| std::fs::metadata(path).ok().map(|it| it.len());
        let bytes = |it: &SelectedSegment| {
            Form::ALL.into_iter().find_map(|form| length(self.layout.segment(it.segment, form))).unwrap_or(0)
        };
        self.segments.iter().map(bytes).sum()
    }

    /// How many of the chosen traces stand in files that are gone. They are left out of a flat form from now on; in the
    /// others it is told where they are missing.
    pub fn leave_out_gone(&mut self) -> u64 {
        let mut gone = 0;
        self.segments.retain(|it| {
            // A disk that does not say is asked again when the file is read.
            let is_there = self.layout.has_segment(it.segment).unwrap_or(true);
            gone += if is_there { 0 } else { it.traces };
            is_there
        });
        gone
    }

    /// Writes them to `out`. `work` counts bytes of lines.
    ///
    /// In an archive, files that are damaged or were deleted meanwhile are skipped, and told in it and in the report, and
    /// in HAR in its comment; lines alone have no place to tell it, so there it is an error. After an error, what `out`
    /// was given has no end: no reader takes it for whole.
    ///
    /// # Errors
    /// See [`ExportError`].
    pub fn write<W: Write>(
        &self,
        format: Format,
        request: &Request,
        out: W,
        work: &Work,
    ) -> Result<Report, ExportError> {
        let mut report = Report {
            range: self.segments.iter().fold(None, |range: Option<(UnixMillis, UnixMillis)>, it| {
                let (first, last) = range.unwrap_or((it.first_ts, it.last_ts));
                Some((first.min(it.first_ts), last.max(it.last_ts)))
            }),
            is_limited: self.is_limited(),
            behind: behind(self.layout, &self.selection)?,
            ..Report::default()
        };
        work.begin("packing lines", self.segments.iter().map(|it| it.bytes).sum());
        match format {
            Format::Zip => self.zip(request, out, work, &mut report)?,
            Format::Jsonl => flat::jsonl(self, request, out, work, &mut report)?,
            Format::Har => har::write(self, request, out, work, &mut report)?,
        }
        Ok(report)
    }

    fn zip<W: Write>(&self, request: &Request, out: W, work: &Work, report: &mut Report) -> Result<(), ExportError> {
        let (layout, selection) = (self.layout, &self.selection);
        let mut archive = Archive::new(out);
        for segment in &self.segments {
            lines::write(&mut archive, layout, selection, segment, request, work, report)?;
        }
        if request.hidden.is_none() {
            work.begin("packing attachments", 0);
            media::write(&mut archive, layout, selection, request, work, report)?;
        }
        guides::write(&mut archive, request)?;
        archive.text("README.md", &readme::text(request, report, UnixMillis::now()))?;
        Ok(archive.finish()?)
    }
}

/// Writes an archive to `out`, reading index and files of the data dir as they are now: [`Chosen::write`] of
/// [`Format::Zip`].
///
/// # Errors
/// See [`ExportError`].
pub fn package<W: Write>(
    layout: &Layout,
    index: &Connection,
    request: &Request,
    out: W,
    work: &Work,
) -> Result<Report, ExportError> {
    work.begin("selecting", 0);
    Chosen::of(layout, index, &request.filter, request.limit)?.write(Format::Zip, request, out, work)
}

/// How many segments hold lines that are not indexed.
fn behind(layout: &Layout, selection: &Selection<'_>) -> Result<u64, ExportError> {
    let mut behind = 0;
    for found in layout.segments().map_err(ExportError::List)? {
        let indexed = selection.indexed_to(found.id)?;
        let is_whole = match plain_length(layout, found.id) {
            Some(length) => indexed.map_or(0, |it| it.offset) >= length,
            // What a sealed form holds is known only once it was read to its end.
            None => indexed.is_some_and(|it| it.is_done),
        };
        behind += u64::from(!is_whole);
    }
    Ok(behind)
}

/// The length of a segment's plain form, if it has one.
fn plain_length(layout: &Layout, segment: SegmentId) -> Option<u64> {
    std::fs::metadata(layout.segment(segment, Form::Plain)).ok().map(|it| it.len())
}

#[cfg(test)]
mod tests;
