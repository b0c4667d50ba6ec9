//! Releases that were unpacked, each in a folder named by its digest: there whole, or not at all.
//!
//! | Path in the cache | Content |
//! |---|---|
//! | `<key>/dist/` | the files that are served; `<key>` is the beginning of the archive's digest |
//! | `<key>/manifest.json` | what they are |
//! | `.tmp-<key>-<random>/` | one that is being fetched; moved to its place when it is whole, else removed |

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::download::{self, Download};
use super::failure::Failure;
use super::manifest::{Damage, Manifest};
use super::release::Release;
use super::site::Site;
use super::unpack::{Limits, UnpackError, unpack};

/// What folders that are being filled begin with.
const UNFINISHED: &str = ".tmp-";
/// The age at which such a folder is one that a crash left: no fetch takes so long.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);
const FILES: &str = "dist";
const MANIFEST: &str = "manifest.json";

/// A folder of releases, looked at for one of them. Several recorders may share it.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    release: Release,
}

/// What stands in the cache.
#[derive(Debug)]
pub enum Found {
    /// The release, as it was unpacked.
    Whole(Site),
    /// Nothing of it.
    Nothing,
    /// Something else in its place.
    Damaged(Damage),
}

/// A folder for what is being fetched. It goes with this, with all that is in it.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed as left behind.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Cache {
    /// The cache at `root`, for this release.
    pub fn new(root: PathBuf, release: Release) -> Cache {
        Cache { root, release }
    }

    /// The release that it is looked at for.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// Looks for the release, and at every byte of it.
    pub fn find(&self) -> Found {
        let place = self.place();
        if !place.join(FILES).exists() {
            return Found::Nothing;
        }
        let held = Manifest::read(&place.join(MANIFEST)).and_then(|manifest| {
            manifest.check(&self.release.sha256, &place.join(FILES))?;
            Ok(Site::of(place.join(FILES), &manifest))
        });
        held.map_or_else(Found::Damaged, Found::Whole)
    }

    /// Begins to take the release's archive.
    ///
    /// # Errors
    /// [`Failure::Cache`].
    pub fn begin(&self) -> Result<(Scratch, Download), Failure> {
        let begin = || {
            DirBuilder::new().recursive(true).mode(0o755).create(&self.root)?;
            self.remove_left_behind();
            let name = format!("{UNFINISHED}{}-{:016x}", self.release.key(), rand::random::<u64>());
            let scratch = Scratch(self.root.join(name));
            DirBuilder::new().mode(0o755).create(&scratch.0)?;
            let download = Download::begin(&scratch.0.join(super::release::ASSET), download::MOST_BYTES)?;
            Ok((scratch, download))
        };
        begin().map_err(|source| self.failed(source))
    }

    /// Puts what was taken in its place, if it is what was wanted and can be unpacked.
    ///
    /// # Errors
    /// [`Failure`]; the cache is as it was.
    pub fn keep(&self, scratch: Scratch, download: Download) -> Result<Site, Failure> {
        let archive = download.finish(&self.release.sha256)?;
        let archive = fs::File::open(archive).map_err(|source| self.failed(source))?;
        let whole = scratch.0.join("whole");
        let files = whole.join(FILES);
        DirBuilder::new().recursive(true).mode(0o755).create(&files).map_err(|source| self.failed(source))?;
        let files = match unpack(archive, &files, Limits::RELEASE) {
            Err(UnpackError::Disk(source)) => return Err(self.failed(source)),
            other => other?,
        };
        let manifest = Manifest { archive_sha256: self.release.sha256.clone(), files };
        let put = || {
            manifest.write(&whole.join(MANIFEST))?;
            self.put(&scratch, &whole)
        };
        put().map_err(|source| self.failed(source))?;
        Ok(Site::of(self.place().join(FILES), &manifest))
    }

    /// Moves a whole release to its place. What stood there goes with the scratch folder.
    fn put(&self, scratch: &Scratch, whole: &Path) -> io::Result<()> {
        let replaced = scratch.0.join("replaced");
        match fs::rename(self.place(), &replaced) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let put = fs::rename(whole, self.place());
        // Another recorder may have been faster, with the same release.
        if put.is_err() && !matches!(self.find(), Found::Whole(_)) {
            // As it was; if nothing was there, this fails as well.
            let _ = fs::rename(&replaced, self.place());
            return put;
        }
        Ok(())
    }

    fn place(&self) -> PathBuf {
        self.root.join(self.release.key())
    }

    fn failed(&self, source: io::Error) -> Failure {
        Failure::Cache { path: self.root.clone(), source }
    }

    /// Removes what a crash left.
    fn remove_left_behind(&self) {
        let Ok(entries) = fs::read_dir(&self.root) else { return };
        for entry in entries.flatten() {
            let is_ours = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
            let age = entry.metadata().and_then(|it| it.modified()).ok().and_then(|it| it.elapsed().ok());
            if is_ours && age.is_some_and(|it| it > LEFT_BEHIND) {
                drop(Scratch(entry.path()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};
    use std::os::unix::fs::PermissionsExt;

    use sha2::{Digest, Sha256};
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;
    use crate::viewer::hex;

    fn archive(text: &str) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, text) in [("dist/index.html", text), ("dist/assets/a.js", "let a;")] {
            writer.start_file(name, SimpleFileOptions::default()).unwrap();
            writer.write_all(text.as_bytes()).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn cache(root: &Path, archive: &[u8]) -> Cache {
        let sha256 = hex(&Sha256::digest(archive));
        Cache::new(root.join("cache"), Release { repo: "a/b".into(), version: "v1".into(), sha256 })
    }

    fn take(cache: &Cache, archive: &[u8]) -> Result<Site, Failure> {
        let (scratch, mut download) = cache.begin().unwrap();
        archive.chunks(10).for_each(|chunk| download.write(chunk).unwrap());
        cache.keep(scratch, download)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_release_is_kept_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let archive = archive("<p>");
        let cache = cache(dir.path(), &archive);
        assert!(matches!(cache.find(), Found::Nothing));
        let site = take(&cache, &archive).unwrap();
        assert_eq!(fs::read(site.root().join("index.html")).unwrap(), b"<p>");
        let Found::Whole(found) = cache.find() else { panic!() };
        assert_eq!(found, site);
        assert_eq!(names(&dir.path().join("cache")), [cache.release().key()], "nothing is left beside it");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&site.root().join("assets")), mode(&site.root().join("assets/a.js"))), (0o755, 0o644));
    }

    #[test]
    fn what_fails_leaves_nothing_and_what_stood_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = archive("<p>");
        let cache = cache(dir.path(), &wanted);
        take(&cache, &wanted).unwrap();
        let mismatch = take(&cache, &archive("<b>")).unwrap_err().to_string();
        assert!(mismatch.contains("sha256 mismatch"), "{mismatch}");
        // Given up half way, as by a crash of its actor.
        let (scratch, mut download) = cache.begin().unwrap();
        download.write(&wanted[..20]).unwrap();
        drop((scratch, download));
        assert_eq!(names(&dir.path().join("cache")), [cache.release().key()]);
        assert!(matches!(cache.find(), Found::Whole(_)));
        // What cannot be unpacked though it is what was wanted.
        let broken = super::tests::cache(dir.path(), b"no zip");
        assert!(matches!(take(&broken, b"no zip"), Err(Failure::Unpack(UnpackError::Form(_)))));
        assert!(matches!(broken.find(), Found::Nothing));
    }

    #[test]
    fn whatever_is_damaged_is_noticed_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let archive = archive("<p>");
        let cache = cache(dir.path(), &archive);
        let place = dir.path().join("cache").join(cache.release().key());
        let script = place.join("dist/assets/a.js");
        let damages: [(&str, &dyn Fn()); 6] = [
            ("is not as it was unpacked", &|| fs::write(&script, "let b;").unwrap()),
            ("is not as it was unpacked", &|| fs::remove_file(&script).unwrap()),
            ("is not as it was unpacked", &|| {
                fs::remove_file(&script).unwrap();
                std::os::unix::fs::symlink("/etc/hostname", &script).unwrap();
            }),
            ("was not in the release", &|| fs::write(place.join("dist/evil.js"), "").unwrap()),
            ("manifest cannot be read", &|| fs::remove_file(place.join(MANIFEST)).unwrap()),
            ("from the archive", &|| {
                let manifest = fs::read_to_string(place.join(MANIFEST)).unwrap();
                fs::write(place.join(MANIFEST), manifest.replace(&cache.release().sha256, "another")).unwrap();
            }),
        ];
        for (said, damage) in damages {
            take(&cache, &archive).unwrap();
            assert!(matches!(cache.find(), Found::Whole(_)));
            damage();
            match cache.find() {
                Found::Damaged(found) => assert!(found.to_string().contains(said), "{said}: {found}"),
                other => panic!("{said}: {other:?}"),
            }
        }
        take(&cache, &archive).unwrap();
        assert!(matches!(cache.find(), Found::Whole(_)));
    }

    #[test]
    fn what_a_crash_left_is_cleared_away_once_it_is_old() {
        let dir = tempfile::tempdir().unwrap();
        let archive = archive("<p>");
        let cache = cache(dir.path(), &archive);
        let (old, young) = (dir.path().join("cache/.tmp-old"), dir.path().join("cache/.tmp-young"));
        fs::create_dir_all(&old).unwrap();
        fs::create_dir_all(&young).unwrap();
        let long_ago = std::time::SystemTime::now() - 2 * LEFT_BEHIND;
        fs::File::open(&old).unwrap().set_modified(long_ago).unwrap();
        take(&cache, &archive).unwrap();
        assert_eq!((old.exists(), young.exists()), (false, true));
    }
}
