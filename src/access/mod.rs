//! Who may ask the read API for what: tokens, their scopes, their file, and the log of who read what.

pub mod entry;
mod keyring;
pub mod rotated;
mod token_file;

use std::fmt;
use std::str::FromStr;

pub use keyring::{Bearer, Keyring, Refused};
use sha2::{Digest as _, Sha256};
pub use token_file::{
    BadLine, BadName, Found, ListedToken, TokenFileError, TokenName, add, parse, read, revoke, unfinished,
};

/// How many random bytes a token is made of.
const TOKEN_BYTES: usize = 32;
/// What a made token begins with, so that one that leaks is recognised.
const TOKEN_PREFIX: &str = "apilog_";

/// What a token is good for. The larger one can do whatever the smaller one can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Reads what was recorded, and how the recorder is set.
    Viewer,
    /// Changes what is set at run time, too.
    Admin,
}

impl Scope {
    /// Every scope, the smallest first.
    pub const ALL: [Scope; 2] = [Scope::Viewer, Scope::Admin];

    /// Its name in files and answers.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Viewer => "viewer",
            Scope::Admin => "admin",
        }
    }

    /// Whether it is enough where `needed` is asked for.
    pub fn covers(self, needed: Scope) -> bool {
        self >= needed
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No scope has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a scope; there are viewer and admin")]
pub struct NotAScope;

impl FromStr for Scope {
    type Err = NotAScope;

    fn from_str(text: &str) -> Result<Scope, NotAScope> {
        Scope::ALL.into_iter().find(|it| it.name() == text).ok_or(NotAScope)
    }
}

/// The SHA-256 of a token. Tokens that are made here are random and long, so their digests need no salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// Of this token.
    pub fn of(token: &[u8]) -> TokenDigest {
        TokenDigest(Sha256::digest(token).into())
    }

    /// Of 64 hex digits.
    pub fn from_hex(text: &str) -> Option<TokenDigest> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |it: u8| char::from(it).to_digit(16);
            // Two hex digits are less than 256.
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Some(TokenDigest(bytes))
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A new token: random, for whoever shall have it, and kept nowhere.
pub fn new_token() -> String {
    let random: [u8; TOKEN_BYTES] = rand::random();
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{TOKEN_PREFIX}{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_scope_covers_the_smaller_one() {
        assert!(Scope::Admin.covers(Scope::Viewer) && Scope::Admin.covers(Scope::Admin));
        assert!(Scope::Viewer.covers(Scope::Viewer) && !Scope::Viewer.covers(Scope::Admin));
        for scope in Scope::ALL {
            assert_eq!(scope.name().parse(), Ok(scope));
        }
        assert_eq!("Admin".parse::<Scope>(), Err(NotAScope));
    }

    #[test]
    fn digests_are_read_as_they_are_written() {
        let digest = TokenDigest::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), text);
        assert_eq!(TokenDigest::from_hex(text), Some(digest));
        assert_eq!(TokenDigest::from_hex(&text.to_uppercase()), Some(digest));
        for bad in ["", &text[1..], &text.replace('b', "g"), &text.replace("ba", "é")] {
            assert_eq!(TokenDigest::from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn no_two_tokens_are_alike() {
        let (one, other) = (new_token(), new_token());
        assert!(one != other && one.len() == other.len() && one.starts_with(TOKEN_PREFIX));
    }
}
