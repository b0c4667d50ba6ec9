//! Tokens of several scopes: made by the command, kept as digests, heard of while the recorder runs.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::stack::{Recorder, Reply, call, until};

const ID: &str = "01J00000000000000000000000";

/// Every route that a token opens, and whether a viewer's does.
fn routes() -> Vec<(&'static str, String, bool)> {
    let mut routes: Vec<(&str, String, bool)> = [
        "/api/traces",
        "/api/traces/{id}",
        "/api/traces/{id}/replay",
        "/api/export",
        "/api/media/{id}/0",
        "/api/sessions",
        "/api/stats",
        "/api/inflight",
        "/api/inflight/{id}/events",
        "/api/index",
        "/api/config/media",
        "/api/config/retention",
        "/api/config/plugins",
        "/api/plugins/types",
    ]
    .iter()
    .flat_map(|it| ["GET", "HEAD"].map(|method| (method, it.replace("{id}", ID), true)))
    .collect();
    for (method, target) in [
        ("PUT", "/api/config/media"),
        ("PUT", "/api/config/retention"),
        ("PUT", "/api/config/plugins"),
        ("DELETE", "/api/config/plugins"),
        ("PUT", "/api/config/plugins/"),
        ("PUT", "/api/config/plugins/x"),
        ("POST", "/api/index/rebuild"),
    ] {
        routes.push((method, target.to_owned(), false));
    }
    routes
}

/// The command, on the recorder's data dir.
fn token_command(data_dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_api-log"));
    command.arg("token").args(arguments).env("APILOG_STORAGE_DATA_DIR", data_dir).output().unwrap()
}

