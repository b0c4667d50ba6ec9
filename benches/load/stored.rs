//! A data dir that holds days of traces already: made once, copied for each run.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::dataset;
use crate::plan::Plan;
use crate::process::Trouble;
use crate::recorder::command;

/// Room that is left beside what is made.
const SPARE_BYTES: u64 = 4 << 30;
/// About what the index takes of a row.
const ROW_BYTES: u64 = 600;

/// A copy of it in an empty folder.
pub(crate) fn copy(plan: &Plan, binary: &Path, to: &Path) -> Result<(), Trouble> {
    let from = made(plan, binary)?;
    link_all(&from, to, true).map_err(|error| Trouble::at(&format!("copying {}", from.display()), error))
}

/// Makes it, unless it is there.
fn made(plan: &Plan, binary: &Path) -> Result<PathBuf, Trouble> {
    let (rows, bytes) = (plan.rows(), plan.stored_bytes());
    let beside = plan.work.parent().unwrap_or(Path::new("."));
    let whole = beside.join(format!("stored-{rows}-{}", bytes >> 30));
    if whole.is_dir() {
        return Ok(whole);
    }
    let at = |what: &str, error: &dyn std::fmt::Display| Trouble::at(&format!("{what} {}", whole.display()), error);
    let room = rustix::fs::statvfs(beside).map_err(|error| at("room for", &error))?;
    let (free, wanted) = (room.f_bavail * room.f_frsize, bytes + rows * ROW_BYTES * 3 + SPARE_BYTES);
    if free < wanted {
        return Err(Trouble::said(format!(
            "{} needs {} GiB of room and there are {}: make room, or ask for less with --stored-gib and --rows",
            whole.display(),
            wanted >> 30,
            free >> 30
        )));
    }
    let unfinished = whole.with_extension("unfinished");
    let _ = std::fs::remove_dir_all(&unfinished);
    eprintln!("load:   making {rows} traces, once");
    let written = dataset::generate(&unfinished, rows, (bytes / rows) as usize);
    let written = written.map_err(|error| at("making", &error))?;
    eprintln!("load:   {} MB of lines; making their index", written / 1_000_000);
    let rebuilt = command(binary, &[])
        .args(["rebuild", "--json", "--data-dir"])
        .arg(&unfinished)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| at("indexing", &error))?;
    if !rebuilt.status.success() {
        return Err(at("indexing", &String::from_utf8_lossy(&rebuilt.stderr)));
    }
    std::fs::rename(&unfinished, &whole).map_err(|error| at("making", &error))?;
    Ok(whole)
}

/// Links what nobody writes to again, days of the past, and copies the rest: the index, settings.
fn link_all(from: &Path, to: &Path, is_top: bool) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let there = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            link_all(&entry.path(), &there, false)?;
        } else if is_top {
            std::fs::copy(entry.path(), there)?;
        } else {
            std::fs::hard_link(entry.path(), there)?;
        }
    }
    Ok(())
}
