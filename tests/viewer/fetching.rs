//! How a release comes to be served: fetched and checked, kept and found again, and every way to fail.

use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::releases::{Asked, Gives, Releases};
use crate::stack::{Recorder, until};
use crate::{comes_from, fails_with, page_set, standing, start};

const RELEASE: &str = "/repos/me/mine/releases/tags/v9";
const ARCHIVE: &str = "/download/dist.zip";

/// A recorder that is to have the release of this digest from there.
fn asking(data_dir: &Path, releases: &Releases, sha256: &str, more: &[(&str, &str)]) -> Recorder {
    let settings = [("REPO", "me/mine"), ("VERSION", "v9"), ("SHA256", sha256), ("RELEASES_API_BASE", releases.base())];
    start(data_dir, &[&settings[..], more].concat())
}

/// Where the cache keeps it.
fn kept(data_dir: &Path, sha256: &str) -> PathBuf {
    data_dir.join("viewer-cache").join(&sha256[..16])
}

fn serves_the_page(recorder: &Recorder) {
    let page = recorder.api_with("GET", "/viewer/", &[], "");
    assert_eq!((page.status, page.body), (200, page_set::file("index.html")));
}

#[test]
fn a_release_is_fetched_once_and_found_again_without_the_network() {
    let dir = tempfile::tempdir().unwrap();
    let archive = page_set::archive();
    let sha256 = page_set::sha256(&archive);
    let mut releases = Releases::with(&archive);
    let recorder = asking(dir.path(), &releases, &sha256.to_ascii_uppercase(), &[]);
    let seen = comes_from(&recorder, "fetched");
    let expected = serde_json::json!({"enabled": true, "source": "fetched", "repo": "me/mine", "version": "v9",
        "sha256": sha256, "public_path": "/viewer"});
    assert_eq!(seen, expected);
    serves_the_page(&recorder);
    let asked = releases.asked();
    assert_eq!(asked.iter().map(|it| it.path.as_str()).collect::<Vec<_>>(), [RELEASE, ARCHIVE]);
    assert_eq!(asked[0].accept.as_deref(), Some("application/vnd.github+json"));
    assert!(asked.iter().all(|it| it.agent.as_deref() == Some("api-log/viewerhost") && it.authorization.is_none()));
    recorder.stop();

    releases.end();
    let recorder = asking(dir.path(), &releases, &sha256, &[]);
    comes_from(&recorder, "cache");
    serves_the_page(&recorder);
    let names: Vec<_> =
        std::fs::read_dir(dir.path().join("viewer-cache")).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, [&sha256[..16]], "nothing is left beside it");
}

#[test]
fn what_is_damaged_in_the_cache_is_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let archive = page_set::archive();
    let sha256 = page_set::sha256(&archive);
    let mut releases = Releases::with(&archive);
    let recorder = asking(dir.path(), &releases, &sha256, &[]);
    comes_from(&recorder, "fetched");
    recorder.stop();

    // As a crash of another program's unpacking leaves it: the page is there, and the rest is not.
    std::fs::remove_file(kept(dir.path(), &sha256).join("dist/assets/app-q7Rf2LxA.js")).unwrap();
    let recorder = asking(dir.path(), &releases, &sha256, &[]);
    comes_from(&recorder, "fetched");
    assert_eq!(releases.asked_for(ARCHIVE).len(), 2);
    recorder.stop();

    // Without the network the damaged one is not served.
    std::fs::write(kept(dir.path(), &sha256).join("dist/index.html"), "<p>evil").unwrap();
    releases.end();
    let recorder = asking(dir.path(), &releases, &sha256, &[]);
    fails_with(&recorder, "cannot have the release's description from 127.0.0.1");
    assert_eq!(recorder.api_with("GET", "/viewer/", &[], "").status, 503);
}

