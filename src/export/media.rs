//! The attachments of the selected traces.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::archive::Archive;
use super::{ExportError, Report, Request};
use crate::index::query::selection::{SelectedMedia, Selection};
use crate::store::layout::Layout;
use crate::work::Work;

/// Bytes of a file that are held at a time.
const CHUNK: usize = 128 * 1024;

/// Writes the attachments, by trace and name. What cannot be had is told in the report.
pub(super) fn write<W: Write>(
    archive: &mut Archive<W>,
    layout: &Layout,
    selection: &Selection<'_>,
    request: &Request,
    work: &Work,
    report: &mut Report,
) -> Result<(), ExportError> {
    selection.media(|trace| {
        work.check()?;
        let lease = request.leases.as_ref().map(|leases| leases.shared(trace.segment)).transpose();
        let outcome = match lease {
            Ok(_lease) => of_trace(archive, layout, trace, work, report)?,
            Err(deleted) => Err(deleted.to_string()),
        };
        let (found, why) = match outcome {
            Ok(found) => (found, "no such files".to_owned()),
            Err(why) => (0, why),
        };
        let missing = trace.count.saturating_sub(found);
        if missing > 0 {
            report.skipped.attachments += u64::from(missing);
            let told = format!("media/{}: {missing} of {} attachments, {why}", trace.id, trace.count);
            report.skipped.tell(told);
        }
        Ok(())
    })
}

/// How many of a trace's attachments were there, or why the folder cannot be read.
fn of_trace<W: Write>(
    archive: &mut Archive<W>,
    layout: &Layout,
    trace: SelectedMedia,
    work: &Work,
    report: &mut Report,
) -> Result<Result<u32, String>, ExportError> {
    let folder = layout.media(trace.segment.bucket, trace.id);
    let names = match names(&folder) {
        Ok(names) => names,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut found = 0;
    for name in names {
        let entry = format!("media/{}/{name}", trace.id);
        match copy(archive, &folder.join(&name), &entry, trace, work)? {
            Ok(()) => {
                found += 1;
                report.attachments += 1;
            }
            Err(error) => report.skipped.tell(format!("{entry}: {error}")),
        }
    }
    Ok(Ok(found))
}

/// The names of whole attachments, sorted; none if the folder is gone.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok().filter(|name| !name.starts_with('.')));
    }
    names.sort_unstable();
    Ok(names)
}

/// Copies one file into an entry of its own; the inner error is the file's.
fn copy<W: Write>(
    archive: &mut Archive<W>,
    path: &Path,
    entry: &str,
    trace: SelectedMedia,
    work: &Work,
) -> Result<io::Result<()>, ExportError> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
    let (length, mut file) = match opened {
        Ok(opened) => opened,
        Err(error) => return Ok(Err(error)),
    };
    archive.begin(entry, Some(trace.ts_start), length)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        work.check()?;
        match file.read(&mut chunk) {
            Ok(0) => return Ok(Ok(())),
            Ok(read) => {
                archive.write_all(&chunk[..read])?;
                work.advance(read as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                archive.withdraw(entry)?;
                return Ok(Err(error));
            }
        }
    }
}
