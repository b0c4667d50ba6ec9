//! The kinds of values that stay text: paths, digests, secrets.

use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use super::kinds::Scalar;
use super::table::Rules;

/// A path on disk.
pub(super) struct Folder;

impl Scalar for Folder {
    type Value = PathBuf;
    const NAME: &'static str = "a path";

    fn parse(text: &str) -> Result<PathBuf, String> {
        match text {
            "" => Err("it is empty".to_owned()),
            _ if text.contains('\0') => Err("it has a NUL character".to_owned()),
            _ => Ok(PathBuf::from(text)),
        }
    }

    fn choices(_: Rules) -> String {
        "the path of a folder".to_owned()
    }

    fn text(value: &PathBuf) -> String {
        value.to_string_lossy().into_owned()
    }
}

/// The path of a file.
pub(super) struct FilePath;

impl Scalar for FilePath {
    type Value = PathBuf;
    const NAME: &'static str = Folder::NAME;

    fn parse(text: &str) -> Result<PathBuf, String> {
        Folder::parse(text)
    }

    fn choices(_: Rules) -> String {
        "the path of a file".to_owned()
    }

    fn text(value: &PathBuf) -> String {
        Folder::text(value)
    }
}

/// A kind whose empty text means that nothing is chosen.
pub(super) struct Optional<S>(PhantomData<S>);

impl<S: Scalar> Scalar for Optional<S> {
    type Value = Option<S::Value>;
    const NAME: &'static str = S::NAME;
    const IS_TEXT: bool = S::IS_TEXT;

    fn parse(text: &str) -> Result<Option<S::Value>, String> {
        if text.is_empty() { Ok(None) } else { S::parse(text).map(Some) }
    }

    fn choices(rules: Rules) -> String {
        format!("empty, or {}", S::choices(rules))
    }

    fn text(value: &Option<S::Value>) -> String {
        value.as_ref().map_or_else(String::new, S::text)
    }
}

/// Any text.
pub(super) struct Text;

impl Scalar for Text {
    type Value = String;
    const NAME: &'static str = "a text";

    fn parse(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    fn choices(_: Rules) -> String {
        "any text".to_owned()
    }

    fn text(value: &String) -> String {
        value.clone()
    }
}

/// A SHA-256 digest, in lower-case hex.
pub(super) struct Digest;

impl Scalar for Digest {
    type Value = String;
    const NAME: &'static str = "a SHA-256 digest";

    fn parse(text: &str) -> Result<String, String> {
        let is_digest = text.len() == 64 && text.bytes().all(|it| it.is_ascii_hexdigit());
        if is_digest { Ok(text.to_ascii_lowercase()) } else { Err(String::new()) }
    }

    fn choices(_: Rules) -> String {
        "64 hex digits".to_owned()
    }

    fn text(value: &String) -> String {
        value.clone()
    }
}

/// Where the viewer stands on the API's listener; an empty text means `/viewer`.
pub(super) struct Mount;

impl Scalar for Mount {
    type Value = String;
    const NAME: &'static str = "a mount path";

    fn parse(text: &str) -> Result<String, String> {
        let reserved = ["api", "healthz", "metrics", "readyz"];
        // What stands for itself in addresses and has no meaning in the table of routes.
        let is_plain = |text: &str| text.bytes().all(|it| it.is_ascii_alphanumeric() || b"/-._~".contains(&it));
        let segments = || text.split('/').skip(1);
        match text {
            "" => Ok("/viewer".to_owned()),
            _ if !text.starts_with('/') => Err("it does not begin with /".to_owned()),
            "/" => Err("the root is taken".to_owned()),
            _ if text.ends_with('/') => Err("it ends with /".to_owned()),
            _ if segments().any(|it| matches!(it, "" | "." | "..")) => {
                Err("it has an empty or dotted segment".to_owned())
            }
            _ if !is_plain(text) => {
                Err("it has characters other than letters, digits, '-', '.', '_' and '~' between slashes".to_owned())
            }
            _ if segments().next().is_some_and(|it| reserved.contains(&it)) => Err("the API answers there".to_owned()),
            _ => Ok(text.to_owned()),
        }
    }

    fn choices(_: Rules) -> String {
        "a path like /viewer that is not the API's".to_owned()
    }

    fn text(value: &String) -> String {
        value.clone()
    }
}

/// A text that is never shown, not even by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the one who must send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Scalar for Secret {
    type Value = Secret;
    const NAME: &'static str = "a secret";

    fn parse(text: &str) -> Result<Secret, String> {
        Ok(Secret(text.to_owned()))
    }

    fn choices(_: Rules) -> String {
        "any text".to_owned()
    }

    fn text(_: &Secret) -> String {
        "***".to_owned()
    }
}
