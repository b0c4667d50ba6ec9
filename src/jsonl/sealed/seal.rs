//! From a plain segment to a sealed one: whole and checked before the plain file goes, and resumable at any step.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::blocks::Blocks;
use super::encode::Encoder;
use super::{Codec, SealedError, Table, Verified, verify_sealed};
use crate::ids::SegmentId;
use crate::jsonl::file::mend;
use crate::store::layout::{Form, Layout};

/// Every way to seal.
const CODECS: [Codec; 2] = [Codec::Zstd, Codec::Gzip];

/// How far sealing has got: what its watcher hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A torn last line, if any, is out of the way.
    Mended,
    /// So many more plain bytes were read, for one purpose or the other.
    Read(u64),
    /// The sealed file stands under its temporary name, on the disk.
    Written,
    /// It gives the plain file's bytes.
    Verified,
    /// It has its own name, on the disk. From here on the plain file is one too many.
    InPlace,
    /// The plain file is gone.
    Removed,
}

/// What there was to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The segment was sealed.
    Sealed(Sealed),
    /// It had been sealed before, and only the plain file was left over. It gave the same bytes, and is gone now.
    WasSealed,
    /// There is no plain file: it is sealed already, or deleted.
    NotPlain,
}

/// What sealing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Bytes of the plain file, which is gone.
    pub plain_bytes: u64,
    /// Bytes of the sealed file, its table included.
    pub packed_bytes: u64,
    /// Its blocks.
    pub blocks: u64,
    /// Bytes of a torn last line that were moved aside before.
    pub cut_bytes: u64,
}

/// A segment that was not sealed. Its plain file is as it was, and no half-written file is left.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The watcher said so.
    #[error("stopped")]
    Stopped,
    /// The disk refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why; `StorageFull` when the disk is full.
        source: io::Error,
    },
    /// What was written does not give the plain file's bytes.
    #[error("{path} does not give the plain file's bytes: {reason}")]
    NotTheSame {
        /// The file, which is gone again.
        path: PathBuf,
        /// How it shows.
        reason: String,
    },
    /// A sealed file of this segment is there already and holds what the plain one does not. Both stay.
    #[error("{path} holds what the plain file beside it does not; one of them must be moved away")]
    Conflict {
        /// The sealed file.
        path: PathBuf,
    },
    /// Somebody wrote to the plain file meanwhile.
    #[error("{path} changed while it was sealed")]
    Changed {
        /// The plain file.
        path: PathBuf,
    },
}

/// Seals a segment. Whoever calls makes sure that nobody writes to its plain file, holds a lease on it, and seals no
/// segment twice at once.
///
/// Written beside (`….new`), synced, read back and compared with the plain bytes, renamed, then the plain file is
/// removed. After a crash the next call finds its way from whatever it finds: what is half-written is begun anew, a
/// plain file beside a sealed one that holds the same is removed. A sealed file that holds less than the plain one
/// (another program may have died over it) is replaced. The sealed file keeps the plain file's time.
///
/// # Errors
/// [`SealError`]. The plain file stays.
pub fn seal(
    layout: &Layout,
    segment: SegmentId,
    codec: Codec,
    watch: &mut dyn FnMut(Step) -> ControlFlow<()>,
) -> Result<Outcome, SealError> {
    for codec in CODECS {
        remove_if_there(&layout.sealing(segment, codec.form()))?;
    }
    let path = layout.segment(segment, Form::Plain);
    let mut file = match File::options().read(true).write(true).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Outcome::NotPlain),
        other => other.map_err(at(&path))?,
    };
    let metadata = file.metadata().map_err(at(&path))?;
    let (found, modified) = (metadata.len(), metadata.modified().map_err(at(&path))?);
    let length = mend(&mut file, &path).map_err(at(&path))?;
    let mut plain = Plain { path, file, length, modified };
    go_on(watch(Step::Mended))?;
    let folder = layout.day(segment.bucket.date);
    let (same, less) = already_sealed(layout, segment, &mut plain, watch)?;
    let kept = same.unwrap_or(codec);
    let outcome = match same {
        Some(_) => Outcome::WasSealed,
        None => {
            let beside = layout.sealing(segment, codec.form());
            let place = layout.segment(segment, codec.form());
            let sealed = pack(&mut plain, codec, &beside, watch)
                .and_then(|sealed| fs::rename(&beside, &place).map_err(at(&place)).map(|()| sealed))
                .inspect_err(|_| {
                    // If that fails too, the next call removes it.
                    let _ = fs::remove_file(&beside);
                })?;
            Outcome::Sealed(Sealed { cut_bytes: found - length, ..sealed })
        }
    };
    sync_folder(&folder)?;
    go_on(watch(Step::InPlace))?;
    for codec in less.into_iter().filter(|it| *it != kept) {
        remove_if_there(&layout.segment(segment, codec.form()))?;
    }
    plain.is_unchanged()?;
    remove_if_there(&plain.path)?;
    sync_folder(&folder)?;
    // Nothing is left to be stopped.
    let _ = watch(Step::Removed);
    Ok(outcome)
}

