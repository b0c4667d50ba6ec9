//! What can go wrong when traffic is looked at: what, where, and what to do.

use std::io;
use std::path::PathBuf;

use api_log::diff::NotComparable;
use api_log::diff::parent::ParentError;
use api_log::ids::TraceId;
use api_log::index::filter::BadParam;
use api_log::jsonl::find::IdPrefix;
use api_log::jsonl::line::BadLine;
use api_log::replay::ScriptError;

/// Why nothing is shown, or nothing more.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    /// Standard output cannot be written to.
    #[error("cannot write to standard output: {0}; send it elsewhere")]
    Out(io::Error),
    #[error("cannot start: {0}; look at this machine's limits (ulimit -a)")]
    Start(#[from] io::Error),
    #[error("{0}")]
    Filter(#[from] BadParam),
    #[error("--url {url}: {detail}; give http://HOST:PORT, where the recorder's API listens")]
    Url { url: String, detail: String },
    #[error("a data dir has no index here: --session-root-id can only be asked of a recorder (--url)")]
    SessionOfFiles,
    #[error(
        "--inflight draws on a terminal, and {0} is none; without it, `api-log tail` writes lines to wherever they shall go"
    )]
    NoTerminal(&'static str),
    #[error("cannot read the token in {path}: {source}; give another --token-file, or --token")]
    Token { path: PathBuf, source: io::Error },
    #[error("there is no data dir at {0}; give another --data-dir")]
    NoDataDir(PathBuf),
    #[error("cannot read the data dir {path}: {source}; run this as the user who owns it, or give another --data-dir")]
    Files { path: PathBuf, source: io::Error },
    #[error(
        "cannot reach a recorder at {url}: {reason}; is it running? --url says where, --data-dir reads files instead"
    )]
    Unreachable { url: String, reason: String },
    #[error(
        "the recorder at {url} wants another token; give --token, --token-file or APILOG_TOKEN (its data dir holds it: admin_token)"
    )]
    Unauthorized { url: String },
    #[error("the recorder at {url} refuses: {message}")]
    Refused { url: String, status: u16, message: String },
    #[error("the recorder at {url} answers what cannot be read: {reason}; is it of another version?")]
    Answer { url: String, reason: String },
    #[error("{place} has no trace {id}; `api-log tail` shows ids")]
    NoTrace { id: String, place: String },
    #[error("{id} is the beginning of several ids, {first} and {second} among them; give more of it")]
    Ambiguous { id: IdPrefix, first: String, second: String },
    #[error("too many traces may begin with {0}; give more of the id")]
    TooShort(IdPrefix),
    #[error("trace {0} continues no other; name the one to compare with: --diff ID")]
    NoParent(TraceId),
    #[error(transparent)]
    Parent(#[from] ParentError),
    #[error(transparent)]
    Line(#[from] BadLine),
    #[error("cannot compare: {0}")]
    NotComparable(#[from] NotComparable),
    #[error("cannot replay: {0}; `api-log show` shows it")]
    Script(#[from] ScriptError),
    #[error("{0}; `--help` says more")]
    Usage(String),
    /// A defect: it is told on standard error by itself.
    #[error("the work ended by a panic")]
    Panicked,
}

impl LookError {
    /// The command line is wrong.
    pub(super) fn is_usage(&self) -> bool {
        matches!(
            self,
            LookError::Filter(_)
                | LookError::Url { .. }
                | LookError::SessionOfFiles
                | LookError::NoTerminal(_)
                | LookError::Usage(_)
        )
    }
}
