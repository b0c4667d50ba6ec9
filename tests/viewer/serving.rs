//! What is answered below the viewer's path, row by row.

use std::path::Path;

use crate::releases::Releases;
use crate::stack::{Recorder, Reply};
use crate::{comes_from, page_set, start};

const SCRIPT: &str = "/viewer/assets/app-q7Rf2LxA.js";
const NOTES: &str = "/viewer/assets/notes.txt";

/// Serves the page set as a release.
fn released(data_dir: &Path, releases: &Releases) -> Recorder {
    let sha256 = page_set::sha256(&page_set::archive());
    let recorder = start(data_dir, &[("SHA256", &sha256), ("RELEASES_API_BASE", releases.base())]);
    comes_from(&recorder, "fetched");
    recorder
}

/// Serves it as a folder.
fn local(data_dir: &Path, more: &[(&str, &str)]) -> Recorder {
    let folder = page_set::folder();
    let recorder = start(data_dir, &[&[("LOCAL_PATH", folder.to_str().unwrap())], more].concat());
    comes_from(&recorder, "local");
    recorder
}

fn get(recorder: &Recorder, target: &str) -> Reply {
    recorder.api_with("GET", target, &[], "")
}

#[test]
fn every_row_of_the_table_is_so() {
    let dir = tempfile::tempdir().unwrap();
    let releases = Releases::with(&page_set::archive());
    let recorder = released(dir.path(), &releases);

    // Nobody is asked for the token.
    let page = get(&recorder, "/viewer/");
    assert_eq!((page.status, page.field("content-type")), (200, Some("text/html")));
    assert_eq!((page.body.clone(), page.field("cache-control")), (page_set::file("index.html"), Some("no-cache")));
    assert!(page.field("last-modified").is_some() && page.field("etag").is_some(), "{:?}", page.fields);

    let bare = get(&recorder, "/viewer");
    assert_eq!((bare.status, bare.field("location")), (307, Some("/viewer/")));
    assert_eq!(get(&recorder, "/viewer?a=b").field("location"), Some("/viewer/?a=b"));
    let named = get(&recorder, "/viewer/index.html");
    assert_eq!((named.status, named.field("location")), (307, Some("./")));

    for (target, kind, kept) in [
        (SCRIPT, "text/javascript", "public, max-age=31536000, immutable"),
        ("/viewer/assets/style-Kd83hsP2.css", "text/css", "public, max-age=31536000, immutable"),
        (NOTES, "text/plain", "no-cache"),
    ] {
        let reply = get(&recorder, target);
        assert_eq!((reply.status, reply.field("content-type")), (200, Some(kind)), "{target}");
        assert_eq!(reply.field("cache-control"), Some(kept), "{target}");
        assert_eq!(reply.body, page_set::file(target.strip_prefix("/viewer/").unwrap()));
        let head = recorder.api_with("HEAD", target, &[], "");
        assert_eq!((head.status, head.body.len()), (200, 0), "{target}");
        assert_eq!(head.field("content-length"), reply.field("content-length"), "{target}");
    }

    // Folders, and what is not there or elsewhere, are told apart by nobody.
    for target in [
        "/viewer/assets",
        "/viewer/assets/",
        "/viewer/none",
        "/viewer/assets/none.js",
        "/viewer/index.html/",
        "/viewer//",
        "/viewer//index.html",
        "/viewer/assets//notes.txt",
        "/viewer/../admin_token",
        "/viewer/..%2f..%2f..%2fadmin_token",
        "/viewer/%2e%2e/manifest.json",
        "/viewer/assets/%2e%2e/%2e%2e/%2e%2e/%2e%2e/admin_token",
        "/viewer/%00",
        "/viewer/%ff",
        "/viewerx",
    ] {
        let reply = get(&recorder, target);
        assert_eq!((reply.status, reply.text()), (404, "not found\n"), "{target}");
    }
    let posted = recorder.api_with("POST", "/viewer/", &[], "");
    assert_eq!((posted.status, posted.field("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn parts_and_conditions_are_answered_for_releases_and_folders() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let releases = Releases::with(&page_set::archive());
    for recorder in [released(one.path(), &releases), local(two.path(), &[])] {
        let ask = |fields: &[(&str, &str)]| recorder.api_with("GET", NOTES, fields, "");
        let whole = ask(&[]);
        let date = whole.field("last-modified").unwrap();
        let part = ask(&[("Range", "bytes=6-10")]);
        assert_eq!((part.status, part.text(), part.field("content-range")), (206, "words", Some("bytes 6-10/12")));
        assert_eq!(whole.field("accept-ranges"), Some("bytes"));
        assert_eq!(ask(&[("Range", "bytes=100-")]).status, 416);
        let same = ask(&[("If-Modified-Since", date)]);
        assert_eq!((same.status, same.body.len()), (304, 0));
        assert_eq!(ask(&[("If-Modified-Since", "Sat, 01 Jan 2000 00:00:00 GMT")]).status, 200);
        assert_eq!(ask(&[("If-Unmodified-Since", "Sat, 01 Jan 2000 00:00:00 GMT")]).status, 412);
        // A tag of another version counts for more than a date that is right.
        assert_eq!(ask(&[("If-None-Match", "\"other\""), ("If-Modified-Since", date)]).status, 200);
        assert_eq!(ask(&[("Range", "bytes=6-10"), ("If-Range", "\"other\"")]).status, 200);
        if let Some(tag) = whole.field("etag") {
            let same = ask(&[("If-None-Match", tag)]);
            assert_eq!(
                (same.status, same.field("etag"), same.field("cache-control")),
                (304, Some(tag), Some("no-cache"))
            );
            assert_eq!(ask(&[("Range", "bytes=6-10"), ("If-Range", tag)]).status, 206);
        }
    }
}

#[test]
fn every_answer_tells_browsers_what_to_keep_it_from() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = local(dir.path(), &[]);
    for target in ["/viewer", "/viewer/", SCRIPT, "/viewer/none"] {
        let reply = get(&recorder, target);
        let policy = reply.field("content-security-policy").unwrap();
        for said in [
            "default-src 'self'",
            "script-src 'self';",
            "connect-src 'self'",
            "img-src 'self' data: blob:",
            "object-src 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.contains(said), "{target}: {policy}");
        }
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(reply.field(name), Some(value), "{target}");
        }
    }
    // They are the viewer's alone.
    assert_eq!(get(&recorder, "/healthz").field("content-security-policy").unwrap_or("").find("script-src"), None);
}

#[test]
fn it_stands_where_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = local(dir.path(), &[("PUBLIC_PATH", "/ui")]);
    assert_eq!(get(&recorder, "/ui").field("location"), Some("/ui/"));
    assert_eq!(get(&recorder, "/ui/").body, page_set::file("index.html"));
    assert_eq!(get(&recorder, "/viewer/").status, 404);
    assert_eq!(recorder.get("/healthz")["viewer"]["public_path"], "/ui");
}

#[test]
fn a_path_that_cannot_be_served_is_a_mistake_that_is_told_at_the_start() {
    for path in ["/", "viewer", "/viewer/", "/api/viewer", "/healthz", "/a/../b", "/{a}", "/:a"] {
        let told = std::process::Command::new(env!("CARGO_BIN_EXE_api-log"))
            .args(["validate"])
            .env("APILOG_VIEWER_PUBLIC_PATH", path)
            .output()
            .unwrap();
        let said = String::from_utf8(told.stderr).unwrap();
        assert!(!told.status.success(), "{path}: {said}");
        assert!(said.contains("APILOG_VIEWER_PUBLIC_PATH") && said.contains("a path like /viewer"), "{path}: {said}");
    }
}

#[test]
fn switched_off_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    for target in ["/viewer/", SCRIPT] {
        let reply = get(&recorder, target);
        assert_eq!((reply.status, &reply.json()["error"]), (503, &"disabled".into()), "{target}");
        assert_eq!((reply.field("cache-control"), reply.field("retry-after")), (Some("no-store"), None));
    }
    let seen = recorder.get("/healthz")["viewer"].clone();
    assert_eq!(seen, serde_json::json!({"enabled": false, "source": "disabled", "public_path": "/viewer"}));
}