#[test]
fn files_that_vanish_meanwhile_are_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let archive = page_set::archive();
    let sha256 = page_set::sha256(&archive);
    let releases = Releases::with(&archive);
    let recorder = asking(dir.path(), &releases, &sha256, &[]);
    comes_from(&recorder, "fetched");
    std::fs::remove_dir_all(dir.path().join("viewer-cache")).unwrap();
    until("it is fetched again", || releases.asked_for(ARCHIVE).len() == 2);
    until("the page is there again", || recorder.api_with("GET", "/viewer/", &[], "").status == 200);
}

#[test]
fn another_digest_than_the_one_named_is_not_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let archive = page_set::archive();
    let releases = Releases::with(&archive);
    let wrong = "0".repeat(64);
    let recorder = asking(dir.path(), &releases, &wrong, &[]);
    let seen = fails_with(&recorder, "sha256 mismatch");
    assert!(seen["error"].as_str().unwrap().contains(&page_set::sha256(&archive)), "{seen}");
    assert!(seen["next_try"].is_string(), "{seen}");
    assert_eq!(std::fs::read_dir(dir.path().join("viewer-cache")).unwrap().count(), 0);
    is_refused(&recorder, "viewer_unavailable", "sha256 mismatch");
}

#[test]
fn another_release_without_its_digest_is_refused_and_nobody_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let releases = Releases::with(&page_set::archive());
    let recorder = start(dir.path(), &[("VERSION", "v9"), ("RELEASES_API_BASE", releases.base())]);
    let seen = fails_with(&recorder, "viewer.sha256");
    assert!(seen.get("next_try").is_none() && seen["error"].as_str().unwrap().contains("v9"), "{seen}");
    is_refused(&recorder, "viewer_unavailable", "viewer.sha256");
    assert!(releases.asked().is_empty());
    // It is the viewer's trouble alone.
    assert_eq!(recorder.send("/v1/models", &[], "").status, 200);
}

#[test]
fn a_first_failure_that_passes_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let archive = page_set::archive();
    let sha256 = page_set::sha256(&archive);
    let refusals = [503, 403].into();
    let releases = Releases::start(Gives { archive, refusals, ..Gives::default() });
    let recorder = asking(dir.path(), &releases, &sha256, &[]);
    comes_from(&recorder, "fetched");
    assert_eq!(releases.asked_for(RELEASE).len(), 3);
    serves_the_page(&recorder);
}

#[test]
fn refusals_say_what_helps() {
    let mut refusals = Vec::new();
    for (status, said) in [(403, "viewer.releases_auth_token"), (404, "no such repository"), (500, "answered 500")] {
        let dir = tempfile::tempdir().unwrap();
        // More than it is tried in this test.
        let gives = Gives { refusals: [status; 64].into(), ..Gives::default() };
        let releases = Releases::start(gives);
        let recorder = asking(dir.path(), &releases, &"1".repeat(64), &[]);
        refusals.push(fails_with(&recorder, said)["error"].as_str().unwrap().to_owned());
        is_refused(&recorder, "viewer_unavailable", said);
    }
    assert!(refusals[0].contains("answered 403"), "{refusals:?}");
}

#[test]
fn what_is_no_release_and_no_archive_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let releases = Releases::start(Gives { names: vec!["notes.txt", "source.zip"], ..Gives::default() });
    let recorder = asking(dir.path(), &releases, &"1".repeat(64), &[]);
    fails_with(&recorder, "the release has no dist.zip; it has: notes.txt, source.zip");

    // The digest is right, and the archive cannot be unpacked.
    let broken = b"PK\x03\x04 and no more";
    let dir = tempfile::tempdir().unwrap();
    let releases = Releases::with(broken);
    let recorder = asking(dir.path(), &releases, &page_set::sha256(broken), &[]);
    fails_with(&recorder, "the archive cannot be read");
    assert_eq!(std::fs::read_dir(dir.path().join("viewer-cache")).unwrap().count(), 0);
}

