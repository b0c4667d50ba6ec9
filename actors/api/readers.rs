//! Read-only connections to the index, each with a thread of its own, and a bound in time on what they are asked.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use api_log::index::schema::{self, OpenError};
use parking_lot::Mutex;
use rusqlite::ErrorCode;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout_at;
use tokio_rusqlite::Connection;

use crate::kit::Budget;
use crate::record::index_status::Status;
use crate::runtimes;

/// Queries that run or wait; who comes then is told to come back.
const MOST_QUERIES: usize = 256;
/// How long a query waits for an index that cannot be opened.
const OPEN_PATIENCE: Duration = Duration::from_secs(3);
/// Pause between two tries to open it.
const OPEN_PAUSE: Duration = Duration::from_millis(20);
/// After so many steps of SQLite's machine a query is asked whether it may go on: some hundred microseconds.
const STEPS_BETWEEN_LOOKS: i32 = 10_000;
/// How much longer than its time a query may take to notice that it is over. The caller waits no longer; the connection
/// is taken until it has noticed.
const NOTICE: Duration = Duration::from_millis(500);

/// What a query is for. Each kind has connections of its own, so that no number of heavy ones keeps the others waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Reads about what it answers.
    Light,
    /// May read far more than it answers.
    Heavy,
}

impl Load {
    /// Queries at once.
    const fn connections(self) -> usize {
        match self {
            Load::Light => 4,
            Load::Heavy => 2,
        }
    }

    /// Lanes and recording threads go before both (0), the index's writer (10) before the heavy ones: on few cores a
    /// query must delay none of them.
    const fn niceness(self) -> libc::c_int {
        match self {
            Load::Light => 5,
            Load::Heavy => 15,
        }
    }
}

/// A few connections of each kind, opened when first needed and again after an error.
pub(crate) struct Readers {
    path: PathBuf,
    status: Arc<Status>,
    light: Arc<Pool>,
    heavy: Arc<Pool>,
    room: Budget,
    /// How long a query may take, in milliseconds, its waiting included.
    timeout_ms: AtomicU64,
    numbers: AtomicU64,
}

/// Connections of one kind.
struct Pool {
    load: Load,
    places: Arc<Semaphore>,
    idle: Mutex<Vec<Reader>>,
}

/// A connection, and the file it reads. Whoever has it is the only one who asks it.
struct Reader {
    connection: Connection,
    file: FileId,
    watch: Arc<Watch>,
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
    /// It took longer than it may, and was stopped.
    #[error("the query took longer than {0:?}")]
    Timeout(Duration),
}

/// When a connection's query must end. Read while it runs, between its steps.
struct Watch {
    /// The number of the query under way, and when its time is over.
    now: Mutex<(u64, Option<Instant>)>,
    /// Queries up to this number are wanted by nobody any more.
    unwanted: AtomicU64,
}

impl Watch {
    fn is_over(&self) -> bool {
        let (number, deadline) = *self.now.lock();
        number <= self.unwanted.load(Ordering::Relaxed) || deadline.is_some_and(|it| Instant::now() >= it)
    }
}

/// Calls a query off when whoever asked goes away.
struct Wanted(Arc<Watch>, u64);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.unwanted.fetch_max(self.1, Ordering::Relaxed);
    }
}

impl Pool {
    fn new(load: Load) -> Arc<Pool> {
        Arc::new(Pool { load, places: Arc::new(Semaphore::new(load.connections())), idle: Mutex::default() })
    }

    /// An open connection to this file, if there is one. Those to other files are closed.
    fn take_idle(&self, file: Option<FileId>) -> Option<Reader> {
        let mut idle = self.idle.lock();
        idle.retain(|it| file.is_none_or(|file| it.file == file));
        idle.pop()
    }
}

impl Readers {
    /// Readers of the index at `path`, whose queries take no longer than `timeout`.
    pub(crate) fn new(path: PathBuf, status: Arc<Status>, timeout: Duration) -> Readers {
        Readers {
            path,
            status,
            light: Pool::new(Load::Light),
            heavy: Pool::new(Load::Heavy),
            room: Budget::new(0, MOST_QUERIES),
            timeout_ms: AtomicU64::new(millis(timeout)),
            numbers: AtomicU64::new(1),
        }
    }

    /// The queries that run or wait, for health.
    pub(crate) fn room(&self) -> &Budget {
        &self.room
    }

    /// Sets how long the next queries may take.
    pub(crate) fn set_timeout(&self, timeout: Duration) {
        self.timeout_ms.store(millis(timeout), Ordering::Relaxed);
    }

