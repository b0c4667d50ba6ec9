//! Why the recorder does not start, and why it ended.

use std::sync::Arc;

use api_log::store::data_dir;
use api_log::store::lock::LockError;
use api_log::store::token::TokenError;

use crate::kit::EndedUnasked;

/// Why the recorder does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// A listener's address is taken, or not ours.
    #[error("cannot listen on {address} ({key}): {source}")]
    Listen {
        /// The configuration key.
        key: &'static str,
        /// The address asked for.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The data dir is another recorder's, or cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The data dir cannot be made.
    #[error(transparent)]
    DataDir(#[from] data_dir::DataDirError),
    /// No token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// TLS towards the upstream cannot be set up.
    #[error("cannot verify TLS of {upstream}: {reason}")]
    Tls {
        /// The upstream.
        upstream: Arc<str>,
        /// Why.
        reason: String,
    },
    /// A thread or runtime cannot be made.
    #[error("cannot start threads: {0}")]
    Threads(#[from] std::io::Error),
    /// A supervised part did not start.
    #[error("cannot start: {0}")]
    Supervision(#[from] ractor::SpawnErr),
}

/// Why the recorder ended with an error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SystemError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A thread, a signal handler or a runtime could not be had.
    #[error("cannot start: {0}")]
    Io(#[from] std::io::Error),
    /// Something failed too often.
    #[error(transparent)]
    Unasked(#[from] EndedUnasked),
    /// Not everything could be brought to its end in time.
    #[error("not everything was finished in time; the log says what")]
    NotDrained,
}
