//! Which viewer the configuration wants, and how a release service is asked for it.

use std::path::PathBuf;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::config::Viewer;

/// The service that is asked unless another one is configured.
pub const DEFAULT_BASE: &str = "https://api.github.com";
/// The archive of a release that holds the viewer.
pub const ASSET: &str = "dist.zip";
/// The release that is built in.
const PINNED: (&str, &str, &str) =
    ("2nd1st/api-log-viewer", "v0.1.2", "8ed5c40fc6a467ad5015fb2b4496fe4499aed7ab1c69262edbc9b49921100bf2");
/// What stands for itself in one segment of an address (RFC 3986 §2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Characters of a digest that name its folder in the cache.
const KEY_LENGTH: usize = 16;

/// A release and the digest that its archive must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// `OWNER/NAME`.
    pub repo: String,
    /// Its tag.
    pub version: String,
    /// SHA-256 of the archive, in 64 lower-case hex digits.
    pub sha256: String,
}

/// What is to be hosted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing: it is switched off.
    Nothing,
    /// A folder of the operator's own, as it is.
    Folder(PathBuf),
    /// A release.
    Release(Release),
}

/// A choice of release that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The digest that is built in is not that of another release.
    #[error(
        "viewer.repo or viewer.version names {repo} {version}, and viewer.sha256 does not say which digest its dist.zip \
         has: set it, or leave all three empty for the release built in"
    )]
    NoDigest {
        /// Which repository.
        repo: String,
        /// Which release.
        version: String,
    },
    /// Not the name of a repository.
    #[error("viewer.repo is {0:?}; it must be OWNER/NAME, of letters, digits, '-', '_' and '.'")]
    Repo(String),
    /// Not a tag.
    #[error("viewer.version is {0:?}; it must be the tag of a release")]
    Version(String),
}

impl Wanted {
    /// What the configuration comes to.
    ///
    /// # Errors
    /// [`Refused`]: nothing is asked for then.
    pub fn of(viewer: &Viewer) -> Result<Wanted, Refused> {
        if !viewer.enabled {
            return Ok(Wanted::Nothing);
        }
        if let Some(folder) = &viewer.local_path {
            return Ok(Wanted::Folder(folder.clone()));
        }
        let (repo, version, sha256) = PINNED;
        let repo = viewer.repo.as_deref().unwrap_or(repo);
        let version = viewer.version.as_deref().unwrap_or(version);
        if !is_repo(repo) {
            return Err(Refused::Repo(repo.to_owned()));
        }
        if is_dots(version) {
            return Err(Refused::Version(version.to_owned()));
        }
        let is_pinned = (repo, version) == (PINNED.0, PINNED.1);
        let (repo, version) = (repo.to_owned(), version.to_owned());
        match &viewer.sha256 {
            Some(sha256) => Ok(Wanted::Release(Release { repo, version, sha256: sha256.clone() })),
            None if is_pinned => Ok(Wanted::Release(Release { repo, version, sha256: sha256.to_owned() })),
            None => Err(Refused::NoDigest { repo, version }),
        }
    }
}

/// Two names of what addresses can hold, and that do not lead elsewhere.
fn is_repo(text: &str) -> bool {
    let is_name = |it: &str| {
        !it.is_empty() && !is_dots(it) && it.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    text.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name))
}

/// A segment that stands for another place in a path.
fn is_dots(text: &str) -> bool {
    matches!(text, "." | "..")
}

impl Release {
    /// Where the service tells of it, below its base.
    pub fn path(&self) -> String {
        format!("/repos/{}/releases/tags/{}", self.repo, utf8_percent_encode(&self.version, SEGMENT))
    }

    /// The name of its folder in the cache.
    pub fn key(&self) -> &str {
        self.sha256.get(..KEY_LENGTH).unwrap_or(&self.sha256)
    }
}

/// Where a release's archive is to be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// For anyone, perhaps on another host.
    pub url: String,
    /// From the service itself, where it gives one: the way to what only a token opens.
    pub by_api: Option<String>,
}

/// An answer of the service that leads to no archive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRelease {
    /// Not the description of a release.
    #[error("the answer does not describe a release: {0}")]
    Form(String),
    /// It has no such file.
    #[error("the release has no {ASSET}; it has: {0}")]
    NoAsset(String),
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    assets: Vec<ToldAsset>,
}

