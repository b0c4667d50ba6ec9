//! `api-log tail`: a line for each trace, as they come.

use std::collections::HashSet;

use api_log::config::Config;
use api_log::index::filter::Filter;
use api_log::index::query::TraceRow;

use super::args::Tail;
use super::error::LookError;
use super::paint::Out;
use super::recorder::Recorder;
use super::source::Source;
use super::{row_line, screen, tail_files, tail_recorder};
use crate::cli::serve::Signals;

/// Traces that are shown first if nobody says how many.
const LINES: usize = 10;
/// And at most, if all since a time are wanted.
pub(super) const MOST_LINES: usize = 100_000;

/// What is followed, and how it is shown.
pub(super) struct Followed {
    /// As the API's parameters.
    pub(super) filters: Vec<(&'static str, String)>,
    /// The same, typed.
    pub(super) filter: Filter,
    /// So many of those that are there already.
    pub(super) lines: usize,
    /// All of them were asked for.
    pub(super) wants_all: bool,
    pub(super) follows: bool,
    is_json: bool,
    out: Out,
    /// Those shown of what was there already: they may come again.
    shown: HashSet<String>,
}

pub(super) async fn run(asked: Tail, config: &Config) -> Result<(), LookError> {
    if asked.inflight {
        let filters = asked.filters.pairs();
        Filter::parse(filters.iter().map(|(name, value)| (*name, value.as_str())), &[])?;
        return screen::run(Recorder::new(&asked.from, config)?, filters, Out::new(asked.from.color)).await;
    }
    let mut signals = Signals::new()?;
    let filters = asked.filters.pairs();
    let filter = Filter::parse(filters.iter().map(|(name, value)| (*name, value.as_str())), &[])?;
    let wants_all = asked.lines.is_none() && filter.since.is_some();
    let followed = Followed {
        filters,
        filter,
        lines: asked.lines.unwrap_or(if wants_all { MOST_LINES } else { LINES }),
        wants_all,
        follows: !asked.no_follow,
        is_json: asked.json,
        out: Out::new(asked.from.color),
        shown: HashSet::new(),
    };
    let source = Source::of(&asked.from, config)?;
    tokio::select! {
        followed = async {
            match source {
                Source::Recorder(recorder) => tail_recorder::follow(&recorder, followed).await,
                Source::Files(layout) => tail_files::follow(layout, followed).await,
            }
        } => followed,
        // That is how it ends.
        _ = signals.next() => Ok(()),
    }
}

impl Followed {
    /// Shows a trace that was there already.
    pub(super) fn show_earlier(&mut self, row: &TraceRow) -> Result<(), LookError> {
        self.shown.insert(row.id.clone());
        self.write(row)
    }

    /// Shows a trace that came, unless it was shown.
    pub(super) fn show(&mut self, row: &TraceRow) -> Result<(), LookError> {
        if self.shown.remove(&row.id) { Ok(()) } else { self.write(row) }
    }

    /// Shows a trace that may have been shown, and may come again.
    pub(super) fn show_once(&mut self, row: &TraceRow) -> Result<(), LookError> {
        if self.shown.contains(&row.id) { Ok(()) } else { self.show_earlier(row) }
    }

    fn write(&self, row: &TraceRow) -> Result<(), LookError> {
        let line = if self.is_json {
            // A row is made of texts and numbers: it can be written.
            serde_json::to_string(row).map_err(|error| LookError::Out(error.into()))? + "\n"
        } else {
            row_line::line(row, self.out)
        };
        self.out.write(line.as_bytes())
    }
}
