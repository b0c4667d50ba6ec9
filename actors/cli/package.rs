//! `api-log package`: selected traces as a zip archive, without a running recorder.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use api_log::config::Config;
use api_log::export::{self, ExportError, Report, Request};
use api_log::ids::UnixMillis;
use api_log::index::filter::{Filter, KeyFilter, PathFilter};
use api_log::store::layout::Layout;

use super::args::Package;
use super::exit::Code;
use super::progress::{self, Interrupted, Unit};

/// Bytes gathered before they are written.
const BUFFER: usize = 256 * 1024;

/// No archive was made.
#[derive(Debug, thiserror::Error)]
enum PackageError {
    #[error("cannot write {path}: {source}")]
    Create { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Where the archive goes.
enum Out {
    StandardOutput,
    File(PathBuf),
}

/// Makes the archive and says on standard error what it holds. One that is not whole is removed.
pub(crate) fn run(asked: Package, config: &Config) -> Code {
    let out = match &asked.out {
        Some(path) if path.as_os_str() == "-" => Out::StandardOutput,
        Some(path) => Out::File(path.clone()),
        None => Out::File(Path::new(".").join(export::default_name(UnixMillis::now()))),
    };
    let request =
        Request { limit: (asked.limit > 0).then_some(asked.limit), filter: filter(asked), leases: None, hidden: None };
    match package(Layout::new(&config.storage.data_dir), request, &out) {
        Ok(report) => {
            tell(&report, &out);
            Code::Done
        }
        Err(error) => {
            super::complain(format_args!("package: {error}"));
            Code::Failed
        }
    }
}

fn filter(asked: Package) -> Filter {
    let prefix = asked.path_prefix.filter(|it| !it.is_empty()).map(PathFilter::Prefix);
    Filter {
        since: asked.from.map(|it| it.0),
        until: asked.to.map(|it| it.0),
        status: asked.status,
        model: asked.model,
        path: asked.path.as_deref().map(PathFilter::exactly).or(prefix),
        key: asked.key_prefix.as_deref().and_then(KeyFilter::beginning_with),
        session_root: asked.session,
        project: asked.project,
        tag: asked.tag,
        ..Filter::default()
    }
}

fn package(layout: Layout, request: Request, out: &Out) -> Result<Report, PackageError> {
    // Before the file is touched: without an index there is nothing to pack.
    let index = export::open_index(&layout)?;
    let to: Box<dyn Write + Send> = match out {
        Out::StandardOutput => Box::new(io::stdout()),
        Out::File(path) => {
            Box::new(create(path).map_err(|source| PackageError::Create { path: path.clone(), source })?)
        }
    };
    let mut writer = BufWriter::with_capacity(BUFFER, to);
    let made = progress::run(Unit::Bytes, move |work| {
        let report = export::package(&layout, &index, &request, &mut writer, work)?;
        writer.flush()?;
        Ok::<Report, ExportError>(report)
    });
    let made = made.map_err(PackageError::from).and_then(|made| Ok(made?));
    if let (Err(_), Out::File(path)) = (&made, out) {
        remove_partial(path);
    }
    made
}

/// The file, empty and for its owner alone.
fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let metadata = file.metadata()?;
    // One that was there keeps the mode it had, and credentials would be written into it.
    if metadata.is_file() && metadata.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Removes a file that is no archive. A device or a pipe stays.
fn remove_partial(path: &Path) {
    let is_file = std::fs::symlink_metadata(path).is_ok_and(|it| it.is_file());
    if is_file && let Err(error) = std::fs::remove_file(path) {
        super::complain(format_args!("package: {} is not whole and cannot be removed: {error}", path.display()));
    }
}

fn tell(report: &Report, out: &Out) {
    let name = match out {
        Out::StandardOutput => "standard output".to_owned(),
        Out::File(path) => path.display().to_string(),
    };
    let limited = if report.is_limited { ", the newest of more that matched" } else { "" };
    super::complain(format_args!(
        "package: {name}: {} traces{limited}, {} attachments",
        report.traces, report.attachments
    ));
    if !report.skipped.is_empty() {
        super::complain(format_args!(
            "package: skipped, because their files are gone or damaged: {} traces, {} attachments; README.md in it tells which",
            report.skipped.traces, report.skipped.attachments
        ));
    }
    if report.behind > 0 {
        super::complain(format_args!(
            "package: not in it: lines of {} files that are not indexed yet; a running recorder will do so soon, else run `api-log rebuild`",
            report.behind
        ));
    }
}
