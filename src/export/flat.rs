//! The lines alone, one behind the other.

use std::io::Write;

use super::{Chosen, ExportError, Report, Request, lines};
use crate::work::Work;

/// Writes the chosen lines, verbatim.
///
/// A line that cannot be had is an error: nothing in this form could tell that it is missing.
pub(super) fn jsonl<W: Write>(
    chosen: &Chosen<'_>,
    request: &Request,
    mut out: W,
    work: &Work,
    report: &mut Report,
) -> Result<(), ExportError> {
    for segment in &chosen.segments {
        let lease = lines::lease(request, segment, report);
        if lease.is_ok() {
            let copied = lines::each(chosen.layout, &chosen.selection, segment, request, work, |line| {
                out.write_all(line)?;
                Ok(out.write_all(b"\n")?)
            })?;
            copied.tell(segment, report);
        }
        if let Some(missing) = report.skipped.told.first() {
            return Err(ExportError::Incomplete(missing.clone()));
        }
    }
    Ok(out.flush()?)
}
