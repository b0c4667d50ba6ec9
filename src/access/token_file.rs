//! The token file: a line for each token, with its name, scope and digest, never the token itself.
//!
//! ```text
//! # name  scope   digest of the token     until when
//! grafana viewer  sha256:<64 hex digits>  expires=2027-01-01T00:00:00.000Z
//! ```
//!
//! Lines that are empty or begin with `#` mean nothing. A file that does not exist lists nothing.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::keyring::ADMIN_NAME;
use super::{Scope, TokenDigest};
use crate::ids::UnixMillis;
use crate::store::data_dir::create_private;

/// Larger than any that is meant.
const LARGEST_BYTES: u64 = 1 << 20;
/// Each request is compared with all of them.
const MOST_TOKENS: usize = 1000;
/// Longest name, in characters.
const LONGEST_NAME: usize = 64;
/// What a digest begins with.
const DIGEST: &str = "sha256:";
/// What the moment of expiry begins with.
const EXPIRES: &str = "expires=";

/// What a token is called: in lists and in the access log.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenName(String);

impl TokenName {
    /// It.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A token cannot be called so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Its characters.
    #[error("a name has 1 to 64 of the characters A-Z a-z 0-9 . _ @ -, and begins with a letter or digit")]
    Form,
    /// It is another one's for ever.
    #[error("admin_token is what the token in the file of that name is called")]
    Reserved,
}

impl FromStr for TokenName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<TokenName, BadName> {
        let is_one = |it: u8| it.is_ascii_alphanumeric() || b"._@-".contains(&it);
        let begins = text.bytes().next().is_some_and(|it| it.is_ascii_alphanumeric());
        if !begins || text.len() > LONGEST_NAME || !text.bytes().all(is_one) {
            return Err(BadName::Form);
        }
        if text == ADMIN_NAME {
            return Err(BadName::Reserved);
        }
        Ok(TokenName(text.to_owned()))
    }
}

/// A token of the file; displayed as its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedToken {
    /// What it is called.
    pub name: TokenName,
    /// What it may do.
    pub scope: Scope,
    /// What it is known by.
    pub digest: TokenDigest,
    /// From when on it is not accepted any more.
    pub expires: Option<UnixMillis>,
}

impl fmt::Display for ListedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {DIGEST}{}", self.name, self.scope, self.digest)?;
        match self.expires {
            Some(expires) => write!(f, " {EXPIRES}{expires}"),
            None => Ok(()),
        }
    }
}

/// A line that is no token, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {flaw}")]
pub struct BadLine {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub flaw: String,
}

/// The token file could not be read or changed. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// The disk refused.
    #[error("cannot read or write the token file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is no token.
    #[error("the token file {path}, {bad}; mend the line, or remove it")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which line, and why.
        bad: BadLine,
    },
    /// A name stands there already.
    #[error("{path} has a token {name} already; revoke it first, or choose another name")]
    Taken {
        /// The file.
        path: PathBuf,
        /// The name.
        name: TokenName,
    },
    /// There is no token of that name.
    #[error("{path} has no token {name}")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The name.
        name: TokenName,
    },
    /// There is no room for another one.
    #[error("{path} has {MOST_TOKENS} tokens already; revoke one first")]
    Full {
        /// The file.
        path: PathBuf,
    },
}

/// What stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its tokens, in its order.
    pub tokens: Vec<ListedToken>,
    /// Others on this machine can read or change it.
    pub is_exposed: bool,
}

