//! The tokens that the read API accepts, compared so that the time it takes tells nothing about them.

use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::{ListedToken, Scope, TokenDigest};
use crate::ids::UnixMillis;

/// As whom the token in `admin_token` is told.
pub(super) const ADMIN_NAME: &str = "admin_token";

/// Every token that is accepted.
#[derive(Clone, Debug)]
pub struct Keyring {
    admin: TokenDigest,
    listed: Vec<ListedToken>,
}

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The token's name.
    pub name: Arc<str>,
    /// What it may do.
    pub scope: Scope,
    /// Tells it from others.
    pub digest: TokenDigest,
    /// Until when it is accepted.
    pub expires: Option<UnixMillis>,
}

/// A token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is none, or nobody knows it.
    #[error("the token is missing or wrong")]
    Unknown,
    /// It was good until then.
    #[error("the token expired at {0}")]
    Expired(UnixMillis),
}

impl Keyring {
    /// The token of `admin_token`, and those of the token file.
    pub fn new(admin: &str, listed: Vec<ListedToken>) -> Keyring {
        Keyring { admin: TokenDigest::of(admin.as_bytes()), listed }
    }

    /// With another token in `admin_token`.
    pub fn with_admin(&self, admin: &str) -> Keyring {
        Keyring { admin: TokenDigest::of(admin.as_bytes()), listed: self.listed.clone() }
    }

    /// With other tokens in the file.
    pub fn with_listed(&self, listed: Vec<ListedToken>) -> Keyring {
        Keyring { admin: self.admin, listed }
    }

    /// Those of the token file.
    pub fn listed(&self) -> &[ListedToken] {
        &self.listed
    }

    /// Whose token this is, as it was sent.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn admit(&self, token: &[u8], now: UnixMillis) -> Result<Bearer, Refused> {
        if token.is_empty() {
            return Err(Refused::Unknown);
        }
        self.admit_digest(TokenDigest::of(token), now)
    }

    /// The same of a token that was accepted before: it may be revoked or expired by now.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn admit_digest(&self, digest: TokenDigest, now: UnixMillis) -> Result<Bearer, Refused> {
        // All digests have one length, and all are compared whole, whichever it is.
        let is_it = |other: &TokenDigest| bool::from(other.bytes().ct_eq(digest.bytes()));
        let mut found = None;
        for listed in &self.listed {
            if is_it(&listed.digest) {
                found = Some(listed);
            }
        }
        if is_it(&self.admin) {
            return Ok(Bearer { name: ADMIN_NAME.into(), scope: Scope::Admin, digest, expires: None });
        }
        let found = found.ok_or(Refused::Unknown)?;
        match found.expires {
            Some(expires) if expires <= now => Err(Refused::Expired(expires)),
            expires => Ok(Bearer { name: found.name.as_str().into(), scope: found.scope, digest, expires }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_digest_until_it_expires() {
        let listed = |name: &str, scope, token: &str, expires| ListedToken {
            name: name.parse().unwrap(),
            scope,
            digest: TokenDigest::of(token.as_bytes()),
            expires,
        };
        let keyring = Keyring::new(
            "root",
            vec![
                listed("ops", Scope::Admin, "one", None),
                listed("grafana", Scope::Viewer, "two", Some(UnixMillis(1000))),
            ],
        );
        let who = |token: &str, now| keyring.admit(token.as_bytes(), UnixMillis(now)).map(|it| (it.name, it.scope));
        assert_eq!(who("root", 0), Ok(("admin_token".into(), Scope::Admin)));
        assert_eq!(who("one", i64::MAX), Ok(("ops".into(), Scope::Admin)));
        assert_eq!(who("two", 999), Ok(("grafana".into(), Scope::Viewer)));
        assert_eq!(who("two", 1000), Err(Refused::Expired(UnixMillis(1000))));
        for unknown in ["", "tw", "two ", "ROOT", "root\n"] {
            assert_eq!(who(unknown, 0), Err(Refused::Unknown), "{unknown:?}");
        }
        let fewer = keyring.with_listed(Vec::new()).with_admin("other");
        assert!(fewer.admit(b"one", UnixMillis(0)).is_err() && fewer.admit(b"root", UnixMillis(0)).is_err());
        assert!(fewer.admit(b"other", UnixMillis(0)).is_ok());
    }
}
