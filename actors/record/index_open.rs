//! The index's one writing connection, on a thread of its own, and an eye on the file behind it.

use std::path::PathBuf;
use std::sync::Arc;

use api_log::index::files::{self, Look};
use api_log::index::{IndexError, WriterState};
use api_log::store::lease::Leases;
use parking_lot::Mutex;
use tokio_rusqlite::Connection;

/// The connection and what its thread remembers. The lock is only ever taken on that thread.
#[derive(Clone)]
pub(super) struct Open {
    connection: Connection,
    kept: Arc<Mutex<Kept>>,
}

struct Kept {
    memory: WriterState,
    path: PathBuf,
    /// The file, and its journal, as they were after this connection's last work.
    look: Option<Look>,
    journal: Option<Look>,
}

/// Work that was not done.
pub(super) enum Undone {
    /// The index failed, or its file is gone.
    Index(IndexError),
    /// The connection's thread has ended.
    Closed,
}

/// What was done, and what was noticed before.
pub(super) struct Done<T> {
    pub(super) value: T,
    /// Somebody else has written to the file.
    pub(super) was_touched: bool,
}

impl Open {
    /// Takes over a connection that was just opened at `path`. Files are read under these leases.
    pub(super) async fn new(connection: rusqlite::Connection, path: PathBuf, leases: Leases) -> Open {
        let look = Look::at(&path);
        let kept = Kept { memory: WriterState::with_leases(leases), path, look, journal: None };
        let open = Open { connection: Connection::from(connection), kept: Arc::new(Mutex::new(kept)) };
        // A connection that is gone already shows with the first work.
        let _ = open
            .connection
            .call(|_| {
                go_behind();
                Ok::<(), rusqlite::Error>(())
            })
            .await;
        open
    }

    /// Runs work, if the file is still the one that was opened.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut rusqlite::Connection, &mut WriterState) -> Result<T, IndexError> + Send + 'static,
    ) -> Result<Done<T>, Undone> {
        let kept = self.kept.clone();
        let outcome = self.connection.call(move |connection| {
            let Kept { memory, path, look, journal } = &mut *kept.lock();
            let now = Look::at(path);
            let (Some(before), Some(now)) = (*look, now) else { return Err(IndexError::Gone) };
            if !before.is_same_file(&now) {
                return Err(IndexError::Gone);
            }
            let done = work(connection, memory);
            (*look, *journal) = (Look::at(path), files::journal(path));
            done.map(|value| Done { value, was_touched: before != now })
        });
        outcome.await.map_err(|error| match error {
            tokio_rusqlite::Error::Error(error) => Undone::Index(error),
            _ => Undone::Closed,
        })
    }

    /// Closes it in order. An error would mean unfinished statements; what was committed stays.
    pub(super) async fn close(self) {
        let _ = self.connection.close().await;
    }

    /// Closes it without touching any file, for it is not to be made worse.
    pub(super) async fn forsake(self) {
        let _ = self.connection.call(|connection| files::forsake(connection)).await;
        let _ = self.connection.close().await;
    }

    /// Closes it when its file is gone. A journal that it left behind would be taken for that of the file which stands
    /// there now.
    pub(super) async fn bury(self) {
        let kept = self.kept.clone();
        self.forsake().await;
        let remove = move || {
            let Kept { path, journal, .. } = &*kept.lock();
            journal.map_or(Ok(()), |journal| files::remove_journal(path, &journal))
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(remove).await {
            tracing::warn!(%error, "the journal of an index that is gone cannot be removed");
        }
    }
}

/// Lets forwarding and recording go before this thread, but not as long as [`go_last`]: rows are to be seen soon.
/// Nobody who goes first ever waits for it.
fn go_behind() {
    be_nice(7);
}

/// Lets forwarding, recording and the index go before this thread, which looks through or makes an index.
pub(super) fn go_last() {
    be_nice(10);
}

fn be_nice(niceness: libc::c_int) {
    // SAFETY: a plain system call; 0 is the calling thread. A refusal changes nothing.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) };
}
