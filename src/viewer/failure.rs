//! What keeps the viewer from being there, told without a path of this machine, and when that is tried again.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::INDEX;
use super::download::Mismatch;
use super::release::BadRelease;
use super::unpack::UnpackError;

/// The first pause after a failure that may pass by itself; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// The pause after a failure that somebody must mend: a wrong digest, a release that is not there.
const SLOW_PAUSE: Duration = Duration::from_secs(3600);
/// How often to look for a folder of the operator's own.
const FOLDER_PAUSE: Duration = Duration::from_secs(10);

/// Why there is no viewer. Its text is told to anyone.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is no client to ask with.
    #[error("cannot ask for releases: {0}")]
    Client(String),
    /// No answer, or none that ended.
    #[error("cannot have {what} from {host}: {reason}")]
    Unreachable {
        /// What was asked for.
        what: &'static str,
        /// Whom.
        host: String,
        /// What went wrong.
        reason: String,
    },
    /// An answer that says no.
    #[error("{host} answered {status} when asked for {what}{}", advice(*status))]
    Status {
        /// What was asked for.
        what: &'static str,
        /// Whom.
        host: String,
        /// Its status code.
        status: u16,
    },
    /// An answer or an archive beyond its bound.
    #[error("{what} from {host} is longer than {most} bytes")]
    TooLong {
        /// What was asked for.
        what: &'static str,
        /// Whom.
        host: String,
        /// The bound.
        most: u64,
    },
    /// An answer that leads to no archive.
    #[error("{0}")]
    Release(#[from] BadRelease),
    /// Not the archive that is wanted.
    #[error("{0}; set viewer.sha256 to the digest of the release that viewer.repo and viewer.version name")]
    Mismatch(#[from] Mismatch),
    /// An archive that cannot be used though it is the one wanted.
    #[error("{0}")]
    Unpack(#[from] UnpackError),
    /// The cache cannot be used.
    #[error("cannot use the viewer's cache: {source}; see viewer.cache_dir")]
    Cache {
        /// Where; for the log.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The operator's own folder has no page.
    #[error("viewer.local_path has no readable {INDEX}: {source}")]
    Folder {
        /// Where; for the log.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What may help against a refusal.
fn advice(status: u16) -> &'static str {
    match status {
        401 | 403 | 429 => {
            ": it refuses, or was asked too often; a token for it is viewer.releases_auth_token, and viewer.local_path \
             serves a folder without asking anyone"
        }
        404 => ": no such repository, release or file, or none that the token may see",
        _ => "",
    }
}

impl Failure {
    /// Where on this machine, for the log.
    pub fn path(&self) -> Option<&PathBuf> {
        match self {
            Failure::Cache { path, .. } | Failure::Folder { path, .. } => Some(path),
            _ => None,
        }
    }

    /// How soon it is worth another try.
    fn manner(&self) -> Manner {
        match self {
            Failure::Folder { .. } => Manner::Every(FOLDER_PAUSE),
            Failure::Mismatch(_) | Failure::Release(_) | Failure::TooLong { .. } => Manner::Every(SLOW_PAUSE),
            Failure::Status { status: 404, .. } => Manner::Every(SLOW_PAUSE),
            Failure::Unpack(UnpackError::Disk(_)) => Manner::Doubling,
            Failure::Unpack(_) => Manner::Every(SLOW_PAUSE),
            Failure::Client(_) | Failure::Unreachable { .. } | Failure::Status { .. } | Failure::Cache { .. } => {
                Manner::Doubling
            }
        }
    }
}

enum Manner {
    Doubling,
    Every(Duration),
}

/// The pauses between tries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Schedule {
    /// Failures in a row that may pass by themselves.
    failures: u32,
}

impl Schedule {
    /// How long to wait after this failure.
    pub fn pause(&mut self, failure: &Failure) -> Duration {
        match failure.manner() {
            Manner::Every(pause) => pause,
            Manner::Doubling => {
                let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16));
                self.failures += 1;
                pause.min(LONGEST_PAUSE)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_soon_and_what_must_be_mended_is_tried_slowly() {
        let mut schedule = Schedule::default();
        let refused = Failure::Status { what: "the release", host: "h".into(), status: 503 };
        let pauses: Vec<u64> = (0..12).map(|_| schedule.pause(&refused).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]);
        let mismatch = Failure::from(Mismatch { found: "a".into(), wanted: "b".into() });
        assert_eq!(schedule.pause(&mismatch), SLOW_PAUSE);
    }

    #[test]
    fn a_refusal_says_what_helps_and_no_path_is_told() {
        let refused = Failure::Status { what: "the release", host: "api.example".into(), status: 403 }.to_string();
        assert!(refused.starts_with("api.example answered 403 when asked for the release: "), "{refused}");
        assert!(refused.contains("viewer.releases_auth_token"), "{refused}");
        let folder = Failure::Folder { path: "/home/me/secret".into(), source: io::ErrorKind::NotFound.into() };
        assert!(!folder.to_string().contains("secret") && folder.path().is_some());
    }
}
