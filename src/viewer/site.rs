//! The files that are served: where they stand, what tells two versions of one apart, how long callers may keep them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use super::INDEX;
use super::manifest::Manifest;

/// Ask again each time: what has the same name may be another file after an update.
pub const ASK_AGAIN: &str = "no-cache";
/// Keep: what has another content has another name.
pub const KEEP: &str = "public, max-age=31536000, immutable";
/// Characters of a digest that tell two versions of a file apart.
const TAG_LENGTH: usize = 32;
/// Characters that build tools put into names for the content's sake, at least.
const HASH_LENGTH: usize = 8;

/// A folder that holds the viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    root: PathBuf,
    /// Of the files of a release, by path.
    tags: BTreeMap<String, String>,
}

impl Site {
    /// The folder of an operator's own. What stands in it may change at any time.
    ///
    /// # Errors
    /// It has no plain file `index.html`, or the disk does not say.
    pub fn local(root: &Path) -> io::Result<Site> {
        let index = std::fs::metadata(root.join(INDEX))?;
        if !index.is_file() {
            return Err(io::Error::other("not a plain file"));
        }
        Ok(Site { root: root.to_owned(), tags: BTreeMap::new() })
    }

    /// A release as it was unpacked.
    pub(super) fn of(root: PathBuf, manifest: &Manifest) -> Site {
        let tag = |sha256: &str| sha256.get(..TAG_LENGTH).unwrap_or(sha256).to_owned();
        let tags = manifest.files.iter().map(|(path, kept)| (path.clone(), tag(&kept.sha256))).collect();
        Site { root, tags }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether it is still there: somebody may have cleared it away.
    pub fn is_there(&self) -> bool {
        std::fs::metadata(self.root.join(INDEX)).is_ok_and(|it| it.is_file())
    }

    /// What tells this content of a file from any other, if that is known; by the path that callers send.
    pub fn tag(&self, path: &str) -> Option<&str> {
        let path = percent_decode_str(path.strip_prefix('/').unwrap_or(path)).decode_utf8().ok()?;
        self.tags.get(&*path).map(String::as_str)
    }
}

/// How long a file may be kept, by its path: for ever if its name tells its content, as build tools name assets.
pub fn caching(path: &str) -> &'static str {
    if is_named_by_content(path) { KEEP } else { ASK_AGAIN }
}

/// `…/name-Ab3dEf_7.js`, `…/name.3f2a9b1c77.css`: eight characters or more that no person would call a file.
fn is_named_by_content(path: &str) -> bool {
    let Some((folder, name)) = path.rsplit_once('/') else { return false };
    let Some((stem, extension)) = name.rsplit_once('.') else { return false };
    if folder.is_empty() || extension == "html" {
        return false;
    }
    // Hashes in base64 may hold the sign that they stand behind: they are of one length.
    let tail = stem.len().checked_sub(HASH_LENGTH).and_then(|at| Some((stem.get(..at)?, stem.get(at..)?)));
    let is_base64 = tail.is_some_and(|(before, hash)| {
        before.ends_with(['-', '.'])
            && hash.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
            && hash.bytes().any(|it| it.is_ascii_digit())
            && hash.bytes().any(|it| it.is_ascii_alphabetic())
    });
    let is_hex = stem.rsplit_once(['-', '.']).is_some_and(|(_, hash)| {
        hash.len() >= HASH_LENGTH
            && hash.bytes().all(|it| it.is_ascii_hexdigit())
            && hash.bytes().any(|it| it.is_ascii_digit())
            && hash.bytes().any(|it| it.is_ascii_alphabetic())
    });
    is_base64 || is_hex
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viewer::manifest::Kept;

    #[test]
    fn only_names_that_tell_the_content_are_kept() {
        for path in ["/assets/index-Ab3dEf_7.js", "/assets/a-b-DR-4kl9x.css", "/static/main.3f2a9b1c77de.css"] {
            assert_eq!(caching(path), KEEP, "{path}");
        }
        for path in [
            "/index.html",
            "/app-Ab3dEf_7.js",
            "/assets/page-Ab3dEf_7.html",
            "/assets/my-component.js",
            "/assets/report-20261126.json",
            "/assets/favicon.svg",
            "/assets/a",
            "/assets/short-a1b2.js",
            "/assets/deadbeef",
            "/assets/ünïcödé-1.js",
            "/",
        ] {
            assert_eq!(caching(path), ASK_AGAIN, "{path}");
        }
    }

    #[test]
    fn a_releases_files_are_told_apart_by_their_content() {
        let kept = |sha256: &str| Kept { bytes: 1, sha256: sha256.repeat(64) };
        let files = [("index.html".to_owned(), kept("a")), ("a b.js".to_owned(), kept("b"))];
        let manifest = Manifest { archive_sha256: String::new(), files: files.into() };
        let site = Site::of("/nowhere".into(), &manifest);
        assert_eq!(site.tag("/index.html"), Some("a".repeat(32).as_str()));
        assert_eq!(site.tag("/a%20b.js"), Some("b".repeat(32).as_str()));
        assert_eq!((site.tag("/other"), site.tag("/%ff"), site.is_there()), (None, None, false));
    }

    #[test]
    fn a_folder_is_a_site_if_it_has_the_page() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Site::local(dir.path()).is_err());
        std::fs::create_dir(dir.path().join(INDEX)).unwrap();
        assert!(Site::local(dir.path()).is_err(), "a folder is no page");
        std::fs::remove_dir(dir.path().join(INDEX)).unwrap();
        std::fs::write(dir.path().join(INDEX), "<p>").unwrap();
        assert!(Site::local(dir.path()).unwrap().is_there());
    }
}