    /// Runs a query on a connection of this kind, and stops it when its time is over or its caller goes away. If it
    /// meets damage, the index is looked through, and what is damaged is set aside: the query is asked again of what
    /// stands in its place.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        load: Load,
        query: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<T> + Clone + Send + 'static,
    ) -> Result<T, ReadError> {
        let _room = self.room.try_take(0).ok_or(ReadError::Busy)?;
        fault!(await "api.read");
        let pool = match load {
            Load::Light => &self.light,
            Load::Heavy => &self.heavy,
        };
        let (file, outcome) = self.ask(pool, query.clone()).await?;
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
                self.ask(pool, query).await?.1
            }
            other => other,
        }
    }

    /// Runs a query once, and says which file it asked.
    async fn ask<T: Send + 'static>(
        &self,
        pool: &Arc<Pool>,
        query: impl FnOnce(&mut rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<(FileId, Result<T, ReadError>), ReadError> {
        let timeout = Duration::from_millis(self.timeout_ms.load(Ordering::Relaxed));
        let deadline = Instant::now() + timeout;
        let place = timeout_at(deadline.into(), pool.places.clone().acquire_owned()).await;
        let place = place.map_err(|_| ReadError::Busy)?.map_err(|_| ReadError::Closed)?;
        // An index that was found damaged is set aside under its readers, and a new one stands in its place.
        let reader = match pool.take_idle(file_id(&self.path)) {
            Some(open) => open,
            None => self.open(pool.load).await?,
        };
        let (file, watch) = (reader.file, reader.watch.clone());
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let _wanted = Wanted(watch.clone(), number);
        let (tell, told) = oneshot::channel();
        let pool = pool.clone();
        // By itself, for the connection is free only when the query has ended, however long its caller waits.
        tokio::spawn(async move {
            let begun = move |connection: &mut rusqlite::Connection| {
                *watch.now.lock() = (number, Some(deadline));
                query(connection)
            };
            let outcome = reader.connection.call(begun).await.map_err(|error| match error {
                tokio_rusqlite::Error::Error(error) => ReadError::Query(error),
                _ => ReadError::Closed,
            });
            let outcome = match outcome {
                Err(ReadError::Query(error)) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
                    Err(ReadError::Timeout(timeout))
                }
                other => other,
            };
            // Whatever else is wrong with it, the next query opens anew.
            if matches!(outcome, Ok(_) | Err(ReadError::Timeout(_))) {
                pool.idle.lock().push(reader);
            }
            drop(place);
            let _ = tell.send(outcome);
        });
        match timeout_at((deadline + NOTICE).into(), told).await {
            Ok(Ok(outcome)) => Ok((file, outcome)),
            Ok(Err(_)) => Err(ReadError::Closed),
            Err(_) => Ok((file, Err(ReadError::Timeout(timeout)))),
        }
    }

    /// Opens a connection. The index is made after the listeners are open, and anew when it was found damaged: who
    /// asks meanwhile waits for it.
    async fn open(&self, load: Load) -> Result<Reader, ReadError> {
        let deadline = Instant::now() + OPEN_PATIENCE;
        loop {
            let path = self.path.clone();
            // Looked at first: if the file is replaced in between, the next query opens again.
            let file = file_id(&path);
            let opened = tokio::task::spawn_blocking(move || schema::open_reader(&path)).await;
            match opened.map_err(|_| ReadError::Closed)? {
                Ok(connection) => return prepare(connection, file.unwrap_or_default(), load).await,
                Err(error) if Instant::now() >= deadline => return Err(error.into()),
                Err(_) => tokio::time::sleep(OPEN_PAUSE).await,
            }
        }
    }
}

/// A connection on a thread that lets others go first, and whose queries can be stopped.
async fn prepare(connection: rusqlite::Connection, file: FileId, load: Load) -> Result<Reader, ReadError> {
    let watch = Arc::new(Watch { now: Mutex::new((u64::MAX, None)), unwanted: AtomicU64::new(0) });
    let watched = watch.clone();
    let connection = Connection::from(connection);
    let prepared = connection.call(move |connection| {
        runtimes::lower(load.niceness());
        connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(move || watched.is_over()))
    });
    match prepared.await {
        Ok(()) => Ok(Reader { connection, file, watch }),
        Err(tokio_rusqlite::Error::Error(error)) => Err(ReadError::Query(error)),
        Err(_) => Err(ReadError::Closed),
    }
}

fn millis(timeout: Duration) -> u64 {
    u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
}

fn file_id(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|it| (it.dev(), it.ino()))
}

#[cfg(test)]
mod tests;