#[derive(Deserialize)]
struct ToldAsset {
    #[serde(default)]
    name: String,
    #[serde(default)]
    browser_download_url: String,
    url: Option<String>,
}

/// Finds the archive in what the service tells of a release.
///
/// # Errors
/// [`BadRelease`].
pub fn asset_of(answer: &[u8]) -> Result<Asset, BadRelease> {
    let told: Told = serde_json::from_slice(answer).map_err(|error| BadRelease::Form(error.to_string()))?;
    let names = told.assets.iter().map(|it| it.name.as_str()).take(8).collect::<Vec<_>>().join(", ");
    let found = told.assets.into_iter().find(|it| it.name == ASSET && !it.browser_download_url.is_empty());
    let found = found.ok_or(BadRelease::NoAsset(if names.is_empty() { "nothing".to_owned() } else { names }))?;
    Ok(Asset { url: found.browser_download_url, by_api: found.url })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const DIGEST: &str = "ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef0123456789";

    fn wanted(settings: &[(&str, &str)]) -> Result<Wanted, Refused> {
        let variables = settings.iter().map(|(name, value)| (format!("APILOG_VIEWER_{name}"), (*value).to_owned()));
        Wanted::of(&Config::load(None, variables).unwrap().0.viewer)
    }

    #[test]
    fn nothing_chosen_is_the_release_built_in() {
        let Ok(Wanted::Release(release)) = wanted(&[]) else { panic!() };
        assert_eq!((release.repo.as_str(), release.version.as_str()), (PINNED.0, PINNED.1));
        assert_eq!((release.sha256.as_str(), release.key()), (PINNED.2, "8ed5c40fc6a467ad"));
        assert_eq!(release.path(), "/repos/2nd1st/api-log-viewer/releases/tags/v0.1.2");
        // Named, it is the same.
        assert_eq!(wanted(&[("REPO", PINNED.0), ("VERSION", PINNED.1)]), Ok(Wanted::Release(release)));
    }

    #[test]
    fn another_release_needs_its_own_digest() {
        for settings in
            [&[("REPO", "me/mine")][..], &[("VERSION", "v9")], &[("REPO", "me/mine"), ("VERSION", "v0.1.2")]]
        {
            let refused = wanted(settings).unwrap_err();
            assert!(matches!(refused, Refused::NoDigest { .. }), "{settings:?}");
            assert!(refused.to_string().contains("viewer.sha256"), "{refused}");
        }
        let Ok(Wanted::Release(release)) = wanted(&[("VERSION", "v9/π 1"), ("SHA256", DIGEST)]) else { panic!() };
        assert_eq!(release.sha256, DIGEST.to_ascii_lowercase());
        assert_eq!(release.path(), "/repos/2nd1st/api-log-viewer/releases/tags/v9%2F%CF%80%201");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for repo in ["mine", "a/b/c", "/b", "a/", "../b", "a/..", "a/b?c", "a/ü"] {
            assert_eq!(wanted(&[("REPO", repo), ("SHA256", DIGEST)]), Err(Refused::Repo(repo.to_owned())));
        }
        assert_eq!(wanted(&[("VERSION", ".."), ("SHA256", DIGEST)]), Err(Refused::Version("..".to_owned())));
    }

    #[test]
    fn a_folder_stands_above_a_release_and_off_above_both() {
        assert_eq!(wanted(&[("LOCAL_PATH", "/v"), ("REPO", "x")]), Ok(Wanted::Folder("/v".into())));
        assert_eq!(wanted(&[("LOCAL_PATH", "/v"), ("ENABLED", "false")]), Ok(Wanted::Nothing));
    }

    #[test]
    fn the_archive_is_found_among_a_releases_files() {
        let answer = br#"{"id":1,"assets":[{"name":"a.txt"},{"name":"dist.zip","browser_download_url":"http://h/d","url":"http://h/a"}]}"#;
        assert_eq!(asset_of(answer), Ok(Asset { url: "http://h/d".to_owned(), by_api: Some("http://h/a".to_owned()) }));
        let none = asset_of(br#"{"assets":[{"name":"a.txt"},{"name":"dist.zip"}]}"#).unwrap_err();
        assert_eq!(none.to_string(), "the release has no dist.zip; it has: a.txt, dist.zip");
        assert!(matches!(asset_of(b"{}"), Err(BadRelease::NoAsset(_))));
        assert!(matches!(asset_of(b"<html>"), Err(BadRelease::Form(_))));
    }
}