/// Writes the blocks of `plain` and their table. Nothing is synced. Gives the number of blocks.
///
/// # Errors
/// Either side's.
pub fn write_sealed(
    plain: &mut (impl Read + Seek),
    ahead: &mut (impl Read + Seek),
    codec: Codec,
    block_bytes: u64,
    sink: &mut impl Write,
) -> io::Result<usize> {
    plain.rewind()?;
    ahead.rewind()?;
    let mut blocks = Blocks::new(BufReader::with_capacity(256 * 1024, ahead), block_bytes);
    let mut encoder = Encoder::new(codec, block_bytes)?;
    while let Some(length) = blocks.next_length()? {
        encoder.block(plain, length, sink)?;
    }
    sink.write_all(&encoder.table())?;
    Ok(encoder.blocks())
}

/// Whether a sealed file holds nothing that the plain one beside it does not: all of it, or its beginning and then
/// nothing that can be read. Both are only looked at.
///
/// # Errors
/// [`SealError::Io`].
pub fn is_contained(layout: &Layout, segment: SegmentId, codec: Codec) -> Result<bool, SealError> {
    let path = layout.segment(segment, Form::Plain);
    let file = File::open(&path).map_err(at(&path))?;
    let metadata = file.metadata().map_err(at(&path))?;
    let modified = metadata.modified().map_err(at(&path))?;
    let mut plain = Plain { path, file, length: metadata.len(), modified };
    let sealed = layout.segment(segment, codec.form());
    let likeness = compare(&sealed, codec, &mut plain, &mut |_| ControlFlow::Continue(()))?;
    Ok(!matches!(likeness, Likeness::Other(_)))
}

/// The plain file being sealed.
struct Plain {
    path: PathBuf,
    file: File,
    length: u64,
    /// When it was last written to, by others.
    modified: SystemTime,
}

impl Plain {
    fn is_unchanged(&self) -> Result<(), SealError> {
        let now = self.file.metadata().map_err(at(&self.path))?.len();
        if now == self.length { Ok(()) } else { Err(SealError::Changed { path: self.path.clone() }) }
    }
}

/// Makes the sealed file under its temporary name, and checks it.
fn pack(
    plain: &mut Plain,
    codec: Codec,
    beside: &Path,
    watch: &mut dyn FnMut(Step) -> ControlFlow<()>,
) -> Result<Sealed, SealError> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(beside).map_err(at(beside))?;
    let mut sink = BufWriter::with_capacity(256 * 1024, file);
    let mut ahead = File::open(&plain.path).map_err(at(&plain.path))?;
    let mut source = Watched { inner: &mut plain.file, watch };
    let blocks = write_sealed(&mut source, &mut ahead, codec, codec.block_bytes(), &mut sink)
        .map_err(|source| SealError::of(beside, source))?;
    let file = sink.into_inner().map_err(|error| at(beside)(error.into_error()))?;
    // Backups and `find -mtime` go by the age of its lines, not of their sealing.
    file.set_modified(plain.modified).and_then(|()| file.sync_all()).map_err(at(beside))?;
    let packed_bytes = file.metadata().map_err(at(beside))?.len();
    go_on(watch(Step::Written))?;
    match compare(beside, codec, plain, watch)? {
        Likeness::Same { has_table: true } => {}
        Likeness::Same { has_table: false } => {
            return Err(SealError::NotTheSame { path: beside.into(), reason: "it has no table".into() });
        }
        Likeness::Less(reason) | Likeness::Other(reason) => {
            return Err(SealError::NotTheSame { path: beside.into(), reason });
        }
    }
    go_on(watch(Step::Verified))?;
    Ok(Sealed { plain_bytes: plain.length, packed_bytes, blocks: blocks as u64, cut_bytes: 0 })
}

