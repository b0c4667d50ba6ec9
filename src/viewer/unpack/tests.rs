//! Archives of all sorts, most of them of an evil mind.

use std::io::{Cursor, Seek};

use proptest::prelude::*;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

const SMALL: Limits = Limits { entries: 8, bytes: 1000 };

fn archive(write: impl FnOnce(&mut ZipWriter<&mut Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = ZipWriter::new(&mut bytes);
    write(&mut writer);
    writer.finish().unwrap();
    bytes.into_inner()
}

fn of_files(files: &[(&str, &str)]) -> Vec<u8> {
    archive(|zip| {
        for (name, text) in files {
            if name.ends_with('/') {
                zip.add_directory(*name, SimpleFileOptions::default()).unwrap();
                continue;
            }
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(text.as_bytes()).unwrap();
        }
    })
}

/// An archive with a name that no writer would give it: it stands twice, before the file and in the directory.
fn renamed(archive: Vec<u8>, from: &str, to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut archive = archive;
    let places: Vec<usize> =
        archive.windows(from.len()).enumerate().filter(|(_, it)| *it == from.as_bytes()).map(|(at, _)| at).collect();
    assert_eq!(places.len(), 2, "{from}");
    places.iter().for_each(|at| archive[*at..*at + to.len()].copy_from_slice(to));
    archive
}

/// What comes of it: paths and texts, and what was found beside them outside of the folder.
fn unpacked(archive: &[u8], limits: Limits) -> Result<Vec<(String, String)>, UnpackError> {
    let dir = tempfile::tempdir().unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(archive).unwrap();
    file.rewind().unwrap();
    let into = dir.path().join("a/b/into");
    fs::create_dir_all(&into).unwrap();
    let outcome = unpack(file, &into, limits);
    for folder in ["", "a", "a/b"] {
        assert_eq!(fs::read_dir(dir.path().join(folder)).unwrap().count(), 1, "nothing is written beside the folder");
    }
    let kept = outcome?;
    let text = |name: &String| fs::read_to_string(into.join(name)).unwrap();
    for (name, kept) in &kept {
        assert_eq!(kept.bytes, text(name).len() as u64);
        assert_eq!(fs::metadata(into.join(name)).unwrap().permissions().mode() & 0o777, 0o644, "{name}");
    }
    Ok(kept.keys().map(|name| (name.clone(), text(name))).collect())
}

fn owned(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn a_folder_around_everything_is_left_out_and_one_around_some_is_not() {
    let files = [("assets/a.js", "1"), ("index.html", "<p>")];
    let wrapped =
        of_files(&[("dist/", ""), ("dist/index.html", "<p>"), ("dist/assets/", ""), ("dist/assets/a.js", "1")]);
    assert_eq!(unpacked(&wrapped, SMALL).unwrap(), owned(&files));
    assert_eq!(unpacked(&of_files(&files), SMALL).unwrap(), owned(&files));
    let both = [("dist/a.js", "1"), ("index.html", "<p>")];
    assert_eq!(unpacked(&of_files(&both), SMALL).unwrap(), owned(&both));
    // The folder alone is no site.
    assert!(matches!(unpacked(&of_files(&[("dist/", "")]), SMALL), Err(UnpackError::NoIndex)));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let site = [("index.html", "<p>"), ("x1/x2/x3.js", "evil")];
    for (name, why) in [
        ("../../e.js\0", "control"),
        ("../..//a.js", "upwards"),
        ("/etc/passwd", "absolute"),
        ("..\\..\\bb.js", "backslash"),
        ("C:/x/x3.jss", "colon"),
        ("a/../../c.j", "upwards"),
        ("./a/./b.jss", "empty part"),
        ("a///b/x3.js", "empty part"),
        ("x1/x2/../..", "upwards"),
        ("x1/x2/x3\n.s", "control"),
    ] {
        let evil = renamed(of_files(&site), "x1/x2/x3.js", name.as_bytes());
        match unpacked(&evil, SMALL) {
            Err(UnpackError::Entry { why: said, .. }) => assert!(said.contains(why), "{name:?}: {said}"),
            other => panic!("{name:?}: {other:?}"),
        }
    }
    let not_text = renamed(of_files(&site), "x1/x2/x3.js", b"x1/x2/\xff\xfe.js");
    assert!(matches!(unpacked(&not_text, SMALL), Err(UnpackError::Entry { why: "its name is not UTF-8", .. })));
    // A name with dots that leads nowhere is a name.
    let dots = [("a..b.js", "1"), ("index.html", "<p>")];
    assert_eq!(unpacked(&of_files(&dots), SMALL).unwrap(), owned(&dots));
}

#[test]
fn links_and_what_is_there_twice_are_refused() {
    let link = archive(|zip| {
        zip.start_file("index.html", SimpleFileOptions::default()).unwrap();
        zip.add_symlink("assets", "/etc", SimpleFileOptions::default()).unwrap();
    });
    let refusal = unpacked(&link, SMALL).unwrap_err().to_string();
    assert!(refusal.contains("\"assets\" is refused: it is neither a plain file nor a folder"), "{refusal}");
    let twice = renamed(of_files(&[("index.html", "<p>"), ("a.js", "1"), ("b.js", "2")]), "b.js", b"a.js");
    assert!(unpacked(&twice, SMALL).is_err());
    let in_the_way = of_files(&[("index.html", "<p>"), ("a", "1"), ("a/b", "2")]);
    assert!(matches!(unpacked(&in_the_way, SMALL), Err(UnpackError::Entry { .. })));
}

#[test]
fn bombs_do_not_go_off() {
    let zeros = "0".repeat(1_000_000);
    let bomb = of_files(&[("index.html", "<p>"), ("a.js", &zeros)]);
    assert!(bomb.len() < 3000, "{}", bomb.len());
    assert!(matches!(unpacked(&bomb, SMALL), Err(UnpackError::TooLarge(1000))));
    // Together they are too much, and none alone.
    let half = "0".repeat(600);
    let halves = of_files(&[("index.html", "<p>"), ("a.js", &half), ("b.js", &half)]);
    assert!(matches!(unpacked(&halves, SMALL), Err(UnpackError::TooLarge(1000))));
    let names: Vec<String> = (0..9).map(|number| format!("{number}.js")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    assert!(matches!(unpacked(&of_files(&many), SMALL), Err(UnpackError::TooMany { found: 9, most: 8 })));
}

#[test]
fn what_is_damaged_or_no_site_is_an_error() {
    let whole = of_files(&[("index.html", "<p>"), ("a.js", "some text that stands there as it is")]);
    assert!(matches!(unpacked(&whole[..whole.len() / 2], SMALL), Err(UnpackError::Form(_))));
    assert!(matches!(unpacked(b"<html>not found</html>", SMALL), Err(UnpackError::Form(_))));
    assert!(matches!(unpacked(&of_files(&[("a.js", "1")]), SMALL), Err(UnpackError::NoIndex)));
    let stored = archive(|zip| {
        let plain = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        zip.start_file("index.html", plain).unwrap();
        zip.write_all(b"<p>text</p>").unwrap();
    });
    let flipped: Vec<u8> = {
        let at = stored.windows(4).position(|it| it == b"text").unwrap();
        let mut bytes = stored;
        bytes[at] ^= 1;
        bytes
    };
    assert!(matches!(unpacked(&flipped, SMALL), Err(UnpackError::Form(_))), "its checksum does not hold");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a name is, it gives a path below the folder or none.
    #[test]
    fn a_path_never_leaves_its_folder(name in "[./\\\\a:\u{0}-]{0,24}|\\PC{0,24}") {
        if let Ok(parts) = parts(&name) {
            let path = Path::new("/into").join(parts.join("/"));
            let components: Vec<_> = path.components().skip(2).collect();
            prop_assert_eq!(components.len(), parts.len());
            prop_assert!(components.iter().all(|it| matches!(it, std::path::Component::Normal(_))));
        }
    }

    /// Whatever bytes are flipped, nothing is written elsewhere and nothing panics.
    #[test]
    fn flipped_bytes_do_no_harm(at in 0_usize..400, with in any::<u8>()) {
        let mut bytes = of_files(&[("dist/index.html", "<p>"), ("dist/assets/a.js", "let a = 1;")]);
        let at = at % bytes.len();
        bytes[at] = with;
        let _ = unpacked(&bytes, SMALL);
    }
}
