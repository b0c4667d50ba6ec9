//! A small page set in place of the viewer, as a folder and as the archive of a release.

use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Its files.
pub(crate) const FILES: [&str; 4] =
    ["index.html", "assets/app-q7Rf2LxA.js", "assets/style-Kd83hsP2.css", "assets/notes.txt"];

/// Where it stands.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/viewer/site")
}

/// The bytes of a file.
pub(crate) fn file(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

/// All of it in a `dist.zip`, within a folder `dist`.
pub(crate) fn archive() -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for name in FILES {
        writer.start_file(format!("dist/{name}"), SimpleFileOptions::default()).unwrap();
        writer.write_all(&file(name)).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// The digest of an archive.
pub(crate) fn sha256(archive: &[u8]) -> String {
    Sha256::digest(archive).iter().map(|byte| format!("{byte:02x}")).collect()
}