pub(crate) fn make(data_dir: &Path, name: &str, scope: &str) -> String {
    let made = token_command(data_dir, &["new", "--name", name, "--scope", scope]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let said = String::from_utf8(made.stdout).unwrap();
    assert_eq!(said.lines().count(), 1, "the token alone: {said}");
    said.trim().to_owned()
}

fn ask(recorder: &Recorder, token: &str, method: &str, target: &str) -> Reply {
    recorder.api_with(method, target, &[("Authorization", &format!("Bearer {token}"))], "")
}

fn status(recorder: &Recorder, token: &str) -> u16 {
    ask(recorder, token, "GET", "/api/traces").status
}

/// What is wrong in this respect, if anything is.
fn degraded(recorder: &Recorder, condition: &str) -> Option<Value> {
    let health = recorder.get("/healthz");
    health["degraded"].as_array().unwrap().iter().find(|it| it["condition"] == condition).cloned()
}

#[test]
fn a_viewer_reads_everything_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let (viewer, admin) = (make(dir.path(), "grafana", "viewer"), make(dir.path(), "ops", "admin"));
    until("they are heard of", || [&viewer, &admin].iter().all(|it| status(&recorder, it) == 200));
    for (method, target, is_read) in routes() {
        assert_eq!(ask(&recorder, "wrong", method, &target).status, 401, "{method} {target}");
        for token in [&admin, &recorder.token] {
            let given = ask(&recorder, token, method, &target).status;
            assert!(![401, 403, 405].contains(&given), "{method} {target}: {given}");
        }
        let reply = ask(&recorder, &viewer, method, &target);
        if is_read {
            assert!(![401, 403, 405].contains(&reply.status), "{method} {target}: {}", reply.status);
        } else {
            let body = reply.json();
            assert_eq!((reply.status, &body["error"]), (403, &"forbidden".into()), "{method} {target}");
            assert_eq!((&body["needed_scope"], &body["scope"]), (&"admin".into(), &"viewer".into()));
            assert!(body["message"].as_str().unwrap().contains("admin"), "{body}");
        }
    }
    // What a viewer sends is not even looked at.
    let field = ("Authorization", &*format!("Bearer {viewer}"));
    assert_eq!(recorder.api_with("PUT", "/api/config/media", &[field], r#"{"save_attachments":false}"#).status, 403);
    assert_eq!(recorder.get("/api/config/media")["source"], "yaml");
    let health = recorder.get("/healthz");
    assert!(health["api"]["forbidden"].as_u64() > Some(7) && health["api"]["unauthorized"].as_u64() > Some(20));
    let metrics = call(recorder.api, "GET", "/metrics", &[], b"");
    assert!(metrics.text().contains("api_log_api_requests_refused_total{cause=\"forbidden\"}"));
}

#[test]
fn tokens_are_kept_as_digests_listed_and_revoked_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(dir.path());
    let token = make(dir.path(), "grafana", "viewer");
    let file = dir.path().join("tokens");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("grafana viewer sha256:") && !text.contains(&token["apilog_".len()..]), "{text}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = token_command(dir.path(), &["new", "--name", "grafana", "--scope", "admin"]);
    assert!(!again.status.success() && again.stdout.is_empty());
    let timed = token_command(dir.path(), &["new", "--name", "guest", "--scope", "viewer", "--expires", "30d"]);
    let guest = String::from_utf8(timed.stdout).unwrap().trim().to_owned();
    let listed = String::from_utf8(token_command(dir.path(), &["list"]).stdout).unwrap();
    let rows: Vec<Vec<&str>> = listed.lines().map(|it| it.split('\t').collect()).collect();
    assert_eq!(
        (rows.len(), &rows[0][..], &rows[1][..2]),
        (2, &["grafana", "viewer", "-"][..], &["guest", "viewer"][..])
    );
    until("they are heard of", || status(&recorder, &token) == 200 && status(&recorder, &guest) == 200);
    // Who follows is let go when the token is.
    let mut tail = crate::stack::open_with(&recorder, "/api/tail", "");
    let mut followed = std::net::TcpStream::connect(recorder.api).unwrap();
    followed.set_read_timeout(Some(std::time::Duration::from_secs(120))).unwrap();
    std::io::Write::write_all(
        &mut followed,
        format!("GET /api/tail HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes(),
    )
    .unwrap();
    let mut first = String::new();
    let mut followed = BufReader::new(followed);
    followed.read_line(&mut first).unwrap();
    assert_eq!(first, "HTTP/1.1 200 OK\r\n");
    assert!(token_command(dir.path(), &["revoke", "grafana"]).status.success());
    let mut left = Vec::new();
    // In order or not, it ends.
    if let Err(error) = followed.read_to_end(&mut left) {
        assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "it goes on");
    }
    assert!(!left.ends_with(b"0\r\n\r\n"), "nobody takes it for whole");
    until("it is refused", || status(&recorder, &token) == 401);
    assert_eq!((status(&recorder, &guest), status(&recorder, &recorder.token)), (200, 200));
    // The other one's goes on.
    recorder.send("/v1/models", &[], "");
    let mut seen = String::new();
    let mut byte = [0];
    while !seen.contains("event: trace") {
        assert_eq!(tail.read(&mut byte).unwrap(), 1, "{seen}");
        seen.push(byte[0].into());
    }
    let unknown = token_command(dir.path(), &["revoke", "grafana"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no token grafana"));
    for wrong in
        [&["new", "--name", "a b", "--scope", "viewer"][..], &["new", "--name", "a", "--scope", "root"], &["new"]]
    {
        assert_eq!(token_command(dir.path(), wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_bad_file_keeps_what_was_in_force_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("elsewhere/tokens.txt");
    let path = file.to_str().unwrap();
    let command = |arguments: &[&str]| token_command(dir.path(), &[arguments, &["--file", path]].concat());
    let made = command(&["new", "--name", "one", "--scope", "viewer"]);
    let one = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let recorder = Recorder::with(dir.path(), &[("APILOG_API_TOKEN_FILE", path)]);
    assert_eq!(status(&recorder, &one), 200, "what stands there at the start is in force");
    let good = std::fs::read_to_string(&file).unwrap();
    for bad in [format!("{good}two viewer secret\n"), format!("{good}{good}"), "\u{0}".to_owned()] {
        std::fs::write(&file, &bad).unwrap();
        until("it is told", || degraded(&recorder, "tokens_malformed").is_some());
        let told = degraded(&recorder, "tokens_malformed").unwrap()["reason"].as_str().unwrap().to_owned();
        assert!(told.contains("line ") && told.contains(path) && !told.contains("secret"), "{told}");
        assert_eq!((status(&recorder, &one), status(&recorder, &recorder.token)), (200, 200));
        // Nobody adds to what is broken.
        assert_eq!(command(&["new", "--name", "two", "--scope", "viewer"]).status.code(), Some(1));
        std::fs::write(&file, &good).unwrap();
        until("it is mended", || degraded(&recorder, "tokens_malformed").is_none());
    }
    // SIGHUP reads it as well, and says so.
    std::fs::write(&file, "nonsense\n").unwrap();
    let hang_up =
        || assert!(Command::new("kill").args(["-HUP", &recorder.pid().to_string()]).status().unwrap().success());
    hang_up();
    until("the reload complains", || {
        let complaints = recorder.get("/healthz")["reload"]["complaints"].to_string();
        complaints.contains("line 1")
    });
    assert_eq!(status(&recorder, &one), 200);
    // Replaced by another file, as an editor or a mounted secret is.
    let beside = dir.path().join("elsewhere/new");
    std::fs::write(&beside, "# none\n").unwrap();
    std::fs::rename(&beside, &file).unwrap();
    until("it is revoked", || status(&recorder, &one) == 401);
    std::fs::write(&file, &good).unwrap();
    until("it is back", || status(&recorder, &one) == 200);
    std::fs::remove_file(&file).unwrap();
    until("without the file there is none", || status(&recorder, &one) == 401);
    assert_eq!(status(&recorder, &recorder.token), 200);
    recorder.stop();
    // A bad one at the start keeps nobody from recording.
    std::fs::write(&file, "nonsense\n").unwrap();
    let recorder = Recorder::with(dir.path(), &[("APILOG_API_TOKEN_FILE", path)]);
    assert!(degraded(&recorder, "tokens_malformed").is_some());
    assert_eq!(recorder.send("/v1/models", &[], "").status, 200);
    assert_eq!((status(&recorder, &one), status(&recorder, &recorder.token)), (401, 200));
}

#[test]
fn a_token_that_is_over_is_refused_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let token = make(dir.path(), "one", "viewer");
    let file = dir.path().join("tokens");
    let line = std::fs::read_to_string(&file).unwrap();
    let until_when = |time: &str| std::fs::write(&file, format!("{} expires={time}\n", line.trim())).unwrap();
    until_when("2999-01-01T00:00:00Z");
    let recorder = Recorder::start(dir.path());
    assert_eq!(status(&recorder, &token), 200);
    until_when("2020-01-01T00:00:00Z");
    until("it is over", || status(&recorder, &token) == 401);
    let message = ask(&recorder, &token, "GET", "/api/traces").json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("expired at 2020-01-01"), "{message}");
    let listed = String::from_utf8(token_command(dir.path(), &["list"]).stdout).unwrap();
    assert!(listed.contains("(expired)"), "{listed}");
}

#[test]
fn metrics_take_a_viewers_token_where_they_want_one() {
    let dir = tempfile::tempdir().unwrap();
    let token = make(dir.path(), "prometheus", "viewer");
    let recorder = Recorder::with(dir.path(), &[("APILOG_API_METRICS_AUTH", "true")]);
    assert_eq!(ask(&recorder, &token, "GET", "/metrics").status, 200);
    assert_eq!(ask(&recorder, "wrong", "GET", "/metrics").status, 401);
}