/// Sealed files beside the plain one: one that holds the same, and those that hold less.
fn already_sealed(
    layout: &Layout,
    segment: SegmentId,
    plain: &mut Plain,
    watch: &mut dyn FnMut(Step) -> ControlFlow<()>,
) -> Result<(Option<Codec>, Vec<Codec>), SealError> {
    let (mut same, mut less) = (None, Vec::new());
    for codec in CODECS {
        let path = layout.segment(segment, codec.form());
        if !path.try_exists().map_err(at(&path))? {
            continue;
        }
        match compare(&path, codec, plain, watch)? {
            Likeness::Same { .. } if same.is_none() => same = Some(codec),
            Likeness::Same { .. } | Likeness::Less(_) => less.push(codec),
            Likeness::Other(_) => return Err(SealError::Conflict { path }),
        }
    }
    Ok((same, less))
}

/// What a sealed file is beside a plain one.
enum Likeness {
    /// It gives the same bytes.
    Same { has_table: bool },
    /// It gives the beginning of them, and ends or breaks there.
    Less(String),
    /// It gives something else.
    Other(String),
}

/// Reads a sealed file through beside the plain one, byte for byte.
fn compare(
    path: &Path,
    codec: Codec,
    plain: &mut Plain,
    watch: &mut dyn FnMut(Step) -> ControlFlow<()>,
) -> Result<Likeness, SealError> {
    plain.file.rewind().map_err(at(&plain.path))?;
    let mut expected = Watched { inner: (&mut plain.file).take(plain.length), watch };
    let mut buffer = Vec::new();
    let mut compared: u64 = 0;
    let outcome = verify_sealed(path, codec, |found| {
        buffer.resize(found.len(), 0);
        match expected.read_exact(&mut buffer) {
            Ok(()) if buffer == found => {}
            Ok(()) => return Err(io::Error::other(Differs("another byte"))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(io::Error::other(Differs("more bytes")));
            }
            Err(error) => return Err(error),
        }
        compared += found.len() as u64;
        Ok(())
    });
    match outcome {
        Ok(Verified { has_table, .. }) if compared == plain.length => Ok(Likeness::Same { has_table }),
        Ok(_) => Ok(Likeness::Less(format!("it ends behind {compared} of {} bytes", plain.length))),
        Err(SealedError::Io { source, .. }) => match source.downcast::<Differs>() {
            Ok(differs) => Ok(Likeness::Other(format!("{differs} behind {compared}"))),
            Err(source) => Err(SealError::of(path, source)),
        },
        // Behind the damage there is more than the plain file has, as the table tells.
        Err(damage) if table_bytes(path, codec).is_some_and(|bytes| bytes > plain.length) => {
            Ok(Likeness::Other(damage.to_string()))
        }
        Err(damage) => Ok(Likeness::Less(damage.to_string())),
    }
}

/// The plain bytes of a sealed file by its table, if it has one that can be read.
fn table_bytes(path: &Path, codec: Codec) -> Option<u64> {
    let table = Table::read(&mut File::open(path).ok()?, codec).ok()??;
    Some(table.plain_bytes())
}

/// Why a comparison ended early.
#[derive(Debug, thiserror::Error)]
#[error("it has {0}")]
struct Differs(&'static str);

/// Tells the watcher of every read.
struct Watched<'w, R> {
    inner: R,
    watch: &'w mut dyn FnMut(Step) -> ControlFlow<()>,
}

#[derive(Debug, thiserror::Error)]
#[error("stopped")]
struct Stopped;

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(into)?;
        match (self.watch)(Step::Read(read as u64)) {
            ControlFlow::Continue(()) => Ok(read),
            ControlFlow::Break(()) => Err(io::Error::other(Stopped)),
        }
    }
}

impl<R: Seek> Seek for Watched<'_, R> {
    fn seek(&mut self, position: io::SeekFrom) -> io::Result<u64> {
        self.inner.seek(position)
    }
}

impl SealError {
    fn of(path: &Path, source: io::Error) -> SealError {
        match source.downcast::<Stopped>() {
            Ok(Stopped) => SealError::Stopped,
            Err(source) => SealError::Io { path: path.into(), source },
        }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SealError {
    let path = path.to_path_buf();
    move |source| SealError::Io { path, source }
}

fn go_on(flow: ControlFlow<()>) -> Result<(), SealError> {
    if flow.is_break() { Err(SealError::Stopped) } else { Ok(()) }
}

fn remove_if_there(path: &Path) -> Result<(), SealError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

fn sync_folder(folder: &Path) -> Result<(), SealError> {
    File::open(folder).and_then(|it| it.sync_all()).map_err(at(folder))
}
