//! The lines of one segment, copied verbatim into an entry of its own.

use std::io::Write;

use super::archive::Archive;
use super::{ExportError, Report, Request, plain_length};
use crate::index::query::selection::{SelectedSegment, Selection};
use crate::jsonl::forward::ForwardReader;
use crate::jsonl::read::ReadError;
use crate::store::layout::Layout;
use crate::store::lease::{BeingDeleted, SharedLease};
use crate::work::Work;

/// What an entry's name says of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    Whole,
    Partial,
}

/// How the copying of a segment went.
#[derive(Debug, Default)]
pub(super) struct Copied {
    traces: u64,
    bytes: u64,
    /// Selected lines that are not where their rows say.
    not_there: u64,
    /// What stopped the reading.
    damage: Option<ReadError>,
}

/// Writes the selected lines of a segment. What cannot be had is told in the report.
pub(super) fn write<W: Write>(
    archive: &mut Archive<W>,
    layout: &Layout,
    selection: &Selection<'_>,
    of: &SelectedSegment,
    request: &Request,
    work: &Work,
    report: &mut Report,
) -> Result<(), ExportError> {
    let Ok(_lease) = lease(request, of, report) else { return Ok(()) };
    let extent = extent(layout, selection, of)?;
    let mut copied = copy(archive, layout, selection, of, (extent, request), work)?;
    if extent == Extent::Whole && copied.traces > 0 && copied.traces < of.traces {
        // The name would promise what the entry does not hold.
        archive.withdraw(&name(of, Extent::Whole))?;
        copied = copy(archive, layout, selection, of, (Extent::Partial, request), &Work::new())?;
    }
    copied.tell(of, report);
    Ok(())
}

/// The right to read a segment, where rights are held; one that is being deleted is told as skipped.
pub(super) fn lease(
    request: &Request,
    of: &SelectedSegment,
    report: &mut Report,
) -> Result<Option<SharedLease>, BeingDeleted> {
    let lease = request.leases.as_ref().map(|leases| leases.shared(of.segment)).transpose();
    if let Err(deleted) = &lease {
        report.skipped.traces += of.traces;
        report.skipped.tell(format!("{}: {} ({deleted})", of.segment, traces(of.traces)));
    }
    lease
}

impl Copied {
    /// Adds it to the report, with what is missing and why.
    pub(super) fn tell(self, of: &SelectedSegment, report: &mut Report) {
        report.traces += self.traces;
        report.line_bytes += self.bytes;
        let missing = of.traces - self.traces;
        report.skipped.traces += missing;
        let told = |why: &dyn std::fmt::Display| format!("{}: {}, {why}", of.segment, traces(missing));
        match self.damage {
            Some(ReadError::Gone(_)) => report.skipped.tell(told(&"the file is gone")),
            Some(damage) => report.skipped.tell(told(&damage)),
            None if self.not_there > 0 => report.skipped.tell(told(&"no such line where the index says")),
            None => {}
        }
    }
}

fn traces(count: u64) -> String {
    if count == 1 { "1 trace".to_owned() } else { format!("{count} traces") }
}

fn name(of: &SelectedSegment, extent: Extent) -> String {
    let plain = of.segment.to_string();
    match extent {
        Extent::Whole => format!("data/{plain}"),
        Extent::Partial => format!("data/{}.partial.jsonl", plain.strip_suffix(".jsonl").unwrap_or(&plain)),
    }
}

/// Selected lines never overlap, so they are the whole file if they are as long as it.
fn extent(layout: &Layout, selection: &Selection<'_>, of: &SelectedSegment) -> rusqlite::Result<Extent> {
    let length = match plain_length(layout, of.segment) {
        Some(length) => Some(length),
        None => selection.indexed_to(of.segment)?.filter(|it| it.is_done).map(|it| it.offset),
    };
    Ok(if length == Some(of.bytes) { Extent::Whole } else { Extent::Partial })
}

fn copy<W: Write>(
    archive: &mut Archive<W>,
    layout: &Layout,
    selection: &Selection<'_>,
    of: &SelectedSegment,
    (extent, request): (Extent, &Request),
    work: &Work,
) -> Result<Copied, ExportError> {
    let mut is_begun = false;
    each(layout, selection, of, request, work, |line| {
        // Only now: an entry without a line would be of no use.
        if !std::mem::replace(&mut is_begun, true) {
            archive.begin(&name(of, extent), Some(of.first_ts), of.bytes)?;
        }
        archive.write_all(line)?;
        archive.write_all(b"\n")?;
        Ok(())
    })
}

/// Gives every selected line of a segment without its newline, in the order of the file: verbatim, but for what is
/// hidden.
pub(super) fn each(
    layout: &Layout,
    selection: &Selection<'_>,
    of: &SelectedSegment,
    request: &Request,
    work: &Work,
    mut take: impl FnMut(&[u8]) -> Result<(), ExportError>,
) -> Result<Copied, ExportError> {
    let mut copied = Copied::default();
    let mut reader = match ForwardReader::open(layout, of.segment) {
        Ok(reader) => reader,
        Err(damage) => return Ok(Copied { damage: Some(damage), ..copied }),
    };
    selection.lines(of, |id, place| -> Result<(), ExportError> {
        work.check()?;
        work.advance(u64::from(place.bytes) + 1);
        if copied.damage.is_some() {
            return Ok(());
        }
        let line = match reader.line(place, id) {
            Ok(line) => line,
            Err(ReadError::NotThere { .. }) => {
                copied.not_there += 1;
                return Ok(());
            }
            Err(damage) => {
                copied.damage = Some(damage);
                return Ok(());
            }
        };
        match &request.hidden {
            Some(hidden) => take(&hidden.line(line))?,
            None => take(line)?,
        }
        copied.traces += 1;
        copied.bytes += u64::from(place.bytes) + 1;
        Ok(())
    })?;
    Ok(copied)
}
