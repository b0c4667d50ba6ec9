//! Read-only connections to the index, each with a thread of its own.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use api_log::index::schema::{self, OpenError};
use parking_lot::Mutex;
use tokio_rusqlite::Connection;

use crate::kit::Budget;
use crate::record::index_status::Status;

/// Queries at once.
const CONNECTIONS: usize = 4;
/// Queries that run or wait; who comes then is told to come back.
const MOST_QUERIES: usize = 256;
/// How long a query waits for an index that cannot be opened.
const OPEN_PATIENCE: Duration = Duration::from_secs(3);
/// Pause between two tries to open it.
const OPEN_PAUSE: Duration = Duration::from_millis(20);

/// A few connections, opened when first needed and again after an error.
pub(crate) struct Readers {
    path: PathBuf,
    status: Arc<Status>,
    connections: [Mutex<Option<Reader>>; CONNECTIONS],
    next: AtomicUsize,
    room: Budget,
}

/// A connection, and the file it reads.
#[derive(Clone)]
struct Reader {
    connection: Connection,
    file: FileId,
}

/// Device and inode of a file: another one under the same name is told by them.
type FileId = (u64, u64);

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The index cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The query failed.
    #[error("index query: {0}")]
    Query(rusqlite::Error),
    /// The connection's thread has ended.
    #[error("the index connection has closed")]
    Closed,
    /// Too many ask at once.
    #[error("too many queries at once")]
    Busy,
}

impl Readers {
    /// Readers of the index at `path`.
    pub(crate) fn new(path: PathBuf, status: Arc<Status>) -> Readers {
        let room = Budget::new(0, MOST_QUERIES);
        Readers { path, status, connections: Default::default(), next: AtomicUsize::new(0), room }
    }

    /// The queries that run or wait, for health.
    pub(crate) fn room(&self) -> &Budget {
        &self.room
    }

    /// Runs a query on one of the connections. If it meets damage, the index is looked through, and what is damaged is
    /// set aside: the query is asked again of what stands in its place.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<T> + Clone + Send + 'static,
    ) -> Result<T, ReadError> {
        let _room = self.room.try_take(0).ok_or(ReadError::Busy)?;
        fault!(await "api.read");
        let slot = &self.connections[self.next.fetch_add(1, Ordering::Relaxed) % CONNECTIONS];
        let (file, outcome) = self.ask(slot, query.clone()).await?;
        match outcome {
            Err(ReadError::Query(error)) if schema::is_corrupt(&error) => {
                self.status.suspect();
                let deadline = Instant::now() + OPEN_PATIENCE;
                while file_id(&self.path).is_none_or(|it| it == file) {
                    if Instant::now() >= deadline {
                        return Err(ReadError::Query(error));
                    }
                    tokio::time::sleep(OPEN_PAUSE).await;
                }
                self.ask(slot, query).await?.1
            }
            other => other,
        }
    }

    /// Runs a query once, and says which file it asked.
    async fn ask<T: Send + 'static>(
        &self,
        slot: &Mutex<Option<Reader>>,
        query: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<(FileId, Result<T, ReadError>), ReadError> {
        // An index that was found damaged is set aside under its readers, and a new one stands in its place.
        let open = slot.lock().clone().filter(|open| file_id(&self.path).is_none_or(|it| it == open.file));
        let Reader { connection, file } = match open {
            Some(open) => open,
            None => {
                let opened = self.open().await?;
                slot.lock().insert(opened).clone()
            }
        };
        let outcome = connection.call(query).await.map_err(|error| {
            // Whatever is wrong with it, the next query opens anew.
            *slot.lock() = None;
            match error {
                tokio_rusqlite::Error::Error(error) => ReadError::Query(error),
                _ => ReadError::Closed,
            }
        });
        Ok((file, outcome))
    }

    /// Opens a connection. The index is made after the listeners are open, and anew when it was found damaged: who
    /// asks meanwhile waits for it.
    async fn open(&self) -> Result<Reader, ReadError> {
        let deadline = Instant::now() + OPEN_PATIENCE;
        loop {
            let path = self.path.clone();
            // Looked at first: if the file is replaced in between, the next query opens again.
            let file = file_id(&path);
            let opened = tokio::task::spawn_blocking(move || schema::open_reader(&path)).await;
            match opened.map_err(|_| ReadError::Closed)? {
                Ok(connection) => {
                    let connection = Connection::from(connection);
                    return Ok(Reader { connection, file: file.unwrap_or_default() });
                }
                Err(error) if Instant::now() >= deadline => return Err(error.into()),
                Err(_) => tokio::time::sleep(OPEN_PAUSE).await,
            }
        }
    }
}

fn file_id(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|it| (it.dev(), it.ino()))
}

#[cfg(test)]
mod tests {
    use api_log::ids::UnixMillis;

    use super::*;

    #[tokio::test]
    async fn who_asks_beyond_the_bound_is_told_so_at_once_and_may_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let status = Arc::new(Status::new(&crate::kit::Registry::new()));
        let readers = Readers::new(dir.path().join("index.sqlite"), status);
        schema::open_writer(&dir.path().join("index.sqlite")).unwrap();
        let taken: Vec<_> = (0..MOST_QUERIES).map(|_| readers.room.try_take(0).unwrap()).collect();
        assert!(matches!(readers.read(|_| Ok(())).await, Err(ReadError::Busy)));
        drop(taken);
        readers.read(|_| Ok(())).await.unwrap();
        assert_eq!(readers.room.report().refused, 1);
    }

    #[tokio::test]
    async fn a_replaced_index_is_read_in_place_of_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.sqlite");
        let status = Arc::new(Status::new(&crate::kit::Registry::new()));
        let readers = Readers::new(path.clone(), status);
        for round in 1..4 {
            let writer = schema::open_writer(&path).unwrap();
            writer.execute("INSERT INTO words (text) VALUES (?1)", [round.to_string()]).unwrap();
            // Each connection is asked more than once.
            for _ in 0..2 * CONNECTIONS {
                let query = |index: &mut rusqlite::Connection| {
                    index.query_row("SELECT group_concat(text) FROM words", [], |row| row.get::<_, String>(0))
                };
                assert_eq!(readers.read(query).await.unwrap(), round.to_string());
            }
            drop(writer);
            api_log::index::files::set_aside(&path, UnixMillis(round)).unwrap();
        }
    }
}
