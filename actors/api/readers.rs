//! Read-only connections to the index, each with a thread of its own.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use api_log::index::schema::{self, OpenError};
use parking_lot::Mutex;
use tokio_rusqlite::Connection;

/// Queries at once.
const CONNECTIONS: usize = 4;
/// How long a query waits for an index that cannot be opened.
const OPEN_PATIENCE: Duration = Duration::from_secs(3);
/// Pause between two tries to open it.
const OPEN_PAUSE: Duration = Duration::from_millis(20);

/// A few connections, opened when first needed and again after an error.
pub(crate) struct Readers {
    path: PathBuf,
    connections: [Mutex<Option<Connection>>; CONNECTIONS],
    next: AtomicUsize,
}

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
}

impl Readers {
    /// Readers of the index at `path`.
    pub(crate) fn new(path: PathBuf) -> Readers {
        Readers { path, connections: Default::default(), next: AtomicUsize::new(0) }
    }

    /// Runs a query on one of the connections.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let slot = &self.connections[self.next.fetch_add(1, Ordering::Relaxed) % CONNECTIONS];
        let open = slot.lock().clone();
        let connection = match open {
            Some(connection) => connection,
            None => {
                let connection = self.open().await?;
                slot.lock().insert(connection).clone()
            }
        };
        connection.call(query).await.map_err(|error| {
            // The file may have been replaced under the connection: the next query opens anew.
            *slot.lock() = None;
            match error {
                tokio_rusqlite::Error::Error(error) => ReadError::Query(error),
                _ => ReadError::Closed,
            }
        })
    }

    /// Opens a connection. The index is made after the listeners are open, and anew when it was found damaged: who
    /// asks meanwhile waits for it.
    async fn open(&self) -> Result<Connection, ReadError> {
        let deadline = Instant::now() + OPEN_PATIENCE;
        loop {
            let path = self.path.clone();
            let opened = tokio::task::spawn_blocking(move || schema::open_reader(&path)).await;
            match opened.map_err(|_| ReadError::Closed)? {
                Ok(connection) => return Ok(Connection::from(connection)),
                Err(error) if Instant::now() >= deadline => return Err(error.into()),
                Err(_) => tokio::time::sleep(OPEN_PAUSE).await,
            }
        }
    }
}
