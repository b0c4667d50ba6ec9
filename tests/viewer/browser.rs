//! A real browser loads the viewer: its script calls the API with the token, and what it read stands in the page.

use std::path::Path;

use serde_json::Value;

use crate::chromium::{self, Chromium};
use crate::releases::Releases;
use crate::stack::Recorder;
use crate::{comes_from, fails_with, page_set, start};

/// Ends when the page's script has said how it ended.
const ENDED: &str = "new Promise((told) => { const look = () => document.title === 'waiting' \
                     ? setTimeout(look, 20) : told(document.title); look(); })";

/// Records two exchanges, for there to be something to show.
fn record(recorder: &Recorder) {
    for (model, status) in [("m-one", "200"), ("m-two", "429")] {
        let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"Hi"}}]}}"#);
        recorder.send("/v1/chat/completions", &[("x-answer-status", status)], &body);
    }
    recorder.await_rows("", 2);
}

/// The page is loaded, its script ran and was answered, and the policy held.
fn shows_what_was_recorded(browser: &mut Chromium, recorder: &Recorder, source: &str) {
    browser.begin_with(&format!("localStorage.setItem('apilog.token', '{}')", recorder.token));
    browser.load(&format!("http://{}/viewer/#/traces", recorder.api));
    assert_eq!(browser.value(ENDED), "done", "{:?}", browser.said);
    let text =
        |browser: &mut Chromium, id: &str| browser.value(&format!("document.getElementById('{id}').textContent"));
    assert_eq!(text(browser, "health"), format!("ok {source} 2"));
    let rows = browser.value("[...document.querySelectorAll('#traces li')].map((it) => it.textContent)");
    let expected = serde_json::json!(["429 /v1/chat/completions m-two", "200 /v1/chat/completions m-one"]);
    assert_eq!(rows, expected);
    // Its own styles and data: images are shown; what stands within the page does not run, and nobody else is called.
    assert_eq!(browser.value("getComputedStyle(document.querySelector('h1')).color"), "rgb(1, 2, 3)");
    assert_eq!(browser.value("document.getElementById('pixel').naturalWidth"), 1);
    assert_eq!(browser.value("document.documentElement.dataset.inline ?? 'did not run'"), "did not run");
    assert_eq!(text(browser, "refused"), "connect-src");
}

/// In place of the page stands why it is not there.
fn shows_why_not(browser: &mut Chromium, recorder: &Recorder, text: &str) {
    browser.load(&format!("http://{}/viewer/", recorder.api));
    let shown = browser.value("document.body.innerText");
    let told: Value = serde_json::from_str(shown.as_str().unwrap()).unwrap();
    assert_eq!(told["error"], "viewer_unavailable");
    assert!(told["detail"].as_str().unwrap().contains(text), "{told}");
}

fn fetching(data_dir: &Path, releases: &Releases, sha256: &[(&str, &str)]) -> Recorder {
    let settings = [("REPO", "me/mine"), ("VERSION", "v9"), ("RELEASES_API_BASE", releases.base())];
    start(data_dir, &[&settings[..], sha256].concat())
}

#[test]
fn a_browser_shows_a_folder() {
    let Some(mut browser) = chromium::start("a_browser_shows_a_folder") else { return };
    let dir = tempfile::tempdir().unwrap();
    let recorder = start(dir.path(), &[("LOCAL_PATH", page_set::folder().to_str().unwrap())]);
    comes_from(&recorder, "local");
    record(&recorder);
    shows_what_was_recorded(&mut browser, &recorder, "local");
}

#[test]
fn a_browser_shows_a_release_and_why_another_is_refused() {
    let Some(mut browser) = chromium::start("a_browser_shows_a_release_and_why_another_is_refused") else { return };
    let archive = page_set::archive();
    let releases = Releases::with(&archive);

    let dir = tempfile::tempdir().unwrap();
    let recorder = fetching(dir.path(), &releases, &[("SHA256", &page_set::sha256(&archive))]);
    comes_from(&recorder, "fetched");
    record(&recorder);
    shows_what_was_recorded(&mut browser, &recorder, "fetched");
    drop(recorder);

    let dir = tempfile::tempdir().unwrap();
    let recorder = fetching(dir.path(), &releases, &[("SHA256", &"0".repeat(64))]);
    fails_with(&recorder, "sha256 mismatch");
    shows_why_not(&mut browser, &recorder, "sha256 mismatch");
    drop(recorder);

    let dir = tempfile::tempdir().unwrap();
    let recorder = fetching(dir.path(), &releases, &[]);
    fails_with(&recorder, "viewer.sha256");
    shows_why_not(&mut browser, &recorder, "me/mine v9");
}
