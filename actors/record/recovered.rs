//! A log that an earlier process left: in its arena's file, in a spool, or in both.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api_log::capture::chunk::COMMITTED_AT;
use api_log::capture::find::{self, Piece};
use api_log::capture::read::{LogReader, Told};
use api_log::ids::{TraceId, UnixMillis};

/// The arena of a process that is gone. Its file is removed when all that it holds has an outcome.
pub(crate) struct OldArena {
    file: File,
    path: PathBuf,
    /// Logs that have no outcome yet.
    left: AtomicUsize,
}

/// One log of it, or of a spool alone.
pub(crate) struct RecoveredLog {
    /// Whose it is.
    pub(crate) id: TraceId,
    /// Where its bytes are.
    pub(crate) pieces: Vec<Piece>,
    /// The arena, and where the log's first chunk begins there.
    pub(crate) arena: Option<(Arc<OldArena>, u64)>,
    /// Its spool, if there is one.
    pub(crate) spool: Option<PathBuf>,
    /// So far it is covered, if it is a socket's.
    pub(crate) covered: u64,
}

impl OldArena {
    /// An arena that holds so many logs.
    pub(crate) fn new(file: File, path: PathBuf, logs: usize) -> Arc<OldArena> {
        let arena = Arc::new(OldArena { file, path, left: AtomicUsize::new(logs + 1) });
        // One more than there are logs, so that an arena without any goes, too.
        arena.has_one_less();
        arena
    }

    fn has_one_less(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1
            && let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.path.display(), "an old arena cannot be removed");
        }
    }
}

impl RecoveredLog {
    /// What its first piece tells, if it can be read.
    pub(crate) fn first_told(&self) -> Option<Told> {
        let mut reader = LogReader::new();
        self.read(self.pieces.get(..1).unwrap_or_default(), &mut reader).ok()?;
        reader.finish().ok()
    }

    /// Whether it is a socket's; `None` if it does not begin as a log of that name does.
    pub(crate) fn is_socket(&self) -> Option<bool> {
        let told = self.first_told().filter(|told| told.begin.id == self.id)?;
        // Only who asked for an upgrade, or has a longer head than was read, is looked into.
        let head = told.request_head.to_ascii_lowercase();
        let may_be = !head.ends_with(b"\r\n\r\n") || head.windows(9).any(|it| it == b"\nupgrade:");
        Some(told.is_socket || (may_be && self.told().0.is_socket))
    }

    /// The name of what is recovered of a socket whose first piece has its own: the same in each try.
    pub(crate) fn other_id(&self) -> TraceId {
        self.id.beside(self.covered)
    }

    /// From when on its line may stand in a file: a line is written behind the end. One that has none may have been
    /// written by a recovery that was broken off, and a socket's first piece has its name.
    pub(crate) fn line_since(&self) -> UnixMillis {
        let mut reader = LogReader::new();
        let last = self.pieces.len().saturating_sub(1);
        let read = self.read(&self.pieces[last..], &mut reader);
        let UnixMillis(began) = self.id.moment();
        let is_known = read.is_ok() && reader.has_ended();
        UnixMillis(if is_known { began.saturating_add((reader.last_us() / 1000) as i64) } else { began })
    }

    /// All of it (blocking). What cannot be read is told as missing, with the reason.
    pub(crate) fn told(&self) -> (Told, Option<io::Error>) {
        let mut reader = LogReader::covered(self.covered);
        let read = self.read(&self.pieces, &mut reader);
        (reader.finish().unwrap_or_else(|_| Told::nothing(self.id)), read.err())
    }

    fn read(&self, pieces: &[Piece], reader: &mut LogReader) -> io::Result<()> {
        let spool = self.spool.as_ref().and_then(|path| File::open(path).ok());
        find::read(pieces, self.arena.as_ref().map(|(arena, _)| &arena.file), spool.as_ref(), reader)
    }

    /// The trace has its outcome: nobody finds the log again. As with logs of this process the first chunk goes first.
    pub(crate) fn forget(&self) {
        if let Some((arena, first)) = &self.arena
            && let Err(error) = arena.file.write_all_at(&0_u32.to_le_bytes(), first + COMMITTED_AT as u64)
        {
            tracing::warn!(trace = %self.id, %error, "an old arena cannot be written to");
        }
        if let Some(path) = &self.spool {
            // A file that cannot be removed costs disk, not data: the next start finds the line.
            let _ = std::fs::remove_file(path);
        }
        if let Some((arena, _)) = &self.arena {
            arena.has_one_less();
        }
    }
}