/// The tokens in a text.
///
/// # Errors
/// The first line that is none; a name or a token that stands there twice; too many of them.
pub fn parse(text: &[u8]) -> Result<Vec<ListedToken>, BadLine> {
    let mut tokens: Vec<ListedToken> = Vec::new();
    let (mut names, mut digests) = (HashMap::new(), HashMap::new());
    for (at, line) in text.split(|it| *it == b'\n').enumerate() {
        let number = at + 1;
        let bad = |flaw: String| BadLine { line: number, flaw };
        let line = std::str::from_utf8(line).map_err(|_| bad("it is not UTF-8 text".to_owned()))?.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let token = token(line).map_err(bad)?;
        if let Some(earlier) = names.insert(token.name.clone(), number) {
            return Err(bad(format!("the name {} stands in line {earlier} already", token.name)));
        }
        if let Some(earlier) = digests.insert(token.digest, number) {
            return Err(bad(format!("the token of line {earlier} stands here again")));
        }
        if tokens.len() == MOST_TOKENS {
            return Err(bad(format!("there are more than {MOST_TOKENS} tokens")));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

fn token(line: &str) -> Result<ListedToken, String> {
    const FORM: &str = "a line is: NAME SCOPE sha256:DIGEST, and perhaps expires=TIME";
    let mut fields = line.split_ascii_whitespace();
    let (Some(name), Some(scope), Some(digest)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(FORM.to_owned());
    };
    let expires = fields.next();
    if fields.next().is_some() {
        return Err(FORM.to_owned());
    }
    // Whoever puts the token itself there must not find it in a log: what is wrong is named, never shown.
    let digest = digest.strip_prefix(DIGEST).and_then(TokenDigest::from_hex);
    let digest = digest.ok_or("the third field is not sha256: and 64 hex digits")?;
    if digest == TokenDigest::of(b"") {
        return Err("the digest is that of no token at all".to_owned());
    }
    let expires = expires.map(|it| it.strip_prefix(EXPIRES).and_then(|time| time.parse().ok()));
    Ok(ListedToken {
        name: name.parse().map_err(|error: BadName| format!("the first field is no name: {error}"))?,
        scope: scope.parse().map_err(|error: super::NotAScope| format!("the second field is {error}"))?,
        digest,
        expires: match expires {
            None => None,
            Some(Some(time)) => Some(time),
            Some(None) => return Err("the fourth field is not expires= and a time as 2027-01-01T00:00:00Z".to_owned()),
        },
    })
}

/// Reads the file; one that does not exist lists nothing.
///
/// # Errors
/// [`TokenFileError::Io`], [`TokenFileError::Malformed`].
pub fn read(path: &Path) -> Result<Found, TokenFileError> {
    let failed = |source| TokenFileError::Io { path: path.into(), source };
    match File::open(path) {
        Ok(file) => read_from(file, path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::default()),
        Err(source) => Err(failed(source)),
    }
}

fn read_from(file: File, path: &Path) -> Result<Found, TokenFileError> {
    let failed = |source| TokenFileError::Io { path: path.into(), source };
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    let tokens =
        parse(&text(file).map_err(failed)?).map_err(|bad| TokenFileError::Malformed { path: path.into(), bad })?;
    Ok(Found { tokens, is_exposed: mode & 0o077 != 0 })
}

fn text(file: File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(LARGEST_BYTES + 1).read_to_end(&mut text)?;
    match text.len() as u64 {
        length if length > LARGEST_BYTES => Err(io::Error::other(format!("it is larger than {LARGEST_BYTES} bytes"))),
        _ => Ok(text),
    }
}

/// Adds a token: a line at the end, in one write. The file is made, with mode 0600, if it is not there.
///
/// # Errors
/// [`TokenFileError`].
pub fn add(path: &Path, token: &ListedToken) -> Result<(), TokenFileError> {
    let failed = |source| TokenFileError::Io { path: path.into(), source };
    if let Some(folder) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        create_private(folder).map_err(failed)?;
    }
    let mut file = locked(path, true).map_err(failed)?;
    let text = text(file.try_clone().map_err(failed)?).map_err(failed)?;
    let tokens = parse(&text).map_err(|bad| TokenFileError::Malformed { path: path.into(), bad })?;
    if tokens.iter().any(|it| it.name == token.name) {
        return Err(TokenFileError::Taken { path: path.into(), name: token.name.clone() });
    }
    if tokens.len() >= MOST_TOKENS {
        return Err(TokenFileError::Full { path: path.into() });
    }
    let break_before = if text.last().is_some_and(|it| *it != b'\n') { "\n" } else { "" };
    file.write_all(format!("{break_before}{token}\n").as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// Removes a token's line and leaves the others, comments included, as they are. The file is replaced whole.
///
/// # Errors
/// [`TokenFileError`].
pub fn revoke(path: &Path, name: &TokenName) -> Result<(), TokenFileError> {
    let failed = |source| TokenFileError::Io { path: path.into(), source };
    let unknown = || TokenFileError::Unknown { path: path.into(), name: name.clone() };
    let file = match locked(path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(unknown()),
        Err(source) => return Err(failed(source)),
    };
    let text = text(file.try_clone().map_err(failed)?).map_err(failed)?;
    let tokens = parse(&text).map_err(|bad| TokenFileError::Malformed { path: path.into(), bad })?;
    if !tokens.iter().any(|it| it.name == *name) {
        return Err(unknown());
    }
    let is_other = |line: &&[u8]| {
        let first = line.split(u8::is_ascii_whitespace).find(|it| !it.is_empty());
        first != Some(name.as_str().as_bytes())
    };
    let left: Vec<u8> = text.split_inclusive(|it| *it == b'\n').filter(is_other).collect::<Vec<_>>().concat();
    replace(path, &file, &left).map_err(failed)
}

/// Writes beside, with mode and owner of the file before, and renames. Where a link stands, what it leads to is replaced.
fn replace(path: &Path, before: &File, text: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let beside = unfinished(&path);
    let metadata = before.metadata()?;
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.set_permissions(metadata.permissions())?;
    if file.metadata()?.uid() != metadata.uid() || file.metadata()?.gid() != metadata.gid() {
        // The recorder, which reads it, may be another user than who revokes.
        fchown(&file, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Where the file at `path` is written until it is whole.
pub fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// Opens the file for whoever changes it, one at a time.
fn locked(path: &Path, makes: bool) -> io::Result<File> {
    loop {
        let file = File::options().read(true).append(true).create(makes).mode(0o600).open(path)?;
        file.lock()?;
        // Whoever had it before may have replaced it.
        let (opened, there) = (file.metadata()?, fs::metadata(path));
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (opened.dev(), opened.ino())) {
            return Ok(file);
        }
    }
}

#[cfg(test)]
mod tests;