#[test]
fn the_token_goes_to_the_service_and_to_nobody_else() {
    let archive = page_set::archive();
    let sha256 = page_set::sha256(&archive);
    let token = |asked: &[Asked]| asked.iter().map(|it| it.authorization.clone()).collect::<Vec<_>>();
    let secret = Some("token geheim".to_owned());

    // The archive is on another host.
    let dir = tempfile::tempdir().unwrap();
    let other = Releases::with(&archive);
    let gives = Gives { download_from: Some(other.base().to_owned()), ..Gives::default() };
    let service = Releases::start(gives);
    let recorder = asking(dir.path(), &service, &sha256, &[("RELEASES_AUTH_TOKEN", "geheim")]);
    comes_from(&recorder, "fetched");
    assert_eq!(token(&service.asked()), std::slice::from_ref(&secret));
    assert_eq!(token(&other.asked_for(ARCHIVE)), [None]);
    drop(recorder);

    // The service has it, and redirects to another host.
    let dir = tempfile::tempdir().unwrap();
    let moved = format!("{}/moved/dist.zip", other.base());
    let service = Releases::start(Gives { redirects_to: Some(moved), ..Gives::default() });
    let recorder = asking(dir.path(), &service, &sha256, &[("RELEASES_AUTH_TOKEN", "geheim")]);
    comes_from(&recorder, "fetched");
    assert_eq!(token(&service.asked()), [secret.clone(), secret.clone()]);
    assert_eq!(token(&other.asked_for("/moved/dist.zip")), [None]);
    drop(recorder);

    // What only a token opens is asked of the service, if it says where.
    let dir = tempfile::tempdir().unwrap();
    let from = Some("http://127.0.0.1:9".to_owned());
    let service = Releases::start(Gives { archive, download_from: from, has_own_address: true, ..Gives::default() });
    let recorder = asking(dir.path(), &service, &sha256, &[("RELEASES_AUTH_TOKEN", "geheim")]);
    comes_from(&recorder, "fetched");
    assert_eq!(token(&service.asked_for("/assets/1")), [secret]);
    assert_eq!(service.asked_for("/assets/1")[0].accept.as_deref(), Some("application/octet-stream"));
}

#[test]
fn a_service_that_does_not_answer_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    // It accepts, and says nothing for as long as the test goes.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", silent.local_addr().unwrap());
    let recorder = start(dir.path(), &[("RELEASES_API_BASE", &base)]);
    let asked: TcpStream = silent.accept().unwrap().0;
    assert_eq!(recorder.send("/v1/models", &[], "").status, 200);
    recorder.await_rows("", 1);
    let seen = standing(&recorder);
    assert_eq!((&seen["source"], &seen["version"]), (&Value::from("error"), &Value::from("v0.1.2")));
    is_refused(&recorder, "viewer_unavailable", "2nd1st/api-log-viewer v0.1.2 is being looked for");
    // Nor does it hold up the end.
    recorder.stop();
    drop(asked);
}

#[test]
fn a_folder_is_served_as_it_is_once_it_has_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("site");
    let recorder = start(&dir.path().join("data"), &[("LOCAL_PATH", site.to_str().unwrap())]);
    let seen = fails_with(&recorder, "viewer.local_path has no readable index.html");
    assert!(!seen["error"].as_str().unwrap().contains(site.to_str().unwrap()), "no path of the machine: {seen}");
    std::fs::create_dir(&site).unwrap();
    std::fs::write(site.join("index.html"), "<p>mine").unwrap();
    let seen = comes_from(&recorder, "local");
    assert_eq!(seen, serde_json::json!({"enabled": true, "source": "local", "public_path": "/viewer"}));
    assert_eq!(recorder.api_with("GET", "/viewer/", &[], "").text(), "<p>mine");
}

/// The page is not there, for that reason.
fn is_refused(recorder: &Recorder, code: &str, text: &str) {
    let reply = recorder.api_with("GET", "/viewer/", &[], "");
    let told = reply.json();
    assert_eq!((reply.status, &told["error"]), (503, &Value::from(code)), "{told}");
    assert!(told["detail"].as_str().unwrap().contains(text), "{told}");
    assert!(told["message"].as_str().unwrap().contains(text), "{told}");
}
