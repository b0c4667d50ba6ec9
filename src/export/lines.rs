//! The lines of one segment, copied verbatim into an entry of its own.

use std::io::Write;

use super::archive::Archive;
use super::{ExportError, Report, Request, plain_length};
use crate::index::query::selection::{SelectedSegment, Selection};
use crate::jsonl::forward::ForwardReader;
use crate::jsonl::read::ReadError;
use crate::store::layout::Layout;
use crate::work::Work;

/// What an entry's name says of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    Whole,
    Partial,
}

/// How the copying of a segment went.
#[derive(Debug, Default)]
struct Copied {
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
    let _lease = match request.leases.as_ref().map(|leases| leases.shared(of.segment)) {
        Some(Err(deleted)) => {
            report.skipped.traces += of.traces;
            report.skipped.tell(format!("{}: {} ({deleted})", of.segment, traces(of.traces)));
            return Ok(());
        }
        lease => lease.transpose().ok().flatten(),
    };
    let extent = extent(layout, selection, of)?;
    let mut copied = copy(archive, layout, selection, of, extent, work)?;
    if extent == Extent::Whole && copied.traces > 0 && copied.traces < of.traces {
        // The name would promise what the entry does not hold.
        archive.withdraw(&name(of, Extent::Whole))?;
        copied = copy(archive, layout, selection, of, Extent::Partial, &Work::new())?;
    }
    report.traces += copied.traces;
    report.line_bytes += copied.bytes;
    let missing = of.traces - copied.traces;
    report.skipped.traces += missing;
    match copied.damage {
        Some(ReadError::Gone(_)) => {
            report.skipped.tell(format!("{}: {}, the file is gone", of.segment, traces(missing)));
        }
        Some(damage) => report.skipped.tell(format!("{}: {}, {damage}", of.segment, traces(missing))),
        None if copied.not_there > 0 => {
            let told = format!("{}: {}, no such line where the index says", of.segment, traces(missing));
            report.skipped.tell(told);
        }
        None => {}
    }
    Ok(())
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
    extent: Extent,
    work: &Work,
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
        // Only now: an entry without a line would be of no use.
        if copied.traces == 0 {
            archive.begin(&name(of, extent), Some(of.first_ts), of.bytes)?;
        }
        archive.write_all(line)?;
        archive.write_all(b"\n")?;
        copied.traces += 1;
        copied.bytes += u64::from(place.bytes) + 1;
        Ok(())
    })?;
    Ok(copied)
}
