//! The tokens in force: `admin_token` and the token file, read again when they change. What cannot be read changes
//! nothing.

use std::path::PathBuf;
use std::sync::Arc;

use api_log::access::{self, Bearer, Found, Keyring, Refused, TokenDigest};
use api_log::ids::UnixMillis;
use api_log::store::token::{self, Token};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::kit::Condition;

/// Longest wait for a token to expire until the clock is looked at again, in milliseconds.
const LOOK_AT_LEAST: i64 = 60_000;

/// All tokens, and where they stand.
pub(crate) struct Tokens {
    admin_path: PathBuf,
    path: PathBuf,
    admin: ArcSwap<Token>,
    keyring: watch::Sender<Arc<Keyring>>,
    /// Raised while the token file cannot be taken.
    malformed: Condition,
    told: Mutex<Told>,
}

/// What was said last, so that nothing is said at each look.
#[derive(Default)]
struct Told {
    admin: Option<String>,
    listed: Option<String>,
    is_exposed: bool,
}

/// What came of reading them again.
#[derive(Debug, Default)]
pub(crate) struct Reread {
    /// What is another one.
    pub(crate) changed: Vec<&'static str>,
    /// What stays as it was, and why.
    pub(crate) complaints: Vec<String>,
}

impl Tokens {
    /// The admin's token, and those of the file at `path`, as far as that can be read.
    pub(crate) fn new(admin_path: PathBuf, admin: Token, path: PathBuf, malformed: Condition) -> Tokens {
        let keyring = watch::Sender::new(Arc::new(Keyring::new(&admin.secret, Vec::new())));
        let admin = ArcSwap::from_pointee(admin);
        let tokens = Tokens { admin_path, path, admin, keyring, malformed, told: Mutex::default() };
        tokens.read_listed(&mut Reread::default());
        tokens
    }

    /// The token file.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The admin's token itself.
    pub(super) fn secret(&self) -> String {
        self.admin.load().secret.clone()
    }

    /// Whose token this is.
    pub(super) fn admit(&self, token: &[u8]) -> Result<Bearer, Refused> {
        let keyring = self.keyring.borrow().clone();
        keyring.admit(token, UnixMillis::now())
    }

    /// Until a token is revoked or expires.
    pub(super) fn lost(&self, digest: TokenDigest) -> impl Future<Output = ()> + Send + 'static {
        let mut keyrings = self.keyring.subscribe();
        async move {
            loop {
                let keyring = keyrings.borrow_and_update().clone();
                let now = UnixMillis::now();
                let Ok(bearer) = keyring.admit_digest(digest, now) else { return };
                let left = bearer.expires.map_or(LOOK_AT_LEAST, |it| (it.0 - now.0).clamp(1, LOOK_AT_LEAST));
                let pause = tokio::time::sleep(std::time::Duration::from_millis(left.unsigned_abs()));
                tokio::select! {
                    changed = keyrings.changed() => if changed.is_err() { return },
                    () = pause => {}
                }
            }
        }
    }

    /// Reads the files again, and says what has changed or is wrong.
    pub(crate) fn read_again(&self) -> Reread {
        let mut reread = Reread::default();
        match token::read(&self.admin_path) {
            Ok(token) => {
                self.told.lock().admin = None;
                if token.secret != self.admin.load().secret {
                    self.keyring.send_modify(|it| *it = Arc::new(it.with_admin(&token.secret)));
                    self.admin.store(Arc::new(token));
                    tracing::info!("the read API's token is another one");
                    reread.changed.push("admin_token");
                }
            }
            Err(error) => {
                let error = error.to_string();
                if self.told.lock().admin.replace(error.clone()).as_ref() != Some(&error) {
                    tracing::error!(error, "the read API's token stays as it was");
                }
                reread.complaints.push(error);
            }
        }
        self.read_listed(&mut reread);
        reread
    }

    fn read_listed(&self, reread: &mut Reread) {
        match access::read(&self.path) {
            Ok(Found { tokens, is_exposed }) => {
                self.malformed.clear();
                let mut told = self.told.lock();
                told.listed = None;
                if is_exposed && !std::mem::replace(&mut told.is_exposed, is_exposed) {
                    tracing::warn!(path = %self.path.display(), "other users can read or change the token file; use mode 600");
                }
                told.is_exposed = is_exposed;
                drop(told);
                if self.keyring.borrow().listed() != tokens {
                    tracing::info!(tokens = tokens.len(), "the tokens of the token file are in force");
                    self.keyring.send_modify(|it| *it = Arc::new(it.with_listed(tokens)));
                    reread.changed.push("token_file");
                }
            }
            Err(error) => {
                let error = error.to_string();
                self.malformed.raise(format!("{error}; the tokens stay as they were"));
                if self.told.lock().listed.replace(error.clone()).as_ref() != Some(&error) {
                    tracing::error!(error, "the token file is not taken over; the tokens stay as they were");
                }
                reread.complaints.push(error);
            }
        }
    }
}
